"""What `pip install geossda` brings is enough for all that needs no training, and no more."""

import os
import re
import subprocess
import sys
import tomllib

import geopandas as gpd
import numpy as np
import pytest
import shapely
from conftest import REPO

from geossda import polygonize
from geossda.data.labels import read_footprints
from geossda.errors import InputError, OutputError
from geossda_cli.main import main

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
# Their names in Python where they differ.
MODULES = {"opencv-python-headless": "cv2"}
# What only extras bring, or nothing.
FOREIGN = ("torch", "pandas", "geopandas", "pyarrow", "scipy", "skimage", "xarray", "odc", "dask",
           "distributed", "matplotlib", "onnx", "huggingface_hub", "PIL", "rich")  # fmt: skip
CODE = f"""
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys({FOREIGN!r}))  # importing them fails
import geossda
out = Path(sys.argv[1])
demo = out / "demo"
assert geossda.demo(demo, size=512).after.pixels.iou > 0
for name in ("a.fgb", "a.geojson", "a.gpkg"):
    geossda.segment(demo / "harmonized.tif", out / name)
geossda.segment(demo / "mosaic.tif", out / "a.gpkg", append=True)
found = geossda.evaluate(out / "a.geojson", demo / "footprints.gpkg", errors=out / "errors.gpkg")
assert found.objects.hit
aligned = geossda.align(demo / "footprints.gpkg", demo / "harmonized.tif", out / "aligned.geojson")
assert aligned.footprints
geossda.scenes(demo / "mosaic.tif", out / "scenes.fgb")
geossda.report(demo / "harmonized.tif", sources=demo / "mosaic.tif", output=out / "report.html")
counts = [geossda.info(out / name)["buildings"] for name in ("a.fgb", "a.geojson", "a.gpkg")]
assert 0 < counts[0] == counts[1] < counts[2], counts
# OpenVINO's converter of models would report to a server.
assert "openvino" in sys.modules
assert not {{"openvino.tools.ovc", "openvino_telemetry"}} & set(sys.modules)
"""


def test_nothing_foreign_is_a_dependency_of_the_base():
    named = {re.match(r"[\w-]+", each).group() for each in PROJECT["dependencies"]}
    modules = {MODULES.get(name, name) for name in named}
    assert not modules & {*FOREIGN, "scikit-image", "odc-geo"}
    used = {
        match
        for path in (*(REPO / "geossda").rglob("*.py"), *(REPO / "cli").glob("*.py"))
        for match in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
    }
    assert modules <= used  # what nothing imports is not installed either


def test_all_that_needs_no_training_runs_on_the_base(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_geoparquet_without_its_extra_says_what_to_type(tmp_path, make_raster, monkeypatch):
    image = np.zeros((1, 30, 30), np.uint8)
    image[0, 4:14, 6:20] = 1
    mask, out = make_raster(tmp_path / "mask.tif", image=image), tmp_path / "a.parquet"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 9, 9)], crs="EPSG:32633").to_parquet(out)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"GeoParquet: pip install 'geossda\[parquet\]'"):
        read_footprints(out, None)
    with pytest.raises(OutputError, match=r"GeoParquet: pip install 'geossda\[parquet\]'"):
        polygonize(mask, tmp_path / "b.parquet")
    assert not (tmp_path / "b.parquet").exists()


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("3", "3")])
def test_the_command_line_has_numpy_start_no_threads(monkeypatch, capsys, given, kept):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(given))  # undone at the end
    if given is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert os.environ["OPENBLAS_NUM_THREADS"] == kept
    assert "geossda" in capsys.readouterr().out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_end_of_a_program_is_run_and_its_output_flushed():
    code = "import atexit, sys; from geossda_cli.main import entry; sys.argv[1:] = ['--version']; "
    code += "atexit.register(print, 'at the end'); entry()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.splitlines()[1:] == ["at the end"]
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.DEVNULL)
    assert done.returncode == 1
