"""The private environment, made for real and offline: a wheel of the core from a folder.

What the core depends on (torch alone is gigabytes) is not installed again: it is linked in from
the project's environment, between two runs, so that the first one shows what a failure is like.
"""

import os
import shutil
import subprocess
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
    assert (site / "geossda" / "config.py").exists()
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


def test_a_python_of_the_system_is_found(qgis):
    from geossda_processing.environment import system_pythons
    from geossda_processing.install import SetupAlgorithm

    found = SetupAlgorithm()._base(None)
    assert found in system_pythons(os.environ)
