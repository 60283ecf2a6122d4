"""The losses of SS(DA)², with their equations in the paper (Zhang, Shi and Zhu, Section III)."""

import torch
from torch.nn import functional


def reconstruction(restored: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return the smooth L1 distance of an image and its reconstruction: L_rec (3) or L_cyc (8).

    Parameters
    ----------
    restored, image : (N, bands, H, W) float tensors, 0..1
    """
    return functional.smooth_l1_loss(restored, image)


def adversarial_discriminator(
    real: tuple[torch.Tensor, ...], fake: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """Return L_adv of the discriminator (5): least squares, 0 for real images, 1 for fake ones.

    Parameters
    ----------
    real, fake : tuples of (N,) float tensors
        Scores; each tensor is one term, its mean over the batch.
    """
    terms = [score.square().mean() for score in real]
    terms += [(score - 1).square().mean() for score in fake]
    return torch.stack(terms).sum()


def adversarial_generator(fake: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return L_adv of the generator (6), which wants scores of 0; see the discriminator's."""
    return torch.stack([score.square().mean() for score in fake]).sum()


def perceptual(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of features of any shape: one term of L_per (9).

    Parameters
    ----------
    features, target : tensors
        Of the same shape.
    """
    return functional.mse_loss(features.float(), target.float())


def contrastive_batch(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Return L_con as the paper writes it (10, 11): one softmax over the batch's N + N pairs.

    Parameters
    ----------
    anchor, positive, negative : (N, size) float tensors of unit length
        For the discriminator (10): A1, A2 and A1->B; for the generator (11): A1->B, B and A2.
    temperature : float
        Divides the cosines; 1 in the paper.
    """
    same_style = (anchor * positive).sum(1) / temperature
    other_style = (anchor * negative).sum(1) / temperature
    return torch.logsumexp(torch.cat([same_style, other_style]), 0) - same_style.mean()


def contrastive_infonce(
    anchor: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    temperature: float = 0.1,
    views: int = 1,
) -> torch.Tensor:
    """Return L_con as InfoNCE (van den Oord et al. 2018): each anchor against all 2N candidates.

    Parameters
    ----------
    anchor, positive, negative : (N, size) float tensors of unit length
        As for :func:`contrastive_batch`.
    temperature : float
        Divides the cosines.
    views : int
        Number of consecutive entries that show one image; its other views are no negatives.
    """
    count = len(anchor)
    logits = anchor @ torch.cat([positive, negative]).T / temperature
    if views > 1:
        image = torch.arange(count, device=anchor.device) // views
        same = image[:, None] == image[None, :]
        same.fill_diagonal_(False)
        blocked = torch.cat([same, torch.zeros_like(same)], 1)
        logits = logits.masked_fill(blocked, -torch.inf)
    return functional.cross_entropy(logits, torch.arange(count, device=anchor.device))


def structure(translated: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Return 1 minus the correlation of the differences between neighbouring cells, by band.

    Not in the paper. It is 0 where the images differ in brightness and contrast only. Cells of 1, 2
    and 4 pixels have equal weight: edges that were added, lost or inverted show at one of them.

    Parameters
    ----------
    translated, image : (N, bands, H, W) float tensors
        H and W multiples of 4.
    """
    terms = []
    translated, image = translated.float(), image.float()
    for _ in range(3):
        for dim in (2, 3):
            steps, own = translated.diff(dim=dim).flatten(2), image.diff(dim=dim).flatten(2)
            terms.append(1 - functional.cosine_similarity(steps, own, dim=2, eps=1e-6).mean())
        translated, image = functional.avg_pool2d(translated, 2), functional.avg_pool2d(image, 2)
    return torch.stack(terms).mean()


def sliced_wasserstein(
    translated: torch.Tensor, target: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Return the distance of colour distributions: mean Wasserstein-1 along directions.

    Not in the paper, whose only losses of style similarity are L_con and L_adv. The distance is
    that of Rabin et al. 2012; sorting is optimal transport in one dimension.

    Parameters
    ----------
    translated, target : (images, bands, pixels) float tensors
    directions : (directions, bands) float tensor
        Vectors of unit length in band space.
    """
    with torch.autocast(translated.device.type, enabled=False):
        first = torch.matmul(directions, translated.float()).sort(2).values
        second = torch.matmul(directions, target.float()).sort(2).values
        return (first - second).abs().mean()


def photometric(translated: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute distance from images under a known photometric change.

    Not in the paper. Pixels that the change takes out of 0..1 say nothing and are left out.

    Parameters
    ----------
    translated, truth : (N, bands, H, W) float tensors
    """
    inside = (truth > 0) & (truth < 1)
    return ((translated - truth).abs() * inside).sum() / inside.sum().clamp(min=1)
