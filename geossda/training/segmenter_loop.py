"""The segmenter's training loop."""

import contextlib
import copy
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from geossda._version import __version__
from geossda.config import TrainSegmenterConfig
from geossda.devices import choose, depthwise_in_float32, mixed_precision
from geossda.errors import InputError, TrainingError
from geossda.models.card import SegmenterCard, read_card, resolve, save
from geossda.models.losses import masked_bce_dice
from geossda.models.segmenter import starting_network
from geossda.progress import SILENT, Progress
from geossda.staging import atomic_write
from geossda.training.ema import update_ema
from geossda.training.mean_teacher import Teacher
from geossda.training.prefetch import ahead
from geossda.training.rundir import RunDirectory

if TYPE_CHECKING:
    from geossda.data.patches import Patch, TargetPatch

LOG_EVERY = 20
# Not repeated in the card's settings: it has its own place there, or is a path.
NOT_IN_PROVENANCE = (
    "data",
    "licence",
    "attribution",
    "sources",
    "labels",
    "encoder_weights",
    "style_model",
    "start",
)
S = TypeVar("S")


class Calibration(NamedTuple):
    """What is measured of a finished network, for its card.

    Attributes
    ----------
    temperature : float
    metrics : dict
    """

    temperature: float = 1.0
    metrics: Mapping[str, float] = MappingProxyType({})


