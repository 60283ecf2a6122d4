r"""Write a segmenter whose weights are the mean of those of several checkpoints of one run.

    python benchmarks/average_checkpoints.py RUN -c 1600.pt -c 2800.pt -o averaged.safetensors \
        --temperature 1.44 --data "..." --licence "..." --attribution "..."

RUN is the run folder; its settings give the card. A run keeps its last checkpoint alone
(`last.pt` in the run folder), so the others have to be copied while it trains. Averaged are the
exponential averages that the checkpoints hold, batch-norm statistics included. A checkpoint may be
given as a model file too, `default` for the bundled one; `--weight`, once for each, makes the mean
a weighted one.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from geossda.config import TrainSegmenterConfig
from geossda.models.card import SegmenterCard
from geossda.models.model_file import load, resolve, save
from geossda.training.segmenter_loop import NOT_IN_PROVENANCE, Calibration, card_of


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """Return the averaged weights of a checkpoint, or the weights of a model."""
    if path.suffix != ".pt":
        return load(resolve(path, SegmenterCard), SegmenterCard)[0]
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return weights["average"]  # type: ignore[return-value]


def mean_weights(
    weights: list[dict[str, torch.Tensor]], shares: list[float]
) -> dict[str, torch.Tensor]:
    """Return the weighted mean of the weights of checkpoints."""
    pairs = list(zip(shares, weights, strict=True))
    return {
        name: sum(share * each[name].float() for share, each in pairs) / sum(shares)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in weights[-1].items()
    }


def bands_of(path: Path, weights: dict[str, torch.Tensor]) -> int:
    """Return the number of bands that a checkpoint or a model takes."""
    if path.suffix == ".pt":
        # The first convolution.
        return next(tensor for tensor in weights.values() if tensor.ndim == 4).shape[1]
    return len(load(resolve(path, SegmenterCard), SegmenterCard)[1].bands)


def card_of_run(run: Path, bands: int) -> SegmenterCard:
    """Return the card that a run's settings make."""
    settings = json.loads((run / "config.json").read_text())
    fields = {field.name for field in dataclasses.fields(TrainSegmenterConfig)}
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name in fields
    }
    recorded = {key: value for key, value in settings.items() if key not in NOT_IN_PROVENANCE}
    return card_of(TrainSegmenterConfig(**given), bands, Calibration(), recorded)


def main() -> None:
    """Average, and write the model with its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("-c", "--checkpoint", type=Path, action="append", required=True)
    parser.add_argument("--weight", type=float, action="append")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--metrics", type=json.loads, default={})
    for name in ("data", "licence", "attribution"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args()
    weights = [weights_of(path) for path in given.checkpoint]
    shares = given.weight or [1.0] * len(weights)
    card = card_of_run(given.run, bands=bands_of(given.checkpoint[-1], weights[-1]))
    terms = {name: getattr(given, name) or getattr(card, name) for name in
             ("data", "licence", "attribution")}  # fmt: skip
    card = dataclasses.replace(
        card,
        temperature=given.temperature,
        metrics=given.metrics,
        training={
            **card.training,
            "averaged": [path.stem for path in given.checkpoint],
            "shares": shares,
        },
        **terms,
    )
    print(save(given.output, mean_weights(weights, shares), card).sha256)


if __name__ == "__main__":
    main()
