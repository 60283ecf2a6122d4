"""Number of cores that this process may use."""

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_limit: int | None = None


def cores() -> int:
    """Return how many cores this process may keep busy, at least 1.

    The least of the CPU affinity, the CPU quota of the control group (rounded up) and the limit
    set by :func:`limit_cores`.
    """
    if _limit is not None:
        return _limit
    return max(1, math.ceil(min(_affinity(), _quota())))


def limit_cores(count: int) -> None:
    """Keep this process to `count` cores from now on, in OpenCV and torch too.

    Parameters
    ----------
    count : int
        At least 1; smaller values count as 1.
    """
    import cv2

    global _limit
    _limit = max(1, count)
    cv2.setNumThreads(_limit)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(_limit)


@contextlib.contextmanager
def cores_each(count: int) -> Iterator[Callable[[], None]]:
    """Yield a function that a thread calls to compute on some cores, side by side with others.

    Measured with torch: two threads of one core each run windows in two thirds of the time that two
    cores take for one window after the other. OpenVINO divides the cores by itself.

    Parameters
    ----------
    count : int
        Cores for each thread.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield lambda: None
        return
    before = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(count)
    finally:
        # Set in one thread, it is what later threads begin with too.
        torch.set_num_threads(before)


def _affinity() -> int:
    """Return the number of cores that the scheduler may place this process on."""
    if hasattr(os, "sched_getaffinity"):  # Linux and some other Unix systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _quota() -> float:
    return cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))


def cgroup_quota(membership: Path, mount: Path) -> float:
    """Return the CPU time that control groups grant a process, in cores; infinity if unlimited.

    Parameters
    ----------
    membership : Path
        The process's list of control groups (``/proc/PID/cgroup``).
    mount : Path
        Where the control group file systems are mounted (``/sys/fs/cgroup``).

    Notes
    -----
    Every ancestor's quota holds too. In a container the listed path may be the host's, of which
    only the mount's root is visible; that root is therefore always read.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    quota = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, read = mount, _quota_of_version_2
        elif "cpu" in controllers.split(","):
            names = (controllers, "cpu", "cpu,cpuacct")
            root = next((mount / name for name in names if (mount / name).is_dir()), mount)
            read = _quota_of_version_1
        else:
            continue
        group = root / path.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                quota = min(quota, read(folder))
    return quota


def _quota_of_version_2(folder: Path) -> float:
    """Return the quota in ``cpu.max``: microseconds (or "max") and the period's length."""
    try:
        granted, period = (folder / "cpu.max").read_text().split()
        return math.inf if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _quota_of_version_1(folder: Path) -> float:
    """Return the quota in ``cpu.cfs_quota_us``, which is -1 where there is none."""
    try:
        granted = int((folder / "cpu.cfs_quota_us").read_text())
        return (
            math.inf if granted <= 0 else granted / int((folder / "cpu.cfs_period_us").read_text())
        )
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
