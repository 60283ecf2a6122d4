"""Layout of a raster in shards: its grid, its pixels' type, and its division into strips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from geossda.raster.grid import Grid
from geossda.raster.validity import Validity
from geossda.raster.windows import Window

# Rows of a strip, and the fewest pixels, which take more rows where the raster is narrow: small
# enough to lose, large enough that beginning a strip costs nothing against it.
STRIP_ROWS, MIN_STRIP_PX = 1024, 2**20


def strips_of(shape: tuple[int, int], rows: int = STRIP_ROWS) -> tuple[Window, ...]:
    """Return the strips of a raster, which follow from its shape alone.

    Parameters
    ----------
    shape : (int, int)
        Height and width, in pixels.
    rows : int
        Strips have multiples of so many rows.
    """
    height, width = shape
    step = rows * max(1, -(-MIN_STRIP_PX // (rows * width)))
    return tuple(Window(row, 0, min(step, height - row), width) for row in range(0, height, step))


@dataclass(frozen=True)
class Layout:
    """Layout of a raster computed in shards.

    Attributes
    ----------
    grid : Grid
    count : int
        Bands, alpha not counted.
    dtype : numpy dtype
    validity, nodata
        As :func:`geossda.raster.cog.new_cog` takes them.
    strips : tuple of Window
        One per shard, from the top.
    """

    grid: Grid
    count: int
    dtype: np.dtype[Any]
    validity: Validity
    nodata: float | None
    strips: tuple[Window, ...]

    def bytes_per_pixel(self) -> int:
        """Return the bytes of a pixel, all bands and alpha together."""
        return (self.count + (self.validity == "alpha")) * self.dtype.itemsize

    def vrt(self, names: Sequence[str], *, by_transform: bool = True) -> str:
        """Return the XML of a VRT that shows the strips as one raster.

        Parameters
        ----------
        names : sequence of str
            Files of the strips, relative to the VRT, from the top.
        by_transform : bool
            Whether the grid's transform places the raster, rather than ground control points.
        """
        height, width = int(self.grid.shape.y), int(self.grid.shape.x)
        bits = self.dtype.itemsize * 8
        kind = {"u": "UInt", "i": "Int", "f": "Float"}[self.dtype.kind] + str(bits)
        kind = "Byte" if kind == "UInt8" else kind

        def band(number: str, band_type: str, source: str) -> str:
            sources = "".join(
                "<SimpleSource>"
                f'<SourceFilename relativeToVRT="1">{escape(name)}</SourceFilename>'
                f"<SourceBand>{source}</SourceBand>"
                f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{strip.height}"/>'
                f'<DstRect xOff="0" yOff="{strip.row}" xSize="{width}" ySize="{strip.height}"/>'
                "</SimpleSource>"
                for name, strip in zip(names, self.strips, strict=True)
            )
            nodata = ""
            if self.validity == "nodata" and number:
                nodata = f"<NoDataValue>{self.nodata!r}</NoDataValue>"
            return (
                f'<VRTRasterBand dataType="{band_type}"{number} blockXSize="512" blockYSize="512">'
                f"{nodata}{sources}</VRTRasterBand>"
            )

        count = self.count + (self.validity == "alpha")
        bands = "".join(band(f' band="{i}"', kind, str(i)) for i in range(1, count + 1))
        if self.validity == "mask":
            bands += f"<MaskBand>{band('', 'Byte', 'mask,1')}</MaskBand>"
        crs = self.grid.crs
        srs = f"<SRS>{escape(crs.to_wkt())}</SRS>" if crs else ""
        numbers = ", ".join(repr(float(x)) for x in self.grid.transform.to_gdal())
        transform = f"<GeoTransform>{numbers}</GeoTransform>" if by_transform else ""
        return (
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{srs}'
            f"{transform}{bands}</VRTDataset>"
        )
