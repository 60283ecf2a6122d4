"""`geossda describe`: what a dialog needs to ask for a verb's settings, as JSON.

Names, help and which inputs must be there come from the commands, defaults and limits from the
configs. What neither knows, which kind of thing an input or an output is, stands in `VERBS`.
"""

import dataclasses
import importlib
import json
import re
import types
import typing
from typing import Any, NamedTuple

import click

from geossda import config
from geossda._version import __version__

from .evaluate import SHAPES
from .main import COMMANDS

# Raised when a reader of the old form would misread the new one.
FORMAT = 2
PYTHON = "3.11"


class Port(NamedTuple):
    """One way to fill an input or an output of a command; several may go to the same option.

    Attributes
    ----------
    id : str
    kind : str
        "raster", "rasters", "vector", "vectors", "layer" (raster or polygons) or "file"; with
        "_out", "raster", "vector", "file" or "folder".
    label : str
    help : str
        Where the command's own does not do.
    suffix : str
        Of files; several have spaces between.
    optional, advanced : bool
    """

    id: str
    kind: str
    label: str
    help: str = ""
    suffix: str = ""
    optional: bool = False
    advanced: bool = False


class Verb(NamedTuple):
    """What a command is to a dialog.

    Attributes
    ----------
    title, group : str
    config : type
    ports : dict
        By the name of the command's argument or option.
    switches : tuple of str
        Options that are always given.
    results : tuple of (str, str, str)
        Id, dotted place in the JSON the command prints, and label of numbers to show.
    """

    title: str
    group: str
    config: type[Any]
    ports: dict[str, tuple[Port, ...]]
    switches: tuple[str, ...] = ()
    results: tuple[tuple[str, str, str], ...] = ()


