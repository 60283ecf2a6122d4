"""What web maps (XYZ, WMS, WMTS) show of an extent, as rasters."""

import math

from qgis.core import (
    QgsCoordinateTransform,
    QgsDistanceArea,
    QgsPointXY,
    QgsProcessingException,
    QgsRasterFileWriter,
    QgsRasterPipe,
)

from .layers import Copy

# Metres on the ground, the bundled model's: what is finer shows it nothing more.
PIXEL_M = 0.3
# Of a picture; a server of map tiles is no place to fetch a city from.
MOST_PIXELS = 64_000_000


def picture_of(layer, box, crs, context, feedback, pixel_m=None):
    """Return a `Copy` that fetches what a web map shows of an extent.

    Parameters
    ----------
    layer : QgsRasterLayer
    box : QgsRectangle
    crs : QgsCoordinateReferenceSystem
        Of the extent; the picture is in the layer's own.
    context : QgsProcessingContext
    feedback : QgsProcessingFeedback
    pixel_m : float, optional
        Pixel size in metres on the ground.

    Raises
    ------
    QgsProcessingException
        No extent was chosen, or one of too many pixels.
    """
    name = layer.name()
    if box.isNull() or box.isEmpty():
        raise QgsProcessingException(
            f"{name} is a web map: choose an Extent or an Area, of which it is fetched, or export "
            "it to a GeoTIFF"
        )
    transform = QgsCoordinateTransform(crs, layer.crs(), context.transformContext())
    box = transform.transformBoundingBox(box)
    columns, rows = size_of(layer, box, context, pixel_m or PIXEL_M)
    if columns * rows > MOST_PIXELS:
        raise QgsProcessingException(
            f"{name} would be fetched as {columns} x {rows} pixels, {MOST_PIXELS} at most: choose "
            "a smaller Extent or Area"
        )
    feedback.pushWarning(
        f"{name} is fetched as a picture of {columns} x {rows} pixels: whether it may be used so "
        "is a matter of the map's license"
    )
    # A provider is of the thread that made it; a clone is free for another one.
    provider, target_crs = layer.dataProvider().clone(), layer.crs()

    def write(target, feedback):
        pipe = QgsRasterPipe()
        if not pipe.set(provider):
            return "it cannot be read from"
        writer = QgsRasterFileWriter(target)
        error = writer.writeRaster(pipe, columns, rows, box, target_crs, context.transformContext())
        failed = error != QgsRasterFileWriter.WriterError.NoError
        return f"its server does not answer as expected ({error})" if failed else ""

    return Copy(name, ".tif", write)


def size_of(layer, box, context, pixel_m):
    """Return columns and rows of a picture with pixels of about a size on the ground.

    Where the map comes in fixed zoom levels, the coarsest that is as fine is taken as it is.

    Parameters
    ----------
    layer : QgsRasterLayer
    box : QgsRectangle
        In the layer's CRS.
    context : QgsProcessingContext
    pixel_m : float
        Pixel side in metres on the ground.
    """
    measure = QgsDistanceArea()
    measure.setSourceCrs(layer.crs(), context.transformContext())
    measure.setEllipsoid("WGS84")
    middle = box.center()
    width_m = measure.measureLine(
        QgsPointXY(box.xMinimum(), middle.y()), QgsPointXY(box.xMaximum(), middle.y())
    )
    pixel = box.width() * pixel_m / width_m
    levels = sorted(layer.dataProvider().nativeResolutions())
    if levels:
        pixel = max([level for level in levels if level <= pixel * 1.01] or levels[:1])
    # Rounding errors of a whole number of pixels do not make one more.
    return math.ceil(box.width() / pixel - 1e-3), math.ceil(box.height() / pixel - 1e-3)
