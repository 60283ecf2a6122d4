"""The architecture: which subpackage imports which, what loads lightly, one source of settings."""

import ast
import dataclasses
import functools
import importlib
import subprocess
import sys
import tomllib
import typing

import click
import pytest
from conftest import REPO

import geossda
import geossda_cli.main
from geossda import config
from geossda_cli.describe import VERBS, describe
from geossda_cli.dialog_words import CHOICES, HELP, LABELS, OF_COMMAND

BASE = {
    "_version", "config", "devices", "errors", "formats", "gdal_data", "image_files", "layers",
    "local_only", "progress", "run_estimate", "staging", "urls",
}  # fmt: skip
# In the order data walks through them; each may import what stands to its right, and the base.
MAY_IMPORT = {
    "parallel": set(),
    "raster": {"parallel"},
    "models": set(),
    "runtime": {"models", "parallel"},
    "runs": {"raster", "parallel"},
    "color": {"raster"},
    "balance": {"raster", "parallel"},
    "footprints": {"raster", "parallel"},
    "registration": {"raster", "footprints"},
    "data": {"raster", "footprints"},
    "training": {"data", "models", "color", "parallel"},
    "harmonization": {"raster", "runs", "parallel", "color", "balance", "models", "runtime"},
    "segmentation": {"raster", "runs", "parallel", "models", "runtime"},
    "adapt": {"data", "models", "color", "harmonization", "training", "runtime"},
    "weights": set(),
    "synthetic": set(),
    "evaluation": {"raster", "color", "balance", "models", "footprints", "data", "training",
                   "harmonization", "segmentation", "adapt", "parallel", "runs", "runtime"},
    "api": {"parallel", "raster", "models", "runs", "color", "balance", "footprints",
            "registration", "data", "training", "harmonization", "segmentation", "adapt",
            "synthetic", "evaluation", "runtime"},
}  # fmt: skip
SUBPACKAGES = tuple(MAY_IMPORT)
BASE_MAY_IMPORT = {
    "errors": {"urls"},
    "urls": set(),
    "gdal_data": set(),
    "local_only": set(),
    "_version": set(),
    "config": {"errors", "urls"},
    "progress": {"errors"},
    "run_estimate": set(),
    "staging": {"errors"},
    "formats": set(),
    "image_files": {"formats"},
    "layers": {"errors", "staging"},
    "devices": {"errors"},
}
FILES = sorted((REPO / "geossda").rglob("*.py"))
CLI_FILES = sorted((REPO / "cli").glob("*.py"))
PLUGIN_FILES = sorted((REPO / "qgis_plugin").glob("*.py"))