COLOURS, BUILDINGS, TRAINING = "Colours", "Buildings", "Training"
MOSAIC = (
    Port("INPUT", "raster", "Raster"),
    Port(
        "MORE_INPUTS",
        "rasters",
        "More rasters",
        "Further parts of the same mosaic, below the first where they overlap.",
        optional=True,
        advanced=True,
    ),
)
STYLE = (
    Port("STYLE", "raster", "Reference", "Raster whose colours are wanted.", optional=True),
    Port(
        "MORE_STYLES",
        "rasters",
        "More references",
        "Pooled with the first.",
        optional=True,
        advanced=True,
    ),
    Port(
        "STYLE_FILE",
        "file",
        "Style file",
        "A saved style, alone or pooled with the references.",
        "json",
        optional=True,
        advanced=True,
    ),
)
SCENES = Port(
    "SCENES_LAYER",
    "vector",
    "Outlines of scenes",
    "Polygons of the scenes, drawn or found by Find scenes, instead of looking for them.",
    optional=True,
    advanced=True,
)
# The first is what a temporary result is written as; only GeoPackages carry a style.
VECTORS = "gpkg fgb geojson"
RUN = (Port("RUN", "folder_out", "Run folder", optional=True, advanced=True),)
MEASURES = {"iou": "IoU", "precision": "Precision", "recall": "Recall", "f1": "F1"}
VERBS = {
    "harmonize": Verb(
        "Harmonize",
        COLOURS,
        config.HarmonizeConfig,
        {
            "sources": MOSAIC,
            "style": STYLE,
            "scenes": (SCENES,),
            "output": (
                Port("OUTPUT", "raster_out", "Harmonized", "One mosaic of all rasters.", "tif"),
            ),
        },
    ),
    "scenes": Verb(
        "Find scenes",
        COLOURS,
        config.ScenesConfig,
        {
            "source": (Port("INPUT", "raster", "Raster"),),
            "output": (Port("OUTPUT", "vector_out", "Scenes", suffix=VECTORS),),
        },
    ),
    "report": Verb(
        "Report on a harmonized raster",
        COLOURS,
        config.ReportConfig,
        {
            "harmonized": (Port("INPUT", "raster", "Harmonized raster"),),
            "sources": (
                Port(
                    "SOURCES",
                    "rasters",
                    "What it was made from",
                    "In the same order. Default: files of the names it carries, beside it.",
                    optional=True,
                ),
            ),
            "scenes": (
                SCENES._replace(
                    help="Tells the steps in colour where the scenes meet.", advanced=False
                ),
            ),
            "output": (Port("OUTPUT", "file_out", "Report", suffix="html"),),
            "qa": (Port("QA", "raster_out", "Likeness", suffix="tif", optional=True),),
        },
        ("--json",),
        (
            ("SEAM_RATIO", "seams.after.ratio", "Step across windows over the step within"),
            ("SEAM_RATIO_BEFORE", "seams.before.ratio", "The same of what it was made from"),
            ("LIKENESS", "drawing.median", "Median likeness of what is drawn"),
        ),
    ),
    "style": Verb(
        "Save a style",
        COLOURS,
        config.StyleConfig,
        {
            "references": (Port("INPUT", "rasters", "References"),),
            "output": (Port("OUTPUT", "file_out", "Style file", suffix="json"),),
        },
    ),
    "matrix": Verb(
        "Matrix of looks",
        COLOURS,
        config.MatrixConfig,
        {
            "images": (Port("INPUT", "rasters", "Rasters"),),
            "output": (Port("OUTPUT", "file_out", "Picture", suffix="png"),),
        },
    ),
    "segment": Verb(
        "Find buildings",
        BUILDINGS,
        config.SegmentConfig,
        {
            "sources": MOSAIC,
            "output": (Port("OUTPUT", "vector_out", "Buildings", suffix=VECTORS),),
            "probabilities": (
                Port("PROBABILITIES", "raster_out", "Probabilities", suffix="tif", optional=True),
            ),
            "mask": (Port("MASK", "raster_out", "Mask of buildings", suffix="tif", optional=True),),
        },
    ),
    "polygonize": Verb(
        "Make footprints",
        BUILDINGS,
        config.PolygonizeConfig,
        {
            "source": (Port("INPUT", "raster", "Mask or probabilities"),),
            "output": (Port("OUTPUT", "vector_out", "Footprints", suffix=VECTORS),),
        },
    ),
    "evaluate": Verb(
        "Compare buildings",
        BUILDINGS,
        config.EvaluateConfig,
        {
            "found": (Port("FOUND", "layer", "Buildings found"),),
            "true": (Port("TRUE", "layer", "True buildings"),),
            "area": (Port("AREA", "layer", "Area to stay within", optional=True),),
            "errors": (
                Port(
                    "ERRORS",
                    "vector_out",
                    "Hits, misses and false alarms",
                    "All three as one styled layer.",
                    "gpkg",
                    optional=True,
                ),
            ),
        },
        ("--json",),
        (
            *(
                (f"{part}_{measure}".upper(), f"{part}.{measure}", f"{title} of {part}")
                for part in ("pixels", "buildings")
                for measure, title in MEASURES.items()
            ),
            *((name.upper(), f"shapes.{name}", label) for name, label in SHAPES.items()),
        ),
    ),
    "train-style": Verb(
        "Train a style model",
        TRAINING,
        config.TrainStyleConfig,
        {
            "sources": (Port("INPUT", "rasters", "Rasters"),),
            "output": (Port("OUTPUT", "file_out", "Style model", suffix="safetensors"),),
            "run": RUN,
        },
    ),
    "train-segmenter": Verb(
        "Train a building model",
        TRAINING,
        config.TrainSegmenterConfig,
        {
            "sources": (Port("INPUT", "rasters", "Rasters with footprints"),),
            "footprints": (
                Port(
                    "FOOTPRINTS",
                    "vectors",
                    "Footprints",
                    "Buildings of all rasters, or one layer a raster in the same order. "
                    "Default: the one vector file in each raster's folder.",
                    optional=True,
                ),
            ),
            "area": (
                Port(
                    "AREA",
                    "vector",
                    "Labelled area",
                    "Polygons within which footprints are complete, if they are not everywhere.",
                    optional=True,
                ),
            ),
            "targets": (
                Port(
                    "TARGET",
                    "rasters",
                    "Target",
                    "Imagery without labels that the model is for.",
                    optional=True,
                ),
            ),
            "output": (Port("OUTPUT", "file_out", "Model", suffix="safetensors"),),
            "run": RUN,
        },
    ),
}


