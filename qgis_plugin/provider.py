"""The provider: the core's verbs, and two algorithms that set the core up."""

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
        """Return the name that starts algorithms' names."""
        return "geossda"

    def name(self):
        """Return the name in the toolbox."""
        return "geossda"

    def longName(self):
        """Return the name where there is room."""
        return "geossda (harmonization and buildings)"

    def icon(self):
        """Return geossda's icon."""
        return QIcon(ICON)

    def svgIconPath(self):
        """Return the icon's file."""
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
        """Return the suffixes of rasters that the core writes."""
        return self._suffixes("raster_out")

    def supportedOutputVectorLayerExtensions(self):
        """Return the suffixes of vector files that the core writes."""
        return self._suffixes("vector_out")

    def defaultRasterFileExtension(self):
        """Return the first of them."""
        return self.supportedOutputRasterLayerExtensions()[0]

    def defaultVectorFileExtension(self, hasGeometry=True):
        """Return the first of them."""
        return self.supportedOutputVectorLayerExtensions()[0]

    def supportsNonFileBasedOutput(self):
        """Return that results are files."""
        return False

    def _suffixes(self, kind):
        suffixes = []
        for verb in core.description()["verbs"]:
            for parameter in verb["parameters"]:
                suffixes += parameter["suffix"].split() if parameter["kind"] == kind else []
        return list(dict.fromkeys(suffixes))
