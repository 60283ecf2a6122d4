"""The plugin: registers the provider and, where there is a window, the settings page."""

from qgis.core import QgsApplication

from .provider import GeossdaProvider


class GeossdaPlugin:
    """What QGIS loads.

    Parameters
    ----------
    iface : QgisInterface or None
        None in qgis_process.
    """

    def __init__(self, iface):
        self._iface, self._provider, self._page = iface, None, None

    def initProcessing(self):
        """Register the provider; all that qgis_process asks for."""
        self._provider = GeossdaProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self):
        """Register the provider and the settings page."""
        from .settings import PageFactory

        self.initProcessing()
        self._page = PageFactory()
        self._iface.registerOptionsWidgetFactory(self._page)

    def unload(self):
        """Take away what was registered."""
        if self._page is not None:
            self._iface.unregisterOptionsWidgetFactory(self._page)
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
