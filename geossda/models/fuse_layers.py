"""Layers put together that predict the same in one step, for prediction only."""

import copy
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Upconvolution(nn.Module):
    """A U-Net's block whose first convolution takes pixels before they are doubled.

    Of the nine pixels under a 3 x 3 kernel, five are copies of another one. Their weights added
    up, which differ by the parity of row and column, are the 4 x 4 kernel of a transposed
    convolution of stride 2 (Shi et al. 2016, arXiv:1609.07009): four multiplications for nine, and
    neither the doubled image nor the one with the encoder's bands beside it is ever made.

    Parameters
    ----------
    block : UnetDecoderBlock
        Norms folded, without attention, doubling by nearest neighbour.
    channels : int
        How many of its input channels are doubled; the others are the encoder's.
    """

    def __init__(self, block: UnetDecoderBlock, channels: int) -> None:
        super().__init__()
        first: nn.Conv2d = block.conv1[0]
        weight = first.weight.detach()
        below, beside = weight[:, :channels], weight[:, channels:].clone()
        # Row o of what comes out is made of rows (o + k - 1) // 2, and takes kernel row t of them.
        taps = torch.zeros(4, 3)
        for o in range(2):
            for k in range(3):
                taps[o + 1 - 2 * ((o + k - 1) // 2), k] = 1
        kernel = torch.einsum("oikl,ak,bl->ioab", below, taps, taps)
        self.below = nn.Parameter(kernel, requires_grad=False)
        self.beside = nn.Parameter(beside, requires_grad=False)
        self.bias = first.bias
        self.rest = nn.Sequential(*list(block.conv1)[1:], block.conv2)

    def forward(
        self,
        feature_map: torch.Tensor,
        target_height: int,
        target_width: int,
        skip_connection: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Take (N, channels, H, W) and the encoder's (N, others, 2H, 2W); give (N, out, 2H, 2W)."""
        made = F.conv_transpose2d(feature_map, self.below, self.bias, stride=2, padding=1)
        if skip_connection is not None:
            made = made.add_(F.conv2d(skip_connection, self.beside, padding=1))
        return self.rest(made)  # type: ignore[no-any-return]


def folded(network: nn.Module, bands: int) -> nn.Module:
    """Give an equal network that is faster.

    With fixed statistics a batch norm is a factor and an offset a channel, which the convolution
    before it can take on; a convolution after doubling is a transposed one. Whether layers really
    follow each other as they are registered is not known from outside, so the result is compared
    with the network on noise, and the network itself is given back where they differ.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; left as it is.
    bands : int
        Input channels.

    Returns
    -------
    nn.Module
        In evaluation mode.
    """
    normless = _without_norms(network)
    candidates = (_with_upconvolutions(normless), normless)
    noise = torch.rand((1, bands, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(noise)
        tolerance = 1e-3 * float(expected.abs().max())
        for made in candidates:
            if torch.allclose(made(noise), expected, rtol=1e-3, atol=tolerance):
                return made
    return network


def _without_norms(network: nn.Module) -> nn.Module:
    made = copy.deepcopy(network).eval()
    for parent in list(made.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if (
                isinstance(conv, nn.Conv2d)
                and isinstance(norm, nn.BatchNorm2d)
                and conv.out_channels == norm.num_features
            ):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                # timm's norms carry their activation with them.
                setattr(parent, norm_name, getattr(norm, "act", nn.Identity()))
    return made


def _with_upconvolutions(network: nn.Module) -> nn.Module:
    """Exchange the blocks of a U-Net's decoder, where it is one."""
    made = copy.deepcopy(network)
    blocks: Any = getattr(getattr(made, "decoder", None), "blocks", ())
    if not all(_doubles(block) for block in blocks):
        return network
    encoder: Any = getattr(made, "encoder", None)
    channels = encoder.out_channels[-1] if blocks else 0
    for index, block in enumerate(blocks):
        blocks[index] = Upconvolution(block, channels)
        channels = block.conv2[0].out_channels
    return made


def _doubles(block: object) -> bool:
    return (
        isinstance(block, UnetDecoderBlock)
        and block.interpolation_mode == "nearest"
        and isinstance(block.attention1.attention, nn.Identity)
        and isinstance(block.attention2.attention, nn.Identity)
    )
