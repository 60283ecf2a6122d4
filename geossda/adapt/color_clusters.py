"""Adaptation by graph matching: patches in the colors of another place (Tuia et al. 2013)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.color.graph_matching import Clusters, GraphMap, cluster_colors, fit_displacement
from geossda.data.patches import draw_probabilities, random_patch
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import EmptyRasterError
from geossda.progress import SILENT, Progress

Bytes = NDArray[np.uint8]
# Random patches of a place that its colors are taken from, and how many colors are clustered.
COLOR_PATCHES, COLORS = 48, 16384


def measure_places(
    rasters: Sequence[WorkingRaster], side: int, seed: int, *, progress: Progress = SILENT
) -> dict[Path, Clusters]:
    """Return the clusters of the colors of each place, which is a folder of rasters.

    A place, not a raster: crops of one place are often too small to show all of its land, and a
    cluster without its like in the other graph is matched with something else.

    Parameters
    ----------
    rasters : sequence of WorkingRaster
    side : int
        Side of the random patches in pixels.
    seed : int
    progress : Progress
        Advanced by one per place.

    Returns
    -------
    dict
        Clusters of colors in 0..1, by folder.

    Raises
    ------
    EmptyRasterError
        All patches of a place are nodata.
    """
    rng = np.random.default_rng([seed, COLOR_PATCHES])
    folders = list(dict.fromkeys(raster.folder for raster in rasters))
    progress.stage("clustering colours", len(folders))
    places = {}
    for folder in folders:
        own = [raster for raster in rasters if raster.folder == folder]
        drawn = rng.choice(len(own), COLOR_PATCHES, p=draw_probabilities(own))
        patches = [random_patch(own[index], side, rng) for index in drawn]
        colors = np.concatenate([patch[:-2, patch[-1] > 0] for patch in patches], axis=1)
        if not colors.size:
            raise EmptyRasterError(f"{COLOR_PATCHES} patches of {folder} were nodata: check it")
        spread = np.linspace(0, colors.shape[1] - 1, min(COLORS, colors.shape[1])).astype(int)
        places[folder] = cluster_colors(colors[:, spread] / 255)
        progress.advance()
    return places


@dataclass(frozen=True)
class GraphTransfer:
    """Colors of a patch's place moved to those of another place.

    Attributes
    ----------
    places : dict
        Clusters by folder.
    own, other : sequences of Path
        Folders of the rasters that patches are drawn from, and of those to translate to.
    probability : (rasters,) float64 array
        Probability of each of the latter to be drawn.
    """

    places: dict[Path, Clusters]
    own: Sequence[Path]
    other: Sequence[Path]
    probability: NDArray[np.float64]
    _maps: dict[tuple[Path, Path], GraphMap] = field(default_factory=dict, repr=False)

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Return a patch in the colors of another place."""
        pair = self.own[raster], self.other[int(rng.choice(len(self.other), p=self.probability))]
        if pair[0] == pair[1]:
            return image
        if pair not in self._maps:
            self._maps[pair] = GraphMap(fit_displacement(*(self.places[each] for each in pair)))
        mapped = self._maps[pair]((image / np.float32(255)).astype(np.float32))
        return np.asarray(np.clip(np.rint(mapped * 255), 0, 255), np.uint8)


def graph_transfers(
    places: dict[Path, Clusters],
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
) -> tuple[GraphTransfer, GraphTransfer]:
    """Return the transfers of labelled patches to targets, and of target patches to any place.

    Parameters
    ----------
    places : dict
        What :func:`measure_places` returns for all rasters.
    sources, targets : sequences of WorkingRaster
    """
    rasters = [*sources, *targets]
    first, second, both = (
        [raster.folder for raster in group] for group in (sources, targets, rasters)
    )
    return (
        GraphTransfer(places, first, second, draw_probabilities(targets)),
        GraphTransfer(places, second, both, draw_probabilities(rasters)),
    )
