"""The page under Settings, Options: which Python has the core."""

import os

import processing
from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from . import core
from .about import ICON
from .environment import find_core, is_program

# Milliseconds without a keystroke after which the path that stands there is looked into.
PAUSE_MS = 400


class PageFactory(QgsOptionsWidgetFactory):
    """Makes the page when the options are opened."""

    def __init__(self):
        super().__init__("geossda", QIcon(ICON))

    def icon(self):
        """Return geossda's icon."""
        return QIcon(ICON)

    def createWidget(self, parent=None):
        """Return a new page."""
        return Page(parent)


class Page(QgsOptionsPageWidget):
    """Shows the state of the Python that is typed or found; sets one up."""

    def __init__(self, parent=None):
        super().__init__(parent)
        # By which the options are opened at this page.
        self.setObjectName("geossda")
        self.file = QgsFileWidget()
        self.file.setFilePath(core.setting())
        self.file.lineEdit().setPlaceholderText("searched for automatically")
        self.state = QLabel()
        self.state.setWordWrap(True)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self.show_state)
        self.file.fileChanged.connect(lambda path: self._pause.start(PAUSE_MS))
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
        core.state.changed.connect(self._on_answer)
        self.show_state()

    def apply(self):
        """Keep what was chosen."""
        if self.file.filePath() != core.setting():
            core.choose(self.file.filePath())

    def show_state(self):
        """Show the state of the Python that the typed path leads to, and ask it if need be."""
        path, named = self._python()
        if not path:
            self.state.setText("geossda is not installed yet: press Set up…")
            return
        where = f"{path} ({named})"
        if not is_program(path):
            self.state.setText(f"{where}: there is no such program. {self._advice(named)}")
            return
        answer = core.state.known(path)
        if answer is None:
            self.state.setText(f"{where}: being asked …")
            core.state.inquire(path)
        elif answer.problem:
            self.state.setText(f"{where} {answer.problem}. {self._advice(named)}")
        else:
            self.state.setText(f"{where}: ready, geossda {answer.description['version']}")

    def _python(self):
        environ = os.environ | {"PATH": core.environment()["PATH"]}
        return find_core(environ, self.file.filePath())

    def _advice(self, named):
        if named == "GEOSSDA_PYTHON":
            return "The environment variable GEOSSDA_PYTHON, which comes first, names it."
        return "Choose another Python, or leave the field empty and press Set up…"

    def _on_answer(self, python):
        if python == self._python()[0]:
            self.show_state()

    def _open(self, name):
        """Open an algorithm's dialog over the options, which are modal themselves.

        `processing.execAlgorithmDialog` shows a dialog before it makes it modal, which comes too
        late: the options go on taking all input.
        """
        dialog = processing.createAlgorithmDialog(name, {})
        dialog.setParent(self.window(), dialog.windowFlags())
        dialog.setModal(True)
        dialog.exec()
        dialog.close()
        core.forget()
        self.show_state()
