"""Compare buildings found with true ones."""

from typing import Any

from geossda.config import EvaluateConfig, config_from
from geossda.errors import OutputError
from geossda.evaluation.building_layer import open_area, open_layer
from geossda.evaluation.compare import Comparison, compare
from geossda.footprints.ogr import write_errors
from geossda.footprints.write import check_vector_output
from geossda.layers import split_layer
from geossda.progress import SILENT, Progress
from geossda.raster.imagery import warn_of_fill
from geossda.runs.lock import exclusive
from geossda.staging import PathLike, check_output


@exclusive(lambda given: [given["errors"]])
def evaluate(
    found: PathLike,
    true: PathLike,
    *,
    area: PathLike | None = None,
    errors: PathLike | None = None,
    config: EvaluateConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Comparison:
    """Compare two layers of buildings, each a raster or a vector file.

    Parameters
    ----------
    found : path
        Buildings found.
    true : path
        True buildings.
    area : path, optional
        Raster (its valid pixels) or polygons to stay within.
    errors : path, optional
        A ``.gpkg`` to write hits, misses and false alarms to; opens styled in QGIS.
    config : EvaluateConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    Comparison
        IoU, precision and recall of pixels, F1 of buildings, and how they are formed.

    Raises
    ------
    OutputError
        `errors` is not a ``.gpkg``, or exists and `overwrite` is not set.
    GeossdaError
        See :mod:`geossda.errors`.
    """
    config = config_from(EvaluateConfig, config, settings)
    if errors is not None:
        file, _ = split_layer(errors)
        if file.suffix.lower() != ".gpkg":
            raise OutputError(f"{errors}: a name ending in .gpkg was expected")
        check_vector_output(errors, append=False)
        inputs = [split_layer(path)[0] for path in (found, true, *([area] if area else []))]
        check_output(file, overwrite=config.overwrite, inputs=inputs)
    within = None if area is None else open_area(area)
    if within is not None and within.raster is not None:
        warn_of_fill(within.raster, progress)
    result = compare(
        open_layer(found, config.threshold),
        open_layer(true, config.threshold),
        iou=config.iou,
        area=within,
        progress=progress,
    )
    if errors is not None:
        found_errors = result.errors
        fields = {"kind": found_errors.kind, "iou": found_errors.iou}
        write_errors(found_errors.shapes, fields, errors)
    return result
