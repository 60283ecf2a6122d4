"""Configs check their values; Python and the command line refuse wrong ones in the same line."""

import dataclasses
import inspect
import json
import math
import typing
from pathlib import Path

import click
import numpy as np
import pytest

import geossda
from geossda import config
from geossda.config import HarmonizeConfig, PolygonizeConfig, SegmentConfig, config_from, kind_of
from geossda.errors import SettingError
from geossda_cli import main as command_line

# Function, the command of the same settings, and arguments that both require.
CALLS = {
    "align": ("align", 3, config.AlignConfig),
    "benchmark_paper": ("benchmark paper", 3, config.PaperBenchmarkConfig),
    "benchmark_places": ("benchmark places", 2, config.BenchmarkConfig),
    "benchmark_transfer": ("benchmark transfer", 3, config.BenchmarkConfig),
    "demo": ("demo", 1, config.DemoConfig),
    "evaluate": ("evaluate", 2, config.EvaluateConfig),
    "evaluate_style": ("evaluate-style", 1, config.EvaluateStyleConfig),
    "export": ("export", 1, config.ExportConfig),
    "harmonize": ("harmonize", 1, config.HarmonizeConfig),
    "make_style": ("style", 2, config.StyleConfig),
    "matrix": ("matrix", 2, config.MatrixConfig),
    "polygonize": ("polygonize", 2, config.PolygonizeConfig),
    "report": ("report", 1, config.ReportConfig),
    "scenes": ("scenes", 2, config.ScenesConfig),
    "segment": ("segment", 2, config.SegmentConfig),
    "train_segmenter": ("train-segmenter", 2, config.TrainSegmenterConfig),
    "train_style": ("train-style", 2, config.TrainStyleConfig),
}


def wrong_values(entry, hint):
    """Values that a setting does not take and that can be written on a command line."""
    about = entry.metadata
    _, kind, parts = kind_of(hint)
    if kind is bool:
        return
    if about["choices"]:
        wrong = [99 if kind is int else "magic"]
    elif kind is str:
        wrong = [""]
    else:
        wrong = ["many"]
        if about["low"] is not None:
            wrong.append(kind(about["low"] - 1))
        if about["high"] is not None:
            wrong.append(kind(about["high"] + 1))
        if about["multiple"]:
            wrong.append(about["multiple"] * 4 + 1)
        if kind is int:
            wrong.append(64.5)
        elif not about["any_float"]:
            wrong.append(float("inf"))
        if kind is float and about["low"] is not None:
            # A whole number, and one of NumPy: the command line reads 7 as 7.0.
            wrong += [math.floor(about["low"]) - 3, np.float32(math.floor(about["low"]) - 2)]
    for value in wrong:
        yield (value,) * max(parts, 1) if parts is not None else value
        if parts is not None:
            yield [value] * max(parts, 1)


def cases():
    for function, (_, _, kind) in CALLS.items():
        hints = typing.get_type_hints(kind)
        for entry in dataclasses.fields(kind):
            for value in wrong_values(entry, hints[entry.name]):
                yield pytest.param(
                    function, entry.name, value, id=f"{function}-{entry.name}-{value}"
                )


def command_of(name):
    first, *rest = name.split()
    found = command_line.cli.get_command(None, first)
    for part in rest:
        found = found.commands[part]
    return found


def required(command):
    """Arguments and options that a command cannot do without, all with the value "x"."""
    given = []
    for param in command.params:
        if isinstance(param, click.Argument):
            given.append("x")
        elif param.required:
            given += [param.opts[0], "x"]
    return given


