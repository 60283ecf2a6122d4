"""Rasters of places for the trials of a benchmark, scaled and at working resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import shapely

from geossda.config import BenchmarkConfig, ScalingKind
from geossda.data.datasets import Pair, choose_pairs
from geossda.data.labels import read_footprints
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import BandError, EmptyRasterError, VectorError, counted
from geossda.evaluation.experiments import Trial
from geossda.progress import Progress
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.histograms import Histograms, histograms
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import Scaling, percentile_stretch, scaling
from geossda.raster.source import gdal_environment

# Pixels of all rasters together that are kept in memory (of three bands: 640 MB).
MAX_IN_MEMORY_PX = 2**27
# Images of a city that its percentiles are measured on.
STRETCH_IMAGES = 100
# Coarsest pixels of a raster, in working pixels, that are resampled without a warning.
COARSEST = 1.25


@dataclass(frozen=True)
class TrialRasters:
    """Rasters of a trial: labelled, unlabelled, and by place those to test on."""

    sources: list[WorkingRaster]
    targets: list[WorkingRaster]
    tests: Mapping[str, Sequence[WorkingRaster]]


class PlaceRasters:
    """Rasters of places, prepared for each scaling when a trial first needs it.

    Parameters
    ----------
    places : dict
        Images and labels by place.
    config : BenchmarkConfig
    progress : Progress
    """

    def __init__(
        self, places: Mapping[str, Sequence[Pair]], config: BenchmarkConfig, progress: Progress
    ) -> None:
        self._places, self._config, self._progress = places, config, progress
        self._prepared: dict[ScalingKind, dict[str, list[WorkingRaster]]] = {}

    def __call__(self, trial: Trial, kind: ScalingKind) -> TrialRasters:
        """Return the rasters of a trial: of its targets all, for its tests those with labels."""
        if kind not in self._prepared:
            scalings = dict.fromkeys(self._places, kind)
            prepared = prepare_places(self._places, self._config, scalings, self._progress)
            for name, of_place in prepared.items():
                _require_footprints(name, of_place)
            self._prepared[kind] = prepared
        rasters = self._prepared[kind]
        return TrialRasters(
            [raster for name in trial.sources for raster in rasters[name]],
            [raster for name in trial.targets for raster in rasters[name]],
            {
                name: [raster for raster in rasters[name] if raster.shapes is not None]
                for name in trial.tests
            },
        )


def prepare_places(
    pairs: Mapping[str, Sequence[Pair]],
    config: BenchmarkConfig,
    scalings: Mapping[str, ScalingKind | Scaling],
    progress: Progress,
) -> dict[str, list[WorkingRaster]]:
    """Return rasters at working resolution, with labels if there are any, by place.

    Parameters
    ----------
    pairs : dict
        Images and labels by place.
    config : BenchmarkConfig
        Whose ``gsd`` is the working resolution.
    scalings : dict
        By place, the kind of scaling that is measured for each raster, or one scaling for all.
    progress : Progress
        Warned of rasters coarser than the working resolution.

    Raises
    ------
    BandError
        Two rasters have different numbers of bands.
    EmptyRasterError
        A place has no raster.
    """
    progress.stage("reading rasters", sum(map(len, pairs.values())))
    room_px = MAX_IN_MEMORY_PX
    rasters: dict[str, list[WorkingRaster]] = {}
    first: WorkingRaster | None = None
    for name, of_place in pairs.items():
        rasters[name] = []
        kind = scalings[name]
        for pair in of_place:
            with gdal_environment():
                mosaic = open_mosaic(pair.image)
                if first is not None and mosaic.count != first.mosaic.count:
                    raise BandError(
                        f"{pair.image} has {counted(mosaic.count, 'band')}, {first.mosaic.name} "
                        f"has {first.mosaic.count}: give rasters of the same bands"
                    )
                gsd = max(ground_sample_distance(mosaic.grid))
                if gsd > COARSEST * config.gsd:
                    progress.warn(
                        f"{pair.image} has pixels of {gsd:.2g} m, coarser than the working "
                        f"{config.gsd:g} m (--gsd): it stays blurred"
                    )
                crs = mosaic.grid.crs.to_wkt()
                shapes = None if pair.labels is None else read_footprints(pair.labels, crs)
                scaled = kind if isinstance(kind, Scaling) else scaling(kind, mosaic)
            raster = WorkingRaster.prepare(
                mosaic, config.gsd, scaled, shapes=shapes, max_pixels=room_px
            )
            first = first or raster
            room_px -= raster.pixels_in_memory
            rasters[name].append(raster)
            progress.advance()
        if not rasters[name]:
            raise EmptyRasterError(f"{name} has no raster: check its folder")
    return rasters


def _require_footprints(name: str, rasters: Sequence[WorkingRaster]) -> None:
    """Raise VectorError if the labels of a place lie on none of its rasters."""
    labelled = [
        (shapes, raster.mosaic.grid.extent)
        for raster in rasters
        if (shapes := raster.shapes) is not None
    ]
    if labelled and not any(shapely.intersects(s.geometry, extent).any() for s, extent in labelled):
        raise VectorError(
            f"no footprint of {name} lies on its rasters: check the CRS of its vector file"
        )


def city_stretch(pairs: Sequence[Pair], progress: Progress) -> Scaling:
    """Return a stretch that cuts the brightest 2 % of each band of a sample of a city's images.

    Parameters
    ----------
    pairs : sequence of Pair
        Images of the city.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        There are no images.
    """
    mosaics = [open_mosaic(pair.image) for pair in choose_pairs(pairs, STRETCH_IMAGES, 0)]
    progress.stage("reading statistics", len(mosaics))
    total: Histograms | None = None
    for mosaic in mosaics:
        counts = histograms(mosaic)
        total = counts if total is None else total + counts
        progress.advance()
    if total is None:
        raise EmptyRasterError("a city has no images: check the data set's folders")
    return percentile_stretch(total, 0, 98)