@functools.cache
def imported(path):
    """Every absolute module name imported anywhere in a file, functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # The command line is installed under another name than its folder's, so its own
            # files are imported relatively; nothing else is.
            own = path in CLI_FILES and node.level == 1
            assert own or node.level == 0, f"{path}: relative import"
            if own:
                names.add(f"geossda_cli.{node.module}")
                continue
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path):
    return path.relative_to(REPO / "geossda").parts[0].removesuffix(".py")


def rooms_imported(path):
    return {name.split(".")[1] for name in imported(path) if name.startswith("geossda.")}


def name_of(path):
    return path.relative_to(REPO).as_posix()


def test_every_room_is_known():
    folders = {path.parent.name for path in (REPO / "geossda").glob("*/__init__.py")}
    assert folders == {*SUBPACKAGES, "config"}
    assert {path.stem for path in (REPO / "geossda").glob("*.py")} == BASE - {"config"} | {
        "__init__"
    }


def test_the_table_only_looks_left():
    for place, room in enumerate(SUBPACKAGES):
        assert MAY_IMPORT[room] <= set(SUBPACKAGES[:place])


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_follow_the_table(path):
    room = room_of(path)
    if room == "__init__":
        # The package names its verbs; nothing but the light rooms is imported when it loads.
        tree = ast.parse(path.read_text())
        loaded = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        ours = {name for name in loaded if name.startswith("geossda")}
        light = ("_version", "config", "errors", "gdal_data", "local_only")
        assert ours <= {f"geossda.{name}" for name in light}
        return
    if room in BASE:
        assert rooms_imported(path) <= BASE_MAY_IMPORT[room] | {room}
        return
    allowed = BASE | MAY_IMPORT[room] | {room}
    assert not rooms_imported(path) - allowed


@pytest.mark.parametrize("path", CLI_FILES, ids=name_of)
def test_the_command_line_sees_only_verbs_and_base(path):
    for name in imported(path):
        if name.split(".")[0] == "geossda":
            part = name.split(".")[1]
            assert part in BASE | set(geossda.__all__), f"{path} imports {name}"


@pytest.mark.parametrize(
    ("rooms", "forbidden"),
    [
        ({"parallel", "raster", "color", "balance", "footprints", "registration", "data"},
         {"torch", "torchvision", "timm"}),
        ({"models"}, {"rasterio", "rioxarray", "xarray", "dask", "geopandas", "pyogrio"}),
        (set(SUBPACKAGES) | BASE,
         {"click", "tqdm", "qgis", "geossda_cli", "cli", "pytest"}),
        ({"errors", "config", "formats", "layers", "progress", "run_estimate", "staging",
          "_version"},
         {"torch", "numpy", "rasterio", "xarray", "dask", "geopandas"}),
    ],
    ids=["no-torch", "tensors-only", "no-interface", "light-base"],
)  # fmt: skip
def test_rooms_keep_off_packages(rooms, forbidden):
    seen = set()
    for path in FILES:
        if room_of(path) in rooms:
            seen.add(room_of(path))
            top = {name.split(".")[0] for name in imported(path)}
            assert not top & forbidden, f"{path} imports {top & forbidden}"
    assert seen == rooms


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=name_of)
def test_the_plugin_knows_nothing_of_the_core(path):
    """It runs in QGIS's Python, which has neither the core nor what the core needs."""
    # GDAL's bindings are a part of QGIS. Two files run in the core's Python.
    allowed = sys.stdlib_module_names | {"qgis", "processing", "osgeo"}
    allowed |= {
        "bundle.py": {"geossda_cli"},
        "selfcheck.py": {"geossda", "geossda_cli", "numpy", "rasterio", "torch"},
    }.get(path.name, set())
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 9))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            assert top in allowed, f"{path}: {name}"
            # Qt 5 and 6 through one door.
            assert not top.startswith("PyQt")
            assert top != "subprocess" or path.stem == "bundle", f"{path}: use process.py"
        assert not isinstance(node, ast.Assert), f"{path}: the repository of plugins takes none"


def test_nothing_in_the_library_prints():
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text()))
                 if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]  # fmt: skip
        assert "print" not in {call.func.id for call in calls}, path


def test_no_dumping_grounds_and_no_deep_folders():
    for path in FILES + CLI_FILES + PLUGIN_FILES:
        assert path.stem not in {"utils", "common", "helpers"}
        assert len(path.relative_to(REPO).parts) <= 3, f"{path} lies too deep"


def test_no_two_modules_share_a_name():
    """Those of api/, which are named after the commands, apart."""
    stems = [path.stem for path in FILES if room_of(path) != "api" and path.stem != "__init__"]
    assert sorted(stems) == sorted(set(stems))
    commands = {path.stem for path in CLI_FILES}
    verbs = {path.stem for path in FILES if room_of(path) == "api"} - {"__init__"}
    assert verbs <= commands


HEAVY = {"torch", "torchvision", "openvino", "rasterio", "osgeo", "geopandas", "pyogrio",
         "pyproj", "shapely", "xarray", "dask", "pandas", "cv2", "numpy", "tqdm"}  # fmt: skip


def loaded_after(code):
    """Top-level modules in sys.modules of a new interpreter that ran `code`."""
    script = f"import sys\n{code}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


def test_training_needs_no_gdal():
    """So that it runs on machines that have torch and nothing else."""
    loaded = loaded_after("from geossda.training import segmenter_loop, style_loop")
    assert "torch" in loaded
    assert not loaded & {"rasterio", "pyproj", "geopandas", "pyogrio"}


def test_import_is_light():
    loaded = loaded_after("import geossda")
    assert "geossda" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([verb, "--help"] for verb in geossda_cli.main.COMMANDS)],
    ids=" ".join,
)
def test_help_is_light(arguments):
    code = (
        "from geossda_cli.main import main\n"
        f"try:\n    main({arguments})\n"
        "except SystemExit as stop:\n    assert stop.code == 0, stop.code"
    )
    loaded = loaded_after(code)
    assert "geossda_cli" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("what", ["'default'", "resolve('default', StyleCard)"])
