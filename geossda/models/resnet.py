"""The residual generator that translators share."""

import torch
from torch import nn
from torch.nn import functional

from geossda.models.translation import InstanceNorm

# Residual blocks of a generator. The papers have 6 to 9 for 128 to 256 px; patches are smaller.
BLOCKS = 4


class Resnet(nn.Module):
    """The generator of Johnson et al. 2016: two halvings, residual blocks, two doublings.

    Parameters
    ----------
    bands : int
    width : int
        Channels of the first layer; each halving doubles them.
    blocks : int
        Residual blocks.
    labels : int
        Numbers that are given with each image. They are maps beside the bands and beside what the
        last layer takes, and the first layer is then not normalised: instance normalisation
        removes what is constant over an image, as a label is.

    Attributes
    ----------
    stride, halo : int
        See :class:`Translator`.
    """

    def __init__(self, bands: int, width: int, blocks: int = BLOCKS, labels: int = 0) -> None:
        super().__init__()
        self.stride = 4
        # Half the kernels at strides 1, 2 and 4, down and up, and the cell that a pixel lies in.
        reach = 3 + 1 + 2 + 8 * blocks + 4 + 2 + 3
        self.halo = -(-reach // self.stride) * self.stride
        self.first = _conv(bands + labels, width, 7)
        self.down = nn.ModuleList(
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
            for channels in (width, 2 * width)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList([_conv(4 * width, 4 * width, 3), _conv(4 * width, 4 * width, 3)])
            for _ in range(blocks)
        )
        # Nearest neighbours and a convolution, since transposed ones leave a checkerboard.
        self.up = nn.ModuleList(
            nn.Conv2d(2 * channels, channels, 3, padding=1) for channels in (2 * width, width)
        )
        self.last = _conv(width + labels, bands, 7)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.02)

    def forward(
        self,
        image: torch.Tensor,
        norm: InstanceNorm,
        affine: "Affine | None" = None,
        label: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return images, 0..1.

        Parameters
        ----------
        image : (patches, bands, height, width) float tensor, 0..1
        norm : InstanceNorm
        affine : Affine, optional
            What follows each normalisation in the second half of the network.
        label : (1 or patches, labels) float tensor, optional
        """
        x = self.first(_labelled(2 * image - 1, label))
        x = functional.relu(norm(x) if label is None else x)
        for halve in self.down:
            x = functional.relu(norm(halve(x)))
        for index, block in enumerate(self.blocks):
            styled = affine if index >= len(self.blocks) // 2 else None
            first, second = block.children()
            x = x + _styled(norm(second(functional.relu(_styled(norm(first(x)), styled)))), styled)
        for convolve in self.up:
            upper = convolve(functional.interpolate(x, scale_factor=2))
            x = functional.relu(_styled(norm(upper), affine))
        return (torch.tanh(self.last(_labelled(x, label))) + 1) / 2


class Affine:
    """Scales and offsets of normalised features, taken in turn: the second half of AdaIN.

    Parameters
    ----------
    values : (1 or patches, 2 * channels) float tensor
        Changes of the scale and offsets of each normalisation, of all channels together.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.values, self.taken = values, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return scaled features; as they are where all values are 0."""
        count = x.shape[1]
        part = self.values[:, self.taken : self.taken + 2 * count, None, None]
        self.taken += 2 * count
        return x * (1 + part[:, :count]) + part[:, count:]


def _labelled(x: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
    """Return features with a map of each number of a label beside them."""
    if label is None:
        return x
    maps = label[:, :, None, None].to(x.dtype).expand(len(x), -1, *x.shape[2:])
    return torch.cat([x, maps], 1)


def _styled(x: torch.Tensor, affine: Affine | None) -> torch.Tensor:
    return x if affine is None else affine(x)


def _conv(before: int, after: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="reflect")
