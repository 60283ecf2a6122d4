"""Table I of the paper, on places of one's own and on the data sets it was made on."""

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
from geossda.data.patches import WorkingRaster
from geossda.errors import EmptyRasterError
from geossda.evaluation import experiments as trials
from geossda.evaluation.calibration import Reliability
from geossda.evaluation.experiments import Trial
from geossda.evaluation.table import ROW_TITLES, markdown, plot, summary
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import Scaling, percentile_stretch, scaling
from geossda.raster.source import gdal_environment
from geossda.raster.statistics import Histograms, histograms
from geossda.staging import PathLike, atomic_write

FORMS = ("one-to-others", "leave-one-out")
# So many pixels of all rasters together are kept in memory (of three bands: 640 MB).
HELD_PX = 2**27
# Of a city, for its percentiles.
CUT_IMAGES = 100


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark found so far.

    Attributes
    ----------
    folder : path
        Holds ``table.md``, ``results.json`` and ``table.png``.
    done, planned : int
        Trainings.
    table : str
        Markdown.
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
    """Compare adaptation methods on places with footprints, none of which the other has seen.

    Parameters
    ----------
    folder : path
        Holds one folder a place, with ``mosaic_*.tif`` and one vector file of footprints.
    run : path
        Folder for the figures of every training; those that are there are not made again.
    form : {"both", "one-to-others", "leave-one-out"}
        Labels of one place, measured on every other; labels of all places but one, measured on
        that one. The target always gives its imagery.
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

    def material(trial: Trial, kind: ScalingKind) -> _Material:
        sources, targets = (
            [r for some in rasters(kind, names).values() for r in some]
            for names in (trial.sources, trial.targets)
        )
        return _Material(sources, targets, rasters(kind, trial.tests))

    return _all(planned, material, Path(run), config, progress)


def benchmark_paper(
    inria: PathLike,
    deepglobe: PathLike,
    run: PathLike,
    *,
    config: PaperBenchmarkConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> BenchmarkResult:
    """Make the paper's Table I: labels of five cities of Inria, measured on four of DeepGlobe.

    Images of both are taken at one ground sample distance, that of Inria's images halved. Those
    of DeepGlobe become 8 bit by a cut of the brightest 2 % of each band, one for a city. What is
    measured on is chosen by a hash of seed and file name, and listed in the run folder.

    Parameters
    ----------
    inria, deepglobe : path
        The data sets, in their published layouts.
    run : path
        Folder for the figures of every training; those that are there are not made again.
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
        name: datasets.chosen(pairs, config.tests, config.choice) for name, pairs in cities.items()
    }
    # Looks are taken from what is not measured on; where a city is all measured on, from that.
    others = {
        name: [pair for pair in pairs if pair not in tests[name]] or pairs
        for name, pairs in cities.items()
    }
    references = {
        name: datasets.chosen(pairs, config.references, config.choice)
        for name, pairs in others.items()
    }
    folder = Path(run)
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in tests.items():
        with atomic_write(folder / f"test_patches_{name}.txt") as part:
            part.write_text("".join(f"{pair.image.name}\n" for pair in pairs))
    names = [pair.image.name for some in (tests, references) for ps in some.values() for pair in ps]
    patches = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    planned = [
        Trial("paper", "inria", tuple(sources), tuple(cities), tuple(cities), row, seed, patches)
        for seed in range(config.seeds)
        for row in config.rows
    ]
    prepared: dict[ScalingKind, _Material] = {}

    def material(trial: Trial, kind: ScalingKind) -> _Material:
        if kind not in prepared:
            cuts: dict[str, ScalingKind | Scaling] = dict.fromkeys(cities, kind)
            if kind == "bits":
                cuts = {name: _city_cut(pairs, progress) for name, pairs in cities.items()}
            labelled = _prepare(sources, config, dict.fromkeys(sources, kind), progress)
            unlabelled = _prepare(references, config, cuts, progress)
            prepared[kind] = _Material(
                [raster for some in labelled.values() for raster in some],
                [raster for some in unlabelled.values() for raster in some],
                _prepare(tests, config, cuts, progress),
            )
        return prepared[kind]

    return _all(planned, material, folder, config, progress)


