"""A GeoPackage is a container: one layer is replaced or appended to, all else is kept."""

import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from shapely import Point, box

from geossda import (
    EvaluateConfig,
    PolygonizeConfig,
    ScenesConfig,
    SegmentConfig,
    evaluate,
    polygonize,
    scenes,
)
from geossda.errors import OutputError, SettingError
from geossda.layers import holds_others, split_layer

OVERWRITE = PolygonizeConfig(overwrite=True)
# The columns that QGIS gives the table.
STYLES = (
    "f_table_catalog TEXT, f_table_schema TEXT, f_table_name TEXT, f_geometry_column TEXT, "
    "styleName TEXT, styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, "
    "owner TEXT, ui TEXT, update_time DATETIME"
)


@pytest.fixture
def mask(tmp_path, make_raster):
    image = np.zeros((1, 60, 80), np.uint8)
    image[0, 10:30, 10:40], image[0, 40:55, 50:75] = 1, 1
    return make_raster(tmp_path / "mask.tif", image=image)


@pytest.fixture
def container(tmp_path):
    """Other people's: points, polygons, a table without geometry, a plain table, a style."""
    path = tmp_path / "theirs.gpkg"
    crs = "EPSG:32633"
    gpd.GeoDataFrame({"n": [1]}, geometry=[Point(5e5, 5e6)], crs=crs).to_file(path, layer="points")
    gpd.GeoDataFrame({"n": [1, 2]}, geometry=[box(0, 0, 1, 1)] * 2, crs=crs).to_file(
        path, layer="houses"
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE notes (text TEXT)")
        database.execute("INSERT INTO notes VALUES ('kept')")
        database.execute(f"CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, {STYLES})")
        styled = "INSERT INTO layer_styles (f_table_name, styleName) VALUES ('houses', 'x')"
        database.execute(styled)
    return path


def kept(path):
    """Check that all of the container is there."""
    layers = {name for name, _ in pyogrio.list_layers(path)}
    assert {"points", "houses"} <= layers
    assert len(pyogrio.read_dataframe(path, layer="houses")) == 2
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT text FROM notes").fetchall() == [("kept",)]
        styles = set(database.execute("SELECT f_table_name, styleName FROM layer_styles"))
        assert ("houses", "x") in styles
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return layers, styles


def test_overwriting_replaces_one_layer(mask, container):
    for _ in range(2):
        polygonize(mask, container, config=OVERWRITE)
        layers, styles = kept(container)
        assert "buildings" in layers and ("buildings", "geossda buildings") in styles
        assert len(styles) == 2
        assert len(pyogrio.read_dataframe(container, layer="buildings")) == 2
        assert pyogrio.read_info(container, layer="buildings")["layer_metadata"]


def test_a_layer_can_be_named(mask, container):
    polygonize(mask, f"{container}|layername=of mine", config=OVERWRITE)
    layers, styles = kept(container)
    assert "of mine" in layers and "buildings" not in layers
    assert ("of mine", "geossda buildings") in styles
    polygonize(mask, f"{container}|layername=of mine", config=PolygonizeConfig(append=True))
    frame = pyogrio.read_dataframe(container, layer="of mine")
    assert frame["id"].tolist() == [1, 2, 3, 4]
    kept(container)


def test_appending_is_refused_before_the_work(mask, container, listener):
    append = PolygonizeConfig(append=True)
    before = container.read_bytes()
    for layer, word in (("nowhere", "--overwrite"), ("points", "Point"), ("houses", "fields")):
        with pytest.raises(OutputError, match=word):
            polygonize(mask, f"{container}|layername={layer}", config=append, progress=listener)
    assert listener.stages == [] and container.read_bytes() == before


def test_errors_and_scenes_are_layers_too(mask, container, tmp_path, make_raster):
    found = tmp_path / "found.gpkg"
    polygonize(mask, found)
    evaluate(found, found, errors=container, config=EvaluateConfig(overwrite=True))
    image = make_raster(tmp_path / "image.tif", size=(300, 300))
    scenes(image, container, config=ScenesConfig(overwrite=True))
    layers, styles = kept(container)
    assert {"errors", "scenes"} <= layers and ("errors", "geossda errors") in styles


def test_a_database_that_is_no_geopackage_is_not_replaced(mask, tmp_path):
    path = tmp_path / "work.gpkg"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE mine (text TEXT)")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="no GeoPackage"):
        polygonize(mask, path, config=OVERWRITE)
    assert path.read_bytes() == before


def test_only_a_geopackage_has_layers(mask, tmp_path):
    with pytest.raises(OutputError, match="one layer"):
        polygonize(mask, f"{tmp_path}/a.fgb|layername=b")


def test_names_of_layers_as_qgis_writes_them(tmp_path):
    path = tmp_path / "a.gpkg"
    assert split_layer(path) == (path, None)
    assert split_layer(f"{path}|layername=b c|geometrytype=Polygon") == (path, "b c")
    assert split_layer(f"{path}|layername=") == (path, None)


@pytest.mark.parametrize("kind", [PolygonizeConfig, SegmentConfig])
def test_append_and_overwrite_exclude_each_other(kind):
    with pytest.raises(SettingError, match="give one of the two"):
        kind(append=True, overwrite=True)


def test_a_database_whose_schema_is_no_text_is_replaced_if_asked(tmp_path):
    path = tmp_path / "a.gpkg"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE houses (id INTEGER)")
    damaged = path.read_bytes().replace(b"CREATE TABLE houses", b"CREATE TABL\xff houses")
    path.write_bytes(damaged)
    assert not holds_others(path, "buildings")
