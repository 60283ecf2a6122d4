"""JSON of the command line can be read by every parser."""

import json

import numpy as np
import rasterio
from click.testing import CliRunner

from geossda_cli.main import cli
from geossda_cli.strict_json import strict_json


def refuse(text):
    raise AssertionError(text)


def test_numbers_that_are_not_finite_have_no_word():
    value = {"a": [1.5, float("nan")], "b": {"c": (float("inf"), None, True)}, "d": "NaN"}
    assert json.loads(strict_json(value), parse_constant=refuse) == {
        "a": [1.5, None], "b": {"c": [None, None, True]}, "d": "NaN",
    }  # fmt: skip
    assert json.loads(strict_json([float("-inf")], str), parse_constant=refuse) == ["-inf"]


def test_a_nodata_value_that_is_no_number(tmp_path, make_raster):
    path = make_raster(tmp_path / "a.tif", dtype="float32", nodata=np.nan)
    with rasterio.open(path) as dataset:
        assert np.isnan(dataset.nodata)
    done = CliRunner().invoke(cli, ["info", str(path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout, parse_constant=refuse)["nodata"] == "nan"
