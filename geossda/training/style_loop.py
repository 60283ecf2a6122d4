"""The training loop of style models: generator and discriminator, one step each in turn."""

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
from geossda.models.card import StyleCard
from geossda.models.generator import Generator
from geossda.models.model_file import save
from geossda.models.translation import Translator
from geossda.progress import SILENT, Progress
from geossda.staging import atomic_write
from geossda.training.adversarial_trainer import AdversarialTrainer
from geossda.training.prefetch import prefetch
from geossda.training.rundir import RunDirectory
from geossda.training.style_recipe import Recipe
from geossda.training.style_step import StyleTrainer
from geossda.training.trainers import TRAINERS

if TYPE_CHECKING:
    from geossda.data.views import Views

LOG_EVERY = 20
# Settings that do not define a run: it may be resumed with others.
NOT_IN_RUN = ("overwrite", "device", "checkpoint", "vgg")
# Not repeated in the card's settings, since the card has places of their own for them.
NOT_IN_PROVENANCE = ("data", "licence", "attribution", "sources", "name")


def train(
    draw: "Callable[[int, int], Views]",
    output: str | os.PathLike[str],
    run: str | os.PathLike[str],
    config: TrainStyleConfig,
    *,
    sources: tuple[str, ...] = (),
    domains: Sequence[str] = (),
    validate: Callable[[Generator | Translator, Path], dict[str, float]] | None = None,
    progress: Progress = SILENT,
) -> StyleCard:
    """Train a style model and write it with its card; resume from the run's last checkpoint.

    Parameters
    ----------
    draw : callable
        ``draw(step, place)`` returns the views of sample `place` of batch `step`, always the same
        ones; with the photometric loss those of two places of one raster.
    output : path
        The safetensors file to write: the EMA of the generator.
    run : path
        The run directory.
    config : TrainStyleConfig
    sources : tuple of str
        Names of the rasters, for the record.
    domains : sequence of str
        The domain of each raster, for presets of declared domains.
    validate : callable, optional
        ``validate(generator, folder)``, called at every checkpoint with the EMA of the generator,
        may write pictures into the folder and returns figures, ``score`` among them: the weights
        with the lowest score are kept as ``best.safetensors``.
    progress : Progress

    Returns
    -------
    StyleCard

    Raises
    ------
    InputError
        The batch size or the number of domains does not fit the preset.
    TrainingError
        A loss is not finite, or `run` belongs to other settings.
    """
    settings = {**dataclasses.asdict(config), "sources": list(sources)}
    names = tuple(sorted(set(domains)))
    trainer = _trainer(config, len(names))
    directory = RunDirectory(run, {k: v for k, v in settings.items() if k not in NOT_IN_RUN})
    if directory.resume(trainer.load_state_dict):
        progress.note(f"resuming at step {trainer.steps} of {directory.path}")

    progress.stage("training", config.steps)
    progress.advance(trainer.steps)
    samples = prefetch(draw, trainer.steps, config.steps, trainer.samples)
    board = _tensorboard(directory.path)
    with contextlib.closing(samples), board:
        for views in samples:
            images = np.stack([pair.images for pair in views])
            trainer.step(images, [names.index(domains[pair.raster]) for pair in views if names])
            _require_finite(trainer, directory)
            if trainer.steps % LOG_EVERY == 0:
                means = trainer.mean_losses()
                directory.log(step=trainer.steps, **means, lr=trainer.learning_rate)
                board.add(trainer.steps, means)
            if trainer.steps % config.checkpoint == 0 or trainer.steps == config.steps:
                if validate is not None:
                    figures = validate(trainer.average, directory.path)
                    directory.log(step=trainer.steps, **figures)
                    board.add(trainer.steps, figures)
                    if figures["score"] < trainer.best_score:
                        trainer.best_score = figures["score"]
                        _save(trainer, directory.path / "best.safetensors", directory, names)
                directory.save(trainer.state_dict())
            progress.advance()
    return _save(trainer, Path(output), directory, names)


def _trainer(config: TrainStyleConfig, domains: int) -> AdversarialTrainer:
    """Return the networks of a run and what trains them."""
    device = choose(config.device)
    if config.preset in TRAINERS:
        return TRAINERS[config.preset](config, device, domains)
    recipe = Recipe.of(config)
    if config.batch % recipe.views or config.batch // recipe.views < 2:
        raise InputError(f"batch {config.batch}: give an even number, at least {2 * recipe.views}")
    return StyleTrainer(config, recipe, device, domains)


def _require_finite(trainer: AdversarialTrainer, directory: RunDirectory) -> None:
    """Raise TrainingError if a loss of the last step is not finite."""
    for name, value in trainer.losses.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"loss {name} is {value} at step {trainer.steps}: lower --lr; the last checkpoint "
                f"is in {directory.path}"
            )


def _save(
    trainer: AdversarialTrainer, path: Path, directory: RunDirectory, domains: tuple[str, ...]
) -> StyleCard:
    """Write the EMA of the generator with a card."""
    config = trainer.config
    recorded = {
        key: value for key, value in directory.settings.items() if key not in NOT_IN_PROVENANCE
    }
    if trainer.initial:
        recorded["init_from"] = trainer.initial
    card = StyleCard(
        name=config.name,
        version=__version__,
        preset=config.preset,
        bands=config.bands,
        adain=config.adain,
        domains=domains,
        width=config.width,
        data=config.data or "",
        licence=config.licence or "",
        attribution=config.attribution or "",
        training={**recorded, "steps_done": trainer.steps},
    )
    with atomic_write(path) as part:
        return save(part, trainer.average.state_dict(), card)


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
