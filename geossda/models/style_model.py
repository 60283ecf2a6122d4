"""A trained generator with its card, taken to images of any number of bands."""

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
    """Take images apart into content and look, and give them other looks.

    Parameters
    ----------
    network : Generator
    card : StyleCard
    device : torch.device
    """

    def __init__(self, network: Generator, card: StyleCard, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self.card, self.device = card, device
        self._turn = threading.Lock()

    @property
    def key(self) -> str:
        """What styles measured with this model are kept under."""
        return self.card.sha256[:16]

    @property
    def stride(self) -> int:
        """Sides of images must be multiples of it."""
        return int(self.network.stride)

    @property
    def halo(self) -> int:
        """How far around itself a pixel depends on the image, once looks are given."""
        return int(self.network.halo)

    def require_bands(self, count: int) -> None:
        """Raise BandError if the model takes more bands than `count`."""
        if count < self.card.bands:
            raise BandError(
                f"the style model takes {self.card.bands} bands at a time, the image has {count}: "
                "give another --style-model"
            )

    def require_levels(self, statistics: StyleStatistics, name: str) -> None:
        """Raise StyleError unless the statistics of the style `name` have this model's shapes."""
        channels = self.network.level_channels
        expected = [channels] * len(self.groups(statistics.pixels.mean.shape[1]))
        if expected != [[m.mean.shape[1] for m in levels] for levels in statistics.groups]:
            raise StyleError(
                f"the style {name} has other features than the style model {self.card.name} "
                "measures: it is damaged, make it again with geossda style"
            )

    def groups(self, count: int) -> list[Group]:
        """Say which of `count` bands go through the generator together."""
        return groups(count, self.card.bands)

    @torch.inference_mode()
    def look(
        self,
        patches: NDArray[np.float32],
        valid: NDArray[np.bool_] | None = None,
        pixels: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> StyleStatistics:
        """Measure the look of one image from patches of it.

        Parameters
        ----------
        patches : (patches, bands, side, side) array
            0..1, of any contrast: the generator sees them normalised.
        valid : (patches, side, side) array, optional
        pixels : pair of (bands,) and (bands, bands) arrays, optional
            Mean and covariance of all the image's pixels, better known than from the patches.
        """
        if self.card.domains:
            raise StyleError(
                "a style model of declared domains measures no looks: it is for train-segmenter "
                "--adapt daug; give another --style-model"
            )
        mask = None if valid is None else self._tensor(valid[:, None])
        known = None if pixels is None else Gaussian(*(self._tensor(p[None]) for p in pixels))
        with mixed_precision(self.device):
            _, look = self.network.encode(self._tensor(patches), images=1, valid=mask, pixels=known)
        return look.each(torch.Tensor.cpu)

    @torch.inference_mode()
    def domain_look(self, name: str) -> StyleStatistics:
        """Give the learned look of a declared domain.

        Raises
        ------
        StyleError
            The model knows no such domain.
        """
        if not isinstance(self.network, DomainGenerator) or name not in self.card.domains:
            known = ", ".join(self.card.domains) or "none: train one with --preset daug"
            raise StyleError(f"the style model has no domain {name}; its domains are {known}")
        number = torch.tensor([self.card.domains.index(name)], device=self.device)
        return self.network.domain_look(number).each(lambda t: t.detach().cpu())

    @torch.inference_mode()
    def translate(
        self,
        image: NDArray[np.float32],
        own: StyleStatistics,
        other: StyleStatistics,
        valid: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Give windows of an image another look.

        Parameters
        ----------
        image : (windows, bands, height, width) array
            Height and width multiples of `stride`.
        own, other : StyleStatistics
            Of the image these are windows of, and of the reference.
        valid : (windows, height, width) array, optional

        Returns
        -------
        (windows, bands, height, width) float32 array
            May leave 0..1.
        """
        mask = None if valid is None else self._tensor(valid[:, None])
        mine, theirs = (look.each(lambda t: t.to(self.device)) for look in (own, other))
        # Where it takes all cores, one caller at a time: several would wait for each other at every
        # layer.
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        turn = contextlib.nullcontext() if alone else self._turn
        with turn, mixed_precision(self.device):
            content, mine = self.network.encode(self._tensor(image), valid=mask, look=mine)
            made = self.network.decode(content, mine, mine if other is own else theirs)
        result: NDArray[np.float32] = made.float().cpu().numpy()
        return result

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(self.device).float()
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor


def load_style_model(model: str | os.PathLike[str] = DEFAULT, device: str = "auto") -> StyleModel:
    """Load a style model, ready to use.

    Parameters
    ----------
    model : str or path
        ``"default"`` or a safetensors file written by ``geossda train-style``.
    device : {"auto", "cpu", "cuda", "mps"}
    """
    path = resolve(model, StyleCard)
    tensors, card = load(path, StyleCard)
    network = build_generator(card.preset, card.bands, card.adain, len(card.domains))
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the generator its card names") from error
    return StyleModel(network, card, choose(device))
