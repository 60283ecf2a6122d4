"""GeoParquet 1.1."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyproj

from geossda.vector.records import Stream

FAILURES = (pa.ArrowException,)


def write(
    stream: Stream, part: Path, crs: str, metadata: Mapping[str, str], kind: str, *, append: bool
) -> None:
    """Write a stream to a new file; nothing can be appended to one."""
    if append:
        raise ValueError("GeoParquet takes no appending")
    about = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": [kind],
                "crs": json.loads(pyproj.CRS(crs).to_json()),
            }
        },
    }
    plain = stream.schema.set(
        len(stream.schema) - 1, pa.field("geometry", pa.binary())
    ).with_metadata({**metadata, "geo": json.dumps(about)})
    with pq.ParquetWriter(part, plain, compression="zstd") as writer:
        for batch in stream:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=plain))
