"""The smooth local colour transform, and measures of likeness, against values known beforehand."""

import cv2
import numpy as np
import pytest
from conftest import synthesize

from geossda.color.guided_filter import apply_affine, fit_affine, reduce
from geossda.color.similarity import color_distance, gradient_correlation, psnr, ssim
from geossda.harmonization.ssda import ContrastLimit


def image(bands=3, size=(96, 128), seed=0):
    return (synthesize(bands, size, "uint8", seed) / 255).astype(np.float32)


def everywhere(size=(96, 128)):
    return np.ones(size, bool)


def test_reduce_averages_valid_pixels_only():
    pixels = np.arange(32, dtype=np.float32).reshape(1, 4, 8)
    valid = np.ones((4, 8), bool)
    valid[:, :2] = False
    valid[:, 4:] = False
    small, known = reduce(pixels, valid, 4)
    assert small[0, 0, 0] == pixels[0, :, 2:4].mean()
    assert known.tolist() == [[True, False]] and small[0, 0, 1] == 0


def test_an_affine_target_is_found_exactly():
    guide = image()
    matrix = np.array([[0.5, 0.2, -0.1], [0, 1.3, 0], [0.1, 0.1, 0.6]], np.float32)
    target = np.einsum("tg,ghw->thw", matrix, guide) + np.float32(0.05)
    fitted = fit_affine(guide, target, everywhere(), 6, 1e-9)
    assert np.abs(apply_affine(guide, fitted, 1) - target).max() < 2e-3


def test_coefficients_of_quarter_resolution_do_the_full_one():
    guide = image()
    target = guide * np.float32(0.6) + np.float32(0.1)
    small, known = reduce(guide, everywhere(), 4)
    small_target, _ = reduce(target, everywhere(), 4)
    fitted = fit_affine(small, small_target, known, 4, 1e-7)
    assert np.abs(apply_affine(guide, fitted, 4) - target).max() < 5e-3


def test_nothing_is_drawn_where_the_image_is_flat():
    """A generator that draws stripes on a flat roof: the transform can only change its colour."""
    guide = image()
    guide[:, 20:80, 30:100] = 0.5
    target = guide.copy()
    target[:, 20:80, 30:100:2] = 0.9
    made = apply_affine(guide, fit_affine(guide, target, everywhere(), 4, 1e-5), 1)
    roof = made[:, 36:64, 46:84]
    assert np.abs(np.diff(target[:, 36:64, 46:84], axis=2)).mean() > 0.3
    assert np.abs(np.diff(roof, axis=2)).mean() < 0.01


def test_what_is_not_valid_has_no_part_in_the_fit():
    guide = image()
    valid = everywhere()
    valid[:, 60:] = False
    target = guide * np.float32(0.5)
    wild = np.where(valid, target, np.float32(50))
    first = fit_affine(guide, np.where(valid, target, 0).astype(np.float32), valid, 4, 1e-7)
    second = fit_affine(guide, wild, valid, 4, 1e-7)
    assert np.allclose(first[:, :, :, :60], second[:, :, :, :60], atol=1e-4)


def test_color_distance_is_the_mean_shift():
    first = np.zeros((2, 1, 4, 4), np.uint8)
    second = first.copy()
    second[0] = 10  # half the pixels move by 10
    assert color_distance(first, second) == pytest.approx(5)
    two = np.concatenate([first, first], 1)
    shifted = np.concatenate([first, second], 1)
    assert color_distance(two, shifted) == pytest.approx(2.5)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1, 3, 30, 30)).astype(np.uint8)
    other = rng.integers(0, 100, (1, 3, 30, 30)).astype(np.uint8)
    by_sorting = np.abs(
        np.sort(pixels.reshape(3, -1).astype(int)) - np.sort(other.reshape(3, -1))
    ).mean()
    assert color_distance(pixels, other) == pytest.approx(by_sorting)


def test_gradient_correlation():
    pixels = (image() * 100).astype(np.uint8)[None]
    assert gradient_correlation(pixels, pixels * 2 + 20) == pytest.approx(1)
    assert gradient_correlation(pixels, 255 - pixels) == pytest.approx(-1)
    noise = np.random.default_rng(0).integers(0, 255, pixels.shape).astype(np.uint8)
    assert abs(gradient_correlation(pixels, noise)) < 0.05
    assert np.isnan(gradient_correlation(pixels, np.full_like(pixels, 7)))


def test_psnr_and_ssim():
    pixels = (image() * 255).astype(np.uint8)[None]
    assert psnr(pixels, pixels) == 99 and ssim(pixels, pixels) == pytest.approx(1)
    brighter = np.clip(pixels.astype(int) + 10, 0, 255).astype(np.uint8)
    error = np.mean((brighter.astype(float) - pixels) ** 2)
    assert psnr(pixels, brighter) == pytest.approx(10 * np.log10(255**2 / error))
    assert 0.5 < ssim(pixels, brighter) < 1


def test_headroom_keeps_the_mean_and_the_ends():
    samples = np.random.default_rng(0).normal(0.5, [[0.1], [0.4]], (2, 50_000)).astype(np.float32)
    headroom = ContrastLimit.of(samples)
    assert headroom.contrast[0] == 1 and 0.5 <= headroom.contrast[1] < 1
    kept = headroom(samples[:, :, None])[:, :, 0]
    assert np.allclose(kept[0], samples[0], atol=1e-6)
    assert kept[1].mean() == pytest.approx(samples[1].mean(), abs=1e-3)
    for cut in ((kept[1] < 0).mean(), (kept[1] > 1).mean()):
        assert cut == pytest.approx(0.03, abs=0.003)
    # With room enough nothing is changed.
    assert (ContrastLimit.of(samples, -9, 9).contrast == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_part_is_made_as_in_the_whole(dtype):
    """Wherever it begins, between cells or blocks of rows, and in the image's own type."""
    pixels = synthesize(3, (320, 160), "uint16", 3)
    pixels = (pixels / pixels.max() * 250).astype(dtype)
    fitted = np.random.default_rng(1).normal(0, 0.5, (3, 4, 80, 40)).astype(np.float32)
    fitted[:, 3] += 100
    whole = apply_affine(pixels, fitted, 4)
    assert whole.dtype == pixels.dtype and whole.shape == pixels.shape
    for inner in ((slice(0, 320), slice(0, 160)), (slice(127, 262), slice(3, 158))):
        assert np.array_equal(apply_affine(pixels, fitted, 4, inner), whole[:, *inner])
    if dtype == "uint8":
        assert whole.min() == 0 and whole.max() == 255  # cut, not wrapped around
    full = np.stack(
        [[cv2.resize(cell, (160, 320), interpolation=cv2.INTER_LINEAR) for cell in row]
         for row in fitted]
    )  # fmt: skip
    exact = np.einsum("tghw,ghw->thw", full[:, :3], pixels.astype(np.float64)) + full[:, 3]
    limits = None if dtype == "float32" else np.iinfo(dtype)
    if limits is not None:
        exact = np.clip(exact, limits.min, limits.max)
    assert np.abs(whole - exact).max() <= (1e-3 if limits is None else 0.501)


def test_reduce_takes_digital_numbers():
    pixels = synthesize(2, (64, 96), "uint16", 5)
    valid = np.random.default_rng(0).random((64, 96)) > 0.3
    small, known = reduce(pixels, valid, 8)
    cells = (8, 8, 12, 8)
    count = valid.reshape(cells).sum((1, 3))
    total = (pixels.astype(np.float64) * valid).reshape(2, *cells).sum((2, 4))
    assert known.all() and np.allclose(small, total / count, rtol=1e-6)
