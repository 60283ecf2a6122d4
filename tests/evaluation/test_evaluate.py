"""Agreement of two layers, counted by hand."""

import json
import math

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import shapely.affinity
from click.testing import CliRunner
from conftest import UTM, synthesize

from geossda import EvaluateConfig, evaluate, info
from geossda.errors import GeoreferenceError, InputError, VectorError
from geossda.evaluation.buildings import intersecting_pairs, match, polis, score
from geossda.evaluation.metrics import Confusion
from geossda.evaluation.window_seams import steps_across


def match_objects(found, true, limit):
    found, true = found.to_numpy(), true.to_numpy()
    hits = len(match(intersecting_pairs(found, true), limit))
    return Confusion(hits, len(found) - hits, len(true) - hits)


X, Y, GSD = 500000.0, 5200000.0, 0.5
SIZE = (60, 80)


def box(left, top, right, bottom):
    """A box of the ground, given in pixels."""
    return shapely.box(X + left * GSD, Y - bottom * GSD, X + right * GSD, Y - top * GSD)


@pytest.fixture
def mask(tmp_path, make_raster):
    """Write a mask with buildings in these boxes of pixels; gives its path."""

    def write(name, boxes, *, dtype="uint8", value=1, unknown=(), size=SIZE, **how):
        image = np.zeros((1, *size), dtype)
        for left, top, right, bottom in boxes:
            image[0, top:bottom, left:right] = value
        for left, top, right, bottom in unknown:
            image[0, top:bottom, left:right] = 255
        path = make_raster(tmp_path / f"{name}.tif", image=image, dtype=dtype, **how)
        if unknown:
            with rasterio.open(path, "r+") as dataset:
                dataset.nodata = 255
        return path

    return write


@pytest.fixture
def vector(tmp_path):
    """Write boxes of pixels as polygons; gives the path."""

    def write(name, boxes, crs=UTM, suffix=".gpkg"):
        frame = gpd.GeoDataFrame(geometry=[box(*corners) for corners in boxes], crs=UTM)
        path = tmp_path / f"{name}{suffix}"
        frame.to_crs(crs).to_file(path, layer="buildings", geometry_type="Polygon")
        return path

    return write


# Two of three found; a shift of 2 columns; one false alarm of 20 pixels; one miss of 30.
TRUE = [(10, 10, 20, 20), (40, 10, 50, 20), (60, 40, 66, 45)]
FOUND = [(12, 10, 22, 20), (40, 10, 50, 20), (10, 40, 14, 45)]
PIXELS = Confusion(hit=180, false_alarm=40, miss=50)
OBJECTS = Confusion(hit=2, false_alarm=1, miss=1)


def both(mask, vector, kind, name, boxes):
    return (mask if kind == "raster" else vector)(name, boxes)


@pytest.mark.parametrize("true", ["raster", "vector"])
@pytest.mark.parametrize("found", ["raster", "vector"])
def test_counts_by_hand(mask, vector, found, true):
    result = evaluate(both(mask, vector, found, "found", FOUND),
                      both(mask, vector, true, "true", TRUE))  # fmt: skip
    assert result.objects == OBJECTS
    if "raster" in (found, true):
        assert result.pixels == PIXELS
    else:  # on pixels of 0.3 m, whose edges are not the boxes'
        ratio = (GSD / 0.3) ** 2
        for name in ("hit", "false_alarm", "miss"):
            counted, expected = getattr(result.pixels, name), getattr(PIXELS, name)
            assert counted == pytest.approx(expected * ratio, rel=0.2)
        assert result.pixels.iou == pytest.approx(PIXELS.iou, abs=0.02)


def test_heights_do_not_matter(vector, tmp_path):
    flat = vector("true", TRUE)
    frame = gpd.read_file(flat, layer="buildings")
    frame.geometry = shapely.force_3d(frame.geometry.to_numpy(), 12.5)
    frame.to_file(tmp_path / "high.gpkg", layer="buildings")
    result = evaluate(tmp_path / "high.gpkg", flat)
    assert result.objects.f1 == 1 and result.shapes.polis_m == pytest.approx(0, abs=1e-6)


