"""One step of each compared translation method, with the hyperparameters of its paper."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.config import TrainStyleConfig
from geossda.devices import mixed_precision
from geossda.errors import InputError, counted
from geossda.models import translation_losses as losses
from geossda.models.stargan_v2 import NOISE, StarGanV2
from geossda.models.translation import (
    CycleGan,
    MultitaskDiscriminator,
    StarGanDiscriminator,
    Translator,
    one_hot,
)
from geossda.training.adversarial_trainer import AdversarialTrainer

Tensors = list[torch.Tensor]


class TranslationTrainer(AdversarialTrainer):
    """A run of a method that translates between declared domains.

    Parameters
    ----------
    config : TrainStyleConfig
    device : torch.device
    domains : int

    Raises
    ------
    InputError
        The method cannot have so many domains, or the batch is smaller.
    """

    most_domains: int | None = None
    lr: float
    betas: tuple[float, float] = (0.5, 0.999)
    generator: Translator

    def __init__(self, config: TrainStyleConfig, device: torch.device, domains: int) -> None:
        self.check_domains(domains, config)
        self.domains = domains
        super().__init__(config, device, domains)

    @classmethod
    def check_domains(cls, domains: int, config: TrainStyleConfig) -> None:
        """Raise InputError if the method cannot have so many domains, or not with this batch.

        Parameters
        ----------
        domains : int
        config : TrainStyleConfig

        Raises
        ------
        InputError
            The message says what the method needs.
        """
        if domains < 2 or domains > (cls.most_domains or domains):
            wanted = "two" if cls.most_domains == 2 else "two or more"
            raise InputError(
                f"preset {config.preset} translates between {wanted} domains, the rasters are of "
                f"{domains}: give {wanted} folders, each with the rasters of one domain"
            )
        if config.batch < domains:
            raise InputError(
                f"batch {config.batch} has no patch of each of {counted(domains, 'domain')}: give "
                f"--batch {domains + domains % 2}"
            )

    @property
    def samples(self) -> int:
        """Patches of a step."""
        return self.config.batch

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step: constant, then linear to zero over the last half."""
        initial = self.lr if self.config.lr is None else self.config.lr
        return initial * min(1.0, 2 * (1 - (self.steps - 1) / self.config.steps))

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return Adam for both networks."""
        return [
            torch.optim.Adam(network.parameters(), self.lr, self.betas)
            for network in (self.generator, self.discriminator)
        ]

    def update(self, samples: NDArray[np.uint8], domains: Sequence[int]) -> dict[str, float]:
        """Take one step of both networks on the first view of each sample.

        Parameters
        ----------
        samples : (patches, 2, bands, side, side) uint8 array
        domains : sequence of int
            The domain of each patch.
        """
        patches = torch.from_numpy(np.ascontiguousarray(samples[:, 0])).to(self.device)
        real = (patches.float() / 255).contiguous(memory_format=torch.channels_last)
        with mixed_precision(self.device):
            terms = self.losses_of(real, torch.tensor(domains, device=self.device))
        return {name: float(term.detach()) for name, term in terms.items()}

    @abstractmethod
    def losses_of(self, real: torch.Tensor, domains: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take one step of both networks; return its loss terms, unweighted.

        Parameters
        ----------
        real : (patches, bands, side, side) float tensor, 0..1
        domains : (patches,) int tensor
        """

    def other_domains(self, domains: torch.Tensor) -> torch.Tensor:
        """Return a random domain for each patch that is not its own.

        Parameters
        ----------
        domains : (patches,) int tensor
        """
        steps = torch.randint(1, self.domains, domains.shape, generator=self.random())
        return (domains + steps.to(domains.device)) % self.domains

    def descend(self, which: int, loss: torch.Tensor) -> None:
        """Take a step of one optimizer.

        Parameters
        ----------
        which : int
            0 for the generator, 1 for the discriminator.
        loss : scalar tensor
        """
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[which].step()


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


