"""The core: which Python has it, what it offers, and why it cannot run.

Asking a Python takes from a fraction of a second to as long as a cold disk or a virus scanner makes
it. Where there is a window, nothing waits for the answer: descriptions are remembered between
sessions and asked for anew in the background.
"""

import json
import os
import threading
from pathlib import Path
from typing import NamedTuple, Optional

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication, QObject, QProcess, QThread, QTimer, pyqtSignal

from .environment import find_core
from .process import LAUNCH, ask, environment, new_process

SETTING = "geossda/python"
SNAPSHOT = Path(__file__).with_name("description.json")
# The form of the core's description that this plugin reads.
FORMAT = 3
REMEDY = 'run "Set up geossda" in the Processing toolbox, or choose the Python that has geossda under Settings, Options, geossda'  # noqa: E501
# Seconds after which a Python that does not answer is given up.
PATIENCE_S = 60


class Answer(NamedTuple):
    """What a Python reports of its core.

    Attributes
    ----------
    description : dict or None
        None where it has no core that this plugin can use.
    problem : str
        Why not, in one line that follows the Python's path; "" if all is well.
    """

    description: Optional[dict]
    problem: str


class Inquiry(QObject):
    """Ask a Python for the core's description without waiting.

    Parameters
    ----------
    python : str
    """

    answered = pyqtSignal(str, object)

    def __init__(self, python):
        super().__init__()
        self._python, self._late = python, False
        self._process = new_process(python, [LAUNCH, "geossda_cli", "describe"])
        self._process.finished.connect(self._finish)
        self._process.errorOccurred.connect(self._fail)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._give_up)

    def start(self):
        """Start the process; `answered` follows, never before this returns."""
        self._timer.start(PATIENCE_S * 1000)
        # Windows reports a program that cannot be started at once, from within start().
        QTimer.singleShot(0, self._process.start)

    def stop(self):
        """Kill the process; no answer follows."""
        self.answered.disconnect()
        self._timer.stop()
        self._process.kill()
        self._process.waitForFinished(1000)

    def _finish(self, code, status):
        self._timer.stop()
        streams = self._process.readAllStandardOutput(), self._process.readAllStandardError()
        out, err = (bytes(data).decode("utf-8", "replace") for data in streams)
        well = status == QProcess.ExitStatus.NormalExit and code == 0
        self._answer(out, _timeout_text() if self._late else err, well and not self._late)

    def _fail(self, error):
        if error == QProcess.ProcessError.FailedToStart:
            self._timer.stop()
            self._answer("", self._process.errorString(), False)

    def _give_up(self):
        self._late = True
        self._process.kill()

    def _answer(self, out, err, well):
        self.answered.emit(self._python, _read(out, err, well))


class State(QObject):
    """Hold what is known of each Python in this session, and signal changes.

    Attributes
    ----------
    background : bool
        Whether questions of the main thread are asked in the background; the plugin sets it where
        there is a window.
    """

    changed = pyqtSignal(str)

    def __init__(self):
        super().__init__()
        self.background = False
        self._answers, self._inquiries, self._lock = {}, {}, threading.Lock()
        self._outdated = set()

    def known(self, python):
        """Return the answer of a Python, or None if it has not been asked in this session."""
        with self._lock:
            return self._answers.get(python)

    def keep(self, python, answer):
        """Keep an answer, and remember a description for the next session."""
        with self._lock:
            self._answers[python] = answer
        if answer.description:
            _remember(python, answer.description)
        self.changed.emit(python)

    def forget(self):
        """Drop all answers: something was installed or removed."""
        with self._lock:
            self._answers.clear()
            # What is being asked may answer for how things were.
            self._outdated.update(self._inquiries)

    def inquire(self, python):
        """Ask a Python in the background, unless it is being asked already."""
        if python in self._inquiries:
            return
        inquiry = self._inquiries[python] = Inquiry(python)
        inquiry.answered.connect(self._take)
        inquiry.start()

    def stop(self):
        """Stop asking: the plugin is unloaded."""
        while self._inquiries:
            self._inquiries.popitem()[1].stop()

    def _take(self, python, answer):
        inquiry = self._inquiries.pop(python, None)
        if inquiry is None:
            return
        inquiry.deleteLater()
        if python in self._outdated:
            self._outdated.discard(python)
            self.inquire(python)
        else:
            self.keep(python, answer)


