"""Training of StandardGAN, with the hyperparameters of its paper."""

import torch

from geossda.models import translation_losses as losses
from geossda.models.standardgan import MultitaskDiscriminator
from geossda.models.translation import one_hot
from geossda.training.translation_trainer import TranslationTrainer


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
