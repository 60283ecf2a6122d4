"""Train a style model on rasters without labels."""

import contextlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from geossda.config import TRANSLATIONS, TrainStyleConfig, config_from
from geossda.data.scaled_rasters import UnlabelledRaster
from geossda.data.views import ViewSampler
from geossda.devices import choose, has_bfloat16
from geossda.errors import BandError, EmptyRasterError, InputError, counted
from geossda.evaluation.samples import Sample, sample_raster
from geossda.evaluation.style_matrix import draw_matrix
from geossda.evaluation.style_scores import learned, score
from geossda.formats import ONNX_SUFFIX
from geossda.image_files import write_image
from geossda.models.card import StyleCard
from geossda.models.generator import Generator
from geossda.models.onnx_export import export_beside
from geossda.models.translation import Translator
from geossda.progress import SILENT, Progress
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import find_sources, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.runs.lock import exclusive
from geossda.runtime.choice import Runtime
from geossda.runtime.style_network import style_model_of
from geossda.staging import PathLike, atomic_write, check_output
from geossda.training.rundir import removed_unless_saved, run_folder
from geossda.training.style_loop import train
from geossda.training.style_recipe import Recipe
from geossda.training.trainers import TRAINERS
from geossda.urls import file_name

# The fixed sample that a run is validated on: at most so many rasters, patches of each.
SAMPLE_RASTERS, SAMPLE_PATCHES = 6, 2
# Pixels of all rasters together that are held in memory (of three bands: 512 MB); rasters that do
# not fit are read as patches are drawn.
MAX_IN_MEMORY_PX = 2**27


@exclusive(lambda given: [given["output"], run_folder(given["output"], given["run"])])
def train_style(
    sources: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    run: PathLike | None = None,
    config: TrainStyleConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> StyleCard:
    """Train a style model on rasters without labels, and write it with its card.

    Parameters
    ----------
    sources : path or sequence of path
        Rasters, folders or globs, of any type; of those with more bands than the model takes,
        bands are drawn at random.
    output : path
        The ``.safetensors`` file; the ``.onnx`` file is written beside it, for presets without
        declared domains.
    run : path, optional
        Run directory, ``<output stem>_run`` beside the output by default; training resumes from
        its last checkpoint. It holds ``config.json``, ``stats.jsonl``, ``sample.png`` (a style
        matrix of fixed patches by the present model), ``last.pt`` and ``best.safetensors``.
    config : TrainStyleConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    StyleCard
        The card of the new model.

    Raises
    ------
    BandError
        A raster has fewer bands than the model is to take.
    InputError
        The folders of the rasters are not the domains that the preset needs.
    GeossdaError
        See :mod:`geossda.errors`.
    """
    config = config_from(TrainStyleConfig, config, settings)
    output = check_output(output, overwrite=config.overwrite)
    declared = config.preset == "daug" or config.preset in TRANSLATIONS
    if not declared:
        check_output(output.with_suffix(ONNX_SUFFIX), overwrite=config.overwrite)
    choose(config.device)  # before any work is done
    paths = find_sources(sources)
    # A domain is what lies in one folder.
    domains = [Path(path).resolve().parent.name for path in paths] if declared else []
    translates = config.preset in TRANSLATIONS
    if translates:
        _check_folders(paths, config)
    rasters: list[UnlabelledRaster] = []
    room = MAX_IN_MEMORY_PX
    progress.stage("reading rasters", len(paths))
    with gdal_environment():
        for path in paths:
            mosaic = open_mosaic(path, bands=config.bidx or None, nodata=config.nodata)
            if mosaic.count < config.bands:
                raise BandError(
                    f"{path} has {counted(mosaic.count, 'band')}, the model is to take "
                    f"{config.bands}: leave "
                    "it out, or give a smaller --bands"
                )
            check_imagery(mosaic, progress)
            rasters.append(UnlabelledRaster.prepare(mosaic, config.hold_out, room))
            if rasters[-1].in_memory is not None:
                room -= rasters[-1].in_memory[0].size
            progress.advance()
    places = 2 if not translates and Recipe.of(config).photometric > 0 else 1
    sampler = ViewSampler(
        rasters,
        config.bands,
        config.patch,
        config.seed,
        places=places,
        domains=domains if translates else (),
    )
    folder = run_folder(output, run)
    with removed_unless_saved(folder):
        card = train(
            sampler.draw,
            output,
            folder,
            config,
            sources=tuple(file_name(path) for path in paths),
            domains=domains,
            # The validation rasters have no domain.
            validate=None if declared else _Validation(paths, config, progress),
            progress=progress,
        )
    if not declared:  # which PyTorch alone runs
        export_beside(output, overwrite=config.overwrite, progress=progress)
    return card


def _check_folders(paths: list[str], config: TrainStyleConfig) -> None:
    """Raise InputError unless the folders of rasters are domains that the preset can have."""
    folders = {Path(path).resolve().parent for path in paths}
    names = sorted(folder.name for folder in folders)
    for name, following in pairwise(names):
        if name == following:
            raise InputError(
                f"two folders of rasters are called {name}, and folders are domains: rename one"
            )
    TRAINERS[config.preset].check_domains(len(names), config)


class _Validation:
    """Score of a generator on a fixed sample of patches, with a picture of their style matrix."""

    def __init__(self, paths: list[str], config: TrainStyleConfig, progress: Progress) -> None:
        self.config, self.samples = config, list[Sample]()
        device = choose(config.device)
        precision = "bfloat16" if has_bfloat16(device) else "float32"
        self.runtime = Runtime("torch", device.type, precision)
        bands = config.bidx[: config.bands] or tuple(range(1, config.bands + 1))
        chosen = [paths[index * len(paths) // SAMPLE_RASTERS] for index in range(SAMPLE_RASTERS)]
        for path in dict.fromkeys(chosen):
            with gdal_environment():
                mosaic = open_mosaic(path, bands=bands, nodata=config.nodata)
                raster = UnlabelledRaster.prepare(mosaic)
            with contextlib.suppress(EmptyRasterError):
                self.samples.append(
                    sample_raster(raster, SAMPLE_PATCHES, config.patch, config.hold_out)
                )
        if len(self.samples) < 2:
            progress.warn(
                "no sample.png and no best.safetensors: validation needs two rasters with patches "
                "free of nodata"
            )

    def __call__(self, generator: Generator | Translator, folder: Path) -> dict[str, float]:
        if len(self.samples) < 2:
            return {"score": np.inf}
        card = StyleCard("", "", self.config.preset, self.config.bands, self.config.adain)
        model = style_model_of(generator, card, self.runtime)
        method = learned(model, "full", np.inf)
        scores = score(self.samples, {"ssda": method})[0]
        with atomic_write(folder / "sample.png") as part:
            write_image(part, draw_matrix(self.samples, method, side=96))
        # Style distance that is left plus structure that is lost.
        return {
            "fall": scores.fall,
            "structure": scores.structure,
            "score": (1 - scores.fall) + (1 - scores.structure),
        }
