"""Records in Arrow's form."""

from collections.abc import Iterator

import pyarrow as pa
import shapely

from geossda.vector.records import Stream

_TYPES = {int: pa.int64(), float: pa.float64()}


def schema_of(stream: Stream) -> pa.Schema:
    """Give the fields of a stream, the geometry behind."""
    geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    fields = [pa.field(name, _TYPES[kind]) for name, kind in stream.fields.items()]
    return pa.schema([*fields, geometry])


def arrow_batches(stream: Stream, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Give the records; at least one batch, which may be empty."""
    empty = True
    for shapes, columns in stream:
        empty = False
        geometry = pa.array(shapely.to_wkb(shapes), pa.binary())
        yield pa.RecordBatch.from_arrays([*map(pa.array, columns), geometry], schema=schema)
    if empty:
        yield pa.RecordBatch.from_pylist([], schema=schema)
