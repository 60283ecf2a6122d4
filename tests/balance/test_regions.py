"""Regions of any shape that differ in light: found, outlined and balanced without a hint."""

import geopandas
import numpy as np
import pytest
import shapely
from conftest import build_raster
from test_balancing import applied, ground

from geossda import scenes
from geossda.balance import region_search, scene_detection
from geossda.balance.balancing import measure_balance
from geossda.balance.region_outlines import outline_regions
from geossda.balance.region_search import find_regions
from geossda.balance.scene_detection import find_scenes
from geossda.balance.scenes import Scenes, read_scenes
from geossda.balance.tone_field import measure_field
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window

SIZE = 640
WHOLE = Window(0, 0, SIZE, SIZE)


def island():
    """Give how far inside a bay and an island of it every pixel lies, in pixels."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    angle = np.arctan2(y - 300, x - 350)
    return 190 + 28 * np.sin(3 * angle) - np.hypot(y - 300, x - 350)


def lit(image, inside):
    """Give a part haze, gain and a tint; the share of it goes from 0 to 1."""
    other = 0.55 * image**1.1 * np.array([1.06, 1, 0.86])[:, None, None] + 0.3
    return image * (1 - inside) + other * inside


def as_bytes(image):
    return np.rint(image * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def clean():
    return ground(SIZE)


@pytest.fixture(scope="module")
def hard(clean, tmp_path_factory):
    path = tmp_path_factory.mktemp("regions") / "hard.tif"
    return build_raster(path, image=as_bytes(lit(clean, island() > 0)))


def step(image, clean, gap):
    """Give the step from outside to inside, the ground's own taken off."""
    away = island()
    inside, outside = (away > gap) & (away < gap + 12), (away < -gap) & (away > -gap - 12)
    change = image.astype(float) - as_bytes(clean)
    return np.abs(change[:, inside].mean(1) - change[:, outside].mean(1)).mean()


def test_a_region_with_a_hard_curved_border_is_found_to_the_pixel(hard):
    found = find_scenes(open_mosaic(hard))
    assert len(found.polygons) == 2
    labels, wanted = found.labels(WHOLE), island() > 0
    wrong = min((labels != wanted).sum(), (labels == wanted).sum())
    assert wrong / (2 * np.pi * 190) < 3  # pixels
    assert sum(shape.area for shape in found.polygons) == pytest.approx(SIZE**2)


@pytest.mark.parametrize("feather", [0, 60])
def test_scenes_end_at_the_edges_of_a_raster_of_any_size(clean, tmp_path, monkeypatch, feather):
    inside = np.clip(island() / max(feather, 1e-6) + 0.5, 0, 1)
    image = as_bytes(lit(clean, inside))[:, :633, :-2]
    mosaic = open_mosaic(build_raster(tmp_path / "a.tif", image=image))
    # An overview of half the size, with a pixel left over.
    monkeypatch.setattr(scene_detection, "CELL_PX", 8)
    monkeypatch.setattr(scene_detection, "_REGION_CELLS", 1700)
    monkeypatch.setattr(region_search, "FIRST_EVIDENCE", 3.0)
    found = find_scenes(mosaic)
    assert len(found.polygons) >= 2
    assert sum(shape.area for shape in found.polygons) == pytest.approx(633 * 638)
    assert shapely.coverage_is_valid(np.array(found.polygons, object))


@pytest.mark.parametrize(("feather", "left"), [(0, 0.2), (60, 0.45)])
def test_its_step_is_taken_away(clean, tmp_path, feather, left):
    inside = np.clip(island() / max(feather, 1e-6) + 0.5, 0, 1)
    before = as_bytes(lit(clean, inside))
    mosaic = open_mosaic(build_raster(tmp_path / "a.tif", image=before))
    found = find_scenes(mosaic)
    assert len(found.polygons) == 2
    balance = measure_balance(mosaic, found, (0.0, 255.0))
    after = balance(before, np.ones((SIZE, SIZE), bool), WHOLE, mosaic.grid)
    assert step(after, clean, feather / 2) < left * step(before, clean, feather / 2)
    assert np.corrcoef(np.diff(after).ravel(), np.diff(as_bytes(clean)).ravel())[0, 1] > 0.95


