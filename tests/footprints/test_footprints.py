"""Footprints: the same whatever the strips, faithful to the mask, and at home in QGIS."""

import functools
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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geossda.errors import Cancelled, OutputError
from geossda.footprints import geopackage, ogr
from geossda.footprints.ground_scale import ground_areas
from geossda.footprints.labelling import connected_groups
from geossda.footprints.polygonize import polygonize
from geossda.footprints.records import BuildingWindow, Footprints, OpenComponents
from geossda.footprints.rtree import Index
from geossda.footprints.shaper import shape_footprints
from geossda.footprints.shaping import Shaping
from geossda.footprints.stream import RecordStream
from geossda.footprints.wkb import to_wkb
from geossda.footprints.write import check_vector_output, write_features
from geossda.parallel.ordered_map import OrderedPool
from geossda.raster.grid import Grid
from geossda.raster.shapes import Shapes

masks = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def strips(probability, block=None, threshold=0.5, workers=None, **how):
    """What polygonize yields of an array, block by block."""

    def read(window):
        part = probability[window.rows, window.cols]
        return BuildingWindow(part >= threshold, part)

    with OrderedPool(workers) as crew:
        yield from polygonize(read, probability.shape, block=block or 2**20, pool=crew, **how)


def footprints(probability, block=None, **how):
    """All footprints of an array, in the order they come."""
    traced = Footprints.concatenate([p for p, _ in strips(probability, block, **how)])
    columns = traced.polygons, *traced[1:5]
    return [Footprints(*row) for row in zip(*columns, strict=True)]


def grained(mask, seed=0):
    """Probabilities over the threshold where the mask is, and below it elsewhere."""
    grain = np.random.default_rng(seed).random(mask.shape, np.float32)
    return np.where(mask, 0.5 + grain / 2, grain * 0.49).astype(np.float32)


def key(footprint):
    """All there is to a footprint, to the last bit."""
    return footprint.geometry.wkb, *footprint[1:]


