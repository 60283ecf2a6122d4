"""Style files: what is written is read again, and what somebody else wrote is checked."""

import copy
import json
import math
from pathlib import Path

import pytest
from conftest import build_raster

import geossda
from geossda.errors import StyleError
from geossda.harmonization.methods import known_statistics
from geossda.harmonization.model_statistics import Covariance, Features
from geossda.harmonization.style import MAX_BYTES
from geossda.harmonization.style import load_style as load_known

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """What a right style file holds, features of the bundled model included."""
    folder = tmp_path_factory.mktemp("style")
    raster = build_raster(folder / "a.tif", size=(300, 400), seed=1)
    geossda.make_style(raster, folder / "a.json", config=geossda.StyleConfig(device="cpu"))
    return json.loads((folder / "a.json").read_text())


def load_style(path):
    return load_known(path, known_statistics())


def write(path, entries):
    path.write_text(json.dumps(entries))
    return path


def test_a_right_file_is_read_and_written_as_it_was(entries, tmp_path):
    """So that what is refused below is refused for its entry."""
    style = load_style(write(tmp_path / "a.json", entries))
    assert style.bands == 3 and next(iter(style[Features].models.values())).keys() == {
        "lock",
        "full",
    }
    style.save(tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text()) == entries


def test_a_file_written_before_statistics_were_classes_keeps_every_byte(tmp_path):
    """`style_2.json` is by commit 32545aa, of a raster of 12 x 10 px; its features are made up."""
    path = Path(__file__).with_name("style_2.json")
    load_style(path).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_older_files_are_read(entries, tmp_path):
    newer = ("covariance", "features", "colors", "sample")
    older = {name: value for name, value in entries.items() if name not in newer}
    style = load_style(write(tmp_path / "a.json", {**older, "format": "geossda style 1"}))
    assert style.get(Covariance) is None and style.get(Features) is None and style.colors == ()
    two = {**older, "lab_mean": None, "lab_std": None}
    two |= {key: entries[key][:2] for key in ("quantiles", "mean", "std")}
    assert load_style(write(tmp_path / "a.json", two)).bands == 2


WRONG = {
    "name": [None, 3, ["a"], "x" * 10_001, "a\0b"],
    "dtype": [None, "uint9", "object", "complex64", ["uint8"]],
    "working_range": [None, [0], [0, 1, 2], [255, 0], [5, 5], [0, math.inf], [math.nan, 1],
                      ["0", "255"], 255, {"low": 0}, [-1e9, 255]],
    "quantiles": [None, [], [[0, 1]] * 3, "abc", [[1.0] * 1025] * 2],
    "mean": [None, [], [1, 2, math.nan], [1, 2, 10**400], [[1, 2, 3]], ["1", "2", "3"], 5,
             [True, False, True], [1, 2, [3]], {"a": 1}, [1, 2, -1e9]],
    "std": [[1, 2], [1, 2, -1], [1, 2, math.inf], [1, 2, None]],
    "lab_mean": [None, [1, 2], [1, 2, math.nan]],
    "lab_std": [None, [-1, 1, 1]],
    "pixels": [None, 0, -5, 1.5, "9", True, 10**30],
    "covariance": [[1, 2, 3], [[1, 0], [0, 1]], [[1, 0, 0], [0, -1, 0], [0, 0, 1]],
                   [[1, 5, 0], [0, 1, 0], [0, 0, 1]], [[math.nan] * 3] * 3],
    "features": [None, [], {"k": []}, {"k": {"middle": []}}, {"k": {"lock": 3}},
                 {"k": {"lock": [[[[1, 2], [1]]]]}}, {"k": {"lock": [[[[1], [1], [1]]]]}},
                 {"k": {"lock": [[[[1], [-1]]]]}}, {"k": {"lock": [[[[math.inf], [1]]]]}},
                 {"k": {"lock": [[[["a"], ["b"]]]]}}],
    "colors": ["red", ["red"], [1, 2, 3], None],
    "extra": [1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_entry_is_one_line(entries, tmp_path, name, value):
    path = write(tmp_path / "wrong.json", {**entries, name: value})
    with pytest.raises(StyleError, match=f"damaged style file .*{name[:5]}") as caught:
        load_style(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["name", "dtype", "working_range", "quantiles", "mean", "std",
                                  "pixels"])  # fmt: skip
def test_a_missing_entry_is_named(entries, tmp_path, name):
    path = write(tmp_path / "wrong.json", {k: v for k, v in entries.items() if k != name})
    with pytest.raises(StyleError, match=f"'{name}' is missing"):
        load_style(path)


@pytest.mark.parametrize("change", ["fall", "nan"])
def test_wrong_quantiles_are_one_line(entries, tmp_path, change):
    wrong = copy.deepcopy(entries)
    wrong["quantiles"][1][500] = math.nan if change == "nan" else wrong["quantiles"][1][0] - 1
    with pytest.raises(StyleError, match="quantiles"):
        load_style(write(tmp_path / "wrong.json", wrong))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, '{"format": 2}'])
def test_what_is_no_style_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StyleError, match="is not a style file") as caught:
        load_style(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_a_file_larger_than_any_style_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(StyleError, match="not a style file"):
        load_style(tmp_path / "a.json")


@pytest.mark.parametrize("damage", ["channels", "levels", "groups"])
@pytest.mark.parametrize("structure", ["lock", "full"])
def test_features_of_other_shapes_than_the_models_are_one_line(
    entries, tmp_path, make_raster, damage, structure
):
    wrong = copy.deepcopy(entries)
    (features,) = wrong["features"].values()
    groups = features[structure]
    if damage == "channels":
        groups[0][1] = [values[:-1] for values in groups[0][1]]
    elif damage == "levels":
        groups[0].pop()
    else:
        groups.append(groups[0])
    style = write(tmp_path / "wrong.json", wrong)
    source = make_raster(tmp_path / "source.tif", size=(64, 64))
    config = geossda.HarmonizeConfig(method="ssda", structure=structure, device="cpu")
    with pytest.raises(StyleError, match="other features than the style model"):
        geossda.harmonize(source, tmp_path / "out.tif", style=style, config=config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.tif", "wrong.json"]


def test_the_right_features_harmonize(entries, tmp_path, make_raster):
    source = make_raster(tmp_path / "source.tif", size=(64, 64))
    style = write(tmp_path / "right.json", entries)
    config = geossda.HarmonizeConfig(method="ssda", device="cpu")
    geossda.harmonize(source, tmp_path / "out.tif", style=style, config=config)
    assert (tmp_path / "out.tif").exists()
