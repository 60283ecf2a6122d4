"""Style models that translate images to declared domains, ready to use.

A target is an :class:`ImageStyle` like any other, so that style files keep it and methods pass it
on. Of each group of bands it has two levels: the code of the target (1 at its domain, then what the
network encodes of the reference), and the stretch of the target's bands. What is measured of a
source has the stretch of its bands first, then the statistics of each normalisation of the network
on the way to the target.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geossda.errors import StyleError
from geossda.models.card import StyleCard
from geossda.models.style_arrays import Floats, ImageStyle, LevelMoments, packed, unpacked
from geossda.runtime.choice import Runtime
from geossda.runtime.graph import Graph
from geossda.runtime.style_network import Shape, StyleModel, gaussian_and_mask

if TYPE_CHECKING:
    from geossda.models.translation import Translator

# Percentiles that become 0 and 1 where images are not of 8 bit, as in training.
PERCENT = (2, 98)
# The name of StandardGAN's mean of all domains.
STANDARD = "standard"


@dataclass(frozen=True)
class DomainModel(StyleModel):
    """Measure images on the way to a declared domain, and translate them to it.

    Attributes
    ----------
    encode_graph : Graph or None
        (patches, bands, height, width) images of a reference, their validity and a domain's code to
        the code of the target.
    code_size : int
        Numbers of a target's code.
    domain : str
        The domain that references show; "" for that of the folder which each lies in.
    target : ImageStyle or None
        What sources are measured for; None where a reference is measured.
    stretched : bool
        Whether the image that is measured has to be stretched to 0..1.
    """

    encode_graph: Graph | None = None
    code_size: int = 0
    domain: str = ""
    target: ImageStyle | None = None
    stretched: bool = False

    @property
    def role(self) -> str:
        """What :meth:`measure` measures for: the domain of a reference, or a target."""
        if self.target is None:
            return self.domain
        return f"to {[group[0].mean.tolist() for group in self.target.groups]}"

    def with_domain(self, name: str) -> "DomainModel":
        """Return the model with the domain that all references show.

        Parameters
        ----------
        name : str

        Raises
        ------
        StyleError
            The model has no such domain.
        """
        known = list(self.card.domains)
        if self.card.preset == "standardgan":
            known.append(STANDARD)
        if name not in known:
            raise StyleError(
                f"the style model has no domain {name}; its domains are {', '.join(known)}: "
                "give one of them as --domain, or as the name of the raster's folder"
            )
        return dataclasses.replace(self, domain=name)

    def for_reference(self, path: str, dtype: object) -> "DomainModel":
        """Return the model that measures a reference.

        Parameters
        ----------
        path : str
            Where the reference lies: its folder is its domain, if none was given.
        dtype : numpy dtype

        Raises
        ------
        StyleError
            The folder is no domain of the model.
        """
        stretched = np.dtype(dtype) != np.uint8  # type: ignore[call-overload]
        model = dataclasses.replace(self, target=None, stretched=bool(stretched))
        if self.domain:
            return model
        name = Path(path).resolve().parent.name
        if name not in self.card.domains:
            raise StyleError(
                f"the reference {Path(path).name} lies in the folder {name}, which is none of the "
                f"style model's domains ({', '.join(self.card.domains)}): put it into a folder of "
                "that name, or name one with --domain (harmonize, style)"
            )
        return model.with_domain(name)

    def towards(self, target: ImageStyle, dtype: object) -> "DomainModel":
        """Return the model that measures a source to be translated to a target.

        Parameters
        ----------
        target : ImageStyle
        dtype : numpy dtype

        Raises
        ------
        StyleError
            The target is pooled from references of several domains, or a saved style of another
            domain than the one named.
        """
        names = self.card.domains
        for group in target.groups:
            weights = group[0].mean[: len(names)]
            mixed = weights.max() < 0.999
            if self.domain and np.abs(weights - self._weights()).max() > 0.001:
                shown = "several domains" if mixed else f"domain {names[int(weights.argmax())]}"
                raise StyleError(
                    f"the style shows {shown}, and domain is {self.domain}: leave out --domain, or "
                    "make the style again with it"
                )
            if mixed and self.card.preset != "standardgan":
                raise StyleError(
                    f"the references are of several domains of the style model: preset "
                    f"{self.card.preset} translates to one, give references of one"
                )
        stretched = np.dtype(dtype) != np.uint8  # type: ignore[call-overload]
        return dataclasses.replace(self, target=target, stretched=bool(stretched))

    def require_levels(self, style: ImageStyle, name: str) -> None:
        """Raise StyleError unless the target `name` has this model's shapes.

        Raises
        ------
        StyleError
            The size of the code or of the stretch differs.
        """
        expected = [[self.code_size, self.card.bands]] * len(self.groups(len(style.pixels.mean)))
        if expected != [[len(m.mean) for m in levels] for levels in style.groups]:
            raise StyleError(
                f"the style {name} has other features than the style model {self.card.name} "
                "measures: it is damaged, make it again with geossda style"
            )

    def measure(
        self,
        patches: Floats,
        valid: NDArray[np.bool_] | None = None,
        pixels: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> ImageStyle:
        """Measure a reference as a target, or a source on the way to one.

        Parameters
        ----------
        patches : (patches, bands, side, side) array
            Values in 0..1.
        valid : (patches, side, side) array, optional
        pixels : pair of (bands,) and (bands, bands) arrays, optional
            Mean and covariance of all the image's pixels, if known better than from the patches.

        Raises
        ------
        StyleError
            The domain of a reference is not known.
        """
        gaussian, mask = gaussian_and_mask(patches, valid, pixels)
        known = mask[:, 0] > 0
        filled = np.where(known[:, None], patches, gaussian.mean[:, None, None])
        groups: list[tuple[LevelMoments, ...]] = []
        for index, group in enumerate(self.groups(patches.shape[1])):
            stretch = self._stretch(patches[:, group.bands], known)
            given = _stretched(filled[:, group.bands], stretch)
            if self.target is None:
                code = LevelMoments(self._code(given, mask), np.ones(self.code_size, np.float32))
                groups.append((code, stretch))
                continue
            code = self.target.groups[index][0]
            moments = self.measure_graph([given, mask, code.mean[None]])[0]
            groups.append((stretch, *unpacked(moments, self.shape.level_channels)))
        return ImageStyle(gaussian, tuple(groups))

    def translate(
        self,
        image: Floats,
        own: ImageStyle,
        other: ImageStyle,
        valid: NDArray[np.bool_] | None = None,
        limit: float = np.inf,
    ) -> Floats:
        """Translate windows of an image to a target.

        Parameters
        ----------
        image : (windows, bands, height, width) array
            Height and width multiples of `stride`.
        own, other : ImageStyle
            What was measured of the image that these are windows of, and the target.
        valid : (windows, height, width) array, optional
        limit : float
            Ignored: the network makes all of the change.

        Returns
        -------
        (windows, bands, height, width) float32 array
        """
        if valid is not None:  # nodata takes the mean
            image = np.where(valid[:, None], image, own.pixels.mean[:, None, None])
        result = np.empty(image.shape, np.float32)
        for group, mine, theirs in zip(
            self.groups(image.shape[1]), own.groups, other.groups, strict=True
        ):
            code, stretch = theirs
            given = _stretched(image[:, group.bands], mine[0])
            translated = self.apply_graph([given, packed(mine[1:]), code.mean[None]])[0]
            translated = translated * stretch.std[:, None, None] + stretch.mean[:, None, None]
            result[:, group.fresh] = translated[:, group.fresh_indices]
        return result

    def _stretch(self, patches: Floats, known: NDArray[np.bool_]) -> LevelMoments:
        """Return what becomes 0, and how far from it what becomes 1 is, in each band."""
        bands = patches.shape[1]
        if not self.stretched or not known.any():
            return LevelMoments(np.zeros(bands, np.float32), np.ones(bands, np.float32))
        low, high = np.percentile(patches.swapaxes(0, 1)[:, known], PERCENT, axis=1)
        width = np.maximum(high - low, 1e-6)
        return LevelMoments(low.astype(np.float32), width.astype(np.float32))

    def _code(self, patches: Floats, mask: Floats) -> Floats:
        """Return the code of a reference of the model's domain."""
        if not self.domain:
            raise StyleError(
                f"the domain of a reference is not known: the style model has the domains "
                f"{', '.join(self.card.domains)}, name one with --domain"
            )
        code = self._weights()
        if self.encode_graph is not None:
            code = self.encode_graph([patches, mask, code[None]])[0][0]
        return code

    def _weights(self) -> Floats:
        """Return the share of each of the card's domains in the model's domain."""
        names = self.card.domains
        if self.domain == STANDARD and STANDARD not in names:
            return np.full(len(names), 1 / len(names), np.float32)
        return np.array([name == self.domain for name in names], np.float32)


