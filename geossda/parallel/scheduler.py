"""Connection to a Dask scheduler that somebody else has started, checked before any work."""

import contextlib
import logging
import os
import platform
import re
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from geossda._version import __version__
from geossda.errors import InputError
from geossda.layers import split_layer

_ADDRESS = re.compile(
    r"(?:(?:tcp|tls)://)?(?:\[[0-9a-fA-F:.]+\]|[^\s:/\[\]@]+):(?P<port>\d{1,5})/?"
)
# Seconds to wait for an answer, for a first worker, and for what workers report.
ANSWER_S, FIRST_WORKER_S, REPORT_S = 10, 30, 60


def check_scheduler(address: str | None, paths: Iterable[str] = ()) -> None:
    """Check that a scheduler answers and that its workers can do the work.

    Parameters
    ----------
    address : str or None
        Such as ``tcp://host:8786``; without one nothing is checked.
    paths : iterable of str
        Absolute paths of files and folders that workers must see.

    Raises
    ------
    InputError
        The address is malformed, no scheduler answers there, there are no workers, or one of them
        has another version of geossda or Python, or does not see a path.
    """
    if not address:
        return
    with contextlib.closing(connected(address)) as client:
        deadline = time.monotonic() + FIRST_WORKER_S
        while not (workers := list(client.nthreads())):
            if time.monotonic() > deadline:
                raise InputError(
                    f"scheduler {address} has no workers: start some with dask worker {address}"
                )
            time.sleep(0.2)
        probe = _worker_probe()
        wanted = list(paths)
        reports = {
            worker: client.submit(probe, wanted, workers=[worker], pure=False) for worker in workers
        }
        for worker, report in reports.items():
            _check_report(worker, report, address)


def silence() -> None:
    """Keep Dask from logging what is reported in one line, or recovered from.

    Raises
    ------
    InputError
        Dask is not installed.
    """
    try:
        import cryptography
        import distributed  # noqa: F401  (first: it brings levels of its own)
    except ImportError as error:
        raise InputError(
            f"--workers and --scheduler need Dask ({error}): install it with "
            "pip install 'geossda[cluster]'"
        ) from error
    del cryptography

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def connected(address: str) -> Any:
    """Return a client of a scheduler.

    Raises
    ------
    InputError
        The address is malformed, or no scheduler answers there.
    """
    silence()
    import asyncio

    from distributed import Client

    match = _ADDRESS.fullmatch(address)
    if not match or not 0 < int(match["port"]) < 2**16:
        raise InputError(f"scheduler {address}: an address such as tcp://host:8786 was expected")
    # Asked by itself first: a client that fails leaves tasks behind that print tracebacks.
    try:
        # In a thread, since notebooks have an event loop running in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _check_identity(address)).result()
        return Client(address, timeout=ANSWER_S, set_as_default=False)
    except Exception as error:  # a foreign program may answer anything
        reason = (str(error).splitlines() or [""])[0] or "no answer"
        raise InputError(
            f"scheduler {address} cannot be reached ({reason}): check --scheduler"
        ) from error


async def _check_identity(address: str) -> None:
    """Raise ValueError if another program than a scheduler answers."""
    import asyncio

    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    if address.startswith("tls://") and not arguments.get("ssl_context"):
        raise ValueError("no certificates in Dask's configuration, distributed.comm.tls")
    async with asyncio.timeout(ANSWER_S):
        comm = await connect(address, timeout=ANSWER_S, **arguments)
        try:
            await comm.write({"op": "identity", "reply": True})
            identity = await comm.read()
        finally:
            comm.abort()
    if identity["type"] != "Scheduler":
        raise ValueError(f"a Dask {identity['type'].lower()} answers")


def _worker_probe() -> Any:
    """Return a function that a worker without geossda can run, since it is pickled by value."""

    def probe(paths: list[str]) -> tuple[str | None, str, list[str]]:
        import os
        import platform

        try:
            import geossda

            version = geossda.__version__
        except ImportError:
            version = None
        missing = [path for path in paths if not os.path.exists(path)]
        return version, platform.python_version(), missing

    return probe


def _check_report(worker: str, report: Any, address: str) -> None:
    """Raise InputError if a worker cannot do the work."""
    try:
        version, python, missing = report.result(timeout=REPORT_S)
    except Exception as error:  # whatever a worker of another version raises
        reason = (str(error).splitlines() or [""])[0] or "no answer"
        raise InputError(
            f"worker {worker} of scheduler {address} cannot be used ({reason}): restart it with "
            f"geossda {__version__}"
        ) from error
    if version != __version__:
        other = f"geossda {version}" if version else "no geossda"
        raise InputError(
            f"worker {worker} has {other}, this program is {__version__}: install the same there"
        )
    own = platform.python_version()
    if python.split(".")[:2] != own.split(".")[:2]:
        raise InputError(
            f"worker {worker} runs Python {python}, this program {own}: use the same minor version"
        )
    if missing:
        raise InputError(
            f"worker {worker} does not see {missing[0]}: workers need the sources and the output's "
            "folder under the same paths"
        )


def local_paths(paths: Iterable[str | None], output: str | os.PathLike[str]) -> list[str]:
    """Return the paths that workers must see: local sources and the output's folder.

    Parameters
    ----------
    paths : iterable of str or None
        Sources and other inputs; URLs, keywords and None are left out.
    output : path
    """
    named = (split_layer(path)[0] for path in paths if path)
    files = [os.path.abspath(path) for path in named if path.exists()]
    folder = Path(os.path.abspath(output)).parent
    while not folder.exists():  # it is created later
        folder = folder.parent
    return [*files, str(folder)]
