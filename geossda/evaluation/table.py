"""Figures of trials as a table and as a plot with error bars."""

from pathlib import Path
from typing import Any

import numpy as np

from geossda.evaluation.experiments import Rows

NONE = (float("nan"), 0.0)
NAMES = {
    "none": "Baseline",
    "equalize": "Hist. Equ.",
    "hsv": "HSV",
    "gamma": "Gamma",
    "rhm": "RHM",
    "daug": "DAug",
    "ssda": "SS(DA)²",
    "none+mean-teacher": "Baseline + teacher",
    "rhm+mean-teacher": "RHM + teacher",
    "ssda+mean-teacher": "SS(DA)² + teacher",
}


def summary(rows: Rows) -> dict[str, dict[str, tuple[float, float]]]:
    """Give mean and spread (standard deviation over seeds) by row and place, and of the mean.

    The mean over places is that of the seeds that have them all; there is none while there is no
    such seed.
    """
    every = {place for places in rows.values() for place in places}
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row, places in rows.items():
        found[row] = {
            place: _mean_and_spread(list(seeds.values())) for place, seeds in places.items()
        }
        whole = set.intersection(*(set(places.get(place, {})) for place in every))
        if whole:
            means = [float(np.mean([places[p][seed] for p in every])) for seed in sorted(whole)]
            found[row]["mean"] = _mean_and_spread(means)
    return {row: found[row] for row in NAMES if row in found}


def markdown(rows: Rows, title: str) -> str:
    """Write rows as a table in Markdown, in percent."""
    cells = summary(rows)
    if not cells:
        return ""
    places = _places(cells)
    lines = [
        f"### {title}",
        "",
        "| method | " + " | ".join(places) + " |",
        "|---|" + "---|" * len(places),
    ]
    for row, found in cells.items():
        shown = (_shown(*found[place]) if place in found else "–" for place in places)
        lines.append(f"| {NAMES[row]} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _shown(mean: float, spread: float) -> str:
    """Write a figure in percent; a single seed has no spread."""
    return f"{100 * mean:.1f} ± {100 * spread:.1f}" if spread else f"{100 * mean:.1f}"


def plot(forms: dict[str, Rows], path: Path) -> None:
    """Draw a panel a form: bars of every row in every place, with the spread over seeds."""
    # A figure of its own, so that no display and no global state is touched.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6 * len(forms)), layout="constrained")
    panels: Any = figure.subplots(len(forms), squeeze=False)[:, 0]
    for panel, (form, rows) in zip(panels, forms.items(), strict=True):
        cells = summary(rows)
        places = _places(cells)
        wide = 0.85 / len(cells)
        for index, (row, found) in enumerate(cells.items()):
            at = np.arange(len(places)) + (index - (len(cells) - 1) / 2) * wide
            means = [100 * found.get(place, NONE)[0] for place in places]
            spreads = [100 * found.get(place, NONE)[1] for place in places]
            panel.bar(at, means, wide, yerr=spreads, label=NAMES[row], error_kw={"lw": 0.8})
        panel.set_xticks(range(len(places)), places)
        panel.set_ylabel("IoU, %")
        panel.set_title(form)
        panel.legend(fontsize="x-small", ncols=2)
    figure.savefig(path, dpi=120, format="png")


def _places(cells: dict[str, dict[str, tuple[float, float]]]) -> list[str]:
    every = {place for found in cells.values() for place in found}
    return [*sorted(every - {"mean"}), "mean"]


def _mean_and_spread(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
