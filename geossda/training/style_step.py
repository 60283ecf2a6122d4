"""One step of SS(DA)²: the generator's, then the discriminator's."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.config import TrainStyleConfig
from geossda.devices import mixed_precision
from geossda.models import style_losses as losses
from geossda.models.daug import DomainGenerator
from geossda.models.perceptual import Perceptual
from geossda.models.presets import build_discriminator, build_generator
from geossda.models.style_statistics import StyleStatistics, measure_gaussian, pooled
from geossda.training.ema import update_ema
from geossda.training.style_recipe import Recipe, learning_rate, make_optimizer

# Of the distance of colour distributions: one pixel in so many, directions besides the bands.
SPARSE, DIRECTIONS = 4, 8


class Trainer:
    """Networks, optimizers, and one step of both.

    Attributes
    ----------
    average : torch.nn.Module
        The generator's running average, which is the result.
    """

    def __init__(
        self, config: TrainStyleConfig, recipe: Recipe, device: torch.device, domains: int = 0
    ) -> None:
        self.config, self.recipe, self.device = config, recipe, device
        torch.manual_seed(config.seed)
        self.generator = build_generator(config.preset, config.bands, config.adain, domains)
        self.generator.to(device)
        self.discriminator = build_discriminator(config.preset, config.bands).to(device)
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.vgg = Perceptual(config.vgg).to(device) if recipe.perceptual > 0 else None
        self.optimizers = [
            make_optimizer(network.parameters(), recipe)
            for network in (self.generator, self.discriminator)
        ]

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint needs."""
        return {
            "generator": self.generator.state_dict(),
            "judge": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["judge"])
        self.average.load_state_dict(state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)

    def step(
        self, number: int, samples: NDArray[np.uint8], domains: Sequence[int] = ()
    ) -> dict[str, float]:
        """Take one step with (2 n, 2, bands, side, side) samples: n images of A, then n of B.

        For ``daug``, `domains` has the number of each image's.
        """
        config, views = self.config, self.recipe.views
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(number, config, self.recipe)
        images = torch.from_numpy(samples).to(self.device).float() / 255
        patches = _flat(images[:, :views])
        # The other view of each patch, for "same style": with two views the patches' neighbours.
        other = None if views == 2 else _flat(images[:, 1:])
        with mixed_precision(self.device):
            declared = torch.tensor(domains, dtype=torch.long, device=self.device)
            figures, fake = self._generator_step(patches, other, number, declared)
            if (number - 1) % config.critic_every == 0:
                figures |= self._discriminator_step(patches, other, fake)
        update_ema(self.average, self.generator, min(config.ema, number / (number + 10)))
        return figures

    def _generator_step(
        self,
        real: torch.Tensor,
        other: torch.Tensor | None,
        number: int,
        domains: torch.Tensor,
    ) -> tuple[dict[str, float], torch.Tensor]:
        """Eq. 1. A and B are the halves of one batch, so both directions are one pass."""
        recipe, generator = self.recipe, self.generator
        images = len(real) // self.recipe.views
        declared = None
        if isinstance(generator, DomainGenerator):
            generator.observe(measure_gaussian(real, images), domains)
            declared = generator.domain_look(domains)
        content, look = generator.encode(real, images=images, look=declared)
        fake = generator.decode(content, look, _swapped(look))
        fake_content, fake_look = generator.encode(
            fake, images=images, look=None if declared is None else _swapped(look)
        )
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
            self.discriminator.requires_grad_(False)
            score, embedding = self.discriminator(fake)
            terms["adversarial"] = losses.adversarial_generator(score.chunk(2))
            if recipe.contrastive > 0:
                with torch.no_grad():
                    own, partner = self._embed(real, other)
                terms["contrastive"] = self._contrast(
                    embedding, torch.cat(own.chunk(2)[::-1]), partner
                )
            self.discriminator.requires_grad_(True)
        self._descend(0, recipe.total(terms))
        return {name: float(term.detach()) for name, term in terms.items()}, fake.detach()

    def _discriminator_step(
        self, real: torch.Tensor, other: torch.Tensor | None, fake: torch.Tensor
    ) -> dict[str, float]:
        """Eq. 2."""
        recipe = self.recipe
        if recipe.adversarial == 0 and recipe.contrastive == 0:
            return {}
        real_score, own = self.discriminator(real)
        fake_score, made = self.discriminator(fake)
        terms = {
            "adversarial": losses.adversarial_discriminator(
                real_score.chunk(2), fake_score.chunk(2)
            )
        }
        if recipe.contrastive > 0:
            partner = _neighbours(own) if other is None else self.discriminator(other)[1]
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
        own = self.discriminator(real)[1]
        return own, _neighbours(own) if other is None else self.discriminator(other)[1]

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
        network = (self.generator, self.discriminator)[which]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def _flat(images: torch.Tensor) -> torch.Tensor:
    """(images, views, ...) to (patches, ...), the views of an image one after another."""
    return images.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _swapped(look: StyleStatistics) -> StyleStatistics:
    """Give A's images the looks of B's, and the reverse."""
    half = len(look.pixels.mean) // 2
    return look.each(lambda tensor: tensor.roll(half, 0))


def _neighbours(embedding: torch.Tensor) -> torch.Tensor:
    """Swap the two views of each image."""
    return embedding.reshape(-1, 2, embedding.shape[1]).flip(1).flatten(0, 1)