def test_a_models_card_is_told_without_its_network(what):
    imports = (
        "import geossda\nfrom geossda.models.card import StyleCard\n"
        "from geossda.models.model_file import resolve\n"
    )
    loaded = loaded_after(f"{imports}geossda.info({what})")
    assert "safetensors" in loaded and not loaded & {"torch", "openvino"}


def test_exported_names_resolve_and_are_sorted():
    assert geossda.__all__ == sorted(geossda.__all__)
    assert len(set(geossda.__all__)) == len(geossda.__all__)
    for name in geossda.__all__:
        assert getattr(geossda, name) is not None
    assert set(geossda._LAZY) <= set(geossda.__all__)
    assert geossda.harmonize is importlib.import_module("geossda.api.harmonize").harmonize
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = geossda.colour


def test_every_room_is_packaged():
    """The wheel holds what the source tree holds."""
    listed = set(
        tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    assert listed == {
        "geossda", "geossda_cli", "geossda.config", *(f"geossda.{room}" for room in SUBPACKAGES)
    }  # fmt: skip


def test_git_ignores_no_source():
    if not (REPO / ".git").exists():
        pytest.skip("not a git checkout")
    sources = [str(path.relative_to(REPO)) for path in FILES + CLI_FILES]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *sources], cwd=REPO, capture_output=True, text=True
    )
    assert ignored.stdout.split() == []


def test_every_error_is_drawn_in_the_tree():
    errors = importlib.import_module("geossda.errors")
    named = {name for name, value in vars(errors).items()
             if isinstance(value, type) and issubclass(value, errors.GeossdaError)}  # fmt: skip
    words = errors.__doc__.replace("(", " ").split()
    assert {name: words.count(name) for name in named} == dict.fromkeys(named, 1)


CONFIGS = {
    "align": config.AlignConfig,
    "demo": config.DemoConfig,
    "evaluate": config.EvaluateConfig,
    "export": config.ExportConfig,
    "harmonize": config.HarmonizeConfig,
    "polygonize": config.PolygonizeConfig,
    "report": config.ReportConfig,
    "scenes": config.ScenesConfig,
    "segment": config.SegmentConfig,
    "style": config.StyleConfig,
    "train-segmenter": config.TrainSegmenterConfig,
    "train-style": config.TrainStyleConfig,
    "evaluate-style": config.EvaluateStyleConfig,
    "matrix": config.MatrixConfig,
    "benchmark places": config.BenchmarkConfig,
    "benchmark transfer": config.BenchmarkConfig,
    "benchmark paper": config.PaperBenchmarkConfig,
}
FIELDS = [(command, entry) for command, made in CONFIGS.items()
          for entry in dataclasses.fields(made)]  # fmt: skip


def command_of(name):
    """Load a command, or one of a group's: "benchmark places"."""
    first, *rest = name.split()
    found = importlib.import_module(geossda_cli.main.COMMANDS[first]).command
    for part in rest:
        found = found.commands[part]
    return found


def field_name(value):
    return value if isinstance(value, str) else value.name


def test_every_config_has_a_command():
    configs = {value for value in vars(config).values() if dataclasses.is_dataclass(value)}
    configs.remove(config.Config)
    assert configs == set(CONFIGS.values())
    told = {*(name.split()[0] for name in CONFIGS), "info", "describe", "models"}
    assert set(geossda_cli.main.COMMANDS) == told
    assert set(geossda_cli.main.SUMMARIES) == set(geossda_cli.main.COMMANDS)


@pytest.mark.parametrize(("command", "entry"), FIELDS, ids=field_name)
def test_setting_has_help_and_an_option_with_the_same_default(command, entry):
    about = entry.metadata
    assert about["help"].endswith(".")
    assert entry.default is not dataclasses.MISSING
    verb = command_of(command)
    options = {option.name: option for option in verb.params if isinstance(option, click.Option)}
    option = options[entry.name]
    name = entry.name.replace("_", "-")
    assert option.opts == [f"--{name}"]
    # What is on by default can be turned off.
    assert option.secondary_opts == ([f"--no-{name}"] if entry.default is True else [])
    assert option.help == about["help"]
    if isinstance(entry.default, tuple):
        assert option.multiple
    assert option.default == entry.default
    if about["choices"]:
        assert tuple(option.type.choices) == tuple(map(str, about["choices"]))
        chosen = entry.default if isinstance(entry.default, tuple) else (entry.default,)
        assert set(chosen) <= set(about["choices"])
    elif isinstance(entry.default, tuple):
        assert not entry.default
    elif about["low"] is not None or about["high"] is not None:
        assert (option.type.min, option.type.max) == (about["low"], about["high"])
        if entry.default is not None:
            assert (about["low"] is None) or about["low"] <= entry.default
            assert (about["high"] is None) or entry.default <= about["high"]


