"""How time and memory of the two main verbs grow with the mosaic.

    python benchmarks/growth.py MOSAIC STYLE [--gpx 0.1 ...] [--verb harmonize] [-- OPTIONS]

Copies of MOSAIC, one below the other in a VRT, make a larger one. Every run is a process of its
own; what follows ``--`` goes to the verb, such as ``--workers 2``.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

import rasterio
from whole_job import child


def stacked(mosaic: Path, copies: int, path: Path) -> float:
    """Write a VRT of copies of a mosaic; gives its pixels in Gpx."""
    with rasterio.open(mosaic) as data:
        height, width, place = data.height, data.width, data.transform.to_gdal()
        name = escape(str(mosaic.resolve()))

        def sources(band: str) -> str:
            size = f'xSize="{width}" ySize="{height}"'
            return "".join(
                f"<SimpleSource><SourceFilename>{name}</SourceFilename>"
                f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" {size}/>'
                f'<DstRect xOff="0" yOff="{copy * height}" {size}/></SimpleSource>'
                for copy in range(copies)
            )

        bands = "".join(
            f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>'
            f"{data.colorinterp[band - 1].name.title()}</ColorInterp>{sources(str(band))}"
            "</VRTRasterBand>"
            for band in data.indexes
        )
        path.write_text(
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{copies * height}">'
            f"<SRS>{escape(data.crs.to_wkt())}</SRS>"
            f"<GeoTransform>{', '.join(map(str, place))}</GeoTransform>{bands}"
            f'<MaskBand><VRTRasterBand dataType="Byte">{sources("mask,1")}</VRTRasterBand>'
            "</MaskBand></VRTDataset>"
        )
    return copies * height * width / 1e9


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic", type=Path)
    parser.add_argument("style", type=Path)
    parser.add_argument("--gpx", type=float, action="append", help="0.1, 0.25, 0.5 and 1")
    parser.add_argument("--verb", choices=("harmonize", "segment"), default="harmonize")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    given, options = parser.parse_args(words[:end]), words[end + 1 :]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'Gpx':>6}{'seconds':>9}{'s/Gpx':>8}{'peak MB':>9}")
    with rasterio.open(given.mosaic) as data:
        each = data.width * data.height / 1e9
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        for gpx in given.gpx or (0.1, 0.25, 0.5, 1.0):
            large = Path(folder) / "large.vrt"
            size = stacked(given.mosaic, max(1, round(gpx / each)), large)
            out = Path(folder) / ("out.tif" if given.verb == "harmonize" else "out.gpkg")
            style = ["--style", str(given.style)] if given.verb == "harmonize" else []
            seconds, peak, _ = child(
                [sys.executable, "-m", "geossda_cli", given.verb, str(large), *style, "-o",
                 str(out), *options]
            )  # fmt: skip
            out.unlink()
            print(f"{size:6.2f}{seconds:9.1f}{seconds / size:8.1f}{peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()
