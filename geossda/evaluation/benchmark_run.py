"""A benchmark's trials run in turn, and their results as tables, JSON and a plot."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geossda.config import BenchmarkConfig, ScalingKind
from geossda.evaluation import experiments as trials
from geossda.evaluation.calibration import Reliability
from geossda.evaluation.experiments import PRESETS_OF_ROWS, Trial
from geossda.evaluation.table import (
    REFERENCE_ROWS,
    ROW_TITLES,
    Difference,
    differences,
    markdown,
    paired_markdown,
    plot,
    summary,
)
from geossda.evaluation.trial_rasters import TrialRasters
from geossda.models.card import StyleCard
from geossda.models.model_file import read_card_of, resolve
from geossda.progress import Progress
from geossda.staging import atomic_write


@dataclass(frozen=True)
class BenchmarkResult:
    """Results of a benchmark so far.

    Attributes
    ----------
    folder : path
        Holds ``table.md``, ``results.json`` and ``table.png``.
    done, planned : int
        Numbers of trainings.
    table : str
        The results in Markdown.
    """

    folder: Path
    done: int
    planned: int
    table: str


def run_trials(
    planned: Sequence[Trial],
    trial_rasters: Callable[[Trial, ScalingKind], TrialRasters],
    folder: Path,
    config: BenchmarkConfig,
    progress: Progress,
) -> BenchmarkResult:
    """Run the trials of this process's part, and report on all that have results.

    Parameters
    ----------
    planned : sequence of Trial
    trial_rasters : callable
        ``trial_rasters(trial, kind)`` returns the rasters of a trial under a kind of scaling.
    folder : path
        Folder of the results.
    config : BenchmarkConfig
    progress : Progress

    Raises
    ------
    InputError
        The folder holds results of other settings.
    """
    planned = _with_models(planned, config, progress)
    folder.mkdir(parents=True, exist_ok=True)
    done = recall_all(planned, config, folder)
    for index, trial in enumerate(planned):
        if index % config.parts != config.part - 1 or trial in done:
            continue
        progress.note(f"{trial.key} ({index + 1} of {len(planned)})")
        settings = trial.settings(config)
        rasters = trial_rasters(trial, settings.scaling)
        trials.run(
            trial, rasters.sources, rasters.targets, rasters.tests, settings, folder,
            progress=progress,
        )  # fmt: skip
    return _report(list(recall_all(planned, config, folder).values()), len(planned), folder)


def _with_models(
    planned: Sequence[Trial], config: BenchmarkConfig, progress: Progress
) -> list[Trial]:
    """Return the trials whose rows have the model that they need; warn of the others."""
    preset = ""
    if config.domain_model:
        preset = read_card_of(resolve(config.domain_model, StyleCard), StyleCard).preset
    for row in dict.fromkeys(trial.row for trial in planned):
        if row in PRESETS_OF_ROWS and preset not in PRESETS_OF_ROWS[row]:
            progress.warn(
                f"row {row} is left out: it needs --domain-model (see docs/adapt.md) of preset "
                f"{' or '.join(PRESETS_OF_ROWS[row])}"
            )
            planned = [trial for trial in planned if trial.row != row]
    return list(planned)


def recall_all(
    planned: Sequence[Trial], config: BenchmarkConfig, folder: Path
) -> dict[Trial, dict[str, Any]]:
    """Return the results of those trials that have any.

    Parameters
    ----------
    planned : sequence of Trial
    config : BenchmarkConfig
    folder : path
        Folder of the results.

    Raises
    ------
    InputError
        Some results are of other settings.
    """
    recalled = ((trial, trials.recall(trial, trial.settings(config), folder)) for trial in planned)
    return {trial: result for trial, result in recalled if result is not None}


def _report(results: list[dict[str, Any]], planned: int, folder: Path) -> BenchmarkResult:
    """Write the tables, the figures and the plot of the results."""
    forms: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        forms.setdefault(result["trial"]["form"], []).append(result)
    rows = {form: trials.gather(group, lambda f: f["iou"]) for form, group in forms.items()}
    tables = []
    for form, by_place in rows.items():
        tables.append(markdown(by_place, f"{form}: IoU, %, mean ± standard deviation over seeds"))
        tables += [paired_markdown(by_place, to, f"{form}: difference") for to in REFERENCE_ROWS]
    if "one-to-others" in forms:
        by_labels = trials.gather(forms["one-to-others"], lambda f: f["iou"], by_labels=True)
        tables.append(markdown(by_labels, "the same by the place of the labels"))
    tables.append(_calibration(forms))
    table = "\n".join(filter(None, tables))
    numbers = {
        form: {
            ROW_TITLES[row]: {place: {"mean": m, "spread": s} for place, (m, s) in cells.items()}
            for row, cells in summary(by_place).items()
        }
        for form, by_place in rows.items()
    }
    paired = {
        form: {ROW_TITLES[to]: _titled(differences(by_place, to)) for to in REFERENCE_ROWS}
        for form, by_place in rows.items()
    }
    with atomic_write(folder / "table.md") as part:
        part.write_text(table)
    with atomic_write(folder / "results.json") as part:
        each = [_ious(result) for result in results]
        entries = {"trainings": len(results), **numbers, "differences": paired, "each": each}
        part.write_text(json.dumps(entries, indent=2) + "\n")
    if rows:
        with atomic_write(folder / "table.png") as part:
            plot(rows, part)
    return BenchmarkResult(folder, len(results), planned, table)


def _titled(rows: dict[str, dict[str, Difference]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return differences with the titles of their rows, as JSON holds them."""
    return {
        ROW_TITLES[row]: {place: difference._asdict() for place, difference in cells.items()}
        for row, cells in rows.items()
    }


def _ious(result: dict[str, Any]) -> dict[str, Any]:
    """Return the trial of a result, and its IoU by place."""
    trial = {key: result["trial"][key] for key in ("form", "name", "row", "seed")}
    ious = {place: figures["iou"] for place, figures in result["figures"].items()}
    return {**trial, "iou": {p: None if iou is None else round(iou, 4) for p, iou in ious.items()}}


def _calibration(forms: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return a table of calibration errors by form and row, with a temperature fitted to each."""
    lines = [
        "### expected calibration error of building probabilities, %",
        "",
        "| form | method | as trained | temperature | with it |",
        "|---|---|---|---|---|",
    ]
    for form, results in forms.items():
        for row, name in ROW_TITLES.items():
            total = Reliability.none()
            for result in results:
                if result["trial"]["row"] == row:
                    for figures in result["figures"].values():
                        total += Reliability.from_lists(figures["every"], figures["true"])
            if total.every.sum():
                fitted = total.temperature()
                lines.append(
                    f"| {form} | {name} | {100 * total.error():.1f} | {fitted:.2f} | "
                    f"{100 * total.error(fitted):.1f} |"
                )
    return "\n".join(lines) + "\n"
