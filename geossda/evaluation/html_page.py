"""The report as one HTML page that needs nothing else."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.raster.statistics import Histograms

TEMPLATE = "report.html.j2"
BARS = 96
PLOT = (320, 120)
# A page of a hundred plots is read by nobody.
MOST_PLOTS = 12


@dataclass(frozen=True)
class Plot:
    """Histograms of one band, as paths of an SVG.

    Attributes
    ----------
    title : str
    before, after : str
        Path data of the outlines, in a box of :data:`PLOT` units.
    low, high : float
        Digital numbers at the left and at the right.
    """

    title: str
    before: str
    after: str
    low: float
    high: float


def plots(before: Histograms, after: Histograms, names: list[str]) -> list[Plot]:
    """Draw the first twelve bands' histograms, on one axis a band: 0.1 to 99.9 % of both."""
    ends = np.stack([found.quantiles((0.001, 0.999)) for found in (before, after)])
    drawn = []
    for band, name in enumerate(names[:MOST_PLOTS]):
        step = max(before.step, after.step)
        # From the middle of a bin to that of another.
        low, high = (
            before.first + step * round((value - before.first) / step)
            for value in (float(ends[:, band, 0].min()), float(ends[:, band, 1].max()))
        )
        # Bars of whole numbers, or some would hold more of them than others; the last is cut.
        whole = math.ceil((high - low + step) / BARS / step) * step
        count = max(2, math.ceil((high - low + step) / whole))
        edges = np.minimum(low - step / 2 + whole * np.arange(count + 1), high + step / 2)
        edges = edges[: np.argmax(edges) + 1]
        bars = []
        for found in (before, after):
            counts, _ = np.histogram(found.values, edges, weights=found.counts[band])
            bars.append(counts / found.counts[band].sum() / np.diff(edges))
        top = max(float(bar.max()) for bar in bars) or 1.0
        right = PLOT[0] * (edges[1:] - edges[0]) / (edges[-1] - edges[0])
        old, new = (_steps(bar / top, right) for bar in bars)
        drawn.append(Plot(name, old, new, low, high))
    return drawn


def _steps(heights: NDArray[np.float64], right: NDArray[np.float64]) -> str:
    """Give the outline of bars of 0..1, that end at `right`, as path data."""
    height = PLOT[1]
    path = [f"M0 {height}"]
    for x, y in zip(right, height * (1 - 0.97 * heights), strict=True):
        path.append(f"V{y:.1f}H{x:.1f}")
    return "".join([*path, f"V{height}"])


def plain(value: Any) -> Any:
    """Make what JSON can hold: lists for arrays, null for what is not finite."""
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
    """Write a number for reading: three digits that count, a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}g}".replace("-", "\u2212")


def share(value: float | None) -> str:
    """Write a share of 0..1 in percent."""
    if value is None or not math.isfinite(value):
        return "–"
    percent = 100 * value
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.2g} %"


def render(**parts: Any) -> str:
    """Fill the template; every text is escaped.

    Parameters
    ----------
    **parts
        What the template names.
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
    return environment.get_template(TEMPLATE).render(plot_size=PLOT, **parts)
