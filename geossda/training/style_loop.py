"""The training loop of SS(DA)²: generator and discriminator, one step each in turn."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geossda._version import __version__
from geossda.config import TrainStyleConfig
from geossda.devices import choose
from geossda.errors import InputError, TrainingError
from geossda.models.card import StyleCard, save
from geossda.models.generator import Generator
from geossda.progress import SILENT, Progress
from geossda.staging import atomic_write
from geossda.training.prefetch import prefetch
from geossda.training.rundir import RunDirectory
from geossda.training.style_recipe import Recipe, learning_rate
from geossda.training.style_step import Trainer

if TYPE_CHECKING:
    from geossda.data.views import Views

LOG_EVERY = 20
UNRELATED = ("overwrite", "device", "checkpoint", "vgg")


def train(
    draw: "Callable[[int, int], Views]",
    output: str | os.PathLike[str],
    run: str | os.PathLike[str],
    config: TrainStyleConfig,
    *,
    sources: tuple[str, ...] = (),
    domains: Sequence[str] = (),
    watch: Callable[[Generator, Path, int], dict[str, float]] | None = None,
    progress: Progress = SILENT,
) -> StyleCard:
    """Train a style model and write it with its card; go on from the run's last checkpoint.

    Parameters
    ----------
    draw : callable
        ``draw(step, place)`` gives the views of sample `place` of batch `step`, always the same
        ones.
    output : path
        The safetensors file to write: the averaged generator.
    run : path
        The run directory.
    config : TrainStyleConfig
    sources : tuple of str
        Names of what is drawn from, for the record.
    domains : sequence of str
        For ``daug``, which domain each raster belongs to.
    watch : callable, optional
        ``watch(generator, folder, step)``, called at every checkpoint with the averaged generator,
        may write pictures into the folder and gives figures, ``score`` among them: the weights
        with the lowest are kept as ``best.safetensors``.
    progress : Progress

    Returns
    -------
    StyleCard

    Raises
    ------
    TrainingError
        A loss is not finite, or `run` belongs to other settings.
    """
    recipe = Recipe.of(config)
    if config.patch % 16:
        raise InputError(f"patch {config.patch} px: give a multiple of 16")
    if config.batch % recipe.views or config.batch // recipe.views < 2:
        raise InputError(f"batch {config.batch}: give an even number, at least {2 * recipe.views}")
    settings = {**dataclasses.asdict(config), "sources": list(sources)}
    for key in UNRELATED:
        settings.pop(key)
    names = tuple(sorted(set(domains)))
    trainer = Trainer(config, recipe, choose(config.device), len(names))
    directory = RunDirectory(run, settings)
    first, sums, best = 0, {}, math.inf
    if (checkpoint := directory.load()) is not None:
        trainer.load(checkpoint)
        first, sums, best = checkpoint["step"], checkpoint["sums"], checkpoint["best"]
        progress.note(f"resuming at step {first} of {directory.path}")

    progress.stage("training", config.steps)
    progress.advance(first)
    board = _tensorboard(directory.path)
    batches = prefetch(draw, first, config.steps, 2 * config.batch // recipe.views)
    with contextlib.closing(batches), board:
        for step, samples in enumerate(batches, start=first + 1):
            declared = [names.index(domains[views.raster]) for views in samples] if names else []
            figures = trainer.step(step, np.stack([v.images for v in samples]), declared)
            lost = [name for name, value in figures.items() if not math.isfinite(value)]
            if lost:
                raise TrainingError(
                    f"loss {lost[0]} is {figures[lost[0]]} at step {step}: lower --lr; the last "
                    f"checkpoint is in {directory.path}"
                )
            sums = {name: sums.get(name, 0.0) + value for name, value in figures.items()}
            if step % LOG_EVERY == 0:
                means = {name: value / LOG_EVERY for name, value in sums.items()}
                directory.log(step=step, **means, lr=learning_rate(step, config, recipe))
                board.add(step, means)
                sums = {}
            if step % config.checkpoint == 0 or step == config.steps:
                if watch is not None:
                    seen = watch(trainer.average, directory.path, step)
                    directory.log(step=step, **seen)
                    board.add(step, seen)
                    if seen["score"] < best:
                        best = seen["score"]
                        with atomic_write(directory.path / "best.safetensors") as part:
                            save(
                                part,
                                trainer.average.state_dict(),
                                _card(config, directory, step, names),
                            )
                state = {"step": step, "sums": sums, "best": best}
                directory.save({**state, **trainer.state()})
            progress.advance()
    with atomic_write(Path(output)) as part:
        return save(
            part, trainer.average.state_dict(), _card(config, directory, config.steps, names)
        )


def _card(
    config: TrainStyleConfig, directory: RunDirectory, step: int, domains: tuple[str, ...]
) -> StyleCard:
    left_out = ("data", "licence", "attribution", "sources", "name")
    training = {key: value for key, value in directory.settings.items() if key not in left_out}
    return StyleCard(
        name=config.name,
        version=__version__,
        preset=config.preset,
        bands=config.bands,
        adain=config.adain,
        domains=domains,
        data=config.data,
        licence=config.licence,
        attribution=config.attribution,
        training={**training, "steps_done": step},
    )


class _Board(contextlib.AbstractContextManager["_Board"]):
    """TensorBoard's event file, where the package is installed."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def add(self, step: int, figures: dict[str, float]) -> None:
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(name, value, step)

    def __exit__(self, *_: object) -> None:
        if self.writer is not None:
            self.writer.close()


def _tensorboard(folder: Path) -> _Board:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return _Board(None)
    return _Board(SummaryWriter(str(folder)))
