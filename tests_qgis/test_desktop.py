"""The desktop under Xvfb: dialogs opened and photographed, run and cancelled by button."""

import json
import os
import subprocess

import pytest
from conftest import REPO


@pytest.fixture(scope="module")
def seen(enabled, make_raster, tmp_path_factory):
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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert (folder / "seen.json").exists(), done.stderr
    return folder, json.loads((folder / "seen.json").read_text())


def test_every_dialog_opens(seen):
    folder, about = seen
    assert "error" not in about, about["error"]
    assert len(about["dialogs"]) == 13
    for name in [
        *about["dialogs"],
        "options",
        "options_setup",
        "modeler",
        "modeler_harmonize",
        "batch",
        "evaluate_layers",
        "harmonize_log",
        "segment_area",
        "segment_log",
        "window",
    ]:
        assert (folder / f"{name}.png").stat().st_size > 5000


def test_the_menu_opens_the_options_at_the_settings_page(seen):
    assert seen[1]["buttons"] == ["Set up…", "Diagnostics…"]


def test_results_are_loaded_by_name(seen):
    assert seen[1]["harmonized"] == "town harmonized"
    assert seen[1]["count"] > 0


def test_compare_starts_with_no_layer_and_not_with_one_as_both(seen):
    assert seen[1]["compared"] == [None, None, None]


def test_the_area_is_a_layer_of_which_selected_features_count(seen):
    assert seen[1]["area"] == [True, True]


def test_layers_of_a_run_are_one_group_with_buildings_on_top(seen):
    group, *rest = seen[1]["tree"]
    assert group == ["town harmonized – find buildings",
                     ["town harmonized buildings", "town harmonized probabilities",
                      "town harmonized mask of buildings"]]  # fmt: skip
    assert rest == ["town harmonized", "town", "look"]


def test_what_the_options_open_takes_input(seen):
    """Modal over the options, which are modal themselves; else its buttons are dead."""
    assert seen[1]["modal"] == "Set up geossda"


def test_choices_show_words_and_give_values(seen):
    assert seen[1]["method"] == ["Histogram matching", "histogram"]
    assert seen[1]["modeler method"] == ["histogram"]


def test_few_parameters_stand_above_the_fold(seen):
    names = {"INPUT", "FOOTPRINTS", "AREA", "TARGET", "ADAPT", "GSD", "STEPS", "OUTPUT"}
    assert names <= set(seen[1]["above the fold"]) and len(seen[1]["above the fold"]) <= 12


def test_there_is_a_menu_and_a_toolbar_button(seen):
    for place in ("menu", "button"):
        texts = [text for text in seen[1][place] if text]
        assert texts[:2] == ["Harmonize…", "Find buildings…"]
        assert {"Set up geossda…", "Options…"} <= set(texts)
    assert seen[1]["from the menu"] == [True]


def test_the_cancel_button_ends_the_run(seen):
    folder, about = seen
    assert about["cancelled"] is not None and about["cancelled"] < 2
    assert [path.name for path in folder.iterdir() if "cancelled" in path.name] == []
