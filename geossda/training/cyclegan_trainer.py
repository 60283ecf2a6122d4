"""Training of CycleGAN, with the hyperparameters of its paper."""

from typing import Any

import torch

from geossda.config import TrainStyleConfig
from geossda.models import translation_losses as losses
from geossda.models.cyclegan import CycleGan
from geossda.training.translation_trainer import TranslationTrainer

Tensors = list[torch.Tensor]


class CycleGanTrainer(TranslationTrainer):
    """CycleGAN (Zhu et al. 2017): both directions, each with a discriminator of its domain.

    Least squares, cycles (L1, weight 10), identity (5), and a pool of 50 earlier translations that
    the discriminators are shown instead of half of the present ones.

    Parameters
    ----------
    config, device, domains
        As for :class:`TranslationTrainer`.
    """

    most_domains, lr = 2, 2e-4
    cycle, identity, pool_size = 10.0, 5.0, 50
    generator: CycleGan

    def __init__(self, config: TrainStyleConfig, device: torch.device, domains: int) -> None:
        super().__init__(config, device, domains)
        self.pools: list[Tensors] = [[] for _ in range(domains)]

    def state_dict(self) -> dict[str, Any]:
        """Return the checkpoint, with the pools."""
        return super().state_dict() | {"pools": self.pools}

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Restore a checkpoint."""
        super().load_state_dict(checkpoint)
        self.pools = [[one.to(self.device) for one in pool] for pool in checkpoint["pools"]]

    def losses_of(self, real: torch.Tensor, domains: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take one step of both networks; return its loss terms, unweighted.

        Parameters
        ----------
        real, domains
            As for :meth:`TranslationTrainer.losses_of`.
        """
        images = [real[domains == domain] for domain in range(self.domains)]
        # What is translated to a domain, and to the other one, is of the other one, and of it.
        fake = [self._to(domain, images[1 - domain]) for domain in range(2)]
        cycled = [self._to(domain, fake[1 - domain]) for domain in range(2)]
        same = [self._to(domain, images[domain]) for domain in range(2)]
        self.discriminator.requires_grad_(False)
        terms = {
            "adversarial": losses.least_squares_generator(self.discriminator(fake)),
            "cycle": sum_of(map(losses.distance, cycled, images)),
            "identity": sum_of(map(losses.distance, same, images)),
        }
        self.discriminator.requires_grad_(True)
        self.descend(
            0,
            terms["adversarial"] + self.cycle * terms["cycle"] + self.identity * terms["identity"],
        )
        shown = [self._pooled(domain, one.detach()) for domain, one in enumerate(fake)]
        terms["discriminator"] = losses.least_squares_discriminator(
            self.discriminator(images), self.discriminator(shown)
        )
        self.descend(1, terms["discriminator"])
        return terms

    def _to(self, domain: int, images: torch.Tensor) -> torch.Tensor:
        """Return images translated to a domain."""
        code = torch.eye(2, device=images.device)[domain : domain + 1]
        return self.generator.translate(images, code)

    def _pooled(self, domain: int, fake: torch.Tensor) -> torch.Tensor:
        """Return translations, half of them exchanged for earlier ones once the pool is full."""
        pool, random = self.pools[domain], self.random()
        shown = []
        for image in fake:
            if len(pool) < self.pool_size:
                pool.append(image)
                shown.append(image)
            elif float(torch.rand((), generator=random)) < 0.5:
                index = int(torch.randint(self.pool_size, (), generator=random))
                shown.append(pool[index])
                pool[index] = image
            else:
                shown.append(image)
        return torch.stack(shown)


def sum_of(terms: "map[torch.Tensor]") -> torch.Tensor:
    """Return the sum of scalar tensors."""
    return torch.stack(list(terms)).sum()
