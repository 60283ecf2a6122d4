"""The QGIS plugin's parts that need no QGIS, and the zip. The rest is tested in tests_qgis."""

import configparser
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
from conftest import REPO

import geossda
from geossda_cli.describe import VERBS, describe

PLUGIN = REPO / "qgis_plugin"


def load(name):
    """Import a module of the plugin as a part of its package."""
    if "geossda_processing" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "geossda_processing", PLUGIN / "__init__.py", submodule_search_locations=[str(PLUGIN)]
        )
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
    return importlib.import_module(f"geossda_processing.{name}")


class Feedback:
    def __init__(self):
        self.heard = []

    def __getattr__(self, name):
        return lambda value: self.heard.append((name, value))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    target = tmp_path_factory.mktemp("zip") / "geossda_processing.zip"
    subprocess.run([sys.executable, PLUGIN / "bundle.py", target], check=True, capture_output=True)
    return target


def test_zip_is_what_the_repository_of_plugins_takes(archive, tmp_path):
    assert archive.stat().st_size < 1_000_000
    with zipfile.ZipFile(archive) as held:
        names = held.namelist()
        held.extractall(tmp_path)
    assert {name.split("/")[0] for name in names} == {"geossda_processing"}
    assert all(name.endswith((".py", ".svg", ".txt", ".json", "LICENSE")) for name in names)
    folder = tmp_path / "geossda_processing"
    assert {"__init__.py", "metadata.txt", "LICENSE", "icon.svg", "description.json"} <= set(
        os.listdir(folder)
    )
    assert "bundle.py" not in os.listdir(folder)
    scan = [sys.executable, "-m", "bandit", "-q", "-f", "json", "-r", str(folder)]
    found = json.loads(subprocess.run(scan, capture_output=True, text=True).stdout)
    assert (found["results"], found["errors"]) == ([], [])


def test_zip_holds_the_cores_own_description(archive):
    with zipfile.ZipFile(archive) as held:
        told = json.loads(held.read("geossda_processing/description.json"))
    assert told["version"] == geossda.__version__
    assert told["verbs"] == json.loads(json.dumps([describe(name) for name in VERBS]))


