"""Footprints as batches of records, numbered as they come."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.records import Footprints
from geossda.footprints.ring_arrays import Geometries


class RecordBatch(NamedTuple):
    """Records of some footprints.

    Attributes
    ----------
    geometry : Outlines or (n,) array of shapely geometries
        In the CRS of the file.
    columns : list of (n,) arrays
        Values of the fields named in :attr:`RecordStream.fields`.
    """

    geometry: Geometries
    columns: list[NDArray[Any]]


class RecordStream:
    """Batches of records, iterated over once.

    Parameters
    ----------
    batches : iterable of Footprints
        Measured and in the CRS of the file.
    probabilities : bool
        Whether the records have confidences.
    first : int
        Number before that of the first record.

    Attributes
    ----------
    fields : dict of str to type
        Names of the fields, and whether they are int or float.
    count : int
        Number of the last record.
    area_m2 : float
        Sum of the areas so far, in square metres.
    error : BaseException or None
        Exception that ended the batches early.
    """

    def __init__(self, batches: Iterable[Footprints], probabilities: bool, first: int) -> None:
        self.fields: dict[str, type] = {"id": int, "area_m2": float, "pixels": int}
        if probabilities:
            names = ("confidence", "confidence_min", "confidence_max")
            self.fields |= dict.fromkeys(names, float)
        self.first = self.count = first
        self.area_m2 = 0.0
        self.error: BaseException | None = None
        self._batches, self._probabilities = batches, probabilities

    def __iter__(self) -> Iterator[RecordBatch]:
        try:
            for batch in self._batches:
                if len(batch.pixels):
                    yield self._records(batch)
        except BaseException as error:
            self.error = error
            raise

    def _records(self, batch: Footprints) -> RecordBatch:
        count = len(batch.pixels)
        ids = np.arange(self.count + 1, self.count + count + 1)
        self.count += count
        areas = np.asarray(batch.area_m2, float).round(2)
        self.area_m2 += float(areas.sum())
        columns: list[NDArray[Any]] = [ids, areas, batch.pixels]
        if self._probabilities:
            columns += [
                np.round(np.asarray(values, float), 4)
                for values in (batch.mean, batch.min, batch.max)
            ]
        return RecordBatch(batch.geometry, columns)
