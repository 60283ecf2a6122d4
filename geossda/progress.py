"""How the library tells of its progress: it calls, it never prints.

An interface (terminal, QGIS, notebook) passes an object with these methods; the default does
nothing. To cancel, raise :class:`geossda.errors.Cancelled` from :meth:`Progress.advance`: what
was half-written is then removed.
"""

import sys
import time
from typing import Any, Protocol


class Progress(Protocol):
    """What a verb tells while it works."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Begin a stage of `total` steps (None: unknown)."""

    def advance(self, steps: int = 1) -> None:
        """Count `steps` of the current stage as done; may raise `Cancelled`."""

    def note(self, text: str) -> None:
        """Tell something worth knowing, one line."""

    def warn(self, text: str) -> None:
        """Tell something the user should act on, one line."""


class Silent:
    """Progress that says nothing: the default."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Ignore the stage."""

    def advance(self, steps: int = 1) -> None:
        """Ignore the steps."""

    def note(self, text: str) -> None:
        """Ignore the note."""

    def warn(self, text: str) -> None:
        """Ignore the warning."""


SILENT = Silent()


class Stages:
    """Progress that also keeps how long each stage took and how much memory there was by its end.

    Parameters
    ----------
    progress : Progress
        Is told all the same.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stages: list[dict[str, Any]] = []
        self._since = 0.0

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
        """Give the stages so far, the last one as if it ended now.

        Returns
        -------
        list of dict
            ``stage``, ``seconds`` and ``peak_mb``: the most memory this process has had until
            then, None where the system does not tell.
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
