"""The segmenter's training loop."""

import contextlib
import copy
import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geossda._version import __version__
from geossda.config import TrainSegmenterConfig
from geossda.devices import choose, depthwise_in_float32
from geossda.errors import TrainingError
from geossda.models.card import SegmenterCard
from geossda.models.card_checks import OUTPUTS
from geossda.models.model_file import name_and_hash, save
from geossda.models.segmenter import initial_network
from geossda.progress import SILENT, Progress
from geossda.staging import atomic_write
from geossda.training.ema import update_ema
from geossda.training.objective import Batch, Objective, TargetBatch
from geossda.training.prefetch import prefetch
from geossda.training.rundir import RunDirectory

if TYPE_CHECKING:
    from geossda.data.patches import Patch, TargetPatch

LOG_EVERY = 20
MAX_WARM_UP = 200  # steps over which the learning rate rises
# Fraction of the steps over which the learning rate of `trapezoid` falls.
FALL = 0.33
# Settings that do not define a run: it may be continued with others.
NOT_IN_RUN = ("overwrite", "device", "checkpoint")
# Not repeated in the card's settings: it has its own place there, or is a path.
NOT_IN_PROVENANCE = (
    "data",
    "licence",
    "attribution",
    "sources",
    "labels",
    "encoder_weights",
    "style_model",
    "init_from",
)


class Calibration(NamedTuple):
    """What is measured of a finished network, for its card.

    Attributes
    ----------
    temperature : float
        What logits are to be divided by.
    metrics : dict
        Figures by name.
    """

    temperature: float = 1.0
    metrics: Mapping[str, float] = MappingProxyType({})