def test_shapes_by_hand(vector):
    """Of three boxes one is found whole, one in halves, one with its neighbour."""
    true = vector("true", [(4, 4, 14, 14), (20, 4, 30, 14), (40, 4, 50, 14), (51, 4, 61, 14)])
    found = vector("found", [(4, 4, 14, 14), (20, 4, 25, 14), (25, 4, 30, 14), (40, 4, 61, 14)])
    shapes = evaluate(found, true).shapes
    assert (shapes.splits, shapes.merges, shapes.cuts, shapes.overlaps) == (1, 1, 1, 0)
    assert shapes.vertices == 4 and shapes.right_angles == 1 and shapes.invalid == 0
    over = evaluate(vector("over", [(4, 4, 14, 14), (12, 4, 16, 14)]), true).shapes
    assert over.overlaps == 1


def test_polis_and_complexity_by_hand():
    one = shapely.box(0, 0, 10, 10)
    other = shapely.Polygon([(0, 0), (10, 0), (10, 10), (5, 10), (0, 10)])
    moved = shapely.box(1, 0, 11, 10)
    assert polis(one, other) == 0
    # Two of four corners each way are a metre from the other's outline, two lie on it.
    assert polis(one, moved) == pytest.approx(0.5)
    found, true = np.array([one], object), np.array([other], object)
    pairs = intersecting_pairs(found, true)
    scores = score(found, true, pairs, match(pairs, 0.5), metres=(1, 1), invalid=0)
    assert scores.complexity_iou == pytest.approx(1 - 1 / 9)
    assert scores.f1_mean == 1 and scores.hausdorff_m == 0


def test_corners_are_measured_on_the_ground():
    """A square turned by 45 degrees on the ground is a rhombus in pixels that are not square."""
    square = shapely.Polygon([(0, 10), (20, 0), (40, 10), (20, 20)])
    shapes = np.array([square], object)
    moved = np.array([shapely.affinity.translate(square, 0, 1)], object)
    pairs = intersecting_pairs(moved, shapes)
    hits = match(pairs, 0.5)
    scores = score(moved, shapes, pairs, hits, metres=(0.15, 0.3), invalid=0)
    assert scores.right_angles == 1 and scores.hausdorff_m == pytest.approx(0.3)
    assert score(moved, shapes, pairs, hits, metres=(0.3, 0.3), invalid=0).right_angles == 0


def test_ratios_by_hand():
    assert PIXELS.iou == 180 / 270
    assert PIXELS.precision == 180 / 220
    assert PIXELS.recall == 180 / 230
    assert PIXELS.f1 == pytest.approx(
        2 * PIXELS.precision * PIXELS.recall / (PIXELS.precision + PIXELS.recall)
    )
    assert PIXELS + OBJECTS == Confusion(182, 41, 51)
    assert PIXELS.to_dict() == {
        "hit": 180, "false_alarm": 40, "miss": 50, "iou": PIXELS.iou,
        "precision": PIXELS.precision, "recall": PIXELS.recall, "f1": PIXELS.f1,
    }  # fmt: skip
    assert all(map(math.isnan, list(Confusion().to_dict().values())[3:]))
    found, true = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert Confusion.of(found, true) == Confusion(1, 1, 1)


def test_the_same_layer_agrees_wholly(mask, vector):
    for path in (mask("a", TRUE), vector("b", TRUE)):
        result = evaluate(path, path)
        assert result.pixels.iou == result.objects.f1 == 1
        assert result.objects.hit == 3


def test_probabilities_are_cut_at_the_threshold(mask):
    found = mask("found", FOUND, dtype="float32", value=0.7)
    true = mask("true", TRUE)
    assert evaluate(found, true).pixels == PIXELS
    nothing = evaluate(found, true, config=EvaluateConfig(threshold=0.71))
    assert nothing.pixels == Confusion(0, 0, 230)
    assert nothing.objects == Confusion(0, 0, 3)
    assert nothing.pixels.recall == 0 and math.isnan(nothing.pixels.precision)


