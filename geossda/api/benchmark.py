"""Table I of the paper, on any labelled places and on the paper's data sets."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from geossda.config import BenchmarkConfig, PaperBenchmarkConfig, ScalingKind, config_from
from geossda.data import datasets
from geossda.data.datasets import Pair
from geossda.evaluation import experiments as trials
from geossda.evaluation.benchmark_run import BenchmarkResult, recall_all, run_trials
from geossda.evaluation.experiments import Trial
from geossda.evaluation.trial_rasters import (
    PlaceRasters,
    TrialRasters,
    city_stretch,
    prepare_places,
)
from geossda.progress import SILENT, Progress
from geossda.raster.scaling import Scaling
from geossda.staging import PathLike, atomic_write

FORMS = ("one-to-others", "leave-one-out")


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
    return run_trials(planned, PlaceRasters(places, config, progress), Path(run), config, progress)


def benchmark_transfer(
    sources: PathLike | Sequence[PathLike],
    targets: PathLike | Sequence[PathLike],
    run: PathLike,
    *,
    config: BenchmarkConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> BenchmarkResult:
    """Compare adaptation methods from labelled places to other places, measured on those.

    Parameters
    ----------
    sources, targets : path or sequence of path
        Folders of places, or folders that hold one folder per place: ``mosaic_*.tif`` and one
        vector file of footprints. Labels of targets are measured on and not trained on; their
        other rasters, and targets without labels, give imagery alone.
    run : path
        Folder for the results of all trainings; existing ones are not repeated.
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
    labelled, others = datasets.transfer_places(_paths(sources), _paths(targets))
    measured = [name for name, pairs in others.items() if any(pair.labels for pair in pairs)]
    planned = [
        Trial("transfer", "sources", tuple(labelled), tuple(others), tuple(measured), row, seed,
              _hash_names(labelled, others))
        for seed in range(config.seeds)
        for row in config.rows
    ]  # fmt: skip
    places = PlaceRasters({**labelled, **others}, config, progress)
    return run_trials(planned, places, Path(run), config, progress)


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
    patches = _hash_names(tests, references)
    planned = [
        Trial("paper", "inria", tuple(sources), tuple(cities), tuple(cities), row, seed, patches)
        for seed in range(config.seeds)
        for row in config.rows
    ]
    recall_all(planned, config, folder)  # results of other patches keep their lists
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in tests.items():
        with atomic_write(folder / f"test_patches_{name}.txt") as part:
            part.write_text("".join(f"{pair.image.name}\n" for pair in pairs))
    prepared: dict[ScalingKind, TrialRasters] = {}

    def trial_rasters(trial: Trial, kind: ScalingKind) -> TrialRasters:
        if kind not in prepared:
            scalings: dict[str, ScalingKind | Scaling] = dict.fromkeys(cities, kind)
            if kind == "bits":
                scalings = {name: city_stretch(pairs, progress) for name, pairs in cities.items()}
            labelled = prepare_places(sources, config, dict.fromkeys(sources, kind), progress)
            unlabelled = prepare_places(references, config, scalings, progress)
            prepared[kind] = TrialRasters(
                [raster for city in labelled.values() for raster in city],
                [raster for city in unlabelled.values() for raster in city],
                prepare_places(tests, config, scalings, progress),
            )
        return prepared[kind]

    return run_trials(planned, trial_rasters, folder, config, progress)


def _hash_names(*chosen: Mapping[str, Sequence[Pair]]) -> str:
    """Return a hash of the names of images, by which results are of these and no others."""
    names = [
        pair.image.name for pairs in chosen for of_place in pairs.values() for pair in of_place
    ]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | os.PathLike) else list(map(Path, given))
