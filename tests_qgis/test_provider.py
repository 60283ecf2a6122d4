"""The provider loads, and each algorithm is what QGIS and the core's description ask for."""

import ast
import json
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
from conftest import CORE, REPO

VERBS = {"align", "evaluate", "harmonize", "matrix", "polygonize", "report", "scenes", "segment",
         "style", "trainsegmenter", "trainstyle"}  # fmt: skip
OWN = {"setup", "diagnostics"}


@pytest.fixture(scope="session")
def described():
    told = subprocess.run([CORE, "-m", "geossda_cli", "describe"], capture_output=True, check=True)
    verbs = json.loads(told.stdout)["verbs"]
    return {verb["command"].replace("-", ""): verb for verb in verbs}


def test_names(provider, described):
    assert {algorithm.name() for algorithm in provider.algorithms()} == VERBS | OWN
    assert set(described) == VERBS
    assert provider.supportedOutputRasterLayerExtensions() == ["tif"]
    assert provider.supportedOutputVectorLayerExtensions() == ["gpkg", "fgb", "geojson"]
    assert provider.defaultVectorFileExtension() == "gpkg"


@pytest.mark.parametrize("name", sorted(VERBS | OWN))
def test_qgis_rules(provider, name):
    """What QGIS's own tests of its algorithms look at."""
    from qgis.core import QgsProcessingParameters

    algorithm = provider.algorithm(name)
    assert re.fullmatch("[a-z]+", algorithm.name())
    assert algorithm.id() == f"geossda:{name}"
    assert re.fullmatch("[a-z]+", algorithm.groupId()) and algorithm.group()
    assert algorithm.displayName() and algorithm.shortHelpString().startswith("<p>")
    assert algorithm.helpUrl().startswith("https://")
    assert not algorithm.icon().isNull()
    assert algorithm.canExecute() == (True, "")
    copy = algorithm.create()
    assert type(copy) is type(algorithm) and copy is not algorithm
    ids = [parameter.name() for parameter in algorithm.parameterDefinitions()]
    assert ids == [parameter.name() for parameter in copy.parameterDefinitions()]
    assert len(set(ids)) == len(ids)
    for parameter in algorithm.parameterDefinitions():
        assert re.fullmatch("[A-Z][A-Z0-9_]*", parameter.name())
        assert parameter.description()
        value = parameter.defaultValue()
        optional = bool(parameter.flags() & parameter.Flag.FlagOptional)
        if value is not None:
            assert parameter.checkValueIsAcceptable(value), parameter.name()
        assert parameter.checkValueIsAcceptable(None) == (optional or value is not None)
        again = QgsProcessingParameters.parameterFromVariantMap(parameter.toVariantMap())
        assert again.name() == parameter.name() and again.type() == parameter.type()
        code = parameter.asPythonString()
        ast.parse(code)
    outputs = [output.name() for output in algorithm.outputDefinitions()]
    assert len(set(outputs)) == len(outputs) and outputs


def test_dialogs_ask_for_what_the_core_describes(provider, described):
    for name, verb in described.items():
        algorithm = provider.algorithm(name)
        shown = {parameter.name(): parameter for parameter in algorithm.parameterDefinitions()}
        assert set(shown) == {told["id"] for told in verb["parameters"]}
        for told in verb["parameters"]:
            parameter = shown[told["id"]]
            flags = parameter.flags()
            assert bool(flags & parameter.Flag.FlagOptional) == told["optional"]
            assert bool(flags & parameter.Flag.FlagAdvanced) == told["advanced"]
            assert parameter.help() == told["help"]
            if told["kind"] in ("enum", "boolean", "integer", "number", "distance"):
                assert parameter.defaultValue() == told["default"]
            if told["kind"] == "enum":
                assert parameter.options() == told["choices"] and parameter.usesStaticStrings()
            for limit, method in (("low", "minimum"), ("high", "maximum")):
                if told["kind"] in ("integer", "number", "distance") and told[limit] is not None:
                    assert getattr(parameter, method)() == told[limit]


@pytest.mark.parametrize("word", ["mosaic", "house", "deep learning", "histogram match",
                                  "color balance", "digitize", "regularize"])  # fmt: skip
def test_words_that_people_search_by(provider, word):
    """QGIS looks for them in names and tags."""
    texts = [" ".join([a.displayName(), *a.tags()]).lower() for a in provider.algorithms()]
    assert any(word in text for text in texts)
    assert all(algorithm.tags() for algorithm in provider.algorithms())


