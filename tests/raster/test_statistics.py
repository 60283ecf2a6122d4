"""Masked statistics against numpy, and what is told from them."""

import threading

import numpy as np
import pytest
from conftest import ragged_border, synthesize
from hypothesis import given
from hypothesis import strategies as st

from geossda.errors import EmptyRasterError
from geossda.evaluation.metrics import wasserstein
from geossda.raster.histograms import FLOAT_BINS, Histograms, histograms, pooled
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import Stretch, percentile_stretch, widened, working_range
from geossda.raster.statistics import over_tiles, over_windows, sample_tiles
from geossda.raster.windows import Window, tiles

SIZE = (157, 211)


def measured(tmp_path, make_raster, image, **how):
    path = make_raster(tmp_path / "a.tif", image=image, dtype=image.dtype, **how)
    return histograms(open_mosaic(path))


def exact(values, first=0.0, bins=256, step=1.0):
    """Histograms of (bands, n) values that lie on the bins."""
    counts = [np.bincount(np.rint((v - first) / step).astype(int), minlength=bins) for v in values]
    return Histograms(first, step, np.stack(counts))


def test_floats_are_pooled_over_unlike_bins(tmp_path, make_raster):
    rng = np.random.default_rng(3)
    images = [rng.normal(mean, 0.1, (2, 90, 120)).astype("float32") for mean in (0.2, 1.5)]
    parts = [measured(tmp_path, make_raster, image) for image in images]
    together = pooled(parts)
    assert together.pixels == sum(part.pixels for part in parts)
    values = np.concatenate([image.reshape(2, -1) for image in images], axis=1)
    shares = [0.02, 0.3, 0.8, 0.98]
    expected = np.quantile(values, shares, axis=1).T
    assert together.quantiles(shares) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int16"])
@pytest.mark.parametrize("told_by", ["mask", "nodata", "alpha", "all"])
def test_short_integers_are_counted_exactly(tmp_path, make_raster, dtype, told_by):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(1)
    image = rng.integers(limits.min, limits.max, (3, *SIZE), dtype, endpoint=True)
    image[:, 60, 60], image[:, 61, 61] = limits.min, limits.max
    if told_by == "nodata":
        image[image == 3] = 4
    how = {
        "mask": {"mask": True}, "nodata": {"nodata": 3}, "alpha": {"alpha": True}, "all": {},
    }[told_by]  # fmt: skip
    valid = np.ones(SIZE, bool) if told_by == "all" else ragged_border(SIZE)
    path = make_raster(tmp_path / "a.tif", image=image, dtype=dtype, **how)
    mosaic = open_mosaic(path)
    pixels = mosaic.read(Window(0, 0, *SIZE))[0]
    found = histograms(mosaic)
    assert found.step == 1.0
    assert found.pixels == valid.sum()
    for band in range(3):
        values, counts = np.unique(pixels[band][valid], return_counts=True)
        used = found.counts[band] > 0
        assert np.array_equal(found.values[used], values)
        assert np.array_equal(found.counts[band][used], counts)
    assert found.extent() == (limits.min, limits.max)
    assert found.mean() == pytest.approx(pixels[:, valid].mean(axis=1), rel=1e-12)
    assert found.std() == pytest.approx(pixels[:, valid].std(axis=1), rel=1e-9)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_long_integers_of_a_short_range_are_counted_exactly(tmp_path, make_raster, dtype):
    image = (synthesize(2, SIZE, "uint16", 4).astype(np.int64) + 100_000).astype(dtype)
    found = measured(tmp_path, make_raster, image)
    assert found.step == 1.0
    for band, counts in zip(image, found.counts, strict=True):
        values, expected = np.unique(band, return_counts=True)
        assert np.array_equal(found.values[counts > 0], values)
        assert np.array_equal(counts[counts > 0], expected)


