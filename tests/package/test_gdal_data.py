"""Data of another GDAL or PROJ in the environment changes nothing."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import rasterio

from geossda.gdal_data import drop_foreign_data

OWN = Path(rasterio.__file__).parent / "proj_data"
pytestmark = pytest.mark.skipif(not OWN.is_dir(), reason="rasterio brings no data of its own")


@pytest.fixture
def folders(tmp_path):
    """Folders as other installations leave them, by what is wrong with each."""
    for name in ("empty", "old", "damaged", "newer"):
        (tmp_path / name).mkdir()
    (tmp_path / "damaged" / "proj.db").write_text("no database")
    for name, minor in (("old", 0), ("newer", 99)):
        shutil.copy(OWN / "proj.db", tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name / "proj.db")) as database, database:
            database.execute(
                "UPDATE metadata SET value = ? WHERE key = 'DATABASE.LAYOUT.VERSION.MINOR'",
                (str(minor),),
            )
    return tmp_path


@pytest.mark.parametrize("name", ["empty", "old", "damaged", "missing"])
@pytest.mark.parametrize("variable", ["PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH"])
def test_foreign_data_is_dropped(folders, name, variable):
    environment = {variable: str(folders / name), "HOME": "/"}
    assert drop_foreign_data(environment) == [variable]
    assert environment == {"HOME": "/"}


def test_a_database_that_can_be_used_is_kept(folders):
    several = os.pathsep.join([str(folders / "empty"), str(folders / "newer")])
    environment = {"PROJ_DATA": several}
    assert drop_foreign_data(environment) == [] and environment == {"PROJ_DATA": several}


@pytest.mark.parametrize("name", ["old", "empty"])
@pytest.mark.parametrize("variable", ["PROJ_LIB", "PROJ_DATA", "GDAL_DATA"])
def test_a_raster_keeps_its_crs(folders, make_raster, name, variable):
    source = make_raster(folders / "a.tif", crs="EPSG:3857")
    done = subprocess.run(
        [sys.executable, "-m", "geossda_cli", "harmonize", source, "--style", source, "-o",
         folders / "out.tif", "--method", "histogram"],
        env={**os.environ, variable: str(folders / name)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with rasterio.open(folders / "out.tif") as dataset:
        assert dataset.crs.to_epsg() == 3857
