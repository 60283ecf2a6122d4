"""Image-to-image translation between declared domains: the methods SS(DA)² is compared with.

Written from their papers, in the smallest form for patches of a few bands: CycleGAN (Zhu et al.
2017), StarGAN (Choi et al. 2018) and StandardGAN (Tasar et al. 2020). All normalise features by the
instance, which for a raster that is read window by window is the whole raster: statistics are
measured once and then given, as those of the other presets are.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from geossda.models.style_statistics import Levels, Moments, at_stride, measure_moments, normalize

# Residual blocks of a generator. The papers have 6 to 9 for 128 to 256 px; patches are smaller.
BLOCKS = 4


class InstanceNorm:
    """Instance normalisation in one pass through a network, by measured or by given statistics.

    Parameters
    ----------
    images : int
        Number of images that the patches belong to, in order.
    valid : (patches, 1, height, width) float tensor, optional
        0 leaves a pixel out of the statistics.
    given : Levels, optional
        Statistics of each normalisation in turn, instead of measured ones.

    Attributes
    ----------
    used : list of Moments
        The statistics of the normalisations so far.
    """

    def __init__(
        self, images: int, valid: torch.Tensor | None = None, given: Levels | None = None
    ) -> None:
        self.images, self.valid, self.given = images, valid, given
        self.used: list[Moments] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return normalised features, and note their statistics."""
        if self.given is not None:
            moments = self.given[len(self.used)]
        else:
            weight = self.valid
            if weight is not None:
                weight = at_stride(weight, weight.shape[2] // x.shape[2])
            moments = measure_moments(x, self.images, weight)
        self.used.append(moments)
        return normalize(x, moments)


class Translator(nn.Module, ABC):
    """Base class of networks that translate images to declared domains.

    Attributes
    ----------
    bands, domains : int
        Bands that the network takes at a time, and number of domains.
    code_size : int
        Numbers that describe a target: one per domain, and what a network adds to them.
    stride : int
        Sides of images must be multiples of it.
    halo : int
        Pixels around a window that its own pixels depend on, once statistics are given.
    level_channels : list of int
        Channels of each normalisation, in order.
    """

    bands: int
    domains: int
    code_size: int
    stride: int
    halo: int
    level_channels: list[int]

    @abstractmethod
    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images translated to a target.

        Parameters
        ----------
        image : (patches, bands, height, width) float tensor, 0..1
        code : (1 or patches, code_size) float tensor
            The target of each patch, or of all.
        norm : InstanceNorm
        """

    def reference_code(
        self, patches: torch.Tensor, valid: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """Return the code of a target that a reference shows, (1, code_size).

        Parameters
        ----------
        patches : (patches, bands, height, width) float tensor, 0..1
            Of the reference.
        valid : (patches, 1, height, width) float tensor
        code : (1, domains) float tensor
            1 at the reference's domain.
        """
        return code

    def measure_channels(self) -> list[int]:
        """Return the channels of each normalisation, by a pass through the network."""
        with torch.no_grad():
            norm = InstanceNorm(1)
            side = 4 * self.stride
            self(torch.zeros(1, self.bands, side, side), torch.eye(self.code_size)[:1], norm)
        return [moments.mean.shape[1] for moments in norm.used]

    def translate(self, image: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Return patches translated, each by its own statistics, as in training.

        Parameters
        ----------
        image : (patches, bands, height, width) float tensor, 0..1
        code : (1 or patches, code_size) float tensor
        """
        translated: torch.Tensor = self(image, code, InstanceNorm(len(image)))
        return translated


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


class CycleGan(Translator):
    """CycleGAN's two generators, one to each of two domains (Zhu et al. 2017, ICCV).

    Parameters
    ----------
    bands : int
    domains : int
        Two: one pair of domains is one model.
    width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.bands, self.domains, self.code_size = bands, domains, domains
        networks = [Resnet(bands, width) for _ in range(domains)]
        self.to_domain = nn.ModuleList(networks)
        self.stride, self.halo = networks[0].stride, networks[0].halo
        self.level_channels = self.measure_channels()

    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images translated to one domain, that of the first code.

        Parameters
        ----------
        image, code, norm
            As for :meth:`Translator.forward`.
        """
        translated: torch.Tensor = self.to_domain[int(code[0].argmax())](image, norm)
        return translated


class StarGan(Translator):
    """StarGAN (Choi et al. 2018, CVPR): one network, to which the target is a label.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.bands, self.domains, self.code_size = bands, domains, domains
        self.network = Resnet(bands, width, labels=domains)
        self.stride, self.halo = self.network.stride, self.network.halo
        self.level_channels = self.measure_channels()

    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images translated to the domains of their labels.

        Parameters
        ----------
        image, code, norm
            As for :meth:`Translator.forward`.
        """
        translated: torch.Tensor = self.network(image, norm, label=code)
        return translated


class StandardGan(Translator):
    """StandardGAN (Tasar et al. 2020): one network, one set of AdaIN parameters per domain.

    The first half removes what is an image's own; the second half gives it a domain's, or the mean
    of all domains', which is the standard that all images are put to.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.bands, self.domains, self.code_size = bands, domains, domains
        self.network = Resnet(bands, width)
        self.stride, self.halo = self.network.stride, self.network.halo
        styled = 2 * (BLOCKS - BLOCKS // 2) * 4 * width + 2 * width + width
        self.styles = nn.Parameter(torch.zeros(domains, 2 * styled))
        self.level_channels = self.measure_channels()

    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images in mixtures of the domains' parameters.

        Parameters
        ----------
        image, code, norm
            As for :meth:`Translator.forward`.
        """
        translated: torch.Tensor = self.network(image, norm, Affine(code @ self.styles))
        return translated


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017): a score for each of overlapping patches of 70 px.

    Parameters
    ----------
    bands, width : int
        Bands of an image, channels of the first layer.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        widths = [bands, width, 2 * width, 4 * width, 8 * width, 1]
        strides = (2, 2, 2, 1, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride, padding=1)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        for layer in self.layers:
            nn.init.normal_(layer.weight, 0, 0.02)  # type: ignore[arg-type]

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Return what the last layer takes.

        Parameters
        ----------
        image : (N, bands, height, width) float tensor, 0..1
        """
        x = 2 * image - 1
        for index, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            x = functional.leaky_relu(functional.instance_norm(x) if index else x, 0.2)
        return x

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores, (N, 1, rows, columns)."""
        scores: torch.Tensor = self.layers[-1](self.features(image))
        return scores


