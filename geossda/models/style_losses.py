"""The losses of SS(DA)², each by its equation in the paper (Zhang, Shi and Zhu, Section III)."""

import torch
from torch.nn import functional


def reconstruction(found: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Smooth L1 between an image and its reconstruction: one term of L_rec (3) or L_cyc (8).

    Parameters
    ----------
    found, image : (N, bands, H, W) float tensors, 0..1
    """
    return functional.smooth_l1_loss(found, image)


def adversarial_discriminator(
    real: tuple[torch.Tensor, ...], fake: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """L_adv of the discriminator (5): least squares, 0 for real images, 1 for generated ones.

    Parameters
    ----------
    real, fake : tuples of (N,) float tensors
        Scores; each tensor gives one term, its mean over the batch.
    """
    terms = [score.square().mean() for score in real]
    terms += [(score - 1).square().mean() for score in fake]
    return torch.stack(terms).sum()


def adversarial_generator(fake: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """L_adv of the generator (6): generated images are to score 0."""
    return torch.stack([score.square().mean() for score in fake]).sum()


def perceptual(found: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Squared distance of features, as a mean: one term of L_per (9)."""
    return functional.mse_loss(found.float(), features.float())


def contrastive_batch(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """L_con as the paper writes it (10, 11): one softmax over the batch's N + N pairs.

    Parameters
    ----------
    anchor, positive, negative : (N, size) float tensors of unit length
        For the discriminator (10): A1, A2 and A1->B; for the generator (11): A1->B, B and A2.
    temperature : float
        Cosines are divided by it; the paper has none, which is 1.
    """
    alike = (anchor * positive).sum(1) / temperature
    unlike = (anchor * negative).sum(1) / temperature
    return torch.logsumexp(torch.cat([alike, unlike]), 0) - alike.mean()


def contrastive_infonce(
    anchor: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    temperature: float = 0.1,
    views: int = 1,
) -> torch.Tensor:
    """L_con as InfoNCE (van den Oord et al. 2018): each anchor against all 2N candidates.

    Parameters
    ----------
    anchor, positive, negative : (N, size) float tensors of unit length
        As for :func:`contrastive_batch`.
    temperature : float
        Cosines are divided by it.
    views : int
        So many neighbours in the batch show one image; its other views are no negatives.
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


def structure(found: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """1 less the correlation of the steps between neighbouring cells, band by band.

    Not in the paper. 0 where the one image is the other with another brightness and contrast. Cells
    of 1, 2 and 4 pixels count alike: edges that were added, lost or turned round show at one of
    them.

    Parameters
    ----------
    found, image : (N, bands, H, W) float tensors
        H and W multiples of 4.
    """
    lost = []
    found, image = found.float(), image.float()
    for _ in range(3):
        for dim in (2, 3):
            steps, wanted = found.diff(dim=dim).flatten(2), image.diff(dim=dim).flatten(2)
            lost.append(1 - functional.cosine_similarity(steps, wanted, dim=2, eps=1e-6).mean())
        found, image = functional.avg_pool2d(found, 2), functional.avg_pool2d(image, 2)
    return torch.stack(lost).mean()


def sliced_wasserstein(
    found: torch.Tensor, target: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Distance of colour distributions: mean Wasserstein-1 along directions in band space.

    Not in the paper, which leaves the style's likeness to L_con and L_adv alone. Rabin et al. 2012
    describe the distance; sorting is the optimal transport in one dimension.

    Parameters
    ----------
    found, target : (images, bands, pixels) float tensors
    directions : (directions, bands) float tensor
        Of unit length.
    """
    with torch.autocast(found.device.type, enabled=False):
        first = torch.matmul(directions, found.float()).sort(2).values
        second = torch.matmul(directions, target.float()).sort(2).values
        return (first - second).abs().mean()
