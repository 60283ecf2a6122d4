"""The width of feathered borders, and borders that say little."""

import numpy as np
import pytest
import shapely
from conftest import build_raster

from geossda.balance.balancing import measure_balance
from geossda.balance.feather_width import WIDTHS_PX, estimate_feathers, measure_changes
from geossda.balance.profiles import Profile
from geossda.balance.scenes import Scenes
from geossda.balance.tone_curves import KNOTS, QUANTILES, Border, solve_curves
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window

REACH = 320


def profiles(count, feather, seed, step=20.0):
    """Give profiles across a border in ground that changes by itself from place to place."""
    rng = np.random.default_rng(seed)
    away = np.arange(-REACH, REACH) + 0.5
    ramp = np.clip(away / max(feather, 1e-6) + 0.5, 0, 1)
    made = []
    for _ in range(count):
        drift = np.cumsum(rng.normal(0, 1.5, (3, 1, 2 * REACH)), 2)
        pixels = 110 + drift + rng.normal(0, 8, (3, 32, 2 * REACH)) + step * ramp
        shape = pixels.shape[1:]
        rows, cols = np.zeros((2, *shape), int)
        made.append(Profile(pixels, np.ones(shape, bool), rows, cols))
    return measure_changes(made)


@pytest.mark.parametrize("feather", [0, 32, 160])
def test_the_width_is_that_of_all_borders_together(feather):
    found = estimate_feathers([profiles(12, feather, seed) for seed in range(4)])
    assert len(set(found)) == 1
    near = WIDTHS_PX.index(feather)
    assert WIDTHS_PX.index(found[0]) in (near - 1, near, near + 1)[feather == 0 :]
    assert (found[0] == 0) == (feather == 0)


def test_a_border_of_few_profiles_is_as_the_others_are():
    borders = [profiles(16, 0, seed) for seed in range(3)] + [profiles(2, 0, 9, step=2.0)]
    assert estimate_feathers(borders) == [0, 0, 0, 0]


def test_a_hard_border_among_feathered_ones_is_hard():
    borders = [profiles(16, 64, seed) for seed in range(3)] + [profiles(16, 0, 9)]
    *feathered, hard = estimate_feathers(borders)
    assert hard == 0
    assert min(feathered) > 0
    assert estimate_feathers([]) == []


def test_a_short_hard_border_is_balanced(tmp_path):
    rng = np.random.default_rng(3)
    size, side = 512, 60
    clean = np.clip(rng.normal(110, 25, (3, size, size)), 20, 200)
    box = shapely.box(200, 200, 200 + side, 200 + side)
    inside = np.zeros((size, size), bool)
    inside[200 : 200 + side, 200 : 200 + side] = True
    image = np.rint(np.where(inside, 0.8 * clean + 40, clean)).astype(np.uint8)
    mosaic = open_mosaic(build_raster(tmp_path / "short.tif", image=image))
    balance = measure_balance(mosaic, Scenes((box,)), (0.0, 255.0))
    after = balance(image, np.ones((size, size), bool), Window(0, 0, size, size), mosaic.grid)

    def step(pixels):
        return abs(float(pixels[:, inside].mean()) - float(pixels[:, ~inside].mean()))

    assert step(after) < 0.3 * step(image)


@pytest.mark.parametrize("bands", [1, 5])
def test_a_border_where_the_ground_differs_much_changes_little(bands):
    rng = np.random.default_rng(0)
    tones = np.linspace(0.2, 0.8, len(QUANTILES))
    sides = np.stack([tones, tones + 0.1])[None, :, None].repeat(24, 0).repeat(bands, 2)
    changes = []
    for deviation in (0.01, 1.0):
        ground = rng.normal(0, deviation, (96, bands, 1)) * np.ones(len(QUANTILES))
        curves = solve_curves([Border(0, 1, sides, ground, 64, 50.0)], 2, bands)
        assert curves.shape == (2, bands, KNOTS)
        changes.append(float((curves[0] - curves[1])[:, KNOTS // 2].mean()))
    certain, uncertain = changes
    assert certain == pytest.approx(0.1, abs=0.02)
    assert abs(uncertain) < 0.7 * certain
