"""A style model that is ready to use, whatever runs it, for images of any number of bands."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from geossda.config import TRANSLATIONS, PrecisionName, RunsModel, RuntimeName
from geossda.errors import BandError, ModelError, StyleError, counted
from geossda.models.band_groups import Group, groups
from geossda.models.card import StyleCard
from geossda.models.model_file import DEFAULT, ModelFiles, read_model
from geossda.models.onnx_file import GENERATOR_KEY, read_onnx
from geossda.models.style_arrays import (
    Floats,
    ImageStyle,
    PixelGaussian,
    measure_gaussian,
    normalize,
    packed,
    restyle,
    transport,
    unpacked,
)
from geossda.progress import SILENT, Progress
from geossda.runtime.choice import Runtime, choose_runtime
from geossda.runtime.graph import Graph

if TYPE_CHECKING:
    from geossda.models.generator import Generator
    from geossda.models.translation import Translator


class Shape(NamedTuple):
    """What is known of a generator besides its weights.

    Attributes
    ----------
    stride : int
        What sides of images must be a multiple of, in pixels.
    halo : int
        Distance in pixels within which a pixel depends on others, once styles are given.
    level_channels : tuple of int
        Channels of each level that moments are measured of.
    """

    stride: int
    halo: int
    level_channels: tuple[int, ...]


@dataclass(frozen=True)
class StyleModel:
    """Measure styles of images, and translate images from style to style.

    Attributes
    ----------
    measure_graph : Graph
        (patches, bands, height, width) images and their (patches, 1, height, width) validity to
        packed moments of all levels.
    apply_graph : Graph
        (N, bands, height, width) images and the packed moments of two styles to what changes.
    shape : Shape
    card : StyleCard
    runtime : Runtime
    domains : dict of str to ImageStyle
        Learned styles of declared domains.
    """

    measure_graph: Graph
    apply_graph: Graph
    shape: Shape
    card: StyleCard
    runtime: Runtime
    domains: Mapping[str, ImageStyle] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Key of the features that style files hold for this model."""
        return self.card.sha256[:16]

    @property
    def stride(self) -> int:
        """What sides of images must be a multiple of, in pixels."""
        return self.shape.stride

    @property
    def halo(self) -> int:
        """Distance in pixels within which a pixel depends on others, once styles are given."""
        return self.shape.halo

    @property
    def role(self) -> str:
        """What :meth:`measure` measures for, of images that are measured for several targets."""
        return ""

    def for_reference(self, path: str, dtype: object) -> "StyleModel":
        """Return the model that measures a reference.

        Parameters
        ----------
        path : str
            Where the reference lies.
        dtype : numpy dtype
            Type of its digital numbers.
        """
        return self

    def towards(self, target: ImageStyle, dtype: object) -> "StyleModel":
        """Return the model that measures a source to be translated to a target.

        Parameters
        ----------
        target : ImageStyle
        dtype : numpy dtype
            Type of the source's digital numbers.
        """
        return self

    def require_bands(self, count: int) -> None:
        """Raise BandError if the model takes more than `count` bands at a time.

        Raises
        ------
        BandError
            `count` is less than the bands of the model.
        """
        if count < self.card.bands:
            raise BandError(
                f"the style model takes {counted(self.card.bands, 'band')} at a time, the "
                f"image has {count}: "
                "give another --style-model"
            )

    def require_levels(self, style: ImageStyle, name: str) -> None:
        """Raise StyleError unless the statistics of the style `name` have this model's shapes.

        Raises
        ------
        StyleError
            The number of levels or of their channels differs.
        """
        channels = list(self.shape.level_channels)
        expected = [channels] * len(self.groups(len(style.pixels.mean)))
        if expected != [[len(m.mean) for m in levels] for levels in style.groups]:
            raise StyleError(
                f"the style {name} has other features than the style model {self.card.name} "
                "measures: it is damaged, make it again with geossda style"
            )

    def groups(self, count: int) -> list[Group]:
        """Return which of `count` bands go through the generator together."""
        return groups(count, self.card.bands)

    def measure(
        self,
        patches: Floats,
        valid: NDArray[np.bool_] | None = None,
        pixels: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> ImageStyle:
        """Measure the style of one image on patches of it.

        Parameters
        ----------
        patches : (patches, bands, side, side) array
            Values in 0..1, of any contrast: the generator normalises them.
        valid : (patches, side, side) array, optional
        pixels : pair of (bands,) and (bands, bands) arrays, optional
            Mean and covariance of all the image's pixels, if known better than from the patches.

        Raises
        ------
        StyleError
            The model has declared domains.
        """
        if self.card.domains:
            raise StyleError(
                "a style model of declared domains measures no styles: it is for train-segmenter "
                "--adapt daug; give another --style-model"
            )
        gaussian, mask = gaussian_and_mask(patches, valid, pixels)
        _, given = self._inputs(patches, gaussian, mask)
        moments = (
            self.measure_graph([given[:, group.bands], mask])[0]
            for group in self.groups(patches.shape[1])
        )
        channels = self.shape.level_channels
        return ImageStyle(gaussian, tuple(unpacked(each, channels) for each in moments))

    def prepare(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Prepare to translate single windows of some sizes, beside other work.

        Parameters
        ----------
        sizes : iterable of (int, int)
            Heights and widths, in pixels.
        """
        moments = (1, 2 * sum(self.shape.level_channels))
        for size in sizes:
            self.apply_graph.prepare([(1, self.card.bands, *size), moments, moments])

    def prepare_measuring(self, patches: int, side: int) -> None:
        """Prepare to measure an image on some patches, beside other work.

        Parameters
        ----------
        patches : int
            Number of patches.
        side : int
            Their side, in pixels.
        """
        plane = (side, side)
        self.measure_graph.prepare([(patches, self.card.bands, *plane), (patches, 1, *plane)])

    def domain_style(self, name: str) -> ImageStyle:
        """Return the learned style of a declared domain.

        Raises
        ------
        StyleError
            The model has no such domain.
        """
        if name not in self.domains:
            known = ", ".join(self.domains) or "none: train one with --preset daug"
            raise StyleError(f"the style model has no domain {name}; its domains are {known}")
        return self.domains[name]

    def translate(
        self,
        image: Floats,
        own: ImageStyle,
        other: ImageStyle,
        valid: NDArray[np.bool_] | None = None,
        limit: float = np.inf,
    ) -> Floats:
        """Translate windows of an image to another style.

        Parameters
        ----------
        image : (windows, bands, height, width) array
            Height and width multiples of `stride`.
        own, other : ImageStyle
            Styles of the image that these are windows of, and of the reference.
        valid : (windows, height, width) array, optional
        limit : float
            What the network may change beyond the map of colours, in standard deviations of the
            reference's bands; larger changes are bent smoothly towards it. Not of models whose
            changes are all that they do (preset paper, declared domains).

        Returns
        -------
        (windows, bands, height, width) float32 array
            Not clipped to 0..1.
        """
        mask = None if valid is None else valid[:, None].astype(np.float32)
        normal, given = self._inputs(image, own.pixels, mask)
        whole = self.card.preset == "paper"
        if other is own and not whole:
            return restyle(normal, own.pixels)
        result = np.empty_like(normal)
        for group, mine, theirs in zip(
            self.groups(image.shape[1]), own.groups, other.groups, strict=True
        ):
            change = self.apply_graph([given[:, group.bands], packed(mine), packed(theirs)])[0]
            result[:, group.fresh] = change[:, group.fresh_indices]
        if whole:
            return result
        if self.card.adain == "deepest":
            return restyle(normal + result, own.pixels)
        if np.isfinite(limit) and not self.card.domains:
            result = np.float32(limit) * np.tanh(result / np.float32(limit))
        matrix = transport(own.pixels, other.pixels) * own.pixels.std
        mapped = np.einsum("ij,njhw->nihw", matrix, normal)
        return np.asarray(mapped + restyle(result, other.pixels), np.float32)

    def _inputs(
        self, image: Floats, gaussian: PixelGaussian, mask: Floats | None
    ) -> tuple[Floats, Floats]:
        """Return normalized images, and what the generator's first layer takes; nodata is 0."""
        normal = normalize(np.asarray(image, np.float32), gaussian)
        if mask is not None:
            normal, image = normal * mask, image * mask
        return normal, image if self.card.preset == "paper" else normal


def gaussian_and_mask(
    patches: Floats,
    valid: NDArray[np.bool_] | None,
    pixels: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> tuple[PixelGaussian, Floats]:
    """Return the Gaussian of an image's pixels, and the validity of its patches as numbers.

    Parameters
    ----------
    patches, valid, pixels
        As :meth:`StyleModel.measure` takes them.
    """
    if pixels is None:
        gaussian = measure_gaussian(patches, valid)
    else:
        gaussian = PixelGaussian(*(np.asarray(part, np.float32) for part in pixels))
    mask = np.ones((len(patches), 1, *patches.shape[2:]), np.float32)
    if valid is not None:
        mask[:, 0] = valid
    return gaussian, mask


class Settings(NamedTuple):
    """What chooses a runtime where no command does."""

    device: str = "auto"
    runtime: RuntimeName = "auto"
    precision: PrecisionName = "auto"


def open_style_model(
    model: str | os.PathLike[str], config: RunsModel, progress: Progress = SILENT
) -> StyleModel:
    """Return a style model that is ready to use, run by what some settings choose.

    Parameters
    ----------
    model : str or path
        ``"default"``, or either file of a model of ``geossda train-style``.
    config : config with fields device, runtime and precision
    progress : Progress
        Warned where the processor is an old one.

    Raises
    ------
    ModelError
        The model is missing, damaged or no style model, or its files do not fit each other.
    InputError
        What is to run it is not there.
    """
    files, card = read_model(model, StyleCard)
    runtime = choose_runtime(config, files, progress)
    if runtime.name == "openvino":
        return _of_openvino(files, card, runtime)
    from geossda.models.style_model import load_generator

    if files.weights is None:
        raise ModelError("PyTorch needs the model's safetensors file")
    return style_model_of(*load_generator(files.weights), runtime)


def load_style_model(model: str | os.PathLike[str] = DEFAULT, device: str = "auto") -> StyleModel:
    """Return a style model run by PyTorch, as training does it.

    Parameters
    ----------
    model : str or path
    device : {"auto", "cpu", "cuda", "mps"}

    Raises
    ------
    ModelError
        As :func:`open_style_model` raises it.
    """
    return open_style_model(model, Settings(device, "torch"))


def style_model_of(
    generator: "Generator | Translator", card: StyleCard, runtime: Runtime
) -> StyleModel:
    """Return the style model of a generator in memory, run by PyTorch.

    Parameters
    ----------
    generator : Generator or Translator
    card : StyleCard
    runtime : Runtime
    """
    if card.preset in TRANSLATIONS:
        # Imported here, since it extends the class above.
        from geossda.runtime.domain_model import domain_model_of

        return domain_model_of(cast("Translator", generator), card, runtime)
    generator = cast("Generator", generator)
    from geossda.models.style_graphs import ApplyGraph, MeasureGraph, domain_styles
    from geossda.runtime.torch_graph import TorchGraph

    shape = Shape(generator.stride, generator.halo, tuple(generator.level_channels))
    return StyleModel(
        TorchGraph(MeasureGraph(generator), runtime._replace(precision="float32"), exclusive=True),
        TorchGraph(ApplyGraph(generator), runtime, exclusive=True),
        shape,
        card,
        runtime,
        domain_styles(generator, card.domains),
    )


def _of_openvino(files: ModelFiles, card: StyleCard, runtime: Runtime) -> StyleModel:
    from geossda.runtime.openvino_graph import OpenvinoGraph

    if files.graph is None:
        raise ModelError("OpenVINO needs the model's ONNX file")
    file = read_onnx(files.graph)
    shape = _shape_of(file.metadata.get(GENERATOR_KEY, ""))
    values = 2 * sum(shape.level_channels) if shape else 0
    pixels = file.inputs.get("pixels", ())
    fits = (
        shape is not None
        and len(pixels) == 4
        and pixels[1] == card.bands
        and pixels[2] % shape.stride == pixels[3] % shape.stride == 0
        and file.inputs.get("own") == file.inputs.get("other") == (1, values)
        and file.outputs == {"change": pixels, "moments": (1, values)}
    )
    if shape is None or not fits:
        raise ModelError(
            f"{files.graph} has a card that does not fit its graph, which is no style model of "
            f"{card.bands} bands: make it with geossda export"
        )
    exact = runtime._replace(precision="float32")  # statistics are sums over many pixels
    return StyleModel(
        OpenvinoGraph(file, ["patches", "valid"], ["moments"], exact, 1),
        OpenvinoGraph(file, ["pixels", "own", "other"], ["change"], runtime),
        shape,
        card,
        runtime,
    )


def _shape_of(text: str) -> Shape | None:
    """Return the stride, halo and channels in a file's metadata, None if they make no sense."""
    numbers = text.split()
    if len(numbers) < 3 or not all(each.isdecimal() and len(each) < 6 for each in numbers):
        return None
    stride, halo, *channels = map(int, numbers)
    if not stride or halo % stride or 0 in channels:
        return None
    return Shape(stride, halo, tuple(channels))
