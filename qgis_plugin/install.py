"""`geossda:setup`: a private Python environment with the core, in the user's folder."""

import os
import shutil
import sys

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputString,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QIcon

from . import arguments, core, process
from .about import ICON, help_url
from .environment import private_python, system_pythons
from .parameters import ADVANCED
from .values import whole

ACTIONS = ["install", "repair", "remove"]
# Where PyPI's own torch is not the one wanted.
INDEXES = {
    ("cpu", "linux"): "https://download.pytorch.org/whl/cpu",
    ("cuda", "win32"): "https://download.pytorch.org/whl/cu128",
}
HELP = (
    "<p>Puts geossda and PyTorch into an environment of their own, in .qgis_geossda in your home "
    "folder. QGIS's own Python is left alone.</p>"
    "<p><b>install</b> makes the environment or brings it up to date; after an interruption just "
    "run it again. <b>repair</b> makes it anew. <b>remove</b> deletes it.</p>"
    "<p>Needs Python %s or newer on the system, and 2 GB (cpu) to 6 GB (cuda) on disk.</p>"
    "<p>Without a network: choose a folder of wheels, made on a like machine by "
    "<code>pip download geossda -d FOLDER</code>.</p>"
)
CHECK = ("import torch, rasterio, geossda; "
         "print('geossda', geossda.__version__, 'torch', torch.__version__, "
         "'cuda' if torch.cuda.is_available() else 'cpu')")  # fmt: skip


def _choice(name, label, options):
    return QgsProcessingParameterEnum(
        name, label, options, defaultValue=options[0], usesStaticStrings=True
    )


class SetupAlgorithm(QgsProcessingAlgorithm):
    """Install, repair or remove the core's environment."""

    def createInstance(self):
        """Make another of the same."""
        return SetupAlgorithm()

    def name(self):
        """Give the name scripts use."""
        return "setup"

    def displayName(self):
        """Give the name in the toolbox."""
        return "Set up geossda"

    def group(self):
        """Give the group in the toolbox."""
        return "Set-up"

    def groupId(self):
        """Give the group's name in scripts."""
        return "setup"

    def shortHelpString(self):
        """Say what it does."""
        return HELP % core.description()["python"]

    def helpUrl(self):
        """Give the page that explains."""
        return help_url("set-up")

    def icon(self):
        """Give geossda's icon."""
        return QIcon(ICON)

    def initAlgorithm(self, configuration=None):
        """Ask for what to install, and from where."""
        folder = QgsProcessingParameterFile.Behavior.Folder
        common, advanced = (
            (
                _choice("ACTION", "What to do", ACTIONS),
                _choice("TORCH", "PyTorch for", ["cpu", "cuda"]),
                QgsProcessingParameterFile(
                    "WHEELS",
                    "Folder of wheels, to install without a network",
                    folder,
                    optional=True,
                ),
            ),
            (
                QgsProcessingParameterString(
                    "SOURCE", "geossda: a requirement, wheel or folder of source", "geossda"
                ),
                QgsProcessingParameterFile(
                    "PYTHON", "Python of the system (found by itself)", optional=True
                ),
                QgsProcessingParameterString("OPTIONS", "More options for pip", optional=True),
            ),
        )
        for parameter in advanced:
            parameter.setFlags(parameter.flags() | ADVANCED)
        for parameter in (*common, *advanced):
            self.addParameter(parameter)
        self.addOutput(QgsProcessingOutputString("ENVIRONMENT", "Environment"))

    def processAlgorithm(self, given, context, feedback):
        """Do it, step by step."""
        python = private_python(os.environ)
        folder = python.parent.parent
        action = self.parameterAsEnumString(given, "ACTION", context)
        core.forget()
        if action in ("repair", "remove") and folder.exists():
            feedback.pushInfo(f"Removing {folder}")
            shutil.rmtree(folder)
        if action == "remove":
            return {"ENVIRONMENT": ""}
        base = whole(self.parameterAsFile(given, "PYTHON", context)) or self._base()
        folder.parent.mkdir(parents=True, exist_ok=True)
        steps = [
            ("making the environment", base, ["venv", str(folder)]),
            *self._downloads(given, context, str(python)),
        ]
        try:
            for number, (told, program, module) in enumerate(steps):
                feedback.setProgressText(told)
                feedback.setProgress(100.0 * number / (len(steps) + 1))
                feedback.pushCommandInfo(arguments.quoted([program, "-m", *module]))
                code, heard = process.run_module(program, module, feedback)
                if code != 0:
                    raise QgsProcessingException(f"{told} failed: {heard.error}")
        except process.Stopped:
            feedback.pushInfo("Stopped; run it again to go on.")
            return {}
        self._check(str(python), feedback)
        core.forget()
        return {"ENVIRONMENT": str(folder)}

    def postProcessAlgorithm(self, context, feedback):
        """Show what the new core offers, once this algorithm is done with."""
        provider = self.provider()
        if provider is not None:
            QTimer.singleShot(0, provider.refreshAlgorithms)
        return {}

    def _base(self):
        """Find a Python of the system that can make environments."""
        wanted = core.description()["python"]
        own = "" if sys.platform == "linux" else QgsApplication.prefixPath()
        probe = "import sys, venv, ensurepip; print(sys.version_info >= ({}))".format(
            wanted.replace(".", ", ")
        )
        for program in system_pythons(process.environment()):
            if own and os.path.realpath(program).startswith(os.path.realpath(own)):
                continue
            well, out, _ = process.ask(program, ["-c", probe])
            if well and out.strip() == "True":
                return program
        raise QgsProcessingException(
            f"no Python {wanted} or newer that can make environments was found: install it from "
            "python.org (Debian, Ubuntu: apt install python3-venv), or name it as PYTHON"
        )

    def _downloads(self, given, context, python):
        """Name the runs of pip: PyTorch of the wanted kind first, then the core."""
        pip = ["pip", "install", "--upgrade", "--progress-bar", "off"]
        options = self.parameterAsString(given, "OPTIONS", context).split()
        wheels = whole(self.parameterAsFile(given, "WHEELS", context))
        index = INDEXES.get((self.parameterAsEnumString(given, "TORCH", context), sys.platform))
        source = self.parameterAsString(given, "SOURCE", context)
        if os.path.basename(source) != source:
            source = whole(source)
        if wheels:
            options = ["--no-index", "--find-links", wheels, *options]
        elif index:
            yield "installing PyTorch", python, [*pip, "--index-url", index, *options, "torch"]
        yield "installing geossda", python, [*pip, *options, source]

    def _check(self, python, feedback):
        """See that what was installed can be loaded."""
        feedback.setProgressText("checking")
        well, out, err = process.ask(python, ["-c", CHECK], seconds=600)
        if not well:
            last = (err.strip() or "it said nothing").splitlines()[-1]
            raise QgsProcessingException(
                f"what was installed does not work ({last}): choose repair, and if that does not "
                "help, send the diagnostics"
            )
        feedback.pushInfo(out.strip())
        feedback.setProgress(100)
