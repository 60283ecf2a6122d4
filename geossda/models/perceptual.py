"""The loss network of L_per: VGG16 up to relu3_3, trained on ImageNet."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from geossda.errors import ModelError

# relu3_3 is the 16th layer of torchvision's `vgg16().features`.
LAYERS = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Oxford's weights, converted from Caffe, take BGR from 0 to 255 without a division. Networks of
# ReLUs scale with their input, so a division of the output makes both kinds alike.
CAFFE_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
CAFFE_STD, CAFFE_SCALE = (1 / 255,) * 3, 255 * 0.226


class Perceptual(nn.Module):
    """Features of images, three bands at a time (Johnson et al. 2016).

    Parameters
    ----------
    weights : str
        ``"imagenet"`` (torchvision's, from its hub) or a safetensors file with the keys of
        ``torchvision.models.vgg16().features``; one with "caffe" in its name takes BGR, 0 to 255.
    pool : int
        Images are averaged over cells of so many pixels a side first, as in the authors' release.

    Raises
    ------
    ModelError
        The weights cannot be downloaded, do not exist or do not fit.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, weights: str = "imagenet", pool: int = 4) -> None:
        super().__init__()
        from torchvision.models import VGG16_Weights, vgg16

        self.pool, self.scale = pool, 1.0
        self.layers = vgg16().features[:LAYERS]
        mean, std = MEAN, STD
        if weights == "imagenet":
            try:
                state = VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=False)
            except OSError as error:
                raise ModelError(
                    f"weights of VGG16 cannot be downloaded ({error}): go online, give a "
                    "safetensors file with --vgg FILE, or train without L_per with --perceptual 0"
                ) from error
            state = {name.removeprefix("features."): tensor for name, tensor in state.items()}
        elif Path(weights).is_file():
            state = load_file(weights)
        else:
            raise ModelError(
                f"weights of VGG16 {weights} do not exist: give a safetensors file with --vgg, or "
                "train without L_per with --perceptual 0"
            )
        needed = self.layers.state_dict()
        if lacking := [name for name in needed if name not in state]:
            raise ModelError(f"{weights} lacks tensors of VGG16, such as {lacking[0]}")
        self.layers.load_state_dict({name: state[name] for name in needed})
        if "caffe" in Path(weights).name.lower():
            mean, std, self.scale = CAFFE_MEAN, CAFFE_STD, 1 / CAFFE_SCALE
            first = self.layers[0]
            first.weight.data = first.weight.data.flip(1).contiguous()
        self.register_buffer("mean", torch.tensor(mean)[None, :, None, None])
        self.register_buffer("std", torch.tensor(std)[None, :, None, None])
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.eval().requires_grad_(False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return relu3_3 of (N, bands, H, W) images in 0..1, one triplet of bands after another."""
        x = image if self.pool == 1 else functional.avg_pool2d(image, self.pool)
        x = torch.cat([x[:, list(triplet)] for triplet in triplets(x.shape[1])])
        # In bfloat16 the rounding of features, not the images' difference, would be the gradient.
        with torch.autocast(x.device.type, enabled=False):
            result: torch.Tensor = self.layers((x.float() - self.mean) / self.std) * self.scale
        return result


def triplets(bands: int) -> list[tuple[int, int, int]]:
    """Return triplets that cover all bands: 0, 1, 2; then each further band with the two before.

    One or two bands are repeated.
    """
    if bands == 1:
        return [(0, 0, 0)]
    if bands == 2:
        return [(0, 1, 1)]
    return [(last - 2, last - 1, last) for last in range(2, bands)]
