"""Shards made by other processes: a scheduler of one's own, errors in workers, Ctrl-C."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import SMALL_SHARDS

from geossda import HarmonizeConfig, SegmentConfig, harmonize
from geossda.errors import RasterError
from geossda.footprints.building_raster import open_buildings
from geossda.parallel.dask_workers import Workers
from geossda.runs.shard_folder import shards_folder

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="processes of Linux")
BY_HISTOGRAM = ("--method", "histogram", "--scenes", "none", "--tile", "256")


@pytest.fixture(scope="module")
def whole(tall, look, tmp_path_factory):
    """In one process and one go."""
    out = tmp_path_factory.mktemp("whole") / "whole.tif"
    config = HarmonizeConfig(method="histogram", scenes="none")
    harmonize(tall, out, style=look, config=config)
    return out


# The command line with small shards, its workers too.
PROGRAM = f"""import dask
{SMALL_SHARDS}
dask.config.set({{"distributed.worker.preload": [{SMALL_SHARDS!r}]}})
from geossda_cli.main import entry
entry()
"""


def verb(source, look, out, *more):
    return [sys.executable, "-c", PROGRAM, "harmonize", source, "--style", look, "-o", out,
            *BY_HISTOGRAM, *more]  # fmt: skip


def go_on(source, look, out):
    """Run what `verb` runs to its end, in this process."""
    harmonize(source, out, style=look, method="histogram", scenes="none", tile=256)


def pixels(path):
    with rasterio.open(path) as dataset:
        return dataset.read(masked=True)


def same(one, other):
    first, second = pixels(one), pixels(other)
    return np.array_equal(first.mask, second.mask) and np.array_equal(first.data, second.data)


def alive(group):
    """Tell which processes of a group are there, zombies not counted."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, of = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of) == group and state != "Z":
            found.append(int(entry))
    return found


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A Dask scheduler with two workers, started as a user would; gives address and process."""
    folder = tmp_path_factory.mktemp("dask")
    told = folder / "dask.json"
    where = ["--scheduler-file", str(told), "--no-dashboard"]
    processes = [
        subprocess.Popen([sys.executable, "-m", "dask", *words, *where], cwd=folder,
                         stderr=subprocess.DEVNULL)
        for words in (
            ["scheduler", "--host", "127.0.0.1", "--port", "0"],
            ["worker", "--nworkers", "2", "--nthreads", "1", "--host", "127.0.0.1",
             "--preload", SMALL_SHARDS],
        )
    ]  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not told.exists() or not told.read_text().strip().endswith("}"):
            assert time.monotonic() < deadline, "no scheduler came up"
            time.sleep(0.1)
        yield json.loads(told.read_text())["address"], processes[0]
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)


def test_two_workers_make_the_same(tall, look, whole, tmp_path):
    out = tmp_path / "out.tif"
    done = subprocess.run(verb(tall, look, out, "--workers", "2"), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert same(out, whole)
    assert os.listdir(tmp_path) == ["out.tif"]


def test_helpers_keep_the_order_pass_errors_on_and_can_be_stopped():
    with Workers(SegmentConfig(workers=2)) as workers:
        assert not workers.alone
        workers.stop()
        assert "client" not in vars(workers), "nothing is started to be stopped"
        assert list(workers.map(math.sqrt, range(100))) == [math.sqrt(n) for n in range(100)]
        with pytest.raises(RasterError, match="does not exist"):
            list(workers.map(partial(open_buildings, threshold=0.5), ["nowhere.tif"]))
        waiting = workers.map(time.sleep, [0, 600])
        next(waiting)
        begun = time.monotonic()
        threading.Timer(0.5, workers.stop).start()
        with pytest.raises(CancelledError):
            next(waiting)
        assert time.monotonic() - begun < 60
    assert Workers(SegmentConfig()).alone


def test_a_scheduler_of_ones_own(tall, look, whole, scheduler, tmp_path):
    out = tmp_path / "out.tif"
    done = subprocess.run(verb(tall, look, out, "--scheduler", scheduler[0]), capture_output=True,
                          text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert same(out, whole)
    assert os.listdir(tmp_path) == ["out.tif"]


def test_a_scheduler_that_is_lost(tall, look, whole, scheduler, tmp_path):
    """The last test of the scheduler that all share."""
    out = tmp_path / "out.tif"
    address, process = scheduler
    # Tiles so small that a shard takes longer than it takes to see that one is begun.
    more = ("--scheduler", address, "--progress", "json", "--tile", "16")
    command = verb(tall, look, out, *more)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        told = []
        for line in running.stderr:
            told.append(line)
            if '"harmonizing"' in line and '"event": "stage"' in line:
                deadline = time.monotonic() + 60
                while not any(tmp_path.rglob("*.tmp.tif")) and time.monotonic() < deadline:
                    time.sleep(0.01)
                process.kill()
    assert running.returncode == 1
    errors = [json.loads(line)["text"] for line in told if '"event": "error"' in line]
    assert all(line.startswith("{") for line in told), told
    assert len(errors) == 1 and "no longer responds" in errors[0], errors
    go_on(tall, look, out)
    assert same(out, whole)
    assert os.listdir(tmp_path) == ["out.tif"]


def test_an_error_in_a_worker_is_one_line_and_is_gone_on_from(tall, look, whole, tmp_path):
    mine, out = tmp_path / "in.tif", tmp_path / "out.tif"
    data, times = tall.read_bytes(), (1_000_000_000, 1_000_000_000)
    mine.write_bytes(data)
    os.utime(mine, times)
    command = verb(mine, look, out, "--workers", "2", "--progress", "json")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        told = []
        for line in process.stderr:
            told.append(line)
            if '"harmonizing"' in line and '"event": "stage"' in line:
                # Damaged before any worker has opened it: they take seconds to start.
                mine.write_bytes(data[: len(data) // 2])
                os.utime(mine, times)
    assert process.returncode == 1
    errors = [json.loads(line)["text"] for line in told if '"event": "error"' in line]
    assert all(line.startswith("{") for line in told), told
    assert len(errors) == 1 and "truncated" in errors[0], errors
    assert not out.exists()
    mine.write_bytes(data)
    os.utime(mine, times)
    go_on(mine, look, out)
    assert same(out, whole)
    assert sorted(os.listdir(tmp_path)) == ["in.tif", "out.tif"]


def test_ctrl_c_ends_the_workers_too(tall, look, whole, tmp_path):
    out = tmp_path / "out.tif"
    process = subprocess.Popen(
        verb(tall, look, out, "--workers", "2", "--progress", "json"), stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    for line in process.stderr:
        if '"harmonizing"' in line:
            deadline = time.monotonic() + 60
            while len(alive(process.pid)) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all of them
            break
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 130
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(process.pid) == []
    assert not out.exists()
    go_on(tall, look, out)
    assert same(out, whole)
    assert os.listdir(tmp_path) == ["out.tif"]


# Of the 1.57 MB of the first shard, 0.65 MB fill up its blocks; the whole has 1.86 MB.
@pytest.mark.parametrize(("limit", "kept"), [(1_300_000, []), (1_700_000, ["000000.tif"])])
def test_a_full_disk_is_told_of_and_gone_on_from(tall, look, whole, tmp_path, limit, kept):
    out = tmp_path / "out.tif"
    done = subprocess.run(
        verb(tall, look, out), capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "run the same command again" in done.stderr
    assert not out.exists()
    finished = sorted(path.name for path in shards_folder(out).glob("0*.tif"))
    assert finished[:1] == kept
    go_on(tall, look, out)
    assert same(out, whole)
    assert os.listdir(tmp_path) == ["out.tif"]
