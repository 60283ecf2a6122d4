"""Graph matching of color clusters, against values worked by hand."""

import itertools

import numpy as np
import pytest

from geossda.color.graph_matching import (
    CLUSTERS,
    KNOTS,
    MASS,
    POSITION,
    Clusters,
    Displacement,
    GraphMap,
    cluster_colors,
    fit_displacement,
    match,
)


def cloud(bands=3, count=3000, seed=0, middle=0.4, spread=0.1):
    return np.random.default_rng(seed).normal(middle, spread, (bands, count))


def applied(color_map, colors):
    return color_map(colors[:, None].astype(np.float32))[:, 0]


def test_clusters_of_two_heaps_by_hand():
    colors = np.array([[0.1, 0.1, 0.3, 0.9], [0.2, 0.2, 0.2, 0.8]])
    clusters = cluster_colors(colors, count=2)
    order = np.argsort(clusters.centers[0])
    # The first three: (0.1 + 0.1 + 0.3) / 3; (0.2, 0.8) is the other.
    assert clusters.centers[:, order] == pytest.approx(np.array([[0.5 / 3, 0.9], [0.2, 0.8]]))
    assert clusters.masses[order] == pytest.approx([0.75, 0.25])
    mean, std = clusters.moments()
    assert mean == pytest.approx([0.35, 0.35])
    assert std == pytest.approx([np.sqrt(0.75 * 0.25) * (0.9 - 0.5 / 3), np.sqrt(0.1875) * 0.6])


def test_fewer_distinct_colors_than_clusters():
    colors = np.repeat(np.eye(3), 5, axis=1)
    clusters = cluster_colors(colors)
    assert clusters.centers.shape == (3, 3) and clusters.masses == pytest.approx([1 / 3] * 3)
    one = cluster_colors(np.full((4, 50), 0.25))
    assert np.array_equal(one.centers, np.full((4, 1), 0.25)) and one.masses == pytest.approx(1)


@pytest.mark.parametrize("unit", [1e-320, 1e-170, 1e300])
def test_colors_whose_distances_are_no_numbers_make_clusters(unit):
    """Squares of the smallest differences are 0, and those of the largest infinite."""
    colors = np.random.default_rng(0).integers(1, 1000, (3, 500)) * unit
    with np.errstate(all="ignore"):
        clusters = cluster_colors(colors)
    assert 1 <= len(clusters.masses) <= CLUSTERS
    assert clusters.masses.sum() == pytest.approx(1)


def test_clusters_are_the_same_whatever_the_order_of_the_colors():
    colors = cloud()
    one, other = cluster_colors(colors), cluster_colors(colors[:, ::-1])
    assert len(one.masses) == CLUSTERS and one.masses.sum() == pytest.approx(1)
    assert np.allclose(one.centers, other.centers) and np.allclose(one.masses, other.masses)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_known_permutation_is_found(count):
    """The target's clusters are the source's, brighter, with less contrast and in another order."""
    rng = np.random.default_rng(count)
    centers = rng.uniform(0.1, 0.9, (3, count))
    masses = rng.uniform(0.5, 1.5, count)
    masses /= masses.sum()
    order = rng.permutation(count)
    target = Clusters(0.6 * centers[:, order] + 0.3, masses[order])
    found = match(Clusters(centers, masses), target)
    assert np.array_equal(order[found], np.arange(count))


def misfit(source, target, permutation):
    """What the module says is minimized, by its formula."""
    one, other = (
        (c.centers - c.moments()[0][:, None]) / c.moments()[1][:, None] for c in (source, target)
    )
    count, other = len(permutation), other[:, permutation]
    edges = [np.linalg.norm(x[:, :, None] - x[:, None], axis=0) for x in (one, other)]
    masses = (source.masses - target.masses[permutation]) * count
    nodes = POSITION * ((one - other) ** 2).sum() + MASS * (masses**2).sum()
    return ((edges[0] - edges[1]) ** 2).sum() + count * nodes


@pytest.mark.parametrize("seed", range(4))
def test_the_matching_is_the_best_of_all_permutations(seed):
    rng = np.random.default_rng(seed)
    source, target = (
        Clusters(rng.uniform(0.1, 0.9, (3, 5)), (m := rng.uniform(0.5, 1.5, 5)) / m.sum())
        for _ in range(2)
    )
    every = [misfit(source, target, list(p)) for p in itertools.permutations(range(5))]
    assert misfit(source, target, match(source, target)) == pytest.approx(min(every))


