"""Polygons of vector files as the field has them: repaired, placed, or refused in one line."""

import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from conftest import UTM
from shapely import Point, box

from geossda import info
from geossda.data.labels import read_footprints
from geossda.errors import VectorError
from geossda.raster.polygons import polygon_parts, repaired
from geossda.raster.vector_files import read_shapes


def save(path, shapes, crs=UTM, **how):
    gpd.GeoDataFrame(geometry=shapes, crs=crs).to_file(path, **how)
    return path


def test_a_repair_that_nests_collections_loses_no_house(tmp_path):
    # Two wings joined by a line there and back: the repair is a collection with a MultiPolygon.
    wings = shapely.Polygon(
        [(0, 0), (4, 0), (4, 4), (2, 4), (2, 9), (4, 9), (4, 14), (0, 14), (0, 9), (2, 9), (2, 4),
         (0, 4)]
    )  # fmt: skip
    assert shapely.make_valid(wings).geom_type == "GeometryCollection"
    shapes = read_footprints(save(tmp_path / "a.gpkg", [wings, box(20, 0, 30, 10)]), None)
    assert np.allclose(sorted(shapely.area(shapes.geometry)), [16, 20, 100])


@pytest.mark.parametrize("corners", [17, 24])
@pytest.mark.parametrize("rings", [1, 2])
def test_tangled_outlines_are_repaired_as_make_valid_does(corners, rings):
    rng = np.random.default_rng(corners)
    drawn = [rng.uniform(0, 90, (corners, 2)) for _ in range(rings)]
    for shape in (
        shapely.Polygon(drawn[0], drawn[1:]),
        shapely.MultiPolygon([shapely.Polygon(ring) for ring in drawn]),
    ):
        (ours,) = repaired(np.array([shape], object), "a.gpkg")
        theirs = shapely.make_valid(shape)
        assert ours.is_valid and ours.symmetric_difference(theirs).area < 1e-6


def test_a_tangle_that_make_valid_takes_minutes_for(tmp_path):
    tangle = shapely.Polygon(np.random.default_rng(0).uniform(10, 90, (250, 2)))
    shapes = read_footprints(save(tmp_path / "a.gpkg", [tangle]), None)
    assert 1000 < shapely.area(shapes.geometry).sum() < 6400


def test_parts_of_nested_collections():
    inner = shapely.GeometryCollection([shapely.MultiPolygon([box(0, 0, 1, 1)]), Point(0, 0)])
    outer = shapely.GeometryCollection(
        [inner, box(2, 2, 4, 4), shapely.LineString([(0, 0), (1, 1)])]
    )
    assert [part.area for part in polygon_parts(np.array([outer, shapely.Polygon()]))] == [1, 4]


def test_a_polygon_that_crosses_itself_everywhere_is_refused(tmp_path):
    turns = np.arange(3000) * 2 * np.pi * 1201 / 3000
    star = shapely.Polygon(np.stack([np.cos(turns), np.sin(turns)], axis=1) * 100)
    with pytest.raises(VectorError, match="crosses itself about"):
        read_footprints(save(tmp_path / "a.gpkg", [star]), None)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32637"])
def test_coordinates_that_do_not_fit_their_crs(tmp_path, crs):
    # Metres in GeoJSON, which is in degrees; and degrees of the other side of the Earth in a zone.
    shapes = (
        [box(500045, 999922, 500055, 999932)] if crs == "EPSG:4326" else [box(1e9, 1e9, 2e9, 2e9)]
    )
    path = save(tmp_path / "a.gpkg", shapes, crs)
    with pytest.raises(VectorError, match=r"longitude|no coordinates"):
        read_footprints(path, UTM)


def test_coordinates_whose_areas_no_number_can_hold(tmp_path):
    path = save(tmp_path / "a.gpkg", [box(0, 0, 5, 5), box(-1e300, -1e300, 1e300, 1e300)])
    with pytest.raises(VectorError, match="nowhere on Earth in its CRS WGS 84 / UTM"):
        info(path)
    with pytest.raises(VectorError, match="nowhere on Earth"):
        read_footprints(path, UTM)


def test_coordinates_that_are_no_numbers(tmp_path):
    feature = {"type": "Feature", "properties": {}, "geometry": {
        "type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1e400, 1], [0, 0]]]}}  # fmt: skip
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(VectorError):
        read_footprints(path, None)


def test_files_that_hold_no_polygons(tmp_path):
    path = tmp_path / "table.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), path, layer="table", driver="GPKG")
    with pytest.raises(VectorError, match="no layer with geometry"):
        read_footprints(path, None)
    with pytest.raises(VectorError, match="Point"):
        read_footprints(save(tmp_path / "points.gpkg", [Point(0, 0)]), None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "a.fgb").write_bytes(b"fgb\x03fgb\x00" + bytes(100))
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "plain.parquet")
    for name in ("a.parquet", "a.fgb", "plain.parquet"):
        with pytest.raises(VectorError, match=name):
            read_footprints(tmp_path / name, None)


def test_the_layer_that_is_read(tmp_path):
    path = tmp_path / "a.gpkg"
    save(path, [Point(0, 0)], layer="points")
    save(path, [box(0, 0, 1, 1)], layer="houses")
    assert len(read_shapes(path)) == 1 and read_shapes(path).geometry[0].geom_type == "Polygon"
    save(path, [box(0, 0, 1, 1)] * 2, layer="sheds")
    with pytest.raises(VectorError, match=r"houses, sheds.*\|layername=houses"):
        read_shapes(path)
    assert len(read_shapes(f"{path}|layername=sheds")) == 2
    with pytest.raises(VectorError, match=r"has no layer .barns.: its layers are"):
        read_shapes(f"{path}|layername=barns")
    save(path, [box(0, 0, 1, 1)] * 3, layer="buildings")
    assert len(read_shapes(path)) == 3


@pytest.mark.parametrize(("suffix", "driver"), [(".kml", "KML"), (".gml", "GML")])
def test_truth_as_kml_and_gml(tmp_path, suffix, driver):
    shapes = gpd.GeoSeries([box(5e5, 5e6, 5e5 + 10, 5e6 + 10)], crs=UTM)
    path = tmp_path / f"a{suffix}"
    gpd.GeoDataFrame(geometry=shapes.to_crs("EPSG:4326")).to_file(path, driver=driver)
    assert shapely.area(read_footprints(path, UTM).geometry).tolist() == pytest.approx(
        [100], rel=1e-3
    )


def test_a_geopackage_that_another_program_is_writing(tmp_path, monkeypatch):
    monkeypatch.setenv("SQLITE_BUSY_TIMEOUT", "200")  # milliseconds that GDAL waits for a lock
    path = save(tmp_path / "true.gpkg", [box(0, 0, 10, 10)])
    # Locks of files hold between processes only.
    other = subprocess.Popen(
        [sys.executable, "-c", "import sqlite3, sys; "
         "database = sqlite3.connect(sys.argv[1], isolation_level=None); "
         "database.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()",
         str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(VectorError, match="being written by another program"):
        read_shapes(path)
    other.communicate()
    assert len(read_shapes(path).geometry) == 1
