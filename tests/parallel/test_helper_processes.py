"""Helper processes compute what threads would, in order, and end with whoever started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from geossda import polygonize
from geossda.errors import BandError
from geossda.parallel import helper_processes
from geossda.parallel.helper_processes import HelperProcesses, can_start

PARENT = os.getpid()
SCRIPT = """
import sys
import geossda
print("begun")
print(geossda.polygonize(sys.argv[1], sys.argv[2], regularize="rectilinear", workers=2).buildings)
"""
ENDLESS = """
import itertools
from geossda.parallel.helper_processes import HelperProcesses
for pid in HelperProcesses(2).map(eval, itertools.repeat("__import__('os').getpid()")):
    print(pid, flush=True)
"""


def square(number):
    print("printed where results are written")
    return number**2, os.getpid()


def fail(number):
    if number == 3:
        raise BandError("three bands")
    if number == 5:
        raise KeyError(number)

    class Local(Exception):
        pass

    if number == 7:
        raise Local("seven")
    return number


def die(number):
    if os.getpid() != PARENT and number == 3:
        os._exit(9)
    return number


def only_here(number):
    if os.getpid() != PARENT:
        raise ValueError("not in a helper")
    return number


def sleep(seconds):
    time.sleep(seconds)
    return os.getpid()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not state.stdout.startswith("Z")


def wait_until(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    assert condition()


def test_results_come_in_order_from_other_processes():
    results = list(HelperProcesses(2).map(square, range(20)))
    assert [value for value, _ in results] == [number**2 for number in range(20)]
    pids = {pid for _, pid in results}
    assert len(pids) <= 2 and PARENT not in pids
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize(
    ("last", "kind", "text"),
    [(4, BandError, "three bands"), (6, KeyError, "5"), (8, Exception, "seven")],
)
def test_errors_come_back(last, kind, text):
    items = [number for number in range(last) if number in (0, 1, 2, last - 1)]
    with pytest.raises(kind, match=text):
        list(HelperProcesses(2).map(fail, items))


def test_what_a_lost_helper_was_to_do_is_done_here():
    assert list(HelperProcesses(1).map(die, range(6))) == list(range(6))


def test_what_helpers_cannot_do_is_done_here():
    assert list(HelperProcesses(2).map(only_here, range(8))) == list(range(8))


def test_helpers_that_cannot_be_started_are_done_without(monkeypatch):
    start, started = subprocess.Popen, []

    def limited(*given, **settings):
        if len(started) == 1:
            raise OSError("no more processes")
        started.append(start(*given, **settings))
        return started[-1]

    monkeypatch.setattr(helper_processes.subprocess, "Popen", limited)
    results = list(HelperProcesses(3).map(square, range(12)))
    assert [value for value, _ in results] == [number**2 for number in range(12)]
    assert {pid for _, pid in results} <= {PARENT, started[0].pid}
    assert started[0].poll() is not None


def test_a_raster_in_memory_is_shaped_here(many_buildings, tmp_path):
    with rasterio.MemoryFile(many_buildings.read_bytes()) as file:
        written = polygonize(file.name, tmp_path / "a.gpkg", regularize="rectilinear",
                             split=True, workers=2)  # fmt: skip
    plain = polygonize(many_buildings, tmp_path / "b.gpkg", regularize="rectilinear",
                       split=True, workers=1)  # fmt: skip
    assert (written.buildings, written.area_m2) == (plain.buildings, plain.area_m2)


@pytest.mark.parametrize("settings", [{"PYTHONWARNINGS": "error"}, {"PYTHONDEVMODE": "1"}])
def test_warnings_of_python_stay_inside(settings, many_buildings, tmp_path):
    ran = subprocess.run(
        [Path(sys.executable).with_name("geossda"), "polygonize", many_buildings, "-o",
         tmp_path / "a.gpkg", "--regularize", "rectilinear", "--split", "--workers", "2"],
        env={**os.environ, **settings}, capture_output=True, text=True,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_closed_standard_error_does_no_harm(many_buildings, tmp_path):
    program = Path(sys.executable).with_name("geossda")
    ran = subprocess.run(
        ["sh", "-c", '"$@" 2>&-', "sh", program, "polygonize", many_buildings, "-o",
         tmp_path / "a.gpkg", "--regularize", "rectilinear", "--split", "--workers", "2"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0 and "buildings" in ran.stdout


def test_stopping_ends_helpers_at_work():
    helpers = HelperProcesses(2)
    results = helpers.map(sleep, [0, 0, 300, 300])
    pids = {next(results), next(results)}
    helpers.stop()
    assert not any(map(is_alive, pids))
    with pytest.raises(helper_processes._FailedError):
        next(results)


def test_leaving_the_map_ends_helpers():
    results = HelperProcesses(2).map(sleep, [0, 0, 0, 0, 0])
    pid = next(results)
    results.close()
    assert not is_alive(pid)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_helpers_end_with_whoever_started_them(end):
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        pids = {int(parent.stdout.readline()) for _ in range(4)}
        assert all(map(is_alive, pids)) and parent.pid not in pids
        parent.send_signal(end)
        parent.wait(30)
    wait_until(lambda: not any(map(is_alive, pids)))


@pytest.mark.parametrize(
    ("program", "known"),
    [("/usr/bin/python3", True), ("C:/envs/a/python.exe", True), ("C:/envs/pythonw.exe", True),
     ("/opt/python3.13", True), ("/opt/pypy3", True), ("C:/QGIS/bin/qgis-bin.exe", False),
     ("C:/ArcGIS/ArcGISPro.exe", False), ("", False), (None, False)],
)  # fmt: skip
def test_programs_with_python_built_in_are_not_started(program, known, monkeypatch):
    monkeypatch.setattr(sys, "executable", program)
    assert can_start() is known


@pytest.fixture
def many_buildings(make_raster, tmp_path):
    """300 buildings, some of which touch."""
    rng = np.random.default_rng(0)
    image = np.zeros((1, 440, 660), np.uint8)
    for row in range(15):
        for col in range(20):
            height, width = rng.integers(12, 29, 2)
            top, left = 28 * row + 5, 32 * col + 5
            image[0, top : top + height, left : left + width] = 1
    return make_raster(tmp_path / "mask.tif", image=image)


def test_footprints_are_the_same_by_helpers_and_alone(many_buildings, tmp_path, monkeypatch):
    maps = []
    run = HelperProcesses.map
    monkeypatch.setattr(HelperProcesses, "map", lambda *given: maps.append(0) or run(*given))
    made = {}
    for workers in (1, 2):
        path = tmp_path / f"{workers}.gpkg"
        polygonize(many_buildings, path, regularize="rectilinear", split=True, workers=workers)
        made[workers] = gpd.read_file(path, layer="buildings")
        assert len(maps) == workers - 1
    assert len(made[1]) > 250
    assert made[1].equals(made[2])


def test_modules_in_the_working_directory_are_not_imported(many_buildings, tmp_path):
    for name in ("pickle", "queue", "numpy", "cv2"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the folder')")
    ran = subprocess.run(
        [Path(sys.executable).with_name("geossda"), "polygonize", many_buildings, "-o", "a.gpkg",
         "--regularize", "rectilinear", "--workers", "2"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "buildings" in ran.stdout


def test_few_footprints_need_no_helpers(make_raster, tmp_path, monkeypatch):
    image = np.zeros((1, 60, 60), np.uint8)
    image[0, 10:40, 10:40] = 1
    source = make_raster(tmp_path / "mask.tif", image=image)
    monkeypatch.setattr(HelperProcesses, "map", None)
    polygonize(source, tmp_path / "a.gpkg", regularize="rectilinear", workers=2)


def test_a_script_without_a_main_guard_runs_once(many_buildings, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, script, many_buildings, tmp_path / "a.gpkg"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    begun, buildings = ran.stdout.split()
    assert begun == "begun" and int(buildings) > 200
    assert not ran.stderr
