"""The pixelwise methods do what their papers say, and nothing at strength 0."""

import json
from typing import get_args

import numpy as np
import pytest
from conftest import RANGES, ragged_border, synthesize

from geossda.api.style import resolve_style
from geossda.color.lab import from_lab, lab_moments, lab_sums, to_lab
from geossda.config import ColorMethod, HarmonizeMethod
from geossda.errors import BandError, StyleError
from geossda.evaluation.metrics import wasserstein
from geossda.harmonization.measure import SourceStatistics, measure_source, measure_style
from geossda.harmonization.method import PixelMethod
from geossda.harmonization.methods import METHODS, known_statistics, pixel_method
from geossda.harmonization.pooling import pool
from geossda.harmonization.reference_statistics import SHARES, Lab, Quantiles
from geossda.harmonization.style import load_style
from geossda.raster.histograms import histograms
from geossda.raster.mosaic import open_mosaic

SIZE = (157, 211)
PIXEL_METHODS = get_args(ColorMethod)


@pytest.fixture
def write(tmp_path, make_raster):
    """Write an array as a raster; gives its mosaic."""
    count = iter(range(100))

    def write(image, **how):
        path = make_raster(tmp_path / f"{next(count)}.tif", image=image, dtype=image.dtype, **how)
        return open_mosaic(path)

    return write


def look_of(mosaic):
    return measure_style(mosaic, known_statistics())


def harmonized(mosaic, image, method, style, strength=1.0):
    source = measure_source(mosaic, METHODS[method].needs)
    return pixel_method(method).fit(source, style, strength)(image)


def another_look(dtype, seed=9, bands=3):
    """The same kind of image as `synthesize`, darker, flatter, with a cast."""
    low, high = RANGES[dtype]
    share = (synthesize(bands, SIZE, "float64", seed) - 0.03) / 0.82
    cast = np.linspace(0.5, 0.9, bands)[:, None, None]
    image = low + (share**1.5 * cast) * (high - low) * 0.8
    return (np.rint(image) if np.dtype(dtype).kind in "ui" else image).astype(dtype)


# Strength


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("method", PIXEL_METHODS)
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_strength_0_changes_no_bit(write, method, dtype, bands):
    image = synthesize(bands, SIZE, dtype, 1)
    style = look_of(write(another_look(dtype, bands=bands)))
    source = measure_source(write(image), METHODS[method].needs)
    given = image.copy()
    if image.dtype.kind == "f":  # what is not valid goes through the transforms, too
        given[0, :3, :3], given[-1, 4, 4] = np.nan, np.inf
    result = pixel_method(method).fit(source, style if METHODS[method].needs_style else None, 0.0)(
        given
    )
    assert result.dtype == given.dtype
    assert result.tobytes() == given.tobytes()
    full = pixel_method(method).fit(source, style, 1.0)(image)
    assert full.dtype == image.dtype and full.shape == image.shape
    assert not np.array_equal(full, image)


@pytest.mark.parametrize("method", PIXEL_METHODS)
def test_strength_is_linear_in_between(write, method):
    image = synthesize(4, SIZE, "uint16", 1)
    style = look_of(write(another_look("uint16", bands=4)))
    source = measure_source(write(image), METHODS[method].needs)
    whole = pixel_method(method).fit(source, style, 1.0)(image).astype(float)
    for strength in (0.25, 0.7):
        mixed = pixel_method(method).fit(source, style, strength)(image)
        expected = image + strength * (whole - image)
        assert np.abs(mixed - expected).max() <= 1.0


