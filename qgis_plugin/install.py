"""`geossda:setup`: a private Python environment with the core, in the user's folder."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QIcon

from . import arguments, core, packages, process
from .about import HERE, ICON, help_url
from .environment import private_python, system_pythons
from .parameters import ADVANCED, choice
from .values import whole

ACTIONS = {
    "install": "Install, or update",
    "repair": "Remove and install anew",
    "remove": "Remove",
}
# Sizes on Linux with torch 2.14; the log has those of the day before anything is downloaded.
KINDS = {
    "light": "To harmonize and to find buildings (0.25 GB to download, 0.7 GB on disk)",
    "cpu": "With training (0.6 GB to download, 1.7 GB on disk)",
    "cuda": "With training, on an NVIDIA card (3.5 GB to download, 6.7 GB on disk)",
}
HELP = (
    "<p>Puts geossda into an environment of its own, in .qgis_geossda in your home folder. QGIS's "
    "own Python stays as it is.</p>"
    "<p>PyTorch is much the largest part. It is needed to train models, and to use an NVIDIA card; "
    "it can be added later.</p>"
    "<p>The log shows the size before anything is downloaded. At the end one tile is harmonized "
    "and one window predicted, so that what is reported ready is.</p>"
    "<p>After an interruption run it again. Needs Python %s or newer on the system.</p>"
    "<p>Without a network: choose a folder of wheels, made on a similar computer by "
    "<code>pip download geossda -d FOLDER</code>.</p>"
)
INSTALLED_TORCH = "import importlib.metadata as m; print(m.version('torch'))"


class SetupAlgorithm(QgsProcessingAlgorithm):
    """Install, repair or remove the core's environment."""

    def createInstance(self):
        """Return another of the same."""
        return SetupAlgorithm()

    def name(self):
        """Return the name that scripts use."""
        return "setup"

    def displayName(self):
        """Return the name in the toolbox."""
        return "Set up geossda"

    def group(self):
        """Return the group in the toolbox."""
        return "Set-up"

    def groupId(self):
        """Return the group's name in scripts."""
        return "setup"

    def tags(self):
        """Return words to search the toolbox by."""
        return ["install", "update", "python", "pytorch", "environment", "gpu", "cuda"]

    def shortHelpString(self):
        """Return what it does."""
        return HELP % core.description()["python"]

    def helpUrl(self):
        """Return the page that explains it."""
        return help_url("set-up")

    def icon(self):
        """Return geossda's icon."""
        return QIcon(ICON)

    def initAlgorithm(self, configuration=None):
        """Add parameters for what to install, and from where."""
        folder = QgsProcessingParameterFile.Behavior.Folder
        common = (
            choice("ACTION", "What to do", ACTIONS, "install"),
            choice("TORCH", "What for", KINDS, "light"),
            QgsProcessingParameterFile(
                "WHEELS", "Folder of wheels, to install without a network", folder, optional=True
            ),
        )
        advanced = (
            QgsProcessingParameterString(
                "SOURCE", "geossda: a requirement, wheel or folder of source", "geossda"
            ),
            QgsProcessingParameterFile(
                "PYTHON", "Python of the system (empty: searched for)", optional=True
            ),
            QgsProcessingParameterString("OPTIONS", "More options for pip", optional=True),
        )
        for parameter in advanced:
            parameter.setFlags(parameter.flags() | ADVANCED)
        for parameter in (*common, *advanced):
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputString("ENVIRONMENT", "Environment"))

    def processAlgorithm(self, parameters, context, feedback):
        """Make, check or remove the environment.

        Parameters
        ----------
        parameters, context, feedback
            As in QgsProcessingAlgorithm.
        """
        python = private_python(os.environ)
        folder = python.parent.parent
        action = self.parameterAsEnumString(parameters, "ACTION", context)
        core.forget()
        if action in ("repair", "remove") and folder.exists():
            feedback.pushInfo(f"Removing {folder}")
            shutil.rmtree(folder)
        if action == "remove":
            return {"ENVIRONMENT": ""}
        base = whole(self.parameterAsFile(parameters, "PYTHON", context)) or self._base(feedback)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._step("Making the environment", 0, base, ["venv", str(folder)], feedback)
            with tempfile.TemporaryDirectory() as scratch:
                self._install(str(python), self._request(parameters, context), scratch, feedback)
            self._check(str(python), feedback)
        except process.Stopped:
            feedback.pushInfo("Stopped; run it again to go on.")
            return {}
        finally:
            core.forget()
        return {"ENVIRONMENT": str(folder)}

    def postProcessAlgorithm(self, context, feedback):
        """Show what the new core offers, once this algorithm is done with."""
        provider = self.provider()
        if provider is not None:
            QTimer.singleShot(0, provider.refreshAlgorithms)
        return {}

    def _request(self, parameters, context):
        source = self.parameterAsString(parameters, "SOURCE", context)
        return packages.request(
            self.parameterAsEnumString(parameters, "TORCH", context),
            sys.platform,
            whole(source) if os.path.basename(source) != source else source,
            self.parameterAsString(parameters, "OPTIONS", context).split(),
            whole(self.parameterAsFile(parameters, "WHEELS", context)),
        )

    def _base(self, feedback):
        """Return a Python of the system that can make environments."""
        wanted = core.description()["python"]
        own = "" if sys.platform == "linux" else QgsApplication.prefixPath()
        probe = "import sys, venv, ensurepip; print(sys.version_info >= ({}))".format(
            wanted.replace(".", ", ")
        )
        for program in system_pythons(process.environment()):
            if own and os.path.realpath(program).startswith(os.path.realpath(own)):
                continue
            well, out, _ = process.ask(program, ["-c", probe], feedback=feedback)
            if well and out.strip() == "True":
                return program
        raise QgsProcessingException(
            f"no Python {wanted} or newer that can make environments was found: install it from "
            "python.org (Debian, Ubuntu: apt install python3-venv), or name it as PYTHON"
        )

    def _install(self, python, request, scratch, feedback):
        """Choose versions, show their size, and install them."""
        constraints, report = "", Path(scratch, "report.json")
        if request["index"]:
            self._step(
                "Choosing PyTorch", 5, python, packages.choose_torch(request, report), feedback
            )
            try:
                pinned = packages.pins(request, report)
            except ValueError as error:
                raise QgsProcessingException(str(error)) from error
            constraints = Path(scratch, "constraints.txt")
            constraints.write_text("\n".join(pinned), encoding="utf-8")
        well, installed, _ = process.ask(python, ["-c", INSTALLED_TORCH], feedback=feedback)
        other = well and request["label"] not in (None, packages.label_of(installed.strip()))
        if other:
            # To pip 2.9.1+cpu is 2.9.1 too, and it would stay.
            remove = ["pip", "uninstall", "--yes", *packages.TORCH]
            self._step("Removing PyTorch of another kind", 10, python, remove, feedback)
        plan = packages.install(request, constraints, report)
        self._step("Choosing packages", 15, python, plan, feedback)
        self._show_size(python, report, feedback)
        self._step(
            "Installing geossda", 30, python, packages.install(request, constraints), feedback
        )

    def _step(self, title, percent, program, module, feedback):
        """Run one step; a failure is one line."""
        feedback.setProgressText(title)
        feedback.setProgress(percent)
        feedback.pushCommandInfo(arguments.quoted([program, "-m", *module]))
        code, listener = process.run_module(program, module, feedback)
        if code != 0:
            message = packages.reason(listener.lines, listener.error)
            raise QgsProcessingException(f"{title} failed: {message}")

    def _show_size(self, python, report, feedback):
        """Show the size of what is to be installed; refuse what the disk has no room for."""
        feedback.setProgressText("Measuring sizes")
        well, out, err = process.ask(python, [HERE / "sizes.py", report], 300, feedback)
        if not well:
            feedback.pushWarning(f"The size is not known ({(err.splitlines() or ['?'])[-1]}).")
            return
        figures = json.loads(out)
        free = shutil.disk_usage(Path(python).parent).free
        feedback.pushInfo(packages.describe_sizes(figures, free))
        # Wheels lie beside what is unpacked from them until the end.
        needed = figures["download"] + figures["disk"]
        if needed > free:
            raise QgsProcessingException(
                f"set-up needs {packages.gigabytes(needed)} on the disk of {python}, and "
                f"{packages.gigabytes(free)} are free: make room, or set GEOSSDA_QGIS_HOME to a "
                "folder on another disk"
            )

    def _check(self, python, feedback):
        """Harmonize a tile and predict a window with what was installed."""
        if feedback.isCanceled():
            raise process.Stopped
        feedback.setProgressText("Checking: one tile is harmonized, one window predicted")
        feedback.setProgress(90)
        well, out, err = process.ask(python, [HERE / "selfcheck.py"], 600, feedback)
        if feedback.isCanceled():
            raise process.Stopped
        if not well:
            last = ([line for line in err.splitlines() if line.strip()] or ["it said nothing"])[-1]
            raise QgsProcessingException(
                f"what was installed does not work ({last}): choose “{ACTIONS['repair']}”, and if "
                "that does not help, send the diagnostics"
            )
        feedback.pushInfo(out.strip().splitlines()[-1])
        feedback.setProgress(100)
