"""`geossda polygonize` as a user runs it: any raster, any format, one line when it cannot."""

import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from geossda import PolygonizeConfig, polygonize
from geossda.errors import BandError, Cancelled, GeoreferenceError, InputError, OutputError


@pytest.fixture
def raster(tmp_path, make_raster):
    """Write a raster of two buildings of 200 and 96 pixels of 0.5 m; gives its path."""

    def write(name="mask.tif", dtype="uint8", value=1, bands=1, background=0, **how):
        image = np.full((bands, 60, 80), background, dtype)
        image[:, 10:20, 10:30] = value
        image[:, 40:52, 50:58] = value
        return make_raster(tmp_path / name, image=image, dtype=dtype, **how)

    return write


def run(*arguments):
    from geossda_cli.main import cli

    return CliRunner().invoke(cli, ["polygonize", *map(str, arguments)])


def read(path):
    return gpd.read_file(path, layer="buildings")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint8", 1), ("uint8", 255), ("int16", -3), ("float32", 0.8), ("float64", 1.0)],
)
def test_masks_and_probabilities(raster, tmp_path, dtype, value):
    result = polygonize(raster(dtype=dtype, value=value), tmp_path / "out.gpkg")
    frame = read(tmp_path / "out.gpkg")
    assert result.buildings == len(frame) == 2
    assert frame.pixels.tolist() == [200, 96]
    assert result.area_m2 == pytest.approx(296 * 0.25, rel=2e-3)
    assert ("confidence" in frame) == (dtype[0] == "f")
    if dtype[0] == "f":
        assert frame.confidence.tolist() == pytest.approx([value, value])


def test_nodata_is_no_building(raster, tmp_path, make_raster):
    image = np.ones((1, 40, 50), np.uint8)
    valid = np.ones((40, 50), bool)
    valid[10:20, 10:20] = False
    path = make_raster(tmp_path / "holed.tif", image=image, mask=True, valid=valid)
    polygonize(path, tmp_path / "out.gpkg")
    frame = read(tmp_path / "out.gpkg")
    assert frame.pixels.tolist() == [40 * 50 - 100]
    assert len(frame.geometry[0].interiors) == 1


def test_a_mask_that_declares_a_class_as_nodata_is_a_mask(raster, tmp_path):
    path = raster()
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 1
    assert polygonize(path, tmp_path / "out.gpkg").buildings == 2


