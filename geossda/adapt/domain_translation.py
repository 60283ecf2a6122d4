"""Adaptation by models of declared domains: patches translated, or whole rasters standardized."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.adapt.style_transfer import STYLE_PATCHES, Bytes, draw_style_patch, translate_bytes
from geossda.config import Structure
from geossda.data.patches import draw_probabilities
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import InputError, StyleError
from geossda.harmonization.ssda import Transfer, measure_look
from geossda.models.style_arrays import ImageStyle
from geossda.progress import SILENT, Progress
from geossda.runtime.domain_model import STANDARD, DomainModel
from geossda.runtime.style_network import StyleModel

# Side of the windows that rasters are standardized in, in pixels.
WINDOW_PX = 256


@dataclass(frozen=True)
class DomainTranslation:
    """Translation of patches to the domains of other rasters.

    Attributes
    ----------
    model : DomainModel
    structure : {"lock", "full"}
    own : dict
        What was measured of a raster on the way to a domain, by the raster's index and the domain.
    targets : dict of str to ImageStyle
        Targets by domain.
    other : sequence of str
        Domains of the rasters to translate to.
    probability : (rasters,) float64 array
        Probability of each of them to be drawn.
    """

    model: DomainModel
    structure: Structure
    own: Mapping[tuple[int, str], ImageStyle]
    targets: Mapping[str, ImageStyle]
    other: Sequence[str]
    probability: NDArray[np.float64]

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Return a patch translated to the domain of another raster."""
        name = self.other[int(rng.choice(len(self.other), p=self.probability))]
        own, target = self.own[raster, name], self.targets[name]
        return translate_bytes(Transfer(self.model, own, target, self.structure), image, valid)


def domain_translations(
    model: StyleModel,
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
    side: int,
    structure: Structure,
    seed: int,
    *,
    progress: Progress = SILENT,
) -> tuple[DomainTranslation, DomainTranslation]:
    """Return the translations of labelled patches to targets, and of target patches to any raster.

    Parameters
    ----------
    model : StyleModel
        Of declared domains, which are the rasters' folders.
    sources, targets : sequences of WorkingRaster
    side : int
        Side of the patches that are measured, in pixels.
    structure : {"lock", "full"}
    seed : int
    progress : Progress
        Advanced by one per raster.

    Raises
    ------
    StyleError
        The model has no declared domains, or a raster lies in a folder that is none of them.
    """
    model = require_domains(model)
    rasters = [*sources, *targets]
    names = [raster.folder.name for raster in rasters]
    rng = np.random.default_rng([seed, STYLE_PATCHES])
    progress.stage("computing style statistics", len(rasters))
    patches = [_patches(raster, side, rng) for raster in rasters]
    targets_of = {}
    for name in dict.fromkeys(names):
        shown = [patches[index] for index, own in enumerate(names) if own == name]
        of_domain = model.with_domain(name)
        image, valid = (np.concatenate(part)[:: len(shown)] for part in zip(*shown, strict=True))
        targets_of[name] = _measure(of_domain, image, valid, structure)
    measured: dict[tuple[int, str], ImageStyle] = {}
    for index, (image, valid) in enumerate(patches):
        wanted = names[len(sources) :] if index < len(sources) else names
        for name in dict.fromkeys(wanted):
            towards = model.towards(targets_of[name], np.uint8)
            measured[index, name] = _measure(towards, image, valid, structure)
        progress.advance()
    of_targets = {
        (index - len(sources), name): style
        for (index, name), style in measured.items()
        if index >= len(sources)
    }
    domains = names[len(sources) :]
    return (
        DomainTranslation(
            model, structure, measured, targets_of, domains, draw_probabilities(targets)
        ),
        DomainTranslation(
            model, structure, of_targets, targets_of, names, draw_probabilities(rasters)
        ),
    )


