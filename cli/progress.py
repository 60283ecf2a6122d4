"""Progress in a terminal, or as lines of JSON for programs."""

import codecs
import io
import json
import sys
import time
import unicodedata
from typing import Any, TextIO

import click

from geossda.errors import one_line
from geossda.progress import Progress, Silent
from geossda.run_estimate import PLANS, RunEstimate, in_words

# Where a command's context keeps its bar.
_BAR = "geossda.bar"
_FORMAT = "{desc} {bar} {percentage:3.0f} % {elapsed}{postfix}"


def print_error(text: str) -> None:
    """Print a line on standard error."""
    click.echo(text, err=True)


def print_result(text: object) -> None:
    """Print a result on standard output, once the bar is gone."""
    bar = click.get_current_context().meta.get(_BAR)
    if bar is not None:
        bar.close()
    click.echo(text)


def use_plain_characters() -> None:
    """Make standard output and error write "m2" where their encoding has no "m²".

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
    """Return the reporter of a kind ("auto", "json", "none"); it ends with the command.

    Parameters
    ----------
    kind : {"auto", "json", "none"}
        A bar on a terminal, lines of JSON, or nothing.
    ctx : click.Context
        Context of the command.
    """
    if kind == "none":
        return Quiet()
    group = ctx.parent.info_name if ctx.parent is not None else None
    plan = PLANS.get(ctx.info_name or "", PLANS.get(group or "", ()))
    if kind == "json":
        return Lines(RunEstimate(plan))
    if sys.stderr is None or not sys.stderr.isatty():
        return Quiet()
    bar = Bar(RunEstimate(plan))
    ctx.call_on_close(bar.close)
    ctx.meta[_BAR] = bar
    return bar


class Quiet(Silent):
    """Warnings only."""

    def warn(self, text: str) -> None:
        """Print the warning."""
        print_error(f"geossda: warning: {one_line(text)}")


class Lines:
    """One JSON object per line on standard error.

    ``stage`` and ``progress`` events hold how much of the run is done (``run``, from 0 to 1), the
    latter also an estimate of the time left (``seconds_left``, null as long as it is a guess).
    """

    def __init__(self, estimate: RunEstimate) -> None:
        self._estimate = estimate
        self._stage, self._total, self._done, self._printed = "", 0, 0, 0.0

    def begin_output(self, number: int, count: int) -> None:
        """Begin one of several outputs."""
        self._estimate.begin_output(number, count)

    def stage(self, name: str, total: int | None = None) -> None:
        """Print that a stage begins."""
        self._stage, self._total, self._done, self._printed = name, total or 0, 0, 0.0
        self._estimate.stage(name, total)
        self._print(event="stage", stage=name, total=total, run=self._run)

    def advance(self, steps: int = 1) -> None:
        """Print how many steps are done, at most ten times a second."""
        self._done += steps
        self._estimate.advance(steps)
        now = time.monotonic()
        if now - self._printed > 0.1 or self._done == self._total:
            self._printed = now
            left = self._estimate.seconds_left
            self._print(
                event="progress",
                stage=self._stage,
                done=self._done,
                total=self._total,
                run=self._run,
                seconds_left=None if left is None else round(left),
            )

    def note(self, text: str) -> None:
        """Print a note."""
        self._print(event="note", text=one_line(text))

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._print(event="warning", text=one_line(text))

    @property
    def _run(self) -> float:
        return round(self._estimate.fraction, 4)

    def _print(self, **entries: Any) -> None:
        print_error(json.dumps(entries))


class Bar:
    """One bar for the run on a terminal: stage, share done, time taken, time left.

    Parameters
    ----------
    estimate : RunEstimate
    stream : file, optional
        Standard error by default.
    """

    def __init__(self, estimate: RunEstimate, stream: TextIO | None = None) -> None:
        self._estimate, self._stream = estimate, stream or sys.stderr
        self._bar: Any = None

    def begin_output(self, number: int, count: int) -> None:
        """Begin one of several outputs."""
        self._estimate.begin_output(number, count)

    def stage(self, name: str, total: int | None = None) -> None:
        """Show the stage."""
        self._estimate.stage(name, total)
        if self._bar is None:
            # Imported here, since short commands show no bar.
            from tqdm import tqdm

            self._bar = tqdm(
                total=1.0,
                file=self._stream,
                leave=False,
                dynamic_ncols=True,
                miniters=0,  # whatever the share, the bar moves ten times a second
                bar_format=_FORMAT,
            )
        self._bar.set_description_str(name[:1].upper() + name[1:], refresh=False)
        self._show()

    def advance(self, steps: int = 1) -> None:
        """Move the bar."""
        self._estimate.advance(steps)
        self._show()

    def note(self, text: str) -> None:
        """Print above the bar."""
        self._print(one_line(text))

    def warn(self, text: str) -> None:
        """Print above the bar."""
        self._print(click.style(f"warning: {one_line(text)}", fg="yellow"))

    def close(self) -> None:
        """Remove the bar: what the command prints at its end says that it is done."""
        if self._bar is not None:
            self._bar.close()

    def _print(self, text: str) -> None:
        if self._bar is None:
            click.echo(text, file=self._stream)
        else:
            self._bar.write(text, file=self._stream)

    def _show(self) -> None:
        self._bar.set_postfix_str(in_words(self._estimate.seconds_left), refresh=False)
        self._bar.update(self._estimate.fraction - self._bar.n)
