"""Fused layers with the same outputs in fewer steps, for prediction only."""

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Upconvolution(nn.Module):
    """A U-Net block whose first convolution is applied before the upsampling.

    After nearest-neighbour upsampling, five of the nine pixels under a 3 x 3 kernel are copies. The
    sums of their weights, which depend on the parity of row and column, are the 4 x 4 kernel of a
    transposed convolution of stride 2 (Shi et al. 2016, arXiv:1609.07009): four multiplications
    instead of nine, and neither the upsampled features nor their concatenation with the skip
    connection is computed.

    Parameters
    ----------
    block : UnetDecoderBlock
        With no attention and nearest-neighbour upsampling.
    channels : int
        Number of input channels that are upsampled; the others are the skip connection's.
    """

    def __init__(self, block: UnetDecoderBlock, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.channels = block.conv1, block.conv2, channels
        # Output row o depends on input rows (o + k - 1) // 2, through row t of the 4 x 4 kernel.
        self.taps = torch.zeros(4, 3)
        for o in range(2):
            for k in range(3):
                self.taps[o + 1 - 2 * ((o + k - 1) // 2), k] = 1
        for name in ("below", "beside", "bias"):
            self.register_parameter(name, None)

    def kernels(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return both kernels, for what is upsampled and for the skip, and the bias."""
        conv: Any = self.conv1[0]
        norm: Any = self.conv1[1]
        weight, bias = conv.weight, conv.bias
        if not isinstance(norm, nn.Identity):
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            shift = norm.running_mean if bias is None else norm.running_mean - bias
            weight, bias = weight * scale[:, None, None, None], norm.bias - shift * scale
        below = weight[:, : self.channels].transpose(0, 1)
        kernel = torch.matmul(torch.matmul(self.taps, below), self.taps.mT)
        return kernel, weight[:, self.channels :], bias

    def fix(self) -> None:
        """Compute the kernels once and for all."""
        for name, tensor in zip(("below", "beside", "bias"), self.kernels(), strict=True):
            fixed = None if tensor is None else nn.Parameter(tensor.detach().clone(), False)
            self.register_parameter(name, fixed)
        self.conv1 = nn.Sequential(nn.Identity(), nn.Identity(), self.conv1[2])

    def forward(
        self,
        feature_map: torch.Tensor,
        target_height: int,
        target_width: int,
        skip_connection: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (N, out, 2H, 2W) of (N, channels, H, W) and the skip's (N, others, 2H, 2W).

        Parameters
        ----------
        feature_map : (N, channels, H, W) tensor
        target_height, target_width : int
            Not used: twice the size of `feature_map`.
        skip_connection : (N, others, 2H, 2W) tensor, optional
        """
        fixed: Any = self.below, self.beside, self.bias
        below, beside, bias = self.kernels() if self.below is None else fixed
        result = F.conv_transpose2d(feature_map, below, bias, stride=2, padding=1)
        if skip_connection is not None:
            result = result.add_(F.conv2d(skip_connection, beside, padding=1))
        return self.conv2(self.conv1[2](result))  # type: ignore[no-any-return]


def folded(network: nn.Module, bands: int) -> nn.Module:
    """Return a faster network with the same outputs.

    With fixed statistics a batch norm is a factor and an offset per channel, which fold into the
    convolution before it; a convolution after upsampling is a transposed one. Whether layers follow
    each other in the order in which they are registered is unknown, so the outputs are compared on
    noise, and the network itself is returned where they differ.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; it is not changed.
    bands : int
        Input channels.

    Returns
    -------
    nn.Module
        In evaluation mode.
    """
    normless = _without_norms(network)
    fused = _with_upconvolutions(normless)
    for module in fused.modules():
        if isinstance(module, Upconvolution):
            module.fix()
    return _first_alike((fused, normless), network, bands)


def with_upconvolutions(network: nn.Module, bands: int) -> nn.Module:
    """Return a network of the same weights and outputs with its upconvolutions, for export.

    Norms stay as they are: runtimes fold them as they load the network, and every weight in the
    exported file is one of the trained ones.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; it is not changed.
    bands : int
        Input channels.
    """
    return _first_alike((_with_upconvolutions(network),), network, bands)


def _first_alike(candidates: Sequence[nn.Module], network: nn.Module, bands: int) -> nn.Module:
    """Return the first candidate whose outputs on noise are the network's, else the network."""
    noise = torch.rand((1, bands, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(noise)
        tolerance = 1e-3 * float(expected.abs().max())
        for candidate in candidates:
            if torch.allclose(candidate(noise), expected, rtol=1e-3, atol=tolerance):
                return candidate
    return network


def _without_norms(network: nn.Module) -> nn.Module:
    """Return a copy whose batch norms are folded into the convolutions before them."""
    folding = copy.deepcopy(network).eval()
    for parent in list(folding.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if (
                isinstance(conv, nn.Conv2d)
                and isinstance(norm, nn.BatchNorm2d)
                and conv.out_channels == norm.num_features
            ):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                # timm's norms contain their activation.
                setattr(parent, norm_name, getattr(norm, "act", nn.Identity()))
    return folding


def _with_upconvolutions(network: nn.Module) -> nn.Module:
    """Return a copy with the blocks of a U-Net's decoder replaced, or the network if it is none."""
    replaced = copy.deepcopy(network)
    blocks: Any = getattr(getattr(replaced, "decoder", None), "blocks", ())
    if not all(_is_replaceable(block) for block in blocks):
        return network
    encoder: Any = getattr(replaced, "encoder", None)
    channels = encoder.out_channels[-1] if blocks else 0
    for index, block in enumerate(blocks):
        blocks[index] = Upconvolution(block, channels)
        channels = block.conv2[0].out_channels
    return replaced


def _is_replaceable(block: object) -> bool:
    return (
        isinstance(block, UnetDecoderBlock)
        and block.interpolation_mode == "nearest"
        and isinstance(block.attention1.attention, nn.Identity)
        and isinstance(block.attention2.attention, nn.Identity)
        and isinstance(block.conv1[1], nn.BatchNorm2d | nn.Identity)
    )
