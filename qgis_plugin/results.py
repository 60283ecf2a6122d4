"""How results are shown: styles, and the layers of a run in one group, footprints on top."""

from qgis.core import (
    QgsColorRampShader,
    QgsPalettedRasterRenderer,
    QgsProcessingLayerPostProcessorInterface,
    QgsProject,
    QgsRasterLayer,
    QgsRasterShader,
    QgsSingleBandPseudoColorRenderer,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QColor

# (value, color) of a raster's ramp. What is no building is transparent: the imagery shows through.
PROBABILITIES = ((0.0, "#00fde725"), (0.25, "#80fde725"), (0.5, "#b0f98e09"), (1.0, "#d8bc3754"))
SIMILARITY = ((0.0, "#d7191c"), (0.5, "#fdae61"), (0.8, "#ffffbf"), (1.0, "#1a9641"))
MASK = "#a0e31a1c"


class Run:
    """The layers that one run of an algorithm loads: vectors above rasters.

    Parameters
    ----------
    name : str
        Of the group.
    expected : int
        How many layers are to come.
    """

    def __init__(self, name, expected):
        self._name, self._expected = name, expected
        self._layers = []

    def add(self, layer, rank):
        """Take note of a layer that is in the project; the last one brings the group about."""
        self._layers.append((isinstance(layer, QgsRasterLayer), rank, layer.id()))
        if len(self._layers) == self._expected > 1:
            # Newer versions of QGIS put a layer into the tree after it has been styled.
            QTimer.singleShot(0, self.group)

    def group(self):
        """Move the layers into a group of their own."""
        root = QgsProject.instance().layerTreeRoot()
        nodes = [root.findLayer(id) for *_, id in sorted(self._layers)]
        nodes = [node for node in nodes if node is not None]
        if len(nodes) < 2:
            return
        group = root.insertGroup(0, self._name)
        for node in nodes:
            group.addChildNode(node.clone())
            node.parent().removeChildNode(node)


class Styled(QgsProcessingLayerPostProcessorInterface):
    """Apply the style of a result.

    Attributes
    ----------
    style : str
        Of a raster: "probabilities", "mask" or "similarity"; "" as QGIS draws it. Vector layers
        carry their own.
    run : Run
    rank : int
        Of the layer among those of its run, the topmost first.
    """

    kept = ()
    style, run, rank = "", None, 0

    def postProcessLayer(self, layer, context, feedback):
        """Style a layer, and hand it to its run.

        Parameters
        ----------
        layer, context, feedback
            As in QgsProcessingLayerPostProcessorInterface.
        """
        if isinstance(layer, QgsVectorLayer):
            layer.loadDefaultStyle()
        elif self.style:
            layer.setRenderer(RENDERERS[self.style](layer.dataProvider()))
        layer.triggerRepaint()
        if self.run is not None:
            self.run.add(layer, self.rank)

    @classmethod
    def new(cls, style, run, rank):
        """Return one for one layer. QGIS deletes it in the end, and Python must not before.

        Parameters
        ----------
        style : str
            A key of `RENDERERS` for a raster, or "".
        run : Run
        rank : int
            Of the layer among those of its run, the topmost first.
        """
        processor = cls()
        processor.style, processor.run, processor.rank = style, run, rank
        cls.kept = (*(one for one in cls.kept if not sip.isdeleted(one)), processor)
        return processor


def _ramp(stops):
    def renderer(provider):
        function = QgsColorRampShader(stops[0][0], stops[-1][0])
        function.setColorRampType(QgsColorRampShader.Type.Interpolated)
        function.setColorRampItemList(
            [
                QgsColorRampShader.ColorRampItem(value, QColor(color), f"{value:g}")
                for value, color in stops
            ]
        )
        shader = QgsRasterShader()
        shader.setRasterShaderFunction(function)
        return QgsSingleBandPseudoColorRenderer(provider, 1, shader)

    return renderer


def _mask(provider):
    # A value without a class is not drawn.
    classes = [QgsPalettedRasterRenderer.Class(1, QColor(MASK), "building")]
    return QgsPalettedRasterRenderer(provider, 1, classes)


RENDERERS = {"probabilities": _ramp(PROBABILITIES), "similarity": _ramp(SIMILARITY), "mask": _mask}
