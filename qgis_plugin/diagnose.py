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
for name in ("geossda", "torch", "numpy", "rasterio", "pyogrio", "pyproj", "dask", "click"):
    try:
        print(name, m.version(name))
    except m.PackageNotFoundError:
        print(name, "missing")
try:
    import torch
    print("cuda", torch.cuda.is_available())
except Exception as error:
    print("torch cannot be loaded:", error)
"""


class DiagnosticsAlgorithm(QgsProcessingAlgorithm):
    """Write down how QGIS, the plugin and the core are set up."""

    def createInstance(self):  # noqa: N802
        """Make another of the same."""
        return DiagnosticsAlgorithm()

    def name(self):
        """Give the name scripts use."""
        return "diagnostics"

    def displayName(self):  # noqa: N802
        """Give the name in the toolbox."""
        return "Diagnostics"

    def group(self):
        """Give the group in the toolbox."""
        return "Set-up"

    def groupId(self):  # noqa: N802
        """Give the group's name in scripts."""
        return "setup"

    def shortHelpString(self):  # noqa: N802
        """Say what it does."""
        return "<p>Writes a text for bug reports: versions, paths, and what is amiss.</p>"

    def helpUrl(self):  # noqa: N802
        """Give the page that explains."""
        return help_url("trouble")

    def icon(self):
        """Give geossda's icon."""
        return QIcon(ICON)

    def initAlgorithm(self, configuration=None):  # noqa: N802
        """Ask for a file to write to."""
        self.addParameter(
            QgsProcessingParameterFileDestination("OUTPUT", "Diagnostics", "Text (*.txt)")
        )
        self.addOutput(QgsProcessingOutputString("TEXT", "Text"))

    def processAlgorithm(self, given, context, feedback):  # noqa: N802
        """Collect, show and write."""
        text = "\n".join("%-12s %s" % line for line in collect()) + "\n"
        feedback.pushInfo(text)
        path = self.parameterAsFileOutput(given, "OUTPUT", context)
        Path(path).write_text(text, encoding="utf-8")
        return {"OUTPUT": path, "TEXT": text}


def collect():
    """Give (what, how it is), line by line."""
    python, named = core.python()
    folder = home(os.environ)
    yield "plugin", metadata()["version"]
    yield "QGIS", "%s, Qt %s, Python %s" % (Qgis.version(), QT_VERSION_STR, platform.python_version())
    yield "system", "%s, %s cores" % (platform.platform(), os.cpu_count())
    yield "encoding", "%s, file names %s" % (sys.stdout.encoding, sys.getfilesystemencoding())
    yield "core", "%s (%s)" % (python or "none", named)
    yield "problem", core.problem() or "none"
    yield "environment", "%s, %s" % (folder, "there" if folder.exists() else "not there")
    there = folder if folder.exists() else folder.parent
    yield "disk", "%.1f GB free" % (shutil.disk_usage(there).free / 1e9)
    yield "left out", " ".join(sorted(set(os.environ) - set(process.environment())))
    for program in system_pythons(process.environment()):
        well, out, err = process.ask(program, ["--version"])
        yield "a Python", "%s: %s" % (program, (out or err).strip())
    if python:
        well, out, err = process.ask(python, ["-c", PACKAGES])
        for line in (out + ("" if well else err)).splitlines():
            yield "in the core", line
