"""Render every image in the style of every other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geossda.config import MatrixConfig, config_from
from geossda.errors import InputError
from geossda.evaluation.samples import sample_rasters
from geossda.evaluation.style_matrix import draw_matrix
from geossda.evaluation.style_scores import Method, by_colors, classical, learned
from geossda.formats import PICTURE_SUFFIXES, suffix_of
from geossda.harmonization.methods import sampled_map
from geossda.image_files import write_image
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import find_sources
from geossda.runs.lock import exclusive
from geossda.runtime.style_network import open_style_model
from geossda.staging import PathLike, atomic_write, check_output


@exclusive(lambda given: [given["output"]])
def matrix(
    images: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    config: MatrixConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Path:
    """Render the first patch of every image in the style of every image: the paper's Fig. 3.

    Parameters
    ----------
    images : path or sequence of path
        Two or more rasters, or folders of them, of one band count.
    output : path
        A ``.png`` or ``.jpg`` file. Content is constant along rows, style along columns; the
        originals on the diagonal are framed.
    config : MatrixConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    InputError
        `output` is not a ``.png`` or ``.jpg``.
    GeossdaError
        See :mod:`geossda.errors`.
    """
    config = config_from(MatrixConfig, config, settings)
    target = check_output(output, overwrite=config.overwrite)
    if suffix_of(target) not in PICTURE_SUFFIXES:
        raise InputError(f"{target}: a picture is written as .png or .jpg")
    samples = sample_rasters(
        find_sources(images),
        bands=config.bidx,
        nodata=config.nodata,
        patches=config.patches,
        side=config.patch,
        progress=progress,
    )
    if config.method == "ssda":
        model = open_style_model(config.style_model, config, progress)
        model.require_bands(samples[0].pixels.shape[1])
        method: Method = learned(model, config.structure)
    elif config.method == "mixture" or config.method == "graph":
        method = by_colors(sampled_map(config.method))
    else:
        method = classical(config.method)
    sheet = draw_matrix(samples, method, side=config.cell, progress=progress)
    with atomic_write(target) as part:
        write_image(part, sheet)
    return target
