"""Training of StarGAN v2, with the hyperparameters of its paper."""

from typing import Any

import torch

from geossda.models import translation_losses as losses
from geossda.models.stargan_v2 import NOISE, StarGanV2
from geossda.training.translation_trainer import TranslationTrainer


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
