"""How functions report progress: they call, they never print.

An interface (terminal, QGIS, notebook) passes an object with the methods of :class:`Progress`;
the default does nothing. To cancel, raise :class:`geossda.errors.Cancelled` from
:meth:`Progress.advance`: unfinished outputs are then removed.
"""

import sys
import time
from typing import Any, Protocol


class Progress(Protocol):
    """What a function reports to while it works."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of `total` steps (None: unknown)."""

    def advance(self, steps: int = 1) -> None:
        """Count `steps` of the current stage as done; may raise `Cancelled`."""

    def note(self, text: str) -> None:
        """Report something worth knowing, in one line."""

    def warn(self, text: str) -> None:
        """Report something that the user should act on, in one line."""


class Silent:
    """Progress that ignores everything: the default."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Ignore the stage."""

    def advance(self, steps: int = 1) -> None:
        """Ignore the steps."""

    def note(self, text: str) -> None:
        """Ignore the note."""

    def warn(self, text: str) -> None:
        """Ignore the warning."""


SILENT = Silent()


def begin_output(progress: Progress, number: int, count: int) -> None:
    """Report that output `number` (from 1) of `count` begins, to a progress that can show it.

    A progress shows it by a method ``begin_output(number, count)``, which it need not have.

    Parameters
    ----------
    progress : Progress
    number : int
        From 1 to `count`.
    count : int
        Number of outputs.
    """
    show = getattr(progress, "begin_output", None)
    if show is not None:
        show(number, count)


class Stages:
    """Progress that passes all on, and records duration and peak memory of each stage.

    Parameters
    ----------
    progress : Progress
        Receives what this one receives.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stages: list[dict[str, Any]] = []
        self._since = 0.0

    def begin_output(self, number: int, count: int) -> None:
        """Pass on that one of several outputs begins."""
        begin_output(self._progress, number, count)

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage, and end the one before."""
        self.record()
        self._stages.append({"stage": name})
        self._progress.stage(name, total)

    def advance(self, steps: int = 1) -> None:
        """Count steps."""
        self._progress.advance(steps)

    def note(self, text: str) -> None:
        """Pass a note on."""
        self._progress.note(text)

    def warn(self, text: str) -> None:
        """Pass a warning on."""
        self._progress.warn(text)

    def record(self) -> list[dict[str, Any]]:
        """Return the stages so far, the last one as if it ended now.

        Returns
        -------
        list of dict
            ``stage``, ``seconds`` and ``peak_mb``: the peak memory of this process until then in
            MiB, None where the system does not report it.
        """
        now = time.monotonic()
        if self._stages:
            seconds = self._stages[-1].get("seconds", 0.0) + now - self._since
            self._stages[-1] |= {"seconds": round(seconds, 3), "peak_mb": _peak_mb()}
        self._since = now
        return [dict(stage) for stage in self._stages]


def _peak_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
