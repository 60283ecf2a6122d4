"""Straight seams between scenes of unlike radiometry, found in a mosaic without any hint.

Ground changes from place to place, but seldom in the same way along a line thousands of pixels
long: where the tones on one side of a long straight line differ from those on the other in the
same way all along, two scenes may meet. Steps are compared along all lines, as in a Radon
transform, by their spatial signs (Möttönen and Oja 1995): every block of a line has one vote,
however much its ground changes. At a road or a shore the tones change back further out; at a seam
they stay changed, as far as the scenes reach.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.parallel.ordered_map import ordered_map

# Tones below which pixels are counted: shadows, which every scene has and which tell its haze, up
# to highlights.
SHARES = (0.02, 0.06, 0.15, 0.35, 0.65, 0.9, 0.97)


class Reach(NamedTuple):
    """Which cells on either side of a line are compared: `width` of them, `gap` away from it."""

    gap: int
    width: int


# Cells on either side of a line that are compared to find seams, hard and feathered ones, and
# those further out where tones must still differ in the same way.
REACHES = (Reach(0, 2), Reach(1, 2), Reach(2, 4))
BEYOND = (Reach(4, 4), Reach(8, 6))
# Cells along a line that have one vote, and the fewest votes.
BLOCK, FEWEST = 2, 6
# The narrowest scene in cells, the shortest seam, and how many candidates are given in each
# direction.
NARROWEST, SHORTEST, CANDIDATES = 4, 12, 16
# How many steps tell how steps across ordinary ground vary.
SAMPLE = 2**14
# Share of a stripe that must be known.
KNOWN = 0.5
# By how many cells lines of two slopes that are tried differ at their ends, at most.
TURN = 2


class Line(NamedTuple):
    """A straight line in cells: ``x = offset + slope * y``, or with x and y exchanged.

    Attributes
    ----------
    slope, offset : float
        Slope within -1 and 1.
    steep : bool
        Whether it runs down the columns (x is a function of y) rather than across.
    strength : float
        By how many deviations it stands out of all lines.
    lasting : float
        The least share of its step that is still there further out; 0 where that is not known.
    votes : int
        Blocks of it that are known.
    """

    slope: float
    offset: float
    steep: bool
    strength: float
    lasting: float
    votes: int


def count_tones(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], side: int
) -> NDArray[np.float32]:
    """Count the dark, middling and bright pixels of square cells.

    Parameters
    ----------
    pixels : (bands, height, width) array
    valid : (height, width) bool array
    side : int
        Of a cell, in pixels; what is left over at the lower and right edges is not looked at.

    Returns
    -------
    (features + 1, height // side, width // side) float32 array
        Of every band how many pixels are not above its values at :data:`SHARES`; last, how many
        are valid.
    """
    rows, cols = (length // side for length in valid.shape)
    valid = valid[: rows * side, : cols * side]

    def counted(which: NDArray[np.bool_]) -> NDArray[np.float32]:
        cells = which.reshape(rows, side, cols, side)
        return np.asarray(cells.sum((1, 3), dtype=np.float32))

    found = []
    for band in pixels:
        inner = band[: rows * side, : cols * side]
        known = inner[valid]
        if known.size == 0:
            continue
        ends = np.unique(np.quantile(known[:: 1 + known.size // 2**18], SHARES))
        found += [counted((inner <= end) & valid) for end in ends]
    return np.stack([*found, counted(valid)])


class Search:
    """Search a mosaic for its strongest seams, and its parts for theirs.

    Parameters
    ----------
    counts : (features + 1, rows, cols) float32 array
        From :func:`count_tones`.
    full : int
        Pixels of a cell.
    fine : int
        How many of these cells make one of those that reaches are given in.
    """

    def __init__(self, counts: NDArray[np.float32], full: int, fine: int = 1) -> None:
        self.counts = counts
        self.full = full
        self.fine = fine
        self._whiten: dict[tuple[bool, Reach], NDArray[np.float64]] = {}
        self._usual: dict[tuple[bool, Reach], tuple[float, float]] = {}

    def strongest(self, part: NDArray[np.bool_]) -> list[Line]:
        """Give the lines that stand out most in a part of the mosaic, the strongest first."""
        found: list[Line] = []
        for steep in (True, False):
            cut = self._cut(part, steep)
            if cut is None:
                continue
            counts, corner = cut
            steps = max(1, counts.shape[1] // (2 * TURN * self.fine))
            slopes = np.linspace(-1, 1, 2 * steps + 1)
            strength, best, sums = self._scan(counts, slopes, steep)
            apart = NARROWEST * self.fine
            for _ in range(CANDIDATES):
                row, col = np.unravel_index(int(np.argmax(strength)), strength.shape)
                if strength[row, col] <= 0:
                    break
                reach = REACHES[best[row, col]]
                middle = col - slopes[row] * counts.shape[1] / 2
                lasting, votes = self._lasting(sums[row], int(col), steep, reach)
                line = Line(slopes[row], middle, steep, strength[row, col], lasting, votes)
                found.append(_moved(line, corner))
                strength[:, max(0, col - apart + 1) : col + apart] = 0
        return sorted(found, key=lambda line: -line.strength)

    def refined(self, part: NDArray[np.bool_], line: Line) -> Line | None:
        """Look for a line of coarser cells among those near it; None if nothing is known there."""
        cut = self._cut(part, line.steep)
        if cut is None:
            return None
        counts, (top, left) = cut
        rows = counts.shape[1]
        turn = np.arange(-4, 5) * 2 / rows  # a cell at the ends
        slopes = np.clip(line.slope + turn, -1, 1)
        strength, best, sums = self._scan(counts, slopes, line.steep)
        middle = line.offset * self.fine + line.slope * (top + rows / 2) - left
        away = np.abs(np.arange(strength.shape[1]) - middle)
        strength[:, away > TURN * self.fine] = 0
        row, col = np.unravel_index(int(np.argmax(strength)), strength.shape)
        most = float(strength[row, col])
        if most <= 0:
            return None
        # Across a feather the top is flat: its middle is meant.
        over = np.maximum(strength - 0.85 * most, 0)
        slope = float(over.sum(1) @ slopes / over.sum())
        middle = float(over.sum(0) @ np.arange(over.shape[1]) / over.sum()) - slope * rows / 2
        lasting, _ = self._lasting(sums[row], int(col), line.steep, REACHES[best[row, col]])
        placed = line._replace(slope=slope, offset=middle, lasting=min(lasting, line.lasting))
        return _moved(placed, (top, left))

    def _cut(
        self, part: NDArray[np.bool_], steep: bool
    ) -> tuple[NDArray[np.float32], tuple[int, int]] | None:
        """Give the cells of a part, turned so that lines run down, and its corner."""
        counts = self.counts * part
        counts = counts if steep else counts.transpose(0, 2, 1)
        inside = np.argwhere(counts[-1] > 0)
        if len(inside) == 0:
            return None
        (top, left), (bottom, right) = inside.min(0).tolist(), (inside.max(0) + 1).tolist()
        block = BLOCK * self.fine
        bottom = top + (bottom - top) // block * block
        if bottom - top < block * FEWEST or right - left < 2 * NARROWEST * self.fine:
            return None
        return counts[:, top:bottom, left:right], (top, left)

    def _scan(
        self, counts: NDArray[np.float32], slopes: NDArray[np.float64], steep: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.intp], list[NDArray[np.float32]]]:
        """Compare both sides of all lines of some slopes.

        Returns
        -------
        strength : (slopes, cols) array
            Of the line at column x at half the height, by the reach that sees it best.
        best : (slopes, cols) int array
            That reach.
        sums : list of arrays
            From :func:`_sheared`, of every slope.
        """
        edges = np.pad(np.cumsum(counts, axis=2), ((0, 0), (0, 0), (1, 0)))
        strength = np.full((len(slopes), counts.shape[2]), -np.inf)
        best = np.zeros(strength.shape, np.intp)
        sums = list(ordered_map(lambda slope: _sheared(edges, slope, self.fine), slopes))
        for number, reach in enumerate(REACHES):
            seen = list(ordered_map(partial(self._steps, reach=reach), sums))
            one = self._strengths(seen, steep, reach)
            best[one > strength] = number
            strength = np.maximum(strength, one)
        return strength, best, sums

    def _steps(
        self, sums: NDArray[np.float32], reach: Reach
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Give the steps across lines, (features, blocks, cols), and where they are known."""
        pad = _PAD * self.fine
        cols = sums.shape[2] - 1 - 2 * pad
        gap, width = reach.gap * self.fine, reach.width * self.fine

        def over(start: int) -> NDArray[np.float32]:
            first, last = pad + start, pad + start + width
            return np.asarray(sums[:, :, last : last + cols] - sums[:, :, first : first + cols])

        left, right = over(-gap - width), over(gap)
        wanted = KNOWN * BLOCK * self.fine * width * self.full
        known = np.minimum(left[-1], right[-1]) >= wanted
        step = right[:-1] / np.maximum(right[-1], 1) - left[:-1] / np.maximum(left[-1], 1)
        return np.where(known, step, 0), known

    def _strengths(
        self,
        seen: list[tuple[NDArray[np.float32], NDArray[np.bool_]]],
        steep: bool,
        reach: Reach,
    ) -> NDArray[np.float64]:
        """Say of all lines by how many deviations the votes of their blocks agree."""
        key = steep, reach
        if key not in self._whiten:
            some = [step[:, known].T for step, known in seen[:: max(1, len(seen) // 9)]]
            every = np.concatenate(some)
            every = every[:: 1 + len(every) // SAMPLE]
            self._whiten[key] = _whitening(every.astype(np.float64))
        whiten = self._whiten[key].astype(np.float32)
        scores = np.stack(list(ordered_map(lambda each: _agreement(whiten, *each), seen)))
        known = scores > 0
        if not known.any():
            return scores
        if key not in self._usual:
            usual = float(np.median(scores[known]))
            spread = 1.4826 * float(np.median(np.abs(scores[known] - usual)))
            self._usual[key] = usual, max(spread, 1e-6)
        usual, spread = self._usual[key]
        return np.where(known, (scores - usual) / spread, 0)

    def _lasting(
        self, sums: NDArray[np.float32], col: int, steep: bool, reach: Reach
    ) -> tuple[float, int]:
        """Say what share of a line's step is still there further out, and of how many votes."""
        whiten = self._whiten[steep, reach]
        (near, votes), *further = (
            self._typical(sums, col, one, whiten) for one in (reach, *BEYOND)
        )
        power = float(near @ near)
        return min(float(far @ near) / power if power else 0.0 for far, _ in further), votes

    def _typical(
        self, sums: NDArray[np.float32], col: int, reach: Reach, whiten: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], int]:
        """Give a line's step, whitened, 0 where too little is known, and of how many blocks.

        Blocks that step by more than others count less.
        """
        steps, known = self._steps(sums[:, :, col : col + 2 + 2 * _PAD * self.fine], reach)
        votes = int(known[:, 0].sum())
        if votes < FEWEST:
            return np.zeros(len(whiten)), votes
        signs = whiten @ steps[:, known[:, 0], 0]
        weights = 1 / (1 + (signs**2).mean(0))
        return np.asarray((signs * weights).sum(1) / weights.sum()), votes


def _agreement(
    whiten: NDArray[np.float32], step: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Say of the lines of one slope how much the votes of their blocks agree, (cols,)."""
    # Block by block, which is too little for BLAS to start threads: they would wait for each other
    # where others work too.
    signs = whiten @ step.swapaxes(0, 1)
    signs /= np.sqrt(1 + (signs**2).mean(1, keepdims=True))
    votes = known.sum(0)
    # Cube roots make sums of squares nearly normal.
    power = np.cbrt((signs.sum(0) ** 2).sum(0) / np.maximum(votes, 1)).astype(np.float64)
    return np.where(votes >= max(FEWEST, KNOWN * len(known)), power, 0)


def _moved(line: Line, corner: tuple[int, int]) -> Line:
    """Give a line of a part, whose corner is at (row, column) as turned, in the whole."""
    slope, offset = float(line.slope), float(line.offset)
    return line._replace(
        slope=slope,
        offset=offset + corner[1] - slope * corner[0],
        strength=float(line.strength),
    )


# Cells beyond the edges of a part that stripes may reach to.
_PAD = max(reach.gap + reach.width for reach in (*REACHES, *BEYOND))


def _sheared(edges: NDArray[np.float32], slope: float, fine: int) -> NDArray[np.float32]:
    """Turn lines of a slope into columns, blocks of them into rows.

    Parameters
    ----------
    edges : (features + 1, rows, cols + 1) array
        Counts added up along rows, from the left edge to every edge of cells.

    Returns
    -------
    (features + 1, blocks, cols + 1 + 2 * pad) array
        Column ``pad + x`` is at the line that is at x at half the height.
    """
    features, rows, count = edges.shape
    pad, block = _PAD * fine, BLOCK * fine
    shift = np.rint(slope * (np.arange(rows) + 0.5 - rows / 2)).astype(int)
    at = np.clip(shift[:, None] + np.arange(-pad, count + pad), 0, count - 1)
    found = edges[:, np.arange(rows)[:, None], at]
    return np.asarray(found.reshape(features, rows // block, block, -1).sum(2))


def _whitening(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what turns steps across ordinary ground, (steps, features), into noise of strength 1.

    Steps far out of the ordinary count less (Tyler 1987).
    """
    count, features = steps.shape
    weights = np.ones(count)
    found = np.eye(features)
    for _ in range(5):
        covariance = np.einsum("n,ni,nj->ij", weights, steps, steps) / max(weights.sum(), 1)
        # Bands may be copies of each other.
        covariance += (1e-2 * np.trace(covariance) / features + 1e-9) * np.eye(features)
        found = np.linalg.inv(np.linalg.cholesky(covariance))
        weights = 1 / (1 + (np.einsum("ij,nj->ni", found, steps) ** 2).mean(1))
    return found
