"""GeoParquet 1.1."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyproj

from geossda.footprints.arrow import arrow_batches, schema_of
from geossda.footprints.stream import RecordStream

FAILURES = (pa.ArrowException,)


def write(
    stream: RecordStream, part: Path, crs: str, metadata: Mapping[str, str], kind: str
) -> None:
    """Write records to a new GeoParquet file.

    Parameters
    ----------
    stream : RecordStream
    part : Path
        New file.
    crs : str
        WKT of the geometries.
    metadata : mapping
        Key-value metadata of the file.
    kind : {"Polygon", "MultiPolygon"}
    """
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
    schema = schema_of(stream)
    geometry = pa.field("geometry", pa.binary())
    schema = schema.set(len(schema) - 1, geometry)
    schema = schema.with_metadata({**metadata, "geo": json.dumps(about)})
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for batch in arrow_batches(stream, schema):
            writer.write_batch(batch)
