"""Results of trials as a table and as a plot with error bars."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from geossda.evaluation.experiments import Rows

NO_RESULT = (float("nan"), 0.0)
ROW_TITLES = {
    "none": "Baseline",
    "equalize": "Hist. Equ.",
    "hsv": "HSV",
    "gamma": "Gamma",
    "rhm": "RHM",
    "daug": "DAug",
    "ssda": "SS(DA)²",
    "mix": "Mixed histograms",
    "graph": "Graph matching",
    "none+mean-teacher": "Baseline + teacher",
    "rhm+mean-teacher": "RHM + teacher",
    "ssda+mean-teacher": "SS(DA)² + teacher",
    "translation": "Translation",
    "standardgan": "StandardGAN",
}


# Rows that all others are compared with.
REFERENCE_ROWS = ("none", "rhm")


class Difference(NamedTuple):
    """Mean difference of IoU over seeds, with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Difference":
        """Return the mean of two values or more, with the interval of Student's t."""
        mean = float(np.mean(values))
        error = float(np.std(values, ddof=1)) / len(values) ** 0.5
        reach = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * error
        return cls(mean, mean - reach, mean + reach)


def summary(rows: Rows) -> dict[str, dict[str, tuple[float, float]]]:
    """Return mean and standard deviation over seeds, by row and place and of the mean over places.

    The mean over places is taken over seeds that have results of all places, if there are any.
    """
    cells: dict[str, dict[str, tuple[float, float]]] = {
        row: {place: _mean_and_spread(list(seeds.values())) for place, seeds in places.items()}
        for row, places in rows.items()
    }
    for row, means in _place_means(rows).items():
        cells[row]["mean"] = _mean_and_spread(list(means.values()))
    return {row: cells[row] for row in ROW_TITLES if row in cells}


def differences(rows: Rows, to: str) -> dict[str, dict[str, Difference]]:
    """Return differences to a row, paired by seed, by row and place and of the mean over places.

    Parameters
    ----------
    rows : dict
        IoU (0..1) by row, place and seed.
    to : str
        The row that is subtracted.

    Returns
    -------
    dict
        Only where two seeds or more have both.
    """
    means = _place_means(rows)
    cells: dict[str, dict[str, Difference]] = {}
    for row in (row for row in ROW_TITLES if row in rows and row != to):
        own = {**rows[row], "mean": means.get(row, {})}
        other = {**rows.get(to, {}), "mean": means.get(to, {})}
        for place in own.keys() & other.keys():
            seeds = own[place].keys() & other[place].keys()
            if len(seeds) > 1:
                values = [own[place][seed] - other[place][seed] for seed in seeds]
                cells.setdefault(row, {})[place] = Difference.of(values)
    return cells


def _place_means(rows: Rows) -> dict[str, dict[int, float]]:
    """Return the means over places by row and seed, of seeds that have results of all places."""
    names = {place for places in rows.values() for place in places}
    means = {}
    for row, places in rows.items():
        complete = set.intersection(*(set(places.get(place, {})) for place in names))
        if complete:
            means[row] = {
                seed: float(np.mean([places[place][seed] for place in names]))
                for seed in sorted(complete)
            }
    return means


def markdown(rows: Rows, title: str) -> str:
    """Return rows as a table in Markdown, in percent.

    Parameters
    ----------
    rows : dict
        IoU (0..1) by row, place and seed.
    title : str
        Heading of the table.
    """
    return _table(title, summary(rows), _percent)


def paired_markdown(rows: Rows, to: str, title: str) -> str:
    """Return differences to a row as a table in Markdown, in points; empty without any.

    Parameters
    ----------
    rows : dict
        IoU (0..1) by row, place and seed.
    to : str
        The row that is subtracted.
    title : str
        Beginning of the table's heading.
    """
    title += f" to {ROW_TITLES[to]}, points, paired by seed, and its 95 % interval (t)"
    return _table(title, differences(rows, to), _points)


def _table(title: str, cells: Mapping[str, Mapping[str, Any]], text: Callable[[Any], str]) -> str:
    """Return results by row and place as a table in Markdown; empty without any."""
    if not cells:
        return ""
    places = _places(cells)
    lines = [
        f"### {title}",
        "",
        "| method | " + " | ".join(places) + " |",
        "|---|" + "---|" * len(places),
    ]
    for row, results in cells.items():
        texts = (text(results[place]) if place in results else "–" for place in places)
        lines.append(f"| {ROW_TITLES[row]} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def _points(difference: Difference) -> str:
    """Return a difference in points, with its interval."""
    mean, low, high = (100 * value for value in difference)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _percent(result: tuple[float, float]) -> str:
    """Return a mean and its spread in percent; that of a single seed has no spread."""
    mean, spread = result
    return f"{100 * mean:.1f} ± {100 * spread:.1f}" if spread else f"{100 * mean:.1f}"


def plot(forms: dict[str, Rows], path: Path) -> None:
    """Draw a panel per form: bars of each row and place, with the standard deviation over seeds.

    Parameters
    ----------
    forms : dict
        Rows by form of the benchmark; one panel each.
    path : Path
        The picture to write.
    """
    # Not pyplot, which would change global state and may want a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * len(forms)), layout="constrained")
    panels: Any = figure.subplots(len(forms), squeeze=False)[:, 0]
    for panel, (form, rows) in zip(panels, forms.items(), strict=True):
        cells = summary(rows)
        places = _places(cells)
        width = 0.85 / len(cells)
        for index, (row, results) in enumerate(cells.items()):
            at = np.arange(len(places)) + (index - (len(cells) - 1) / 2) * width
            means = [100 * results.get(place, NO_RESULT)[0] for place in places]
            spreads = [100 * results.get(place, NO_RESULT)[1] for place in places]
            panel.bar(at, means, width, yerr=spreads, label=ROW_TITLES[row], error_kw={"lw": 0.8})
        panel.set_xticks(range(len(places)), places)
        panel.set_ylabel("IoU, %")
        panel.set_title(form)
        panel.legend(fontsize="x-small", ncols=2)
    figure.savefig(path, dpi=120, format="png")


def _places(cells: Mapping[str, Mapping[str, object]]) -> list[str]:
    names = {place for results in cells.values() for place in results}
    return [*sorted(names - {"mean"}), "mean"]


def _mean_and_spread(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
