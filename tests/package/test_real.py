"""Real imagery, where it is at hand: drone mosaics, satellite tiles, and the bundled model."""

import numpy as np
import pytest
import rasterio
from conftest import DATA, REPO
from known_looks import halves, make_looks, write
from rasterio.windows import Window

import geossda
from geossda import HarmonizeConfig, evaluate, harmonize, info, segment
from geossda.config import METHODS
from geossda.evaluation.metrics import wasserstein
from geossda.raster.histograms import histograms
from geossda.raster.mosaic import open_mosaic
from geossda.runtime.choice import has_vnni

MODEL = REPO / "geossda" / "weights" / "segmenter.safetensors"


def cut(source, target, window):
    """Copy a window of a raster, with its mask."""
    with rasterio.open(source) as dataset, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        profile = {
            "driver": "GTiff", "width": window.width, "height": window.height,
            "count": dataset.count, "dtype": dataset.dtypes[0], "crs": dataset.crs,
            "transform": dataset.window_transform(window), "nodata": dataset.nodata,
        }  # fmt: skip
        with rasterio.open(target, "w", **profile) as copy:
            copy.write(dataset.read(window=window))
            copy.colorinterp = dataset.colorinterp
            if dataset.mask_flag_enums[0] == [rasterio.enums.MaskFlags.per_dataset]:
                copy.write_mask(dataset.dataset_mask(window=window))
    return target


@pytest.mark.parametrize(("source", "style"), [("nepal/mosaic_0", "kampala/mosaic_1"),
                                               ("kampala/mosaic_1", "nepal/mosaic_1")])  # fmt: skip
def test_histogram_takes_away_four_fifths_of_the_distance(places, tmp_path, source, style):
    source, style = places / f"{source}.tif", places / f"{style}.tif"
    config = HarmonizeConfig(method="histogram")
    out = harmonize(source, tmp_path / "out.tif", style=style, config=config).outputs[0]
    one, other, after = (histograms(open_mosaic(path)) for path in (source, style, out))
    before = wasserstein(one, other).mean()
    assert before > 5
    assert wasserstein(after, other).mean() <= 0.2 * before
    with rasterio.open(source) as given, rasterio.open(out) as made:
        assert (made.crs, made.transform, made.shape) == (given.crs, given.transform, given.shape)
        assert np.array_equal(made.dataset_mask(), given.dataset_mask())


SATELLITE = [
    ("vegas_labelled", "vegas_crop_uint16", "uint16", 3),
    ("vegas_edge_nodata", "vegas_labelled", "uint16", 3),
    ("shanghai_8band", "shanghai_8band", "uint16", 8),
    ("vegas_4band", "paris", "uint8", 4),  # the fourth is alpha in fact
    ("paris", "vegas_labelled", "uint8", 3),
    ("vegas_crop_uint16", "paris", "uint16", 3),
]


@pytest.mark.parametrize(("name", "style", "dtype", "bands"), SATELLITE)
def test_satellite_tiles_of_every_kind_go_through(satellite, tmp_path, name, style, dtype, bands):
    source = cut(satellite / f"{name}.tif", tmp_path / f"{name}.tif", Window(0, 20, 300, 290))
    reference = satellite / f"{style}.tif"
    nodata = 0.0 if name == "vegas_edge_nodata" else None
    for method in METHODS:
        config = HarmonizeConfig(method=method, nodata=nodata)
        look = None if method == "equalize" else reference
        out = harmonize(source, tmp_path / f"{method}.tif", style=look, config=config).outputs[0]
        with rasterio.open(source) as given, rasterio.open(out) as made:
            assert (made.count, made.dtypes[0]) == (bands, dtype)
            for kept in ("crs", "transform", "shape", "colorinterp"):
                assert getattr(made, kept) == getattr(given, kept)
            before, after = given.read(), made.read()
            if nodata is not None:
                assert made.nodata == 0
                assert np.array_equal((after == 0).all(axis=0), (before == 0).all(axis=0))
                assert (before == 0).all(axis=0).any()
            assert not np.array_equal(before, after)
            alphas = [rasterio.enums.ColorInterp.alpha]
            colours = bands - (list(made.colorinterp[-1:]) == alphas)
            assert all(after[band].std() > 0 for band in range(colours))
            assert np.array_equal(after[colours:], before[colours:])


def test_edges_without_data_are_hinted_at(satellite, tmp_path, listener):
    path = satellite / "vegas_edge_nodata.tif"
    config = HarmonizeConfig(method="equalize")
    harmonize(path, tmp_path / "out.tif", config=config, progress=listener)
    assert any("--nodata 0" in text for text in listener.warnings)


def test_near_infrared_is_not_taken_for_alpha(satellite):
    """Both files label their fourth band alpha; only one of them has opacity in it."""
    opaque, infrared = satellite / "vegas_4band.tif", DATA / "dates" / "naip_20090818.tif"
    assert (info(opaque)["bands"], info(opaque)["validity"]) == (3, ["alpha"])
    assert (info(infrared)["bands"], info(infrared)["validity"]) == (4, ["nodata"])


