"""Table I of the paper, on any labelled places and on the paper's data sets."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geossda.config import BenchmarkConfig, PaperBenchmarkConfig, ScalingKind, config_from
from geossda.data import datasets
from geossda.data.datasets import Pair
from geossda.data.labels import read_footprints
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import EmptyRasterError
from geossda.evaluation import experiments as trials
from geossda.evaluation.calibration import Reliability
from geossda.evaluation.experiments import Trial
from geossda.evaluation.table import ROW_TITLES, markdown, plot, summary
from geossda.progress import SILENT, Progress
from geossda.raster.histograms import Histograms, histograms
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import Scaling, percentile_stretch, scaling
from geossda.raster.source import gdal_environment
from geossda.staging import PathLike, atomic_write

FORMS = ("one-to-others", "leave-one-out")
# Pixels of all rasters together that are kept in memory (of three bands: 640 MB).
MAX_IN_MEMORY_PX = 2**27
# Images of a city that its percentiles are measured on.
STRETCH_IMAGES = 100


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


def benchmark_places(
    folder: PathLike,
    run: PathLike,
    *,
    form: Literal["both", "one-to-others", "leave-one-out"] = "both",
    config: BenchmarkConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> BenchmarkResult:
    """Compare adaptation methods on labelled places that they were not trained on.

    Parameters
    ----------
    folder : path
        Holds one folder per place, with ``mosaic_*.tif`` and one vector file of footprints.
    run : path
        Folder for the results of all trainings; existing ones are not repeated.
    form : {"both", "one-to-others", "leave-one-out"}
        Trained on labels of one place and measured on every other; or trained on labels of all
        places but one and measured on that one. The target's imagery is always used.
    config : BenchmarkConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    BenchmarkResult
        Figures so far, and where they are.

    Raises
    ------
    GeossdaError
        See :mod:`geossda.errors`.
    """
    config = config_from(BenchmarkConfig, config, settings)
    places = datasets.places(Path(folder))
    forms = FORMS if form == "both" else (form,)
    planned = [trial for each in forms for trial in trials.plan(each, list(places), config)]
    prepared: dict[ScalingKind, dict[str, list[WorkingRaster]]] = {}

    def rasters(kind: ScalingKind, names: Sequence[str]) -> dict[str, list[WorkingRaster]]:
        if kind not in prepared:
            prepared[kind] = _prepare(places, config, dict.fromkeys(places, kind), progress)
        return {name: prepared[kind][name] for name in names}

    def trial_rasters(trial: Trial, kind: ScalingKind) -> _TrialRasters:
        sources, targets = (
            [raster for place in rasters(kind, names).values() for raster in place]
            for names in (trial.sources, trial.targets)
        )
        return _TrialRasters(sources, targets, rasters(kind, trial.tests))

    return _run_trials(planned, trial_rasters, Path(run), config, progress)


def benchmark_paper(
    inria: PathLike,
    deepglobe: PathLike,
    run: PathLike,
    *,
    config: PaperBenchmarkConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> BenchmarkResult:
    """Reproduce the paper's Table I: labels of five cities of Inria, tested on four of DeepGlobe.

    Images of both are resampled to one ground sample distance, twice that of Inria's. Those of
    DeepGlobe are scaled to 8 bit with a cut of the brightest 2 % of each band, per city. The test
    images are chosen by a hash of seed and file name, and listed in the run folder.

    Parameters
    ----------
    inria, deepglobe : path
        The data sets in their published layouts.
    run : path
        Folder for the results of all trainings; existing ones are not repeated.
    config : PaperBenchmarkConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    BenchmarkResult
        Figures so far, and where they are.

    Raises
    ------
    GeossdaError
        See :mod:`geossda.errors`.
    """
    config = config_from(PaperBenchmarkConfig, config, settings)
    sources = datasets.inria(Path(inria))
    cities = datasets.spacenet(Path(deepglobe))
    tests = {
        name: datasets.choose_pairs(pairs, config.tests, config.choice)
        for name, pairs in cities.items()
    }
    # Styles come from images that are not tested on; if all of a city are, from those.
    others = {
        name: [pair for pair in pairs if pair not in tests[name]] or pairs
        for name, pairs in cities.items()
    }
    references = {
        name: datasets.choose_pairs(pairs, config.references, config.choice)
        for name, pairs in others.items()
    }
    folder = Path(run)
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in tests.items():
        with atomic_write(folder / f"test_patches_{name}.txt") as part:
            part.write_text("".join(f"{pair.image.name}\n" for pair in pairs))
    names = [p.image.name for chosen in (tests, references) for ps in chosen.values() for p in ps]
    patches = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    planned = [
        Trial("paper", "inria", tuple(sources), tuple(cities), tuple(cities), row, seed, patches)
        for seed in range(config.seeds)
        for row in config.rows
    ]
    prepared: dict[ScalingKind, _TrialRasters] = {}

    def trial_rasters(trial: Trial, kind: ScalingKind) -> _TrialRasters:
        if kind not in prepared:
            scalings: dict[str, ScalingKind | Scaling] = dict.fromkeys(cities, kind)
            if kind == "bits":
                scalings = {name: _city_stretch(pairs, progress) for name, pairs in cities.items()}
            labelled = _prepare(sources, config, dict.fromkeys(sources, kind), progress)
            unlabelled = _prepare(references, config, scalings, progress)
            prepared[kind] = _TrialRasters(
                [raster for city in labelled.values() for raster in city],
                [raster for city in unlabelled.values() for raster in city],
                _prepare(tests, config, scalings, progress),
            )
        return prepared[kind]

    return _run_trials(planned, trial_rasters, folder, config, progress)


def _city_stretch(pairs: Sequence[Pair], progress: Progress) -> Scaling:
    """Return a stretch that cuts the brightest 2 % of each band of a sample of a city's images."""
    mosaics = [open_mosaic(pair.image) for pair in datasets.choose_pairs(pairs, STRETCH_IMAGES, 0)]
    progress.stage("reading statistics", len(mosaics))
    total: Histograms | None = None
    for mosaic in mosaics:
        counts = histograms(mosaic)
        total = counts if total is None else total + counts
        progress.advance()
    if total is None:
        raise EmptyRasterError("a city has no images: check the data set's folders")
    return percentile_stretch(total, 0, 98)