def test_nothing_is_found_where_light_is_one(clean, tmp_path):
    path = build_raster(tmp_path / "a.tif", image=as_bytes(clean))
    assert not find_scenes(open_mosaic(path)).polygons


def test_a_forest_is_no_region_since_its_texture_is_its_own(clean):
    forest = ground(SIZE, seed=4)
    forest = 0.2 + 0.25 * (forest - np.roll(forest, (3, 2), (1, 2))) * np.ones((3, 1, 1))
    forest *= np.array([0.8, 1.2, 0.7])[:, None, None]
    image = np.where(island() > 0, forest, clean)
    pixels = as_bytes(np.clip(image, 0, 1)).astype(np.float32)
    labels, _ = find_regions(measure_field(pixels, np.ones((SIZE, SIZE), bool), 16))
    assert labels.max() == 0


def test_what_is_read_at_once_changes_nothing(hard, monkeypatch):
    whole = find_scenes(open_mosaic(hard))
    monkeypatch.setattr(scene_detection, "_READ_PX", 128)
    tiled = find_scenes(open_mosaic(hard))
    assert [a.equals(b) for a, b in zip(whole.polygons, tiled.polygons, strict=True)] == [True] * 2


def test_outlines_are_written_and_given_back(hard, tmp_path):
    assert scenes(hard, tmp_path / "s.gpkg").scenes == 2
    assert geopandas.read_file(tmp_path / "s.gpkg").geometry.is_valid.all()
    grid = open_mosaic(hard).grid
    given, found = read_scenes(tmp_path / "s.gpkg", grid), find_scenes(open_mosaic(hard))
    assert (given.labels(WHOLE) == found.labels(WHOLE)).mean() > 0.9999


def test_nodata_has_no_part_in_it(clean, tmp_path):
    valid = np.ones((SIZE, SIZE), bool)
    valid[:, :130] = False
    image = as_bytes(lit(clean, island() > 0))
    paths = []
    for name, fill in (("a", 0), ("b", 255)):
        image[:, ~valid] = fill
        paths.append(build_raster(tmp_path / f"{name}.tif", image=image, mask=True, valid=valid))
    one, other = (find_scenes(open_mosaic(path)) for path in paths)
    assert one.polygons
    assert [a.equals(b) for a, b in zip(one.polygons, other.polygons, strict=True)] == [True] * len(
        one.polygons
    )


def test_islands_of_data_and_gaps_belong_to_the_nearest_region():
    labels = np.array([[0, 0, -1, 1, 1], [0, 0, -1, 1, 1], [0, -1, -1, -1, 1]], np.int32)
    pixels = np.zeros((3, 50, 83), np.float32)
    found, hard = outline_regions(labels, pixels, np.ones((50, 83), bool), 16, 2)
    assert not hard
    drawn = found.labels(Window(0, 0, 100, 166))
    assert set(np.unique(drawn)) == {0, 1}
    assert (drawn[:, :60] == 0).all() and (drawn[:, 110:] == 1).all()


def test_bent_outlines_along_the_edges_of_pixels_are_balanced(clean, hard):
    """Each side is measured along the course of its border."""
    rows = [np.flatnonzero(row > 0) for row in island()]
    strips = [shapely.box(row[0], r, row[-1] + 1, r + 1) for r, row in enumerate(rows) if len(row)]
    inner = shapely.union_all(strips)
    mosaic = open_mosaic(hard)
    outlines = Scenes((inner, shapely.box(0, 0, SIZE, SIZE)))
    balance = measure_balance(mosaic, outlines, (0.0, 255.0))
    assert not balance.feathers
    before = applied(mosaic, SIZE)
    after = balance(before, np.ones((SIZE, SIZE), bool), WHOLE, mosaic.grid)
    assert step(after, clean, 0) < 0.15 * step(before, clean, 0)
