"""Test-time augmentation: a network asked about a window and its mirror images and turns."""

import torch
from torch import nn

# Whether rows, columns and both of them (the diagonal) change places. The first two are the window
# and its mirror image, the first four all that leave rows as rows.
EVERY = tuple(
    (rows, cols, diagonal)
    for diagonal in (False, True)
    for rows in (False, True)
    for cols in (False, True)
)


class Symmetric(nn.Module):
    """Average a network's logits over symmetries of the square.

    Imagery from above has no up or left, and yet no network is quite indifferent to them. What it
    gets wrong in one position it often gets right in another.

    Parameters
    ----------
    network : torch.nn.Module
        (N, bands, side, side) to (N, 1, side, side) logits.
    count : {1, 2, 4, 8}
        How many symmetries; it takes as many times as long.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Take (N, bands, side, side) in 0..1; give (N, 1, side, side) logits."""
        total: torch.Tensor = self.network(image).float()
        for symmetry in EVERY[1 : self.count]:
            turned = _turned(image, *symmetry).contiguous(memory_format=torch.channels_last)
            total += _turned_back(self.network(turned).float(), *symmetry)
        return total / self.count


def _turned(image: torch.Tensor, rows: bool, cols: bool, diagonal: bool) -> torch.Tensor:
    image = image.transpose(2, 3) if diagonal else image
    return image.flip([axis for axis, turned in ((2, rows), (3, cols)) if turned])


def _turned_back(image: torch.Tensor, rows: bool, cols: bool, diagonal: bool) -> torch.Tensor:
    image = image.flip([axis for axis, turned in ((2, rows), (3, cols)) if turned])
    return image.transpose(2, 3) if diagonal else image
