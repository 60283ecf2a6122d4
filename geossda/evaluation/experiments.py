"""Trials of the paper's Table I: the same training with each adaptation method, measured.

A trial is one training of one method with one seed. Its results are kept in a file of their own, so
that a table of many hours can be interrupted, resumed, and divided among processes.
"""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from geossda.adapt.samplers import training_streams
from geossda.adapt.strategies import STRATEGIES
from geossda.config import (
    TRANSLATIONS,
    AdaptMethod,
    BenchmarkConfig,
    Row,
    SegmentConfig,
    TrainSegmenterConfig,
)
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import InputError
from geossda.evaluation.calibration import Reliability
from geossda.models.card import StyleCard
from geossda.models.model_file import read_card, resolve
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window
from geossda.runtime.segmenter_network import SegmenterNetwork, open_segmenter
from geossda.segmentation.sliding_window import WindowReader, predict
from geossda.staging import atomic_write
from geossda.training.segmenter_loop import train

TRANSLATION_ROWS = ("translation", "standardgan")
# Presets of the style models that rows of declared domains need.
PRESETS_OF_ROWS: dict[str, tuple[str, ...]] = {
    "daug": ("daug",),
    "translation": TRANSLATIONS,
    "standardgan": ("standardgan",),
}


@dataclass(frozen=True)
class Trial:
    """One training, and the places it is measured on.

    Attributes
    ----------
    form : str
        Form of the table, such as ``"one-to-others"``.
    name : str
        The source, or the place that is left out.
    sources, targets, tests : tuple of str
        Places whose labels are used, whose imagery is used, and that are measured on.
    row : Row
        The method, and whether a mean teacher is used.
    seed : int
    patches : str
        Hash of the names of the chosen images, if places are not used whole.
    """

    form: str
    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    tests: tuple[str, ...]
    row: Row
    seed: int
    patches: str = ""

    @property
    def key(self) -> str:
        """Stem of the trial's files."""
        return f"{self.form}_{self.name}_{self.row.replace('+', '_')}_{self.seed}"

    def settings(self, config: BenchmarkConfig) -> TrainSegmenterConfig:
        """Return the settings of the training."""
        name, _, teacher = self.row.partition("+")
        method = cast(AdaptMethod, name)
        of_domains = method in PRESETS_OF_ROWS
        return TrainSegmenterConfig(
            adapt=method,
            # What these systems put out, not the colour transform nearest to it.
            structure="full" if method in TRANSLATION_ROWS else "lock",
            mean_teacher=bool(teacher),
            share=config.share,
            style_model=(of_domains and config.domain_model) or config.style_model,
            jitter=config.jitter,
            # Methods are compared as they were published, without other augmentation.
            degrade=False,
            auxiliary=0.0,
            scaling=STRATEGIES[method].scaling or config.scaling,
            architecture=config.architecture,
            encoder=config.encoder,
            encoder_weights=config.encoder_weights,
            gsd=config.gsd,
            steps=config.steps,
            batch=config.batch,
            patch=config.patch,
            schedule=config.schedule,
            seed=self.seed,
            checkpoint=min(config.steps, 1000),
            device=config.device,
        )


def plan(form: str, names: Sequence[str], config: BenchmarkConfig) -> Iterator[Trial]:
    """Yield the trials of a form on labelled places.

    Parameters
    ----------
    form : {"one-to-others", "leave-one-out"}
        Labels of one place, measured on every other; or labels of all but one, measured on that.
    names : sequence of str
        Names of the places.
    config : BenchmarkConfig
    """
    for seed in range(config.seeds):
        for name in names:
            others = tuple(other for other in names if other != name)
            one = (name,)
            sources, targets = (one, others) if form == "one-to-others" else (others, one)
            for row in config.rows:
                yield Trial(form, name, sources, targets, targets, row, seed)


