"""The page under Settings, Options: which Python has the core."""

import processing
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from . import core
from .about import ICON


class PageFactory(QgsOptionsWidgetFactory):
    """Makes the page when the options are opened."""

    def __init__(self):
        super().__init__("geossda", QIcon(ICON))

    def icon(self):
        """Give geossda's icon."""
        return QIcon(ICON)

    def createWidget(self, parent=None):
        """Make the page."""
        return Page(parent)


class Page(QgsOptionsPageWidget):
    """Shows which Python is used and how it is; sets it up."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.file = QgsFileWidget()
        self.file.setFilePath(core.setting())
        self.file.lineEdit().setPlaceholderText("found by itself")
        self.state = QLabel()
        self.state.setWordWrap(True)
        buttons = QHBoxLayout()
        for text, algorithm in (
            ("Set up…", "geossda:setup"),
            ("Diagnostics…", "geossda:diagnostics"),
        ):
            button = QPushButton(text)
            button.clicked.connect(lambda checked=False, name=algorithm: self._open(name))
            buttons.addWidget(button)
        buttons.addStretch()
        form = QFormLayout()
        form.addRow("Python that has geossda", self.file)
        form.addRow("State", self.state)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addStretch()
        self.show_state()

    def apply(self):
        """Keep what was chosen."""
        if self.file.filePath() != core.setting():
            core.choose(self.file.filePath())
            _refresh()

    def show_state(self):
        """Say which Python is used, and whether it will do."""
        python, named = core.python()
        problem = core.problem()
        self.state.setText(problem or f"{python}, by {named}: ready")

    def _open(self, name):
        processing.execAlgorithmDialog(name, {})
        core.forget()
        self.show_state()


def _refresh():
    from qgis.core import QgsApplication

    provider = QgsApplication.processingRegistry().providerById("geossda")
    if provider is not None:
        provider.refreshAlgorithms()
