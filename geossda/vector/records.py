"""Footprints as batches of Arrow records, numbered as they come."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from geossda.vector.features import Features

# So many footprints are encoded at a time, and are a row group of GeoParquet.
_BATCH = 2_000


class Stream:
    """Record batches of features, numbered, with their sums."""

    def __init__(self, batches: Iterable[Features], probabilities: bool, first: int) -> None:
        fields = [("id", pa.int64()), ("area_m2", pa.float64()), ("pixels", pa.int64())]
        if probabilities:
            fields += [
                (name, pa.float64()) for name in ("confidence", "confidence_min", "confidence_max")
            ]
        geometry = pa.field(
            "geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"}
        )
        self.schema = pa.schema([*(pa.field(*entry) for entry in fields), geometry])
        self.first = self.count = first
        self.area_m2 = 0.0
        self.error: BaseException | None = None
        self._batches, self._probabilities = batches, probabilities

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            waiting: list[Features] = []
            for batch in self._batches:
                waiting.append(batch)
                if sum(len(each.shapes) for each in waiting) >= _BATCH:
                    yield self._record(waiting)
                    waiting = []
            yield self._record(waiting)
        except BaseException as error:
            self.error = error
            raise

    def _record(self, waiting: list[Features]) -> pa.RecordBatch:
        if not waiting:
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        batch = Features(*(np.concatenate(column) for column in zip(*waiting, strict=True)))
        count = len(batch.shapes)
        numbers = np.arange(self.count + 1, self.count + count + 1)
        self.count += count
        areas = batch.area_m2.round(2)
        self.area_m2 += float(areas.sum())
        columns: list[Any] = [numbers, areas, batch.pixels]
        if self._probabilities:
            columns += [
                np.round(np.asarray(value, float), 4)
                for value in (batch.confidence, batch.lowest, batch.highest)
            ]
        columns.append(pa.array(shapely.to_wkb(batch.shapes), pa.binary()))
        return pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=self.schema)
