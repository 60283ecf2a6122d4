"""`geossda describe`: what a dialog needs to ask for a verb's settings, as JSON.

Names, help and which inputs are required come from the commands, defaults and limits from the
configs, what neither knows from the `dialog_` modules.
"""

import dataclasses
import importlib
import json
import re
import types
import typing
from typing import Any

import click

from geossda._version import __version__

from . import dialog_buildings, dialog_colors, dialog_training
from .dialog_ports import Port, Verb
from .dialog_words import CHOICES, help_of, label_of
from .main import COMMANDS

VERBS = {**dialog_colors.VERBS, **dialog_buildings.VERBS, **dialog_training.VERBS}
# Raised when a reader of the old form would misread the new one.
FORMAT = 3
PYTHON = "3.11"
# Fields that a dialog does not ask for, or asks for as a layer, with a `Port`.
HIDDEN = ("overwrite", "resume", "bounds_crs", "area", "timings")


@click.command("describe")
def command() -> None:
    """Print the parameters of all commands as JSON.

    The QGIS plugin makes its dialogs from this.
    """
    click.echo(json.dumps(describe_all(), indent=1, ensure_ascii=False))


def describe_all() -> dict[str, Any]:
    """Return the descriptions of all commands that dialogs are made for."""
    verbs = [describe(name) for name in VERBS]
    return {"format": FORMAT, "version": __version__, "python": PYTHON, "verbs": verbs}


def describe(name: str) -> dict[str, Any]:
    """Return the description of one command, by its parameters, its config and `VERBS`."""
    verb = VERBS[name]
    defined = importlib.import_module(COMMANDS[name]).command
    params = {param.name: param for param in defined.params}
    hints = typing.get_type_hints(verb.config)
    parameters = [
        _from_port(port, params[param]) for param, ports in verb.ports.items() for port in ports
    ]
    inputs = [port for port in parameters if not port["kind"].endswith("_out")]
    outputs = [port for port in parameters if port["kind"].endswith("_out")]
    settings = [
        _from_field(name, entry, hints[entry.name], verb)
        for entry in dataclasses.fields(verb.config)
        if entry.name not in HIDDEN
    ]
    if not any(port["id"] == "INPUT" and port["kind"] == "raster" for port in inputs):
        # Bands are picked from a list only where there is one raster to list them of.
        for setting in settings:
            setting["kind"] = "texts" if setting["kind"] == "bands" else setting["kind"]
    parameters = [*inputs, *settings, *outputs]
    labels = _labels_by_option(parameters)
    for parameter in parameters:
        parameter["help"] = _without_options(parameter["help"], labels)
    return {
        "command": name,
        "title": verb.title,
        "group": verb.group,
        "tags": verb.tags.split(","),
        "help": [
            _without_options(text, labels)
            for text in ([verb.help] if verb.help else _prose(defined))
        ],
        "parameters": parameters,
        "rules": [rule._asdict() for rule in verb.rules],
        # A dialog has asked before it names an existing file, and leaves nothing when cancelled.
        "switches": [
            *verb.switches,
            *(["--overwrite"] if "overwrite" in hints else []),
            *(["--no-resume"] if "resume" in hints else []),
        ],
        "results": [
            {"id": id, "place": place.split("."), "label": label}
            for id, place, label in verb.results
        ],
    }


def _prose(defined: click.Command) -> list[str]:
    """Return a command's help without what is about the command line: arguments and examples."""
    starts = tuple(f"{param.human_readable_name} " for param in defined.params)
    starts += tuple(f"{param.metavar.split('.')[0]} " for param in defined.params if param.metavar)
    paragraphs = []
    for part in (defined.help or "").split("\n\n"):
        sentences = re.split(r"(?<=\.) ", " ".join(part.split()))
        kept = [sentence for sentence in sentences if not sentence.startswith(starts)]
        if kept and "\b" not in part:
            paragraphs.append(" ".join(kept))
    return paragraphs


def _labels_by_option(parameters: list[dict[str, Any]]) -> dict[str, str]:
    """Return the label of the first parameter that goes to each option."""
    labels: dict[str, str] = {}
    for parameter in parameters:
        # What stands in brackets says how to fill it in.
        labels.setdefault(parameter["option"], re.sub(r" \(.*", "", parameter["label"]))
    return labels


def _without_options(text: str, labels: dict[str, str]) -> str:
    """Return a text with the labels of parameters instead of command line options."""
    return re.sub(r"--[a-z][a-z-]*", lambda m: f"“{labels.get(m[0], m[0])}”", text)


def _from_port(port: Port, param: click.Parameter) -> dict[str, Any]:
    named = isinstance(param, click.Option)
    return {
        **port._asdict(),
        "option": param.opts[0] if named else "",
        "help": port.help or getattr(param, "help", None) or "",
    }


def _from_field(
    command: str, entry: "dataclasses.Field[Any]", hint: Any, verb: Verb
) -> dict[str, Any]:
    about, dashed = entry.metadata, entry.name.replace("_", "-")
    label = label_of(command, entry.name)
    choices = [str(choice) for choice in about["choices"] or about["words"] or ()]
    kind = label.kind or _kind(hint, choices)
    default = str(entry.default) if choices else entry.default
    words = CHOICES.get(entry.name, {})
    described = {
        "id": "EXTENT" if kind == "extent" else entry.name.upper(),
        "kind": kind,
        "label": label.text,
        "option": f"--{dashed}",
        "metavar": about["metavar"],
        "help": help_of(command, entry.name, about["help"]),
        "default": default,
        "choices": choices,
        "choice_labels": [words.get(choice, choice) for choice in choices],
        "low": about["low"],
        "high": about["high"],
        "decimals": label.decimals,
        "optional": entry.default in (None, (), "") or kind == "model",
        "advanced": about["advanced"] or entry.name in verb.folded,
    }
    if entry.name in dict(verb.initial):
        described["initial"] = dict(verb.initial)[entry.name]
    if kind == "boolean":
        described["off"] = f"--no-{dashed}" if entry.default else ""
    if kind == "extent":
        described["crs_option"] = f"--{dashed}-crs"
    return described


def _kind(hint: Any, choices: Any) -> str:
    """Return the kind of a setting by its type."""
    kind = typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
    if choices:
        return "enum"
    if typing.get_origin(kind) is tuple:
        return "texts"
    return {bool: "boolean", int: "integer", float: "number", str: "text"}[kind]
