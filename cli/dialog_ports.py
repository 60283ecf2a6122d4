"""What a command is to a dialog: its inputs and outputs, and what must hold between them."""

from typing import Any, NamedTuple

from geossda.formats import vector_suffixes


class Port(NamedTuple):
    """One way to fill an input or an output of a command; several may go to the same option.

    Attributes
    ----------
    id : str
    kind : str
        "raster", "rasters", "vector", "vectors" or "file"; with "_out", "raster", "vector", "file"
        or "folder".
    label : str
    help : str
        Where the command's own does not do.
    suffix : str
        Of files; several have spaces between.
    optional, advanced : bool
    style : str
        How a raster is drawn: "probabilities", "mask" or "similarity"; "" as QGIS does.
    layer : str
        Name of the layer that the command writes into a GeoPackage if none is named.
    """

    id: str
    kind: str
    label: str
    help: str = ""
    suffix: str = ""
    optional: bool = False
    advanced: bool = False
    style: str = ""
    layer: str = ""


class Rule(NamedTuple):
    """What must hold between inputs before a command is run.

    Attributes
    ----------
    kind : str
        "any": at least one is given; "one": exactly one; "at most one".
    ids : tuple of str
        Of the parameters.
    message : str
        What to do if it does not hold.
    unless : (str, tuple of str)
        Id of a parameter, and its values with which the rule does not apply.
    """

    kind: str
    ids: tuple[str, ...]
    message: str
    unless: tuple[str, tuple[str, ...]] = ("", ())


class Verb(NamedTuple):
    """What a command is to a dialog.

    Attributes
    ----------
    title, group : str
    config : type
    tags : str
        Words to search for it by, with commas between.
    ports : dict
        By the name of the command's argument or option.
    folded : tuple of str
        Settings shown only on demand, besides those that are advanced in the config.
    initial : tuple of (str, str)
        Settings, and values that a dialog starts with instead of the command's default.
    help : str
        Where the command's own does not do.
    rules : tuple of Rule
    switches : tuple of str
        Options that are always given.
    results : tuple of (str, str, str)
        Id, dotted place in the JSON the command prints, and label of numbers to show. A place
        "count" or "sum:FIELD" is of the features in OUTPUT.
    """

    title: str
    group: str
    config: type[Any]
    tags: str
    ports: dict[str, tuple[Port, ...]]
    folded: tuple[str, ...] = ()
    initial: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    switches: tuple[str, ...] = ()
    results: tuple[tuple[str, str, str], ...] = ()
    help: str = ""


MOSAIC = (
    Port("INPUT", "raster", "Raster", "Imagery to work on."),
    Port(
        "MORE_INPUTS",
        "rasters",
        "More rasters of the same mosaic",
        "They lie below the first where they overlap.",
        optional=True,
        advanced=True,
    ),
)
AREA = Port(
    "AREA",
    "vector",
    "Area",
    "Polygons to stay within, in any CRS. Only what they touch is read; outside is no data.",
    optional=True,
)
# The first is what a temporary result is written as; only GeoPackages carry a style.
VECTORS = " ".join(suffix[1:] for suffix in vector_suffixes(writes=True, by_ogr=True))
SEARCH_BUILDINGS = "house,roof,footprint,building"
