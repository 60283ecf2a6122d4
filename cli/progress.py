"""Progress in a terminal, or as lines of JSON for programs."""

import codecs
import io
import json
import sys
import time
import unicodedata
from typing import Any

import click

from geossda.progress import Progress, Silent
from geossda.urls import redact


def print_error(text: str) -> None:
    """Print a line on standard error."""
    click.echo(text, err=True)


def use_plain_characters() -> None:
    """Let standard output and error write "m2" where their encoding has no "m²".

    Consoles on Windows and in containers are not always UTF-8.
    """
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Return the nearest ASCII characters to those that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = unicodedata.normalize("NFKD", error.object[error.start : error.end])
    return text.encode("ascii", "replace").decode(), error.end


def progress_for(kind: str, ctx: click.Context) -> Progress:
    """Make the reporter asked for; it ends with the command."""
    if kind == "none":
        return Quiet()
    if kind == "json":
        return Lines()
    if not sys.stderr.isatty():
        return Quiet()
    bars = Bars()
    ctx.call_on_close(bars.close)
    return bars


class Quiet(Silent):
    """Warnings only."""

    def warn(self, text: str) -> None:
        """Print the warning."""
        click.echo(f"geossda: warning: {redact(text)}", err=True)


class Lines:
    """One JSON object a line on standard error."""

    def __init__(self) -> None:
        self._stage, self._total, self._done, self._told = "", 0, 0, 0.0

    def stage(self, name: str, total: int | None = None) -> None:
        """Tell of a new stage."""
        self._stage, self._total, self._done, self._told = name, total or 0, 0, 0.0
        self._tell(event="stage", stage=name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Tell of steps, at most ten times a second."""
        self._done += steps
        now = time.monotonic()
        if now - self._told > 0.1 or self._done == self._total:
            self._told = now
            self._tell(event="progress", stage=self._stage, done=self._done, total=self._total)

    def note(self, text: str) -> None:
        """Tell a note."""
        self._tell(event="note", text=redact(text))

    def warn(self, text: str) -> None:
        """Tell a warning."""
        self._tell(event="warning", text=redact(text))

    def _tell(self, **entries: Any) -> None:
        click.echo(json.dumps(entries), err=True)


class Bars:
    """Bars with time left, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: Any = None

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a new bar; the one before stays."""
        self._bars.start()
        self._finish()
        self._task = self._bars.add_task(name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def note(self, text: str) -> None:
        """Print above the bars."""
        self._bars.console.print(redact(text), highlight=False, markup=False)

    def warn(self, text: str) -> None:
        """Print above the bars."""
        self._bars.console.print(
            f"warning: {redact(text)}", style="yellow", highlight=False, markup=False
        )

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None and self._bars.tasks[-1].total is None:
            self._bars.update(self._task, total=1, completed=1)
