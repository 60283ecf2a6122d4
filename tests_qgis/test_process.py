"""A child that will not listen is killed with its children; only its own leftovers are removed."""

import fcntl
import os
import subprocess
import threading
import time

import pytest
from conftest import CORE, group_of

DEAF = ("import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('deaf', flush=True); "
        "subprocess.run([sys.executable, '-c', 'import signal, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)'])")  # fmt: skip


def test_a_deaf_child_and_its_child_are_killed(qgis, listen):
    from geossda_processing.process import Stopped, run_module

    heard = listen()
    found, when = [], []

    def stop():
        listing = subprocess.run(["ps", "-wweo", "pgid,pid,args"], capture_output=True, text=True)
        rows = [line.split(None, 2) for line in listing.stdout.splitlines()[1:]]
        leader = next(row[0] for row in rows if "launch.py" in row[2] and "SIG_IGN" in row[2])
        found.append((int(leader), group_of(int(leader))))
        when.append(time.monotonic())
        heard.cancel()

    class Said(list):
        def append(self, text):
            super().append(text)
            if text == "deaf":
                threading.Timer(0.5, stop).start()

    heard.infos = Said()
    with pytest.raises(Stopped):
        run_module(CORE, ["timeit", "-n1", "-r1", DEAF], heard)
    assert time.monotonic() - when[0] < 2
    (leader, members), *_ = found
    assert len(members) == 2
    # A grandchild that was killed is listed until its new parent has taken note of it.
    while group_of(leader) and time.monotonic() - when[0] < 10:
        time.sleep(0.05)
    assert group_of(leader) == []


def test_only_the_childs_own_leftovers_are_removed(qgis, tmp_path):
    from geossda_processing.process import remove_unfinished

    for name in (".out.17.part.tif", ".out.17.part.tif.ovr.tmp", ".out.18.part.tif", "out.tif"):
        (tmp_path / name).touch()
    for name in (".geossda-17-ab", ".geossda-18-cd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.tif").touch()
    for name in (".out.gpkg.lock", ".held.tif.lock", ".other.tif.lock"):
        (tmp_path / name).touch()
    with open(tmp_path / ".held.tif.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_unfinished([f"{tmp_path}/out.gpkg|layername=a", tmp_path / "held.tif"], 17)
    assert sorted(os.listdir(tmp_path)) == [
        ".geossda-18-cd", ".held.tif.lock", ".other.tif.lock", ".out.18.part.tif", "out.tif",
    ]  # fmt: skip


def test_what_cannot_be_started_is_told(qgis, listen):
    from geossda_processing.process import ask, run_module

    code, heard = run_module("/no/such/python", ["this"], listen())
    assert code == -1 and "/no/such/python cannot be started" in heard.error
    assert ask("/no/such/python", [])[0] is False


def test_a_crash_is_told(qgis, listen):
    from geossda_processing.process import run_module

    code, heard = run_module(CORE, ["timeit", "import os; os.abort()"], listen())
    assert code == -1 and "out of memory, perhaps" in heard.error
