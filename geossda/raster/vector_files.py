"""Layers of vector files: read, and written by OGR if they are small."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.errors import GeossdaError, InputError, VectorError
from geossda.formats import VECTOR_FORMATS, suffix_of
from geossda.layers import is_split, split_layer
from geossda.raster.shapes import Shapes
from geossda.staging import PathLike

# What to type for the libraries of GeoParquet.
PARQUET_EXTRA = "pip install 'geossda[parquet]'"


@contextlib.contextmanager
def vector_errors(path: PathLike) -> Iterator[None]:
    """Raise what libraries raise on a damaged vector file as one VectorError.

    GDAL, Arrow, GEOS and PROJ each have errors of their own, and what is wrong in a file comes up
    as any of them, or as a ValueError or KeyError of what reads their answers.

    Parameters
    ----------
    path : path
        For the message.

    Raises
    ------
    VectorError
        Whatever else was raised, with its first line as the reason.
    """
    try:
        with _without_gfs(split_layer(path)[0]):
            yield
    except (GeossdaError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if "database is locked" in reason:
            raise VectorError(
                f"{path} is being written by another program: wait until it has finished, or save "
                "its edits there"
            ) from error
        raise VectorError(f"{path} is not a vector file that can be read ({reason})") from error


@contextlib.contextmanager
def _without_gfs(file: Path) -> Iterator[None]:
    """Remove the template that GDAL writes beside GML without a schema, if it was not there."""
    template = file.with_suffix(".gfs")
    written = file.suffix.lower() == ".gml" and not template.exists()
    try:
        yield
    finally:
        if written:
            template.unlink(missing_ok=True)


def read_shapes(path: PathLike, preferred: str = "buildings") -> Shapes:
    """Read the geometries of a layer as they are.

    Parameters
    ----------
    path : path
        A vector file, maybe with a layer's name: ``FILE|layername=NAME``. Else its layer
        of the preferred name is read, or its only layer of polygons, or its only layer.
    preferred : str

    Raises
    ------
    VectorError
        Missing, unreadable, without geometry, or with several layers that could be meant.
    InputError
        GeoParquet, and what reads it is not installed.
    """
    file, layer = layer_to_read(path, preferred)
    with vector_errors(path):
        if layer is None:
            frame = read_parquet(file)
            return Shapes(frame.geometry.to_numpy(), frame.crs)
        import pyogrio

        about, _, encoded, _ = pyogrio.raw.read(file, layer=layer, columns=[])
        if encoded is None:
            raise VectorError(f"{path} holds no geometry, polygons were expected")
        return Shapes(shapely.from_wkb(encoded), about["crs"])


def layer_to_read(path: PathLike, preferred: str = "buildings") -> tuple[Path, str | None]:
    """Return the file and the layer that a path names, or that is meant.

    Parameters
    ----------
    path : path
    preferred : str
        See :func:`read_shapes`.

    Returns
    -------
    file : Path
    layer : str or None
        None for GeoParquet, which has no layers.

    Raises
    ------
    VectorError
        Missing, unreadable, without geometry, or with several layers that could be meant.
    """
    file, layer = split_layer(path)
    if not file.exists():
        raise VectorError(f"vector file {file} does not exist")
    if is_split(file):
        raise VectorError(f"{file} has ! or ; in its path, which cannot be read: rename it")
    if file.suffix.lower() == ".parquet":
        return file, None
    with vector_errors(path):
        import pyogrio

        layers = {str(name): kind for name, kind in pyogrio.list_layers(file)}
        return file, _chosen(path, layers, layer or preferred, layer)


def read_parquet(file: Path) -> Any:
    """Read a GeoParquet file as a GeoDataFrame.

    Parameters
    ----------
    file : Path

    Raises
    ------
    InputError
        What reads it is not installed.
    """
    try:
        import geopandas
        import pyarrow  # noqa: F401  (which GeoPandas reads with)
    except ImportError as error:
        raise InputError(f"{file} is GeoParquet: {PARQUET_EXTRA} to read it") from error
    return geopandas.read_parquet(file)


def _chosen(
    path: PathLike, layers: dict[str, str | None], preferred: str, named: str | None
) -> str:
    """Choose the layer to read."""
    if preferred in layers:
        return preferred
    if named is not None:
        raise VectorError(f"{path} has no layer {named!r}: its layers are {', '.join(layers)}")
    polygonal = [name for name, kind in layers.items() if "Polygon" in str(kind)]
    possible = polygonal or [name for name, kind in layers.items() if kind is not None]
    if not possible:
        raise VectorError(f"{path} holds no layer with geometry, polygons were expected")
    if len(possible) > 1:
        raise VectorError(
            f"{path} holds the layers {', '.join(possible)}: name one as "
            f"{path}|layername={possible[0]}"
        )
    return possible[0]


def write_shapes(
    shapes: Shapes,
    part: Path,
    layer: str,
    fields: Mapping[str, NDArray[Any]] | None = None,
    **options: Any,
) -> None:
    """Write polygons as a layer of a file, whose suffix says the format.

    Parameters
    ----------
    shapes : Shapes
        Polygons and MultiPolygons.
    part : Path
        The file to write, or a GeoPackage to add the layer to.
    layer : str
    fields : mapping of str to (n,) array, optional
        Numbers, or objects that are text.
    **options
        Of :func:`pyogrio.raw.write`.
    """
    import pyogrio

    fields = fields or {}
    driver = VECTOR_FORMATS[suffix_of(part)].driver
    kinds = shapely.get_type_id(shapes.geometry)
    multi = bool((kinds == shapely.GeometryType.MULTIPOLYGON).any()) and driver != "GeoJSON"
    kind = "Unknown" if driver == "GeoJSON" else "MultiPolygon" if multi else "Polygon"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.raw.write(
            part,
            shapely.to_wkb(shapes.geometry),
            [np.asarray(values) for values in fields.values()],
            list(fields),
            layer=layer,
            driver=driver,
            geometry_type=kind,
            promote_to_multi=multi,
            crs=None if shapes.crs is None else shapes.crs.to_wkt(),
            **options,
        )
    if driver == "GPKG":
        _reset_change_counter(part)


def _reset_change_counter(path: Path) -> None:
    """Set the count of transactions to 1, so that equal runs write equal bytes.

    GDAL makes one more or less by chance. SQLite counts them at byte 24 of its header, and at byte
    92 has the number that the version of the library is valid for
    (https://www.sqlite.org/fileformat.html): any number that both have.
    """
    one = (1).to_bytes(4, "big")
    with path.open("r+b") as file:
        for place in (24, 92):
            file.seek(place)
            file.write(one)
