"""Fields of configs that know their help and their limits, and check the values they are given."""

import dataclasses
import difflib
import math
import numbers
import operator
import os
import re
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from geossda.errors import SettingError
from geossda.urls import redact

C = TypeVar("C", bound="Config")
# Values and lists of names in messages are cut off after so many characters.
SHOWN_CHARS = 60


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[Any, ...] | None = None,
    words: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    multiple: int | None = None,
    any_float: bool = False,
    none_word: bool = False,
    pattern: str | None = None,
    metavar: str | None = None,
    advanced: bool = False,
) -> Any:
    """Return a dataclass field with what an interface needs to ask for its value.

    Parameters
    ----------
    default : value
        None for a setting that may be left open.
    help : str
        One line, with units.
    choices : tuple, optional
        The only values that are allowed.
    words : tuple of str, optional
        Values with a meaning of their own where any other value is a file.
    low, high : float, optional
        Inclusive limits, of each entry of a tuple.
    multiple : int, optional
        What a whole number must be a multiple of.
    any_float : bool
        Whether NaN and infinity are allowed.
    none_word : bool
        Whether None stands for the word "none", as it always does among `choices`.
    pattern : str, optional
        Regular expression that a whole text must match; `metavar` names it.
    metavar : str, optional
        Stands for the value in help texts.
    advanced : bool
        Whether an interface may hide the setting at first.

    Returns
    -------
    dataclasses.Field
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "choices": choices,
            "words": words,
            "low": low,
            "high": high,
            "multiple": multiple,
            "any_float": any_float,
            "none_word": none_word or "none" in (choices or ()),
            "pattern": pattern,
            "metavar": metavar,
            "advanced": advanced,
        },
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of all configs: a frozen dataclass whose fields are checked when it is made."""

    def __post_init__(self) -> None:
        """Check every field against its type and limits, then the fields together.

        Raises
        ------
        SettingError
            A value is of the wrong type, is not a choice, is out of range, or contradicts another.
        """
        hints = typing.get_type_hints(type(self))
        for entry in dataclasses.fields(self):
            value = checked(entry, hints[entry.name], getattr(self, entry.name))
            object.__setattr__(self, entry.name, value)
        self.check_together()

    def check_together(self) -> None:
        """Raise SettingError if settings that are allowed by themselves contradict each other."""


def documented(config: type[C]) -> type[C]:
    """Return `config` with the fields' help in its docstring, so that it is kept in one place."""
    lines = ["", "", "Parameters", "----------"]
    for entry in dataclasses.fields(config):
        lines += [f"{entry.name} : {entry.type}", f"    {entry.metadata['help']}"]
    config.__doc__ = (config.__doc__ or "").rstrip() + "\n".join(lines) + "\n"
    return config


def config_from(kind: type[C], config: C | None, settings: Mapping[str, Any]) -> C:
    """Return the config of a call: the one given, or the defaults, with `settings` in place.

    Parameters
    ----------
    kind : type
        Config of the function called.
    config : Config or None
        What the caller gave as ``config``.
    settings : dict
        The caller's keyword arguments, by the names of the config's fields.

    Raises
    ------
    SettingError
        A setting does not exist, its value is not allowed, or `config` is another function's.
    """
    if config is None:
        config = kind()
    elif not isinstance(config, kind):
        raise SettingError(
            f"config is a {type(config).__name__}: a {kind.__name__} was expected, or settings as "
            "keywords"
        )
    names = [entry.name for entry in dataclasses.fields(kind)]
    for name in settings:
        if name not in names:
            raise SettingError(unknown_setting(name, names))
    return dataclasses.replace(config, **settings) if settings else config


def unknown_setting(name: str, names: Sequence[str], others: Sequence[str] = ()) -> str:
    """Return the message for a setting that does not exist.

    Parameters
    ----------
    name : str
        What was given.
    names : sequence of str
        The settings that exist.
    others : sequence of str
        Other arguments that may have been meant.
    """
    near = difflib.get_close_matches(name, [*names, *others], n=1, cutoff=0.7)
    if near:
        return f"unknown setting {name}: did you mean {near[0]}?"
    return f"unknown setting {name}: it must be one of {', '.join(names)}"