@pytest.mark.parametrize("wild", [[], [1e38, -1e38], [np.inf, -np.inf, np.nan], [1e38, np.nan]])
@pytest.mark.parametrize(("low", "scale"), [(0.0, 1.0), (-40.0, 25.0), (250.0, 60.0)])
def test_floats_are_counted_within_a_bin(tmp_path, make_raster, wild, low, scale):
    """Reflectance, decibels, kelvin; single wild values and holes do not blur the rest."""
    image = synthesize(3, SIZE, "float32", 5) * np.float32(scale) + np.float32(low)
    clean = np.ones(SIZE, bool)
    for index, value in enumerate(wild):
        image[index % 3, 70 + index, 80] = value
        clean[70 + index, 80] = False
    valid = (np.abs(image) < 1e30).all(axis=0)
    found = measured(tmp_path, make_raster, image)
    assert found.pixels == valid.sum()
    assert len(found.values) == FLOAT_BINS
    assert found.step < np.ptp(image[:, clean]) / 4000, "the bins serve the values that matter"
    for band, counts in zip(image, found.counts, strict=True):
        given = np.sort(band[valid].astype(float))
        kept = np.repeat(found.values, counts)
        assert np.abs(given - kept).max() <= found.step * 0.501
    if not wild:
        assert found.mean() == pytest.approx(image.mean(axis=(1, 2)), abs=found.step)
        assert found.std() == pytest.approx(image.std(axis=(1, 2)), abs=found.step)


def test_a_rare_value_of_a_short_type_is_counted_where_it_is(tmp_path, make_raster):
    image = np.random.default_rng(1).integers(0, 10, (1, *SIZE)).astype(np.int8)
    image[0, 80, 80], image[0, 81, 81] = -100, 127
    assert measured(tmp_path, make_raster, image).extent() == (-100, 127)


def test_a_flat_float_raster(tmp_path, make_raster):
    found = measured(tmp_path, make_raster, np.full((1, *SIZE), 7.25, np.float32))
    assert found.mean() == pytest.approx([7.25], abs=found.step)
    assert found.std() == pytest.approx([0], abs=found.step)


def test_nothing_valid_is_said(tmp_path, make_raster):
    for dtype in ("uint8", "float32"):
        image = np.ones((1, 9, 9), dtype)
        with pytest.raises(EmptyRasterError, match=r"a\.tif has no valid pixel"):
            measured(tmp_path, make_raster, image, nodata=0, valid=np.zeros((9, 9), bool))


