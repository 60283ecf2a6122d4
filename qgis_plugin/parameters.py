"""Processing parameters made from the core's description: one kind there, one class here."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterDistance,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingParameterVectorLayer,
    QgsUnitTypes,
)

RASTER = QgsProcessing.SourceType.TypeRaster
POLYGON = QgsProcessing.SourceType.TypeVectorPolygon
ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced


def make(told):
    """Make the parameter that asks for one input, setting or output of a verb."""
    parameter = MAKERS[told["kind"]](told)
    parameter.setHelp(told["help"])
    if told["advanced"]:
        parameter.setFlags(parameter.flags() | ADVANCED)
    return parameter


def _common(told, **more):
    return {
        "name": told["id"],
        "description": told["label"],
        "optional": told["optional"],
        **more,
    }


def _raster(told):
    return QgsProcessingParameterRasterLayer(**_common(told))


def _rasters(told):
    return QgsProcessingParameterMultipleLayers(**_common(told, layerType=RASTER))


def _vector(told):
    return QgsProcessingParameterVectorLayer(**_common(told, types=[POLYGON]))


def _vectors(told):
    return QgsProcessingParameterMultipleLayers(**_common(told, layerType=POLYGON))


def _layer(told):
    return QgsProcessingParameterMapLayer(**_common(told, types=[RASTER, POLYGON]))


def _file(told):
    return QgsProcessingParameterFile(**_common(told, extension=told["suffix"]))


def _model(told):
    return QgsProcessingParameterFile(
        **_common(told, fileFilter="Models (*.safetensors);;All files (*)")
    )


def _extent(told):
    return QgsProcessingParameterExtent(**_common(told))


def _bands(told):
    parameter = QgsProcessingParameterBand(
        **_common(told, parentLayerParameterName="INPUT", allowMultiple=True)
    )
    return parameter


def _enum(told):
    return QgsProcessingParameterEnum(
        **_common(
            told,
            options=told["choices"],
            defaultValue=told["default"],
            usesStaticStrings=True,
        )
    )


def _boolean(told):
    return QgsProcessingParameterBoolean(**_common(told, defaultValue=told["default"]))


def _limits(told):
    limits = {"minValue": told["low"], "maxValue": told["high"]}
    return {name: value for name, value in limits.items() if value is not None}


def _integer(told):
    kind = QgsProcessingParameterNumber.Type.Integer
    return QgsProcessingParameterNumber(
        **_common(told, type=kind, defaultValue=told["default"], **_limits(told))
    )


def _number(told):
    kind = QgsProcessingParameterNumber.Type.Double
    return QgsProcessingParameterNumber(
        **_common(told, type=kind, defaultValue=told["default"], **_limits(told))
    )


def _distance(told):
    # Metres on the ground, whatever the layer's CRS: no parent layer.
    parameter = QgsProcessingParameterDistance(
        **_common(told, defaultValue=told["default"], **_limits(told))
    )
    parameter.setDefaultUnit(QgsUnitTypes.DistanceUnit.DistanceMeters)
    return parameter


def _text(told):
    return QgsProcessingParameterString(**_common(told, defaultValue=told["default"] or None))


def _raster_out(told):
    return QgsProcessingParameterRasterDestination(**_output(told))


def _vector_out(told):
    return QgsProcessingParameterVectorDestination(**_output(told, type=POLYGON))


def _file_out(told):
    suffix = told["suffix"]
    return QgsProcessingParameterFileDestination(
        **_output(told, fileFilter="{} (*.{})".format(told["label"], suffix))
    )


def _folder_out(told):
    return QgsProcessingParameterFolderDestination(**_output(told))


def _output(told, **more):
    return _common(told, createByDefault=not told["optional"], **more)


MAKERS = {
    "raster": _raster,
    "rasters": _rasters,
    "vector": _vector,
    "vectors": _vectors,
    "layer": _layer,
    "file": _file,
    "model": _model,
    "extent": _extent,
    "bands": _bands,
    "enum": _enum,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "distance": _distance,
    "text": _text,
    "texts": _text,
    "raster_out": _raster_out,
    "vector_out": _vector_out,
    "file_out": _file_out,
    "folder_out": _folder_out,
}
