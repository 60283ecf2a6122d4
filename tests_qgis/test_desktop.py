"""The desktop under Xvfb: dialogs opened and photographed, run and cancelled by button."""

import json
import os
import subprocess

import pytest
from conftest import REPO


@pytest.fixture(scope="module")
def told(enabled, make_raster, tmp_path_factory):
    if "DISPLAY" not in os.environ:
        pytest.skip("no display: run under xvfb-run")
    folder = tmp_path_factory.mktemp("desktop")
    environment = {
        **os.environ,
        "GEOSSDA_DESKTOP": str(folder),
        "GEOSSDA_TESTS": str(REPO / "tests_qgis"),
        "GEOSSDA_RASTER": make_raster(folder / "town.tif", size=(1200, 1400)),
        "GEOSSDA_STYLE": make_raster(folder / "look.tif", seed=4),
    }
    command = [
        "qgis",
        "--nologo",
        "--noversioncheck",
        "--code",
        str(REPO / "tests_qgis/desktop.py"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (folder / "told.json").exists(), done.stderr
    return folder, json.loads((folder / "told.json").read_text())


def test_every_dialog_opens(told):
    folder, about = told
    assert "error" not in about, about["error"]
    assert len(about["dialogs"]) == 12
    for name in [
        *about["dialogs"],
        "options",
        "modeler",
        "batch",
        "harmonize_log",
        "segment_log",
        "window",
    ]:
        assert (folder / f"{name}.png").stat().st_size > 5000


def test_the_settings_page_has_its_buttons(told):
    assert {"Set up…", "Diagnostics…"} <= set(told[1]["buttons"])


def test_results_are_loaded_by_name(told):
    assert told[1]["harmonized"] == "town harmonized"
    assert told[1]["buildings"] == "town harmonized buildings"
    assert told[1]["count"] > 0


def test_the_cancel_button_ends_the_run(told):
    folder, about = told
    assert about["cancelled"] is not None and about["cancelled"] < 2
    assert [path.name for path in folder.iterdir() if "cancelled" in path.name] == []