def standardized(
    model: StyleModel,
    rasters: Sequence[WorkingRaster],
    side: int,
    structure: Structure,
    seed: int,
    *,
    progress: Progress = SILENT,
) -> list[WorkingRaster]:
    """Return rasters put to StandardGAN's standard, as they are trained and predicted on.

    Parameters
    ----------
    model : StyleModel
        Of preset ``standardgan``.
    rasters : sequence of WorkingRaster
        In memory; they are left as they are.
    side : int
        Side of the patches that are measured, in pixels.
    structure : {"lock", "full"}
    seed : int
    progress : Progress
        Advanced by one per raster.

    Raises
    ------
    StyleError
        The model is of another preset.
    InputError
        A raster is too large to be held in memory.
    """
    if model.card.preset != "standardgan":
        raise StyleError(
            f"the style model {model.card.name} is of preset {model.card.preset}: --adapt "
            "standardgan needs one of preset standardgan"
        )
    model = require_domains(model).with_domain(STANDARD)
    progress.stage("standardizing rasters", len(rasters))
    results = []
    for raster in rasters:
        if raster.in_memory is None:
            raise InputError(
                f"{raster.mosaic.name} is too large to be standardized in memory: run geossda "
                "harmonize --domain standard first, and train on that with --adapt none"
            )
        rng = np.random.default_rng([seed, STYLE_PATCHES])
        patches = _patches(raster, side, rng)
        target = _measure(model, *patches, structure)
        own = _measure(model.towards(target, np.uint8), *patches, structure)
        result = copy.copy(raster)
        result.in_memory = _translated(Transfer(model, own, target, structure), raster.in_memory)
        results.append(result)
        progress.advance()
    return results


def require_domains(model: StyleModel) -> DomainModel:
    """Return a model of declared domains as one.

    Parameters
    ----------
    model : StyleModel

    Raises
    ------
    StyleError
        It has no declared domains, or measures none.
    """
    if not isinstance(model, DomainModel):
        raise StyleError(
            f"the style model {model.card.name} is of preset {model.card.preset}, which does not "
            "translate between domains: train one with --preset cyclegan, for example"
        )
    return model


def _patches(
    raster: WorkingRaster, side: int, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return random patches of a raster, 0..1, and their validity."""
    drawn = [draw_style_patch(raster, side, rng) for _ in range(STYLE_PATCHES)]
    image, valid = (np.stack(part) for part in zip(*drawn, strict=True))
    return np.asarray(image / np.float32(255), np.float32), valid


def _measure(
    model: StyleModel,
    image: NDArray[np.float32],
    valid: NDArray[np.bool_],
    structure: Structure,
) -> ImageStyle:
    """Measure all patches of one image together, as its statistics are those of the whole."""
    known = image.swapaxes(0, 1)[:, valid].astype(np.float64)
    pixels = known.mean(1), np.atleast_2d(np.cov(known)) + 1e-6 * np.eye(len(known))
    return measure_look(model, image, valid, pixels, structure)


def _translated(transfer: Transfer, given: Bytes) -> Bytes:
    """Return image and masks of a raster, the image translated window by window."""
    image, valid = given[:-2], given[-1] > 0
    height, width = valid.shape
    halo, align = transfer.halo, transfer.align
    margins = [(halo, halo + -size % align) for size in (height, width)]
    image, valid = np.pad(image, [(0, 0), *margins]), np.pad(valid, margins)
    result = given.copy()
    step = WINDOW_PX // align * align
    inner = slice(halo, halo + step)
    for row, col in itertools.product(range(0, height, step), range(0, width, step)):
        rows, cols = (slice(start, start + step + 2 * halo) for start in (row, col))
        translated = translate_bytes(transfer, image[:, rows, cols], valid[rows, cols])
        part = result[:-2, row : row + step, col : col + step]
        known = valid[rows, cols][inner, inner][: part.shape[1], : part.shape[2]]
        translated = translated[:, inner, inner][:, : part.shape[1], : part.shape[2]]
        part[:, known] = translated[:, known]
    return result
