"""Footprints: the same whatever the strips, faithful to the mask, and at home in QGIS."""

import json
import sqlite3
from contextlib import closing

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from conftest import UTM
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox

from geossda.errors import OutputError
from geossda.vector.geopackage import geodesic_areas, to_frame, write_geopackage
from geossda.vector.polygons import Footprint, StripPolygonizer

masks = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))
cuts = st.lists(st.integers(1, 5), min_size=14, max_size=14)


def polygonize(probability, heights=None, threshold=0.5):
    """Footprints of an array given in strips of these heights (the last one repeats)."""
    heights = list(heights or [len(probability)])
    polygonizer = StripPolygonizer(threshold)
    found, row = [], 0
    while row < len(probability):
        height = heights.pop(0) if len(heights) > 1 else heights[0]
        found += polygonizer.add(probability[row : row + height])
        row += height
    return found + list(polygonizer.finish())


def grained(mask, seed=0):
    """Probabilities over the threshold where the mask is, and below it elsewhere."""
    grain = np.random.default_rng(seed).random(mask.shape, np.float32)
    return np.where(mask, 0.5 + grain / 2, grain * 0.49).astype(np.float32)


def key(footprint):
    return footprint.shape.wkb, footprint.pixels, round(footprint.confidence, 6)


def check_faithful(mask, found):
    """The polygons are the mask's 4-connected parts: all of them, whole, and nothing else."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    assert len(found) == count - 1
    burnt = np.zeros(mask.shape, int)
    for footprint in found:
        assert footprint.shape.geom_type == "Polygon" and footprint.shape.is_valid
        assert footprint.shape.area == footprint.pixels
        here = rasterio.features.rasterize([footprint.shape], mask.shape, dtype="uint8")
        assert np.count_nonzero(here) == footprint.pixels
        assert len(np.unique(labels[here > 0])) == 1
        burnt += here
    assert np.array_equal(burnt, mask.astype(int))


@given(masks, cuts)
def test_strips_change_nothing_and_rasterizing_gives_the_mask(mask, heights):
    probability = grained(mask)
    whole = polygonize(probability)
    check_faithful(mask, whole)
    in_strips = polygonize(probability, heights)
    assert sorted(map(key, whole)) == sorted(map(key, in_strips))


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.75), st.integers(1, 30))
def test_strips_change_nothing_on_larger_masks(seed, share, height):
    rng = np.random.default_rng(seed)
    mask = rng.random((60, 47)) < share
    probability = grained(mask, seed)
    whole = polygonize(probability)
    check_faithful(mask, whole)
    in_strips = polygonize(probability, [height])
    assert sorted(map(key, whole)) == sorted(map(key, in_strips))


def drawing(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


DRAWINGS = {
    "hole": drawing("#####", "#...#", "#.#.#", "#...#", "#####"),
    "two holes that touch": drawing("#####", "#.###", "##.##", "#####"),
    "hole at the outline's corner": drawing("####", "#.##", "##.#", "###."),
    "diagonal": drawing("#...", ".#..", "..#.", "...#"),
    "checkers": drawing("#.#.#", ".#.#.", "#.#.#"),
    "spiral": drawing("#######", "#.....#", "#.###.#", "#.#.#.#", "#.#...#", "#.#####", "#......"),
    "comb": drawing("#.#.#.#", "#.#.#.#", "#.#.#.#", "#######"),
    "comb upside down": drawing("#######", "#.#.#.#", "#.#.#.#"),
    "two combs": drawing("#.#.#.#", "#######", "#.#.#.#", ".......", "#######", "#.#.#.#"),
    "ring on a ring's corner": drawing("###...", "#.#...", "###...", "...###", "...#.#", "...###"),
    "all": np.ones((4, 5), bool),
    "nothing": np.zeros((4, 5), bool),
    "one column": drawing("#", "#", ".", "#"),
    "one pixel": drawing("#"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings(name):
    mask = DRAWINGS[name]
    whole = polygonize(grained(mask))
    check_faithful(mask, whole)
    for height in range(1, len(mask)):
        assert sorted(map(key, polygonize(grained(mask), [height]))) == sorted(map(key, whole))


def test_a_hole_is_kept():
    (ring, dot) = sorted(polygonize(grained(DRAWINGS["hole"])), key=lambda f: -f.pixels)
    assert len(ring.shape.interiors) == 1 and ring.shape.area == 16
    assert dot.shape.equals(shapely.box(2, 2, 3, 3))


def test_diagonal_neighbours_are_two_buildings():
    assert len(polygonize(grained(DRAWINGS["diagonal"]))) == 4


def test_outlines_have_no_needless_points():
    (footprint,) = polygonize(np.ones((20, 30), np.float32), [3])
    assert footprint.shape.equals_exact(shapely.normalize(shapely.box(0, 0, 30, 20)))
    assert len(footprint.shape.exterior.coords) == 5


def test_confidence_is_the_mean_probability():
    probability = np.zeros((6, 8), np.float32)
    probability[1:5, 2:4] = np.array([[0.5, 0.7], [0.9, 1.0], [0.6, 0.6], [0.8, 0.5]])
    for heights in ([6], [1], [2]):
        (footprint,) = polygonize(probability, heights)
        assert footprint.confidence == pytest.approx(0.7, abs=1e-6)
        assert footprint.pixels == 8


def test_threshold_belongs_to_the_building():
    probability = np.array([[0.6, 0.59999, 0.6]], np.float32)
    assert len(polygonize(probability, threshold=np.float32(0.6))) == 2
    assert polygonize(probability, threshold=0.7) == []


def test_footprints_come_as_soon_as_they_end():
    """Memory follows the footprints that are open, not the raster."""
    polygonizer = StripPolygonizer(0.5)
    mask = np.zeros((4, 9), bool)
    mask[1:3, 1:3], mask[2:, 5:7] = True, True
    ended = list(polygonizer.add(grained(mask)))
    assert [footprint.pixels for footprint in ended] == [4]
    assert len(polygonizer._open) == 1
    assert [f.pixels for f in polygonizer.add(grained(np.zeros((2, 9), bool)))] == [4]
    assert list(polygonizer.finish()) == [] and polygonizer._open == {}


# On the ground


def grid_at(crs, lon, lat, metres, shape=(40, 60)):
    """A grid whose pixels are about `metres` on the ground."""
    to_crs = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    x, y = to_crs.transform(lon, lat)
    geod = pyproj.Geod(ellps="WGS84")
    east, south = (
        np.hypot(*np.subtract(to_crs.transform(*geod.fwd(lon, lat, azimuth, metres)[:2]), (x, y)))
        for azimuth in (90, 180)
    )
    return GeoBox(shape, Affine(east, 0, x, 0, -south, y), crs)


def footprints_of(*boxes):
    return [Footprint(shapely.box(*box), int(shapely.box(*box).area), 0.75 * shapely.box(*box).area)
            for box in boxes]  # fmt: skip


@pytest.mark.parametrize(
    ("crs", "lat"),
    [
        *((crs, lat) for crs in (UTM, "EPSG:3857", "EPSG:4326", "EPSG:32632")
          for lat in (-0.5, 47.0, 63.0)),
        ("EPSG:3035", 47.0), ("EPSG:3035", 63.0),
    ],
)  # fmt: skip
def test_areas_are_true_in_any_crs(crs, lat):
    grid = grid_at(crs, 15.1, lat, 0.5)
    frame = to_frame(footprints_of((2, 3, 22, 13)), grid, 0.5, simplify_m=0, min_area_m2=0)
    assert frame.area_m2.tolist() == pytest.approx([50.0], rel=4e-3)
    assert frame.crs.to_epsg() == int(crs.split(":")[1])


def test_geodesic_areas_keep_holes_out():
    shape = shapely.box(0, 0, 20, 20).difference(shapely.box(5, 5, 15, 15))
    shape = shapely.transform(shape, lambda xy: xy + np.array([500000, 5200000]))
    found = geodesic_areas(gpd.GeoSeries([shape], crs=UTM))
    # UTM's scale on its middle meridian is 0.9996.
    assert found.tolist() == pytest.approx([300 / 0.9996**2], rel=1e-4)


def test_frame_is_in_reading_order_with_ids_and_confidence():
    found = footprints_of((30, 20, 40, 30), (20, 2, 30, 12), (2, 2, 12, 12))
    found[0].probability_sum = 0.9 * found[0].pixels
    frame = to_frame(found, grid_at(UTM, 15, 47, 1.0), 1.0, simplify_m=0.5, min_area_m2=8)
    assert frame.columns.tolist() == ["id", "area_m2", "confidence", "geometry"]
    assert frame.id.tolist() == [1, 2, 3]
    assert frame.confidence.tolist() == [0.75, 0.75, 0.9]
    bounds = frame.geometry.bounds
    assert bounds.minx[0] < bounds.minx[1] and bounds.maxy[2] < bounds.maxy[0]


def test_small_footprints_are_left_out_by_their_true_area():
    found = footprints_of((0, 0, 4, 4), (10, 10, 13, 13), (20, 20, 22, 22))
    for smallest, kept in ((0, 3), (5, 2), (9.5, 1), (16.5, 0)):
        grid = grid_at(UTM, 15, 47, 1.0)
        frame = to_frame(found, grid, 1.0, simplify_m=0, min_area_m2=smallest)
        assert len(frame) == kept
        assert frame.id.tolist() == list(range(1, kept + 1))


def test_simplifying_takes_stairs_off_and_stays_within_the_tolerance():
    stairs = np.zeros((40, 60), bool)
    for row in range(5, 35):
        stairs[row, 5 + row // 3 : 45 + row // 3] = True
    (footprint,) = polygonize(grained(stairs))
    grid = grid_at(UTM, 15, 47, 0.3)
    exact, plain = (
        to_frame([footprint], grid, 0.3, simplify_m=tolerance, min_area_m2=0).geometry[0]
        for tolerance in (0, 0.5)
    )
    assert exact.area == pytest.approx(footprint.pixels * 0.3**2, rel=1e-2)
    assert len(exact.exterior.coords) > 40 and len(plain.exterior.coords) < 12
    assert plain.hausdorff_distance(exact) <= 0.5 * 1.01
    assert plain.area == pytest.approx(exact.area, rel=0.03)


def test_simplified_footprints_stay_valid():
    rng = np.random.default_rng(0)
    mask = cv2.blur(rng.random((120, 140)).astype(np.float32), (5, 5)) > 0.5
    found = polygonize(grained(mask))
    grid = grid_at(UTM, 15, 47, 0.3)
    for tolerance in (0.0, 0.3, 0.5, 2.0):
        frame = to_frame(found, grid, 0.3, simplify_m=tolerance, min_area_m2=0.5)
        assert len(frame) > 5
        assert frame.is_valid.all() and set(frame.geom_type) == {"Polygon"}
        assert (frame.area_m2 >= 0.5).all()


# In the file


@pytest.fixture
def buildings():
    found = footprints_of((2, 2, 12, 12), (20, 2, 30, 14))
    return to_frame(found, grid_at(UTM, 15, 47, 1.0), 1.0, simplify_m=0, min_area_m2=0)


def test_geopackage_has_its_fields_crs_and_geometry(tmp_path, buildings):
    path = tmp_path / "out.gpkg"
    write_geopackage(buildings, path, {"GEOSSDA_MODEL": "tiny"})
    assert {str(name) for name, _ in pyogrio.list_layers(path)} == {"buildings", "layer_styles"}
    about = pyogrio.read_info(path, layer="buildings")
    assert about["fields"].tolist() == ["id", "area_m2", "confidence"]
    assert about["dtypes"].tolist() == ["int64", "float64", "float64"]
    assert about["geometry_type"] == "Polygon"
    assert about["geometry_name"] == "geom"
    assert about["fid_column"] == "fid"
    assert about["features"] == 2
    assert about["layer_metadata"]["GEOSSDA_MODEL"] == "tiny"
    read = gpd.read_file(path, layer="buildings")
    assert read.crs.to_epsg() == 32633
    assert read.geometry.geom_equals_exact(buildings.geometry, 1e-6).all()
    assert read.area_m2.tolist() == buildings.area_m2.tolist()


def test_geopackage_has_the_table_qgis_looks_for(tmp_path, buildings):
    path = tmp_path / "out.gpkg"
    write_geopackage(buildings, path, {})
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
        assert [row[:3] for row in rows] == [("buildings", "geom", 1)]
        assert rows[0][3].startswith("<!DOCTYPE qgis") and rows[0][3].rstrip().endswith("</qgis>")
        assert "confidence" in rows[0][3]
        kinds = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents"))
        assert kinds == {"buildings": "features", "layer_styles": "attributes"}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_empty_layer_is_a_layer(tmp_path):
    frame = to_frame([], grid_at(UTM, 15, 47, 1.0), 1.0, simplify_m=0.5, min_area_m2=8)
    assert len(frame) == 0 and frame.area_m2.sum() == 0
    path = tmp_path / "out.gpkg"
    write_geopackage(frame, path, {})
    about = pyogrio.read_info(path, layer="buildings")
    assert about["features"] == 0 and about["geometry_type"] == "Polygon"
    assert about["fields"].tolist() == ["id", "area_m2", "confidence"]
    assert about["dtypes"].tolist() == ["int64", "float64", "float64"]
    assert gpd.read_file(path, layer="buildings").crs.to_epsg() == 32633


def test_a_failure_leaves_nothing(tmp_path, buildings, monkeypatch):
    def fail(path):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("geossda.vector.geopackage._add_style", fail)
    with pytest.raises(OutputError, match="disk I/O error"):
        write_geopackage(buildings, tmp_path / "out.gpkg", {})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_whole(tmp_path, buildings):
    path = tmp_path / "out.gpkg"
    write_geopackage(buildings, path, {})
    write_geopackage(buildings.iloc[:1], path, {})
    assert pyogrio.read_info(path, layer="buildings")["features"] == 1
    assert json.loads(gpd.read_file(path, layer="buildings").to_json())["features"]
