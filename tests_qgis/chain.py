"""A model of the Modeler: harmonize a mosaic, then find buildings in the result."""

from qgis.core import (
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
)
from qgis.PyQt.QtCore import QPointF


def chain(method, threshold):
    """Build it as the Modeler's dialogs do, which fill in every default."""
    source = QgsProcessingModelChildParameterSource
    model = QgsProcessingModelAlgorithm("Harmonize, then find", "tests")
    for column, name in enumerate(("mosaic", "reference")):
        component = QgsProcessingModelParameter(name)
        component.setPosition(QPointF(130 + 250 * column, 60))
        model.addModelParameter(QgsProcessingParameterRasterLayer(name, name.title()), component)
    first = QgsProcessingModelChildAlgorithm("geossda:harmonize")
    first.setChildId("first")
    first.addParameterSources("INPUT", [source.fromModelParameter("mosaic")])
    first.addParameterSources("STYLE", [source.fromModelParameter("reference")])
    first.addParameterSources("METHOD", [source.fromStaticValue(method)])
    second = QgsProcessingModelChildAlgorithm("geossda:segment")
    second.setChildId("second")
    second.addParameterSources("INPUT", [source.fromChildOutput("first", "OUTPUT")])
    second.addParameterSources("THRESHOLD", [source.fromStaticValue(threshold)])
    result = QgsProcessingModelOutput("buildings", "Buildings")
    result.setChildOutputName("OUTPUT")
    result.setChildId("second")
    result.setPosition(QPointF(255, 420))
    second.setModelOutputs({"buildings": result})
    for row, child in enumerate((first, second)):
        for parameter in child.algorithm().parameterDefinitions():
            name, value = parameter.name(), parameter.defaultValue()
            if name not in child.parameterSources() and value is not None:
                child.addParameterSources(name, [source.fromStaticValue(value)])
        child.setDescription(child.algorithm().displayName())
        child.setPosition(QPointF(255, 180 + 120 * row))
        model.addChildAlgorithm(child)
    model.updateDestinationParameters()
    return model
