"""Losses of the compared translation methods, with their sources."""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional


def least_squares_discriminator(
    real: Sequence[torch.Tensor], fake: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return LSGAN's loss of discriminators (Mao et al. 2017): 1 for real images, 0 for fake.

    Parameters
    ----------
    real, fake : sequences of float tensors
        Scores of any shape, one tensor per discriminator. Each one's two means are averaged, which
        halves its speed against the generator's, as CycleGAN does.
    """
    each = [
        ((score - 1).square().mean() + other.square().mean()) / 2
        for score, other in zip(real, fake, strict=True)
    ]
    return torch.stack(each).sum()


def least_squares_generator(fake: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return LSGAN's loss of generators, which want scores of 1; one tensor per discriminator."""
    return torch.stack([(score - 1).square().mean() for score in fake]).sum()


def classification(logits: torch.Tensor, domains: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of the domains that a discriminator takes images for.

    Parameters
    ----------
    logits : (N, domains) float tensor
    domains : (N,) int tensor
    """
    return functional.cross_entropy(logits.float(), domains)


def wasserstein_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return WGAN's loss of the critic (Arjovsky et al. 2017): fake less real.

    Parameters
    ----------
    real, fake : float tensors
        Scores of any shape.
    """
    return fake.mean() - real.mean()


def gradient_penalty(
    critic: Callable[[torch.Tensor], torch.Tensor],
    real: torch.Tensor,
    fake: torch.Tensor,
    fractions: torch.Tensor,
) -> torch.Tensor:
    """Return WGAN-GP's penalty (Gulrajani et al. 2017): gradients between images have norm 1.

    Parameters
    ----------
    critic : callable
        Images to scores of any shape, of one image each.
    real, fake : (N, bands, height, width) float tensors, 0..1
        Gradients are taken in units of -1..1.
    fractions : (N,) float tensor, 0..1
        Where between the two each penalty is taken.
    """
    share = fractions[:, None, None, None]
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    slope = _slopes(critic, between)
    excess: torch.Tensor = slope.norm(dim=1) - 1
    return excess.square().mean()


def r1_penalty(critic: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """Return R1 (Mescheder et al. 2018): half the squared gradient of the scores of real images.

    Parameters
    ----------
    critic : callable
        Images to scores of any shape, of one image each.
    real : (N, bands, height, width) float tensor, 0..1
        Gradients are taken in units of -1..1.
    """
    slope = _slopes(critic, real.detach().clone().requires_grad_(True))
    return slope.square().sum(1).mean() / 2


def logistic_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the logistic loss of the discriminator (Goodfellow et al. 2014).

    Parameters
    ----------
    real, fake : float tensors
        Scores of any shape.
    """
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def logistic_generator(fake: torch.Tensor) -> torch.Tensor:
    """Return the non-saturating logistic loss of the generator; scores of any shape."""
    return functional.softplus(-fake).mean()


def distance(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference (L1) in units of -1..1, in which the papers weight it.

    Parameters
    ----------
    image, other : (N, bands, height, width) float tensors, 0..1
    """
    return 2 * functional.l1_loss(image, other)


def _slopes(critic: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Return gradients of the scores, (N, numbers), in units of -1..1, to differentiate again."""
    (slope,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return slope.flatten(1) / 2