def check_faithful(mask, found):
    """The polygons are the mask's 4-connected parts: all of them, whole, and nothing else."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    assert len(found) == count - 1
    burnt = np.zeros(mask.shape, int)
    for footprint in found:
        assert footprint.geometry.geom_type == "Polygon" and footprint.geometry.is_valid
        assert footprint.geometry.area == footprint.pixels
        here = rasterio.features.rasterize([footprint.geometry], mask.shape, dtype="uint8")
        assert np.count_nonzero(here) == footprint.pixels
        assert len(np.unique(labels[here > 0])) == 1
        burnt += here
    assert np.array_equal(burnt, mask.astype(int))


def check_cuts(probability, blocks, **how):
    whole = [key(f) for f in footprints(probability, **how)]
    for block in blocks:
        # The same footprints, bit by bit and in the same order.
        assert [key(f) for f in footprints(probability, block, **how)] == whole
    return whole


@given(masks, st.integers(1, 9), st.sampled_from([1, 2]))
def test_blocks_change_nothing_and_rasterizing_gives_the_mask(mask, block, workers):
    probability = grained(mask)
    check_faithful(mask, footprints(probability))
    assert check_cuts(probability, [block], workers=workers)[:0] == []


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.75), st.integers(1, 30))
def test_blocks_change_nothing_on_larger_masks(seed, share, block):
    rng = np.random.default_rng(seed)
    mask = rng.random((24, 21)) < share
    probability = grained(mask, seed)
    check_faithful(mask, footprints(probability))
    check_cuts(probability, [block])


@functools.cache
def hard_masks():
    """Thin diagonals, nested holes, spirals across many blocks, borders, nodata: 50 of them."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:150, 0:130]
    masks = []
    for number in range(10):
        away, turn = np.hypot(x - 60, y - 75), np.arctan2(y - 75, x - 60)
        spiral = np.sin(away / (1.5 + number / 4) + turn * (number % 3 + 1)) > 0
        rings = (np.maximum(abs(x - 65), abs(y - 70)) // (2 + number)) % 2 == 0
        diagonal = (x + (number - 5) * y) % (3 + number) == 0
        blobs = cv2.blur(rng.random(x.shape).astype(np.float32), (9, 9)) > 0.5
        holes = blobs.copy()
        holes[20:45, 15 + number : 100] = False  # nodata
        masks += [spiral, rings, diagonal, blobs, holes]
    return masks


@pytest.mark.parametrize("number", range(50))
def test_blocks_change_nothing_on_hard_masks(number):
    mask = hard_masks()[number]
    whole = check_cuts(grained(mask, number), [32, 33, 50, 64, 128])
    outlines = rasterio.features.shapes(mask.astype(np.uint8), mask, connectivity=4)
    theirs = [shapely.make_valid(shapely.geometry.shape(outline)) for outline, _ in outlines]
    ours = [shapely.from_wkb(entry[0]) for entry in whole]
    assert sorted(shape.area for shape in ours) == sorted(shape.area for shape in theirs)
    normal = [
        [shapely.normalize(s).wkb for s in shapely.simplify(every, 0)] for every in (ours, theirs)
    ]
    assert sorted(normal[0]) == sorted(normal[1])


@pytest.mark.parametrize("number", range(0, 50, 7))
def test_with_eight_neighbours_corners_join(number):
    mask = hard_masks()[number]
    whole = check_cuts(grained(mask, number), [32, 50], connectivity=8)
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert len(whole) == count - 1
    for wkb, pixels, *_ in whole[:200]:
        shape = shapely.from_wkb(wkb)
        assert shape.geom_type == "MultiPolygon" and shape.is_valid and shape.area == pixels
        here = rasterio.features.rasterize([shape], mask.shape) > 0
        assert len(np.unique(labels[here])) == 1


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
    check_faithful(mask, footprints(grained(mask)))
    check_cuts(grained(mask), range(1, max(mask.shape)))
    check_cuts(grained(mask), range(1, max(mask.shape)), connectivity=8)


def test_a_hole_is_kept():
    (ring, dot) = sorted(footprints(grained(DRAWINGS["hole"])), key=lambda f: -f.pixels)
    assert len(ring.geometry.interiors) == 1 and ring.geometry.area == 16
    assert dot.geometry.equals(shapely.box(2, 2, 3, 3))


def test_diagonal_neighbours_are_two_buildings():
    assert len(footprints(grained(DRAWINGS["diagonal"]))) == 4


def test_outlines_have_no_needless_points():
    (footprint,) = footprints(np.ones((20, 30), np.float32), 3)
    assert footprint.geometry.equals_exact(shapely.Polygon([(0, 0), (30, 0), (30, 20), (0, 20)]))
    assert len(footprint.geometry.exterior.coords) == 5


def test_confidence_is_the_mean_probability():
    probability = np.zeros((6, 8), np.float32)
    probability[1:5, 2:4] = np.array([[0.5, 0.7], [0.9, 1.0], [0.6, 0.6], [0.8, 0.5]])
    for block in (6, 1, 2):
        (footprint,) = footprints(probability, block)
        assert footprint.mean == pytest.approx(0.7, abs=1e-6)
        assert (footprint.min, footprint.max) == (0.5, 1.0)
        assert footprint.pixels == 8


def test_threshold_belongs_to_the_building():
    probability = np.array([[0.6, 0.59999, 0.6]], np.float32)
    assert len(footprints(probability, threshold=np.float32(0.6))) == 2
    assert footprints(probability, threshold=0.7) == []


def test_footprints_come_as_soon_as_they_end():
    """Memory follows the footprints that are open, not the raster."""
    mask = np.zeros((8, 9), bool)
    mask[1:3, 1:3], mask[2:6, 5:7] = True, True
    told = [(parts.pixels.tolist(), still) for parts, still in strips(grained(mask), 4)]
    assert [pixels for pixels, _ in told] == [[4], [8]]
    assert told[0][1].row == 4 and told[0][1].boxes.tolist() == [[5, 2, 7, 4]]
    assert told[1][1].row == np.inf and len(told[1][1].boxes) == 0


def test_each_block_is_read_once():
    read = []

    def marks(window):
        read.append(window)
        return BuildingWindow(np.ones((window.height, window.width), bool))

    with OrderedPool(2) as crew:
        list(polygonize(marks, (100, 130), block=32, pool=crew))
    covered = np.zeros((100, 130), int)
    for window in read:
        covered[window.rows, window.cols] += 1
    assert (covered == 1).all()


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
    return Grid(shape, Affine(east, 0, x, 0, -south, y), crs)


def parts_of(*boxes, confidence=0.75):
    shapes = np.array([shapely.box(*box) for box in boxes], object)
    each = np.full(len(boxes), confidence)
    return Footprints(shapes, shapely.area(shapes).astype(int), each, each, each)


DONE = OpenComponents(np.inf, np.zeros((0, 4)))


def shape_all(
    probability, grid, gsd_m, *, regularity="none", tolerance_m=0.5, min_area_m2=0.0, block=None
):
    """Footprints of an array on a grid, as one frame."""
    ended = (
        [(probability, DONE)] if isinstance(probability, Footprints) else strips(probability, block)
    )
    shaping = Shaping(grid, gsd_m, regularity, tolerance_m, min_area_m2)
    every = [
        each._replace(geometry=shapely.from_wkb(np.array(to_wkb(each.geometry), object)))
        for each in shape_footprints(ended, shaping)
    ]
    columns = [np.concatenate(column) for column in zip(*every, strict=True)]
    names = ("pixels", "confidence", "lowest", "highest", "area_m2")
    return gpd.GeoDataFrame(
        dict(zip(names, columns[1:], strict=True)), geometry=list(columns[0]), crs=grid.crs.to_wkt()
    )


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
    frame = shape_all(parts_of((2, 3, 22, 13)), grid, 0.5)
    assert frame.area_m2.tolist() == pytest.approx([50.0], rel=4e-3)
    assert frame.crs.to_epsg() == int(crs.split(":")[1])


@pytest.mark.parametrize("regularity", ["simplify", "rectilinear"])
@pytest.mark.parametrize("crs", [UTM, "EPSG:3857", "EPSG:4326"])
@pytest.mark.parametrize("lat", [-0.5, 63.0])
def test_tolerances_are_metres_in_any_crs(crs, lat, regularity):
    """A step of 0.4 m goes at a tolerance of 0.5 m, and stays at 0.1 m."""
    mask = np.zeros((80, 120), bool)
    mask[10:70, 10:110] = True
    mask[10:14, 60:110] = False
    grid = grid_at(crs, 15.1, lat, 0.1, mask.shape)
    for tolerance, corners in ((0.5, 4), (0.1, 6)):
        frame = shape_all(grained(mask), grid, 0.1, regularity=regularity, tolerance_m=tolerance)
        assert len(frame.geometry[0].exterior.coords) - 1 == corners


def test_areas_at_the_antimeridian():
    grid = Grid((10, 20), Affine(1e-4, 0, 179.999, 0, -1e-4, 10.0), "EPSG:4326")
    frame = shape_all(parts_of((5, 2, 15, 8)), grid, 11.0)
    geod = pyproj.Geod(ellps="WGS84")
    expected = abs(geod.geometry_area_perimeter(frame.geometry[0])[0])
    assert frame.area_m2[0] == pytest.approx(expected, rel=1e-6)


def test_areas_keep_holes_out():
    shape = shapely.box(0, 0, 20, 20).difference(shapely.box(5, 5, 15, 15))
    shape = shapely.transform(shape, lambda xy: xy + np.array([500000, 5200000]))
    found = ground_areas(Shapes([shape], UTM))
    # UTM's scale on its middle meridian is 0.9996.
    assert found.tolist() == pytest.approx([300 / 0.9996**2], rel=1e-4)
    assert ground_areas(Shapes([], UTM)).tolist() == []


def test_small_footprints_are_left_out_by_their_true_area():
    found = parts_of((0, 0, 4, 4), (10, 10, 13, 13), (20, 20, 22, 22))
    grid = grid_at(UTM, 15, 47, 1.0)
    for smallest, kept in ((0, 3), (5, 2), (9.5, 1), (16.5, 0)):
        assert len(shape_all(found, grid, 1.0, min_area_m2=smallest)) == kept


@pytest.mark.parametrize("regularity", ["none", "rectilinear"])
def test_weak_footprints_are_left_out_and_take_nothing_from_others(regularity):
    found = parts_of((0, 0, 14, 14), (14, 2, 40, 12), (60, 0, 74, 14))
    found = found._replace(mean=np.array([float(np.float32(0.65)), 0.6, np.nan]))
    grid = grid_at(UTM, 15, 47, 0.5)
    shaping = Shaping(grid, 0.5, regularity, 0.5, 0.0, min_confidence=0.65)
    (kept,) = shape_footprints([(found, DONE)], shaping)
    assert kept.area_m2.tolist() == pytest.approx([49, 49], rel=4e-3), "masks have no confidence"


def test_simplifying_takes_stairs_off_and_stays_within_the_tolerance():
    stairs = np.zeros((40, 60), bool)
    for row in range(5, 35):
        stairs[row, 5 + row // 3 : 45 + row // 3] = True
    grid = grid_at(UTM, 15, 47, 0.3)
    exact, plain = (
        shape_all(grained(stairs), grid, 0.3, regularity=how).geometry[0]
        for how in ("none", "simplify")
    )
    assert exact.area == pytest.approx(np.count_nonzero(stairs) * 0.3**2, rel=1e-2)
    assert len(exact.exterior.coords) > 40 and len(plain.exterior.coords) < 12
    assert plain.hausdorff_distance(exact) <= 0.5 * 1.01
    assert plain.area == pytest.approx(exact.area, rel=0.03)


@pytest.mark.parametrize("regularity", ["none", "simplify", "rectilinear"])
def test_footprints_are_valid_apart_and_the_same_whatever_the_blocks(regularity):
    rng = np.random.default_rng(0)
    mask = cv2.blur(rng.random((80, 90)).astype(np.float32), (5, 5)) > 0.5
    grid = grid_at(UTM, 15, 47, 0.3, mask.shape)
    for tolerance in (0.3, 0.5, 2.0):
        how = {"regularity": regularity, "tolerance_m": tolerance, "min_area_m2": 0.5}
        frame = shape_all(grained(mask), grid, 0.3, **how)
        assert len(frame) > 5
        assert frame.is_valid.all() and set(frame.geom_type) == {"Polygon"}
        assert (frame.area_m2 >= 0.5).all()
        shapes = frame.geometry.to_numpy()
        one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        common = shapely.area(shapely.intersection(shapes[one], shapes[other]))
        assert common[one != other].max(initial=0) < 1e-6
        for block in (16, 33, 64):
            cut = shape_all(grained(mask), grid, 0.3, block=block, **how)
            assert cut.geometry.to_wkb().tolist() == frame.geometry.to_wkb().tolist()
            assert cut.confidence.tolist() == frame.confidence.tolist()


# In the file


@pytest.fixture
def grid():
    return grid_at(UTM, 15, 47, 1.0)


@pytest.fixture
def write(grid):
    def to(path, *boxes, probabilities=True, grid=grid, metadata=None, **how):
        parts = parts_of(*(boxes or [(2, 2, 12, 12), (20, 2, 30, 14)]))
        batches = shape_footprints([(parts, DONE)], Shaping(grid, 1.0, "none", 0.5, 0.0))
        return write_features(
            batches, path, grid.crs.to_wkt(), metadata or {}, probabilities=probabilities, **how
        )

    return to


FIELDS = ["id", "area_m2", "pixels", "confidence", "confidence_min", "confidence_max"]


def test_geopackage_has_its_fields_crs_and_geometry(tmp_path, write, grid):
    path = tmp_path / "out.gpkg"
    written = write(path, metadata={"GEOSSDA_MODEL": "tiny"})
    assert {str(name) for name, _ in pyogrio.list_layers(path)} == {"buildings", "layer_styles"}
    about = pyogrio.read_info(path, layer="buildings")
    assert about["fields"].tolist() == FIELDS
    assert about["dtypes"].tolist() == ["int64", "float64", "int64", *["float64"] * 3]
    assert about["geometry_type"] == "Polygon"
    assert about["geometry_name"] == "geom"
    assert about["fid_column"] == "fid"
    assert about["features"] == written.buildings == 2
    assert about["layer_metadata"]["GEOSSDA_MODEL"] == "tiny"
    read = gpd.read_file(path, layer="buildings")
    assert read.crs.to_epsg() == 32633
    assert read.id.tolist() == [1, 2] and read.confidence.tolist() == [0.75, 0.75]
    assert read.area_m2.sum() == pytest.approx(written.area_m2, abs=0.02)
    assert read.geometry[0].equals(shapely.transform(
        shapely.box(2, 2, 12, 12), lambda xy: np.column_stack(grid.transform * xy.T)))  # fmt: skip
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT count(*) FROM rtree_buildings_geom").fetchone()
    assert found == (2,)


def test_masks_have_no_confidence(tmp_path, write):
    path = tmp_path / "out.gpkg"
    write(path, probabilities=False)
    assert pyogrio.read_info(path, layer="buildings")["fields"].tolist() == FIELDS[:3]


def test_geopackage_has_the_table_qgis_looks_for(tmp_path, write):
    path = tmp_path / "out.gpkg"
    write(path)
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


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".geojson"])
def test_every_format_holds_the_same(tmp_path, write, suffix):
    path, plain = tmp_path / f"out{suffix}", tmp_path / "plain.gpkg"
    write(path)
    write(plain)
    read = gpd.read_parquet(path) if suffix == ".parquet" else gpd.read_file(path, layer=0)
    expected = gpd.read_file(plain, layer="buildings")
    assert read.crs.to_epsg() == (4326 if suffix == ".geojson" else 32633)
    # FlatGeobuf orders by place.
    read = read.to_crs(32633).sort_values("id", ignore_index=True)
    assert [name for name in read.columns if name != "geometry"] == FIELDS
    for name in FIELDS:
        assert read[name].tolist() == expected[name].tolist()
    assert read.geom_equals_exact(expected, 0.05 if suffix == ".geojson" else 1e-6).all() or (
        read.symmetric_difference(expected).area.max() < 0.5
    )


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".geojson"])
def test_an_empty_layer_is_a_layer(tmp_path, grid, suffix):
    path = tmp_path / f"out{suffix}"
    written = write_features([], path, grid.crs.to_wkt(), {}, probabilities=True)
    assert written.buildings == 0 and written.area_m2 == 0
    read = gpd.read_parquet(path) if suffix == ".parquet" else gpd.read_file(path, layer=0)
    assert len(read) == 0
    if suffix != ".geojson":
        assert read.crs.to_epsg() == 32633
        assert [name for name in read.columns if name != "geometry"] == FIELDS


