"""The plugin: registers the provider and, where there is a window, its menu and settings page."""

from functools import partial

from qgis.core import QgsApplication

from . import core
from .provider import GeossdaProvider

# Algorithms that the menu offers; None is a line between groups.
MENU = ("harmonize", "segment", None, "scenes", "report", "polygonize", "align", "evaluate",
        None, "trainsegmenter", "trainstyle", None, "setup", "diagnostics")  # fmt: skip
MENU_NAME = "&geossda"


class GeossdaPlugin:
    """What QGIS loads.

    Parameters
    ----------
    iface : QgisInterface or None
        None in qgis_process.
    """

    def __init__(self, iface):
        self._iface, self._provider, self._page = iface, None, None
        self._actions, self._tool = [], None

    def initProcessing(self):
        """Register the provider; all that qgis_process asks for."""
        self._provider = GeossdaProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self):
        """Register the provider, the settings page, the menu and the toolbar button."""
        from .settings import PageFactory

        core.state.background = True
        self.initProcessing()
        core.state.changed.connect(self._provider.follow)
        self._page = PageFactory()
        self._iface.registerOptionsWidgetFactory(self._page)
        self._add_menu()

    def _add_menu(self):
        from qgis.PyQt.QtGui import QIcon
        from qgis.PyQt.QtWidgets import QAction, QMenu, QToolButton

        from .about import ICON

        icon, window = QIcon(ICON), self._iface.mainWindow()
        menu = QMenu(window)
        for name in MENU:
            if name is None:
                menu.addSeparator()
                continue
            action = QAction(icon, self._provider.algorithm(name).displayName() + "…", window)
            action.setObjectName(f"geossda_{name}")
            action.triggered.connect(partial(self._open, name))
            menu.addAction(action)
        menu.addSeparator()
        options = QAction("Options…", window)
        options.triggered.connect(
            lambda checked=False: self._iface.showOptionsDialog(window, "geossda")
        )
        menu.addAction(options)
        self._actions = menu.actions()
        for action in self._actions:
            self._iface.addPluginToRasterMenu(MENU_NAME, action)
        button = QToolButton()
        button.setObjectName("geossda_button")
        button.setIcon(icon)
        button.setToolTip("geossda: match colors, find buildings")
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._tool = self._iface.addToolBarWidget(button)

    def _open(self, name, checked=False):
        """Open an algorithm's dialog, or show why its core cannot run."""
        import processing

        runs, problem = self._provider.algorithm(name).canExecute()
        if not runs:
            self._iface.messageBar().pushWarning("geossda", problem)
            return
        dialog = processing.createAlgorithmDialog(f"geossda:{name}", {})
        dialog.show()

    def unload(self):
        """Take away what was registered."""
        if self._page is not None:
            self._iface.unregisterOptionsWidgetFactory(self._page)
        for action in self._actions:
            self._iface.removePluginRasterMenu(MENU_NAME, action)
        if self._tool is not None:
            self._iface.removeToolBarIcon(self._tool)
        core.state.background = False
        core.state.stop()
        if self._provider is not None:
            if self._page is not None:
                core.state.changed.disconnect(self._provider.follow)
            QgsApplication.processingRegistry().removeProvider(self._provider)
