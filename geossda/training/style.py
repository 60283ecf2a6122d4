"""The training loop of SS(DA)²: generator and discriminator, one step each in turn."""

import contextlib
import copy
import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geossda._version import __version__
from geossda.config import TrainStyleConfig
from geossda.devices import choose, mixed_precision
from geossda.errors import InputError, TrainingError
from geossda.models import style_losses as losses
from geossda.models.card import StyleCard, save
from geossda.models.discriminator import DISCRIMINATORS
from geossda.models.generator import Generator, build
from geossda.models.moments import Look, pooled
from geossda.models.perceptual import Perceptual
from geossda.progress import SILENT, Progress
from geossda.staging import staged
from geossda.training.batches import ahead
from geossda.training.rundir import RunDirectory
from geossda.training.weights import follow

LOG_EVERY = 20
# Of the distance of colour distributions: one pixel in so many, directions besides the bands.
SPARSE, DIRECTIONS = 4, 8
UNRELATED = ("overwrite", "device", "checkpoint", "vgg")


@dataclass(frozen=True)
class Recipe:
    """A preset's choices, with what the settings say instead.

    Attributes
    ----------
    views : int
        Patches of one image that share their look, so that pooled statistics are learned.
    optimizer : {"adam", "sgd"}
    lr : float
    contrast : {"infonce", "batch"}
    temperature : float
    reconstruction, adversarial, cycle, perceptual, contrastive, color, structure : float
        Weights of the losses.
    """

    views: int
    optimizer: str
    lr: float
    contrast: str
    temperature: float
    reconstruction: float
    adversarial: float
    cycle: float
    perceptual: float
    contrastive: float
    color: float
    structure: float

    @classmethod
    def of(cls, config: TrainStyleConfig) -> "Recipe":
        """Resolve a run's settings."""
        given = {
            entry.name: getattr(config, entry.name)
            for entry in dataclasses.fields(cls)
            if getattr(config, entry.name, None) not in (None, "preset")
        }
        return dataclasses.replace(PRESETS[config.preset], **given)

    def total(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Add up loss terms, each by its weight (Eq. 1 and 2)."""
        return torch.stack([getattr(self, name) * term for name, term in terms.items()]).sum()


PRESETS = {
    # Reconstructing is exact by construction, so L_rec is left out; L_per at the paper's weight
    # outweighs every other gradient (docs/decisions/0006).
    "geossda": Recipe(2, "adam", 1e-3, "infonce", 0.1, 0, 5, 50, 0.01, 1, 20, 5),
    "paper": Recipe(1, "sgd", 1e-2, "batch", 1.0, 50, 5, 50, 1, 1, 0, 0),
}


def train(
    draw: Callable[[int, int], NDArray[np.uint8]],
    output: str | os.PathLike[str],
    run: str | os.PathLike[str],
    config: TrainStyleConfig,
    *,
    sources: tuple[str, ...] = (),
    watch: Callable[[Generator, Path, int], dict[str, float]] | None = None,
    progress: Progress = SILENT,
) -> StyleCard:
    """Train a style model and write it with its card; go on from the run's last checkpoint.

    Parameters
    ----------
    draw : callable
        ``draw(step, place)`` gives the (2, bands, side, side) views of sample `place` of batch
        `step`, always the same ones.
    output : path
        The safetensors file to write: the averaged generator.
    run : path
        The run directory.
    config : TrainStyleConfig
    sources : tuple of str
        Names of what is drawn from, for the record.
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
    trainer = Trainer(config, recipe, choose(config.device))
    directory = RunDirectory(run, settings)
    first, sums, best = 0, {}, math.inf
    if (checkpoint := directory.load()) is not None:
        trainer.load(checkpoint)
        first, sums, best = checkpoint["step"], checkpoint["sums"], checkpoint["best"]
        progress.note(f"going on from step {first} of {directory.path}")

    progress.stage("training", config.steps)
    progress.advance(first)
    board = _tensorboard(directory.path)
    batches = ahead(draw, first, config.steps, 2 * config.batch // recipe.views)
    with contextlib.closing(batches), board:
        for step, samples in enumerate(batches, start=first + 1):
            figures = trainer.step(step, np.stack(samples))
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
                        with staged(directory.path / "best.safetensors") as part:
                            save(part, trainer.average.state_dict(), _card(config, directory, step))
                state = {"step": step, "sums": sums, "best": best}
                directory.save({**state, **trainer.state()})
            progress.advance()
    with staged(Path(output)) as part:
        return save(part, trainer.average.state_dict(), _card(config, directory, config.steps))


class Trainer:
    """Networks, optimizers, and one step of both.

    Attributes
    ----------
    average : torch.nn.Module
        The generator's running average, which is the result.
    """

    def __init__(self, config: TrainStyleConfig, recipe: Recipe, device: torch.device) -> None:
        self.config, self.recipe, self.device = config, recipe, device
        torch.manual_seed(config.seed)
        self.generator = build(config.preset, config.bands, config.adain).to(device)
        self.judge = DISCRIMINATORS[config.preset](config.bands).to(device)
        for network in (self.generator, self.judge):
            network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.vgg = Perceptual(config.vgg).to(device) if recipe.perceptual > 0 else None
        self.optimizers = [
            _optimizer(network.parameters(), recipe) for network in (self.generator, self.judge)
        ]

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint needs."""
        return {
            "generator": self.generator.state_dict(),
            "judge": self.judge.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint."""
        self.generator.load_state_dict(state["generator"])
        self.judge.load_state_dict(state["judge"])
        self.average.load_state_dict(state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)

    def step(self, number: int, samples: NDArray[np.uint8]) -> dict[str, float]:
        """Take one step with (2 n, 2, bands, side, side) samples: n images of A, then n of B."""
        config, views = self.config, self.recipe.views
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(number, config, self.recipe)
        images = torch.from_numpy(samples).to(self.device).float() / 255
        patches = _flat(images[:, :views])
        # The other view of each patch, for "same style": with two views the patches' neighbours.
        other = None if views == 2 else _flat(images[:, 1:])
        with mixed_precision(self.device):
            figures, fake = self._generator_step(patches, other, number)
            if (number - 1) % config.critic_every == 0:
                figures |= self._judge_step(patches, other, fake)
        follow(self.average, self.generator, min(config.ema, number / (number + 10)))
        return figures

    def _generator_step(
        self, real: torch.Tensor, other: torch.Tensor | None, number: int
    ) -> tuple[dict[str, float], torch.Tensor]:
        """Eq. 1. A and B are the halves of one batch, so both directions are one pass."""
        recipe, generator = self.recipe, self.generator
        images = len(real) // self.recipe.views
        content, look = generator.encode(real, images=images)
        fake = generator.decode(content, look, _swapped(look))
        fake_content, fake_look = generator.encode(fake, images=images)
        back = generator.decode(fake_content, fake_look, _swapped(fake_look))
        # Every loss is a mean over A's and B's patches together; the paper adds one mean a side.
        terms = {"cycle": 2 * losses.reconstruction(back, real)}
        remade = [back]
        if recipe.reconstruction > 0:
            remade.append(generator.decode(content, look, look))
            terms["reconstruction"] = 2 * losses.reconstruction(remade[-1], real)
        if self.vgg is not None:
            with torch.no_grad():
                target = self.vgg(real)
            each = [losses.perceptual(self.vgg(image), target) for image in remade]
            terms["perceptual"] = 2 * torch.stack(each).sum()
        if recipe.color > 0:
            terms["color"] = self._color_distance(fake, real, images, number)
        if recipe.structure > 0:
            terms["structure"] = losses.structure(fake, real)
        if recipe.adversarial > 0 or recipe.contrastive > 0:
            self.judge.requires_grad_(False)
            score, embedding = self.judge(fake)
            terms["adversarial"] = losses.adversarial_generator(score.chunk(2))
            if recipe.contrastive > 0:
                with torch.no_grad():
                    own, partner = self._embed(real, other)
                terms["contrastive"] = self._contrast(
                    embedding, torch.cat(own.chunk(2)[::-1]), partner
                )
            self.judge.requires_grad_(True)
        self._descend(0, recipe.total(terms))
        return {name: float(term.detach()) for name, term in terms.items()}, fake.detach()

    def _judge_step(
        self, real: torch.Tensor, other: torch.Tensor | None, fake: torch.Tensor
    ) -> dict[str, float]:
        """Eq. 2."""
        recipe = self.recipe
        if recipe.adversarial == 0 and recipe.contrastive == 0:
            return {}
        real_score, own = self.judge(real)
        fake_score, made = self.judge(fake)
        terms = {
            "adversarial": losses.adversarial_discriminator(
                real_score.chunk(2), fake_score.chunk(2)
            )
        }
        if recipe.contrastive > 0:
            partner = _neighbours(own) if other is None else self.judge(other)[1]
            terms["contrastive"] = self._contrast(own, partner, made)
        self._descend(1, recipe.total(terms))
        return {f"judge_{name}": float(term.detach()) for name, term in terms.items()}

    def _color_distance(
        self, fake: torch.Tensor, real: torch.Tensor, images: int, number: int
    ) -> torch.Tensor:
        """Compare each translation, its views together, with the images it is to look like."""
        random = torch.Generator().manual_seed(self.config.seed * 1_000_003 + number)
        bands = real.shape[1]
        directions = torch.randn((DIRECTIONS, bands), generator=random)
        directions = torch.cat([torch.eye(bands), torch.nn.functional.normalize(directions)])
        made, wanted = (pooled(x, images)[:, :, ::SPARSE] for x in (fake, real))
        wanted = wanted.roll(images // 2, 0)
        return losses.sliced_wasserstein(made, wanted, directions.to(real.device))

    def _embed(
        self, real: torch.Tensor, other: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the embeddings of patches and of their other views."""
        own = self.judge(real)[1]
        return own, _neighbours(own) if other is None else self.judge(other)[1]

    def _contrast(
        self, anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
    ) -> torch.Tensor:
        """L_con of A's side; in our preset of B's as well, in one batch."""
        if self.config.preset == "paper":
            half = len(anchor) // 2
            anchor, positive, negative = anchor[:half], positive[:half], negative[:half]
        if self.recipe.contrast == "batch":
            return losses.contrastive_batch(anchor, positive, negative, self.recipe.temperature)
        return losses.contrastive_infonce(
            anchor, positive, negative, self.recipe.temperature, self.recipe.views
        )

    def _descend(self, which: int, loss: torch.Tensor) -> None:
        optimizer = self.optimizers[which]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        network = (self.generator, self.judge)[which]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def learning_rate(step: int, config: TrainStyleConfig, recipe: Recipe) -> float:
    """Give the learning rate of a step, counted from 1.

    SGD: polynomial decay of power 0.95 (the paper, Section IV-B, reads "polynomial decay of
    0.95"). Adam: constant, then linear to zero over the last half.
    """
    share = (step - 1) / config.steps
    if recipe.optimizer == "sgd":
        return recipe.lr * float((1 - share) ** 0.95)
    return recipe.lr * min(1.0, 2 * (1 - share))


def _optimizer(parameters: Iterator[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=recipe.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
    return torch.optim.Adam(parameters, lr=recipe.lr, betas=(0.5, 0.99))


def _flat(images: torch.Tensor) -> torch.Tensor:
    """(images, views, ...) to (patches, ...), the views of an image one after another."""
    return images.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _swapped(look: Look) -> Look:
    """Give A's images the looks of B's, and the reverse."""
    half = len(look.pixels.mean) // 2
    return look.each(lambda tensor: tensor.roll(half, 0))


def _neighbours(embedding: torch.Tensor) -> torch.Tensor:
    """Swap the two views of each image."""
    return embedding.reshape(-1, 2, embedding.shape[1]).flip(1).flatten(0, 1)


def _card(config: TrainStyleConfig, directory: RunDirectory, step: int) -> StyleCard:
    left_out = ("data", "licence", "attribution", "sources", "name")
    training = {key: value for key, value in directory.settings.items() if key not in left_out}
    return StyleCard(
        name=config.name,
        version=__version__,
        preset=config.preset,
        bands=config.bands,
        adain=config.adain,
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
