"""Child processes, without a shell, that end with all they started."""

import os
import shutil
import signal
from pathlib import Path

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QProcess, QProcessEnvironment

from .environment import cleaned
from .messages import Lines, Listener

LAUNCH = str(Path(__file__).with_name("launch.py"))
POLL_MS = 100
# A cancelled child may clean up for so long; then it is killed. Together under two seconds.
GRACE_MS = 1000


class Stopped(Exception):
    """The user asked to stop, and nothing runs any more."""


def environment():
    """Give the environment variables children run with."""
    roots = [os.environ.get("OSGEO4W_ROOT", "")]
    if os.name == "nt":
        roots.append(QgsApplication.prefixPath())
    return cleaned(os.environ, roots)


def _child(program, arguments):
    process = QProcess()
    told = QProcessEnvironment()
    for name, value in environment().items():
        told.insert(name, value)
    process.setProcessEnvironment(told)
    # Not QGIS's folder, which may hold modules that are called like the core's.
    process.setWorkingDirectory(str(Path.home()))
    process.setProgram(str(program))
    process.setArguments([str(argument) for argument in arguments])
    process.start()
    return process


def ask(program, arguments, seconds=60):
    """Run a program that ends soon.

    Returns
    -------
    (bool, str, str)
        Whether it ended well, and what it said on standard output and error.
    """
    process = _child(program, arguments)
    ended = process.waitForFinished(seconds * 1000)
    if not ended:
        reason = process.errorString()
        process.kill()
        process.waitForFinished(1000)
        return False, "", reason
    both = process.readAllStandardOutput(), process.readAllStandardError()
    said = [bytes(data).decode("utf-8", "replace") for data in both]
    well = process.exitStatus() == QProcess.ExitStatus.NormalExit and process.exitCode() == 0
    return (well, *said)


def run_module(python, arguments, feedback, folders=()):
    """Run a Python module to its end, or until the user cancels.

    Parameters
    ----------
    python : str
    arguments : list of str
        The module and its arguments.
    feedback : QgsProcessingFeedback
        Hears of progress, and is asked whether to go on.
    folders : sequence of path
        Where outputs go: unfinished ones of a child that had to be killed are removed.

    Returns
    -------
    (int, Listener)
        Exit code (-1 if it could not start or crashed), and what was heard.

    Raises
    ------
    Stopped
        The user cancelled.
    """
    listener = Listener(feedback)
    process = _child(python, [LAUNCH, *arguments])
    if not process.waitForStarted(10000):
        listener.fail(f"{python} cannot be started: {process.errorString()}")
        return -1, listener
    out, err = Lines(listener.out), Lines(listener.err)
    number = int(process.processId())

    def hear():
        out.feed(bytes(process.readAllStandardOutput()))
        err.feed(bytes(process.readAllStandardError()))

    while process.state() != QProcess.ProcessState.NotRunning:
        process.waitForFinished(POLL_MS)
        hear()
        if feedback.isCanceled():
            _stop(process, number)
            hear()
            remove_unfinished(folders, listener.pid or number)
            raise Stopped
    hear()
    out.end()
    err.end()
    if process.exitStatus() != QProcess.ExitStatus.NormalExit:
        remove_unfinished(folders, listener.pid or number)
        listener.fail("the core ended unexpectedly: out of memory, perhaps")
        return -1, listener
    return process.exitCode(), listener


def _stop(process, number):
    """Ask a child to stop, and end it and its children if it takes too long."""
    if os.name == "posix":
        _signal_group(process, number, signal.SIGTERM)
    else:
        # launch.py takes the end of its input for Ctrl-C, which Windows has no other way to send.
        process.closeWriteChannel()
    process.waitForFinished(GRACE_MS)
    if os.name == "posix":
        _signal_group(process, number, signal.SIGKILL)
    elif process.state() != QProcess.ProcessState.NotRunning:
        QProcess.execute("taskkill", ["/PID", str(number), "/T", "/F"])
    process.waitForFinished(GRACE_MS)


def _signal_group(process, number, which):
    try:
        os.killpg(number, which)
    except ProcessLookupError:
        # No group (yet): nothing has been started by the child either.
        if process.state() != QProcess.ProcessState.NotRunning:
            process.kill()


def remove_unfinished(folders, pid):
    """Remove what a killed core has left: its working files carry its process id."""
    for folder in {Path(folder) for folder in folders}:
        for part in folder.glob(f".*.{pid}.part*"):
            part.unlink()
        for part in folder.glob(f".geossda-{pid}-*"):
            shutil.rmtree(part, ignore_errors=True)
