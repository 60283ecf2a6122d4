"""The private environment, made for real and offline: a wheel of the core from a folder.

What the core depends on (torch alone is gigabytes) is not installed again: it is linked in from
the project's environment, between two runs, so that the first one shows what a failure is like.
"""

import os
import shutil
import subprocess
import urllib.parse
import zipfile
from pathlib import Path

import pytest
from conftest import CORE, REPO


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with the core's wheel, built from a copy of the sources, and setuptools."""
    folder, source = tmp_path_factory.mktemp("whéels"), tmp_path_factory.mktemp("source")
    for name in ("geossda", "cli"):
        shutil.copytree(REPO / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source)
    # The environment's own setuptools may be older than torch asks for.
    wanted = [str(source), "setuptools>=77"]
    command = [CORE, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), *wanted]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"the wheel cannot be built here: {built.stderr.splitlines()[-1:]}")
    return folder


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory):
    """A folder of links to all that the core needs, without the core itself."""
    folder = tmp_path_factory.mktemp("dependencies")
    asked = [CORE, "-c", "import sys; print(*sys.path, sep='\\n')"]
    paths = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    for place in (Path(path) for path in paths if path.endswith("site-packages")):
        for entry in place.iterdir():
            ours = entry.name.startswith(("geossda", "__editable__")) or entry.suffix == ".pth"
            if not ours and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def test_set_up_fail_repeat_run_diagnose_repair_and_remove(
    qgis, provider, listen, make_raster, tmp_path, monkeypatch, wheels, dependencies
):
    import processing
    from geossda_processing import core
    from qgis.core import QgsProcessingException

    home = tmp_path / "my gëossda"
    monkeypatch.delenv("GEOSSDA_PYTHON")
    monkeypatch.setenv("GEOSSDA_QGIS_HOME", str(home))
    core.forget()
    base = os.path.realpath(CORE)
    given = {"WHEELS": str(wheels), "PYTHON": base}

    # Offline, with a folder that lacks what is needed: one line, and a core that says so.
    with pytest.raises(QgsProcessingException, match="No matching distribution found"):
        processing.run("geossda:setup", given, feedback=listen())
    runs, message = provider.algorithm("harmonize").canExecute()
    assert not runs and str(home) in message and "Set up geossda" in message

    # Again, over what is there.
    site = next((home / "venv").glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    heard = listen()
    made = processing.run("geossda:setup", given, feedback=heard)
    assert made["ENVIRONMENT"] == str(home / "venv")
    assert any(
        text.startswith("geossda ") and "one window predicted" in text for text in heard.infos
    )
    assert any("to download" in text and "on disk" in text for text in heard.infos)
    assert (site / "geossda" / "config" / "__init__.py").exists()
    assert [stage.split(":")[0] for stage in heard.stages] == [
        "Making the environment", "Choosing packages", "Measuring sizes", "Installing geossda",
        "Checking"]  # fmt: skip

    # It is found by itself and works.
    assert core.python() == (str(home / "venv/bin/python"), "private environment")
    out = str(tmp_path / "out.tif")
    raster = make_raster(tmp_path / "town.tif")
    given_to_core = {"INPUT": raster, "METHOD": "equalize", "OUTPUT": out}
    heard = listen()
    processing.run("geossda:harmonize", given_to_core, feedback=heard)
    assert heard.commands[0].startswith(f"'{home}/venv/bin/python'") and Path(out).exists()

    told = processing.run("geossda:diagnostics", {"OUTPUT": str(tmp_path / "d.txt")},
                          feedback=listen())  # fmt: skip
    text = Path(told["OUTPUT"]).read_text()
    assert text == told["TEXT"]
    for part in ("QGIS", "3.22", "private environment", "torch", "problem      none", "GB free"):
        assert part in text

    # Repair begins anew, so what was linked in is gone.
    with pytest.raises(QgsProcessingException, match="No matching distribution found"):
        processing.run("geossda:setup", {**given, "ACTION": "repair"}, feedback=listen())
    assert not (site / "dependencies.pth").exists()

    processing.run("geossda:setup", {"ACTION": "remove"}, feedback=listen())
    assert not (home / "venv").exists()
    runs, message = provider.algorithm("harmonize").canExecute()
    assert not runs
    core.forget()
    provider.refreshAlgorithms()


def test_set_up_can_be_cancelled(qgis, listen, tmp_path, monkeypatch, wheels):
    from geossda_processing import core
    from qgis.core import QgsApplication, QgsProcessingContext

    monkeypatch.setenv("GEOSSDA_QGIS_HOME", str(tmp_path / "home"))
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geossda:setup")
    heard = listen()
    heard.on_stage = lambda stage: heard.cancel() if stage.startswith("Making") else None
    given = {"WHEELS": str(wheels), "PYTHON": os.path.realpath(CORE)}
    results, _ = algorithm.run(given, QgsProcessingContext(), heard)
    assert results.get("ENVIRONMENT") is None and heard.stages == ["Making the environment"]
    core.forget()


def write_wheel(index, name, version, needs=()):
    """Write a wheel of nothing, with a name, a version and what it needs."""
    stem = f"{name}-{version}"
    entries = {
        f"{name}/__init__.py": f"__version__ = {version!r}\n",
        f"{stem}.dist-info/METADATA": "\n".join(
            ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}",
             "Provides-Extra: train", *(f"Requires-Dist: {need}" for need in needs)]
        ) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }  # fmt: skip
    entries[f"{stem}.dist-info/RECORD"] = "".join(f"{entry},,\n" for entry in entries)
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for entry, text in entries.items():
            archive.writestr(entry, text)
    links = "".join(
        f'<a href="{urllib.parse.quote(path.name)}">{path.name}</a>'
        for path in folder.glob("*.whl")
    )
    (folder / "index.html").write_text(f"<html><body>{links}</body></html>")


