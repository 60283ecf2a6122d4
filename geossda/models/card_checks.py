"""Checks of a model card read from a file: types, choices and limits of its entries.

A card is somebody else's data: what it says is used to build networks, to size windows and to write
tables, so nothing of it is taken on trust.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from geossda.config import TRANSLATIONS


class Limits(NamedTuple):
    """Inclusive limits of a number, and what a whole number must be a multiple of.

    Attributes
    ----------
    low, high : float
    multiple : int
    """

    low: float
    high: float
    multiple: int = 1


# Of every number in either card. Windows of more than 4096 px a side need tens of gigabytes.
LIMITS = {
    "bands": Limits(1, 64),
    "width": Limits(4, 256),
    "gsd_m": Limits(0.001, 10_000),
    "patch_px": Limits(32, 4096, 32),
    "overlap_px": Limits(0, 2048),
    "low_percent": Limits(0, 50),
    "high_percent": Limits(50, 100),
    "floor": Limits(0, 100),
    "threshold": Limits(0, 1),
    "temperature": Limits(0.01, 100),
}
# Outputs of a segmenter, in order: a model has the first one or more of them.
OUTPUTS = ("building", "boundary", "distance")
MAX_TEXT_CHARS = 10_000
# Entries that end up in file names of tables, tags and lists of bands.
MAX_NAME_CHARS = 200
NAMES = ("name", "version", "architecture", "encoder", "preset", "adain", "kind")
MAX_BANDS, MAX_DOMAINS = 64, 1024


def checked_entries(entries: Any, card: type[Any]) -> dict[str, Any]:
    """Return a card's entries in the types of its fields.

    Parameters
    ----------
    entries : object
        What was parsed from JSON.
    card : type
        The dataclass of the card.

    Raises
    ------
    ValueError
        An entry is unknown, missing, of the wrong type, not a choice, or out of its limits. The
        message names it.
    """
    if not isinstance(entries, dict):
        raise ValueError("it is not an object of entries")
    hints = typing.get_type_hints(card)
    required = {
        field.name
        for field in dataclasses.fields(card)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    for name in (*sorted(required - entries.keys()), *sorted(entries.keys() - hints.keys())):
        raise ValueError(f"{name} is {'missing' if name in required else 'unknown'}")
    checked = {name: _checked(name, hints[name], value) for name, value in entries.items()}
    # What is not written has its default, which has to agree with what is.
    resolved = {
        field.name: checked.get(field.name, field.default) for field in dataclasses.fields(card)
    }
    _check_together(resolved)
    return checked


def _checked(name: str, hint: Any, value: Any) -> Any:
    """Return one value in its field's type; raise ValueError if it is not allowed."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ValueError(f"{name} is {_short(value)}, one of {', '.join(allowed)} was expected")
        return value
    if origin is types.UnionType:
        if value is None:
            return None
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
        return _checked(name, hint, value)
    if origin is tuple:
        most = MAX_DOMAINS if name == "domains" else MAX_BANDS
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"{name} is {_short(value)}, a list of at most {most} was expected")
        return tuple(_checked_text(name, each, MAX_NAME_CHARS) for each in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{name} is {_short(value)}, an object was expected")
        return value
    if hint is str:
        return _checked_text(name, value, MAX_NAME_CHARS if name in NAMES else MAX_TEXT_CHARS)
    if hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {_short(value)}, true or false was expected")
        return value
    return _checked_number(name, hint, value)


def _checked_text(name: str, value: Any, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise ValueError(f"{name} is {_short(value)}, a text of at most {most} characters expected")
    return value


def _checked_number(name: str, kind: type, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {_short(value)}, a number was expected")
    low, high, multiple = LIMITS[name]
    # Comparing is all that works with any number: NaN is in no range, and a float has a largest.
    if not low <= value <= high or (kind is int and value % multiple):
        of = f", a multiple of {multiple}" if multiple > 1 else ""
        raise ValueError(f"{name} is {_short(value)}, {low:g} to {high:g}{of} was expected")
    return kind(value)  # type: ignore[no-any-return]


def _check_together(entries: Mapping[str, Any]) -> None:
    """Raise ValueError if entries that are allowed by themselves contradict each other."""
    if "patch_px" in entries and entries["overlap_px"] > entries["patch_px"] // 2:
        raise ValueError(
            f"overlap_px is {entries['overlap_px']}, at most half of patch_px "
            f"{entries['patch_px']} was expected"
        )
    if "low_percent" in entries and entries["low_percent"] >= entries["high_percent"]:
        raise ValueError("low_percent is not below high_percent")
    for name in ("bands", "domains"):
        values = entries.get(name)
        if isinstance(values, tuple) and ((name == "bands" and not values) or "" in values):
            raise ValueError(f"{name} is {_short(list(values))}, names were expected")
    if "preset" in entries:
        _check_domains(entries["preset"], entries["domains"])
    outputs = entries.get("outputs", OUTPUTS)
    if not outputs or outputs != OUTPUTS[: len(outputs)]:
        raise ValueError(
            f"outputs is {_short(list(outputs))}, the first of {', '.join(OUTPUTS)} were expected"
        )
    if entries["sha256"] and not re.fullmatch("[0-9a-f]{64}", entries["sha256"]):
        raise ValueError("sha256 is not 64 hexadecimal digits")


def _check_domains(preset: str, domains: tuple[str, ...]) -> None:
    """Raise ValueError if a preset has domains that it cannot have, or lacks them."""
    if (preset in ("geossda", "paper")) == bool(domains):
        raise ValueError(
            f"preset {preset} {'has no' if domains else 'needs'} domains, such as preset daug has"
        )
    if preset in TRANSLATIONS and (
        len(set(domains)) < max(2, len(domains)) or (preset == "cyclegan" and len(domains) > 2)
    ):
        raise ValueError(f"domains is {_short(list(domains))}, which preset {preset} cannot have")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
