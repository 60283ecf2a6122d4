"""A segmenter as a STAC item with the extension for machine learning models (MLM).

https://github.com/stac-extensions/mlm. Bands are those of the EO extension: STAC 1.1 allows none of
its own in the properties of an item, where MLM looks for them.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geossda.errors import ModelError
from geossda.models.card import SegmenterCard
from geossda.models.model_file import ModelFiles

MLM = "https://stac-extensions.github.io/mlm/v1.5.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_LICENCES = {"CC0": "CC0-1.0", "MIT": "MIT", "Apache": "Apache-2.0"}
_WORLD = (-180.0, -90.0, 180.0, 90.0)


def stac_item(files: ModelFiles, card: SegmenterCard, folder: Path) -> dict[str, Any]:
    """Return the STAC item of a segmenter, ready for JSON.

    Parameters
    ----------
    files : ModelFiles
        The ONNX file is the model that is described.
    card : SegmenterCard
    folder : Path
        Where the item will lie: its links are relative to it.

    Returns
    -------
    dict
        The model fits imagery of anywhere and any time, so that is the item's extent.

    Raises
    ------
    ModelError
        There is no ONNX file.
    """
    weights, graph = files.weights, files.graph
    if graph is None:
        raise ModelError(
            f"{weights} has no ONNX file beside it, which a STAC item describes: make it with "
            f"geossda export {weights}"
        )
    bands = [{"name": band, **_common_name(band)} for band in card.bands]
    assets = {"model": {**_model(graph, folder), "eo:bands": bands}}
    if weights is not None:
        assets["weights"] = _weights(weights, folder)
    left, bottom, right, top = _WORLD
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    name = re.sub(r"[^\w.\- ]+", "-", card.name, flags=re.ASCII).strip("-_. ") or "model"
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, EO, FILE],
        "id": re.sub(r"[^\w.-]+", "-", f"{name}-{card.sha256[:12]}", flags=re.ASCII),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(_WORLD),
        "properties": {
            "datetime": None,
            "start_datetime": "1900-01-01T00:00:00Z",
            "end_datetime": "9999-12-31T23:59:59Z",
            "title": card.name,
            "description": f"Building segmenter for imagery of {card.gsd_m:g} m a pixel. "
            f"Training data: {card.data.rstrip('.') or 'not stated'}. {card.attribution}".strip(),
            "license": _licence(card.licence),
            "gsd": card.gsd_m,
            **_properties(name if name[0].isalpha() else f"model {name}", card),
        },
        "links": [],
        "assets": assets,
    }


def _properties(name: str, card: SegmenterCard) -> dict[str, Any]:
    side, bands = card.patch_px, list(card.bands)
    return {
        "mlm:name": name if len(name) > 2 else f"model {name}",
        "mlm:architecture": f"{card.architecture}, encoder {card.encoder}",
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "ONNX",
        "mlm:pretrained": True,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:batch_size_suggestion": 1,
        "mlm:hyperparameters": {"threshold": card.threshold, "overlap_px": card.overlap_px},
        "mlm:input": [
            {
                "name": "image",
                "description": f"A window, resampled to {card.gsd_m:g} m a pixel, in 0..1.",
                "bands": bands,
                "input": _structure([1, len(bands), side, side], "bands"),
                "value_scaling": None,
                "resize_type": None,
                "pre_processing_function": _scaling(card),
            }
        ],
        "mlm:output": [
            {
                "name": "classes",
                "description": "Calibrated probabilities of a pixel's classes.",
                "tasks": ["semantic-segmentation"],
                "result": _structure([1, 2, side, side], "class"),
                "classification:classes": [
                    {"value": 0, "name": "background", "description": "No building"},
                    {"value": 1, "name": "building", "description": "Building"},
                ],
                "post_processing_function": {
                    "format": "python",
                    "expression": f"result[:, 1] >= {card.threshold:g}",
                    "description": "Pixels of buildings.",
                },
            }
        ],
    }


def _structure(shape: list[int], channels: str) -> dict[str, Any]:
    order = ["batch", channels, "height", "width"]
    return {"shape": shape, "dim_order": order, "data_type": "float32"}


def _scaling(card: SegmenterCard) -> dict[str, Any]:
    """Return how digital numbers become 0..1, as code and in words."""
    low, high = card.low_percent, card.high_percent
    words = {
        "percentile": f"The percentiles {low:g} and {high:g} of each band of the whole raster, not "
        "of the window, become 0 and 1, and what is beyond is clipped",
        "bits": "The range of the data type, or of the bits that are in use, becomes 0..1",
        "equalize": "The histogram of each band of the whole raster is equalized",
    }[card.scaling]
    if card.scaling == "percentile" and card.floor:
        words += f"; the stretch is no narrower than {card.floor:g} of the range in use"
    return {
        "format": "python",
        "expression": f"geossda.raster.scaling:scaling({card.scaling!r}, mosaic, ({low:g}, "
        f"{high:g}), floor={card.floor:g})",
        "description": f"{words}. Pixels without data are 0.",
    }


def _model(graph: Path, folder: Path) -> dict[str, Any]:
    return {
        **_file(graph, folder),
        "title": "ONNX file, which any ONNX runtime runs",
        "type": "application/octet-stream; application=onnx",
        "roles": ["mlm:model"],
        "mlm:artifact_type": "onnx",
    }


def _weights(weights: Path, folder: Path) -> dict[str, Any]:
    return {
        **_file(weights, folder),
        "title": "Weights, which PyTorch trains on from",
        "type": "application/octet-stream; application=safetensors",
        "roles": ["mlm:weights"],
    }


def _file(path: Path, folder: Path) -> dict[str, Any]:
    content = path.read_bytes()
    try:
        link = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        link = path.resolve().as_uri()
    # A multihash: SHA-256, of 32 bytes.
    digest = "1220" + hashlib.sha256(content).hexdigest()
    return {"href": link, "file:size": len(content), "file:checksum": digest}


def _licence(text: str) -> str:
    """Return an SPDX identifier, ``other`` for what none is known of."""
    if match := re.match(r"CC (BY[A-Z-]*) (\d\.\d)", text):
        return f"CC-{match[1]}-{match[2]}"
    known = (spdx for start, spdx in _LICENCES.items() if text.startswith(start))
    return next(known, "other")


def _common_name(band: str) -> Mapping[str, str]:
    return {"common_name": band} if band in ("red", "green", "blue", "nir") else {}