@given(
    st.lists(st.integers(0, 255), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
)
def test_quantiles_are_numpys_of_hazen(values, shares):
    """Hazen's rule puts the n-th of N values at (n - 1/2) / N; equal values share the middle."""
    found = exact(np.array([values]))
    expected = np.quantile(values, shares, method="hazen")
    got = found.quantiles(shares)[0]
    ordered = np.sort(values)
    if len(set(values)) == len(values):
        assert got == pytest.approx(expected, abs=1e-9)
    assert (got >= ordered[0]).all() and (got <= ordered[-1]).all()
    assert (np.diff(found.quantiles(np.sort(shares))[0]) >= 0).all()


def test_quantiles_of_many_values_are_numpys():
    rng = np.random.default_rng(2)
    values = np.clip(rng.normal(1000, 200, (2, 50_000)).round(), 0, 4095).astype(int)
    found = exact(values, bins=4096)
    shares = np.linspace(0.01, 0.99, 333)
    assert np.abs(found.quantiles(shares) - np.quantile(values, shares, axis=1).T).max() <= 1.0


def test_ranks_are_the_middle_of_each_value():
    found = exact(np.array([[0, 1, 1, 3]]), bins=4)
    assert found.ranks().tolist() == [[0.125, 0.5, 0.75, 0.875]]


# Which pixels are read


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(0, 2**23))
def test_sample_tiles_are_a_choice_of_the_shape_alone(height, width, budget):
    chosen = sample_tiles((height, width), budget)
    assert chosen == sample_tiles((height, width), budget)
    every = list(tiles((height, width), 512))
    kept = max(1, budget // 512**2)
    assert len(chosen) == min(len(every), kept)
    assert len(set(chosen)) == len(chosen)
    places = [every.index(tile) for tile in chosen]
    assert places == sorted(places)


def test_sample_tiles_are_spread():
    chosen = sample_tiles((512 * 30, 512 * 30), 90 * 512**2)
    rows, cols = np.array([(tile.row // 512, tile.col // 512) for tile in chosen]).T
    assert len(set(rows.tolist())) == 30
    assert len(set(cols.tolist())) == 30
    assert np.bincount(rows // 10).min() >= 25 and np.bincount(cols // 10).min() >= 25


def test_a_budget_reads_no_more_and_measures_nearly_the_same(tmp_path, make_raster, listener):
    path = make_raster(tmp_path / "a.tif", size=(1100, 1300), bands=1, seed=6)
    mosaic = open_mosaic(path)
    whole = histograms(mosaic)
    part = histograms(mosaic, budget_px=3 * 512**2, progress=listener)
    assert listener.steps == 3
    assert 0 < part.pixels <= 3 * 512**2 < whole.pixels
    assert part.mean() == pytest.approx(whole.mean(), abs=8)


def test_over_tiles_merges_in_order(tmp_path, make_raster):
    mosaic = open_mosaic(make_raster(tmp_path / "a.tif", size=(60, 90), bands=1))
    windows = list(tiles((60, 90), 10))
    assert len(windows) > 2 * 16, "more than two batches"
    found = over_tiles(mosaic, windows, lambda pixels, valid: [pixels], lambda a, b: a + b)
    whole = mosaic.read(Window(0, 0, 60, 90))[0]
    for window, pixels in zip(windows, found, strict=True):
        assert np.array_equal(pixels, whole[:, window.rows, window.cols])


def test_one_source_of_a_mosaic_is_measured_over_its_own_pixels(tmp_path, make_raster):
    paths = [make_raster(tmp_path / f"{n}.tif", size=(40, 50), nodata=0, seed=n) for n in range(2)]
    mosaic = open_mosaic(paths)
    for index, path in enumerate(paths):
        alone = histograms(open_mosaic(path))
        assert np.array_equal(histograms(mosaic, source=index).counts, alone.counts)
    assert np.array_equal(histograms(mosaic).counts, histograms(mosaic, source=0).counts)


# What is told from them


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([10, 200], "uint8", (0, 255)),
        ([0, 1], "uint8", (0, 255)),
        ([100, 2047], "uint16", (0, 2047)),
        ([100, 1024], "uint16", (0, 2047)),
        ([100, 1023], "uint16", (0, 1023)),
        ([100, 4000], "uint16", (0, 4095)),
        ([0, 65535], "uint16", (0, 65535)),
        ([0, 3], "uint16", (0, 255)),
        ([-300, 900], "int16", (-300, 900)),
    ],
)
def test_working_range_of_integers(values, dtype, expected):
    first = float(np.iinfo(dtype).min)
    found = exact(np.array([np.repeat(values, 500)]), first, 2 ** (8 * np.dtype(dtype).itemsize))
    assert working_range(found, np.dtype(dtype)) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.9, (0, 1)),
        (0.0, 1.0, (0, 1)),
        (0.1, 1.0, (0, 1)),
        (0.1, 1.5, (0.1, 1.5)),
        (0.1, 40.0, (0.1, 40.0)),
        (-25.0, 0.5, (-25.0, 0.5)),
    ],
)
def test_working_range_of_floats(tmp_path, make_raster, low, high, expected):
    image = np.random.default_rng(7).uniform(low, high, (2, *SIZE))
    image[:, :9], image[:, 9:18] = low, high
    found = measured(tmp_path, make_raster, image.astype(np.float32))
    assert working_range(found, np.dtype("float32")) == pytest.approx(
        expected, abs=1e-3 * (high - low)
    )


def test_working_range_of_one_value_is_not_empty(tmp_path, make_raster):
    found = measured(tmp_path, make_raster, np.full((1, 20, 20), -3.5, np.float32))
    low, high = working_range(found, np.dtype("float32"))
    assert high > low


