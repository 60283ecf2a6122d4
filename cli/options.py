"""Options made from the configs of the core, and the few shared by all commands."""

import contextlib
import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import click

from geossda.config import Config, kind_of

from .progress import progress_for

F = TypeVar("F", bound=Callable[..., Any])


def config_options(kind: type[Config]) -> Callable[[F], F]:
    """Return a decorator that gives a command one option for each field of a config.

    The command receives the config as ``config``. The options parse text and leave it to the
    config to check values, so that Python and the command line give the same messages.
    """
    hints = typing.get_type_hints(kind)
    entries = dataclasses.fields(kind)

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_config(**arguments: Any) -> Any:
            values = {entry.name: arguments.pop(entry.name) for entry in entries}
            return function(config=kind(**values), **arguments)

        with_config.config_kind = kind  # type: ignore[attr-defined]
        command: Any = with_config
        for entry in reversed(entries):
            command = _option(entry, hints[entry.name])(command)
        return typing.cast(F, command)

    return decorate


def _option(entry: "dataclasses.Field[Any]", hint: Any) -> Callable[[F], F]:
    about = entry.metadata
    name = "--" + entry.name.replace("_", "-")
    _, kind, parts = kind_of(hint)
    if kind is bool:
        # What is on by default needs a way to be turned off.
        both = f"{name}/--no-{name[2:]}" if entry.default else name
        return click.option(
            both,
            entry.name,
            is_flag=True,
            default=entry.default,
            show_default=entry.default,
            help=about["help"],
        )
    many = parts == 0
    return click.option(
        name,
        entry.name,
        type=_type(about, kind, many),
        default=entry.default,
        multiple=many,
        nargs=parts or 1,
        callback=_flatten if many else None,
        metavar=about["metavar"],
        show_default=entry.default not in (None, ()),
        help=about["help"],
    )


def _type(about: typing.Mapping[str, Any], kind: type, many: bool) -> click.ParamType[Any]:
    if about["choices"]:
        return Choice(tuple(map(str, about["choices"])), kind)
    if kind is int:
        return Numbers() if many else Whole(about["low"], about["high"])
    if kind is float:
        limited = about["low"] is not None or about["high"] is not None
        return Number(about["low"], about["high"]) if limited else AnyNumber()
    return click.STRING


def _parsed(kind: type, value: Any) -> Any:
    """Return text as a value of its type, or as what it is, for the config to refuse."""
    for each in (kind, float) if kind is int else (kind,):
        with contextlib.suppress(ValueError):
            return each(value)
    return value


class Choice(click.Choice[str]):
    """One of a few values, listed in the help text and completed by the shell."""

    def __init__(self, choices: tuple[str, ...], kind: type) -> None:
        super().__init__(choices)
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value in its type.

        Parameters
        ----------
        value, param, ctx
            As in :meth:`click.ParamType.convert`.
        """
        return _parsed(self.kind, value)


class Whole(click.IntRange):
    """A whole number, its limits shown in the help text."""

    name = "integer"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value in its type.

        Parameters
        ----------
        value, param, ctx
            As in :meth:`click.ParamType.convert`.
        """
        return _parsed(int, value)


class Number(click.FloatRange):
    """A number, its limits shown in the help text."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value in its type.

        Parameters
        ----------
        value, param, ctx
            As in :meth:`click.ParamType.convert`.
        """
        return _parsed(float, value)


class AnyNumber(click.ParamType[Any]):
    """A number without limits."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value in its type.

        Parameters
        ----------
        value, param, ctx
            As in :meth:`click.ParamType.convert`.
        """
        return _parsed(float, value)


class Numbers(click.ParamType[Any]):
    """Whole numbers, one or several with commas between: ``3`` or ``3,2,1``."""

    name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the numbers as a tuple.

        Parameters
        ----------
        value, param, ctx
            As in :meth:`click.ParamType.convert`.
        """
        return tuple(_parsed(int, part) for part in str(value).split(","))


def _flatten(ctx: Any, param: Any, value: Any) -> tuple[Any, ...]:
    return tuple(
        part for item in value or () for part in (item if isinstance(item, tuple) else (item,))
    )


def progress_option(function: F) -> F:
    """Add ``--progress`` to a command, which receives the reporter as ``progress``."""
    return click.option(
        "--progress",
        type=click.Choice(["auto", "json", "none"]),
        default="auto",
        show_default=True,
        callback=lambda ctx, param, value: progress_for(value, ctx),
        help="Progress: a bar on a terminal (auto), one JSON object per line on standard error, "
        "or none.",
    )(function)