def test_any_value_but_0_is_a_building(mask):
    assert evaluate(mask("f", FOUND, value=255), mask("t", TRUE, value=7)).pixels == PIXELS


@pytest.mark.parametrize("nodata", [0, 1])
def test_nodata_0_or_1_of_a_mask_are_classes(mask, nodata):
    paths = [mask(name, boxes) for name, boxes in (("found", FOUND), ("true", TRUE))]
    for path in paths:
        with rasterio.open(path, "r+") as dataset:
            dataset.nodata = nodata
    result = evaluate(*paths)
    assert result.pixels == PIXELS and result.objects == OBJECTS


def test_what_either_layer_does_not_know_is_left_out(mask):
    found = mask("found", FOUND, unknown=[(0, 0, 16, 60)])
    true = mask("true", TRUE, unknown=[(45, 0, 80, 60)])
    result = evaluate(found, true)
    # Columns 16 to 44 are left: 4 of 6 columns hit, 2 false, of the first; half the second.
    assert result.pixels == Confusion(hit=40 + 50, false_alarm=20, miss=0)
    assert result.objects == Confusion(hit=2, false_alarm=0, miss=0)


@pytest.mark.parametrize("kind", ["raster", "vector"])
def test_unknown_parts_of_a_raster_count_for_no_vector_building(mask, vector, kind):
    """A footprint where the raster has no data is neither a miss nor a false alarm."""
    known = mask("known", [(40, 10, 50, 20)], unknown=[(0, 0, 30, 60)])
    other = vector("other", [(10, 10, 20, 20), (40, 10, 50, 20)])
    result = evaluate(known, other) if kind == "vector" else evaluate(other, known)
    assert result.pixels == Confusion(hit=100)
    assert result.objects == Confusion(hit=1)


# Area


def test_area_of_polygons(mask, vector):
    inside = vector("area", [(0, 0, 55, 30)])
    expected = Confusion(hit=180, false_alarm=20, miss=20)
    for kinds in (("raster", "raster"), ("raster", "vector"), ("vector", "raster")):
        found = both(mask, vector, kinds[0], "found", FOUND)
        true = both(mask, vector, kinds[1], "true", TRUE)
        result = evaluate(found, true, area=inside)
        assert result.pixels == expected
        assert result.objects == Confusion(hit=2, false_alarm=0, miss=0)


@pytest.mark.parametrize("told_by", ["nodata 0", "nodata 1", "nodata 255", "mask", "alpha"])
def test_area_of_a_raster_is_its_valid_pixels(tmp_path, make_raster, mask, vector, told_by):
    """An image with nodata, three bands, some dark in one of them."""
    valid = np.zeros(SIZE, bool)
    valid[:30, :55] = True
    how = {"mask": {"mask": True}, "alpha": {"alpha": True}}.get(told_by)
    if how is None:
        how = {"nodata": int(told_by.split()[1])}
    image = synthesize(3, SIZE, "uint8", 1)
    area = make_raster(tmp_path / "area.tif", image=image, valid=valid, **how)
    if "nodata" in how:
        with rasterio.open(area, "r+") as dataset:
            pixels = dataset.read()
            pixels[0, 12:18, 42:48] = how["nodata"]
            dataset.write(pixels)
    expected = Confusion(hit=180, false_alarm=20, miss=20)
    for kind in ("raster", "vector"):
        paths = [both(mask, vector, kind, name, boxes)
                 for name, boxes in (("found", FOUND), ("true", TRUE))]  # fmt: skip
        result = evaluate(*paths, area=area)
        assert result.pixels == expected
        assert result.objects == Confusion(hit=2, false_alarm=0, miss=0)


# Matching


def series(*boxes):
    return gpd.GeoSeries([shapely.box(*corners) for corners in boxes])


def test_matching_is_one_to_one():
    halves, whole = series((0, 0, 10, 10), (10, 0, 20, 10)), series((0, 0, 20, 10))
    assert match_objects(whole, halves, 0.5) == Confusion(1, 0, 1)
    assert match_objects(halves, whole, 0.5) == Confusion(1, 1, 0)