class DomainDiscriminators(nn.Module):
    """One discriminator per domain.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.of_domain = nn.ModuleList(PatchDiscriminator(bands, width) for _ in range(domains))

    def forward(self, images: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return the scores of images, a tensor of them for each domain."""
        return tuple(one(image) for one, image in zip(self.of_domain, images, strict=True))


class MultitaskDiscriminator(PatchDiscriminator):
    """A PatchGAN that also says of which domain an image is.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__(bands, width)
        self.classify = nn.Linear(8 * width, domains)

    def scores_and_logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores, (N, 1, rows, columns), and logits of the domains, (N, domains)."""
        features = self.features(image)
        return self.layers[-1](features), self.classify(features.mean((2, 3)))


class StarGanDiscriminator(nn.Module):
    """StarGAN's discriminator: scores of places, and of which domain an image is.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        widths = [bands, width, 2 * width, 4 * width, 8 * width]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, padding=1) for before, after in pairwise(widths)
        )
        self.score = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.classify = nn.Linear(widths[-1], domains)

    def scores_and_logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores, (N, 1, rows, columns), and logits of the domains, (N, domains)."""
        x = 2 * image - 1
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.01)
        return self.score(x), self.classify(x.mean((2, 3)))


def one_hot(domains: torch.Tensor, count: int) -> torch.Tensor:
    """Return codes of domains, (images, count).

    Parameters
    ----------
    domains : (images,) int tensor
        Of each image.
    count : int
    """
    return functional.one_hot(domains, count).float()


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