def with_domain(model: StyleModel, name: str | None) -> StyleModel:
    """Return a style model with the domain that all references show, if one is named.

    Parameters
    ----------
    model : StyleModel
    name : str or None

    Raises
    ------
    StyleError
        The model has no such domain, or none at all.
    """
    if name is None:
        return model
    if not isinstance(model, DomainModel):
        raise StyleError(
            f"domain is {name}, and the style model {model.card.name} has no declared domains: "
            "leave out --domain, or give another --style-model"
        )
    return model.with_domain(name)


def domain_model_of(network: "Translator", card: StyleCard, runtime: Runtime) -> DomainModel:
    """Return the style model of a translator in memory, run by PyTorch.

    Parameters
    ----------
    network : Translator
    card : StyleCard
    runtime : Runtime
    """
    from geossda.models.translation_graphs import (
        ApplyTranslation,
        MeasureTranslation,
        ReferenceCode,
    )
    from geossda.runtime.torch_graph import TorchGraph

    exact = runtime._replace(precision="float32")  # statistics are sums over many pixels
    shape = Shape(network.stride, network.halo, tuple(network.level_channels))
    return DomainModel(
        TorchGraph(MeasureTranslation(network), exact, exclusive=True),
        TorchGraph(ApplyTranslation(network), runtime, exclusive=True),
        shape,
        card,
        runtime,
        encode_graph=TorchGraph(ReferenceCode(network), exact, exclusive=True),
        code_size=network.code_size,
    )


def _stretched(pixels: Floats, stretch: LevelMoments) -> Floats:
    """Return bands stretched to 0..1, cut there as in training."""
    low, width = stretch.mean[:, None, None], stretch.std[:, None, None]
    return np.asarray(np.clip((pixels - low) / width, 0, 1), np.float32)
