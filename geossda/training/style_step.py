"""One step of SS(DA)²: the generator's, then the discriminator's."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.color.mixture import match_land
from geossda.config import TrainStyleConfig
from geossda.devices import mixed_precision
from geossda.models import style_losses as losses
from geossda.models.daug import DomainGenerator
from geossda.models.generator import Generator
from geossda.models.perceptual import Perceptual
from geossda.models.style_statistics import (
    Gaussian,
    StyleStatistics,
    image_pixels,
    measure_gaussian,
)
from geossda.training.adversarial_trainer import AdversarialTrainer
from geossda.training.photometric_changes import apply_changes, random_changes
from geossda.training.style_recipe import Recipe, learning_rate, make_optimizer

# The distance of colour distributions takes one pixel in so many, and so many random directions
# besides the bands.
PIXEL_STRIDE, DIRECTIONS = 4, 8
# Like land is matched on one pixel in so many (odd, so that it does not stay in some columns), with
# so many Gaussians.
LAND_STRIDE, LAND_COMPONENTS = 37, 8


class StyleTrainer(AdversarialTrainer):
    """A run of SS(DA)², with one step of both networks.

    Parameters
    ----------
    config : TrainStyleConfig
    recipe : Recipe
    device : torch.device
    domains : int
        Number of declared domains, for ``daug``.
    """

    generator: Generator

    def __init__(
        self, config: TrainStyleConfig, recipe: Recipe, device: torch.device, domains: int = 0
    ) -> None:
        self.recipe = recipe
        super().__init__(config, device, domains)
        self.vgg = Perceptual(config.vgg).to(device) if recipe.perceptual > 0 else None

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers of both networks."""
        return [
            make_optimizer(network.parameters(), self.recipe)
            for network in (self.generator, self.discriminator)
        ]

    @property
    def samples(self) -> int:
        """Samples of a step, of as many patches as share a style."""
        return 2 * self.config.batch // self.recipe.views

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step."""
        return learning_rate(self.steps, self.config, self.recipe)

    def update(self, samples: NDArray[np.uint8], domains: Sequence[int]) -> dict[str, float]:
        """Take one step of the generator, and of the discriminator where it is its turn.

        Parameters
        ----------
        samples : (2 n, 2 or 4, bands, side, side) uint8 array
            Two views of each image: n images of A, then n of B. With the photometric loss, two
            views of another place of the same raster besides.
        domains : sequence of int
            The domain of each image, for ``daug``.
        """
        config, views = self.config, self.recipe.views
        images = torch.from_numpy(samples).to(self.device).float() / 255
        patches = _flat(images[:, :views])
        elsewhere = _flat(images[:, 2 : 2 + views]) if self.recipe.photometric > 0 else None
        # The other view of each patch, the positive of the contrastive loss: with two views the
        # patches' neighbours.
        other = None if views == 2 else _flat(images[:, 1:2])
        with mixed_precision(self.device):
            declared = torch.tensor(domains, dtype=torch.long, device=self.device)
            losses_of_step, fake = self._generator_step(patches, other, elsewhere, declared)
            if (self.steps - 1) % config.critic_every == 0:
                losses_of_step |= self._discriminator_step(patches, other, fake)
        return losses_of_step

    def _generator_step(
        self,
        real: torch.Tensor,
        other: torch.Tensor | None,
        elsewhere: torch.Tensor | None,
        domains: torch.Tensor,
    ) -> tuple[dict[str, float], torch.Tensor]:
        """Take the generator's step (Eq. 1); return its loss terms and the translated patches.

        A and B are the halves of one batch, so both directions are one pass.
        """
        recipe, generator = self.recipe, self.generator
        images = len(real) // self.recipe.views
        declared = None
        if isinstance(generator, DomainGenerator):
            generator.update_gaussians(measure_gaussian(real, images), domains)
            declared = generator.domain_style(domains)
        content, style = generator.encode(real, images=images, style=declared)
        target = _swapped(style)
        if elsewhere is not None:
            target = _like_land(target, real, real.roll(len(real) // 2, 0), style)
        fake = generator.decode(content, style, target)
        fake_content, fake_style = generator.encode(
            fake, images=images, style=None if declared is None else _swapped(style)
        )
        cycled = generator.decode(fake_content, fake_style, _swapped(fake_style))
        # Each loss is a mean over A's and B's patches together; the paper adds a mean of each.
        terms = {"cycle": 2 * losses.reconstruction(cycled, real)}
        restored = [cycled]
        if recipe.reconstruction > 0:
            restored.append(generator.decode(content, style, style))
            terms["reconstruction"] = 2 * losses.reconstruction(restored[-1], real)
        if self.vgg is not None:
            with torch.no_grad():
                target = self.vgg(real)
            each = [losses.perceptual(self.vgg(image), target) for image in restored]
            terms["perceptual"] = 2 * torch.stack(each).sum()
        if recipe.color > 0:
            terms["color"] = self._color_distance(fake, real, images)
        if elsewhere is not None:
            terms["photometric"] = self._photometric(real, elsewhere, images)
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
        """Take the discriminator's step (Eq. 2); return its loss terms."""
        recipe = self.recipe
        if recipe.adversarial == 0 and recipe.contrastive == 0:
            return {}
        real_score, own = self.discriminator(real)
        fake_score, fake_embedding = self.discriminator(fake)
        terms = {
            "adversarial": losses.adversarial_discriminator(
                real_score.chunk(2), fake_score.chunk(2)
            )
        }
        if recipe.contrastive > 0:
            partner = _neighbours(own) if other is None else self.discriminator(other)[1]
            terms["contrastive"] = self._contrast(own, partner, fake_embedding)
        self._descend(1, recipe.total(terms))
        return {f"discriminator_{name}": float(term.detach()) for name, term in terms.items()}

    def _color_distance(self, fake: torch.Tensor, real: torch.Tensor, images: int) -> torch.Tensor:
        """Return the distance of each translation, its views together, from its style image."""
        random = self.random()
        bands = real.shape[1]
        directions = torch.randn((DIRECTIONS, bands), generator=random)
        directions = torch.cat([torch.eye(bands), torch.nn.functional.normalize(directions)])
        translated, target = (image_pixels(x, images)[:, :, ::PIXEL_STRIDE] for x in (fake, real))
        target = target.roll(images // 2, 0)
        return losses.sliced_wasserstein(translated, target, directions.to(real.device))

    def _photometric(
        self, real: torch.Tensor, elsewhere: torch.Tensor, images: int
    ) -> torch.Tensor:
        """Return the distance of places from themselves under a change that another place shows."""
        random = self.random()
        changes = random_changes(real[:: len(real) // images], random)
        reference, truth = apply_changes(real, changes), apply_changes(elsewhere, changes)
        content, own = self.generator.encode(elsewhere, images=images)
        _, style = self.generator.encode(reference, images=images)
        style = _like_land(style, elsewhere, reference, own)
        return losses.photometric(self.generator.decode(content, own, style), truth)

    def _embed(
        self, real: torch.Tensor, other: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embeddings of patches and of their other views."""
        own = self.discriminator(real)[1]
        return own, _neighbours(own) if other is None else self.discriminator(other)[1]

    def _contrast(
        self, anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
    ) -> torch.Tensor:
        """Return L_con: in preset ``paper`` on A's side, else on A's and B's in one batch."""
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
    """Return (images, views, ...) as (patches, ...), the views of an image next to each other."""
    return images.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _swapped(style: StyleStatistics) -> StyleStatistics:
    """Return the styles of B's images for A's, and the reverse."""
    half = len(style.pixels.mean) // 2
    return style.map_tensors(lambda tensor: tensor.roll(half, 0))


@torch.no_grad()
def _like_land(
    style: StyleStatistics, source: torch.Tensor, reference: torch.Tensor, own: StyleStatistics
) -> StyleStatistics:
    """Return styles whose Gaussians are what matching like land makes of the sources' own."""
    images = len(own.pixels.mean)
    pixels, others = (
        image_pixels(x, images)[:, :, ::LAND_STRIDE].double().cpu().numpy()
        for x in (source, reference)
    )
    moments = [part.double().cpu().numpy() for part in own.pixels]
    matched = [
        match_land(one, other, LAND_COMPONENTS).gaussian(mean, covariance)
        for one, other, mean, covariance in zip(pixels, others, *moments, strict=True)
    ]
    mean, covariance = (
        torch.from_numpy(np.stack(part)).to(own.pixels.mean) for part in zip(*matched, strict=True)
    )
    return StyleStatistics(Gaussian(mean, covariance), style.groups)


def _neighbours(embedding: torch.Tensor) -> torch.Tensor:
    """Return the embedding of the other view of each image's two."""
    return embedding.reshape(-1, 2, embedding.shape[1]).flip(1).flatten(0, 1)
