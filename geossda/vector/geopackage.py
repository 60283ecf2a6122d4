"""Footprints to a GeoPackage that QGIS opens looking right."""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from importlib import resources

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import shapely
from odc.geo.geobox import GeoBox

from geossda.errors import OutputError
from geossda.staging import staged
from geossda.vector.polygons import Footprint

LAYER = "buildings"


def to_frame(
    footprints: Iterable[Footprint],
    grid: GeoBox,
    gsd_m: float,
    *,
    simplify_m: float,
    min_area_m2: float,
) -> gpd.GeoDataFrame:
    """Simplify, measure and place footprints.

    Parameters
    ----------
    footprints : iterable of Footprint
        In pixels of `grid`.
    grid : GeoBox
        With a CRS.
    gsd_m : float
        Ground sample distance of `grid` in metres.
    simplify_m : float
        Tolerance in metres; 0 keeps the pixel edges.
    min_area_m2 : float
        Smaller footprints are left out.

    Returns
    -------
    GeoDataFrame
        Polygons in the grid's CRS with ``id``, ``area_m2`` (geodesic) and ``confidence``, from
        top to bottom and left to right.
    """
    found = [f for f in footprints if f.pixels * gsd_m**2 >= min_area_m2 / 2]
    shapes = np.array([footprint.shape for footprint in found], object)
    if simplify_m > 0:
        shapes = shapely.make_valid(shapely.simplify(shapes, simplify_m / gsd_m))
    shapes = np.array([_largest_polygon(shape) for shape in shapes], object)
    transform = grid.transform
    placed = shapely.transform(shapes, lambda xy: np.column_stack(transform * (xy[:, 0], xy[:, 1])))
    frame = gpd.GeoDataFrame(
        {
            "area_m2": geodesic_areas(gpd.GeoSeries(placed, crs=grid.crs.to_wkt())),
            "confidence": np.round([footprint.confidence for footprint in found], 4).astype(float),
        },
        geometry=list(placed),
        crs=grid.crs.to_wkt(),
    )
    corner = shapely.bounds(shapes).reshape(-1, 4)
    order = np.lexsort((corner[:, 0], corner[:, 1])) if len(found) else np.array([], int)
    frame = frame.iloc[order]
    frame = frame[(frame.area_m2 >= min_area_m2) & ~frame.is_empty].reset_index(drop=True)
    frame.insert(0, "id", np.arange(1, len(frame) + 1))
    return frame


def geodesic_areas(shapes: gpd.GeoSeries) -> np.ndarray:
    """Measure polygons on the ellipsoid, in square metres, whatever their CRS."""
    crs = pyproj.CRS(shapes.crs)
    geod = crs.get_geod()
    if geod is None:
        raise OutputError(f"CRS {crs.name} has no ellipsoid, so areas are unknown")
    on_globe = shapes.to_crs(crs.geodetic_crs)
    areas = [abs(geod.geometry_area_perimeter(shape)[0]) for shape in on_globe]
    return np.round(np.array(areas, float), 2)


def write_geopackage(
    frame: gpd.GeoDataFrame, path: str | os.PathLike[str], metadata: Mapping[str, str]
) -> None:
    """Write layer ``buildings`` with its default style; whole or not at all.

    Parameters
    ----------
    frame : GeoDataFrame
        Polygons; may be empty.
    path : path
        Ends in ``.gpkg``.
    metadata : mapping
        Kept with the layer.
    """
    with staged(path) as part:
        try:
            pyogrio.write_dataframe(
                frame,
                part,
                layer=LAYER,
                driver="GPKG",
                # QGIS 3.22 warns of 1.4 and newer.
                dataset_options={"VERSION": "1.3"},
                geometry_type="Polygon",
                layer_options={"GEOMETRY_NAME": "geom", "DESCRIPTION": "Building footprints"},
                layer_metadata=dict(metadata),
            )
            _add_style(part)
        except (
            pyogrio.errors.DataSourceError,
            pyogrio.errors.DataLayerError,
            pyogrio.errors.FeatureError,
            sqlite3.Error,
        ) as error:
            raise OutputError(f"cannot write {path}: {error}") from error


def _add_style(path: os.PathLike[str]) -> None:
    """Add the table QGIS looks for default styles in."""
    qml = (resources.files("geossda.vector") / "buildings.qml").read_text()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "
            "f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), "
            "f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, "
            "useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), "
            "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', ?, 'geom', 'geossda buildings', ?, '', 1, "
            "'Footprints, paler where confidence is low', '')",
            (LAYER, qml),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', 'QGIS styles')"
        )


def _largest_polygon(shape: shapely.Geometry) -> shapely.Geometry:
    """Keep the main part where simplifying pinched a shape in two."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return max(parts, key=lambda part: part.area) if parts else shapely.Polygon()
