"""The paper's Table I on any data: the same training under every adaptation method, measured.

A trial is one training of one method with one seed; its figures are kept in a file of their own, so
that a table of many hours can be stopped, gone on with, and shared out over processes.
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
from geossda.config import AdaptMethod, BenchmarkConfig, Row, TrainSegmenterConfig
from geossda.data.patches import WorkingRaster
from geossda.devices import choose
from geossda.evaluation.calibration import Reliability
from geossda.models.segmenter import load_segmenter
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window
from geossda.segmentation.sliding_window import WindowReader, predict
from geossda.staging import atomic_write
from geossda.training.segmenter_loop import train


@dataclass(frozen=True)
class Trial:
    """One training, and where it is measured.

    Attributes
    ----------
    form : str
        Of the table it belongs to, such as ``"one-to-others"``.
    name : str
        What tells it from the form's others: the source, or the place left out.
    sources, targets, tests : tuple of str
        Places whose labels are used, whose imagery is used, and where it is measured.
    row : Row
        The method, and whether the target teaches.
    seed : int
    patches : str
        Hash of the patches chosen, where places are not taken whole.
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
        """What its files are called."""
        return f"{self.form}_{self.name}_{self.row.replace('+', '_')}_{self.seed}"

    def settings(self, config: BenchmarkConfig) -> TrainSegmenterConfig:
        """Give the settings of the training."""
        name, _, teacher = self.row.partition("+")
        method = cast(AdaptMethod, name)
        return TrainSegmenterConfig(
            adapt=method,
            mean_teacher=bool(teacher),
            share=config.share,
            style_model=(method == "daug" and config.domain_model) or config.style_model,
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
    """Plan the trainings of a form on places that all have labels.

    Parameters
    ----------
    form : {"one-to-others", "leave-one-out"}
        Labels of one place, measured on every other; labels of all but one, measured on that one.
    names : sequence of str
        The places.
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
    """Run a trial and keep its figures.

    Parameters
    ----------
    trial : Trial
    sources, targets : sequences of WorkingRaster
        With labels, and without.
    tests : dict
        Labelled rasters by place, to measure on.
    config : TrainSegmenterConfig
        As the trial gives it.
    folder : path
        Where figures are kept.
    progress : Progress

    Returns
    -------
    dict
        Settings and figures, as they are kept.
    """
    streams = training_streams(config, sources, targets, progress=progress)
    model, work = folder / f"{trial.key}.safetensors", folder / f"{trial.key}_run"
    made_of = {"trial": _plain(dataclasses.asdict(trial)), "settings": _defining(config)}
    record = work / "trial.json"
    if not record.exists() or json.loads(record.read_text()) != made_of:
        shutil.rmtree(work, ignore_errors=True)  # what a stop left of another training
        work.mkdir(parents=True)
        record.write_text(json.dumps(made_of) + "\n")
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
    for name, rasters in tests.items():
        reliability = measure(model, rasters, config.device)
        counts = reliability.confusion().to_dict()
        figures[name] = {
            # A ratio of nothing is not a number, which JSON has no word for.
            **{key: None if math.isnan(value) else value for key, value in counts.items()},
            "every": reliability.every.tolist(),
            "true": reliability.true.tolist(),
        }
    found = {**made_of, "figures": figures}
    with atomic_write(folder / f"{trial.key}.json") as part:
        part.write_text(json.dumps(found) + "\n")
    shutil.rmtree(work, ignore_errors=True)
    model.unlink()
    return found


def recall(trial: Trial, config: TrainSegmenterConfig, folder: Path) -> dict[str, Any] | None:
    """Give what a trial gave before, if places and settings were the same."""
    kept = folder / f"{trial.key}.json"
    if not kept.exists():
        return None
    found: dict[str, Any] = json.loads(kept.read_text())
    now = {"trial": _plain(dataclasses.asdict(trial)), "settings": _defining(config)}
    # What came later stands at what was done before it.
    same = all(now[part].get(name) == value for part in now for name, value in found[part].items())
    return found if same else None


def _defining(config: TrainSegmenterConfig) -> dict[str, Any]:
    """Give the settings that figures depend on, as JSON gives them back."""
    settings = dataclasses.asdict(config)
    for name in ("overwrite", "device", "checkpoint"):
        settings.pop(name)
    for name in ("encoder_weights", "style_model", "init_from"):  # wherever the file lies
        settings[name] = settings[name] and Path(settings[name]).name
    return _plain(settings)


def _plain(entries: dict[str, Any]) -> dict[str, Any]:
    """Give entries as JSON gives them back."""
    return cast(dict[str, Any], json.loads(json.dumps(entries)))


def measure(model: Path, rasters: Sequence[WorkingRaster], device: str) -> Reliability:
    """Predict rasters as ``segment`` does, and count their pixels by logit and label."""
    network, card = load_segmenter(model)
    total = Reliability.none()
    for raster in rasters:
        reader = WindowReader(raster.mosaic, [raster.scaling], card.patch_px, 0)
        strips = predict(reader, network, choose(device), overlap_px=card.overlap_px, batch=1)
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
    """Arrange a figure of all trials by row, place and seed; what has none is left out.

    The places are those measured on; or, `by_labels`, those that tell trainings apart: the ones
    whose labels were used, or that were left out. Where several figures meet, their mean stands.
    """
    cells: dict[tuple[str, str, int], list[float]] = {}
    for result in results:
        trial = result["trial"]
        for measured, figures in result["figures"].items():
            place = trial["name"] if by_labels else measured
            if (number := value(figures)) is not None:
                cells.setdefault((trial["row"], place, trial["seed"]), []).append(number)
    rows: Rows = {}
    for (row, place, seed), found in sorted(cells.items(), key=lambda item: item[0][2]):
        rows.setdefault(row, {}).setdefault(place, {})[seed] = float(np.mean(found))
    return rows
