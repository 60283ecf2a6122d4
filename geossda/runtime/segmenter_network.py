"""A segmenter that is ready to predict, whatever runs it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.config import SegmentConfig
from geossda.errors import ModelError
from geossda.models.card import SegmenterCard
from geossda.models.model_file import ModelFiles, read_model
from geossda.models.onnx_file import read_onnx
from geossda.models.tta import mean_logits
from geossda.parallel.ordered_map import ordered_map
from geossda.progress import SILENT, Progress
from geossda.runtime.choice import Runtime, choose_runtime
from geossda.runtime.graph import Graph


@dataclass(frozen=True)
class SegmenterNetwork:
    """A segmenter that is ready to predict.

    Attributes
    ----------
    graph : Graph
        (N, bands, side, side) images to (N, 1, side, side) calibrated logits.
    card : SegmenterCard
    runtime : Runtime
    symmetries : {1, 2, 4, 8}
        Number of mirror images and rotations that are averaged over.
    """

    graph: Graph
    card: SegmenterCard
    runtime: Runtime
    symmetries: int = 1

    @property
    def side_by_side(self) -> bool:
        """Whether several threads run one window each."""
        return self.graph.side_by_side

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, side, side) logits of (N, bands, side, side) images."""
        if self.runtime.name == "openvino" and self.side_by_side:
            # So that no core is idle where windows are few; there are no more requests than cores.
            return mean_logits(self._logits, images, self.symmetries, ordered_map)
        return mean_logits(self._logits, images, self.symmetries)

    def prepare(self) -> None:
        """Prepare for single windows, beside other work."""
        side = self.card.patch_px
        self.graph.prepare([(1, len(self.card.bands), side, side)])

    def _logits(self, images: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(self.graph([images])[0][:, 0], np.float32)


def open_segmenter(config: SegmentConfig, progress: Progress = SILENT) -> SegmenterNetwork:
    """Return the segmenter of some settings, run by what they choose.

    Parameters
    ----------
    config : SegmentConfig
    progress : Progress
        Warned where the processor is an old one.

    Raises
    ------
    ModelError
        The model is missing, damaged or no segmenter, or its files do not fit each other.
    InputError
        What is to run it is not there.
    """
    files, card = read_model(config.model, SegmenterCard)
    runtime = choose_runtime(config, files, progress)
    if runtime.name == "torch":
        graph: Graph = _of_torch(files, runtime)
    else:
        graph = _of_openvino(files, card, runtime, config.batch)
    return SegmenterNetwork(graph, card, runtime, config.tta)


def with_runtime(config: SegmentConfig, runtime: Runtime) -> SegmentConfig:
    """Return settings that choose this runtime and no other, as workers have to.

    Parameters
    ----------
    config : SegmentConfig
    runtime : Runtime
    """
    return dataclasses.replace(config, **runtime.settings())


def _of_torch(files: ModelFiles, runtime: Runtime) -> Graph:
    from geossda.models.segmenter import load_segmenter
    from geossda.runtime.torch_graph import TorchGraph

    if files.weights is None:
        raise ModelError("PyTorch needs the model's safetensors file")
    network, _ = load_segmenter(files.weights)
    return TorchGraph(network, runtime)


def _of_openvino(files: ModelFiles, card: SegmenterCard, runtime: Runtime, callers: int) -> Graph:
    from geossda.runtime.openvino_graph import OpenvinoGraph

    if files.graph is None:
        raise ModelError("OpenVINO needs the model's ONNX file")
    file = read_onnx(files.graph)
    side = card.patch_px
    ports = ({"image": (1, len(card.bands), side, side)}, {"classes": (1, 2, side, side)})
    if (file.inputs, file.outputs) != ports:
        actual, promised = (
            ", ".join(f"{name} {shape}" for part in both for name, shape in part.items())
            for both in ((file.inputs, file.outputs), ports)
        )
        raise ModelError(
            f"{files.graph} has a card that does not fit its graph: it has {actual[:200]}, "
            f"{promised} was expected; make it with geossda export"
        )
    return OpenvinoGraph(file, ["image"], ["logits"], runtime, callers)
