"""`geossda:diagnostics`: what a bug report needs, as text."""

import os
import platform
import shutil
import sys
from pathlib import Path

from qgis.core import (
    Qgis,
    QgsProcessingAlgorithm,
    QgsProcessingOutputString,
    QgsProcessingParameterFileDestination,
)
from qgis.PyQt.QtCore import QT_VERSION_STR
from qgis.PyQt.QtGui import QIcon

from . import core, process
from .about import ICON, help_url, metadata
from .environment import home, system_pythons

PACKAGES = """
import importlib.metadata as m, sys
print("python", sys.version)
for name in ("geossda", "openvino", "torch", "numpy", "rasterio", "pyogrio", "pyproj", "click"):
    try:
        print(name, m.version(name))
    except m.PackageNotFoundError:
        print(name, "missing")
try:
    import torch
    print("cuda", torch.cuda.is_available())
except ModuleNotFoundError:
    pass
except Exception as error:
    print("torch cannot be loaded:", error)
"""


class DiagnosticsAlgorithm(QgsProcessingAlgorithm):
    """Writes down how QGIS, the plugin and the core are set up."""

    def createInstance(self):
        """Return another of the same."""
        return DiagnosticsAlgorithm()

    def name(self):
        """Return the name that scripts use."""
        return "diagnostics"

    def displayName(self):
        """Return the name in the toolbox."""
        return "Diagnostics"

    def group(self):
        """Return the group in the toolbox."""
        return "Set-up"

    def groupId(self):
        """Return the group's name in scripts."""
        return "setup"

    def tags(self):
        """Return words to search the toolbox by."""
        return ["bug report", "version", "troubleshooting", "support"]

    def shortHelpString(self):
        """Return what it does."""
        return "<p>Writes a text for bug reports: versions, paths and problems.</p>"

    def helpUrl(self):
        """Return the page that explains it."""
        return help_url("trouble")

    def icon(self):
        """Return geossda's icon."""
        return QIcon(ICON)

    def initAlgorithm(self, configuration=None):
        """Add the file to write to."""
        self.addParameter(
            QgsProcessingParameterFileDestination("OUTPUT", "Diagnostics", "Text (*.txt)")
        )
        self.addOutput(QgsProcessingOutputString("TEXT", "Text"))

    def processAlgorithm(self, given, context, feedback):
        """Write the text, and show it in the log.

        Parameters
        ----------
        given, context, feedback
            As in QgsProcessingAlgorithm.
        """
        text = "".join(f"{what:12} {how}\n" for what, how in collect())
        feedback.pushInfo(text)
        path = self.parameterAsFileOutput(given, "OUTPUT", context)
        Path(path).write_text(text, encoding="utf-8")
        return {"OUTPUT": path, "TEXT": text}


def collect():
    """Return names and states, line by line."""
    python, named = core.python()
    folder = home(os.environ)
    yield "plugin", metadata()["version"]
    yield "QGIS", f"{Qgis.version()}, Qt {QT_VERSION_STR}, Python {platform.python_version()}"
    yield "system", f"{platform.platform()}, {os.cpu_count()} cores"
    yield "encoding", f"{sys.stdout.encoding}, file names {sys.getfilesystemencoding()}"
    yield "core", "{} ({})".format(python or "none", named)
    yield "problem", core.check() or "none"
    yield "environment", "{}, {}".format(folder, "there" if folder.exists() else "not there")
    there = folder if folder.exists() else folder.parent
    yield "disk", "%.1f GB free" % (shutil.disk_usage(there).free / 1e9)
    yield "left out", " ".join(sorted(set(os.environ) - set(process.environment())))
    for program in system_pythons(process.environment()):
        well, out, err = process.ask(program, ["--version"])
        yield "a Python", f"{program}: {(out or err).strip()}"
    if python:
        well, out, err = process.ask(python, ["-c", PACKAGES])
        for line in (out + ("" if well else err)).splitlines():
            yield "in the core", line
