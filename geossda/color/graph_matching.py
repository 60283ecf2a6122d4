"""Color maps by graph matching: clusters of one cloud of colors matched to those of another.

After Tuia et al. 2013 ("Graph matching for adaptation in remote sensing", IEEE Transactions on
Geoscience and Remote Sensing 51(1)): both clouds are quantized to clusters, the clusters of each
are the nodes of a graph whose edges are their distances, and the permutation of nodes is sought
under which the graphs agree best. Each cluster then moves to its match, and colors between them
move smoothly.

Here the permutation minimizes the squared differences of edges, of positions and of masses::

    sum_ij (A[i, j] - B[p(i), p(j)])² + k sum_i (POSITION |x_i - y_p(i)|² + MASS (m_i - n_p(i))²)

with k clusters of standardized colors x and y, their distances A and B, and the masses m and n in
units of 1/k. Squared differences of positions are, but for a constant, products of coordinates:
edges to nodes that are matched beforehand, one per band and one for the mass. So the whole is one
quadratic assignment problem, which the Frank-Wolfe relaxation of Vogelstein et al. 2015 solves
approximately.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.optimize
from numpy.typing import NDArray
from scipy.cluster.vq import vq
from scipy.spatial.distance import cdist

Floats = NDArray[np.float64]

CLUSTERS = 64
ITERATIONS = 30
# Weights of positions and masses against edges. Measured: docs/decisions/0017.
POSITION, MASS = 2.0, 1.0
# Frank-Wolfe steps, and the change of the relaxed permutation below which they end.
STEPS, TOLERANCE = 60, 0.01
# Of the kernel that mixes the clusters' shifts, in median distances to the nearest other cluster.
BANDWIDTH = 1.5
# Standard deviation that bands are taken to have at least: a quarter digital number of 8 bit.
FLAT = 1 / 1024
# Knots per band of the table that stands for the map, by the number of bands.
KNOTS = {1: 1025, 2: 129, 3: 33}
# Colors computed at a time where there is no table.
AT_ONCE = 16384


@dataclass(frozen=True)
class Clusters:
    """Clusters of colors.

    Attributes
    ----------
    centers : (bands, clusters) array
    masses : (clusters,) array
        Fraction of the pixels, positive, with sum 1.
    """

    centers: Floats
    masses: Floats

    def moments(self) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the centers by mass, (bands,) each."""
        mean = self.centers @ self.masses
        return mean, np.sqrt(((self.centers - mean[:, None]) ** 2) @ self.masses)


