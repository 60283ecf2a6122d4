"""A trained generator with its card, for images of any number of bands."""

import contextlib
import os
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.devices import choose, mixed_precision
from geossda.errors import BandError, ModelError, StyleError
from geossda.models.card import DEFAULT, StyleCard, load, resolve
from geossda.models.daug import DomainGenerator
from geossda.models.generator import Generator, Group, groups
from geossda.models.presets import build_generator
from geossda.models.style_statistics import Gaussian, StyleStatistics


class StyleModel:
    """Measure styles of images, and translate images from style to style.

    Parameters
    ----------
    network : Generator
    card : StyleCard
    device : torch.device
    """

    def __init__(self, network: Generator, card: StyleCard, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.card, self.device = card, device
        self._lock = threading.Lock()

    @property
    def key(self) -> str:
        """Key of the features that style files hold for this model."""
        return self.card.sha256[:16]

    @property
    def stride(self) -> int:
        """What sides of images must be a multiple of, in pixels."""
        return int(self.network.stride)

    @property
    def halo(self) -> int:
        """Distance in pixels within which a pixel depends on others, once styles are given."""
        return int(self.network.halo)

    def require_bands(self, count: int) -> None:
        """Raise BandError if the model takes more than `count` bands at a time.

        Raises
        ------
        BandError
            `count` is less than the bands of the model.
        """
        if count < self.card.bands:
            raise BandError(
                f"the style model takes {self.card.bands} bands at a time, the image has {count}: "
                "give another --style-model"
            )

    def require_levels(self, statistics: StyleStatistics, name: str) -> None:
        """Raise StyleError unless the statistics of the style `name` have this model's shapes.

        Raises
        ------
        StyleError
            The number of levels or of their channels differs.
        """
        channels = self.network.level_channels
        expected = [channels] * len(self.groups(statistics.pixels.mean.shape[1]))
        if expected != [[m.mean.shape[1] for m in levels] for levels in statistics.groups]:
            raise StyleError(
                f"the style {name} has other features than the style model {self.card.name} "
                "measures: it is damaged, make it again with geossda style"
            )

    def groups(self, count: int) -> list[Group]:
        """Return which of `count` bands go through the generator together."""
        return groups(count, self.card.bands)

    @torch.inference_mode()
    def measure(
        self,
        patches: NDArray[np.float32],
        valid: NDArray[np.bool_] | None = None,
        pixels: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> StyleStatistics:
        """Measure the style of one image on patches of it.

        Parameters
        ----------
        patches : (patches, bands, side, side) array
            Values in 0..1, of any contrast: the generator normalises them.
        valid : (patches, side, side) array, optional
        pixels : pair of (bands,) and (bands, bands) arrays, optional
            Mean and covariance of all the image's pixels, if known better than from the patches.

        Raises
        ------
        StyleError
            The model has declared domains.
        """
        if self.card.domains:
            raise StyleError(
                "a style model of declared domains measures no styles: it is for train-segmenter "
                "--adapt daug; give another --style-model"
            )
        mask = None if valid is None else self._tensor(valid[:, None])
        known = None if pixels is None else Gaussian(*(self._tensor(p[None]) for p in pixels))
        with mixed_precision(self.device):
            _, style = self.network.encode(
                self._tensor(patches), images=1, valid=mask, pixels=known
            )
        return style.map_tensors(torch.Tensor.cpu)

    @torch.inference_mode()
    def domain_style(self, name: str) -> StyleStatistics:
        """Return the learned style of a declared domain.

        Raises
        ------
        StyleError
            The model has no such domain.
        """
        if not isinstance(self.network, DomainGenerator) or name not in self.card.domains:
            known = ", ".join(self.card.domains) or "none: train one with --preset daug"
            raise StyleError(f"the style model has no domain {name}; its domains are {known}")
        number = torch.tensor([self.card.domains.index(name)], device=self.device)
        return self.network.domain_style(number).map_tensors(lambda t: t.detach().cpu())

    @torch.inference_mode()
    def translate(
        self,
        image: NDArray[np.float32],
        own: StyleStatistics,
        other: StyleStatistics,
        valid: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Translate windows of an image to another style.

        Parameters
        ----------
        image : (windows, bands, height, width) array
            Height and width multiples of `stride`.
        own, other : StyleStatistics
            Styles of the image that these are windows of, and of the reference.
        valid : (windows, height, width) array, optional

        Returns
        -------
        (windows, bands, height, width) float32 array
            Not clipped to 0..1.
        """
        mask = None if valid is None else self._tensor(valid[:, None])
        mine, theirs = (s.map_tensors(lambda t: t.to(self.device)) for s in (own, other))
        # Where the network takes all cores, one caller at a time: several would wait for each other
        # at every layer.
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        lock = contextlib.nullcontext() if alone else self._lock
        with lock, mixed_precision(self.device):
            content, mine = self.network.encode(self._tensor(image), valid=mask, style=mine)
            translated = self.network.decode(content, mine, mine if other is own else theirs)
        result: NDArray[np.float32] = translated.float().cpu().numpy()
        return result

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(self.device).float()
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor


def load_style_model(model: str | os.PathLike[str] = DEFAULT, device: str = "auto") -> StyleModel:
    """Load a style model that is ready to use (evaluation mode, on its device).

    Parameters
    ----------
    model : str or path
        ``"default"`` or a safetensors file written by ``geossda train-style``.
    device : {"auto", "cpu", "cuda", "mps"}

    Raises
    ------
    ModelError
        The file is missing, damaged, no style model, or does not hold the generator its card names.
    """
    path = resolve(model, StyleCard)
    tensors, card = load(path, StyleCard)
    network = build_generator(card.preset, card.bands, card.adain, len(card.domains))
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the generator its card names") from error
    return StyleModel(network, card, choose(device))
