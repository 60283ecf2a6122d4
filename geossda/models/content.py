"""What stands in a patch, whatever its colours: features of an encoder trained on photographs."""

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.models.folding import folded


class ContentEncoder:
    """Describe patches by the mean of a segmenter's deepest features before it is trained.

    Parameters
    ----------
    network : torch.nn.Module
        An encoder-decoder of segmentation-models-pytorch.
    bands : int
    device : torch.device
    """

    def __init__(self, network: torch.nn.Module, bands: int, device: torch.device) -> None:
        self.encoder = folded(network.eval(), bands).get_submodule("encoder").to(device)
        self.device = device

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give the (features,) description of a (bands, side, side) patch."""
        scaled = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)[None].float() / 255
        described: NDArray[np.float32] = self.encoder(scaled)[-1].mean((2, 3))[0].cpu().numpy()
        return described
