"""The core's verbs as Processing algorithms: one class, told by the core what each asks for."""

import json
import os
import re
from html import escape

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputNumber,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtGui import QIcon

from . import arguments, core, parameters, process, values
from .about import ICON, help_url


class Styled(QgsProcessingLayerPostProcessorInterface):
    """Gives a result the style it was written with."""

    kept = ()

    def postProcessLayer(self, layer, context, feedback):
        """Take the default style out of a GeoPackage."""
        if isinstance(layer, QgsVectorLayer):
            layer.loadDefaultStyle()
            layer.triggerRepaint()

    @classmethod
    def new(cls):
        """Make one for one layer. QGIS deletes it in the end, and Python must not before."""
        made = cls()
        cls.kept = (*(one for one in cls.kept if not sip.isdeleted(one)), made)
        return made


class VerbAlgorithm(QgsProcessingAlgorithm):
    """One verb of the core.

    Parameters
    ----------
    verb : dict
        As the core describes it.
    """

    def __init__(self, verb):
        super().__init__()
        self._verb, self._values, self._refused, self._source = verb, {}, None, ""

    def createInstance(self):
        """Make another of the same."""
        return VerbAlgorithm(self._verb)

    def name(self):
        """Give the name scripts and models use."""
        return self._verb["command"].replace("-", "")

    def displayName(self):
        """Give the name in the toolbox."""
        return self._verb["title"]

    def group(self):
        """Give the group in the toolbox."""
        return self._verb["group"]

    def groupId(self):
        """Give the group's name in scripts."""
        return re.sub("[^a-z]", "", self._verb["group"].lower())

    def shortHelpString(self):
        """Give the verb's help and that of what it asks for first."""
        parts = [f"<p>{escape(text)}</p>" for text in self._verb["help"]]
        for told in self._verb["parameters"]:
            if told["help"] and not told["advanced"]:
                parts.append("<p><b>{}</b><br>{}</p>".format(told["label"], escape(told["help"])))
        return "".join(parts)

    def helpUrl(self):
        """Give the page that explains."""
        return help_url(self.name())

    def icon(self):
        """Give geossda's icon."""
        return QIcon(ICON)

    def svgIconPath(self):
        """Give the icon's file."""
        return ICON

    def initAlgorithm(self, configuration=None):
        """Add what the core says the verb asks for."""
        for told in self._verb["parameters"]:
            self.addParameter(parameters.make(told))
        for told in self._verb["results"]:
            self.addOutput(QgsProcessingOutputNumber(told["id"], told["label"]))

    def canExecute(self):
        """Say whether the core can run, and if not, what to do."""
        problem = core.problem()
        return not problem, problem

    def prepareAlgorithm(self, given, context, feedback):
        """Read what was chosen, in the thread that layers live in."""
        try:
            self._values = {
                told["id"]: values.read(self, told, given, context, feedback)
                for told in self._verb["parameters"]
                if not told["kind"].endswith("_out")
            }
            if any(
                told["id"] == "INPUT" and told["kind"] == "raster"
                for told in self._verb["parameters"]
            ):
                self._source = self.parameterAsLayer(given, "INPUT", context).name()
        except QgsProcessingException as refused:
            # QGIS shows the message of what is raised while processing, not of what is raised here.
            self._refused = refused
        return True

    def processAlgorithm(self, given, context, feedback):
        """Run the core and tell what it made."""
        problem = core.problem() or self._refused
        if problem:
            raise QgsProcessingException(str(problem))
        python, _ = core.python()
        # Only what is asked for here, in the thread that works, is loaded afterwards.
        outputs = {
            told["id"]: values.output(self, told, given, context)
            for told in self._verb["parameters"]
            if told["kind"].endswith("_out")
        }
        made = {name: path for name, path in outputs.items() if path}
        command = arguments.build(self._verb, {**self._values, **made})
        feedback.pushCommandInfo(arguments.quoted([python, "-m", "geossda_cli", *command]))
        folders = [os.path.dirname(path) for path in made.values()]
        try:
            code, heard = process.run_module(
                python, ["geossda_cli", *command, "--progress", "json"], feedback, folders
            )
        except process.Stopped:
            feedback.pushInfo("Stopped; nothing was left half-written.")
            return {}
        if code != 0:
            raise QgsProcessingException(heard.error)
        for told in self._verb["parameters"]:
            if told["kind"] in ("raster_out", "vector_out") and told["id"] in made:
                self._name(told, made[told["id"]], context)
        return {**made, **self._numbers(heard)}

    def _name(self, told, path, context):
        """Have a layer loaded with its style, and called after what it was made from."""
        if not context.willLoadLayerOnCompletion(path):
            return
        details = context.layerToLoadOnCompletionDetails(path)
        details.setPostProcessor(Styled.new())
        if details.name == told["label"] and self._source:
            details.name = "{} {}".format(self._source, told["label"].lower())

    def _numbers(self, heard):
        """Pick the numbers out of the JSON that a verb has printed."""
        results = {}
        if self._verb["results"]:
            printed = json.loads("\n".join(heard.printed))
            for told in self._verb["results"]:
                value = printed
                for step in told["place"]:
                    value = value.get(step) if isinstance(value, dict) else None
                results[told["id"]] = value
        return results