def _city_cut(pairs: Sequence[Pair], progress: Progress) -> Scaling:
    """Cut the brightest 2 % of each band, over a sample of a city's images."""
    mosaics = [open_mosaic(pair.image) for pair in datasets.chosen(pairs, CUT_IMAGES, 0)]
    progress.stage("reading statistics", len(mosaics))
    total: Histograms | None = None
    for mosaic in mosaics:
        found = histograms(mosaic)
        total = found if total is None else total + found
        progress.advance()
    if total is None:
        raise EmptyRasterError("a city without images")
    return percentile_stretch(total, 0, 98)


@dataclass(frozen=True)
class _Material:
    sources: list[WorkingRaster]
    targets: list[WorkingRaster]
    tests: Mapping[str, Sequence[WorkingRaster]]


def _all(
    planned: Sequence[Trial],
    material: Callable[[Trial, ScalingKind], _Material],
    folder: Path,
    config: BenchmarkConfig,
    progress: Progress,
) -> BenchmarkResult:
    """Run what is this process's part of the trials, and report on all that are there."""
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
            given = material(trial, settings.scaling)
            trials.run(
                trial, given.sources, given.targets, given.tests, settings, folder,
                progress=progress,
            )  # fmt: skip
    results = [
        found
        for trial in planned
        if (found := trials.recall(trial, trial.settings(config), folder)) is not None
    ]
    return _report(results, len(planned), folder)


def _report(results: list[dict[str, Any]], planned: int, folder: Path) -> BenchmarkResult:
    forms: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        forms.setdefault(result["trial"]["form"], []).append(result)
    rows = {form: trials.gather(some, lambda f: f["iou"]) for form, some in forms.items()}
    tables = [
        markdown(found, f"{form}: IoU, %, mean ± spread over seeds") for form, found in rows.items()
    ]
    if "one-to-others" in forms:
        by_labels = trials.gather(forms["one-to-others"], lambda f: f["iou"], by_labels=True)
        tables.append(markdown(by_labels, "the same by the place whose labels were used"))
    tables.append(_calibration(forms))
    table = "\n".join(tables)
    numbers = {
        form: {
            ROW_TITLES[row]: {place: {"mean": m, "spread": s} for place, (m, s) in cells.items()}
            for row, cells in summary(found).items()
        }
        for form, found in rows.items()
    }
    with atomic_write(folder / "table.md") as part:
        part.write_text(table)
    with atomic_write(folder / "results.json") as part:
        each = [_each(result) for result in results]
        told = {"trainings": len(results), **numbers, "each": each}
        part.write_text(json.dumps(told, indent=2) + "\n")
    if rows:
        with atomic_write(folder / "table.png") as part:
            plot(rows, part)
    return BenchmarkResult(folder, len(results), planned, table)


def _each(result: dict[str, Any]) -> dict[str, Any]:
    """Tell one training: what it was, and its IoU by place."""
    told = {key: result["trial"][key] for key in ("form", "name", "row", "seed")}
    ious = {place: figures["iou"] for place, figures in result["figures"].items()}
    return {**told, "iou": {p: None if iou is None else round(iou, 4) for p, iou in ious.items()}}


def _calibration(forms: Mapping[str, list[dict[str, Any]]]) -> str:
    """Fit one temperature a form and row on all its trials, and say what it changes."""
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
    """Read places: their rasters at working resolution, with labels."""
    progress.stage("reading rasters", sum(len(some) for some in pairs.values()))
    room = HELD_PX
    found: dict[str, list[WorkingRaster]] = {}
    for name, some in pairs.items():
        found[name] = []
        chosen = scalings[name]
        for pair in some:
            with gdal_environment():
                mosaic = open_mosaic(pair.image)
                shapes = read_footprints(pair.labels, mosaic.grid.crs.to_wkt())
                scaled = chosen if isinstance(chosen, Scaling) else scaling(chosen, mosaic)
            raster = WorkingRaster.prepare(mosaic, config.gsd, scaled, shapes=shapes, room_px=room)
            room -= raster.held_px
            found[name].append(raster)
            progress.advance()
        if not found[name]:
            raise EmptyRasterError(f"{name} has no raster")
    return found
