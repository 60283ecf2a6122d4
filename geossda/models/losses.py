"""Losses that leave out pixels without a label."""

import torch
from torch.nn import functional


def masked_bce(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the mean of binary cross-entropy over the pixels of weight 1 and all outputs.

    Parameters
    ----------
    logits, target : (N, outputs, H, W) float tensors
        `target` in 0..1.
    weight : (N, 1, H, W) float tensor

    Returns
    -------
    scalar tensor
    """
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return (entropy * weight).sum() / (weight.sum() * logits.shape[1]).clamp(min=1)


def masked_bce_dice(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Return the mean of binary cross-entropy and soft Dice over the pixels of weight 1.

    Parameters
    ----------
    logits, target, weight : (N, 1, H, W) float tensors
        `target` and `weight` in 0..1; weight 0 leaves a pixel out (nodata).

    Returns
    -------
    scalar tensor
        Dice over the whole batch, so that a patch without buildings does not count as a miss
        (V-Net: Milletari et al. 2016, with sums over the batch).
    """
    logits = logits.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    entropy = entropy / weight.sum().clamp(min=1)
    probability = torch.sigmoid(logits) * weight
    overlap = (probability * target).sum()
    dice = 1 - (2 * overlap + 1) / (probability.sum() + (target * weight).sum() + 1)
    return (entropy + dice) / 2
