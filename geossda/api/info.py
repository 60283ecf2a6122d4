"""Metadata of a file of any kind."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geossda.errors import GeoreferenceError, InputError, ModelError
from geossda.formats import MODEL_SUFFIXES, STYLE_SUFFIX, VECTOR_FORMATS, suffix_of
from geossda.harmonization.methods import known_statistics
from geossda.harmonization.model_statistics import Features
from geossda.harmonization.style import load_style
from geossda.layers import split_layer
from geossda.models.download import is_address
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.histograms import histograms
from geossda.raster.imagery import undeclared_fill
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import working_range
from geossda.raster.source import gdal_environment
from geossda.staging import PathLike, atomic_write, check_output


def info(
    path: PathLike, *, stac: PathLike | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Return metadata of a raster (or folder of them), a model, a style or a vector file.

    Parameters
    ----------
    path : path
        A file or a folder of rasters; ``"default"`` is the bundled building model,
        ``"default-style"`` the bundled style model.
    stac : path, optional
        Of a segmenter: where to write its STAC item, with the MLM extension.
    overwrite : bool
        Whether that file may be replaced.

    Returns
    -------
    dict
        Ready for JSON; key ``kind`` is "raster", "segmenter", "style model", "style" or
        "footprints".

    Raises
    ------
    InputError
        `stac` is given, and the file is no segmenter.
    GeossdaError
        See :mod:`geossda.errors`.
    """
    if stac is not None:
        _write_stac(path, check_output(stac, overwrite=overwrite))
    suffix = suffix_of(split_layer(path)[0])
    if str(path) in ("default", "default-style") or suffix in MODEL_SUFFIXES:
        from geossda.models.card import SegmenterCard, StyleCard
        from geossda.models.model_file import DEFAULT, is_calibrated, read_card, resolve

        if str(path) == "default-style":
            path = resolve(DEFAULT, StyleCard)
        file = resolve(path, SegmenterCard)
        about = asdict(read_card(file))
        if about["kind"] == "style":
            return {**about, "kind": "style model"}  # a style is what the command `style` writes
        return {**about, "calibrated_for_int8": is_calibrated(file)}
    if suffix == STYLE_SUFFIX:
        style = load_style(path, known_statistics())
        features = style.get(Features)
        return {
            "kind": "style",
            "name": style.name,
            "dtype": style.dtype,
            "bands": style.bands,
            "working_range": style.working_range,
            "mean": style.mean.round(2).tolist(),
            "std": style.std.round(2).tolist(),
            "pixels": style.pixels,
            "style_models": sorted(features.models) if features else [],
        }
    if suffix in VECTOR_FORMATS:
        return _vector(path)
    return _raster(path)


def _write_stac(path: PathLike, output: Path) -> None:
    from geossda.models.card import SegmenterCard
    from geossda.models.model_file import read_model
    from geossda.models.stac_item import stac_item

    if str(path) == "default-style":
        raise ModelError("a STAC item describes a segmenter, this is a style model")
    known = str(path) == "default" or suffix_of(path) in MODEL_SUFFIXES or is_address(str(path))
    if not known:
        raise InputError(f"{path} is no segmenter, which --stac describes: give a model's file")
    files, card = read_model(path, SegmenterCard)
    item = stac_item(files, card, output.parent)
    with atomic_write(output) as part:
        part.write_text(json.dumps(item, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _vector(path: PathLike) -> dict[str, Any]:
    from geossda.footprints.ground_scale import ground_areas
    from geossda.raster.polygons import polygons_of
    from geossda.raster.vector_files import read_shapes

    shapes = polygons_of(read_shapes(path), path, None, whole=True)
    areas = ground_areas(shapes)
    return {
        "kind": "footprints",
        "buildings": len(shapes),
        "crs": shapes.crs.to_string() if shapes.crs else None,
        "area_m2": float(areas.sum().round(1)),
        "bounds": shapes.bounds.round(6).tolist() if len(shapes) else None,
    }


@gdal_environment()
def _raster(path: PathLike) -> dict[str, Any]:
    mosaic = open_mosaic(path)
    height, width = mosaic.shape
    sampled = histograms(mosaic, budget_px=2**23)
    try:
        gsd = [round(step, 4) for step in ground_sample_distance(mosaic.grid)]
    except GeoreferenceError:
        gsd = None
    ends = sampled.quantiles((0.02, 0.5, 0.98))
    fills = [undeclared_fill(source, len(mosaic.sources)) for source in mosaic.sources]
    fill = next(filter(None, fills), None)
    return {
        "kind": "raster",
        "files": len(mosaic.sources),
        "width": width,
        "height": height,
        "megapixels": round(width * height / 1e6, 2),
        "bands": mosaic.count,
        "dtype": str(mosaic.dtype),
        "crs": mosaic.grid.crs.to_wkt().split('"')[1] if mosaic.grid.crs else None,
        "epsg": mosaic.grid.crs.to_epsg() if mosaic.grid.crs else None,
        "gsd_m": gsd,
        "validity": sorted({source.validity for source in mosaic.sources}),
        "nodata": mosaic.sources[0].nodata,
        "undeclared_fill": None if fill is None else fill._asdict(),
        "colors": list(mosaic.sources[0].colors),
        "working_range": working_range(sampled, mosaic.dtype),
        "percentiles_2_50_98": ends.round(3).tolist(),
    }
