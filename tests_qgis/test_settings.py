"""A wrong setting reaches the core as it is, and is refused in the core's own line."""

import json
import subprocess

import pytest
from conftest import CORE
from qgis.core import QgsProcessingContext, QgsProcessingException, QgsProcessingFeedback

DESCRIBED = json.loads(
    subprocess.run(
        [CORE, "-m", "geossda_cli", "describe"], check=True, capture_output=True, text=True
    ).stdout
)


def wrong_values(described):
    """Values that a dialog's widget does not take, but scripts and models can pass."""
    kind, low, high = described["kind"], described["low"], described["high"]
    if kind == "enum":
        yield "magic"
    elif kind == "texts" and described["metavar"] == "NAME=VALUE":
        yield "COMPRESS"
    elif kind == "bands":
        yield [0]
    elif kind in ("integer", "number", "distance"):
        yield "many"
        if low is not None:
            yield low - 1
        if high is not None:
            yield high + 1
        if kind == "integer":
            yield 64.5


def cases():
    for verb in DESCRIBED["verbs"]:
        for described in verb["parameters"]:
            if "default" in described:
                for value in wrong_values(described):
                    name = verb["command"], described["id"]
                    yield pytest.param(verb, described, value, id=f"{'-'.join(name)}-{value}")


@pytest.mark.parametrize(("verb", "described", "value"), list(cases()))
def test_a_wrong_value_is_written_on_the_command_line_as_it_is(provider, verb, described, value):
    """What the command line says to it is what Python says: tests/config/test_config.py."""
    from geossda_processing import arguments, values

    algorithm = provider.algorithm(verb["command"].replace("-", "")).create()
    given, context = {described["id"]: value}, QgsProcessingContext()
    _, message = algorithm.checkParameterValues(given, context)
    assert described["id"] not in message
    read = values.read(algorithm, described, given, context, QgsProcessingFeedback())
    command = arguments.build(verb, {described["id"]: read})
    shown = value if isinstance(value, list) else [value]
    assert command[1 : 2 + len(shown)] == [described["option"], *map(str, shown)]


@pytest.mark.parametrize(
    ("verb", "settings"),
    [
        ("harmonize", {"STRENGTH": 7}),
        ("harmonize", {"METHOD": "histgram"}),
        ("polygonize", {"CONNECTIVITY": "8", "REGULARIZE": "rectilinear"}),
        ("trainstyle", {"STEPS": 1.5}),
    ],
)
def test_processing_run_gives_the_line_of_the_command_line(
    qgis, listen, make_raster, tmp_path, verb, settings
):
    import processing

    town, target = make_raster(tmp_path / "town.tif"), tmp_path / "target"
    given = {"INPUT": town, "STYLE": town, "OUTPUT": str(target), **settings}
    if verb == "trainstyle":
        given["INPUT"] = [town]
    options = [part for name, value in settings.items()
               for part in (f"--{name.lower().replace('_', '-')}", str(value))]  # fmt: skip
    (command,) = (
        one["command"] for one in DESCRIBED["verbs"] if one["command"].replace("-", "") == verb
    )
    said = subprocess.run(
        [CORE, "-m", "geossda_cli", command, town, "-o", str(target), *options],
        capture_output=True,
        text=True,
    )
    assert said.returncode == 2 and said.stderr.startswith("geossda: ")
    with pytest.raises(QgsProcessingException) as refused:
        processing.run(f"geossda:{verb}", given, feedback=listen())
    assert str(refused.value) == said.stderr.removeprefix("geossda: ").strip()
    assert [path.name for path in tmp_path.iterdir()] == ["town.tif"]
