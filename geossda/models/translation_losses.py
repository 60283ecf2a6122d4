"""Losses of the compared translation methods, with their sources."""

from collections.abc import Sequence

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


def distance(image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference (L1) in units of -1..1, in which the papers weight it.

    Parameters
    ----------
    image, other : (N, bands, height, width) float tensors, 0..1
    """
    return 2 * functional.l1_loss(image, other)
