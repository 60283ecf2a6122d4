"""Creation options of cloud-optimized GeoTIFFs: defaults, and those given as NAME=VALUE."""

import logging
from collections.abc import Mapping

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile

from geossda.errors import OutputError
from geossda.parallel.cores import cores
from geossda.raster.source import GDAL_ERRORS, gdal_reason

COG_OPTIONS = {
    "BLOCKSIZE": "512",
    "COMPRESS": "DEFLATE",
    # A third less time than level 6 takes, for up to 6 % more bytes.
    "LEVEL": "1",
    "PREDICTOR": "YES",
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": "ALL_CPUS",  # replaced by the number of cores available when writing
    "OVERVIEWS": "IGNORE_EXISTING",
}


def parse_creation_options(options: tuple[str, ...]) -> dict[str, str]:
    """Turn NAME=VALUE texts into a dict over the defaults.

    Raises
    ------
    OutputError
        A text without ``=``, or an option or value GDAL does not know.
    """
    chosen = dict(COG_OPTIONS)
    if any(text.upper().startswith("COMPRESS=") for text in options):
        del chosen["LEVEL"]  # another kind of compression has levels of its own
    for text in options:
        name, sign, value = text.partition("=")
        if not sign:
            raise OutputError(f"creation option {text}: NAME=VALUE was expected")
        chosen[name.upper()] = value
    if chosen["COMPRESS"].upper() not in ("DEFLATE", "LZW", "ZSTD", "LERC_DEFLATE", "LERC_ZSTD"):
        if not any(text.upper().startswith("PREDICTOR=") for text in options):
            del chosen["PREDICTOR"]
    if options:
        _try_options(chosen)
    return chosen


def _try_options(options: dict[str, str]) -> None:
    """Write a COG of a few pixels: GDAL only logs what it does not understand, and goes on."""
    messages: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio._env")
    logger.addHandler(listener)
    try:
        with rasterio.Env(), MemoryFile() as small, MemoryFile() as copy:
            with small.open(
                driver="GTiff",
                width=16,
                height=16,
                count=1,
                dtype="uint8",
                crs="EPSG:3857",
                transform=rasterio.Affine.translation(1, 1),
            ) as probe:
                probe.write(np.zeros((1, 16, 16), np.uint8))
            rasterio.shutil.copy(small.name, copy.name, driver="COG", **options)
    except GDAL_ERRORS as error:
        messages.append(gdal_reason(error))
    finally:
        logger.removeHandler(listener)
    if messages:
        raise OutputError(f"creation options cannot be used: {messages[0]}")


def with_cores(options: Mapping[str, str]) -> dict[str, str]:
    """Replace ALL_CPUS, which GDAL takes for the machine's number, by the cores available."""
    return {k: str(cores()) if v == "ALL_CPUS" else v for k, v in options.items()}
