"""The core's verbs as Processing algorithms: one class, made from the core's description."""

import json
import os
import re
from html import escape
from pathlib import Path

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputNumber,
)
from qgis.PyQt.QtGui import QIcon

from . import arguments, core, layers, parameters, process, results, rules, values
from .about import ICON, help_url


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
        """Return another of the same."""
        return VerbAlgorithm(self._verb)

    def name(self):
        """Return the name that scripts and models use."""
        return self._verb["command"].replace("-", "")

    def displayName(self):
        """Return the name in the toolbox."""
        return self._verb["title"]

    def group(self):
        """Return the group in the toolbox."""
        return self._verb["group"]

    def groupId(self):
        """Return the group's name in scripts."""
        return re.sub("[^a-z]", "", self._verb["group"].lower())

    def tags(self):
        """Return words to search the toolbox by."""
        return self._verb["tags"]

    def shortHelpString(self):
        """Return the verb's help, then that of its parameters that are not advanced."""
        parts = [f"<p>{escape(text)}</p>" for text in self._verb["help"]]
        for described in self._verb["parameters"]:
            if described["help"] and not described["advanced"]:
                parts.append(
                    "<p><b>{}</b><br>{}</p>".format(described["label"], escape(described["help"]))
                )
        return "".join(parts)

    def helpUrl(self):
        """Return the page that explains it."""
        return help_url(self.name())

    def icon(self):
        """Return geossda's icon."""
        return QIcon(ICON)

    def svgIconPath(self):
        """Return the icon's file."""
        return ICON

    def initAlgorithm(self, configuration=None):
        """Add the parameters and outputs that the core describes."""
        for described in self._verb["parameters"]:
            self.addParameter(parameters.make(described))
        for described in self._verb["results"]:
            self.addOutput(QgsProcessingOutputNumber(described["id"], described["label"]))

    def canExecute(self):
        """Return whether the core can run, and if not, what to do."""
        problem = core.problem()
        return not problem, problem

    def checkParameterValues(self, given, context):
        """Return whether the parameters go together, and if not, what to do."""
        wrong = {
            p["id"]
            for p in self._verb["parameters"]
            if values.is_refused(self, p, given.get(p["id"]))
        }
        accepted = {name: value for name, value in given.items() if name not in wrong}
        fits, message = super().checkParameterValues(accepted, context)
        if fits:
            inputs = {
                p["id"]: self.parameterAsEnumString(given, p["id"], context)
                if p["kind"] == "enum"
                else given.get(p["id"]) not in (None, "", [])
                for p in self._verb["parameters"]
            }
            message = rules.broken(self._verb["rules"], inputs)
        return not message, message

    def prepareAlgorithm(self, given, context, feedback):
        """Read what was chosen, in the thread that layers live in.

        Parameters
        ----------
        given, context, feedback
            As in QgsProcessingAlgorithm.
        """
        inputs = [p for p in self._verb["parameters"] if not p["kind"].endswith("_out")]
        try:
            self._values = {
                described["id"]: values.read(self, described, given, context, feedback)
                for described in inputs
            }
            if any(p["id"] == "INPUT" and p["kind"] == "raster" for p in inputs):
                self._source = self.parameterAsLayer(given, "INPUT", context).name()
        except QgsProcessingException as refused:
            # QGIS shows the message of what is raised while processing, not of what is raised here.
            self._refused = refused
        return True

    def processAlgorithm(self, given, context, feedback):
        """Run the core, and return what it has written.

        Parameters
        ----------
        given, context, feedback
            As in QgsProcessingAlgorithm.
        """
        problem = self._refused or core.check(feedback)
        if problem:
            raise QgsProcessingException(str(problem))
        python, _ = core.python()
        outputs = {p["id"]: values.output(self, p, given, context)
                   for p in self._verb["parameters"] if p["kind"].endswith("_out")}  # fmt: skip
        written = {name: path for name, path in outputs.items() if path}
        inputs = {name: values.finish(value, feedback) for name, value in self._values.items()}
        command = arguments.build(self._verb, {**inputs, **written})
        feedback.pushCommandInfo(arguments.quoted([python, "-m", "geossda_cli", *command]))
        new = [path for path in written.values() if not os.path.exists(path)]
        try:
            listener = self._run(python, command, written, feedback)
        except process.Stopped:
            _remove(new)
            feedback.pushInfo("Stopped; nothing was left half-written.")
            return {}
        numbers = self._numbers(listener, written, feedback)
        self._name_layers(written, context)
        return {**written, **numbers}

    def _run(self, python, command, written, feedback):
        module = ["geossda_cli", *command, "--progress", "json"]
        described = self._verb["parameters"]
        code, listener = process.run_module(
            python, module, feedback, list(written.values()),
            reword=lambda text: rules.in_dialog_words(text, described),
            # What it prints is for programs; the numbers are shown below by their labels.
            quiet="--json" in self._verb["switches"],
        )  # fmt: skip
        if code != 0:
            raise QgsProcessingException(listener.error)
        return listener

    def _name_layers(self, written, context):
        """Place layers with their styles in one group, and name them after their source."""
        loaded = [
            p["id"]
            for p in self._verb["parameters"]
            if p["kind"] in ("raster_out", "vector_out")
            and p["id"] in written
            and context.willLoadLayerOnCompletion(written[p["id"]])
        ]
        title = f"{self._source or self.displayName()} – {self.displayName().lower()}"
        run = results.Run(title, len(loaded))
        for rank, described in enumerate(self._verb["parameters"]):
            name = described["id"]
            if name not in loaded:
                continue
            details = context.layerToLoadOnCompletionDetails(written[name])
            details.setPostProcessor(results.Styled.new(described["style"], run, rank))
            if details.name == described["label"] and self._source:
                details.name = "{} {}".format(self._source, described["label"].lower())

    def _numbers(self, listener, written, feedback):
        """Return the verb's numbers, from what it has printed or from its layer."""
        described = self._verb["results"]
        if not described:
            return {}
        if "--json" in self._verb["switches"]:
            printed = json.loads("\n".join(listener.printed))
            numbers = {one["id"]: _at(printed, one["place"]) for one in described}
        else:
            numbers = _of_layer(written["OUTPUT"], described)
        for one in described:
            if numbers[one["id"]] is not None:
                feedback.pushInfo("{}: {:.6g}".format(one["label"], numbers[one["id"]]))
        return numbers


def _at(printed, place):
    for step in place:
        printed = printed.get(step) if isinstance(printed, dict) else None
    return printed


def _of_layer(path, described):
    """Return numbers whose place is "count" or "sum:FIELD"."""
    fields = [one["place"][0][4:] for one in described if one["place"][0].startswith("sum:")]
    count, sums = layers.count_and_sums(path, fields)
    return {
        one["id"]: count if one["place"] == ["count"] else sums[one["place"][0][4:]]
        for one in described
    }


def _remove(paths):
    """Remove outputs of a run that was stopped before its last one was written."""
    for path in map(Path, paths):
        if path.is_file():
            path.unlink()