state = State()


def python():
    """Return the Python that has the core and where it was named; "" if there is none."""
    return find_core(os.environ | {"PATH": environment()["PATH"]}, setting())


def setting():
    """Return the Python named in the settings, or ""."""
    return QgsSettings().value(SETTING, "", type=str)


def choose(path):
    """Name the Python in the settings; "" leaves it to be searched for."""
    QgsSettings().setValue(SETTING, path)
    state.forget()


def forget():
    """Ask anew at the next occasion: something was installed or removed."""
    state.forget()


def problem():
    """Return in one line why the core cannot run, or "".

    With a window this does not wait: "" may mean that the answer is not there yet, and a problem
    that is known is looked into again in the background. `check` waits.
    """
    path, _ = python()
    if not path:
        return f"geossda is not installed yet: {REMEDY}"
    if not _waits():
        answer = state.known(path)
        if answer is None or answer.problem:
            state.inquire(path)
        return _with_remedy(path, answer)
    return check()


def check(feedback=None):
    """Return in one line why the core cannot run, or ""; waits for the answer.

    Parameters
    ----------
    feedback : QgsProcessingFeedback, optional
        Asked whether to go on waiting.
    """
    path, _ = python()
    if not path:
        return f"geossda is not installed yet: {REMEDY}"
    answer = state.known(path)
    if answer is None or answer.problem:
        well, out, err = ask(path, [LAUNCH, "geossda_cli", "describe"], PATIENCE_S, feedback)
        answer = _read(out, err, well)
        if not (feedback and feedback.isCanceled()):
            state.keep(path, answer)
    return _with_remedy(path, answer)


def description():
    """Return what the core offers, as far as is known without a window waiting for it.

    That is the core's answer in this session, else the one of the last session, else what was
    bundled with the plugin.
    """
    path, _ = python()
    if path and _waits():
        check()
    elif path and state.known(path) is None:
        state.inquire(path)
    answer = state.known(path)
    if answer and answer.description:
        return answer.description
    return (answer is None and _remembered(path)) or json.loads(SNAPSHOT.read_text("utf-8"))


def _waits():
    """Return whether the caller may wait: it has no window, or is not the window's thread."""
    application = QCoreApplication.instance()
    return not state.background or QThread.currentThread() != application.thread()


def _with_remedy(path, answer):
    return f"{path} {answer.problem}: {REMEDY}" if answer and answer.problem else ""


def _timeout_text():
    return f"it did not answer within {PATIENCE_S} s"


def _read(out, err, well):
    """Read what `geossda describe` printed."""
    if not well:
        last = ([line for line in err.splitlines() if line.strip()] or ["it said nothing"])[-1]
        return Answer(None, f"cannot run geossda ({last.strip()})")
    try:
        described = json.loads(out)
    except ValueError:
        return Answer(None, "gives no description of geossda that can be read")
    if described.get("format") != FORMAT:
        version = described.get("version", "of unknown version")
        return Answer(None, f"has geossda {version}, unfit for this plugin: update the older")
    return Answer(described, "")


def _memory():
    return Path(QgsApplication.qgisSettingsDirPath()) / "geossda" / "description.json"


def _remember(python, description):
    path, text = _memory(), json.dumps({"python": python, "description": description})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError:
        # A profile that cannot be written to: it is asked for in the next session again.
        return


def _remembered(python):
    """Return the description that a Python gave in the last session, or None."""
    try:
        memory = json.loads(_memory().read_text(encoding="utf-8"))
        described = memory["description"] if memory["python"] == python else {}
        return described if described.get("format") == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