def test_a_date_comes_to_look_like_another(tmp_path):
    """The same ground on two days: the result must be nearer to the second picture itself."""
    one, other = (DATA / "dates" / f"naip_{day}.tif" for day in ("20090818", "20140720"))
    if not one.exists():
        pytest.skip(f"real imagery is not here: {one}")
    out = harmonize(one, tmp_path / "out.tif", style=other).outputs[0]
    with rasterio.open(one) as a, rasterio.open(other) as b, rasterio.open(out) as c:
        rows = min(a.height, b.height)
        first, second, made = (d.read()[:, :rows].astype(float) for d in (a, b, c))
    error = [np.abs(image - second).mean() for image in (first, made)]
    assert error[1] < 0.8 * error[0]


@pytest.mark.skipif(not MODEL.exists(), reason="no bundled model in this checkout")
def test_the_bundled_model_finds_the_buildings_of_kampala(places, tmp_path):
    mosaic = places / "kampala" / "mosaic_1.tif"
    result = segment(mosaic, tmp_path / "out.gpkg", config=geossda.SegmentConfig(device="cpu"))
    found = evaluate(result.output, places / "kampala" / "footprints.gpkg", area=mosaic)
    assert result.buildings > 10
    assert found.pixels.iou > 0.5
    about = info("default")
    assert about["bands"] == ("red", "green", "blue") and about["licence"] and about["attribution"]


@pytest.mark.skipif(not MODEL.exists(), reason="no bundled model in this checkout")
def test_the_bundled_model_on_a_satellite_tile_that_it_was_not_trained_on(satellite, tmp_path):
    tile = satellite / "vegas_labelled.tif"
    result = segment(tile, tmp_path / "out.gpkg", config=geossda.SegmentConfig(device="cpu"))
    found = evaluate(result.output, satellite / "vegas_labelled_mask.tif", area=tile)
    # Measured: 0.738 and 0.875; the model before had 0.601 and 0.690.
    assert found.pixels.iou > 0.7 and found.objects.f1 > 0.8
    about = info("default")
    assert about["outputs"] == ("building", "boundary", "distance") and about["floor"] == 0.4
    assert all(name in about["attribution"] for name in ("OpenAerialMap", "SpaceNet", "OpenStreet"))
    assert MODEL.stat().st_size < 12e6


@pytest.mark.skipif(not has_vnni(), reason="this processor has no instructions for int8")
def test_the_bundled_model_finds_the_same_in_8_bit_integers(satellite, tmp_path):
    masks = []
    for precision in ("auto", "float32"):
        mask = tmp_path / f"{precision}.tif"
        segment(satellite / "vegas_labelled.tif", tmp_path / f"{precision}.gpkg", mask=mask,
                device="cpu", precision=precision)  # fmt: skip
        with rasterio.open(mask) as dataset:
            masks.append(dataset.read(1))
            names = {"auto": "openvino int8", "float32": "openvino float32"}
            assert dataset.tags()["GEOSSDA_RUNTIME"] == names[precision]
    assert 0 < (masks[0] != masks[1]).mean() < 0.01


def test_the_bundled_style_model_on_what_it_has_not_seen(places):
    """Held-back patches of three places: edges kept, themselves in their own style.

    The distance between unlike places is no goal: it is least where roofs take the colors of the
    other place's meadows.
    """
    paths = [places / name / "mosaic_0.tif" for name in ("banepa", "kampala", "zanzibar")]
    config = geossda.EvaluateStyleConfig(patches=6, hold_out=0.2, device="cpu")
    rows = {row.method: row for row in geossda.evaluate_style(paths, config=config)}
    for structure in ("lock", "full"):
        row = rows[f"ssda {structure}"]
        assert row.fall > 0.5 and row.structure > 0.985
        assert row.reconstruction > 30


def test_like_land_is_nearer_to_a_known_change_than_mean_and_deviation(places, tmp_path):
    """The left half of a place as it is, in the style of its right half under a known change."""
    change = make_looks(1, seed=1)[0]
    decibels: dict[str, list[float]] = {"linear": [], "mixture": []}
    for place in ("banepa", "kampala", "zanzibar"):
        (left, valid), right = halves(places / place, 700)
        source = write(tmp_path / "source.tif", left, valid)
        reference = write(tmp_path / "reference.tif", change(right[0]), right[1])
        for method, found in decibels.items():
            result = geossda.harmonize(
                source, tmp_path / "out.tif", style=reference, method=method, overwrite=True
            )
            with rasterio.open(result.outputs[0]) as dataset:
                error = dataset.read().astype(float) - change(left)
            found.append(10 * np.log10(255**2 / np.mean(error[:, valid] ** 2)))
    # Measured with four changes: 30.4 and 34.5 dB.
    assert np.mean(decibels["mixture"]) > np.mean(decibels["linear"]) + 1


def test_dates_brought_to_each_other_come_nearer_to_the_truth_than_by_classical_methods():
    days = ("20090818", "20140720", "20190904")
    dates = [DATA / "dates" / f"naip_{day}.tif" for day in days]
    if not dates[0].exists():
        pytest.skip(f"real imagery is not here: {dates[0]}")
    config = geossda.EvaluateStyleConfig(truth=True, patches=6, hold_out=0.2, device="cpu")
    rows = {row.method: row for row in geossda.evaluate_style(dates, config=config)}
    for name in ("identity", "linear", "histogram"):
        assert rows["ssda lock"].psnr > rows[name].psnr
        assert rows["ssda lock"].ssim > rows[name].ssim
