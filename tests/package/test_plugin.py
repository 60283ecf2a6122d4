"""The QGIS plugin's parts that need no QGIS, and the zip. The rest is tested in tests_qgis."""

import configparser
import functools
import http.server
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
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
    flags = {"INPUT": ["a"], "MEAN_TEACHER": False, "JITTER": True, "OUTPUT": "o"}
    assert build(describe("train-segmenter"), flags) == [
        "train-segmenter", "a", "--no-mean-teacher", "--output", "o", "--overwrite",
    ]  # fmt: skip
    added = {"INPUT": "a.tif", "APPEND": True, "OUTPUT": "o.gpkg"}
    assert build(describe("polygonize"), added) == [
        "polygonize", "a.tif", "--append", "--output", "o.gpkg",
    ]  # fmt: skip


def test_the_zip_is_built_without_what_the_core_needs():
    """By click alone: nobody installs PyTorch to build 50 kB."""
    code = (
        f"import sys; sys.path.insert(0, {str(PLUGIN)!r}); import bundle; bundle.contents(); "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert {"click", "geossda", "geossda_cli"} <= loaded
    assert not loaded & {"torch", "numpy", "rasterio", "pyogrio", "shapely", "scipy"}


def test_rules_between_inputs():
    broken = load("rules").broken
    rules = describe("harmonize")["rules"]
    given = {"METHOD": "histogram", "STYLE": False, "MORE_STYLES": False, "STYLE_FILE": False}
    assert broken(rules, given).startswith("choose a Reference")
    assert broken(rules, {**given, "STYLE_FILE": True}) == ""
    assert broken(rules, {**given, "METHOD": "equalize"}) == ""
    rules = describe("evaluate")["rules"]
    both = {"FOUND": True, "TRUE_RASTER": True}
    assert broken(rules, both) == ""
    assert broken(rules, {"TRUE": True}) == "choose the buildings to check"
    assert broken(rules, {**both, "TRUE": True}) == "choose the true buildings"
    assert "one area" in broken(rules, {**both, "AREA": True, "AREA_RASTER": True})


@pytest.mark.parametrize("method", ["grayworld", "equalize"])
def test_methods_that_need_no_reference_run_without_one(method, make_raster, tmp_path):
    """What the rule of the dialog rests on."""
    source = make_raster(tmp_path / "town.tif")
    geossda.harmonize(source, tmp_path / "out.tif", config=geossda.HarmonizeConfig(method=method))


@pytest.mark.parametrize(
    ("command", "message", "expected"),
    [
        ("harmonize", "harmonizing needs a style: give --style REF",
         "harmonizing needs a style: give “Reference”"),
        ("harmonize", "draw them with --scenes FILE|none, or run on --device cpu",
         "draw them with “Outlines of scenes”, or run on “Run on: Processor”"),
        ("polygonize", "use --regularize none without --split",
         "use “Outlines: Follow pixels” without “Separate touching buildings”"),
        ("segment", "name them with --bidx 3,2,1",
         "name them with “Bands the model takes, in its order: 3,2,1”"),
        ("train-style", "give a file with --vgg FILE, or --perceptual 0",
         "give a file with “VGG16 weights”, or “Weight of the perceptual loss: 0”"),
        ("segment", "it has no CRS: give it one with gdal_edit.py -a_srs EPSG:32633 town.tif",
         "it has no CRS: give it one with Layer CRS, Set Layer CRS in the layer's context menu"),
        ("segment", "no layer 'x' to append to: --overwrite adds it and keeps the others",
         "no layer 'x' to append to: leave out “Add to existing GeoPackage layer”, which adds it "
         "and keeps the others"),
        ("segment", "no option of ours: --frobnicate 3", "no option of ours: --frobnicate 3"),
    ],
)  # fmt: skip
def test_messages_speak_of_the_dialog(command, message, expected):
    reworded = load("rules").in_dialog_words(message, describe(command)["parameters"])
    assert reworded == expected


@pytest.mark.parametrize(("command", "verb"), [("segment", geossda.segment),
                                               ("polygonize", geossda.polygonize)])  # fmt: skip
def test_a_missing_crs_is_given_in_qgis(command, verb, make_raster, tmp_path):
    """The core's own message, in the words of QGIS."""
    source = make_raster(tmp_path / "nowhere.tif", crs=None, bands=3 if command == "segment" else 1)
    with pytest.raises(geossda.GeossdaError) as caught:
        verb(source, tmp_path / "out.gpkg")
    reworded = load("rules").in_dialog_words(str(caught.value), describe(command)["parameters"])
    assert "gdal_edit" not in reworded and "assign one with Layer CRS" in reworded


def test_pytorch_comes_from_one_index(tmp_path):
    packages = load("packages")
    request = packages.request("cpu", "linux", "geossda", ["--proxy", "p"])
    choose = packages.choose_torch(request, tmp_path / "report.json")
    assert choose[choose.index("--index-url") + 1] == "https://download.pytorch.org/whl/cpu"
    assert "--extra-index-url" not in choose and choose[-2:] == ["torch", "torchvision"]

    def report(torch, torchvision):
        versions = {"torch": torch, "torchvision": torchvision, "numpy": "2.1"}
        entries = [{"metadata": {"name": n, "version": v}} for n, v in versions.items()]
        (tmp_path / "report.json").write_text(json.dumps({"install": entries}))
        return packages.pins(request, tmp_path / "report.json")

    pins = report("2.9.1+cpu", "0.24.1+cpu")
    assert pins == ["torch==2.9.1+cpu", "torchvision==0.24.1+cpu"]
    with pytest.raises(ValueError, match=r"torchvision 0.24.1: remove other indexes"):
        report("2.9.1+cpu", "0.24.1")
    install = packages.install(request, "pins.txt")
    assert install[install.index("--constraint") + 1] == "pins.txt"
    assert install[-3:] == ["torch", "torchvision", "geossda[train]"]
    # PyPI's own are of one kind; a folder of wheels is the only source there is.
    request = packages.request("cuda", "linux", "geossda")
    assert not request["index"] and "--index-url" not in packages.install(request)
    offline = packages.install(packages.request("cpu", "linux", "geossda", [], "/wheels"))
    assert "--no-index" in offline and "torch" not in offline and offline[-1] == "geossda[train]"
    # Most do without PyTorch, with a network or from a folder.
    for wheels in ("", "/wheels"):
        light = packages.request("light", "linux", "geossda", [], wheels)
        assert not light["index"] and light["packages"] == ["geossda"]


def test_what_pip_fails_for():
    reason = load("packages").reason
    no_match = "No matching distribution found for torch"
    lines = ["WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError("
             "<HTTPSConnection>: Failed to establish a new connection: [Errno -3] Temporary "
             "failure in name resolution)': /whl/cpu/torch/"]  # fmt: skip
    assert "network" in reason(lines, no_match) and "torch" not in reason(lines, no_match)
    assert reason(["ERROR: " + no_match], no_match) == no_match


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves parts of files, as package indexes do."""

    def do_GET(self):
        data = pathlib.Path(self.translate_path(self.path)).read_bytes()
        start, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
        first = max(0, len(data) - int(end)) if not start else int(start)
        last = len(data) - 1 if not start else int(end)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[first : last + 1])
        self.server.sent += last + 1 - first

    def log_message(self, *arguments):
        pass


def test_sizes_are_those_of_the_wheels_and_little_is_fetched(tmp_path):
    wheel = tmp_path / "big-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lib.so", os.urandom(3_000_000))
        archive.writestr("zeros.bin", bytes(2_000_000))
        archive.writestr("code.py", b"x = 1\n" * 1000)
    handler = functools.partial(Ranges, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.sent = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urls = [f"http://127.0.0.1:{server.server_port}/{wheel.name}", wheel.as_uri(),
            (tmp_path / "missing.whl").as_uri(), (tmp_path / "source").as_uri()]  # fmt: skip
    entries = [{"download_info": {"url": url}, "metadata": {"name": f"p{number}"}}
               for number, url in enumerate(urls)]  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps({"install": entries}))
    command = [sys.executable, PLUGIN / "sizes.py", tmp_path / "report.json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    server.shutdown()
    server.server_close()
    figures = json.loads(done.stdout)
    # What pip compiles lies there twice.
    disk, download = 2 * (3_000_000 + 2_000_000 + 2 * 6000), 2 * wheel.stat().st_size
    assert figures == {"packages": 4, "download": download, "disk": disk, "unknown": ["p2"]}
    assert server.sent < 300_000
    text = load("packages").describe_sizes(figures, 5e9)
    assert "4 packages: 0.0 GB to download" in text and "not counting p2" in text


def test_what_set_up_installs_can_run_both_networks():
    """The check at its end: with this project's own environment it passes."""
    done = subprocess.run([sys.executable, PLUGIN / "selfcheck.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "one tile harmonized, one window predicted" in done.stdout


def test_every_output_of_polygons_names_its_layer():
    """In a GeoPackage that holds others the plugin would load the first one."""
    ports = [port for name in VERBS for port in describe(name)["parameters"]]
    outputs = [port["layer"] for port in ports if port["kind"] == "vector_out"]
    assert outputs and all(outputs)


def test_messages():
    messages = load("messages")
    feedback = Feedback()
    listener = messages.Listener(feedback, reword=str.upper)
    lines = messages.Lines(listener.err)
    listener.err('{"event": "stage", "stage": "of several", "total": 2, "run": 0.25}')
    listener.err('{"event": "progress", "stage": "of several", "done": 1, "total": 2, "run": 0.5}')
    shown = [("setProgressText", "Of several"), ("setProgress", 25.0), ("setProgress", 50.0)]
    assert feedback.heard == shown
    feedback.heard.clear()
    for part in (b'{"event": "process", "id": 7}\n{"event": "st',
                 b'age", "stage": "s", "total": 4}\n',
                 b'{"event": "progress", "stage": "s", "done": 1, "total": 4}\n',
                 b'{"event": "note", "text": "n"}\r\n{"event": "warning", "text": "w\xc3\xa4"}\n',
                 b'[1]\nsomething else\ngeossda: it failed'):  # fmt: skip
        lines.feed(part)
    lines.end()
    assert listener.pid == 7
    assert listener.error == "IT FAILED"
    listener.err('{"event": "error", "text": "as an event"}')
    assert listener.error == "AS AN EVENT"
    assert list(listener.lines) == ["[1]", "something else", "geossda: it failed"]
    listener.out("{")
    messages.Listener(feedback, quiet=True).out("}")
    assert feedback.heard.pop() == ("pushInfo", "{")
    assert feedback.heard == [
        ("setProgressText", "S"), ("setProgress", 0), ("setProgress", 25.0), ("pushInfo", "N"),
        ("pushWarning", "WÄ"), ("pushConsoleInfo", "[1]"), ("pushConsoleInfo", "something else"),
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