@dataclass(frozen=True)
class Displacement:
    """A smooth shift of colors: the mean of the clusters' shifts, by nearness.

    Attributes
    ----------
    centers, shifts : (bands, clusters) arrays
        Clusters and what is added to them.
    scale : (bands,) array
        What bands are divided by before distances are taken.
    bandwidth : float
        Standard deviation of the Gaussian kernel, in units of `scale`.
    """

    centers: Floats
    shifts: Floats
    scale: Floats
    bandwidth: float

    def __call__(self, colors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the shifts of (bands, n) colors.

        A color's shift is the same in whatever array it is.
        """
        factor = (1 / (np.sqrt(2) * self.bandwidth * self.scale)).astype(np.float32)[:, None]
        centers = self.centers.astype(np.float32) * factor
        shifts = np.zeros_like(colors)
        for start in range(0, colors.shape[1], AT_ONCE):
            part = slice(start, start + AT_ONCE)
            scaled = colors[:, part] * factor
            # One sum after the other, not by matrix products, whose rounding depends on the shape.
            distances = np.zeros((centers.shape[1], scaled.shape[1]), np.float32)
            for own, of_band in zip(scaled, centers, strict=True):
                distances += (own - of_band[:, None]) ** 2
            distances -= distances.min(0)
            weights = np.exp(-distances)
            total = np.zeros(scaled.shape[1], np.float32)
            moved = shifts[:, part]
            for weight, shift in zip(weights, self.shifts.T.astype(np.float32), strict=True):
                total += weight
                moved += weight * shift[:, None]
            moved /= total
        return shifts


class GraphMap:
    """A map of colors by a displacement; of up to three bands by a table of it.

    Parameters
    ----------
    displacement : Displacement
    """

    def __init__(self, displacement: Displacement) -> None:
        self.displacement = displacement
        bands = len(displacement.centers)
        self._table: NDArray[np.float32] | None = None
        if bands not in KNOTS:
            return
        margin = 3 * displacement.bandwidth * displacement.scale
        low = displacement.centers.min(1) - margin
        high = displacement.centers.max(1) + margin
        self._ends = np.stack([low, high]).astype(np.float32)[:, :, None]
        low, high = self._ends[:, :, 0]
        axes = np.linspace(low, high, KNOTS[bands], axis=1).astype(np.float32)
        grid = np.stack(np.meshgrid(*axes, indexing="ij"))
        self._table = displacement(grid.reshape(bands, -1)).reshape(grid.shape)

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map a (bands, height, width) image pixel by pixel; not finite ones are undefined."""
        flat = image.reshape(len(image), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            return (flat + self._shift(flat)).reshape(image.shape)

    def _shift(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the shifts of (bands, n) colors, from the table where there is one."""
        if self._table is None:
            return self.displacement(flat)
        low, high = self._ends
        position = (np.clip(flat, low, high) - low) / (high - low) * (len(self._table[0]) - 1)
        # NaN would be read outside the table.
        np.nan_to_num(position, copy=False, nan=0.0)
        return np.stack(
            [
                scipy.ndimage.map_coordinates(
                    band, position, np.float32, order=1, mode="nearest", prefilter=False
                )
                for band in self._table
            ]
        )


def cluster_colors(colors: Floats, masses: Floats | None = None, count: int = CLUSTERS) -> Clusters:
    """Return colors clustered by k-means (Lloyd 1982), the same for the same colors.

    Bands are scaled to equal standard deviations first. Clusters begin at colors drawn with odds by
    their squared distance to those before (Arthur and Vassilvitskii 2007), with a fixed seed; there
    are fewer where there are fewer distinct colors.

    Parameters
    ----------
    colors : (bands, n) array
        In digital numbers or in 0..1.
    masses : (n,) array, optional
        Positive; equal if not given.
    count : int
        At most so many clusters.
    """
    points, member = np.unique(colors.T, axis=0, return_inverse=True)
    # From the lowest value on, so that whole numbers have the same clusters wherever they lie.
    low = points.min(0)
    points = points - low
    counts = np.bincount(member.ravel(), masses)
    weights = np.asarray(counts / counts.sum(), np.float64)
    spread = Clusters(points.T, weights).moments()[1]
    scale = np.where(spread > 0, spread, 1)
    scaled = points / scale
    centers = scaled[_begin(scaled, weights, count)]
    for _ in range(ITERATIONS):
        moved, mass = _moved(scaled, weights, centers)
        if moved.shape == centers.shape and np.array_equal(moved, centers):
            break
        centers = moved
    return Clusters((centers * scale + low).T, mass)


def match(source: Clusters, target: Clusters) -> NDArray[np.intp]:
    """Return the target's cluster that each of the source's is matched with, (clusters,).

    Parameters
    ----------
    source, target : Clusters
        Of equal numbers of bands and clusters.
    """
    count = len(source.masses)
    one, other = (_standardized(clusters) for clusters in (source, target))
    bands = one.shape[1] - 1
    cost = cdist(one[:, :-1], other[:, :-1], "sqeuclidean") * POSITION
    cost += MASS * (one[:, -1:] - other[:, -1:].T) ** 2
    first = scipy.optimize.linear_sum_assignment(cost)[1]
    if count < 3:
        return np.asarray(first)
    weights = np.sqrt(count / 2 * np.array([POSITION] * bands + [MASS]))
    fixed = np.repeat(np.arange(bands + 1)[:, None], 2, axis=1)
    begin = np.zeros((count, count))
    begin[np.arange(count), first] = 1
    solution = scipy.optimize.quadratic_assignment(
        _graph(one, weights),
        _graph(other, weights),
        options={
            "maximize": True,
            "partial_match": fixed,
            # Doubly stochastic, between the linear assignment and no knowledge at all.
            "P0": (begin + 1 / count) / 2,
            "maxiter": STEPS,
            "tol": TOLERANCE,
            # Draws nothing here, but must not be NumPy's global one, which SciPy warns of.
            "rng": np.random.default_rng(0),
        },
    )
    return np.asarray(solution.col_ind[bands + 1 :] - (bands + 1))


def fit_displacement(source: Clusters, target: Clusters) -> Displacement:
    """Return the displacement that brings a source's clusters to their matches.

    Where one has fewer clusters, those of the other are merged to as many.

    Parameters
    ----------
    source, target : Clusters
        Of equal numbers of bands.
    """
    count = min(len(source.masses), len(target.masses))
    if len(source.masses) != len(target.masses):
        source, target = (
            cluster_colors(clusters.centers, clusters.masses, count)
            for clusters in (source, target)
        )
        return fit_displacement(source, target)  # merging may leave fewer
    scale = _scale(source)
    centers = (source.centers / scale[:, None]).T
    bandwidth = 1.0
    if count > 1:
        apart = cdist(centers, centers)
        np.fill_diagonal(apart, np.inf)
        bandwidth = BANDWIDTH * float(np.median(apart.min(1)))
    shifts = target.centers[:, match(source, target)] - source.centers
    return Displacement(source.centers, shifts, scale, bandwidth)


def _moved(points: Floats, weights: Floats, centers: Floats) -> tuple[Floats, Floats]:
    """Return the means of the points nearest to each center, and their masses; empty ones go."""
    nearest = vq(points, centers)[0]
    each = [np.bincount(nearest, weights * x, len(centers)) for x in (1, *points.T)]
    mass, *sums = np.asarray(each, np.float64)
    kept = mass > 0
    return (np.stack(sums)[:, kept] / mass[kept]).T, mass[kept]


def _begin(points: Floats, weights: Floats, count: int) -> NDArray[np.intp]:
    """Return indexes of the points that clusters begin at."""
    if len(points) <= count:
        return np.arange(len(points))
    rng = np.random.default_rng(0)
    chosen = [int(np.argmax(((points - weights @ points) ** 2).sum(1) * weights))]
    nearest = np.full(len(points), np.inf)
    for _ in range(count - 1):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
        shares = np.cumsum(nearest * weights)
        if not shares[-1] > 0:  # colors so near to each other that their distances are 0
            break
        # A number drawn up to the last share may be rounded to it.
        place = np.searchsorted(shares, rng.uniform(0, shares[-1]), "right")
        chosen.append(min(int(place), len(points) - 1))
    return np.array(chosen)


def _scale(clusters: Clusters) -> Floats:
    """Return the standard deviation of each band, at least `FLAT`."""
    return np.maximum(clusters.moments()[1], FLAT)


def _standardized(clusters: Clusters) -> Floats:
    """Return standardized centers, and masses in units of their mean, (clusters, bands + 1)."""
    mean, _ = clusters.moments()
    scaled = (clusters.centers - mean[:, None]) / _scale(clusters)[:, None]
    return np.vstack([scaled, clusters.masses * len(clusters.masses)]).T


def _graph(nodes: Floats, weights: Floats) -> Floats:
    """Return the edges between nodes, and from those matched beforehand, which come first."""
    extra = nodes.shape[1]
    graph = np.zeros((extra + len(nodes),) * 2)
    graph[extra:, extra:] = cdist(nodes[:, :-1], nodes[:, :-1])
    graph[:extra, extra:] = (nodes * weights).T
    graph[extra:, :extra] = graph[:extra, extra:].T
    return graph
