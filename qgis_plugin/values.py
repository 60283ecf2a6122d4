"""What a user chose, as plain values for the command line: layers become paths."""

import os

from qgis.core import (
    QgsProcessingException,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsVectorLayer,
)

VECTOR_FORMATS = ["gpkg", "geojson", "fgb", "shp"]


def read(algorithm, told, parameters, context, feedback):
    """Give the value of one input or setting: None, bool, number, text, or a list of them."""
    name, kind = told["id"], told["kind"]
    given = parameters.get(name)
    if given is None or (given == "" and kind != "text"):
        return None
    if kind == "extent":
        return _extent(algorithm, name, parameters, context)
    if kind in ("raster", "vector", "layer"):
        found = algorithm.parameterAsLayer(parameters, name, context)
        if found is None:
            raise QgsProcessingException(_unusable(told, given))
        return path_of(found, context, feedback)
    if kind in ("rasters", "vectors"):
        found = algorithm.parameterAsLayerList(parameters, name, context)
        if not found and not told["optional"]:
            raise QgsProcessingException(_unusable(told, given))
        return [path_of(layer, context, feedback) for layer in found]
    reader = getattr(algorithm, PLAIN[kind])
    value = reader(parameters, name, context)
    if kind in ("file", "model"):
        return whole(value)
    return value.split() if kind == "texts" else value


PLAIN = {
    "file": "parameterAsFile",
    "model": "parameterAsFile",
    "bands": "parameterAsInts",
    "enum": "parameterAsEnumString",
    "boolean": "parameterAsBoolean",
    "integer": "parameterAsInt",
    "number": "parameterAsDouble",
    "distance": "parameterAsDouble",
    "text": "parameterAsString",
    "texts": "parameterAsString",
}


def whole(path):
    """Give the whole path of a file: the core does not run in QGIS's folder."""
    return os.path.abspath(path) if os.path.exists(path) else path


def _unusable(told, given):
    return "{}: {} is not a layer or file that can be read".format(told["label"], given)


def path_of(layer, context, feedback):
    """Give the file a layer is in; a vector layer that is in none of the usual ones is copied.

    Raises
    ------
    QgsProcessingException
        A raster that is not in a file.
    """
    if isinstance(layer, QgsVectorLayer):
        path = QgsProcessingUtils.convertToCompatibleFormat(
            layer, False, layer.name(), VECTOR_FORMATS, "gpkg", context, feedback
        )
        return whole(path)
    if isinstance(layer, QgsRasterLayer) and layer.providerType() == "gdal":
        parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
        if not parts.get("layerName"):
            path = (parts.get("vsiPrefix") or "") + parts["path"] + (parts.get("vsiSuffix") or "")
            return whole(path)
    raise QgsProcessingException(
        f"{layer.name()} is no raster file ({layer.providerType()}): export it to a GeoTIFF first"
    )


def _extent(algorithm, name, parameters, context):
    box = algorithm.parameterAsExtent(parameters, name, context)
    if box.isNull():
        return None
    crs = algorithm.parameterAsExtentCrs(parameters, name, context)
    told = ""
    if crs.isValid():
        told = crs.authid() if crs.authid().startswith("EPSG:") else crs.toWkt()
    return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum(), told]


def output(algorithm, told, parameters, context):
    """Give the whole path of one output, or None if it is not wanted."""
    name, given = told["id"], parameters.get(told["id"])
    if given is None or (given == "" and told["optional"]):
        return None
    if told["kind"] in ("raster_out", "vector_out"):
        path = algorithm.parameterAsOutputLayer(parameters, name, context)
    else:
        path = algorithm.parameterAsFileOutput(parameters, name, context)
    if not path and not told["optional"]:
        raise QgsProcessingException("{}: name a file".format(told["label"]))
    if path and path.split(":")[0] in ("ogr", "postgis", "memory", "gpkg"):
        raise QgsProcessingException(
            "{}: a whole file is written, not a layer into {}".format(told["label"], path)
        )
    return os.path.abspath(path) if path else None
