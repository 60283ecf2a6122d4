"""Forbid the network, and files that name other files, for services that are sent files.

Set ``GEOSSDA_LOCAL_ONLY=1`` in the environment before Python starts.
"""

import os
from collections.abc import MutableMapping

VARIABLE = "GEOSSDA_LOCAL_ONLY"
# Formats whose pixels are all in the file itself.
RASTER_DRIVERS = ("GTiff", "JP2OpenJPEG", "HFA", "PNG", "JPEG")
# Vector formats of GDAL that name other files, servers or databases.
_SKIPPED = (
    "OGR_VRT", "WFS", "OAPIF", "CSW", "HTTP", "AmigoCloud", "Carto", "Elasticsearch", "GMLAS",
    "MySQL", "ODBC", "PostgreSQL", "PLSCENES", "NGW", "EEDA", "GeoRSS",
)  # fmt: skip
_SETTINGS = {
    "OGR_SKIP": ",".join(_SKIPPED),
    # Nothing answers there: what else of GDAL asks a server, such as GML for its schema, fails.
    "GDAL_HTTP_PROXY": "http://127.0.0.1:9",
    "GDALHTTPS_PROXY": "http://127.0.0.1:9",
    "GDAL_HTTP_MAX_RETRY": "0",
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "/vsicurl/none",
    "HF_HUB_OFFLINE": "1",
}


def local_only() -> bool:
    """Return whether files may be read only if all they hold is in themselves, on this machine."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def restrict_libraries(environment: MutableMapping[str, str] = os.environ) -> None:
    """Keep GDAL and the model hub off the network, if that is asked for.

    Parameters
    ----------
    environment : mapping
        Changed in place.
    """
    if environment.get(VARIABLE, "") not in ("", "0"):
        environment.update(_SETTINGS)
