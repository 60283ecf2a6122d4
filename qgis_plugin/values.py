"""What a user chose, as plain values for the command line: layers become files."""

import os

from qgis.core import (
    QgsDataSourceUri,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingUtils,
)

from .layers import Copy, file_of_raster, file_of_vector, holds_other_layers
from .webmaps import picture_of


def read(algorithm, described, parameters, context, feedback):
    """Return the value of one input or setting, in the thread that layers live in.

    Parameters
    ----------
    algorithm : QgsProcessingAlgorithm
    described : dict
        The parameter, as the core describes it.
    parameters : dict
        What was chosen.
    context : QgsProcessingContext
    feedback : QgsProcessingFeedback

    Returns
    -------
    None, bool, number, text, Copy, or a list of them
        `finish` turns copies that have yet to be made into paths.

    Raises
    ------
    QgsProcessingException
        There is no such layer, or it is none that the core could read.
    """
    name, kind = described["id"], described["kind"]
    given = parameters[name] if name in parameters else described.get("initial")
    if given is None or (given == "" and kind != "text"):
        return None
    if kind == "extent":
        return _extent(algorithm, name, parameters, context)
    if kind == "raster":
        layer = algorithm.parameterAsRasterLayer(parameters, name, context)
        if layer is None:
            raise QgsProcessingException(_unusable(described["label"], given))
        if layer.providerType() == "wms" and algorithm.parameterDefinition("EXTENT"):
            box, crs = _box(algorithm, parameters, context)
            pixel_m = algorithm.parameterAsDouble(parameters, "GSD", context) or None
            return picture_of(layer, box, crs, context, feedback, pixel_m)
        return file_of_raster(layer, feedback)
    if kind == "vector":
        layer, selected, limit = _features(algorithm, name, parameters, context)
        return file_of_vector(layer, feedback, selected, limit)
    if kind in ("rasters", "vectors"):
        layers = algorithm.parameterAsLayerList(parameters, name, context)
        if not layers and not described["optional"]:
            raise QgsProcessingException(_unusable(described["label"], given))
        file_of = file_of_raster if kind == "rasters" else file_of_vector
        return [file_of(layer, feedback) for layer in layers]
    if name not in parameters:
        return given
    if is_refused(algorithm, described, given):
        return given if isinstance(given, list) else str(given)
    value = getattr(algorithm, PLAIN[kind])(parameters, name, context)
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


def is_refused(algorithm, described, given):
    """Return whether a setting is left to the core to refuse, in the words of the command line.

    Widgets keep to the limits; scripts, models and batches may pass anything.

    Parameters
    ----------
    algorithm : QgsProcessingAlgorithm
    described : dict
        A parameter, as the core describes it.
    given : object
        What was passed.
    """
    if "default" not in described or given is None:
        return False
    if not algorithm.parameterDefinition(described["id"]).checkValueIsAcceptable(given):
        return True
    if described["kind"] not in ("integer", "number", "distance"):
        return False
    # QGIS takes a text that is no number for 0, and cuts off what follows the point.
    try:
        number = float(given) if isinstance(given, (str, int, float)) else 0.0
    except ValueError:
        return True
    return described["kind"] == "integer" and not number.is_integer()


def finish(value, feedback):
    """Return a value as `read` gave it with its copies made; this may take a while.

    Parameters
    ----------
    value : object
        A value, a `Copy`, or a list of them.
    feedback : QgsProcessingFeedback
    """
    if isinstance(value, list):
        return [finish(one, feedback) for one in value]
    return value.make(feedback) if isinstance(value, Copy) else value


def whole(path):
    """Return the absolute path of a file: the core does not run in QGIS's folder."""
    return os.path.abspath(path) if os.path.exists(path) else path


def _unusable(label, given):
    return f"{label}: {given} is not a layer or file that can be read"


def _features(algorithm, name, parameters, context):
    """Return a layer, whether only its selected features count, and how many at most (-1: all)."""
    given, selected, limit = parameters[name], False, -1
    if isinstance(given, QgsProcessingFeatureSourceDefinition):
        selected, limit = given.selectedFeaturesOnly, given.featureLimit
        source, _ = given.source.valueAsString(context.expressionContext())
        layer = QgsProcessingUtils.mapLayerFromString(source, context)
    else:
        layer = algorithm.parameterAsVectorLayer(parameters, name, context)
    label = algorithm.parameterDefinition(name).description()
    if layer is None:
        raise QgsProcessingException(_unusable(label, given))
    if selected and not layer.selectedFeatureCount():
        raise QgsProcessingException(f"{label}: no feature of {layer.name()} is selected")
    return layer, selected, limit


def _box(algorithm, parameters, context):
    """Return the extent chosen, else that of the area, and its CRS; a null one without either."""
    box = algorithm.parameterAsExtent(parameters, "EXTENT", context)
    if not box.isNull() or not parameters.get("AREA"):
        return box, algorithm.parameterAsExtentCrs(parameters, "EXTENT", context)
    layer, selected, _ = _features(algorithm, "AREA", parameters, context)
    return layer.boundingBoxOfSelected() if selected else layer.extent(), layer.crs()


def _extent(algorithm, name, parameters, context):
    box = algorithm.parameterAsExtent(parameters, name, context)
    if box.isNull():
        return None
    crs, text = algorithm.parameterAsExtentCrs(parameters, name, context), ""
    if crs.isValid():
        text = crs.authid() if crs.authid().startswith("EPSG:") else crs.toWkt()
    return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum(), text]


def output(algorithm, described, parameters, context):
    """Return the absolute path of one output, or None if it is not wanted.

    For a layer of a GeoPackage that holds others ``|layername=NAME`` follows, which the core and
    QGIS both read.

    Parameters
    ----------
    algorithm : QgsProcessingAlgorithm
    described : dict
        The output's description by the core: ``id``, ``kind``, ``optional`` and ``layer``.
    parameters : dict
        Values by name, as QGIS passes them.
    context : QgsProcessingContext
    """
    name, given = described["id"], parameters.get(described["id"])
    if given is None or (given == "" and described["optional"]):
        return None
    if described["kind"] in ("raster_out", "vector_out"):
        path = algorithm.parameterAsOutputLayer(parameters, name, context)
    else:
        path = algorithm.parameterAsFileOutput(parameters, name, context)
    if not path and not described["optional"]:
        raise QgsProcessingException("{}: name a file".format(described["label"]))
    if path.startswith("ogr:"):
        uri = QgsDataSourceUri(path[len("ogr:") :])
        if uri.database().endswith(".gpkg") and uri.table():
            target = f"{os.path.abspath(uri.database())}|layername={uri.table()}"
            _move(context, path, target)
            return target
    if path.split(":")[0] in ("ogr", "postgres", "postgis", "memory", "gpkg"):
        raise QgsProcessingException(
            "{}: geossda writes files and layers of GeoPackages, not {}".format(
                described["label"], path
            )
        )
    if not path:
        return None
    target = os.path.abspath(path)
    if described.get("layer") and holds_other_layers(target, described["layer"]):
        target = f"{target}|layername={described['layer']}"
        _move(context, path, target)
    return target


def _move(context, before, after):
    """Make QGIS load a layer from its path instead of from its destination as it was written."""
    waiting = context.layersToLoadOnCompletion()
    if before in waiting:
        waiting[after] = waiting.pop(before)
        context.setLayersToLoadOnCompletion(waiting)