def test_geojson_is_cut_at_the_antimeridian(tmp_path):
    grid = Grid((40, 60), Affine(100, 0, 829_000, 0, -100, 1_000_000), "EPSG:32660")
    parts = parts_of((2, 2, 58, 30))
    write_features(
        shape_footprints([(parts, DONE)], Shaping(grid, 100.0, "none", 0.5, 0.0)),
        tmp_path / "out.geojson", grid.crs.to_wkt(), {}, probabilities=True,
    )  # fmt: skip
    shape = gpd.read_file(tmp_path / "out.geojson").geometry[0]
    assert shape.geom_type == "MultiPolygon"
    assert all(part.bounds[2] - part.bounds[0] < 1 for part in shape.geoms)


def test_what_is_appended_is_numbered_on(tmp_path, write):
    path = tmp_path / "out.gpkg"
    write(path, append=True)  # nothing there yet
    written = write(path, (30, 20, 40, 30), append=True)
    assert written.buildings == 1
    read = gpd.read_file(path, layer="buildings")
    assert read.id.tolist() == [1, 2, 3]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM layer_styles").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM rtree_buildings_geom").fetchone() == (3,)


def test_appending_to_what_does_not_fit_is_refused(tmp_path, write):
    path = tmp_path / "out.gpkg"
    write(path, probabilities=False)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="lacks the fields confidence"):
        write(path, append=True)
    with pytest.raises(OutputError, match="choose another output"):
        write(path, append=True, probabilities=False, grid=grid_at("EPSG:3857", 15, 47, 1.0))
    gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=UTM).to_file(
        tmp_path / "other.gpkg", layer="other"
    )
    with pytest.raises(OutputError, match="no layer 'buildings'"):
        write(tmp_path / "other.gpkg", append=True)
    assert path.read_bytes() == before
    with pytest.raises(OutputError, match="only a GeoPackage"):
        check_vector_output(tmp_path / "a.fgb", append=True)
    with pytest.raises(OutputError, match=r"ending in \.gpkg, \.fgb, \.geojson, \.parquet"):
        check_vector_output(tmp_path / "a.shp", append=False)


