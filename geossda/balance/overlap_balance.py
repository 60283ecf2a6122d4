"""Balancing of overlapping sources: measured where they overlap, applied as pixels are read."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.balance.decorrelated_color import from_decorrelated, to_decorrelated
from geossda.balance.gains import solve_gains, solve_gains_and_offsets
from geossda.balance.overlap_moments import LEAST_PX, OverlapMoments, measure_overlaps
from geossda.config import BalanceCost, BalanceMethod, BalanceSpace
from geossda.errors import BandError, GeoreferenceError, InputError, counted
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.histograms import histograms
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype, working_range
from geossda.raster.source import Correction
from geossda.raster.windows import Window

# Pixels of each source that its working range is measured on.
_RANGE_SAMPLE_PX = 2**20
# Gains of colour channels below which colours fade visibly.
_FADED = 0.7
# Most sources whose gains are reported one by one.
_REPORTED_SOURCES = 12


@dataclass(frozen=True)
class GainBalance:
    """Gain and offset of every band of one source, or channel of decorrelated colour.

    Attributes
    ----------
    gains, offsets : (bands,) float64 arrays
        New value = gain * value + offset.
    decorrelated_range : (float, float) or None
        Working range of the decorrelated colour that the gains apply to; None for the bands.
    """

    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    decorrelated_range: tuple[float, float] | None = None

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window, grid: Grid
    ) -> NDArray[Any]:
        """Balance the pixels of a window; those that are not valid stay.

        Parameters
        ----------
        pixels : (bands, height, width) array
        valid : (height, width) bool array
        window : Window
            Has no effect, as the grid.
        grid : Grid

        Returns
        -------
        (bands, height, width) array
            Of the type of `pixels`.
        """
        if not valid.any():
            return pixels
        gains, offsets = self.gains[:, None], self.offsets[:, None]
        known = pixels[:, valid]
        if self.decorrelated_range is not None:
            channels = to_decorrelated(known, self.decorrelated_range)
            values = from_decorrelated(channels * gains + offsets, self.decorrelated_range)
        else:
            values = known * gains + offsets
        result = pixels.copy()
        result[:, valid] = as_dtype(values, pixels.dtype)
        return result

    def to_state(self) -> dict[str, Any]:
        """Return the state that :meth:`from_state` restores."""
        within = self.decorrelated_range
        return {
            "gains": self.gains,
            "offsets": self.offsets,
            "range": None if within is None else [float(end) for end in within],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "GainBalance":
        """Restore a balance from its state.

        Parameters
        ----------
        state : dict
            As :meth:`to_state` returns it.
        """
        within = state["range"]
        return cls(
            np.asarray(state["gains"]),
            np.asarray(state["offsets"]),
            None if within is None else (within[0], within[1]),
        )

    def __str__(self) -> str:
        """Return the gains, and the offsets if there are any, in words."""
        text = f"gains {_numbers(self.gains, '.3f')}"
        if self.offsets.any():
            text += f", offsets {_numbers(self.offsets, '.4g')}"
        return text + (" (l alpha beta)" if self.decorrelated_range else "")


@dataclass(frozen=True)
class Chain:
    """Corrections applied one after the other.

    Attributes
    ----------
    steps : tuple of Correction
    """

    steps: tuple[Correction, ...]

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window, grid: Grid
    ) -> NDArray[Any]:
        """Change the (bands, height, width) pixels of a window of `grid`."""
        for step in self.steps:
            pixels = step(pixels, valid, window, grid)
        return pixels


def with_gains(mosaic: Mosaic, states: list[dict[str, Any] | None]) -> Mosaic:
    """Return a mosaic whose sources get their gains as their pixels are read.

    Parameters
    ----------
    mosaic : Mosaic
        Other corrections of its sources come first.
    states : list of dict or None
        State of each source's :class:`GainBalance`; None for no change.

    Returns
    -------
    Mosaic
    """
    sources = []
    for source, state in zip(mosaic.sources, states, strict=True):
        if state is not None:
            gains: Correction = GainBalance.from_state(state)
            before = source.correction
            source = replace(source, correction=Chain((before, gains)) if before else gains)
        sources.append(source)
    return replace(mosaic, sources=tuple(sources))


def balance_overlaps(
    mosaic: Mosaic,
    method: BalanceMethod,
    cost: BalanceCost = "rmse",
    space: BalanceSpace = "bands",
    *,
    progress: Progress = SILENT,
) -> tuple[Mosaic, list[GainBalance | None]]:
    """Return a mosaic whose sources have one radiometry, by what they show where they overlap.

    Parameters
    ----------
    mosaic : Mosaic
    method : {"none", "gain-offset", "qp"}
        See :mod:`geossda.balance.gains`.
    cost : {"rmse", "mu", "musig"}
        What "qp" minimizes.
    space : {"bands", "decorrelated"}
        What is balanced; "decorrelated" see :mod:`geossda.balance.decorrelated_color`.
    progress : Progress
        Notes the gains; warned of sources without overlap, and of groups without any between them.

    Returns
    -------
    mosaic : Mosaic
        The mosaic whose pixels are balanced as they are read.
    balances : list of GainBalance or None
        Of each source; None for sources without overlap.

    Raises
    ------
    InputError
        There is one source only, no two have enough valid pixels in common, or gains cannot be
        determined.
    BandError
        Decorrelated colour of other than three bands.
    """
    count = len(mosaic.sources)
    if method == "none":
        return mosaic, [None] * count
    check_overlaps(mosaic, method, space)
    within = _working_range(mosaic, progress) if space == "decorrelated" else None
    values = partial(to_decorrelated, working_range=within) if within else None
    moments = measure_overlaps(mosaic, values, progress=progress)
    _report_groups(moments, progress)
    if method == "gain-offset":
        gains, offsets = solve_gains_and_offsets(moments)
    else:
        gains, offsets = solve_gains(moments, cost, with_zero=within is not None)
        if within and gains[:, 1:].min() < _FADED:
            worst = int(np.argmin(gains[:, 1:].min(1)))
            progress.warn(
                f"{moments.names[worst]}: a gain of {gains[worst, 1:].min():.2f} in decorrelated "
                "colour fades its colours, since alpha or beta are about 0 on average; --balance "
                "gain-offset does not depend on that"
            )
    alone = {group[0] for group in moments.groups() if len(group) == 1}
    balances = [
        None if index in alone else GainBalance(gains[index], offsets[index], within)
        for index in range(count)
    ]
    _report_gains(moments.names, balances, progress)
    states = [None if each is None else each.to_state() for each in balances]
    return with_gains(mosaic, states), balances


def check_overlaps(mosaic: Mosaic, method: BalanceMethod, space: BalanceSpace) -> None:
    """Check, without reading pixels, that sources can be balanced by their overlaps.

    Parameters
    ----------
    mosaic : Mosaic
    method : {"none", "gain-offset", "qp"}
    space : {"bands", "decorrelated"}

    Raises
    ------
    InputError
        There is one source only.
    BandError
        Decorrelated colour of other than three bands.
    """
    if method == "none":
        return
    if len(mosaic.sources) == 1:
        raise InputError(
            f"{mosaic.name} is one source: --balance {method} compares several where they overlap; "
            "give them in one command"
        )
    if space == "decorrelated" and mosaic.count != 3:
        raise BandError(
            f"{mosaic.name} has {counted(mosaic.count, 'band')}: decorrelated colour takes red, "
            "green and blue; choose them with --bidx, or give --balance-space bands"
        )


def _working_range(mosaic: Mosaic, progress: Progress) -> tuple[float, float]:
    """Return the digital numbers that the sensor fills: those of all sources together."""
    known = mosaic.sources[0].common_range
    if known is not None:
        return known
    ranges = [
        working_range(
            histograms(mosaic, source=index, budget_px=_RANGE_SAMPLE_PX, progress=progress),
            mosaic.dtype,
        )
        for index in range(len(mosaic.sources))
    ]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _report_groups(moments: OverlapMoments, progress: Progress) -> None:
    """Raise if nothing overlaps; warn of what cannot be compared with the rest."""
    groups, names = moments.groups(), moments.names
    if len(groups) == len(names):
        raise GeoreferenceError(
            f"the {len(names)} sources have fewer than {LEAST_PX} valid pixels in common, "
            f"any two of them ({names[0]}, {names[1]}, ...): --balance compares sources where they "
            "overlap; leave it out, or check their CRS and nodata"
        )
    for (alone,) in (group for group in groups if len(group) == 1):
        progress.warn(f"{names[alone]} overlaps no other source: it is not balanced")
    joined = [group for group in groups if len(group) > 1]
    if len(joined) > 1:
        shown = "; ".join(_some([names[one] for one in group]) for group in joined)
        progress.warn(
            f"the sources are {len(joined)} groups that do not overlap each other, each balanced "
            f"by itself: {shown}"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _report_gains(
    names: tuple[str, ...], balances: list[GainBalance | None], progress: Progress
) -> None:
    known = [(name, each) for name, each in zip(names, balances, strict=True) if each is not None]
    if len(known) <= _REPORTED_SOURCES:
        for name, each in known:
            progress.note(f"{name}: {each}")
        return
    gains = np.stack([each.gains for _, each in known])
    progress.note(
        f"{len(known)} sources balanced: gains {_numbers(gains.min(0), '.3f')} to "
        f"{_numbers(gains.max(0), '.3f')}"
    )


def _numbers(values: NDArray[np.float64], form: str) -> str:
    return " ".join(format(float(value), form) for value in values)
