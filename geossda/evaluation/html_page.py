"""The report as a single HTML page without external files."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.raster.histograms import Histograms

TEMPLATE = "report.html.j2"
# Bars of a histogram at most, its width and height in SVG units, and histograms on a page.
MAX_BARS = 96
PLOT_SIZE = (320, 120)
MAX_PLOTS = 12


@dataclass(frozen=True)
class Plot:
    """Histograms of one band, as paths of an SVG.

    Attributes
    ----------
    title : str
    before, after : str
        Path data of the outlines, in a box of :data:`PLOT_SIZE` units.
    low, high : float
        Digital numbers at the left and at the right end.
    """

    title: str
    before: str
    after: str
    low: float
    high: float


def plots(before: Histograms, after: Histograms, names: list[str]) -> list[Plot]:
    """Return plots of the first twelve bands' histograms, each from 0.1 to 99.9 % of both.

    Parameters
    ----------
    before, after : Histograms
    names : list of str
        One per band.
    """
    ends = np.stack([histograms.quantiles((0.001, 0.999)) for histograms in (before, after)])
    drawn = []
    for band, name in enumerate(names[:MAX_PLOTS]):
        step = max(before.step, after.step)
        # From the middle of one bin to that of another.
        low, high = (
            before.first + step * round((value - before.first) / step)
            for value in (float(ends[:, band, 0].min()), float(ends[:, band, 1].max()))
        )
        # Bars hold whole numbers of bins, or some would hold more than others; the last is cut.
        whole = math.ceil((high - low + step) / MAX_BARS / step) * step
        count = max(2, math.ceil((high - low + step) / whole))
        edges = np.minimum(low - step / 2 + whole * np.arange(count + 1), high + step / 2)
        edges = edges[: np.argmax(edges) + 1]
        bars = []
        for histograms in (before, after):
            weights = histograms.counts[band]
            counts, _ = np.histogram(histograms.values, edges, weights=weights)
            bars.append(counts / weights.sum() / np.diff(edges))
        top = max(float(bar.max()) for bar in bars) or 1.0
        right = PLOT_SIZE[0] * (edges[1:] - edges[0]) / (edges[-1] - edges[0])
        old, new = (_steps(bar / top, right) for bar in bars)
        drawn.append(Plot(name, old, new, low, high))
    return drawn


def _steps(heights: NDArray[np.float64], right: NDArray[np.float64]) -> str:
    """Return the outline of bars of 0..1 that end at `right`, as path data."""
    height = PLOT_SIZE[1]
    path = [f"M0 {height}"]
    for x, y in zip(right, height * (1 - 0.97 * heights), strict=True):
        path.append(f"V{y:.1f}H{x:.1f}")
    return "".join([*path, f"V{height}"])


def plain(value: Any) -> Any:
    """Return a value for JSON: lists for arrays, null for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def number(value: Any, digits: int = 3) -> str:
    """Return a number as text of so many significant digits, a dash for none.

    Parameters
    ----------
    value : float or int or None
    digits : int
        Significant digits; whole numbers are written in full.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}g}".replace("-", "\u2212")


def share(value: float | None) -> str:
    """Return a fraction of 0..1 as text in percent, a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    percent = 100 * value
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.2g} %"


def render(**parts: Any) -> str:
    """Return the filled template, with all text escaped.

    Parameters
    ----------
    **parts
        Values of the template's variables.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("geossda.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, share=share)
    return environment.get_template(TEMPLATE).render(plot_size=PLOT_SIZE, **parts)
