"""StarGAN v2 (Choi et al. 2020, CVPR): styles of a domain, drawn at random or of a reference.

Smaller than the paper's: two halvings instead of four, since patches are 64 px and not 256 px, and
widths that grow from 16 or 32 instead of from 64 (the published code makes small images wider).
"""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from geossda.models.translation import InstanceNorm, Translator

# Numbers of a style and of the noise that one is drawn from, channels of the mapping network.
STYLE, NOISE, HIDDEN = 64, 16, 128


class ResidualBlock(nn.Module):
    """Normalisation, activation and convolution, twice, beside a short path.

    Parameters
    ----------
    before, after : int
        Channels.
    resample : {"", "half", "double"}
        Change of the resolution.
    norm : {"", "instance", "adain"}
        Which normalisation; ``adain`` takes its scales and offsets from a style.
    """

    def __init__(self, before: int, after: int, resample: str = "", norm: str = "") -> None:
        super().__init__()
        self.resample, self.norm = resample, norm
        # The width changes where the resolution is lower.
        between = after if resample == "double" else before
        self.first = nn.Conv2d(before, between, 3, padding=1)
        self.second = nn.Conv2d(between, after, 3, padding=1)
        self.short = nn.Conv2d(before, after, 1, bias=False) if before != after else None
        if norm == "instance":
            self.affine = nn.ParameterList(torch.zeros(1, 2 * n) for n in (before, between))
        elif norm == "adain":
            self.from_style = nn.ModuleList(nn.Linear(STYLE, 2 * n) for n in (before, between))

    def forward(
        self, x: torch.Tensor, norm: InstanceNorm | None = None, style: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return features.

        Parameters
        ----------
        x : (N, before, height, width) float tensor
        norm : InstanceNorm, optional
        style : (1 or N, STYLE) float tensor, optional
        """
        short, y = x, functional.leaky_relu(self._normal(x, 0, norm, style), 0.2)
        if self.resample == "double":
            short, y = (functional.interpolate(each, scale_factor=2) for each in (short, y))
        y = self.first(y)
        if self.short is not None:
            short = self.short(short)
        if self.resample == "half":
            short, y = (functional.avg_pool2d(each, 2) for each in (short, y))
        y = self.second(functional.leaky_relu(self._normal(y, 1, norm, style), 0.2))
        total: torch.Tensor = (short + y) / math.sqrt(2)
        return total

    def _normal(
        self, x: torch.Tensor, index: int, norm: InstanceNorm | None, style: torch.Tensor | None
    ) -> torch.Tensor:
        if norm is None or not self.norm:
            return x
        values = self.affine[index] if style is None else self.from_style[index](style)
        scale, offset = values[:, :, None, None].chunk(2, 1)
        changed: torch.Tensor = norm(x) * (1 + scale) + offset
        return changed


class DomainHeads(nn.Module):
    """An encoder with one output per domain, of styles or of scores: E and D of the paper.

    Parameters
    ----------
    bands, domains, width, size : int
        `size` numbers a domain.
    """

    def __init__(self, bands: int, domains: int, width: int, size: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
        self.domains, self.size = domains, size
        self.first = nn.Conv2d(bands, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, "half") for before, after in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], widths[-1], 4, padding=1)
        self.heads = nn.Linear(widths[-1], domains * size)

    def forward(self, image: torch.Tensor, domains: torch.Tensor) -> torch.Tensor:
        """Return the outputs of each image's domain, (N, size).

        Parameters
        ----------
        image : (N, bands, height, width) float tensor, 0..1
        domains : (N,) int tensor
        """
        x = self.first(2 * image - 1)
        for block in self.blocks:
            x = block(x)
        x = functional.leaky_relu(self.last(functional.leaky_relu(x, 0.2)), 0.2)
        outputs = self.heads(x.mean((2, 3))).reshape(len(image), self.domains, self.size)
        chosen: torch.Tensor = outputs[torch.arange(len(image), device=image.device), domains]
        return chosen


class StyleMapping(nn.Module):
    """From noise to a style of each domain: F of the paper.

    Parameters
    ----------
    domains : int
    """

    def __init__(self, domains: int) -> None:
        super().__init__()
        self.domains = domains
        self.shared = _perceptron([NOISE, HIDDEN, HIDDEN, HIDDEN, HIDDEN])
        self.of_domain = nn.ModuleList(
            _perceptron([HIDDEN, HIDDEN, HIDDEN, HIDDEN, STYLE]) for _ in range(domains)
        )

    def forward(self, noise: torch.Tensor, domains: torch.Tensor) -> torch.Tensor:
        """Return a style of each domain asked for, (N, STYLE).

        Parameters
        ----------
        noise : (N, NOISE) float tensor
        domains : (N,) int tensor
        """
        x = functional.relu(self.shared(noise))
        outputs = torch.stack([each(x) for each in self.of_domain], 1)
        return outputs[torch.arange(len(noise), device=noise.device), domains]


class StarGanV2(Translator):
    """The generator with its mapping network and its style encoder.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.bands, self.domains, self.code_size = bands, domains, domains + STYLE
        self.stride = 4
        # Half the kernels at strides 1, 2 and 4, down, between and up, and a pixel's own cell.
        reach = 1 + (1 + 2) + (2 + 4) + 4 * 2 * 4 + (2 + 2) + (1 + 1) + 3
        self.halo = -(-reach // self.stride) * self.stride
        self.first = nn.Conv2d(bands, width, 3, padding=1)
        deep = 4 * width
        self.encode = nn.ModuleList(
            [
                ResidualBlock(width, 2 * width, "half", "instance"),
                ResidualBlock(2 * width, deep, "half", "instance"),
                ResidualBlock(deep, deep, "", "instance"),
                ResidualBlock(deep, deep, "", "instance"),
            ]
        )
        self.decode = nn.ModuleList(
            [
                ResidualBlock(deep, deep, "", "adain"),
                ResidualBlock(deep, deep, "", "adain"),
                ResidualBlock(deep, 2 * width, "double", "adain"),
                ResidualBlock(2 * width, width, "double", "adain"),
            ]
        )
        self.affine = nn.Parameter(torch.zeros(1, 2 * width))
        self.last = nn.Conv2d(width, bands, 1)
        self.mapping = StyleMapping(domains)
        self.encoder = DomainHeads(bands, domains, width, STYLE)
        initialize(self)
        self.level_channels = self.measure_channels()

    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images in the styles of the codes; not limited to 0..1.

        Parameters
        ----------
        image, code, norm
            As for :meth:`Translator.forward`.
        """
        x, style = self.first(2 * image - 1), code[:, self.domains :]
        for block in self.encode:
            x = block(x, norm)
        for block in self.decode:
            x = block(x, norm, style)
        scale, offset = self.affine[:, :, None, None].chunk(2, 1)
        x = functional.leaky_relu(norm(x) * (1 + scale) + offset, 0.2)
        return (self.last(x) + 1) / 2  # type: ignore[no-any-return]

    def code_of(self, style: torch.Tensor, domains: torch.Tensor) -> torch.Tensor:
        """Return the codes of styles, (N, code_size).

        Parameters
        ----------
        style : (N, STYLE) float tensor
        domains : (N,) int tensor
        """
        return torch.cat([functional.one_hot(domains, self.domains).to(style.dtype), style], 1)

    def reference_code(
        self, patches: torch.Tensor, valid: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean style of a reference's patches, as a code.

        Parameters
        ----------
        patches, valid, code
            As for :meth:`Translator.reference_code`; patches with more valid pixels count more.
        """
        domains = code.argmax(1)
        styles = self.encoder(patches, domains.expand(len(patches)))
        weight = valid.mean((1, 2, 3))[:, None]
        mean = (styles * weight).sum(0, keepdim=True) / weight.sum().clamp(min=1e-6)
        return self.code_of(mean, domains)


class StarGanV2Discriminator(DomainHeads):
    """One score per domain.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__(bands, domains, width, 1)
        initialize(self)


def initialize(network: nn.Module) -> None:
    """Draw weights after He et al. 2015, and set offsets to zero.

    Parameters
    ----------
    network : nn.Module
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _perceptron(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