@click.command("describe")
def command() -> None:
    """Tell what the verbs ask for, as JSON for other interfaces.

    The QGIS plugin makes its dialogs from this.
    """
    verbs = [describe(name) for name in VERBS]
    about = {"format": FORMAT, "version": __version__, "python": PYTHON, "verbs": verbs}
    click.echo(json.dumps(about, indent=1, ensure_ascii=False))


def describe(name: str) -> dict[str, Any]:
    """Describe one verb by its command, its config and its entry in `VERBS`."""
    verb = VERBS[name]
    made = importlib.import_module(COMMANDS[name]).command
    params = {param.name: param for param in made.params}
    ports = [
        _from_port(port, params[param]) for param, several in verb.ports.items() for port in several
    ]
    hints = typing.get_type_hints(verb.config)
    settings = [
        _from_field(entry, hints[entry.name])
        for entry in dataclasses.fields(verb.config)
        if entry.name not in ("overwrite", "resume", "bounds_crs")
    ]
    if not any(port["id"] == "INPUT" and port["kind"] == "raster" for port in ports):
        # Bands are picked from a list only where there is one raster to list them of.
        for told in settings:
            told["kind"] = "texts" if told["kind"] == "bands" else told["kind"]
    return {
        "command": name,
        "title": verb.title,
        "group": verb.group,
        "help": _prose(made),
        "parameters": [
            *(port for port in ports if not port["kind"].endswith("_out")),
            *settings,
            *(port for port in ports if port["kind"].endswith("_out")),
        ],
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


def _prose(made: click.Command) -> list[str]:
    """Give a command's help without what is about the command line: arguments and examples."""
    starts = tuple(f"{param.human_readable_name} " for param in made.params)
    starts += tuple(f"{param.metavar.split('.')[0]} " for param in made.params if param.metavar)
    paragraphs = []
    for part in (made.help or "").split("\n\n"):
        sentences = re.split(r"(?<=\.) ", " ".join(part.split()))
        kept = [sentence for sentence in sentences if not sentence.startswith(starts)]
        if kept and "\b" not in part:
            paragraphs.append(_named(" ".join(kept)))
    return paragraphs


def _named(text: str) -> str:
    """Write the ids of parameters in a text instead of the options: TARGET for --target."""
    return re.sub(r"--([a-z][a-z-]*)", lambda m: m[1].upper().replace("-", "_"), text)


def _from_port(port: Port, param: click.Parameter) -> dict[str, Any]:
    named = isinstance(param, click.Option)
    return {
        **port._asdict(),
        "option": param.opts[0] if named else "",
        "help": _named(port.help or getattr(param, "help", None) or ""),
    }


def _from_field(entry: "dataclasses.Field[Any]", hint: Any) -> dict[str, Any]:
    about, dashed = entry.metadata, entry.name.replace("_", "-")
    plain = entry.name.replace("_", " ")
    words = config.UI_LABELS.get(entry.name, config.UiLabel(plain[0].upper() + plain[1:]))
    choices = about["choices"] or about["words"]
    kind = words.kind or _kind(hint, choices)
    told = {
        "id": "EXTENT" if kind == "extent" else entry.name.upper(),
        "kind": "distance" if words.unit == "m" and kind == "number" else kind,
        "label": words.label,
        "option": f"--{dashed}",
        "help": _named(about["help"]),
        "default": entry.default,
        "choices": choices,
        "low": about["low"],
        "high": about["high"],
        "optional": entry.default in (None, (), "") or kind == "model",
        "advanced": about["advanced"],
    }
    if kind == "boolean":
        told["off"] = f"--no-{dashed}" if entry.default else ""
    if kind == "extent":
        told["crs_option"] = f"--{dashed}-crs"
    return told


def _kind(hint: Any, choices: Any) -> str:
    """Name the kind of a setting by its type."""
    kind = typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
    if choices:
        return "enum"
    if typing.get_origin(kind) is tuple:
        return "texts"
    return {bool: "boolean", int: "integer", float: "number", str: "text"}[kind]