class TrainingState:
    """What a checkpoint holds: networks, optimizer, objective, and how far training is.

    Attributes
    ----------
    network, average : torch.nn.Module
        The network in training, and the EMA of its weights.
    optimizer : torch.optim.Optimizer
    objective : Objective
    step : int
        Steps done.
    loss_sum : float
        Sum of the losses since the last line of the log.
    """

    def __init__(
        self, network: torch.nn.Module, config: TrainSegmenterConfig, objective: Objective
    ) -> None:
        self.network, self.objective = network, objective
        self.average = copy.deepcopy(network).eval()
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        self.step, self.loss_sum = 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the checkpoint."""
        return {
            "step": self.step,
            "loss_sum": self.loss_sum,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "objective": self.objective.state_dict(),
        }

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Restore a checkpoint."""
        self.network.load_state_dict(checkpoint["network"])
        self.average.load_state_dict(checkpoint["average"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.objective.load_state_dict(checkpoint["objective"])
        self.step, self.loss_sum = checkpoint["step"], checkpoint["loss_sum"]


def train(
    draw: "Callable[[int, int], Patch]",
    bands: int,
    output: str | os.PathLike[str],
    run: str | os.PathLike[str],
    config: TrainSegmenterConfig,
    *,
    draw_target: "Callable[[int, int], TargetPatch] | None" = None,
    objective: Objective | None = None,
    sources: tuple[str, ...] = (),
    labels: str = "",
    places: int = 1,
    calibrate: Callable[[torch.nn.Module], Calibration] | None = None,
    progress: Progress = SILENT,
) -> SegmenterCard:
    """Train a segmenter and write it with its card; resume from the run's last checkpoint.

    AdamW; the learning rate rises over the first twentieth of the steps, at most `MAX_WARM_UP`, and
    falls to zero;
    gradients are clipped at norm 1; the EMA of the weights is the result.

    Parameters
    ----------
    draw : callable
        ``draw(step, place)`` returns sample `place` of batch `step`, always the same one.
    bands : int
        Bands of the samples' images.
    output : path
        The safetensors file to write.
    run : path
        The run directory.
    config : TrainSegmenterConfig
    draw_target : callable, optional
        Likewise returns patches of target imagery, for the objective.
    objective : Objective, optional
        The loss: by default the supervised one.
    sources : tuple of str
        Names of the rasters, for the record.
    labels : str
        Hash of the labels: a run is not resumed with others.
    places : int
        Number of places that the labels are of, for the record.
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
    settings = {**dataclasses.asdict(config), "sources": sources, "labels": labels,
                "places": places}  # fmt: skip
    directory = RunDirectory(run, {k: v for k, v in settings.items() if k not in NOT_IN_RUN})
    provenance = _provenance(directory.settings, config)
    device = choose(config.device)
    torch.manual_seed(config.seed)
    progress.stage("loading initial weights")  # from the hub, which takes a minute to fail
    network = initial_network(config, bands).to(device).to(memory_format=torch.channels_last)
    state = TrainingState(network.train(), config, objective or Objective(config.auxiliary))
    depthwise_in_float32(network, device)
    if directory.resume(state.load_state_dict):
        progress.note(f"resuming at step {state.step} of {directory.path}")
    labelled = prefetch(draw, state.step, config.steps, config.batch)
    target = prefetch(draw_target, state.step, config.steps, config.target_batch)

    progress.stage("training", config.steps)
    progress.advance(state.step)
    with contextlib.closing(labelled), contextlib.closing(target):
        for patches, target_patches in zip(labelled, target, strict=True):
            state.step += 1
            lr = learning_rate(state.step, config)
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            loss = state.objective.loss(
                state.step,
                network,
                state.average,
                Batch(*_tensors(patches, device)),
                _target_batch(target_patches, device),
            )
            if not math.isfinite(loss.item()):
                raise TrainingError(
                    f"the loss is {loss.item()} at step {state.step}: lower --lr; the last "
                    f"checkpoint is in {directory.path}"
                )
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            state.optimizer.step()
            update_ema(state.average, network, min(config.ema, state.step / (state.step + 10)))
            state.loss_sum += loss.item()
            if state.step % LOG_EVERY == 0:
                directory.log(step=state.step, loss=state.loss_sum / LOG_EVERY, lr=lr)
                state.loss_sum = 0.0
            if state.step % config.checkpoint == 0 or state.step == config.steps:
                directory.save(state.state_dict())
            progress.advance()
    calibration = Calibration() if calibrate is None else calibrate(state.average)
    with atomic_write(Path(output)) as part:
        return save(
            part, state.average.state_dict(), card_of(config, bands, calibration, provenance)
        )


def _provenance(settings: Mapping[str, Any], config: TrainSegmenterConfig) -> dict[str, Any]:
    """Return the settings that the card records, with the initial model by name and hash."""
    recorded = {key: value for key, value in settings.items() if key not in NOT_IN_PROVENANCE}
    if config.init_from:  # read before training, since the file may be gone when it ends
        recorded["init_from"] = name_and_hash(config.init_from, SegmenterCard)
    return recorded


def card_of(
    config: TrainSegmenterConfig, bands: int, calibration: Calibration, provenance: dict[str, Any]
) -> SegmenterCard:
    """Return the card of a model that was trained with some settings.

    Parameters
    ----------
    config : TrainSegmenterConfig
    bands : int
        Number of bands of the images.
    calibration : Calibration
    provenance : dict
        Settings and sources to record.
    """
    names = tuple(f"band {band + 1}" for band in range(bands))
    return SegmenterCard(
        name=config.name,
        version=__version__,
        architecture=config.architecture,
        encoder=config.encoder,
        bands=("red", "green", "blue") if bands == 3 else names,
        gsd_m=config.gsd,
        scaling=config.scaling,
        low_percent=config.low_percent,
        high_percent=config.high_percent,
        floor=config.floor,
        outputs=OUTPUTS if config.auxiliary else OUTPUTS[:1],
        temperature=calibration.temperature,
        metrics=dict(calibration.metrics),
        data=config.data or "",
        licence=config.licence or "",
        attribution=config.attribution or "",
        training=provenance,
    )


def _target_batch(patches: "Sequence[TargetPatch]", device: torch.device) -> TargetBatch | None:
    if not patches:
        return None
    image, restyled, weight = _tensors([patch[:3] for patch in patches], device)
    return TargetBatch(image, restyled, weight, tuple(patch.raster for patch in patches))


def _tensors(
    samples: Sequence[tuple[NDArray[np.float32], ...]], device: torch.device
) -> list[torch.Tensor]:
    """Stack samples: one (N, ...) tensor for each of their arrays."""
    return [
        torch.from_numpy(np.stack(arrays)).to(device, memory_format=torch.channels_last)
        for arrays in zip(*samples, strict=True)
    ]


def learning_rate(step: int, config: TrainSegmenterConfig) -> float:
    """Return the learning rate of a step, counted from 1.

    Parameters
    ----------
    step : int
        From 1 to `config.steps`.
    config : TrainSegmenterConfig
    """
    warm_up = max(1, min(config.steps // 20, MAX_WARM_UP))
    if step <= warm_up:
        return config.lr * step / warm_up
    fraction = (step - warm_up) / max(1, config.steps - warm_up)
    if config.schedule == "trapezoid":
        return config.lr * min(1.0, (1 - fraction) / FALL)
    if config.schedule == "polynomial":
        return config.lr * float((1 - fraction) ** 0.9)
    return config.lr * (1 + math.cos(math.pi * fraction)) / 2
