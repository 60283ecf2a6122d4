"""Records in Arrow's form."""

from collections.abc import Iterator

import pyarrow as pa

from geossda.footprints.stream import Stream
from geossda.footprints.wkb import to_wkb

# So many footprints are encoded at a time, and are a row group of GeoParquet.
_BATCH = 2_000
_TYPES = {int: pa.int64(), float: pa.float64()}


def schema_of(stream: Stream) -> pa.Schema:
    """Give the fields of a stream, the geometry behind."""
    geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    fields = [pa.field(name, _TYPES[kind]) for name, kind in stream.fields.items()]
    return pa.schema([*fields, geometry])


def arrow_batches(stream: Stream, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Give the records, some thousands at a time; at least one batch, which may be empty."""
    waiting: list[pa.RecordBatch] = []
    for shapes, columns in stream:
        geometry = pa.array(to_wkb(shapes), pa.binary())
        arrays = [*map(pa.array, columns), geometry]
        waiting.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        if sum(map(len, waiting)) >= _BATCH:
            yield pa.concat_batches(waiting)
            waiting = []
    waiting.append(pa.RecordBatch.from_pylist([], schema=schema))
    yield pa.concat_batches(waiting)