def test_stretch_maps_percentiles_to_the_ends_and_cuts():
    found = exact(np.array([np.arange(0, 101), np.full(101, 40)]))
    stretch = percentile_stretch(found, 10, 90)
    pixels = np.array([[[0, 10, 50, 90, 100]], [[39, 40, 41, 40, 40]]], np.uint8)
    scaled = stretch.apply(pixels)
    assert scaled.dtype == np.float32 and scaled.shape == pixels.shape
    assert scaled[0, 0] == pytest.approx([0, 0, 0.5, 1, 1], abs=0.01)
    assert scaled[1, 0, 1] == 0, "a flat band is nothing, not an error"
    wild = Stretch(np.zeros(1), np.ones(1)).apply(np.array([[[np.nan, np.inf, -np.inf, 1e38]]]))
    assert wild.tolist() == [[[0, 1, 0, 1]]]


def test_a_flat_band_is_not_stretched_to_the_full_range():
    # Between 40 and 60 of 255 in one band, over the full range in the other.
    found = exact(np.array([np.linspace(40, 60, 256).astype(int), np.arange(256)]))
    stretch = percentile_stretch(found, 2, 98)
    wide = widened(stretch, found, np.dtype("uint8"), 0.4)
    assert (wide.high - wide.low)[0] == pytest.approx(0.4 * 255)
    assert wide.apply(np.full((2, 1, 1), 50))[0, 0, 0] == pytest.approx(50 / 255, abs=0.01)
    assert (wide.low[1], wide.high[1]) == (stretch.low[1], stretch.high[1])
    # Of other types the median counts: 16 bit imagery rarely fills its range.
    found = exact(np.array([np.linspace(400, 700, 256).astype(int)] * 2))
    stretch = percentile_stretch(found, 2, 98)
    kept = widened(stretch, found, np.dtype("uint16"), 0.4)
    assert kept.low.tolist() == stretch.low.tolist()
    assert kept.high.tolist() == stretch.high.tolist()
    wide = widened(stretch, found, np.dtype("uint16"), 0.8)
    assert (wide.high - wide.low).tolist() == pytest.approx([0.8 * 550] * 2, rel=0.01)


def test_wasserstein_by_hand():
    one = exact(np.array([[10, 20, 30, 40], [5, 5, 5, 5]]))
    moved = exact(np.array([[13, 23, 33, 43], [5, 5, 9, 9]]))
    assert wasserstein(one, one).tolist() == [0, 0]
    assert wasserstein(one, moved) == pytest.approx([3, 2], abs=0.75)
    assert wasserstein(one, moved) == pytest.approx(wasserstein(moved, one))


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 40))
def test_wasserstein_of_a_shift_is_the_shift(start, shift, width):
    values = np.repeat(np.arange(start, start + width), 5)
    found = wasserstein(exact(np.array([values])), exact(np.array([values + shift])))
    assert found == pytest.approx([shift])


def test_wasserstein_is_the_mean_distance_of_sorted_values():
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 256, (2, 1, 20_000)), rng.beta(2, 5, (2, 1, 20_000)) * 255
    first, second = one[0], other[0].round().astype(int)
    expected = np.abs(np.sort(first) - np.sort(second)).mean()
    assert wasserstein(exact(first), exact(second)) == pytest.approx([expected], rel=0.01)


def test_few_windows_are_read_in_this_thread(tmp_path, make_raster, monkeypatch):
    """Another thread would open the file and its CRS again, which takes longer."""
    mosaic = open_mosaic(make_raster(tmp_path / "a.tif", size=SIZE))
    windows = sample_tiles(SIZE, tile=64)

    def read(window):
        return threading.current_thread() is threading.main_thread(), mosaic.read(window)[0].sum()

    few = list(over_windows(mosaic, read, windows))
    monkeypatch.setattr("geossda.raster.statistics._FEW_PX", 0)
    many = list(over_windows(mosaic, read, windows))
    assert all(here for here, _ in few) and not any(here for here, _ in many)
    assert [total for _, total in few] == [total for _, total in many]
