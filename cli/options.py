"""Options made from the configs of the core, and the few shared by all commands."""

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .progress import progress_for

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C")


def config_options(config: type[Any]) -> Callable[[F], F]:
    """Give a command one option for each field of a config, with its default and limits."""

    def decorate(function: F) -> F:
        hints = typing.get_type_hints(config)
        for entry in reversed(dataclasses.fields(config)):
            function = _option(entry, hints[entry.name])(function)
        return function

    return decorate


def config_from(config: type[C], values: dict[str, Any]) -> C:
    """Build the config back from a command's keyword arguments, which are used up."""
    names = [entry.name for entry in dataclasses.fields(config)]  # type: ignore[arg-type]
    return config(**{name: values.pop(name) for name in names})


def _option(entry: Any, hint: Any) -> Callable[[F], F]:
    about = entry.metadata
    name = "--" + entry.name.replace("_", "-")
    if hint is bool:
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
    kind = typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint
    parts = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    # So many values at a time, or any number of them.
    nargs = 1 if ... in parts else max(1, len(parts))
    many = ... in parts
    kind = parts[0] if parts else kind
    shape: Any = kind
    if about["choices"]:
        shape = click.Choice(about["choices"])
    elif kind is int and (about["low"] is not None or about["high"] is not None):
        shape = click.IntRange(about["low"], about["high"])
    elif kind is float and (about["low"] is not None or about["high"] is not None):
        shape = click.FloatRange(about["low"], about["high"])
    elif many and kind is int:
        shape = Numbers()
    return click.option(
        name,
        entry.name,
        type=shape,
        default=entry.default,
        multiple=many,
        nargs=nargs,
        callback=_flatten if many else None,
        metavar=about["metavar"],
        show_default=entry.default not in (None, (), ""),
        help=about["help"],
    )


class Numbers(click.ParamType[Any]):
    """Whole numbers, one or several with commas between: ``3`` or ``3,2,1``."""

    name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Turn text into a tuple."""
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r}: whole numbers were expected, such as 3,2,1", param, ctx)
        if min(numbers) < 1:
            self.fail(f"{value!r}: bands count from 1", param, ctx)
        return numbers


def _flatten(ctx: Any, param: Any, value: Any) -> tuple[Any, ...]:
    return tuple(
        part for item in value or () for part in (item if isinstance(item, tuple) else (item,))
    )


def progress_option(function: F) -> F:
    """Give a command ``--progress``; it gets the reporter as ``progress``."""
    return click.option(
        "--progress",
        type=click.Choice(["auto", "json", "none"]),
        default="auto",
        show_default=True,
        callback=lambda ctx, param, value: progress_for(value, ctx),
        help="Bars on a terminal, one JSON object a line on standard error, or nothing.",
    )(function)
