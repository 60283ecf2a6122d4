"""The benchmark from labelled places to others: a small table, and folders that cannot be used."""

import dataclasses
import json
import shutil

import geopandas as gpd
import numpy as np
import pytest
from conftest import build_raster
from test_benchmark import FAST, QUICK, SIZE, command, figures, write_town

from geossda import benchmark_transfer
from geossda.errors import Cancelled, GeossdaError, InputError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """Two sources."""
    root = tmp_path_factory.mktemp("towns")
    for seed, name in enumerate(("alba", "brac"), start=1):
        write_town(root, name, seed)
    return root


@pytest.fixture
def two(tmp_path, towns):
    """The same, which may be changed."""
    return shutil.copytree(towns, tmp_path / "two")


@pytest.fixture(scope="module")
def satellite(tmp_path_factory):
    """A target of one labelled tile and an unlabelled raster of coarse pixels beside it."""
    root = tmp_path_factory.mktemp("satellite")
    write_town(root, "dara", 4)
    build_raster(root / "dara" / "beside.tif", size=SIZE, gsd=1.2, seed=7)
    return root / "dara"


@pytest.fixture(scope="module")
def transfer(towns, satellite, tmp_path_factory):
    """Folder and result of a table from two places to one tile."""
    run = tmp_path_factory.mktemp("transfer")
    return run, benchmark_transfer(towns, satellite, run, config=FAST)


def test_from_places_to_one_tile(transfer, towns, satellite, listener):
    run, result = transfer
    assert (result.done, result.planned) == (3, 3)
    kept = json.loads((run / "transfer_sources_rhm_0.json").read_text())
    assert kept["trial"]["sources"] == ["alba", "brac"] and kept["trial"]["targets"] == ["dara"]
    assert set(kept["figures"]) == {"dara"}
    # The tile's pixels of 0.5 m, once, and nothing of the raster beside it.
    assert sum(kept["figures"]["dara"]["every"]) == np.prod(SIZE)
    assert (run / "table.png").exists()
    again = benchmark_transfer(
        [towns / "alba", towns / "brac"], [satellite], run, config=FAST, progress=listener
    )
    assert again.table == result.table and not listener.notes


def test_imagery_beside_the_labels_is_target_imagery(
    transfer, towns, satellite, tmp_path, listener
):
    """It changes what RHM learns and not what is measured on, and that it is blurred is said."""
    for name in ("mosaic_0.tif", "footprints.gpkg"):
        (tmp_path / "dara").mkdir(exist_ok=True)
        shutil.copy(satellite / name, tmp_path / "dara")
    config = dataclasses.replace(FAST, rows=("none", "rhm"))
    benchmark_transfer(towns, tmp_path / "dara", tmp_path / "run", config=config, progress=listener)
    with_it, without = figures(transfer[0]), figures(tmp_path / "run")
    same = {key: with_it[key] == without[key] for key in without}
    assert same == {"transfer_sources_none_0": True, "transfer_sources_rhm_0": False}
    assert not listener.warnings
    run = tmp_path / "other"
    config = dataclasses.replace(FAST, rows=("none",))
    # A target without labels is not measured on.
    (tmp_path / "bare").mkdir()
    shutil.copy(satellite / "beside.tif", tmp_path / "bare")
    targets = [satellite, tmp_path / "bare"]
    found = benchmark_transfer(towns, targets, run, config=config, progress=listener)
    assert "| method | dara | mean |" in found.table
    assert len(listener.warnings) == 2
    assert all("1.2 m, coarser than the working 0.5 m" in text for text in listener.warnings)


def test_a_stopped_transfer_goes_on(transfer, towns, satellite, tmp_path, interrupter):
    stop = interrupter("training", 2, Cancelled("stop"))
    config = dataclasses.replace(FAST, rows=("none",))
    with pytest.raises(Cancelled):
        benchmark_transfer(towns, satellite, tmp_path, config=config, progress=stop)
    assert list(tmp_path.glob("*_run")) and not list(tmp_path.glob("*.json"))
    benchmark_transfer(towns, satellite, tmp_path, config=config)
    assert figures(tmp_path).items() <= figures(transfer[0]).items()


def no_labels(two):
    (two / "brac" / "footprints.gpkg").unlink()


def no_raster(two):
    (two / "brac" / "mosaic_0.tif").rename(two / "brac" / "tile.tif")


def empty(two):
    (two / "brac" / "mosaic_0.tif").unlink()
    (two / "brac" / "footprints.gpkg").unlink()


def elsewhere(two):
    path = two / "brac" / "footprints.gpkg"
    shapes = gpd.read_file(path)
    path.unlink()
    shapes.set_geometry(shapes.translate(9000, 0)).to_file(path)


def linked(two):
    for name in ("mosaic_0.tif", "footprints.gpkg"):
        (two / "brac" / name).unlink()
        (two / "brac" / name).symlink_to(two / "alba" / name)


def four_bands(two):
    (two / "brac" / "mosaic_0.tif").unlink()
    build_raster(two / "brac" / "mosaic_0.tif", bands=4, size=SIZE)


def nothing(two):
    pass


@pytest.mark.parametrize(
    ("change", "sources", "targets", "said"),
    [
        (no_labels, "brac", "alba", "source .*brac has no labels: give folders with mosaic_"),
        (no_labels, "alba", "brac", "no target has labels to measure on: give one at least"),
        (no_raster, "brac", "alba", r"brac has labels footprints.gpkg but no raster mosaic_\*.tif"),
        (empty, "brac", "alba", "brac has no raster, nor a folder with rasters"),
        (elsewhere, "alba", "brac", "no footprint of brac lies on its rasters: check the CRS"),
        (nothing, ".", "brac", "brac is both source and target: give other places"),
        (linked, "alba", "brac", "brac.mosaic_0.tif is a raster of a source too"),
        (
            four_bands,
            "alba",
            "brac",
            "brac.mosaic_0.tif has 4 bands, .*alba.mosaic_0.tif has 3:",
        ),
        (nothing, "cres", "brac", "cres is not a folder: give folders of places"),
    ],
)
def test_places_that_cannot_be_compared(two, tmp_path, change, sources, targets, said):
    change(two)
    config = dataclasses.replace(FAST, rows=("none",))
    with pytest.raises(GeossdaError, match=said) as stop:
        benchmark_transfer(two / sources, two / targets, tmp_path / "run", config=config)
    assert "\n" not in str(stop.value)
    assert not list(tmp_path.glob("run/*"))


def test_two_places_of_one_name(towns, two, satellite, tmp_path):
    with pytest.raises(InputError, match="have the same name: rename one"):
        benchmark_transfer([towns / "alba", two / "alba"], satellite, tmp_path / "run")


def test_transfer_from_the_command_line(towns, satellite, tmp_path):
    """Several folders in a row, as the shell expands them."""
    sources = "--sources", towns / "alba", towns / "brac"
    done = command("benchmark", "transfer", *sources, "--targets", satellite, "--rows", "hsv",
                   "--run", tmp_path / "run", "--gsd", 0.5, *QUICK)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "| HSV |" in done.output and "1 of 1 trainings" in done.output
    kept = json.loads((tmp_path / "run" / "transfer_sources_hsv_0.json").read_text())
    assert kept["trial"]["sources"] == ["alba", "brac"]
    wrong = command("benchmark", "transfer", *sources, "--targets", satellite)
    assert wrong.exit_code == 2 and "--run" in wrong.output
