"""The objective of a segmenter's training: the supervised loss, open to what a strategy adds."""

from typing import Any, NamedTuple

import torch

from geossda.devices import mixed_precision
from geossda.models.losses import masked_bce, masked_bce_dice


class Batch(NamedTuple):
    """Labelled patches of one step.

    Attributes
    ----------
    image : (N, bands, side, side) float tensor, 0..1
    label : (N, outputs, side, side) float tensor, 0..1
        The first is 1 in buildings.
    weight : (N, 1, side, side) float tensor, 0 where the image has no data
    """

    image: torch.Tensor
    label: torch.Tensor
    weight: torch.Tensor


class TargetBatch(NamedTuple):
    """Unlabelled patches of the target of one step.

    Attributes
    ----------
    image : (N, bands, side, side) float tensor, 0..1
        The patches as they are.
    restyled : (N, bands, side, side) float tensor, 0..1
        The same patches in another style.
    weight : (N, 1, side, side) float tensor, 0 where the image has no data
    rasters : tuple of int
        Index of the target raster that each patch was drawn from.
    """

    image: torch.Tensor
    restyled: torch.Tensor
    weight: torch.Tensor
    rasters: tuple[int, ...]


class Objective:
    """The supervised loss, on labelled patches alone.

    An adaptation strategy that changes the loss returns a subclass from its ``objective``. What a
    subclass accumulates over the steps belongs in its state, which is part of every checkpoint.

    Parameters
    ----------
    auxiliary : float
        Weight of the loss of the outputs beside the first.
    """

    def __init__(self, auxiliary: float = 0.0) -> None:
        self.auxiliary = auxiliary

    def loss(
        self,
        step: int,
        network: torch.nn.Module,
        average: torch.nn.Module,
        labelled: Batch,
        target: TargetBatch | None,
    ) -> torch.Tensor:
        """Compute the loss of one step.

        Parameters
        ----------
        step : int
            Counted from 1.
        network : torch.nn.Module
            The network in training, which the gradient is taken of.
        average : torch.nn.Module
            The EMA of its weights, in evaluation mode.
        labelled : Batch
        target : TargetBatch or None
            None where no target imagery is drawn.

        Returns
        -------
        scalar tensor
        """
        with mixed_precision(labelled.image.device):
            logits = network(labelled.image)
        return self.supervised(logits, labelled)

    def supervised(self, logits: torch.Tensor, labelled: Batch) -> torch.Tensor:
        """Compute the loss of predictions on labelled patches.

        Parameters
        ----------
        logits : (N, outputs, side, side) float tensor
        labelled : Batch

        Returns
        -------
        scalar tensor
            Of the buildings, plus the weighted one of the auxiliary outputs, if there are any.
        """
        label, weight = labelled.label, labelled.weight
        loss = masked_bce_dice(logits[:, :1], label[:, :1], weight)
        if logits.shape[1] > 1:
            loss = loss + self.auxiliary * masked_bce(logits[:, 1:], label[:, 1:], weight)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold: tensors, numbers, and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