def test_a_geopackage_is_written_without_pandas(raster, tmp_path):
    """It takes longer to load than most masks take."""
    code = (
        "import sys, geossda\n"
        "print(geossda.polygonize(*sys.argv[1:]).buildings)\n"
        "print(*sorted({'pandas', 'geopandas', 'scipy', 'pyogrio', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, raster(), tmp_path / "out.gpkg"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["2"]


def test_all_and_nothing(tmp_path, make_raster):
    for value, expected in ((0, 0), (1, 1)):
        path = make_raster(tmp_path / f"{value}.tif", image=np.full((1, 50, 60), value, np.uint8))
        done = run(path, "-o", tmp_path / f"{value}.gpkg", "--regularize", "rectilinear", "--split")
        assert done.exit_code == 0, done.output
        about = pyogrio.read_info(tmp_path / f"{value}.gpkg", layer="buildings")
        assert about["features"] == expected and about["geometry_type"] == "Polygon"


@pytest.mark.parametrize(("dtype", "nodata"), [("float32", -1), ("uint8", 255), ("int16", -9999)])
def test_nothing_but_nodata_is_warned_of(raster, tmp_path, listener, dtype, nodata):
    path = raster(
        dtype=dtype, value=nodata, background=nodata, nodata=nodata, valid=np.zeros((60, 80), bool)
    )
    assert polygonize(path, tmp_path / "out.gpkg", progress=listener).buildings == 0
    assert len(listener.warnings) == 1 and "nodata" in listener.warnings[0]


def test_corners_join_with_eight(tmp_path, make_raster):
    image = np.zeros((1, 20, 20), np.uint8)
    image[0, 2:6, 2:6] = image[0, 6:9, 6:9] = 1
    path = make_raster(tmp_path / "a.tif", image=image)
    assert polygonize(path, tmp_path / "4.gpkg").buildings == 2
    config = PolygonizeConfig(connectivity=8)
    assert polygonize(path, tmp_path / "8.gpkg", config=config).buildings == 1
    about = pyogrio.read_info(tmp_path / "8.gpkg", layer="buildings")
    assert about["geometry_type"] == "MultiPolygon"
    with pytest.raises(InputError, match="connectivity 4"):
        config = PolygonizeConfig(connectivity=8, regularize="rectilinear")
        polygonize(path, tmp_path / "no.gpkg", config=config)


def test_what_does_not_fit_is_told_in_one_line(raster, tmp_path):
    out = tmp_path / "out.gpkg"
    with pytest.raises(InputError, match=r"values from 0 to 7, probabilities in 0\.\.1"):
        polygonize(raster(dtype="float32", value=7), out)
    with pytest.raises(BandError, match="has 3 bands, one of buildings was expected"):
        polygonize(raster(bands=3), out)
    assert polygonize(raster(bands=3), out, config=PolygonizeConfig(bidx=(2,))).buildings == 2
    out.unlink()
    with pytest.raises(GeoreferenceError, match="no CRS"):
        polygonize(raster(crs=None), out)
    with pytest.raises(OutputError, match=r"ending in \.gpkg"):
        polygonize(raster(), tmp_path / "out.shp")
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_a_grey_image_is_no_mask(raster, tmp_path, listener):
    path = raster()
    with rasterio.open(path, "r+") as dataset:
        dataset.write(
            np.full((1, 5, 5), 90, np.uint8), window=rasterio.windows.Window(12, 12, 5, 5)
        )
    polygonize(path, tmp_path / "out.gpkg", progress=listener)
    assert len(listener.warnings) == 1 and "other values than 0" in listener.warnings[0]


@pytest.mark.parametrize("regularize", ["none", "rectilinear"])
def test_blocks_and_workers_change_no_polygon(tmp_path, make_raster, regularize):
    rng = np.random.default_rng(5)
    image = np.kron(rng.random((1, 30, 40)), np.ones((1, 7, 7))).astype(np.float32)
    path = make_raster(tmp_path / "p.tif", image=image, dtype="float32")
    whole = None
    for number, (block, workers) in enumerate([(1024, 1), (64, 1), (100, 2), (16, 2)]):
        config = PolygonizeConfig(
            threshold=0.6, regularize=regularize, split=True, block=block, workers=workers
        )
        polygonize(path, tmp_path / f"{number}.gpkg", config=config)
        frame = read(tmp_path / f"{number}.gpkg")
        if whole is None:
            whole = frame
            assert len(frame) > 50
        assert frame.to_wkb().equals(whole.to_wkb())


def test_houses_are_parted_the_same_whatever_the_temperature(tmp_path, make_raster):
    """Valleys are as deep as the model made them, however sure its probabilities are told to be."""
    rng = np.random.default_rng(3)
    noise = gaussian_filter(rng.normal(0, 1, (1, 150, 170)), (0, 5, 5)) / 0.02
    plain = make_raster(tmp_path / "p.tif", image=expit(noise).astype(np.float32), dtype="float32")
    cooled = expit(noise / 1.5).astype(np.float32)
    warm = make_raster(tmp_path / "w.tif", image=cooled, dtype="float32")
    with rasterio.open(warm, "r+") as dataset:
        dataset.update_tags(GEOSSDA_TEMPERATURE="1.5")
    untold = make_raster(tmp_path / "u.tif", image=cooled, dtype="float32")
    with rasterio.open(untold, "r+") as dataset:
        dataset.update_tags(GEOSSDA_TEMPERATURE="warm")
    frames = []
    for path in (plain, warm, untold):
        out = path.with_suffix(".gpkg")
        polygonize(path, out, config=PolygonizeConfig(split=True, min_area=0.0))
        frames.append(read(out))
    assert frames[0].geometry.to_wkb().equals(frames[1].geometry.to_wkb())
    assert len(frames[0]) > len(frames[2]) > 5
    assert np.all(frames[1].confidence < frames[0].confidence)


def test_a_cancel_leaves_nothing(raster, tmp_path, interrupter):
    path = raster()
    with pytest.raises(Cancelled):
        polygonize(
            path, tmp_path / "out.gpkg",
            config=PolygonizeConfig(block=16), progress=interrupter("polygonizing", 3, Cancelled()),
        )  # fmt: skip
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mask.tif"]


def test_existing_files_are_kept_appended_to_or_replaced(raster, tmp_path):
    path, out = raster(), tmp_path / "out.gpkg"
    assert run(path, "-o", out).exit_code == 0
    kept = run(path, "-o", out)
    assert isinstance(kept.exception, OutputError) and "--overwrite" in str(kept.exception)
    assert run(path, "-o", out, "--append").exit_code == 0
    assert read(out).id.tolist() == [1, 2, 3, 4]
    assert run(path, "-o", out, "--overwrite").exit_code == 0
    assert read(out).id.tolist() == [1, 2]


def test_the_layer_tells_where_it_comes_from(raster, tmp_path):
    run(raster(dtype="float32", value=0.8), "-o", tmp_path / "out.gpkg", "--threshold", "0.7")
    about = pyogrio.read_info(tmp_path / "out.gpkg", layer="buildings")["layer_metadata"]
    assert about["GEOSSDA_THRESHOLD"] == "0.7"
    assert json.loads(about["GEOSSDA_SOURCES"]) == ["mask.tif"]
    assert json.loads(about["GEOSSDA_SETTINGS"])["regularize"] == "none"


def test_errors_are_mapped(raster, tmp_path):
    from geossda import evaluate

    polygonize(raster(), tmp_path / "true.gpkg")
    first = read(tmp_path / "true.gpkg").geometry.iloc[:1]
    both = [first.iloc[0], first.translate(15, -3).iloc[0]]
    gpd.GeoDataFrame(geometry=both, crs=first.crs).to_file(
        tmp_path / "found.gpkg", layer="buildings"
    )
    result = evaluate(
        tmp_path / "found.gpkg", tmp_path / "true.gpkg", errors=tmp_path / "errors.gpkg"
    )
    assert (result.objects.hit, result.objects.false_alarm, result.objects.miss) == (1, 1, 1)
    frame = gpd.read_file(tmp_path / "errors.gpkg", layer="errors")
    assert sorted(frame.kind) == ["false alarm", "hit", "miss"]
    assert frame.iou.dropna().tolist() == [1.0]
    layers = {str(name) for name, _ in pyogrio.list_layers(tmp_path / "errors.gpkg")}
    assert layers == {"errors", "layer_styles"}