def test_the_best_match_goes_first():
    # The middle one fits both, the left one only the first: taken greedily by order, one is lost.
    true = series((0, 0, 10, 10), (4, 0, 14, 10))
    found = series((2, 0, 12, 10), (0, 0, 10, 10))
    assert match_objects(found, true, 0.5) == Confusion(2, 0, 0)


def test_the_limit_is_part_of_the_match():
    true, found = series((0, 0, 10, 10)), series((0, 0, 10, 5))
    assert match_objects(found, true, 0.5) == Confusion(1, 0, 0)
    assert match_objects(found, true, 0.51) == Confusion(0, 1, 1)


def test_nothing_matches_nothing():
    some, nothing = series((0, 0, 1, 1)), gpd.GeoSeries([], dtype="geometry")
    assert match_objects(nothing, some, 0.5) == Confusion(0, 0, 1)
    assert match_objects(some, nothing, 0.5) == Confusion(0, 1, 0)
    assert match_objects(nothing, nothing, 0.5) == Confusion(0, 0, 0)


def test_the_iou_is_a_setting(mask):
    # The first building's IoU is 2/3.
    found, true = mask("found", FOUND), mask("true", TRUE)
    for limit, hits in ((0.6, 2), (0.7, 1)):
        assert evaluate(found, true, config=EvaluateConfig(iou=limit)).objects.hit == hits


# Grids and files


def test_the_truths_grid_is_the_one(mask, make_raster, tmp_path):
    """The found raster is finer and shifted; the counts are of the truth's pixels."""
    true = mask("true", TRUE)
    fine = np.zeros((1, 120, 160), np.uint8)
    for left, top, right, bottom in FOUND:
        fine[0, 2 * top : 2 * bottom, 2 * left : 2 * right] = 1
    found = make_raster(tmp_path / "fine.tif", image=fine, gsd=0.25)
    assert evaluate(found, true).pixels == PIXELS
    other_way = evaluate(true, found).pixels
    assert other_way.iou == pytest.approx(PIXELS.iou, abs=0.02)
    assert other_way.hit == pytest.approx(4 * PIXELS.hit, rel=0.05)


def test_layers_in_unlike_crs(mask, vector):
    result = evaluate(vector("found", FOUND, crs="EPSG:4326"), mask("true", TRUE))
    assert result.objects == OBJECTS
    assert result.pixels.iou == pytest.approx(PIXELS.iou, abs=0.01)
    degrees = evaluate(vector("f", FOUND, crs="EPSG:4326"), vector("t", TRUE, crs="EPSG:3857"))
    assert degrees.objects == OBJECTS
    assert degrees.pixels.iou == pytest.approx(PIXELS.iou, abs=0.02)


def test_buildings_outside_the_raster_do_not_count(mask, vector):
    beyond = [*FOUND, (200, 200, 220, 220), (-30, 5, -5, 15)]
    assert evaluate(vector("found", beyond), mask("true", TRUE)).objects == OBJECTS


def test_empty_layers(mask, vector):
    empty = vector("empty", [])
    result = evaluate(empty, vector("true", TRUE))
    assert result.objects == Confusion(0, 0, 3)
    assert result.pixels.hit == 0 and result.pixels.recall == 0
    assert evaluate(vector("found", FOUND), mask("none", [])).objects == Confusion(0, 3, 0)
    with pytest.raises(InputError, match="both empty"):
        evaluate(empty, empty)


def test_large_rasters_are_compared_in_tiles(mask, listener):
    """Buildings across the borders of tiles are one each."""
    size, boxes = (1100, 1300), [(1000, 1000, 1050, 1050), (10, 1020, 60, 1030), (0, 0, 5, 5)]
    found = mask("found", boxes, size=size)
    shifted = [(a + 5, b, c + 5, d) for a, b, c, d in boxes]
    result = evaluate(found, mask("true", shifted, size=size), progress=listener)
    assert listener.steps == 4
    hit = 45 * 50 + 45 * 10
    assert result.pixels == Confusion(hit, 3025 - hit, 3025 - hit)
    assert result.objects == Confusion(2, 1, 1)


