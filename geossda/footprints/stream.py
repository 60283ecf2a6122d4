"""Footprints as batches of records, numbered as they come."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import Shapes
from geossda.footprints.shaping import Features


class Batch(NamedTuple):
    """Some records.

    Attributes
    ----------
    shapes : Outlines or (n,) array of shapely geometry
    columns : list of (n,) arrays
        As :attr:`Stream.fields` names them.
    """

    shapes: Shapes
    columns: list[NDArray[Any]]


class Stream:
    """Batches of records, drawn once.

    Parameters
    ----------
    batches : iterable of Features
    probabilities : bool
        Whether there are confidences.
    first : int
        The number before the first one's.

    Attributes
    ----------
    fields : dict of str to type
        What is told of each: whole numbers and floats.
    count : int
        The number of the last one drawn.
    area_m2 : float
        Sum of the areas drawn.
    error : BaseException or None
        What ended the batches early.
    """

    def __init__(self, batches: Iterable[Features], probabilities: bool, first: int) -> None:
        self.fields: dict[str, type] = {"id": int, "area_m2": float, "pixels": int}
        if probabilities:
            names = ("confidence", "confidence_min", "confidence_max")
            self.fields |= dict.fromkeys(names, float)
        self.first = self.count = first
        self.area_m2 = 0.0
        self.error: BaseException | None = None
        self._batches, self._probabilities = batches, probabilities

    def __iter__(self) -> Iterator[Batch]:
        try:
            for batch in self._batches:
                if len(batch.area_m2):
                    yield self._record(batch)
        except BaseException as error:
            self.error = error
            raise

    def _record(self, batch: Features) -> Batch:
        count = len(batch.area_m2)
        numbers = np.arange(self.count + 1, self.count + count + 1)
        self.count += count
        areas = batch.area_m2.round(2)
        self.area_m2 += float(areas.sum())
        columns: list[NDArray[Any]] = [numbers, areas, batch.pixels]
        if self._probabilities:
            columns += [
                np.round(np.asarray(value, float), 4)
                for value in (batch.confidence, batch.lowest, batch.highest)
            ]
        return Batch(batch.shapes, columns)