def train(
    draw: "Callable[[int, int], Patch]",
    bands: int,
    output: str | os.PathLike[str],
    run: str | os.PathLike[str],
    config: TrainSegmenterConfig,
    *,
    draw_target: "Callable[[int, int], TargetPatch] | None" = None,
    sources: tuple[str, ...] = (),
    labels: str = "",
    places: int = 1,
    calibrate: Callable[[torch.nn.Module], Calibration] | None = None,
    progress: Progress = SILENT,
) -> SegmenterCard:
    """Train a segmenter and write it with its card; go on from the run's last checkpoint.

    Binary cross-entropy and Dice, AdamW, learning rate up over the first twentieth of the steps
    and down to zero, gradients clipped at norm 1, an exponential average of the weights kept as
    the result.

    Parameters
    ----------
    draw : callable
        ``draw(step, place)`` gives sample `place` of batch `step`, always the same one.
    bands : int
        Bands of the samples' images.
    output : path
        The safetensors file to write.
    run : path
        The run directory.
    config : TrainSegmenterConfig
    draw_target : callable, optional
        Likewise gives patches of target imagery, which the averaged network teaches the one in
        training about.
    sources : tuple of str
        Names of what is drawn from, for the record.
    labels : str
        Tells the labels from others.
    places : int
        That labels are of; the more, the less the target's imagery teaches.
    calibrate : callable, optional
        Measures the finished network on what it was not trained on.
    progress : Progress

    Returns
    -------
    SegmenterCard

    Raises
    ------
    TrainingError
        The loss is not finite, or `run` belongs to other settings.
    """
    if config.patch % 32:
        raise InputError(f"patch {config.patch} px: give a multiple of 32")
    settings = {
        **dataclasses.asdict(config),
        "sources": list(sources),
        "labels": labels,
        "places": places,
    }
    for unrelated in ("overwrite", "device", "checkpoint"):
        settings.pop(unrelated)
    directory = RunDirectory(run, settings)
    told = {key: value for key, value in directory.settings.items() if key not in NOT_IN_PROVENANCE}
    if config.start:  # which may be gone when training ends
        initial = read_card(resolve(config.start, SegmenterCard))
        told["start"] = f"{initial.name} {initial.sha256[:12]}"
    device = choose(config.device)
    torch.manual_seed(config.seed)
    progress.stage("loading first weights")  # from the hub, which takes a minute to fail
    network = (
        starting_network(config, bands).to(device).to(memory_format=torch.channels_last).train()
    )
    average = copy.deepcopy(network).eval()
    depthwise_in_float32(network, device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    first, total = 0, 0.0
    teacher = Teacher(average, config.steps, config.built, places)
    if (checkpoint := directory.load()) is not None:
        network.load_state_dict(checkpoint["network"])
        average.load_state_dict(checkpoint["average"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        teacher.counts, teacher.own = checkpoint["counts"], checkpoint["own"]
        first, total = checkpoint["step"], checkpoint["total"]
        progress.note(f"going on from step {first} of {directory.path}")

    def keep(step: int) -> None:
        directory.save(
            {
                "step": step,
                "total": total,
                "counts": teacher.counts,
                "own": teacher.own,
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
        )

    progress.stage("training", config.steps)
    progress.advance(first)
    with contextlib.ExitStack() as stack:

        def stream(draw: "Callable[[int, int], S] | None", size: int) -> "Iterator[list[S]]":
            if draw is None:
                return itertools.repeat([])
            return stack.enter_context(contextlib.closing(ahead(draw, first, config.steps, size)))

        batches = stream(draw, config.batch)
        unlabelled = stream(draw_target, config.unlabelled)
        for step, (samples, views) in enumerate(
            zip(batches, unlabelled, strict=False), start=first + 1
        ):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            image, label, weight = _tensors(samples, device)
            taught = teacher.weight(step) if views else 0.0
            if taught > 0:
                plain, other, known = _tensors([view[:3] for view in views], device)
                pseudo_labels = teacher.pseudo_labels(plain, known, [view.raster for view in views])
                # One batch, so that norms see labelled and target patches together, as they
                # will be when predicting.
                image = torch.cat([image, other]).contiguous(memory_format=torch.channels_last)
            with mixed_precision(device):
                logits = network(image)
            loss = masked_bce_dice(logits[: len(label)], label, weight)
            if taught > 0:
                loss = loss + taught * masked_bce_dice(logits[len(label) :], *pseudo_labels)
            if not math.isfinite(loss.item()):
                raise TrainingError(
                    f"the loss is {loss.item()} at step {step}: lower --lr; the last checkpoint "
                    f"is in {directory.path}"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            update_ema(average, network, min(config.ema, step / (step + 10)))
            total += loss.item()
            if step % LOG_EVERY == 0:
                directory.log(step=step, loss=total / LOG_EVERY, lr=learning_rate(step, config))
                total = 0.0
            if step % config.checkpoint == 0 or step == config.steps:
                keep(step)
            progress.advance()
    found = Calibration() if calibrate is None else calibrate(average)
    card = SegmenterCard(
        name=config.name,
        version=__version__,
        architecture=config.architecture,
        encoder=config.encoder,
        bands=("red", "green", "blue")
        if bands == 3
        else tuple(f"band {b + 1}" for b in range(bands)),
        gsd_m=config.gsd,
        scaling=config.scaling,
        low_percent=config.low_percent,
        high_percent=config.high_percent,
        temperature=found.temperature,
        metrics=dict(found.metrics),
        data=config.data,
        licence=config.licence,
        attribution=config.attribution,
        training=told,
    )
    with atomic_write(Path(output)) as part:
        return save(part, average.state_dict(), card)


def _tensors(
    samples: Sequence[tuple[NDArray[np.float32], ...]], device: torch.device
) -> list[torch.Tensor]:
    return [
        torch.from_numpy(np.stack(part)).to(device, memory_format=torch.channels_last)
        for part in zip(*samples, strict=True)
    ]


def learning_rate(step: int, config: TrainSegmenterConfig) -> float:
    """Give the learning rate of a step, counted from 1."""
    warm_up = max(1, config.steps // 20)
    if step <= warm_up:
        return config.lr * step / warm_up
    share = (step - warm_up) / max(1, config.steps - warm_up)
    if config.schedule == "polynomial":
        return config.lr * float((1 - share) ** 0.9)
    return config.lr * (1 + math.cos(math.pi * share)) / 2