def test_a_layer_without_crs_is_refused(mask):
    with pytest.raises(GeoreferenceError, match="no CRS"):
        evaluate(mask("found", FOUND, crs=None), mask("true", TRUE))


def test_the_command_line_tells_the_same(mask, vector):
    from geossda_cli.main import cli

    found, true, area = mask("found", FOUND), vector("true", TRUE), vector("a", [(0, 0, 55, 30)])
    done = CliRunner().invoke(
        cli, ["evaluate", str(found), str(true), "--area", str(area), "--iou", "0.7", "--json"]
    )
    assert done.exit_code == 0, done.output
    result = evaluate(found, true, area=area, config=EvaluateConfig(iou=0.7))
    assert json.loads(done.stdout) == {
        "pixels": result.pixels.to_dict(), "buildings": result.objects.to_dict(),
        "shapes": result.shapes.to_dict(),
    }  # fmt: skip
    table = CliRunner().invoke(cli, ["evaluate", str(found), str(true)])
    assert table.exit_code == 0
    assert f"{PIXELS.iou:.3f}" in table.stdout and f"{OBJECTS.f1:.3f}" in table.stdout


# Seams


def test_the_steps_across_a_line_by_hand():
    image = np.full((2, 150, 60), 50, np.uint8)
    seam = np.arange(150) // 8 + 20
    for row, col in enumerate(seam):
        image[0, row, col:] += 10
        image[1, row, col:] -= 30
    image[:, 64:128] //= 2
    valid = np.ones(image.shape[1:], bool)
    steps = steps_across(image, valid, seam, 10)
    assert steps.tolist() == [[10, -30], [5, -15]], "two blocks of 64 rows, and a rest"
    valid[3, 25] = False
    steps = steps_across(image, valid, seam, 10)
    assert np.isnan(steps[0]).all() and steps[1].tolist() == [5, -15]
    assert np.isnan(steps_across(image, valid, seam, 40)).all(), "reaches past the image"
    assert steps_across(image[:, :50], valid[:50], seam[:50], 10).shape == (0, 2)


# At the border of what is compared, and far outside


def test_true_buildings_are_cut_where_found_ones_are(mask, vector):
    """A building half outside the area, one cut by nodata and one by the raster's own edge."""
    true = vector("true", [(10, 10, 30, 20), (50, 30, 70, 40), (70, 5, 95, 15), (5, 40, 15, 50)])
    found = mask("found", [(10, 10, 20, 20), (50, 30, 60, 40), (70, 5, 80, 15), (5, 40, 15, 50)],
                 unknown=[(20, 0, 40, 30), (60, 25, 80, 60)])  # fmt: skip
    result = evaluate(found, true)
    assert (result.objects.hit, result.objects.miss, result.objects.false_alarm) == (4, 0, 0)
    assert result.pixels.iou == 1
    area = vector("area", [(0, 0, 20, 60), (40, 0, 60, 60)])
    plain = mask("plain", [(10, 10, 30, 20), (50, 30, 70, 40), (5, 40, 15, 50)])
    inside = evaluate(plain, true, area=area)
    assert (inside.objects.hit, inside.objects.miss, inside.objects.false_alarm) == (3, 0, 0)
    both = evaluate(true, true, area=area)
    assert (both.objects.hit, both.objects.miss, both.objects.false_alarm) == (3, 0, 0)
    assert both.shapes.hausdorff_m == 0


def test_a_sliver_is_no_building(mask, vector):
    true = vector("true", [(10, 10, 20, 20), (79.5, 30, 95, 31)])
    result = evaluate(mask("found", [(10, 10, 20, 20)]), true)
    assert (result.objects.hit, result.objects.miss) == (1, 0)


def test_a_building_far_away_is_a_false_alarm(vector, listener):
    true = vector("true", [(10, 10, 30, 20), (50, 30, 70, 40)])
    far = vector("far", [(10, 10, 30, 20), (4_000_000, 6_000_000, 4_000_020, 6_000_020)])
    result = evaluate(far, true, progress=listener)
    assert (result.objects.hit, result.objects.miss, result.objects.false_alarm) == (1, 1, 1)
    assert listener.steps < 10