@dataclass(frozen=True)
class _TrialRasters:
    """Rasters of a trial: labelled, unlabelled, and by place those to test on."""

    sources: list[WorkingRaster]
    targets: list[WorkingRaster]
    tests: Mapping[str, Sequence[WorkingRaster]]


def _run_trials(
    planned: Sequence[Trial],
    trial_rasters: Callable[[Trial, ScalingKind], _TrialRasters],
    folder: Path,
    config: BenchmarkConfig,
    progress: Progress,
) -> BenchmarkResult:
    """Run the trials of this process's part, and report on all that have results."""
    if any(trial.row == "daug" for trial in planned) and not config.domain_model:
        progress.warn("row daug is left out: it needs --domain-model (see docs/adapt.md)")
        planned = [trial for trial in planned if trial.row != "daug"]
    folder.mkdir(parents=True, exist_ok=True)
    for index, trial in enumerate(planned):
        settings = trial.settings(config)
        if index % config.parts != config.part - 1:
            continue
        if trials.recall(trial, settings, folder) is None:
            progress.note(f"{trial.key} ({index + 1} of {len(planned)})")
            rasters = trial_rasters(trial, settings.scaling)
            trials.run(
                trial, rasters.sources, rasters.targets, rasters.tests, settings, folder,
                progress=progress,
            )  # fmt: skip
    results = [
        result
        for trial in planned
        if (result := trials.recall(trial, trial.settings(config), folder)) is not None
    ]
    return _report(results, len(planned), folder)


def _report(results: list[dict[str, Any]], planned: int, folder: Path) -> BenchmarkResult:
    """Write the tables, the figures and the plot of the results."""
    forms: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        forms.setdefault(result["trial"]["form"], []).append(result)
    rows = {form: trials.gather(group, lambda f: f["iou"]) for form, group in forms.items()}
    tables = [
        markdown(by_place, f"{form}: IoU, %, mean ± standard deviation over seeds")
        for form, by_place in rows.items()
    ]
    if "one-to-others" in forms:
        by_labels = trials.gather(forms["one-to-others"], lambda f: f["iou"], by_labels=True)
        tables.append(markdown(by_labels, "the same by the place of the labels"))
    tables.append(_calibration(forms))
    table = "\n".join(tables)
    numbers = {
        form: {
            ROW_TITLES[row]: {place: {"mean": m, "spread": s} for place, (m, s) in cells.items()}
            for row, cells in summary(by_place).items()
        }
        for form, by_place in rows.items()
    }
    with atomic_write(folder / "table.md") as part:
        part.write_text(table)
    with atomic_write(folder / "results.json") as part:
        each = [_ious(result) for result in results]
        entries = {"trainings": len(results), **numbers, "each": each}
        part.write_text(json.dumps(entries, indent=2) + "\n")
    if rows:
        with atomic_write(folder / "table.png") as part:
            plot(rows, part)
    return BenchmarkResult(folder, len(results), planned, table)


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


def _prepare(
    pairs: Mapping[str, Sequence[Pair]],
    config: BenchmarkConfig,
    scalings: Mapping[str, ScalingKind | Scaling],
    progress: Progress,
) -> dict[str, list[WorkingRaster]]:
    """Return rasters at working resolution with labels, by place."""
    progress.stage("reading rasters", sum(map(len, pairs.values())))
    room_px = MAX_IN_MEMORY_PX
    rasters: dict[str, list[WorkingRaster]] = {}
    for name, of_place in pairs.items():
        rasters[name] = []
        kind = scalings[name]
        for pair in of_place:
            with gdal_environment():
                mosaic = open_mosaic(pair.image)
                shapes = read_footprints(pair.labels, mosaic.grid.crs.to_wkt())
                scaled = kind if isinstance(kind, Scaling) else scaling(kind, mosaic)
            raster = WorkingRaster.prepare(
                mosaic, config.gsd, scaled, shapes=shapes, max_pixels=room_px
            )
            room_px -= raster.pixels_in_memory
            rasters[name].append(raster)
            progress.advance()
        if not rasters[name]:
            raise EmptyRasterError(f"{name} has no raster: check its folder")
    return rasters
