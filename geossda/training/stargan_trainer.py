"""Training of StarGAN, with the hyperparameters of its paper."""

import torch

from geossda.models import translation_losses as losses
from geossda.models.stargan import StarGanDiscriminator
from geossda.models.translation import one_hot
from geossda.training.translation_trainer import TranslationTrainer


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