def test_mass_tells_clusters_of_one_color_apart():
    """Two colors at the same distance of either match: the larger goes to the larger."""
    source = Clusters(np.array([[0.4, 0.6, 0.5], [0.5, 0.5, 0.5]]), np.array([0.2, 0.6, 0.2]))
    target = Clusters(np.array([[0.5, 0.5, 0.5], [0.4, 0.6, 0.5]]), np.array([0.2, 0.6, 0.2]))
    assert match(source, target)[1] == 1


@pytest.mark.parametrize("bands", [1, 3, 4, 8])
def test_a_shift_is_recovered_exactly(bands):
    source = cloud(bands)
    shift = np.linspace(-0.1, 0.15, bands)[:, None]
    displacement = fit_displacement(cluster_colors(source), cluster_colors(source + shift))
    assert np.allclose(displacement.shifts, shift)
    assert np.allclose(applied(GraphMap(displacement), source), source + shift, atol=1e-6)


def test_the_displacement_between_two_clusters_by_hand():
    """In the middle both weigh the same; a quarter of the way the weights are 1 and exp(-1)."""
    two = Displacement(np.array([[0.0, 2.0]]), np.array([[0.1, 0.3]]), np.ones(1), 1.0)
    shifts = two(np.array([[1.0, 0.5, -50.0, 50.0]], np.float32))[0]
    # Squared distances from 0.5 are 0.25 and 2.25, halved 0.125 and 1.125.
    near = (0.1 + 0.3 * np.exp(-1)) / (1 + np.exp(-1))
    assert shifts == pytest.approx([0.2, near, 0.1, 0.3], abs=1e-6)


@pytest.mark.parametrize("bands", [1, 2, 3])
def test_the_table_is_near_the_displacement(bands):
    assert bands in KNOTS
    source = cloud(bands)
    displacement = fit_displacement(
        cluster_colors(source), cluster_colors(0.8 * np.sqrt(np.abs(cloud(bands, seed=1))))
    )
    exact = source + displacement(source.astype(np.float32))
    assert np.abs(applied(GraphMap(displacement), source) - exact).max() < 1 / 255


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_a_color_is_mapped_the_same_in_whatever_window_it_is(bands):
    image = cloud(bands, 4000).reshape(bands, 40, 100).astype(np.float32)
    color_map = GraphMap(
        fit_displacement(cluster_colors(cloud(bands)), cluster_colors(cloud(bands, seed=1)))
    )
    whole = color_map(image)
    assert np.array_equal(whole[:, 7:19, 31:64], color_map(image[:, 7:19, 31:64]))
    assert np.array_equal(whole[:, 5:6, 9:10], color_map(image[:, 5:6, 9:10]))


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_one_color_and_few_colors_give_numbers(bands):
    flat, few = np.full((bands, 400), 0.3), cloud(bands, 5)
    many = cloud(bands)
    for source, target in ((flat, many), (many, flat), (flat, flat), (few, many), (many, few)):
        mapped = applied(
            GraphMap(fit_displacement(cluster_colors(source), cluster_colors(target))), source
        )
        assert np.isfinite(mapped).all()
        assert np.allclose(mapped.mean(1), target.mean(1), atol=0.05)


def test_what_is_not_finite_harms_nothing_else():
    color_map = GraphMap(fit_displacement(cluster_colors(cloud()), cluster_colors(cloud(seed=1))))
    image = cloud(count=12).reshape(3, 3, 4).astype(np.float32)
    broken = image.copy()
    broken[0, 0, 0], broken[1, 1, 1], broken[2, 2, 2] = np.nan, np.inf, np.float32(-3e38)
    kept = np.ones((3, 4), bool)
    kept[[0, 1, 2], [0, 1, 2]] = False
    assert np.array_equal(color_map(broken)[:, kept], color_map(image)[:, kept])


def test_a_seed_of_numpys_global_generator_is_no_matter():
    np.random.seed(1)  # as training does, and SciPy warns of
    source = cluster_colors(cloud())
    assert fit_displacement(source, source).shifts == pytest.approx(0)