def test_labels_say_units_and_numbers_have_few_decimals(provider):
    segment = provider.algorithm("segment")
    labels = {p.name(): p.description() for p in segment.parameterDefinitions()}
    assert labels["MIN_AREA"] == "Smallest building (m²)"
    assert labels["TOLERANCE"] == "Walls may move by (m)"
    assert labels["EXTENT"] == "Extent"
    extent = segment.parameterDefinition("EXTENT")
    assert "xmin, xmax, ymin, ymax" in extent.help()
    for name in ("THRESHOLD", "MIN_AREA", "TOLERANCE"):
        wrapper = segment.parameterDefinition(name).metadata()["widget_wrapper"]
        assert wrapper["decimals"] <= 2


def test_no_help_speaks_of_the_command_line(provider):
    for algorithm in provider.algorithms():
        texts = [algorithm.shortHelpString(), *(p.help() for p in algorithm.parameterDefinitions())]
        options = [text for text in texts if re.search(r"--[a-z]", text)]
        assert options == [] or algorithm.name() == "setup"


@pytest.fixture
def altered_core(tmp_path):
    """A core like the project's, without the setting `feather`; gives its Python."""
    for name, called in (("geossda", "geossda"), ("cli", "geossda_cli")):
        shutil.copytree(
            REPO / name, tmp_path / called, ignore=shutil.ignore_patterns("*.safetens*")
        )
    pattern = re.compile(r"\n    feather: int = setting\(.*?\n    \)", re.S)
    holding = [
        file for file in (tmp_path / "geossda" / "config").glob("*.py")
        if pattern.search(file.read_text())
    ]  # fmt: skip
    assert len(holding) == 1
    holding[0].write_text(pattern.sub("", holding[0].read_text(), count=1))
    venv.create(tmp_path / "venv", symlinks=True)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    asked = [
        CORE,
        "-c",
        "import click, os; print(os.path.dirname(os.path.dirname(click.__file__)))",
    ]
    packages = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    (site / "altered.pth").write_text(f"{tmp_path}\n{packages}\n")
    return tmp_path / "venv" / "bin" / "python"


def test_a_setting_removed_from_the_core_is_gone_from_the_dialog(
    provider, altered_core, monkeypatch
):
    from geossda_processing import core

    assert provider.algorithm("harmonize").parameterDefinition("FEATHER") is not None
    with monkeypatch.context() as patch:
        patch.setenv("GEOSSDA_PYTHON", str(altered_core))
        core.forget()
        provider.refreshAlgorithms()
        assert provider.algorithm("harmonize").parameterDefinition("FEATHER") is None
        assert provider.algorithm("harmonize").parameterDefinition("TILE") is not None
    core.forget()
    provider.refreshAlgorithms()
    assert provider.algorithm("harmonize").parameterDefinition("FEATHER") is not None


def test_without_a_core_the_dialogs_are_the_bundled_description(
    provider, plugins, tmp_path, monkeypatch
):
    from geossda_processing import core

    monkeypatch.delenv("GEOSSDA_PYTHON")
    monkeypatch.setenv("GEOSSDA_QGIS_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    core.forget()
    assert core.python() == ("", "path")
    bundled = json.loads((Path(plugins) / "geossda_processing/description.json").read_text())
    assert core.description() == bundled
    runs, message = provider.algorithm("harmonize").canExecute()
    assert not runs and "Set up geossda" in message
    core.forget()


@pytest.mark.parametrize("kind", ["no geossda", "missing", "no Python", "too old", "too new"])
def test_wrong_interpreter(provider, listen, make_raster, tmp_path, monkeypatch, kind):
    from geossda_processing import core
    from qgis.core import QgsProcessingContext

    script = tmp_path / "pythön"
    newer = 'echo \'{"format": 99, "version": "9.0"}\''
    older = "echo \"Error: No such command 'describe'.\" >&2; exit 2"
    lines = {"too old": older, "too new": newer}
    if kind in lines:
        script.write_text(f"#!/bin/sh\n{lines[kind]}\n")
        script.chmod(0o755)
    chosen = {"no geossda": "/usr/bin/python3", "no Python": "/bin/false"}.get(kind, str(script))
    monkeypatch.setenv("GEOSSDA_PYTHON", chosen)
    core.forget()
    algorithm = provider.algorithm("harmonize").create()
    runs, message = algorithm.canExecute()
    assert not runs and "\n" not in message
    expected = {"no geossda": "No module named", "missing": "cannot run", "no Python": "cannot run",
                "too old": "No such command", "too new": "9.0"}[kind]  # fmt: skip
    assert expected in message
    heard = listen()
    town = make_raster(tmp_path / "town.tif")
    given = {"INPUT": town, "METHOD": "equalize", "OUTPUT": str(tmp_path / "out.tif")}
    _, well = algorithm.run(given, QgsProcessingContext(), heard)
    assert not well and not (tmp_path / "out.tif").exists()
    assert heard.errors == [message]
    core.forget()