def run(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main(arguments)
    return stop.value.code, capsys.readouterr().err


def options(settings):
    """Settings as they are written on a command line."""
    written = []
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            written.append(option if value else f"--no-{option[2:]}")
        else:
            values = value if isinstance(value, list | tuple) else [value]
            written += [option, *map(str, values)]
    return written


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, empty: outputs called "x" are in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_function_with_a_config_is_tried():
    taking = {
        name
        for name in geossda._LAZY
        if "config" in inspect.signature(getattr(geossda, name)).parameters
    }
    assert taking == set(CALLS)


@pytest.mark.parametrize(("function", "name", "value"), list(cases()))
def test_a_wrong_value_is_the_same_line_everywhere(function, name, value, capsys, folder):
    command, arguments, kind = CALLS[function]
    with pytest.raises(SettingError) as made:
        kind(**{name: value})
    line = str(made.value)
    assert line.startswith(f"{name} is ") and ": give " in line and "\n" not in line
    with pytest.raises(SettingError) as called:
        getattr(geossda, function)(*["x"] * arguments, **{name: value})
    given = [*command.split(), *required(command_of(command)), *options({name: value})]
    code, printed = run(given, capsys)
    assert str(called.value) == line
    assert (code, printed) == (2, f"geossda: {line}\n")
    assert not list(folder.iterdir()), "nothing is left behind"


CONTRADICTIONS = [
    ("polygonize", {"connectivity": 8, "split": True}),
    ("polygonize", {"connectivity": 8, "regularize": "rectilinear"}),
    *((function, settings) for function in ("harmonize", "segment")
      for settings in ({"bounds_crs": "EPSG:4326"}, {"bounds": (10, 0, 5, 1)},
                       {"bounds": [0, 1, 5, 1]})),
    ("make_style", {"weights": [0]}),
    ("train_segmenter", {"low_percent": 50, "high_percent": 50}),
    ("train_style", {"preset": "daug", "photometric": 5}),
    ("benchmark_places", {"part": 3, "parts": 2}),
    ("benchmark_transfer", {"part": 3, "parts": 2}),
    ("benchmark_paper", {"part": 3, "parts": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "settings"), CONTRADICTIONS)
def test_a_contradiction_is_the_same_line_everywhere(function, settings, capsys, folder):
    command, arguments, kind = CALLS[function]
    with pytest.raises(SettingError) as made:
        kind(**settings)
    with pytest.raises(SettingError) as called:
        getattr(geossda, function)(*["x"] * arguments, **settings)
    assert str(called.value) == str(made.value) and "\n" not in str(made.value)
    given = [*command.split(), *required(command_of(command)), *options(settings)]
    assert run(given, capsys) == (2, f"geossda: {made.value}\n")
    assert not list(folder.iterdir()), "nothing is left behind"


def test_every_check_of_settings_together_is_tried():
    checking = {name for name, (_, _, kind) in CALLS.items()
                if kind.check_together is not config.Config.check_together}  # fmt: skip
    assert checking == {function for function, _ in CONTRADICTIONS}


@pytest.mark.parametrize("function", CALLS)
def test_an_unknown_setting_is_the_same_line_everywhere(function, capsys, folder):
    command, arguments, kind = CALLS[function]
    first = dataclasses.fields(kind)[0].name
    for name, said in ((f"{first}x", f"did you mean {first}?"), ("qqqq", f"one of {first}")):
        with pytest.raises(SettingError) as called:
            getattr(geossda, function)(*["x"] * arguments, **{name: 1})
        assert said in str(called.value)
        given = [*command.split(), *required(command_of(command)), f"--{name.replace('_', '-')}=1"]
        assert run(given, capsys) == (2, f"geossda: {called.value}\n")


def test_settings_are_taken_by_name_and_replace_those_of_the_config():
    base = HarmonizeConfig(method="histogram", tile=512)
    assert config_from(HarmonizeConfig, base, {"tile": 64}) == HarmonizeConfig(
        method="histogram", tile=64
    )
    assert config_from(HarmonizeConfig, None, {}) == HarmonizeConfig()
    with pytest.raises(SettingError, match="config is a SegmentConfig: a HarmonizeConfig was exp"):
        config_from(HarmonizeConfig, SegmentConfig(), {})


def test_values_take_the_type_of_their_field():
    made = HarmonizeConfig(
        strength=1, bidx=[np.int64(3), 2], bounds=np.array([0, 1, 2, 3.5]), scenes=Path("a.gpkg"),
        nodata=np.float32("nan"),
    )  # fmt: skip
    assert type(made.strength) is float and made.strength == 1.0
    assert made.bidx == (3, 2) and type(made.bidx[0]) is int
    assert made.bounds == (0.0, 1.0, 2.0, 3.5) and type(made.bounds[0]) is float
    assert made.scenes == "a.gpkg"
    assert np.isnan(made.nodata)


def test_none_means_none():
    assert HarmonizeConfig(scenes=None).scenes == "none"
    assert SegmentConfig(regularize=None).regularize == "none"
    assert HarmonizeConfig(scheduler=None, bounds=None).scheduler is None
    with pytest.raises(SettingError, match="tile is None: give a whole number from 16 to 16384"):
        HarmonizeConfig(tile=None)
    with pytest.raises(SettingError, match="scheduler is empty: give a text, or leave it out"):
        HarmonizeConfig(scheduler="")


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (PolygonizeConfig, {"connectivity": 8, "split": True}, "use regularize none without split"),
        (HarmonizeConfig, {"bounds_crs": "EPSG:4326"}, "without bounds"),
        (SegmentConfig, {"bounds_crs": "EPSG:4326"}, "without bounds"),
        (HarmonizeConfig, {"balance_cost": "mu"}, "is for balance qp, not none"),
        (
            HarmonizeConfig,
            {"balance": "gain-offset", "balance_cost": "musig"},
            "is for balance qp, not gain-offset",
        ),
        (HarmonizeConfig, {"balance_space": "decorrelated"}, "without a balance"),
        (config.TrainSegmenterConfig, {"low_percent": 50, "high_percent": 50}, "a lower and a hi"),
        (config.BenchmarkConfig, {"part": 3, "parts": 2}, "from 1 to parts, which is 2"),
        (config.BenchmarkConfig, {"rows": ()}, "rows is empty"),
        (
            SegmentConfig,
            {"bounds": (10, 0, 5, 1)},
            "give left, bottom, right and top in this order",
        ),
        (
            HarmonizeConfig,
            {"bounds": (0, 1, 5, 1)},
            "give left, bottom, right and top in this order",
        ),
        (HarmonizeConfig, {"co": ["COMPRESS"]}, "give a list of texts NAME=VALUE"),
        (config.StyleConfig, {"weights": (0, 0)}, "weights are all 0"),
        (HarmonizeConfig, {"overwrite": 1}, "overwrite is 1: give true or false"),
        (HarmonizeConfig, {"co": "A=B"}, "co is 'A=B': give a list of texts"),
        (HarmonizeConfig, {"bounds": (1, 2, 3)}, "give 4 numbers"),
        (HarmonizeConfig, {"bidx": {"a": 1}}, "give a list of whole numbers of at least 1"),
        (HarmonizeConfig, {"tile": True}, "give a whole number"),
        (HarmonizeConfig, {"strength": 1j}, "strength is a complex: give a number from 0 to 1"),
        (HarmonizeConfig, {"method": "histgram"}, r"\(did you mean histogram\?\)"),
    ],
)
def test_settings_that_contradict_or_are_of_another_type(kind, settings, said):
    with pytest.raises(SettingError, match=said):
        kind(**settings)


def test_messages_stay_one_short_line():
    with pytest.raises(SettingError) as refused:
        HarmonizeConfig(method="a\nb" * 10_000)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_a_failure_is_a_line_of_json_where_progress_is(capsys, tmp_path):
    code, printed = run(["scenes", "none.tif", "-o", "o.gpkg", "--progress", "json"], capsys)
    assert code == 1
    last = json.loads(printed.splitlines()[-1])
    assert (last["event"], last["code"]) == ("error", 1) and "none.tif" in last["text"]
