"""Records as Arrow batches, for GeoParquet; pyarrow is installed by those who use that."""

from collections.abc import Iterator

import pyarrow as pa

from geossda.footprints.stream import RecordStream
from geossda.footprints.wkb import to_wkb

# Least number of footprints that are encoded at a time, and form a row group of GeoParquet.
_BATCH_SIZE = 2_000
_TYPES = {int: pa.int64(), float: pa.float64()}


def schema_of(stream: RecordStream) -> pa.Schema:
    """Return the Arrow schema of a stream: its fields, then the geometry."""
    geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    fields = [pa.field(name, _TYPES[kind]) for name, kind in stream.fields.items()]
    return pa.schema([*fields, geometry])


def arrow_batches(stream: RecordStream, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the records as Arrow batches.

    Parameters
    ----------
    stream : RecordStream
    schema : Schema
        As :func:`schema_of` returns it.

    Yields
    ------
    RecordBatch
        Some thousand records each; at least one batch, which may be empty.
    """
    waiting: list[pa.RecordBatch] = []
    for geometry, columns in stream:
        encoded = pa.array(to_wkb(geometry), pa.binary())
        arrays = [*map(pa.array, columns), encoded]
        waiting.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
        if sum(map(len, waiting)) >= _BATCH_SIZE:
            yield pa.concat_batches(waiting)
            waiting = []
    waiting.append(pa.RecordBatch.from_pylist([], schema=schema))
    yield pa.concat_batches(waiting)