def settings_of(config: Config, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a config's values by name, except those of the names in `without`.

    Parameters
    ----------
    config : dataclass instance
    without : frozenset of str
        Names to leave out.
    """
    return {
        name: value for name, value in dataclasses.asdict(config).items() if name not in without
    }


def checked(entry: "dataclasses.Field[Any]", hint: Any, value: Any) -> Any:
    """Return a setting's value in the type of its field.

    Lists become tuples, paths text, and numbers of NumPy those of Python; None is the word "none"
    where that is allowed.

    Parameters
    ----------
    entry : dataclasses.Field
        Made by :func:`setting`.
    hint : type
        The resolved type of the field.
    value : value
        From Python, or parsed by an interface; text that could not be parsed is passed as it is.

    Raises
    ------
    SettingError
        The value is not allowed; the message names what is.
    """
    about = entry.metadata
    optional, kind, parts = kind_of(hint)
    if value is None:
        if about["none_word"]:
            return "none"
        if optional:
            return None
    try:
        if parts is None:
            return _one(about, kind, value)
        if isinstance(value, str | bytes) or not isinstance(value, Iterable):
            raise ValueError
        values = tuple(_one(about, kind, each) for each in value)
        if parts and len(values) != parts:
            raise ValueError
        return values
    except (TypeError, ValueError, OverflowError):
        wanted = expected(entry, hint)
        near = difflib.get_close_matches(str(value), map(str, about["choices"] or ()), n=1)
        asked = f" (did you mean {near[0]}?)" if near else ""
        raise SettingError(f"{entry.name} is {_shown(kind, value)}: give {wanted}{asked}") from None


def expected(entry: "dataclasses.Field[Any]", hint: Any) -> str:
    """Return in words which values a setting takes: ``a number from 0 to 1``.

    Parameters
    ----------
    entry : dataclasses.Field
        Made by :func:`setting`.
    hint : type
        The resolved type of the field.
    """
    about = entry.metadata
    optional, kind, parts = kind_of(hint)
    if about["choices"]:
        words = f"one of {', '.join(map(str, about['choices']))}"
        return words if parts is None else f"any number of values, each {words}"
    one, several = {
        bool: ("true or false", "values true or false"),
        int: ("a whole number", "whole numbers"),
        float: ("a number", "numbers"),
        str: ("a text", "texts"),
    }[kind]
    if about["multiple"]:
        one = f"a multiple of {about['multiple']}"
    words = one if parts is None else f"{parts} {several}" if parts else f"a list of {several}"
    if about["pattern"]:
        words += f" {about['metavar']}"
    low, high = about["low"], about["high"]
    if low is not None and high is not None:
        words += f" from {low:g} to {high:g}"
    elif low is not None:
        words += f" of at least {low:g}"
    elif high is not None:
        words += f" of at most {high:g}"
    return f"{words}, or leave it out" if optional else words


def kind_of(hint: Any) -> tuple[bool, type, int | None]:
    """Return what a field's type stands for.

    Returns
    -------
    optional : bool
        Whether None is allowed.
    kind : type
        bool, int, float or str: of the value, or of each entry of a tuple.
    parts : int or None
        Length of a tuple, 0 if it is free; None if the value is not a tuple.
    """
    args = typing.get_args(hint)
    optional = isinstance(hint, types.UnionType) and types.NoneType in args
    if optional:
        hint = next(part for part in args if part is not types.NoneType)
        args = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        _, kind, _ = kind_of(args[0])
        return optional, kind, 0 if ... in args else len(args)
    if typing.get_origin(hint) is typing.Literal:
        return optional, type(args[0]), None
    return optional, hint, None


def _one(about: Mapping[str, Any], kind: type, value: Any) -> Any:
    """Return one value in its type; raise ValueError or TypeError if it is not allowed."""
    if kind is str:
        value = os.fspath(value)
        # Nothing is None, never an empty text.
        allowed = isinstance(value, str) and bool(value.strip()) and "\0" not in value
        allowed = allowed and re.fullmatch(about["pattern"] or ".*", value, re.DOTALL) is not None
    elif kind is bool:
        # NumPy's bool is not Python's.
        allowed = isinstance(value, bool) or type(value).__name__ == "bool"
        value = bool(value)
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError
    else:
        value = operator.index(typing.cast(int, value)) if kind is int else float(value)
        allowed = about["any_float"] or math.isfinite(value)
        allowed = allowed and not (about["low"] is not None and value < about["low"])
        allowed = allowed and not (about["high"] is not None and value > about["high"])
        allowed = allowed and not (about["multiple"] and value % about["multiple"])
    if not allowed or (about["choices"] and value not in about["choices"]):
        raise ValueError
    return value


def _shown(kind: type, value: Any) -> str:
    """Return a value for a message of one line, cut off if it is long.

    Python and an interface that parsed text show it alike: 7 for 7.0 where numbers may have
    fractions, a list for a tuple.
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = SHOWN_CHARS
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        whole = number.is_integer() and (kind is float or isinstance(value, numbers.Integral))
        return short.repr(int(number) if whole else number)
    if isinstance(value, list | tuple):
        shown = [_shown(kind, each) for each in value[: short.maxlist]]
        return f"[{', '.join(shown + ['...'] * (len(value) > short.maxlist))}]"
    if isinstance(value, str | os.PathLike) or value is None:
        if isinstance(value, str):
            value = redact(value)  # before it is cut, so that no secret stays in a half
        return "empty" if value == "" else short.repr(value)
    return f"a {type(value).__name__}"