@pytest.mark.parametrize("found", ["raster", "vector"])
@pytest.mark.parametrize("true", ["raster", "swapped", "another zone"])
def test_layers_that_lie_apart_are_warned_of(
    mask, vector, make_raster, tmp_path, listener, found, true
):
    """As coordinates in the other order do, which make all figures 0."""
    here = both(mask, vector, found, "here", TRUE)
    if true == "raster":
        image = np.ones((1, *SIZE), np.uint8)
        there = make_raster(tmp_path / "there.tif", image=image, crs="EPSG:32632")
    else:
        there = tmp_path / "there.gpkg"
        frame = gpd.read_file(vector("true", TRUE)).to_crs(4326)
        if true == "swapped":
            frame.geometry = shapely.transform(frame.geometry, lambda places: places[:, ::-1])
        else:
            frame = frame.to_crs(UTM).set_crs("EPSG:32634", allow_override=True)
        frame.to_file(there)
    evaluate(here, there, progress=listener)
    assert any("no place in common: check their CRS" in text for text in listener.warnings)
    listener.warnings.clear()
    evaluate(here, vector("near", [(50, 30, 90, 70)]), progress=listener)
    assert listener.warnings == []


def test_polygons_over_a_continent_are_refused(vector):
    true = vector("true", [(10, 10, 30, 20)])
    with pytest.raises(InputError, match="--area"):
        evaluate(vector("huge", [(0, 0, 3_000_000, 3_000_000)]), true)


def test_polygons_beyond_the_earth_are_refused(vector):
    true = vector("true", [(10, 10, 30, 20)])
    with pytest.raises(InputError, match="far away"):
        evaluate(vector("far", [(10, 10, 30, 20), (1e11, 0, 1e11 + 9, 9)]), true)
    with pytest.raises(VectorError, match="nowhere on Earth"):
        evaluate(vector("farther", [(10, 10, 30, 20), (1e25, 0, 1e25 + 1e12, 9)]), true)


def test_layers_are_chosen_by_name(vector, tmp_path):
    true = vector("true", [(10, 10, 30, 20), (50, 30, 70, 40)])
    frame = gpd.read_file(true)
    both = tmp_path / "both.gpkg"
    frame.to_file(both, layer="old")
    frame.iloc[:1].to_file(both, layer="new")
    assert evaluate(f"{both}|layername=new", true).objects.recall == 0.5
    assert evaluate(f"{both}|layername=old", true).objects.recall == 1


def test_a_building_that_its_repair_cuts_in_two_is_one(vector, tmp_path):
    # Two wings that touch in a point, drawn as one ring that crosses itself there.
    wings = shapely.Polygon([(4, 4), (14, 4), (4, 14), (14, 14), (4, 4)])
    found = tmp_path / "found.gpkg"
    gpd.GeoDataFrame(geometry=[wings, box(30, 4, 40, 14)], crs=UTM).to_file(found)
    halves = shapely.get_parts(shapely.make_valid(wings))
    assert len(halves) == 2
    true = tmp_path / "true.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.MultiPolygon(list(halves)).buffer(0.2),
                               box(30, 4, 40, 14)], crs=UTM).to_file(true)  # fmt: skip
    result = evaluate(found, true, errors=tmp_path / "errors.gpkg")
    assert result.objects == Confusion(hit=2, false_alarm=0, miss=0)
    assert result.shapes.invalid == 1 and result.shapes.vertices == 5
    kinds = gpd.read_file(tmp_path / "errors.gpkg", layer="errors")
    assert list(kinds["kind"]) == ["hit", "hit"]
    assert info(found)["buildings"] == 2
    # A layer of which all is one MultiPolygon still holds as many buildings as parts.
    dissolved = tmp_path / "dissolved.gpkg"
    parts = [box(x, 4, x + 8, 12) for x in (4, 14, 24)]
    gpd.GeoDataFrame(geometry=[shapely.MultiPolygon(parts)], crs=UTM).to_file(dissolved)
    assert evaluate(dissolved, dissolved).objects.hit == 3