def test_a_geopackage_in_use_is_left_alone(tmp_path, write):
    path = tmp_path / "out.gpkg"
    write(path)
    check_vector_output(path, append=False)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # as QGIS opens it
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="open in another program"):
            check_vector_output(path, append=False)
    check_vector_output(path, append=False)


def test_a_failure_leaves_nothing(tmp_path, write, monkeypatch):
    def fail(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("geossda.footprints.write.add_style", fail)
    with pytest.raises(OutputError, match="disk I/O error"):
        write(tmp_path / "out.gpkg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".parquet", ".geojson"])
@pytest.mark.parametrize("error", [Cancelled(), KeyboardInterrupt(), OutputError("no")])
def test_a_stop_on_the_way_keeps_its_name_and_leaves_nothing(tmp_path, grid, suffix, error):
    def batches():
        yield from shape_footprints(
            [(parts_of((2, 2, 12, 12)), DONE)], Shaping(grid, 1.0, "none", 0.5, 0.0)
        )
        raise error

    with pytest.raises(type(error)):
        write_features(
            batches(), tmp_path / f"out{suffix}", grid.crs.to_wkt(), {}, probabilities=True
        )
    assert list(tmp_path.iterdir()) == []


def rows_of(path):
    """All that a GeoPackage holds, but times."""
    with closing(sqlite3.connect(path)) as database:
        tables = {}
        for table in ("buildings", "rtree_buildings_geom", "gpkg_geometry_columns",
                      "gpkg_extensions", "gpkg_ogr_contents", "sqlite_sequence"):  # fmt: skip
            tables[table] = sorted(database.execute(f"SELECT * FROM {table}"), key=repr)
        extent = "SELECT table_name, data_type, description, min_x, min_y, max_x, max_y, srs_id"
        # OGR writes extents with 15 digits.
        tables["contents"] = [
            tuple(f"{value:.14g}" if isinstance(value, float) else value for value in row)
            for row in database.execute(f"{extent} FROM gpkg_contents")
        ]
        srs = "SELECT srs_name, srs_id, organization, organization_coordsys_id"
        tables["srs"] = database.execute(f"{srs} FROM gpkg_spatial_ref_sys").fetchall()
        kinds = "SELECT type, name FROM sqlite_master WHERE name LIKE '%buildings%'"
        tables["made"] = sorted(database.execute(kinds))
        for check in ("integrity_check", "foreign_key_check", "application_id", "user_version"):
            tables[check] = database.execute(f"PRAGMA {check}").fetchall()
    return tables


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857", "ESRI:102031", "EPSG:7405"])
@pytest.mark.parametrize("count", [0, 3])
def test_sqlite_writes_what_ogr_writes(tmp_path, crs, count):
    grid = grid_at(crs, 0.1, 51, 1.0)
    boxes = [(2, 2, 12, 12), (20, 2, 30, 14), (2, 20, 30, 30)][:count]
    told = {"GEOSSDA_A": 'a "<&>" ä', "GEOSSDA_B": "[1]"}
    told_back = []
    for write in (geopackage.write, functools.partial(ogr.write, append=False)):
        path = tmp_path / f"{len(told_back)}.gpkg"
        made = shape_footprints([(parts_of(*boxes), DONE)], Shaping(grid, 1.0, "none", 0.5, 0.0))
        write(RecordStream(made, True, 0), path, grid.crs.to_wkt(), told, "Polygon")
        about = pyogrio.read_info(path, layer="buildings")
        del about["total_bounds"]
        about = {key: np.asarray(value).tolist() for key, value in about.items()}
        told_back.append((rows_of(path), about))
    assert told_back[0][0]["integrity_check"] == [("ok",)]
    assert told_back[0][1]["layer_metadata"] == told | {"DESCRIPTION": "Building footprints"}
    assert told_back[0] == told_back[1]


def test_polygons_are_encoded_as_shapely_does():
    shapes = [footprint.geometry for mask in hard_masks() for footprint in footprints(mask * 0.7)]
    assert any(shape.interiors for shape in shapes)
    shapes += [shapely.MultiPolygon(shapes[:2]), shapely.Polygon(), shapely.Point(1, 2)]
    shapes = np.array(shapes, object)
    assert to_wkb(shapes) == shapely.to_wkb(shapes, byte_order=1).tolist()
    for few in (shapes[:0], shapes[:1], shapes[-3:]):
        assert to_wkb(few) == shapely.to_wkb(few, byte_order=1).tolist()


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("turned", [0, 30])
def test_outlines_as_arrays_are_those_shapely_makes(connectivity, turned):
    transform = Affine(0.3, 0, 5e5, 0, -0.3, 5e6) * Affine.rotation(turned)
    for mask in hard_masks()[3:8]:
        ((traced, _),) = strips(mask * 0.7, connectivity=connectivity)
        chosen = traced.take(np.random.default_rng(0).permutation(len(traced.pixels))[::2])
        theirs = shapely.transform(
            chosen.polygons, lambda xy: np.column_stack(transform * (xy[:, 0], xy[:, 1]))
        )
        assert set(shapely.get_type_id(theirs)) == {3 if connectivity == 4 else 6}
        assert shapely.is_valid(theirs).all()
        assert shapely.area(chosen.polygons).tolist() == chosen.pixels.tolist()
        assert (shapely.bounds(chosen.polygons) == chosen.geometry.box).all()
        ours = chosen.geometry.to_crs(transform)
        assert (shapely.bounds(theirs) == ours.box).all()
        assert to_wkb(ours) == shapely.to_wkb(theirs, byte_order=1).tolist()
        heads = np.arange(len(ours.box), dtype="<i4")
        for index, (head, body) in enumerate(zip(to_wkb(ours, heads), to_wkb(ours), strict=True)):
            assert head == index.to_bytes(4, "little") + body
        both = type(ours).concatenate([ours, ours.take(np.arange(0)), ours])
        assert to_wkb(both) == to_wkb(ours) * 2


@pytest.mark.parametrize("count", [0, 1, 51, 52, 2700, 30_000])
def test_the_index_finds_what_sqlite_would(count):
    """Packed from below or row by row: the same boxes, found by the same questions."""
    rng = np.random.default_rng(count)
    low = rng.uniform(-1e5, 1e6, (count, 2))
    bounds = np.hstack([low, low + rng.uniform(0, 3e4, (count, 2))])
    numbers = rng.permutation(count) + 1
    with closing(sqlite3.connect(":memory:")) as database:
        for name in ("ours", "theirs"):
            database.execute(f"CREATE VIRTUAL TABLE {name} USING rtree(id, x, xx, y, yy)")
        index = Index(database, "ours")
        for some in np.array_split(np.arange(count), 7):
            index.add(numbers[some], bounds[some])
        index.finish()
        rows = np.column_stack([numbers, bounds[:, [0, 2, 1, 3]]]).tolist()
        database.executemany("INSERT INTO theirs VALUES (?, ?, ?, ?, ?)", rows)

        def same(where="", values=()):
            told = [
                database.execute(f"SELECT * FROM {name} {where} ORDER BY id", values).fetchall()
                for name in ("ours", "theirs")
            ]
            assert told[0] == told[1]
            return told[0]

        def sound():
            return database.execute("SELECT rtreecheck('ours')").fetchone() == ("ok",)

        assert len(same()) == count and sound()
        for x, y in rng.uniform(-1e5, 1e6, (20, 2)).tolist():
            same("WHERE x <= ? AND xx >= ? AND y <= ? AND yy >= ?", (x + 2e4, x, y + 2e4, y))
        for name in ("ours", "theirs"):  # as a layer is edited
            database.execute(f"DELETE FROM {name} WHERE id % 3 = 0")
            more = [(count + i, i, i + 1, -i, 1 - i) for i in range(1, 200)]
            database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)", more)
        same("WHERE x < 1e5")
        assert len(same()) == count - count // 3 + 199 and sound()


def test_a_crs_without_a_number_is_left_to_ogr(tmp_path, write):
    crs = "+proj=tmerc +lat_0=47 +lon_0=15 +ellps=GRS80 +units=m"
    write(tmp_path / "out.gpkg", grid=grid_at(crs, 15, 47, 1.0))
    assert geopackage.srs_of(pyproj.CRS(crs).to_wkt()) is None
    read = gpd.read_file(tmp_path / "out.gpkg", layer="buildings")
    assert len(read) == 2 and "47" in read.crs.to_wkt() and read.crs.to_epsg() is None


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39))))
def test_what_is_linked_is_one_group(count, links):
    links = [pair for pair in links if max(pair) < count]
    pairs = np.array(links, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(links)), tuple(pairs)), (count, count))
    groups, group = connected_components(graph, directed=False)
    found = connected_groups(pairs, count)
    assert found[0] == groups and found[1].tolist() == group.tolist()


def test_a_crew_keeps_order_and_leaves_opencv_as_it_was():
    before = cv2.getNumThreads()
    with OrderedPool(2) as one, OrderedPool(3) as other:
        assert cv2.getNumThreads() == 1
        lengths = one.map(len, ("a" * (n % 7) for n in range(50)))
        assert list(one.ahead(lengths)) == [n % 7 for n in range(50)]
        with pytest.raises(ZeroDivisionError):
            list(other.ahead(other.map(lambda n: 1 // n, [2, 1, 0, 1])))
    assert cv2.getNumThreads() == before


def test_a_crew_that_is_left_early_stops():
    drawn = []
    with pytest.raises(KeyboardInterrupt), OrderedPool(2) as crew:
        for number in crew.ahead(crew.map(lambda n: drawn.append(n) or n, range(10**6))):
            if number == 5:
                raise KeyboardInterrupt
    assert len(drawn) < 100


def test_an_existing_file_is_replaced_whole(tmp_path, write):
    path = tmp_path / "out.gpkg"
    write(path)
    write(path, (2, 2, 12, 12))
    assert pyogrio.read_info(path, layer="buildings")["features"] == 1
    assert json.loads(gpd.read_file(path, layer="buildings").to_json())["features"]