class StandardGanTrainer(TranslationTrainer):
    """StandardGAN (Tasar et al. 2020): each patch to another domain, back, and to its own.

    Least squares (weight 1), the class of the domain (1), there and back (L1, 10), and to itself
    (L1, 10).

    Parameters
    ----------
    config, device, domains
        As for :class:`TranslationTrainer`.
    """

    lr = 2e-4
    cross, itself = 10.0, 10.0
    discriminator: MultitaskDiscriminator

    def losses_of(self, real: torch.Tensor, domains: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take one step of both networks; return its loss terms, unweighted.

        Parameters
        ----------
        real, domains
            As for :meth:`TranslationTrainer.losses_of`.
        """
        targets = self.other_domains(domains)
        own, other = (one_hot(each, self.domains) for each in (domains, targets))
        fake = self.generator.translate(real, other)
        self.discriminator.requires_grad_(False)
        score, logits = self.discriminator.scores_and_logits(fake)
        self.discriminator.requires_grad_(True)
        terms = {
            "adversarial": losses.least_squares_generator([score]),
            "classification": losses.classification(logits, targets),
            "cross": losses.distance(self.generator.translate(fake, own), real),
            "itself": losses.distance(self.generator.translate(real, own), real),
        }
        self.descend(
            0,
            terms["adversarial"]
            + terms["classification"]
            + self.cross * terms["cross"]
            + self.itself * terms["itself"],
        )
        score, logits = self.discriminator.scores_and_logits(real)
        of_fake, _ = self.discriminator.scores_and_logits(fake.detach())
        terms["discriminator"] = losses.least_squares_discriminator([score], [of_fake])
        terms["discriminator_classification"] = losses.classification(logits, domains)
        self.descend(1, terms["discriminator"] + terms["discriminator_classification"])
        return terms


class StarGanTrainer(TranslationTrainer):
    """StarGAN (Choi et al. 2018): a label is the target; four of five steps are the critic's alone.

    Wasserstein with gradient penalty (weight 10), the class of the domain (1), there and back (L1,
    10).

    Parameters
    ----------
    config, device, domains
        As for :class:`TranslationTrainer`.
    """

    lr = 1e-4
    penalty, cycle, critic_steps = 10.0, 10.0, 5
    discriminator: StarGanDiscriminator

    def losses_of(self, real: torch.Tensor, domains: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take a step of the critic, and each fifth time of the generator.

        Parameters
        ----------
        real, domains
            As for :meth:`TranslationTrainer.losses_of`.
        """
        targets = self.other_domains(domains)
        own, other = (one_hot(each, self.domains) for each in (domains, targets))
        fractions = torch.rand(len(real), generator=self.random()).to(real.device)
        with torch.no_grad():
            fake = self.generator.translate(real, other)
        score, logits = self.discriminator.scores_and_logits(real)
        of_fake, _ = self.discriminator.scores_and_logits(fake)
        penalty = losses.gradient_penalty(
            lambda images: self.discriminator.scores_and_logits(images)[0].mean((1, 2, 3)),
            real,
            fake,
            fractions,
        )
        terms = {
            "discriminator": losses.wasserstein_discriminator(score, of_fake),
            "discriminator_classification": losses.classification(logits, domains),
            "gradient_penalty": penalty,
        }
        self.descend(
            1,
            terms["discriminator"] + terms["discriminator_classification"] + self.penalty * penalty,
        )
        if self.steps % self.critic_steps:
            return terms
        fake = self.generator.translate(real, other)
        self.discriminator.requires_grad_(False)
        score, logits = self.discriminator.scores_and_logits(fake)
        self.discriminator.requires_grad_(True)
        terms |= {
            "adversarial": -score.mean(),
            "classification": losses.classification(logits, targets),
            "cycle": losses.distance(self.generator.translate(fake, own), real),
        }
        self.descend(
            0, terms["adversarial"] + terms["classification"] + self.cycle * terms["cycle"]
        )
        return terms


class StarGanV2Trainer(TranslationTrainer):
    """StarGAN v2 (Choi et al. 2020): each step by styles of noise, then by those of references.

    Non-saturating logistic loss with R1 (weight 1), styles found again (L1, 1), unlike outputs of
    unlike styles (-L1, from 1 to 0 over the run), there and back (L1, 1).

    Parameters
    ----------
    config, device, domains
        As for :class:`TranslationTrainer`.
    """

    lr, betas = 1e-4, (0.0, 0.99)
    # Of the mapping network, of 1e-6 in the paper.
    mapping_factor = 0.01
    generator: StarGanV2

    @property
    def learning_rate(self) -> float:
        """Learning rate, which is constant."""
        return self.lr if self.config.lr is None else self.config.lr

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return Adam for both networks, the mapping network at its own rate."""
        mapping = list(self.generator.mapping.parameters())
        others = [
            parameter
            for name, parameter in self.generator.named_parameters()
            if not name.startswith("mapping.")
        ]
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": mapping, "lr_factor": self.mapping_factor},
        ]
        return [
            torch.optim.Adam(groups, self.lr, self.betas, weight_decay=1e-4),
            torch.optim.Adam(
                self.discriminator.parameters(), self.lr, self.betas, weight_decay=1e-4
            ),
        ]

    def losses_of(self, real: torch.Tensor, domains: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take two steps of both networks; return the loss terms of those by references.

        Parameters
        ----------
        real, domains
            As for :meth:`TranslationTrainer.losses_of`.
        """
        random = self.random()
        targets = self.other_domains(domains)
        noise = torch.randn((2, len(real), NOISE), generator=random).to(real.device)
        references = [real[self._of(targets, domains, random)] for _ in range(2)]
        terms: dict[str, torch.Tensor] = {}
        # The critic's two steps first, then the generator's two, as the published code does.
        for drawn in (True, False):
            with torch.no_grad():
                style = self._style(noise[0] if drawn else references[0], targets)
            terms |= self._critic_step(real, domains, targets, style)
        for drawn in (True, False):
            given = list(noise) if drawn else references
            terms |= self._generator_step(real, domains, targets, given)
        return terms

    def _critic_step(
        self, real: torch.Tensor, own: torch.Tensor, targets: torch.Tensor, style: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            fake = self.generator.translate(real, self.generator.code_of(style, targets))
        loss = losses.logistic_discriminator(
            self.discriminator(real, own), self.discriminator(fake, targets)
        )
        penalty = losses.r1_penalty(lambda images: self.discriminator(images, own), real)
        self.descend(1, loss + penalty)
        return {"discriminator": loss, "r1": penalty}

    def _generator_step(
        self,
        real: torch.Tensor,
        own: torch.Tensor,
        targets: torch.Tensor,
        given: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        generator, drawn = self.generator, given[0].ndim == 2
        style = self._style(given[0], targets)
        fake = generator.translate(real, generator.code_of(style, targets))
        self.discriminator.requires_grad_(False)
        score = self.discriminator(fake, targets)
        self.discriminator.requires_grad_(True)
        with torch.no_grad():
            unlike = generator.code_of(self._style(given[1], targets), targets)
            second = generator.translate(real, unlike)
        back = generator.code_of(generator.encoder(real, own), own)
        again = generator.encoder(fake, targets)
        terms = {
            "adversarial": losses.logistic_generator(score),
            "style": (again - style).abs().mean(),
            "diversity": losses.distance(fake, second),
            "cycle": losses.distance(generator.translate(fake, back), real),
        }
        weight = 1 - (self.steps - 1) / self.config.steps
        loss = terms["adversarial"] + terms["style"] + terms["cycle"] - weight * terms["diversity"]
        self.optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        if not drawn:  # the published code then takes a step of the generator alone
            for network in (generator.encoder, generator.mapping):
                for parameter in network.parameters():
                    parameter.grad = None
        self.optimizers[0].step()
        return terms

    def _style(self, given: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the styles of noise, or of references."""
        network = self.generator.mapping if given.ndim == 2 else self.generator.encoder
        style: torch.Tensor = network(given, targets)
        return style

    def _of(
        self, targets: torch.Tensor, domains: torch.Tensor, random: torch.Generator
    ) -> torch.Tensor:
        """Return the index of a random patch of each target domain."""
        chosen = []
        for target in targets.tolist():
            candidates = (domains == target).nonzero()[:, 0]
            chosen.append(candidates[int(torch.randint(len(candidates), (), generator=random))])
        return torch.stack(chosen)


def sum_of(terms: "map[torch.Tensor]") -> torch.Tensor:
    """Return the sum of scalar tensors."""
    return torch.stack(list(terms)).sum()


TRAINERS: dict[str, type[TranslationTrainer]] = {
    "cyclegan": CycleGanTrainer,
    "standardgan": StandardGanTrainer,
    "stargan": StarGanTrainer,
    "starganv2": StarGanV2Trainer,
}