@pytest.mark.parametrize("method", PIXEL_METHODS)
def test_values_that_the_statistics_did_not_see_go_through(write, method):
    """Statistics of large rasters are sampled: any value of the type may come."""
    for dtype in ("int8", "uint8", "uint16", "int16", "float32"):
        image = synthesize(3, SIZE, "uint8", 1).astype(np.int16) // 4
        seen = image.astype(dtype) if dtype != "float32" else (image / 100).astype(dtype)
        source = measure_source(write(seen), METHODS[method].needs)
        style = look_of(write(seen))
        limits = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype != "float32" else (-1e6, 1e6)
        unseen = np.linspace(*limits, 3 * 64).reshape(3, 8, 8).astype(dtype)
        result = pixel_method(method).fit(source, style, 1.0)(unseen)
        assert result.dtype == unseen.dtype and np.isfinite(result).all()


def test_every_method_of_the_settings_has_a_class_and_the_other_way_round():
    assert {"auto", *METHODS} == set(get_args(HarmonizeMethod))
    pixelwise = {name for name, method in METHODS.items() if issubclass(method, PixelMethod)}
    assert pixelwise == set(PIXEL_METHODS)
    assert all(type(pixel_method(name)).name == name for name in pixelwise)
    with pytest.raises(KeyError):
        pixel_method("ssda")


# Mean and standard deviation


@pytest.mark.parametrize(("dtype", "by"), [("uint8", 0.6), ("uint16", 0.6), ("float32", 1e-3)])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_linear_gives_each_band_the_styles_mean_and_standard_deviation(write, dtype, by, bands):
    image = synthesize(bands, SIZE, dtype, 1)
    low, high = RANGES[dtype]
    target = (low + (another_look("float64", bands=bands) - RANGES["float64"][0])
              * (high - low) / (4 * np.ptp(RANGES["float64"])) + (high - low) / 4)  # fmt: skip
    target = target.astype(dtype)  # well inside the range: nothing is clipped
    result = harmonized(write(image), image, "linear", look_of(write(target)))
    assert result.dtype == image.dtype
    for band in range(bands):
        own, wanted = image[band].astype(float), target[band].astype(float)
        expected = (own - own.mean()) * wanted.std() / own.std() + wanted.mean()
        assert np.abs(result[band] - expected).max() < by * (1 if dtype != "float32" else high)


# Histogram matching


