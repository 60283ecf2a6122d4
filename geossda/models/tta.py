"""Test-time augmentation: predictions averaged over mirror images and rotations of a window."""

import torch
from torch import nn

# Whether rows are reversed, columns are reversed, and rows and columns are exchanged. The first two
# are the window and its mirror image, the first four all that leave rows as rows.
SYMMETRIES = tuple(
    (rows, cols, diagonal)
    for diagonal in (False, True)
    for rows in (False, True)
    for cols in (False, True)
)


class Symmetric(nn.Module):
    """Average a network's logits over symmetries of the square.

    Imagery from above has no preferred direction, but no network is fully invariant: what it gets
    wrong in one orientation it often gets right in another.

    Parameters
    ----------
    network : torch.nn.Module
        (N, bands, side, side) to (N, 1, side, side) logits.
    count : {1, 2, 4, 8}
        Number of symmetries; prediction takes as many times as long.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (N, 1, side, side) mean logits of (N, bands, side, side) images in 0..1."""
        total: torch.Tensor = self.network(image).float()
        for symmetry in SYMMETRIES[1 : self.count]:
            turned = _turned(image, *symmetry).contiguous(memory_format=torch.channels_last)
            total += _turned_back(self.network(turned).float(), *symmetry)
        return total / self.count


def _turned(image: torch.Tensor, rows: bool, cols: bool, diagonal: bool) -> torch.Tensor:
    image = image.transpose(2, 3) if diagonal else image
    return image.flip([axis for axis, turned in ((2, rows), (3, cols)) if turned])


def _turned_back(image: torch.Tensor, rows: bool, cols: bool, diagonal: bool) -> torch.Tensor:
    image = image.flip([axis for axis, turned in ((2, rows), (3, cols)) if turned])
    return image.transpose(2, 3) if diagonal else image
