"""Search for straight seams between scenes of different radiometry, without any hint.

The ground changes from place to place, but seldom in the same way along a line of thousands of
pixels: where the tones on both sides of a long straight line differ in the same way all along, two
scenes may meet. Steps are compared along all lines, as in a Radon transform, by their spatial signs
(Möttönen and Oja 1995): every block of a line has one vote, however much its ground changes. At a
road or a shore the tones change back farther out; at a seam the step persists as far as the scenes
reach.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.parallel.ordered_map import ordered_map

# Quantiles whose values pixels are counted below: from shadows, which every scene has and which
# show its haze, to highlights.
_QUANTILES = (0.02, 0.06, 0.15, 0.35, 0.65, 0.9, 0.97)
# Most pixels that these values are computed from.
_QUANTILE_SAMPLE_PX = 2**18


class Stripe(NamedTuple):
    """Cells on either side of a line that are compared: `width` of them, `gap` away from it."""

    gap: int
    width: int


# Stripes that are compared to find hard and feathered seams, and those farther out where a step
# must persist; in cells.
_STRIPES = (Stripe(0, 2), Stripe(1, 2), Stripe(2, 4))
_OUTER_STRIPES = (Stripe(4, 4), Stripe(8, 6))
# Cells beyond the edges of a part that stripes may reach to.
_PAD_CELLS = max(stripe.gap + stripe.width for stripe in (*_STRIPES, *_OUTER_STRIPES))
# Cells along a line that share one vote, and fewest votes of a line.
_BLOCK_CELLS, _MIN_VOTES = 2, 6
# Narrowest scene and shortest seam, in cells.
MIN_SCENE_CELLS, MIN_SEAM_CELLS = 4, 12
# Candidates returned in each direction (steep or flat).
_MAX_CANDIDATES = 16
# Steps that the covariance of ordinary ground is estimated from.
_COVARIANCE_SAMPLE = 2**14
# Share of a stripe's pixels that must be valid.
_MIN_VALID_SHARE = 0.5
# Greatest distance in cells, at their ends, of two neighbouring slopes that are tried.
_SLOPE_STEP_CELLS = 2


class Line(NamedTuple):
    """A straight line in cells: ``x = offset + slope * y``, or with x and y exchanged.

    Attributes
    ----------
    slope, offset : float
        Slope within -1 and 1.
    steep : bool
        Whether it runs down the columns (x is a function of y) rather than across.
    strength : float
        Number of deviations by which it exceeds the median of all lines.
    persistence : float
        Least share of its step that is still there farther out; 0 where that is unknown.
    votes : int
        Number of its blocks that are known.
    """

    slope: float
    offset: float
    steep: bool
    strength: float
    persistence: float
    votes: int


def count_tones(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], side: int
) -> NDArray[np.float32]:
    """Count the dark, medium and bright pixels of square cells.

    Parameters
    ----------
    pixels : (bands, height, width) array
    valid : (height, width) bool array
    side : int
        Side of a cell in pixels; what is left over at the lower and right edges is ignored.

    Returns
    -------
    (features + 1, height // side, width // side) float32 array
        For every band, the number of pixels not above each of its quantiles; last, the number of
        valid pixels.
    """
    rows, cols = (length // side for length in valid.shape)
    valid = valid[: rows * side, : cols * side]

    def per_cell(selected: NDArray[np.bool_]) -> NDArray[np.float32]:
        # Columns of a cell first, in bytes: summing both axes at once takes ten times as long.
        columns = selected.view(np.uint8).reshape(rows, side, cols * side).sum(1, dtype=np.uint8)
        return np.asarray(columns.reshape(rows, cols, side).sum(2, dtype=np.float32))

    counts = []
    for band in pixels:
        inner = band[: rows * side, : cols * side]
        known = inner[valid]
        if known.size == 0:
            continue
        sample = known[:: 1 + known.size // _QUANTILE_SAMPLE_PX]
        ends = np.unique(np.quantile(sample, _QUANTILES))
        counts += [per_cell((inner <= end) & valid) for end in ends]
    return np.stack([*counts, per_cell(valid)])


class SeamSearch:
    """Searches a mosaic, and parts of it, for the strongest seams.

    Parameters
    ----------
    counts : (features + 1, rows, cols) float32 array
        As :func:`count_tones` returns it.
    cell_px : int
        Number of pixels of a cell.
    fine : int
        Number of these cells along the side of one that stripes are measured in.
    """

    def __init__(self, counts: NDArray[np.float32], cell_px: int, fine: int = 1) -> None:
        self.counts = counts
        self.cell_px = cell_px
        self.fine = fine
        self._whitening: dict[tuple[bool, Stripe], NDArray[np.float64]] = {}
        self._ordinary: dict[tuple[bool, Stripe], tuple[float, float]] = {}

    def strongest(self, part: NDArray[np.bool_]) -> list[Line]:
        """Return the strongest lines of a part of the mosaic, the strongest first.

        Parameters
        ----------
        part : (rows, cols) bool array
            Cells of the part.
        """
        lines: list[Line] = []
        for steep in (True, False):
            cropped = self._crop(part, steep)
            if cropped is None:
                continue
            counts, corner = cropped
            steps = max(1, counts.shape[1] // (2 * _SLOPE_STEP_CELLS * self.fine))
            slopes = np.linspace(-1, 1, 2 * steps + 1)
            strength, best, sums = self._scan(counts, slopes, steep)
            spacing = MIN_SCENE_CELLS * self.fine
            for _ in range(_MAX_CANDIDATES):
                row, col = np.unravel_index(int(np.argmax(strength)), strength.shape)
                if strength[row, col] <= 0:
                    break
                stripe = _STRIPES[best[row, col]]
                offset = col - slopes[row] * counts.shape[1] / 2
                persistence, votes = self._persistence(sums[row], int(col), steep, stripe)
                line = Line(slopes[row], offset, steep, strength[row, col], persistence, votes)
                lines.append(_in_whole(line, corner))
                strength[:, max(0, col - spacing + 1) : col + spacing] = 0
        return sorted(lines, key=lambda line: -line.strength)

    def refined(self, part: NDArray[np.bool_], line: Line) -> Line | None:
        """Place a line of coarser cells to a fraction of these cells.

        Parameters
        ----------
        part : (rows, cols) bool array
            Cells of the part that the line was found in.
        line : Line
            In coarser cells.

        Returns
        -------
        Line or None
            None if no line near it has enough valid pixels.
        """
        cropped = self._crop(part, line.steep)
        if cropped is None:
            return None
        counts, (top, left) = cropped
        rows = counts.shape[1]
        turn = np.arange(-4, 5) * 2 / rows  # one cell at the ends
        slopes = np.clip(line.slope + turn, -1, 1)
        strength, best, sums = self._scan(counts, slopes, line.steep)
        middle = line.offset * self.fine + line.slope * (top + rows / 2) - left
        distance = np.abs(np.arange(strength.shape[1]) - middle)
        strength[:, distance > _SLOPE_STEP_CELLS * self.fine] = 0
        row, col = np.unravel_index(int(np.argmax(strength)), strength.shape)
        greatest = float(strength[row, col])
        if greatest <= 0:
            return None
        # Across a feathered seam the maximum is flat: its centre is wanted.
        excess = np.maximum(strength - 0.85 * greatest, 0)
        slope = float(excess.sum(1) @ slopes / excess.sum())
        middle = float(excess.sum(0) @ np.arange(excess.shape[1]) / excess.sum())
        stripe = _STRIPES[best[row, col]]
        persistence, _ = self._persistence(sums[row], int(col), line.steep, stripe)
        placed = line._replace(
            slope=slope,
            offset=middle - slope * rows / 2,
            persistence=min(persistence, line.persistence),
        )
        return _in_whole(placed, (top, left))

    def _crop(
        self, part: NDArray[np.bool_], steep: bool
    ) -> tuple[NDArray[np.float32], tuple[int, int]] | None:
        """Return the cells of a part, turned so that lines run down, and its (row, col) corner."""
        counts = self.counts * part
        counts = counts if steep else counts.transpose(0, 2, 1)
        inside = np.argwhere(counts[-1] > 0)
        if len(inside) == 0:
            return None
        (top, left), (bottom, right) = inside.min(0).tolist(), (inside.max(0) + 1).tolist()
        block = _BLOCK_CELLS * self.fine
        bottom = top + (bottom - top) // block * block
        if bottom - top < block * _MIN_VOTES or right - left < 2 * MIN_SCENE_CELLS * self.fine:
            return None
        return counts[:, top:bottom, left:right], (top, left)

    def _scan(
        self, counts: NDArray[np.float32], slopes: NDArray[np.float64], steep: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], list[NDArray[np.float32]]]:
        """Compare both sides of all lines of some slopes.

        Returns
        -------
        strength : (slopes, cols) array
            Strength of the line at column x at half the height, for its best stripe.
        best : (slopes, cols) int array
            Index of that stripe.
        sums : list of arrays
            Sheared counts of every slope, as :func:`_sheared` returns them.
        """
        edges = np.pad(np.cumsum(counts, axis=2), ((0, 0), (0, 0), (1, 0)))
        strength = np.full((len(slopes), counts.shape[2]), -np.inf)
        best = np.zeros(strength.shape, np.intp)
        sums = list(ordered_map(lambda slope: _sheared(edges, slope, self.fine), slopes))
        for index, stripe in enumerate(_STRIPES):
            steps = list(ordered_map(partial(self._steps, stripe=stripe), sums))
            by_stripe = self._strengths(steps, steep, stripe)
            best[by_stripe > strength] = index
            strength = np.maximum(strength, by_stripe)
        return strength, best, sums

    def _steps(
        self, sums: NDArray[np.float32], stripe: Stripe
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the steps across lines, (features, blocks, cols), and where they are known."""
        pad = _PAD_CELLS * self.fine
        cols = sums.shape[2] - 1 - 2 * pad
        gap, width = stripe.gap * self.fine, stripe.width * self.fine

        def sum_from(start: int) -> NDArray[np.float32]:
            first, last = pad + start, pad + start + width
            return np.asarray(sums[:, :, last : last + cols] - sums[:, :, first : first + cols])

        left, right = sum_from(-gap - width), sum_from(gap)
        required = _MIN_VALID_SHARE * _BLOCK_CELLS * self.fine * width * self.cell_px
        known = np.minimum(left[-1], right[-1]) >= required
        step = right[:-1] / np.maximum(right[-1], 1) - left[:-1] / np.maximum(left[-1], 1)
        return np.where(known, step, 0), known

    def _strengths(
        self,
        steps: list[tuple[NDArray[np.float32], NDArray[np.bool_]]],
        steep: bool,
        stripe: Stripe,
    ) -> NDArray[np.float64]:
        """Return by how many deviations the votes of all lines agree, (slopes, cols)."""
        key = steep, stripe
        if key not in self._whitening:
            chosen = [step[:, known].T for step, known in steps[:: max(1, len(steps) // 9)]]
            sample = np.concatenate(chosen)
            sample = sample[:: 1 + len(sample) // _COVARIANCE_SAMPLE]
            self._whitening[key] = _whitening(sample.astype(np.float64))
        whitening = self._whitening[key].astype(np.float32)
        scores = np.stack(list(ordered_map(lambda each: _agreement(whitening, *each), steps)))
        known = scores > 0
        if not known.any():
            return scores
        if key not in self._ordinary:
            median = float(np.median(scores[known]))
            spread = 1.4826 * float(np.median(np.abs(scores[known] - median)))
            self._ordinary[key] = median, max(spread, 1e-6)
        median, spread = self._ordinary[key]
        return np.where(known, (scores - median) / spread, 0)

    def _persistence(
        self, sums: NDArray[np.float32], col: int, steep: bool, stripe: Stripe
    ) -> tuple[float, int]:
        """Return the share of a line's step that persists farther out, and its votes."""
        whitening = self._whitening[steep, stripe]
        (near, votes), *outer = (
            self._mean_step(sums, col, each, whitening) for each in (stripe, *_OUTER_STRIPES)
        )
        power = float(near @ near)
        return min(float(far @ near) / power if power else 0.0 for far, _ in outer), votes

    def _mean_step(
        self,
        sums: NDArray[np.float32],
        col: int,
        stripe: Stripe,
        whitening: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], int]:
        """Return a line's mean whitened step, 0 where too little is known, and its votes.

        Blocks with larger steps than others have less weight.
        """
        steps, known = self._steps(sums[:, :, col : col + 2 + 2 * _PAD_CELLS * self.fine], stripe)
        votes = int(known[:, 0].sum())
        if votes < _MIN_VOTES:
            return np.zeros(len(whitening)), votes
        whitened = whitening @ steps[:, known[:, 0], 0]
        weights = 1 / (1 + (whitened**2).mean(0))
        return np.asarray((whitened * weights).sum(1) / weights.sum()), votes


def _agreement(
    whitening: NDArray[np.float32], step: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how much the votes of the blocks agree, for the lines of one slope, (cols,)."""
    # One block at a time is too little for BLAS to start threads, which would wait for each other
    # where others work too.
    signs = whitening @ step.swapaxes(0, 1)
    signs /= np.sqrt(1 + (signs**2).mean(1, keepdims=True))
    votes = known.sum(0)
    # Cube roots make sums of squares nearly normal.
    power = np.cbrt((signs.sum(0) ** 2).sum(0) / np.maximum(votes, 1)).astype(np.float64)
    return np.where(votes >= max(_MIN_VOTES, _MIN_VALID_SHARE * len(known)), power, 0)


def _in_whole(line: Line, corner: tuple[int, int]) -> Line:
    """Return a line of a part in cells of the whole; `corner` is the part's (row, col)."""
    slope, offset = float(line.slope), float(line.offset)
    return line._replace(
        slope=slope,
        offset=offset + corner[1] - slope * corner[0],
        strength=float(line.strength),
    )


def _sheared(edges: NDArray[np.float32], slope: float, fine: int) -> NDArray[np.float32]:
    """Shear counts so that lines of a slope become columns, and sum rows into blocks.

    Parameters
    ----------
    edges : (features + 1, rows, cols + 1) array
        Counts summed along rows, from the left edge to every edge of cells.
    slope : float
    fine : int
        See :class:`SeamSearch`.

    Returns
    -------
    (features + 1, blocks, cols + 1 + 2 * pad) array
        Column ``pad + x`` is at the line that is at x at half the height.
    """
    features, rows, count = edges.shape
    pad, block = _PAD_CELLS * fine, _BLOCK_CELLS * fine
    shift = np.rint(slope * (np.arange(rows) + 0.5 - rows / 2)).astype(int)
    at = np.clip(shift[:, None] + np.arange(-pad, count + pad), 0, count - 1)
    sheared = edges[:, np.arange(rows)[:, None], at]
    return np.asarray(sheared.reshape(features, rows // block, block, -1).sum(2))


def _whitening(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that whitens steps across ordinary ground, (steps, features).

    Outliers are weighted down (Tyler 1987).
    """
    count, features = steps.shape
    weights = np.ones(count)
    matrix = np.eye(features)
    for _ in range(5):
        covariance = (steps * weights[:, None]).T @ steps / max(weights.sum(), 1)
        # Bands may be copies of each other.
        covariance += (1e-2 * np.trace(covariance) / features + 1e-9) * np.eye(features)
        matrix = np.linalg.inv(np.linalg.cholesky(covariance))
        weights = 1 / (1 + ((steps @ matrix.T) ** 2).mean(1))
    return matrix
