"""Random photometric changes: what light, air and sensors do to the colors of an image."""

import math

import torch


def random_changes(images: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Return the parameters of one photometric change for each image.

    Ranges are those of exposure, white balance, haze and tone curves between flights.

    Parameters
    ----------
    images : (N, ...) tensor
        The number of images and of bands, its second dimension, is taken.
    random : torch.Generator

    Returns
    -------
    tuple of (N, bands or 1, 1, 1) tensors
        Gamma, curve, gain, saturation, share of haze, color of haze, and tint.
    """
    count, bands = images.shape[:2]

    def uniform(low: float, high: float, channels: int = 1) -> torch.Tensor:
        drawn = torch.rand((count, channels, 1, 1), generator=random) * (high - low) + low
        return drawn.to(images.device)

    return (
        uniform(-0.45, 0.45).exp(),
        uniform(-0.05, 0.05),
        uniform(math.log(0.6), math.log(1.4)).exp() * uniform(0.85, 1.15, bands),
        uniform(0.6, 1.3),
        uniform(0, 0.3),
        uniform(0.4, 0.65, bands),
        uniform(-0.05, 0.05, bands),
    )


def apply_changes(patches: torch.Tensor, changes: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return patches under the photometric change of their image, in 0..1.

    Parameters
    ----------
    patches : (patches, bands, height, width) tensor, 0..1
        The patches of one image follow each other.
    changes : tuple of tensors
        As :func:`random_changes` returns them.
    """
    views = len(patches) // len(changes[0])
    gamma, curve, gain, saturation, haze, air, tint = (
        part.repeat_interleave(views, 0) for part in changes
    )
    x = patches.clamp(min=1e-4) ** gamma * gain
    x = x + curve * torch.sin(2 * math.pi * x.clamp(0, 1))
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * saturation
    return ((x * (1 - haze) + haze * air) + tint).clamp(0, 1)