def matched_by_sorting(image, reference):
    """Straightforward: the value of a rank becomes the reference's value of that rank."""
    result = np.empty(image.shape)
    for band in range(len(image)):
        _, inverse, counts = np.unique(image[band], return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
        target = np.sort(reference[band], axis=None)
        targets = np.interp(ranks, (np.arange(target.size) + 0.5) / target.size, target)
        result[band] = targets[inverse].reshape(image[band].shape)
    return result


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_histogram_equals_the_straightforward_way(write, dtype):
    image, reference = synthesize(3, SIZE, dtype, 1), another_look(dtype)
    result = harmonized(write(image), image, "histogram", look_of(write(reference)))
    expected = matched_by_sorting(image, reference)
    span = float(np.ptp(reference))
    off = np.abs(result.astype(float) - expected)
    rounding = 0.5 if dtype != "float32" else 0.0
    assert off.mean() < rounding + 0.002 * span
    assert np.quantile(off, 0.99) < 2 * rounding + 0.01 * span
    for band in range(3):  # ranks are kept
        order = np.argsort(image[band], axis=None, kind="stable")
        assert (np.diff(result[band].ravel()[order].astype(float)) >= 0).all()


PAIRS = {
    "uint8": ("uint8", 1.0, 0.0),
    "uint16": ("uint16", 1.0, 0.0),
    "reflectance": ("float32", 1.0, 0.0),
    "uint16 across a power of two": ("uint16", 1.4, 0.0),
    "int16": ("int16", 1.0, 0.0),
    "decibels": ("float32", 20.0, -25.0),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_histogram_takes_away_at_least_four_fifths_of_the_distance(write, pair):
    dtype, scale, offset = PAIRS[pair]
    image = synthesize(3, SIZE, dtype, 1)
    reference = (another_look(dtype) * scale + offset).astype(dtype)
    if pair == "uint16 across a power of two":
        reference = (synthesize(3, SIZE, dtype, 2) * scale).astype(dtype)
        assert image.max() < 2048 < np.quantile(reference, 0.999)
    if pair == "decibels":
        image = (image * 12 - 18).astype(dtype)
    mosaic, target = write(image), write(reference)
    result = harmonized(mosaic, image, "histogram", look_of(target))
    before = wasserstein(histograms(mosaic), histograms(target))
    after = wasserstein(histograms(write(result)), histograms(target))
    assert (before > 0.02 * np.ptp(reference)).all(), "the pair is unlike"
    assert (after <= 0.2 * before).all()


def test_an_8_bit_look_on_an_11_bit_image(write):
    image, reference = synthesize(3, SIZE, "uint16", 1), another_look("uint8")
    style = look_of(write(reference))
    result = harmonized(write(image), image, "histogram", style)
    assert result.dtype == np.uint16
    carried = histograms(write((reference * (2047 / 255)).round().astype(np.uint16)))
    moved = wasserstein(histograms(write(result)), carried)
    assert (moved < 0.2 * wasserstein(histograms(write(image)), carried)).all()
    assert moved.max() < 6


def test_histogram_of_itself_changes_next_to_nothing(write):
    image = synthesize(3, SIZE, "uint8", 1)
    result = harmonized(write(image), image, "histogram", look_of(write(image)))
    off = np.abs(result.astype(int) - image)
    assert off.mean() < 0.1
    assert np.quantile(off, 0.998) <= 1, "but for the last thousandth, between two quantiles"


def test_nodata_has_no_part_in_it(write):
    image = synthesize(3, SIZE, "uint8", 1)
    bare = write(image, valid=ragged_border(SIZE), nodata=0)
    hidden = np.where(ragged_border(SIZE), image, 255)
    masked = write(hidden, valid=ragged_border(SIZE), mask=True)
    style = look_of(write(another_look("uint8")))
    seen = bare.read(whole())[0]
    # Three valid pixels of the first differ: they carry the nodata value in one band.
    same = (seen == image).all(axis=0)
    one = harmonized(bare, seen, "histogram", style)[:, same]
    other = harmonized(masked, image, "histogram", style)[:, same]
    assert np.abs(one.astype(int) - other).max() <= 1


def whole():
    from geossda.raster.windows import Window

    return Window(0, 0, *SIZE)


# Reinhard


def lab_by_the_book(rgb):
    """CIE L*a*b* of (3, h, w) sRGB in 0..1, D65, written from the standard's formulas."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169],
         [0.019334, 0.119193, 0.950227]]
    )  # fmt: skip
    x, y, z = np.tensordot(to_xyz, linear, 1) / np.array([0.950456, 1, 1.088754])[:, None, None]
    x, y, z = (np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116) for t in (x, y, z))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def mild(seed, middle, spread, dtype="float32"):
    """Colours far from the faces of sRGB, with unlike means and deviations."""
    scene = (synthesize(3, SIZE, "float64", seed) - 0.4) * spread
    image = np.array(middle)[:, None, None] + scene
    assert 0.15 < image.min() and image.max() < 0.85
    if dtype == "float32":
        return image.astype(dtype)
    return np.rint(image * {"uint8": 255, "uint16": 2047}[dtype]).astype(dtype)


@pytest.mark.parametrize(("dtype", "slack"), [("uint8", 0.35), ("uint16", 0.1), ("float32", 0.1)])
def test_reinhard_reaches_mean_and_deviation_in_lab(write, dtype, slack):
    image = mild(1, (0.45, 0.5, 0.42), 0.35, dtype)
    reference = mild(2, (0.55, 0.48, 0.47), 0.2, dtype)
    if dtype == "uint16":  # so that both fill 11 bits, as sensors do
        image[:, 0, :9], reference[:, 0, :9] = 2047, 2047
    result = harmonized(write(image), image, "reinhard", look_of(write(reference)))
    top = {"uint8": 255, "uint16": 2047, "float32": 1}[dtype]
    ours, theirs, before = (
        lab_by_the_book(x[:, 1:] / top) for x in (result, reference, image)
    )  # fmt: skip
    for measure in (np.mean, np.std):
        target = measure(theirs, axis=(1, 2))
        assert measure(ours, axis=(1, 2)) == pytest.approx(target, abs=slack)
        assert np.abs(measure(before, axis=(1, 2)) - target).max() > 1.5


def test_reinhard_matches_further_bands_and_gray_images_by_themselves(write):
    for bands, first in ((4, 3), (1, 0), (2, 0)):
        image = synthesize(bands, SIZE, "uint16", 1) // 2 + 300
        reference = synthesize(bands, SIZE, "uint16", 2) // 3 + 400
        image[:, 0, :9], reference[:, 0, :9] = 1500, 1500
        result = harmonized(write(image), image, "reinhard", look_of(write(reference)))
        for band in range(first, bands):
            assert result[band].mean() == pytest.approx(reference[band].mean(), abs=1)
            assert result[band].std() == pytest.approx(reference[band].std(), abs=1)


def test_reinhard_of_a_flat_image_is_finite(write):
    image = np.full((3, *SIZE), 90, np.uint8)
    result = harmonized(write(image), image, "reinhard", look_of(write(another_look("uint8"))))
    assert len(np.unique(result[0])) == 1


def test_lab_goes_there_and_back():
    image = synthesize(3, SIZE, "uint16", 1)
    lab = to_lab(image, (0, 2047))
    assert lab.shape == (*SIZE, 3)
    # OpenCV interpolates L*a*b* from a table; half a unit cannot be seen.
    assert np.abs(lab.transpose(2, 0, 1) - lab_by_the_book(image / 2047)).max() < 0.5
    assert np.abs(from_lab(lab, (0, 2047)) - image).max() < 5


def test_lab_moments_of_the_valid_pixels():
    image, valid = synthesize(3, SIZE, "uint8", 1), ragged_border(SIZE)
    upper, lower = (
        lab_sums(image[:, rows], valid[rows], (0, 255)) for rows in (slice(50), slice(50, None))
    )
    mean, std = lab_moments(upper + lower)
    whole = to_lab(image, (0, 255))[valid]
    assert mean == pytest.approx(whole.mean(axis=0), abs=1e-3)
    assert std == pytest.approx(whole.std(axis=0), abs=1e-3)
    expected = lab_by_the_book(image / 255)[:, valid]
    assert mean == pytest.approx(expected.mean(axis=1), abs=0.15)
    assert std == pytest.approx(expected.std(axis=1), abs=0.15)


# Gray world, equalization


def test_grayworld_gives_all_bands_one_mean(write):
    for dtype, slack in (("uint8", 0.5), ("uint16", 0.5), ("float32", 1e-4)):
        image = another_look(dtype)
        assert np.ptp(image.mean(axis=(1, 2))) > 20 * slack
        result = harmonized(write(image), image, "grayworld", None)
        means = result.mean(axis=(1, 2))
        assert np.ptp(means) < slack
        assert means.mean() == pytest.approx(image.mean(), abs=slack)


def test_grayworld_takes_its_brightness_from_a_style(write):
    image, reference = synthesize(3, SIZE, "uint8", 1), another_look("uint8")
    result = harmonized(write(image), image, "grayworld", look_of(write(reference)))
    means = result.mean(axis=(1, 2))
    assert means == pytest.approx([reference.mean()] * 3, abs=0.5)
    assert abs(image.mean() - reference.mean()) > 10


def test_grayworld_of_a_black_band(write):
    image = synthesize(3, SIZE, "uint8", 1)
    image[1] = 0
    assert not harmonized(write(image), image, "grayworld", None)[1].any()


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 2047), ("float32", 1)])
def test_equalize_is_flat(write, dtype, top):
    image = synthesize(3, SIZE, dtype, 1)
    result = harmonized(write(image), image, "equalize", None).astype(float) / top
    for band in result:
        assert np.abs(np.quantile(band, SHARES) - SHARES).max() < 0.02
        counts, _ = np.histogram(band, 16, (0, 1))
        assert counts.min() > 0.8 * counts.mean()


# Styles


def test_style_round_trip(tmp_path, write):
    for dtype in ("uint8", "float32"):
        style = look_of(write(another_look(dtype)))
        path = tmp_path / f"{dtype}.json"
        style.save(path)
        loaded = load_style(path, known_statistics())
        for name in ("name", "dtype", "working_range", "pixels", "bands"):
            assert getattr(loaded, name) == getattr(style, name)
        for statistic, names in ((Quantiles, ["values"]), (Lab, ["mean", "std"])):
            for name in names:
                kept, exact = (getattr(one[statistic], name) for one in (loaded, style))
                assert np.abs(kept - exact).max() <= 5e-7
        assert np.abs(loaded.mean - style.mean).max() <= 5e-7
        assert np.abs(loaded.std - style.std).max() <= 5e-7
        assert path.stat().st_size < 100_000 * style.bands
        assert json.loads(path.read_text())["format"] == "geossda style 2"
    two = look_of(write(another_look("uint8", bands=2)))
    two.save(tmp_path / "two.json")
    loaded = load_style(tmp_path / "two.json", known_statistics())
    assert two.get(Lab) is None and loaded.get(Lab) is None


def test_style_measures_its_pixels(write):
    image = another_look("uint8")
    style = look_of(write(image))
    assert style.pixels == image[0].size
    assert style.mean == pytest.approx(image.mean(axis=(1, 2)))
    assert style.std == pytest.approx(image.std(axis=(1, 2)))
    assert style[Quantiles].values.shape == (3, 1025)
    for band in range(3):
        assert style[Quantiles].values[band, [0, -1]].tolist() == [
            image[band].min(),
            image[band].max(),
        ]
        expected = np.quantile(image[band], SHARES)
        assert np.abs(style[Quantiles].values[band] - expected).max() <= 1
    lab = lab_by_the_book(image / 255)
    assert style[Lab].mean == pytest.approx(lab.mean(axis=(1, 2)), abs=0.15)
    assert style[Lab].std == pytest.approx(lab.std(axis=(1, 2)), abs=0.15)


def test_carried_to_is_linear_and_comes_back(write):
    style = look_of(write(another_look("uint8")))
    carried = style.carried_to((100.0, 2147.0))
    factor = 2047 / 255
    assert carried.working_range == (100.0, 2147.0)
    assert np.allclose(carried[Quantiles].values, style[Quantiles].values * factor + 100)
    assert np.allclose(carried.mean, style.mean * factor + 100)
    assert np.allclose(carried.std, style.std * factor)
    assert np.array_equal(carried[Lab].mean, style[Lab].mean)
    back = carried.carried_to(style.working_range)
    assert np.allclose(back[Quantiles].values, style[Quantiles].values) and np.allclose(
        back.mean, style.mean
    )
    assert style.carried_to(style.working_range) is style


def test_pool_is_the_style_of_the_pixels_together(write):
    images = [synthesize(3, (157, 100), "uint8", 1), another_look("uint8")[:, :, :70],
              synthesize(3, (157, 41), "uint8", 4) // 2]  # fmt: skip
    pooled = pool([look_of(write(image)) for image in images])
    together = look_of(write(np.concatenate(images, axis=2)))
    assert pooled.pixels == together.pixels == 157 * 211
    assert pooled.mean == pytest.approx(together.mean, abs=1e-6)
    assert pooled.std == pytest.approx(together.std, abs=1e-6)
    assert pooled[Lab].mean == pytest.approx(together[Lab].mean, abs=1e-3)
    assert pooled[Lab].std == pytest.approx(together[Lab].std, abs=1e-3)
    assert np.abs(pooled[Quantiles].values - together[Quantiles].values).mean() < 0.3
    assert np.abs(pooled[Quantiles].values - together[Quantiles].values)[:, 5:-5].max() <= 1.5
    assert "2 more" in pooled.name


def test_pool_of_one_and_of_none(write):
    style = look_of(write(another_look("uint8")))
    assert pool([style]) is style
    with pytest.raises(StyleError, match="no style"):
        pool([])


def test_pool_carries_to_the_first_range(write):
    eight = another_look("uint8")
    eleven = np.rint(eight * (2047 / 255)).astype(np.uint16)
    eleven[:, 0, :9] = 2047
    pooled = pool([look_of(write(eight)), look_of(write(eleven))])
    assert pooled.dtype == "uint8" and pooled.working_range == (0, 255)
    assert pooled.mean == pytest.approx(eight.mean(axis=(1, 2)), abs=0.5)


def test_pool_of_one_type_keeps_its_digital_numbers(tmp_path, make_raster):
    """11 and 12 bits of one type: the numbers mean the same, in values and in L*a*b*."""
    dim = synthesize(3, (157, 100), "uint16", 1)
    bright = (synthesize(3, (157, 111), "uint16", 4) * 1.6).astype(np.uint16)
    dim[:, 0, :9] = 2047  # so that together they fill what the first one fills
    bright = np.minimum(bright, 2500)
    for order in ((dim, bright), (bright, dim)):
        paths = [make_raster(tmp_path / f"{n}.tif", image=image, dtype="uint16")
                 for n, image in enumerate(order)]  # fmt: skip
        image = np.concatenate(order, axis=2)
        pooled = resolve_style(paths)
        assert pooled.mean == pytest.approx(image.mean(axis=(1, 2)))
        assert pooled.std == pytest.approx(image.std(axis=(1, 2)))
        in_range = lab_by_the_book(np.clip(image / pooled.working_range[1], 0, 1))
        assert pooled[Lab].mean == pytest.approx(in_range.mean(axis=(1, 2)), abs=0.2)
        assert pooled[Lab].std == pytest.approx(in_range.std(axis=(1, 2)), abs=0.2)


def test_band_counts_must_agree(write):
    three, four = synthesize(3, SIZE, "uint8", 1), synthesize(4, SIZE, "uint8", 1)
    style = look_of(write(three))
    for method in PIXEL_METHODS:
        with pytest.raises(BandError, match=r"has 3 bands, the source has 4.*--bidx"):
            harmonized(write(four), four, method, style)
    with pytest.raises(StyleError, match=r"has 4 bands, .* has 3"):
        pool([style, look_of(write(four))])


def test_methods_that_need_a_style_say_so(write):
    image = synthesize(3, SIZE, "uint8", 1)
    for method in PIXEL_METHODS:
        if METHODS[method].needs_style:
            with pytest.raises(StyleError, match="--style"):
                harmonized(write(image), image, method, None)
        else:
            assert harmonized(write(image), image, method, None).dtype == np.uint8


def test_undeclared_nodata_is_hinted_at(write, listener):
    image = synthesize(3, SIZE, "uint8", 1)
    image[:, :8] = 0
    measure_source(write(image), progress=listener)
    assert len(listener.warnings) == 1 and "--nodata 0" in listener.warnings[0]
    for quiet in (
        write(synthesize(3, SIZE, "uint8", 1)),
        write(image, nodata=0, valid=image[0] > 0),
        write(synthesize(3, SIZE, "int32", 1) + 100_000),
        write((synthesize(3, SIZE, "float32", 1) - 40).astype(np.float32)),
    ):
        assert isinstance(measure_source(quiet, progress=listener), SourceStatistics)
    assert len(listener.warnings) == 1
