"""Processing parameters, made from the core's description: one kind there, one class here."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterDistance,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsUnitTypes,
)

RASTER = QgsProcessing.SourceType.TypeRaster
POLYGON = QgsProcessing.SourceType.TypeVectorPolygon
ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced


def make(described):
    """Return the parameter that asks for one input, setting or output of a verb."""
    parameter = MAKERS[described["kind"]](described)
    parameter.setHelp(described["help"])
    if described["advanced"]:
        parameter.setFlags(parameter.flags() | ADVANCED)
    return parameter


def choice(name, label, choices, default, optional=False):
    """Return a parameter whose values are the command line's, shown in words.

    Parameters
    ----------
    name, label : str
    choices : dict
        Words by value.
    default : str
    optional : bool
    """
    parameter = QgsProcessingParameterEnum(
        name,
        label,
        [*choices],
        defaultValue=default,
        optional=optional,
        usesStaticStrings=True,
    )
    wrapper = {"class": f"{__package__}.widgets.ChoiceWrapper", "labels": [*choices.values()]}
    parameter.setMetadata({"widget_wrapper": wrapper})
    return parameter


def _common(described, **more):
    return {
        "name": described["id"],
        "description": described["label"],
        "optional": described["optional"],
        **more,
    }


def _raster(described):
    return QgsProcessingParameterRasterLayer(**_common(described))


def _rasters(described):
    return QgsProcessingParameterMultipleLayers(**_common(described, layerType=RASTER))


def _vector(described):
    # Unlike a vector layer, a feature source can be "selected features only".
    return QgsProcessingParameterFeatureSource(**_common(described, types=[POLYGON]))


def _vectors(described):
    return QgsProcessingParameterMultipleLayers(**_common(described, layerType=POLYGON))


def _file(described):
    return QgsProcessingParameterFile(**_common(described, extension=described["suffix"]))


def _model(described):
    return QgsProcessingParameterFile(
        **_common(
            described,
            fileFilter="Models (*.safetensors);;All files (*)",
            defaultValue=described.get("initial"),
        )
    )


def _extent(described):
    return QgsProcessingParameterExtent(**_common(described))


def _bands(described):
    return QgsProcessingParameterBand(
        **_common(described, parentLayerParameterName="INPUT", allowMultiple=True)
    )


def _enum(described):
    words = dict(zip(described["choices"], described["choice_labels"]))
    return choice(
        described["id"], described["label"], words, described["default"], described["optional"]
    )


def _boolean(described):
    return QgsProcessingParameterBoolean(**_common(described, defaultValue=described["default"]))


def _limits(described):
    limits = {"minValue": described["low"], "maxValue": described["high"]}
    return {name: value for name, value in limits.items() if value is not None}


def _integer(described):
    kind = QgsProcessingParameterNumber.Type.Integer
    return QgsProcessingParameterNumber(
        **_common(described, type=kind, defaultValue=described["default"], **_limits(described))
    )


def _number(described):
    kind = QgsProcessingParameterNumber.Type.Double
    parameter = QgsProcessingParameterNumber(
        **_common(described, type=kind, defaultValue=described["default"], **_limits(described))
    )
    return _with_decimals(parameter, described)


def _distance(described):
    # Metres on the ground, whatever the layer's CRS: no parent layer.
    parameter = QgsProcessingParameterDistance(
        **_common(described, defaultValue=described["default"], **_limits(described))
    )
    parameter.setDefaultUnit(QgsUnitTypes.DistanceUnit.DistanceMeters)
    return _with_decimals(parameter, described)


def _with_decimals(parameter, described):
    parameter.setMetadata({"widget_wrapper": {"decimals": described["decimals"]}})
    return parameter


def _text(described):
    return QgsProcessingParameterString(
        **_common(described, defaultValue=described["default"] or None)
    )


def _raster_out(described):
    return QgsProcessingParameterRasterDestination(**_output(described))


def _vector_out(described):
    return QgsProcessingParameterVectorDestination(**_output(described, type=POLYGON))


def _file_out(described):
    suffix = described["suffix"]
    return QgsProcessingParameterFileDestination(
        **_output(described, fileFilter="{} (*.{})".format(described["label"], suffix))
    )


def _folder_out(described):
    return QgsProcessingParameterFolderDestination(**_output(described))


def _output(described, **more):
    return _common(described, createByDefault=not described["optional"], **more)


MAKERS = {
    "raster": _raster,
    "rasters": _rasters,
    "vector": _vector,
    "vectors": _vectors,
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