def test_metadata_is_complete_and_of_the_same_version():
    read = configparser.ConfigParser(interpolation=None)
    read.read(PLUGIN / "metadata.txt", encoding="utf-8")
    told = read["general"]
    for name in ("name", "description", "about", "author", "email", "tracker", "repository",
                 "homepage", "tags", "category", "license", "changelog"):  # fmt: skip
        assert told[name]
    assert told["version"] == geossda.__version__
    assert (told["qgisMinimumVersion"], told["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert told["hasProcessingProvider"] == "yes"
    assert (PLUGIN / told["icon"]).exists()


def test_help_page_has_a_part_for_each_algorithm():
    page = (REPO / "docs" / "qgis.md").read_text().splitlines()
    parts = {line.lstrip("#").strip().lower() for line in page if line.startswith("#")}
    assert {name.replace("-", "") for name in VERBS} | {"set-up", "trouble"} <= parts


def test_python_asked_for_is_the_packages():
    import tomllib

    from geossda_cli.describe import PYTHON

    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={PYTHON}"


def test_environment_is_cleaned():
    cleaned = load("environment").cleaned
    given = {
        "PATH": os.pathsep.join(["/opt/qgis/bin", "/usr/bin"]), "HOME": "/home/x",
        "PYTHONHOME": "q", "PYTHONPATH": "q", "GDAL_DATA": "q", "PROJ_LIB": "q", "PROJ_DATA": "q",
        "QT_PLUGIN_PATH": "q", "QGIS_PREFIX_PATH": "q", "LD_LIBRARY_PATH": "q", "VIRTUAL_ENV": "q",
        "HTTPS_PROXY": "kept", "PIP_INDEX_URL": "kept",
    }  # fmt: skip
    assert cleaned(given, ["/opt/qgis", ""]) == {
        "PATH": "/usr/bin", "HOME": "/home/x", "HTTPS_PROXY": "kept", "PIP_INDEX_URL": "kept",
        "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def test_the_core_is_found_in_order(tmp_path):
    environment = load("environment")
    scripts = tmp_path / "a päth with spaces"
    scripts.mkdir()
    script = scripts / "geossda"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)
    environ = {"PATH": str(scripts), "GEOSSDA_QGIS_HOME": str(tmp_path / "hömé")}
    assert environment.find_core(environ, "") == (sys.executable, "path")
    private = environment.private_python(environ)
    private.parent.mkdir(parents=True)
    private.touch()
    assert environment.find_core(environ, "") == (str(private), "private environment")
    assert environment.find_core(environ, "/set") == ("/set", "settings")
    environ["GEOSSDA_PYTHON"] = "/told"
    assert environment.find_core(environ, "/set") == ("/told", "GEOSSDA_PYTHON")
    assert environment.find_core({"PATH": "", "GEOSSDA_QGIS_HOME": "/none"}, "") == ("", "path")


def test_arguments():
    build = load("arguments").build
    values = {"INPUT": "a b.tif", "MORE_INPUTS": ["c.tif"], "STYLE": "s.tif",
              "STYLE_FILE": "l.json", "METHOD": "histogram", "STRUCTURE": "lock", "STRENGTH": 1.0,
              "BIDX": [3, 1],
              "NODATA": 0.0, "EXTENT": [-1.5, 2.0, 3.25, 4.0, "EPSG:4326"], "TILE": 512,
              "CO": ["A=1", "B=2"], "OUTPUT": "o.tif", "MORE_STYLES": None}  # fmt: skip
    assert build(describe("harmonize"), values) == [
        "harmonize", "a b.tif", "c.tif", "--style", "s.tif", "--style", "l.json",
        "--method", "histogram", "--bidx", "3", "--bidx", "1", "--nodata", "0",
        "--bounds", "-1.5", "2", "3.25", "4", "--bounds-crs", "EPSG:4326", "--tile", "512",
        "--co", "A=1", "--co", "B=2", "--output", "o.tif", "--overwrite", "--no-resume",
    ]  # fmt: skip
    flags = {"INPUT": ["a"], "TEACH": False, "JITTER": True, "OUTPUT": "o"}
    assert build(describe("train-segmenter"), flags) == [
        "train-segmenter", "a", "--no-teach", "--output", "o", "--overwrite",
    ]  # fmt: skip


def test_messages():
    messages = load("messages")
    feedback = Feedback()
    listener = messages.Listener(feedback)
    lines = messages.Lines(listener.err)
    for part in (b'{"event": "process", "id": 7}\n{"event": "st',
                 b'age", "stage": "s", "total": 4}\n',
                 b'{"event": "progress", "stage": "s", "done": 1, "total": 4}\n',
                 b'{"event": "note", "text": "n"}\r\n{"event": "warning", "text": "w\xc3\xa4"}\n',
                 b'[1]\nsomething else\ngeossda: it failed'):  # fmt: skip
        lines.feed(part)
    lines.end()
    assert listener.pid == 7
    assert listener.error == "it failed"
    assert feedback.heard == [
        ("setProgressText", "s"), ("setProgress", 0), ("setProgress", 25.0), ("pushInfo", "n"),
        ("pushWarning", "wä"), ("pushConsoleInfo", "[1]"), ("pushConsoleInfo", "something else"),
        ("pushConsoleInfo", "geossda: it failed"),
    ]  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="process groups of POSIX")
def test_a_child_ends_with_its_children_when_nobody_listens():
    """As when QGIS itself is killed: the end of standard input is the end of the group."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    child = subprocess.Popen(
        [sys.executable, PLUGIN / "launch.py", "timeit", "-n1", "-r1", code],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    told = json.loads(child.stderr.readline())
    assert told == {"event": "process", "id": child.pid}
    assert os.getpgid(child.pid) == child.pid
    child.stdin.close()
    assert child.wait(10) == -signal.SIGTERM
    child.stderr.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("a child of the child is still there")