def run(
    trial: Trial,
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
    tests: Mapping[str, Sequence[WorkingRaster]],
    config: TrainSegmenterConfig,
    folder: Path,
    *,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Run a trial and write its results.

    Parameters
    ----------
    trial : Trial
    sources, targets : sequences of WorkingRaster
        Rasters with labels, and without.
    tests : dict
        Labelled rasters to measure on, by place.
    config : TrainSegmenterConfig
        What :meth:`Trial.settings` returns.
    folder : path
        Folder of the results.
    progress : Progress

    Returns
    -------
    dict
        Trial, settings and figures, as they are written.
    """
    mapped = STRATEGIES[config.adapt].mapped
    sources, targets = (mapped(config, each, progress) for each in (sources, targets))
    streams = training_streams(config, sources, targets, progress=progress)
    model, work = folder / f"{trial.key}.safetensors", folder / f"{trial.key}_run"
    identity = _identity(trial, config)
    record = work / "trial.json"
    if not record.exists() or json.loads(record.read_text()) != identity:
        shutil.rmtree(work, ignore_errors=True)  # left by an interrupted training of other settings
        work.mkdir(parents=True)
        record.write_text(json.dumps(identity) + "\n")
    train(
        streams.labelled,
        sources[0].mosaic.count,
        model,
        work,
        config,
        draw_target=streams.target,
        objective=streams.objective,
        places=streams.places,
        progress=progress,
    )
    figures = {}
    network = open_segmenter(SegmentConfig(model=str(model), device=config.device, runtime="torch"))
    for name, rasters in tests.items():
        reliability = measure(network, mapped(config, rasters, progress))
        counts = reliability.confusion().to_dict()
        figures[name] = {
            # Ratios of nothing are NaN, which JSON cannot hold.
            **{key: None if math.isnan(value) else value for key, value in counts.items()},
            "every": reliability.every.tolist(),
            "true": reliability.true.tolist(),
        }
    result = {**identity, "figures": figures}
    with atomic_write(folder / f"{trial.key}.json") as part:
        part.write_text(json.dumps(result) + "\n")
    shutil.rmtree(work, ignore_errors=True)
    model.unlink()
    return result


def recall(trial: Trial, config: TrainSegmenterConfig, folder: Path) -> dict[str, Any] | None:
    """Return the written results of a trial, or None if there are none.

    Parameters
    ----------
    trial : Trial
    config : TrainSegmenterConfig
        What :meth:`Trial.settings` returns.
    folder : path
        Folder of the results.

    Raises
    ------
    InputError
        The results are of other settings or places.
    """
    path = folder / f"{trial.key}.json"
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    now = _identity(trial, config)
    # Settings that were added since had the values that are now their defaults.
    for part, entries in now.items():
        for name, before in result[part].items():
            if (value := entries.get(name)) != before:
                raise InputError(
                    f"{path} is of {name} {json.dumps(before)}, now {json.dumps(value)}: give "
                    "another --run, or delete the file"
                )
    return result


def _identity(trial: Trial, config: TrainSegmenterConfig) -> dict[str, dict[str, Any]]:
    """Return what the results of a trial depend on, as JSON returns it."""
    return {"trial": _plain(dataclasses.asdict(trial)), "settings": _defining(config)}


def _defining(config: TrainSegmenterConfig) -> dict[str, Any]:
    """Return the settings that results depend on, as JSON returns them."""
    settings = dataclasses.asdict(config)
    for name in ("overwrite", "device", "checkpoint"):
        settings.pop(name)
    for name in ("encoder_weights", "style_model", "init_from"):  # wherever the file lies
        settings[name] = settings[name] and Path(settings[name]).name
    if STRATEGIES[config.adapt].needs_style_model:  # "default" is another one in each version
        card = read_card(resolve(config.style_model, StyleCard))
        settings["style_weights"] = card.sha256[:12]
    return _plain(settings)


def _plain(entries: dict[str, Any]) -> dict[str, Any]:
    """Return entries as JSON returns them."""
    return cast(dict[str, Any], json.loads(json.dumps(entries)))


def measure(network: SegmenterNetwork, rasters: Sequence[WorkingRaster]) -> Reliability:
    """Predict rasters as ``segment`` does, and return counts of pixels by logit and label.

    Parameters
    ----------
    network : SegmenterNetwork
    rasters : sequence of WorkingRaster
        With labels.
    """
    card = network.card
    total = Reliability.none()
    for raster in rasters:
        reader = WindowReader(raster.mosaic, [raster.scaling], card.patch_px, 0)
        strips = predict(reader, network, overlap_px=card.overlap_px, batch=1)
        for strip in strips:
            height, width = strip.probability.shape
            label = raster.read(Window(strip.row, 0, height, width))[-2]
            known = np.clip(strip.probability[strip.valid].astype(np.float64), 1e-9, 1 - 1e-9)
            logits = np.log(known / (1 - known)).astype(np.float32)
            total += Reliability.of(logits, label[strip.valid] > 0)
    return total


# By row, place and seed.
Rows = dict[str, dict[str, dict[int, float]]]


def gather(
    results: Sequence[dict[str, Any]],
    value: Callable[[dict[str, Any]], float | None],
    *,
    by_labels: bool = False,
) -> Rows:
    """Arrange a figure of all trials by row, place and seed.

    Parameters
    ----------
    results : sequence of dict
        What :func:`run` returned.
    value : callable
        ``value(figures)`` returns the figure, or None, which leaves the trial out.
    by_labels : bool
        Whether places are those of the labels, or left out, instead of those measured on. The
        figure is the mean over all places measured on.
    """
    cells: dict[tuple[str, str, int], list[float]] = {}
    for result in results:
        trial = result["trial"]
        for measured, figures in result["figures"].items():
            place = trial["name"] if by_labels else measured
            if (number := value(figures)) is not None:
                cells.setdefault((trial["row"], place, trial["seed"]), []).append(number)
    rows: Rows = {}
    for (row, place, seed), numbers in sorted(cells.items(), key=lambda item: item[0][2]):
        rows.setdefault(row, {}).setdefault(place, {})[seed] = float(np.mean(numbers))
    return rows
