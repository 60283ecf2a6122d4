"""How the library tells of its progress: it calls, it never prints.

An interface (terminal, QGIS, notebook) passes an object with these methods; the default does
nothing. To cancel, raise :class:`geossda.errors.Cancelled` from :meth:`Progress.advance`: outputs
are then removed, not left half-written.
"""

from typing import Protocol


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
