"""Borders of scenes placed at full resolution, and regions of cells refined."""

import numpy as np
import pytest
import shapely
from conftest import build_raster
from test_balancing import ground
from test_regions import SIZE, WHOLE, as_bytes, island, lit

from geossda.balance.border_refinement import refine_borders
from geossda.balance.region_outlines import outline_regions
from geossda.balance.region_refinement import refine_regions
from geossda.balance.scenes import Scenes
from geossda.balance.tone_field import ToneField
from geossda.raster.mosaic import open_mosaic

ALL = np.ones((SIZE, SIZE), bool)


@pytest.fixture(scope="module")
def clean():
    return ground(SIZE)


def three_scenes(clean):
    """Return an image of three scenes that meet at an island, and the scene of every pixel."""
    y = np.mgrid[:SIZE, :SIZE][0]
    below = (y > 300 + 20 * np.sin(np.arange(SIZE) / 60)).astype(float)
    labels = np.where(island() > 0, 2, below).astype(int)
    image = lit(lit(clean, island() > 0)[::-1], below * (labels != 2))[::-1]
    return image, labels


def outlines(labels, shift):
    """Return outlines of scenes, displaced by a shift in pixels."""
    moved = np.roll(labels, shift, (0, 1))
    cells = moved[4::8, 4::8].astype(np.int32)
    flat = np.zeros((3, *labels.shape), np.float32)
    return outline_regions(cells, flat, ALL, 8, 1)[0]


def wrong_px(scenes, labels):
    """Return the number of mislabelled pixels for each pixel of true border."""
    drawn = scenes.labels(WHOLE)
    border = (np.diff(labels, axis=0) != 0).sum() + (np.diff(labels, axis=1) != 0).sum()
    share = [np.bincount(labels[drawn == scene]).max(initial=0) for scene in range(scenes.count)]
    return (labels.size - sum(share)) / border


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_borders_are_placed_to_the_pixel(clean, tmp_path, dtype):
    image, labels = three_scenes(clean)
    values = as_bytes(image) if dtype == "uint8" else (0.02 + 0.3 * image).astype(np.float32)
    limits = (0.0, 255.0) if dtype == "uint8" else (0.02, 0.32)
    mosaic = open_mosaic(build_raster(tmp_path / "a.tif", image=values, dtype=dtype))
    before = outlines(labels, (3, -3))
    after = refine_borders(mosaic, before, 10, limits, 3)
    assert wrong_px(before, labels) > 1.5
    assert wrong_px(after, labels) < 0.5
    assert len(after.polygons) == 3
    assert sum(shape.area for shape in after.polygons) == pytest.approx(SIZE**2)
    assert all(shape.is_valid for shape in after.polygons)
    assert shapely.area(shapely.intersection(*after.polygons[:2])) == pytest.approx(0, abs=1e-6)


def test_borders_that_the_image_does_not_show_stay(clean, tmp_path):
    mosaic = open_mosaic(build_raster(tmp_path / "a.tif", image=as_bytes(clean)))
    _, labels = three_scenes(clean)
    before = outlines(labels, (0, 0))
    after = refine_borders(mosaic, before, 10, (0.0, 255.0), 3)
    assert (after.labels(WHOLE) != before.labels(WHOLE)).mean() < 0.001


def test_a_scene_inside_another_keeps_its_ring(clean, tmp_path):
    labels = (island() > 60).astype(int)
    mosaic = open_mosaic(build_raster(tmp_path / "a.tif", image=as_bytes(lit(clean, labels))))
    before = outlines(labels, (2, 4))
    after = refine_borders(mosaic, before, 10, (0.0, 255.0), 3)
    assert wrong_px(after, labels) < min(0.5, wrong_px(before, labels) / 3)


def test_cells_join_the_region_whose_tones_near_them_are_theirs():
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:40, :48]
    truth = (cols > 24 + 4 * np.sin(rows / 6)).astype(np.int32)
    # Both regions change from top to bottom by more than they differ.
    tones = 0.05 * rows[None] + 1.2 * truth + rng.normal(0, 0.5, (6, 40, 48))
    known = np.ones((40, 48), bool)
    known[:5, :7] = False
    tones = np.where(known, tones, 0).astype(np.float32)
    field = ToneField(tones, tones, tones, tones, known)
    given = np.where(known, truth[:, np.maximum(np.arange(48) - 4, 0)], -1).astype(np.int32)
    refined = refine_regions(given, field)
    assert (given != truth)[known].mean() > 0.08
    assert (refined != truth)[known].mean() < 0.03
    assert (refined[~known] == -1).all()


def test_outlines_share_their_borders_exactly(clean):
    _, labels = three_scenes(clean)
    scenes = outlines(labels, (0, 0))
    assert isinstance(scenes, Scenes)
    assert shapely.coverage_is_valid(np.array(scenes.polygons, object))
