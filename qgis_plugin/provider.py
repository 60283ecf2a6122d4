"""The provider: the core's verbs, and two algorithms that look after the core."""

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from . import core
from .about import ICON
from .algorithm import VerbAlgorithm
from .diagnose import DiagnosticsAlgorithm
from .install import SetupAlgorithm


class GeossdaProvider(QgsProcessingProvider):
    """What the toolbox shows under geossda."""

    _loaded = None

    def id(self):
        """Give the name that starts algorithms' names."""
        return "geossda"

    def name(self):
        """Give the name in the toolbox."""
        return "geossda"

    def longName(self):
        """Give the name where there is room."""
        return "geossda (harmonization and buildings)"

    def icon(self):
        """Give geossda's icon."""
        return QIcon(ICON)

    def svgIconPath(self):
        """Give the icon's file."""
        return ICON

    def loadAlgorithms(self):
        """Add an algorithm for each verb that the core offers."""
        self._loaded = core.description()
        for verb in self._loaded["verbs"]:
            self.addAlgorithm(VerbAlgorithm(verb))
        self.addAlgorithm(SetupAlgorithm())
        self.addAlgorithm(DiagnosticsAlgorithm())

    def follow(self, python):
        """Load algorithms anew if a Python's answer has changed what the core offers."""
        if python == core.python()[0] and core.description() != self._loaded:
            self.refreshAlgorithms()

    def supportedOutputRasterLayerExtensions(self):
        """Give what the core writes rasters as."""
        return self._suffixes("raster_out")

    def supportedOutputVectorLayerExtensions(self):
        """Give what the core writes footprints as."""
        return self._suffixes("vector_out")

    def defaultRasterFileExtension(self):
        """Give the first of them."""
        return self.supportedOutputRasterLayerExtensions()[0]

    def defaultVectorFileExtension(self, hasGeometry=True):
        """Give the first of them."""
        return self.supportedOutputVectorLayerExtensions()[0]

    def supportsNonFileBasedOutput(self):
        """Say that results are files."""
        return False

    def _suffixes(self, kind):
        verbs = core.description()["verbs"]
        found = [suffix for verb in verbs for told in verb["parameters"]
                 if told["kind"] == kind for suffix in told["suffix"].split()]  # fmt: skip
        return list(dict.fromkeys(found))