@pytest.mark.parametrize("command", CONFIGS)
def test_no_options_given_is_the_default_config(command):
    """What click parses from nothing, put back together, is the config itself."""
    verb = command_of(command)
    needed = ["x" for param in verb.params if isinstance(param, click.Argument)]
    for param in verb.params:
        if isinstance(param, click.Option) and param.required:
            needed += [param.opts[0], "x"]
    values = dict(verb.make_context(command, needed).params)
    names = [entry.name for entry in dataclasses.fields(CONFIGS[command])]
    assert CONFIGS[command](**{name: values[name] for name in names}) == CONFIGS[command]()


@pytest.mark.parametrize("name", VERBS)
def test_description_holds_every_option_of_the_command(name):
    """And nothing else: a dialog made from it asks for what the command takes."""
    verb, made = VERBS[name], command_of(name)
    assert verb.config is CONFIGS[name]
    fields = {entry.name: entry for entry in dataclasses.fields(verb.config)}
    params = {param.name: param for param in made.params}
    told = describe(name)
    # What a dialog always gives, or never: it shows progress, and has asked before it overwrites.
    switches = {param.name for param in params.values() if set(param.opts) & set(told["switches"])}
    # Some settings have a second way in: a layer for what else is a word.
    assert set(params) - set(fields) - switches - {"progress"} == set(verb.ports) - set(fields)
    by_option = {}
    for entry in told["parameters"]:
        by_option.setdefault(entry["option"], []).append(entry)
    for param, ports in verb.ports.items():
        option = params[param].opts[0] if isinstance(params[param], click.Option) else ""
        assert len(by_option[option]) >= len(ports)
        # What is required may come in one of several ways, which a rule asks for.
        ruled = any(rule.kind == "one" and ports[0].id in rule.ids for rule in verb.rules)
        assert not params[param].required or not ports[0].optional or ruled
    settings = {entry["option"]: entry for entry in told["parameters"] if "default" in entry}
    shown = set(fields) - {"area", "overwrite", "resume", "bounds_crs", "timings"}
    assert set(settings) == {f"--{field.replace('_', '-')}" for field in shown}
    for field in shown:
        entry, about = settings[f"--{field.replace('_', '-')}"], fields[field].metadata
        for key in ("low", "high"):
            assert entry[key] == about[key]
        assert entry["advanced"] == (about["advanced"] or field in verb.folded)
        choices = [str(choice) for choice in about["choices"] or about["words"] or ()]
        assert entry["choices"] == choices and len(entry["choice_labels"]) == len(choices)
        default = fields[field].default
        assert entry["default"] == (str(default) if choices else default)
    assert ("--overwrite" in told["switches"]) == ("overwrite" in fields)
    assert ("--no-resume" in told["switches"]) == ("resume" in fields)
    ids = [entry["id"] for entry in told["parameters"]]
    assert len(set(ids)) == len(ids)


def test_labels_are_of_settings_that_exist():
    names = {entry.name for _, entry in FIELDS}
    assert {*LABELS, *CHOICES, *HELP} <= names
    assert set(OF_COMMAND) <= {(command, entry.name) for command, entry in FIELDS}


def test_summaries_are_the_commands_own_first_lines():
    for name, module in geossda_cli.main.COMMANDS.items():
        text = importlib.import_module(module).command.help
        assert text.split("\n")[0] == geossda_cli.main.SUMMARIES[name]


@pytest.mark.parametrize("name", geossda_cli.main.COMMANDS)
def test_help_shows_examples_line_by_line(name):
    verb = importlib.import_module(geossda_cli.main.COMMANDS[name]).command
    told = verb.get_help(click.Context(verb, info_name=name))
    assert "\\b" not in told and "\b" not in told


def test_method_choices_come_from_the_literal():
    assert typing.get_args(config.ColorMethod) == config.METHODS
    assert typing.get_args(config.HarmonizeMethod) == (
        "auto",
        "ssda",
        "translation",
        *typing.get_args(config.MapMethod),
        *config.METHODS,
        "none",
    )
