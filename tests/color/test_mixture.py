"""Color maps between like land, against known maps."""

import numpy as np
import pytest

from geossda.color.mixture import (
    SAMPLES_PER_BAND,
    fit_color_map,
    fit_mixture,
    match_land,
    transport,
)

LAND = {"roof": (0.7, 0.45, 0.35), "grass": (0.25, 0.45, 0.2), "soil": (0.5, 0.42, 0.33)}


def town(shares, count=6000, seed=0):
    """Colors of a place made of roofs, grass and soil in these shares, (3, n)."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(mean, (0.06, 0.05, 0.04), (round(count * share), 3))
        for mean, share in zip(LAND.values(), shares, strict=True)
    ]
    return np.concatenate(parts).T


def linear(source, reference):
    scale = reference.std(1) / source.std(1)
    return lambda colors: (
        (colors - source.mean(1)[:, None]) * scale[:, None] + reference.mean(1)[:, None]
    )


def rms(one, other):
    return float(np.sqrt(np.mean((one - other) ** 2)))


def applied(color_map, colors):
    return color_map(colors[:, None].astype(np.float32))[:, 0]


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x,
        lambda x: 0.8 * x + 0.1,
        lambda x: np.array([[1.1], [0.9], [0.8]]) * x,
        lambda x: np.clip(x, 0, 1) ** 1.3,
        lambda x: 0.7 * x + 0.3 * x.mean(0) + 0.05,
    ],
    ids=["none", "haze", "cast", "gamma", "desaturated"],
)
def test_unlike_land_does_not_shift_the_colors(look):
    """The reference has other shares of the same land, under a look that is known."""
    source, reference = town((0.4, 0.35, 0.25)), look(town((0.25, 0.5, 0.25), seed=1))
    truth = look(source)
    own = rms(applied(fit_color_map(source, reference), source), truth)
    assert own < 0.8 * rms(linear(source, reference)(source), truth)


def test_like_land_is_mapped_as_far_as_the_look_goes():
    source = town((0.4, 0.3, 0.3))
    reference = 0.8 * town((0.4, 0.3, 0.3), seed=1) + 0.1
    assert rms(applied(fit_color_map(source, reference), source), 0.8 * source + 0.1) < 0.01


def test_the_map_is_the_same_whatever_window_a_pixel_is_in():
    color_map = fit_color_map(town((0.6, 0.2, 0.2)), 0.7 * town((0.2, 0.6, 0.2), seed=1))
    image = town((0.3, 0.3, 0.4), 4000, seed=2).reshape(3, 40, 100).astype(np.float32)
    whole = color_map(image)
    assert np.array_equal(whole[:, 7:19, 31:64], color_map(image[:, 7:19, 31:64]))


@pytest.mark.parametrize("bands", [1, 2, 50])
def test_any_number_of_bands_and_few_samples(bands):
    rng = np.random.default_rng(0)
    source = rng.normal(0.4, 0.1, (bands, 300))
    color_map = fit_color_map(source, 0.5 * source + 0.2)
    assert rms(applied(color_map, source), 0.5 * source + 0.2) < 0.02


@pytest.mark.parametrize("spread", [0.0, 1e-6])
def test_a_reference_of_one_color_gives_numbers(spread):
    rng = np.random.default_rng(0)
    flat = 0.3 + spread * rng.normal(size=(3, 500))
    for source, reference in ((town((1, 0, 0)), flat), (flat, town((1, 0, 0))), (flat, flat)):
        mapped = applied(fit_color_map(source, reference), source)
        assert np.isfinite(mapped).all()
        assert np.allclose(mapped.mean(1), reference.mean(1), atol=0.02)


def test_mixture_recovers_known_components():
    rng = np.random.default_rng(0)
    samples = np.concatenate([rng.normal(0.2, 0.03, 3000), rng.normal(0.7, 0.05, 1000)])[None]
    mixture = fit_mixture(samples, 2)
    assert np.allclose(mixture.proportions, (0.75, 0.25), atol=0.02)
    assert np.allclose(mixture.means[:, 0], (0.2, 0.7), atol=0.01)
    assert np.allclose(np.sqrt(mixture.covariances[:, 0, 0]), (0.03, 0.05), atol=0.01)
    assert len(fit_mixture(np.ones((3, 2 * SAMPLES_PER_BAND * 3))).means) == 2


def test_an_image_in_its_own_style_stays():
    source = town((0.4, 0.35, 0.25))
    matched = match_land(source, source)
    assert np.allclose(matched.matrix, np.eye(3), atol=1e-3)
    assert np.allclose(matched.offset, 0, atol=1e-3)
    assert np.allclose(matched.weights, 1 / source.shape[1], rtol=1e-2)


def test_transport_of_gaussians_by_hand():
    matrix, offset = transport(
        np.array([0.2, 0.4]), np.diag([0.01, 0.04]), np.array([0.5, 0.5]), np.diag([0.04, 0.01])
    )
    assert np.allclose(matrix, np.diag([2, 0.5]), atol=0.02)
    assert np.allclose(matrix @ [0.2, 0.4] + offset, 0.5)


def test_the_matched_gaussian_is_that_of_the_mapped_source():
    """What a style model takes for the reference's Gaussian, against the mapped colors' own."""
    source, reference = town((0.4, 0.35, 0.25)), 0.8 * town((0.2, 0.55, 0.25), seed=1) + 0.1
    matched = match_land(source, reference)
    mean, covariance = matched.gaussian(source.mean(1), np.cov(source, bias=True))
    mapped = matched.matrix @ source + matched.offset[:, None]
    assert np.allclose(mean, mapped.mean(1)) and np.allclose(covariance, np.cov(mapped, bias=True))
    # Nearer to the source's own land in the reference's light than the reference as it is.
    truth = 0.8 * source + 0.1
    assert rms(mean, truth.mean(1)) < 0.8 * rms(reference.mean(1), truth.mean(1))