@pytest.fixture
def indexes(tmp_path, monkeypatch):
    """Two package indexes that are out of step: PyPI is a version ahead of PyTorch's own."""
    from geossda_processing import packages

    pypi, pytorch = tmp_path / "pypi", tmp_path / "pytorch"
    for index, torch, vision in ((pypi, "2.9.1", "0.24.1"), (pytorch, "2.9.0+cpu", "0.24.0+cpu")):
        write_wheel(index, "torch", torch)
        write_wheel(index, "torchvision", vision, [f"torch=={torch.partition('+')[0]}"])
    training = [f"{name} ; extra == 'train'" for name in ("torch", "torchvision")]
    write_wheel(pypi, "geossda", "0.1.0", training)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", pypi.as_uri())
    monkeypatch.setitem(packages.INDEXES, ("cpu", "linux"), (pytorch.as_uri(), "cpu"))
    monkeypatch.setenv("GEOSSDA_QGIS_HOME", str(tmp_path / "home"))


def versions_in(home):
    found = (home / "venv").glob("lib/python*/site-packages/*.dist-info")
    return {path.name.partition("-")[0]: path.name.split("-")[1].removesuffix(".dist")
            for path in found}  # fmt: skip


def test_pytorch_stays_of_one_kind_where_indexes_are_out_of_step(qgis, listen, tmp_path, indexes):
    """As pip has it, step after step; these wheels cannot run, which the check at the end finds."""
    import processing
    from qgis.core import QgsProcessingException

    given = {"PYTHON": os.path.realpath(CORE)}
    for kind, torch, vision in ((None, None, None), ("cpu", "2.9.0+cpu", "0.24.0+cpu"),
                                ("cuda", "2.9.1", "0.24.1"),
                                ("cpu", "2.9.0+cpu", "0.24.0+cpu")):  # fmt: skip
        heard = listen()
        with pytest.raises(QgsProcessingException, match="what was installed does not work"):
            kinds = {"TORCH": kind} if kind else {}  # the light one by default
            processing.run("geossda:setup", {**given, **kinds}, feedback=heard)
        installed = versions_in(tmp_path / "home")
        assert (installed.get("torch"), installed.get("torchvision")) == (torch, vision)
        assert installed["geossda"] == "0.1.0"
        sizes = [text for text in heard.infos if "to download" in text]
        assert sizes and heard.stages.index("Measuring sizes") < heard.stages.index(
            "Installing geossda"
        )


def test_an_index_of_another_kind_is_refused(qgis, listen, tmp_path, indexes, monkeypatch):
    import processing
    from geossda_processing import packages
    from qgis.core import QgsProcessingException

    pypi = os.environ["PIP_INDEX_URL"]
    monkeypatch.setitem(packages.INDEXES, ("cpu", "linux"), (pypi, "cpu"))
    given = {"PYTHON": os.path.realpath(CORE), "TORCH": "cpu"}
    with pytest.raises(QgsProcessingException, match=r"pip has chosen torch 2\.9\.1: remove"):
        processing.run("geossda:setup", given, feedback=listen())
    assert "torch" not in versions_in(tmp_path / "home")


def test_without_a_network_the_network_is_named(qgis, listen, tmp_path, indexes, monkeypatch):
    import processing
    from geossda_processing import packages
    from qgis.core import QgsProcessingException

    # Nothing listens at this port.
    monkeypatch.setitem(packages.INDEXES, ("cpu", "linux"), ("http://127.0.0.1:9/simple", "cpu"))
    given = {"PYTHON": os.path.realpath(CORE), "TORCH": "cpu"}
    with pytest.raises(QgsProcessingException, match="Choosing PyTorch failed: the package index"):
        processing.run("geossda:setup", given, feedback=listen())


def test_a_disk_without_room_is_refused_before_anything_is_downloaded(
    qgis, listen, tmp_path, indexes, monkeypatch
):
    import processing
    from geossda_processing import install
    from qgis.core import QgsProcessingException

    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: usage)
    given = {"PYTHON": os.path.realpath(CORE), "TORCH": "cpu"}
    with pytest.raises(QgsProcessingException, match="make room, or set GEOSSDA_QGIS_HOME"):
        processing.run("geossda:setup", given, feedback=listen())
    assert "torch" not in versions_in(tmp_path / "home")


def test_a_python_of_the_system_is_found(qgis):
    from geossda_processing.environment import system_pythons
    from geossda_processing.install import SetupAlgorithm

    found = SetupAlgorithm()._base(None)
    assert found in system_pythons(os.environ)
