"""Child processes, without a shell, that end with all they started."""

import os
import shutil
import signal
import time
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
    """Return the environment variables that child processes run with."""
    roots = [os.environ.get("OSGEO4W_ROOT", "")]
    if os.name == "nt":
        roots.append(QgsApplication.prefixPath())
    return cleaned(os.environ, roots)


def new_process(program, arguments):
    """Return a child process that is ready to be started.

    Parameters
    ----------
    program : path
    arguments : sequence
        Converted to text.
    """
    process = QProcess()
    variables = QProcessEnvironment()
    for name, value in environment().items():
        variables.insert(name, value)
    process.setProcessEnvironment(variables)
    # Not QGIS's folder, which may hold modules that are called like the core's.
    process.setWorkingDirectory(str(Path.home()))
    process.setProgram(str(program))
    process.setArguments([str(argument) for argument in arguments])
    return process


def ask(program, arguments, seconds=60, feedback=None):
    """Run a program that ends soon, and wait for it: not in the window's thread.

    Parameters
    ----------
    program : str
    arguments : list of str
    seconds : float
        How long to wait before it is killed.
    feedback : QgsProcessingFeedback, optional
        Asked whether to go on waiting.

    Returns
    -------
    (bool, str, str)
        Whether it ended well, and what it wrote to standard output and error.
    """
    process = new_process(program, arguments)
    process.start()
    if not process.waitForStarted(10000):
        return False, "", process.errorString()
    end = time.monotonic() + seconds
    while process.state() != QProcess.ProcessState.NotRunning:
        process.waitForFinished(POLL_MS)
        late, stopped = time.monotonic() > end, feedback is not None and feedback.isCanceled()
        if late or stopped:
            process.kill()
            process.waitForFinished(1000)
            return False, "", f"it did not answer within {seconds} s" if late else "stopped"
    streams = process.readAllStandardOutput(), process.readAllStandardError()
    texts = [bytes(data).decode("utf-8", "replace") for data in streams]
    well = process.exitStatus() == QProcess.ExitStatus.NormalExit and process.exitCode() == 0
    return (well, *texts)


def run_module(python, arguments, feedback, outputs=(), reword=str, quiet=False):
    """Run a Python module to its end, or until the user cancels.

    Parameters
    ----------
    python : str
    arguments : list of str
        The module and its arguments.
    feedback : QgsProcessingFeedback
        Hears of progress, and is asked whether to go on.
    outputs : sequence of path
        What the child writes: unfinished ones of a child that had to be killed are removed.
    reword : callable
        Puts a message of the module into the words of a dialog.
    quiet : bool
        Whether to keep what is printed from the feedback.

    Returns
    -------
    (int, Listener)
        Exit code (-1 if it could not start or crashed), and what it has printed.

    Raises
    ------
    Stopped
        The user cancelled.
    """
    listener = Listener(feedback, reword, quiet)
    process = new_process(python, [LAUNCH, *arguments])
    process.start()
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
            remove_unfinished(outputs, listener.pid or number)
            raise Stopped
    hear()
    out.end()
    err.end()
    if process.exitStatus() != QProcess.ExitStatus.NormalExit:
        remove_unfinished(outputs, listener.pid or number)
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


def remove_unfinished(outputs, pid):
    """Remove what a killed core has left: its working files carry its process id.

    Parameters
    ----------
    outputs : iterable of path
        A layer of a GeoPackage may be named, as ``FILE|layername=NAME``.
    pid : int
        Process id of the core.
    """
    files = {Path(str(output).partition("|layername=")[0]) for output in outputs}
    for file in files:
        _remove_lock(file.with_name(f".{file.name}.lock"))
    for folder in {file.parent for file in files}:
        for part in folder.glob(f".*.{pid}.part*"):
            part.unlink()
        for part in folder.glob(f".geossda-{pid}-*"):
            shutil.rmtree(part, ignore_errors=True)


def _remove_lock(path):
    """Remove the lock of an output, unless another process holds it by now."""
    try:
        if os.name == "posix":
            import fcntl

            with open(path, "r+b") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        else:
            # Windows removes no file that is open elsewhere.
            path.unlink()
    except OSError:
        return
