"""What the core prints while it works, line by line. No QGIS in here."""

import json
from collections import deque


class Listener:
    """Passes lines of a child on to a Processing feedback, and keeps what matters later.

    Parameters
    ----------
    feedback : QgsProcessingFeedback
    reword : callable
        Puts a message into the words of a dialog.
    quiet : bool
        Whether to keep standard output from the feedback.

    Attributes
    ----------
    error : str
        The core's one-line message, if it failed; without one, its last line.
    lines : deque of str
        The last lines of standard error that are no events.
    pid : int
        Of the process that writes outputs, 0 before it is known.
    printed : list of str
        Lines of standard output.
    """

    def __init__(self, feedback, reword=str, quiet=False):
        self.pid, self.printed, self.lines = 0, [], deque(maxlen=200)
        self._feedback, self._reword, self._quiet = feedback, reword, quiet
        self._error, self._last = "", "the core said nothing"

    @property
    def error(self):  # noqa: D102
        return self._error or self._last

    def fail(self, message):
        """Keep a message where the core had none of its own."""
        self._error = self._error or message

    def out(self, line):
        """Take a line of standard output."""
        self.printed.append(line)
        if not self._quiet:
            self._feedback.pushInfo(line)

    def err(self, line):
        """Take a line of standard error: an event in JSON, a message, or a library's murmur."""
        event = _event(line)
        if event is None:
            self._plain(line)
        elif event["event"] == "process":
            self.pid = int(event["id"])
        elif event["event"] == "stage":
            self._feedback.setProgressText(event["stage"][:1].upper() + event["stage"][1:])
            self._show(event, 0.0)
        elif event["event"] == "progress" and event["total"]:
            self._show(event, event["done"] / event["total"])
        elif event["event"] == "error":
            self._error = self._reword(event["text"])
        elif event["event"] == "note":
            self._feedback.pushInfo(self._reword(event["text"]))
        elif event["event"] == "warning":
            self._feedback.pushWarning(self._reword(event["text"]))

    def _show(self, event, of_stage):
        """Show how much is done: "run", the share of the whole run, or what an older core knows."""
        self._feedback.setProgress(100.0 * event.get("run", of_stage))

    def _plain(self, line):
        for start in ("geossda: ", "Error: ", "ERROR: "):
            if line.startswith(start):
                self._error = self._reword(line[len(start) :])
        if line.strip():
            self._last = line
            self.lines.append(line)
            self._feedback.pushConsoleInfo(line)


def _event(line):
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


class Lines:
    """Cuts bytes into lines of text as they come."""

    def __init__(self, take):
        self._take, self._rest = take, b""

    def feed(self, data):
        """Pass on every line that is whole by now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line.decode("utf-8", "replace").rstrip("\r"))

    def end(self):
        """Pass on what is left."""
        if self._rest:
            self.feed(b"\n")
