"""Write the ONNX file of a model, which runs anywhere."""

from pathlib import Path
from typing import Any

from geossda.config import ExportConfig, config_from
from geossda.devices import require_torch
from geossda.errors import InputError, ModelError
from geossda.formats import ONNX_SUFFIX, suffix_of
from geossda.models.card import SegmenterCard
from geossda.models.model_file import read_card, resolve
from geossda.progress import SILENT, Progress
from geossda.segmentation.int8_ranges import measure_ranges
from geossda.staging import PathLike, atomic_write, check_output


def export(
    model: PathLike,
    output: PathLike | None = None,
    *,
    config: ExportConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Path:
    """Write the ONNX file of a model: the same weights, to be run without PyTorch.

    It is used in place of the safetensors file, or lies beside it under the same name. That of a
    segmenter also runs in Deepness and GeoDeep.

    Parameters
    ----------
    model : path
        A safetensors file; ``"default"`` is the bundled segmenter.
    output : path, optional
        An ``.onnx`` file; beside the model if not given.
    config : ExportConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        PyTorch is not installed.
    ModelError
        The model cannot be read, or its network cannot be exported.
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(ExportConfig, config, settings)
    path = resolve(model, SegmenterCard)
    if suffix_of(path) == ONNX_SUFFIX:
        raise ModelError(f"{path} is an ONNX file already: give a safetensors file")
    card = read_card(path)
    if config.calibrate and not isinstance(card, SegmenterCard):
        raise InputError(
            f"{path} is a style model, which does not run in int8: leave out --calibrate"
        )
    target = Path(output) if output is not None else path.with_suffix(ONNX_SUFFIX)
    if suffix_of(target) != ONNX_SUFFIX:
        raise InputError(f"{target}: a name ending in {ONNX_SUFFIX} was expected")
    check_output(target, overwrite=config.overwrite, inputs=[path])
    require_torch("export")
    from geossda.models.onnx_export import add_ranges
    from geossda.models.onnx_export import export as write_onnx

    with atomic_write(target) as part:
        write_onnx(path, part)
        if isinstance(card, SegmenterCard) and config.calibrate:
            add_ranges(part, measure_ranges(part, card, config.calibrate, progress))
    return target
