"""Sources balanced by what they show where they overlap."""

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from conftest import build_raster, synthesize
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geossda import harmonize
from geossda.balance import gains as solvers
from geossda.balance.decorrelated_color import from_decorrelated, to_decorrelated
from geossda.balance.gains import solve_gains, solve_gains_and_offsets
from geossda.balance.overlap_moments import OverlapMoments, measure_overlaps
from geossda.errors import BandError, GeoreferenceError, InputError
from geossda.raster.mosaic import open_mosaic
from geossda_cli.main import cli

COSTS = ("rmse", "mu", "musig")
GSD = 0.5
# What scenes show is the ground times these.
FACTORS = (1.0, 2.0, 0.5)


def moments_of(area, mean, std, product=None):
    """Moments of one band from matrices; products as of images that vary alike by default."""
    area, mean, std = (np.array(each, float) for each in (area, mean, std))
    product = mean * mean.T + std * std.T if product is None else np.array(product, float)
    names = tuple("abc"[: len(area)])
    return OverlapMoments(names, area, *(each[:, :, None] for each in (mean, std, product)))


def chain(factors, offsets=(0, 0, 0), mean=10.0, std=2.0):
    """Three scenes of one ground in a row, the middle one overlapping both others."""
    area = [[100, 20, 0], [20, 100, 30], [0, 30, 100]]
    there = np.array(area) > 0
    means = (np.array(factors) * mean + offsets)[:, None] * there
    return moments_of(area, means, (np.array(factors) * std)[:, None] * there)


@pytest.mark.parametrize("cost", COSTS)
def test_known_gains_of_three_scenes(cost):
    """Sums 10 + 20 + 5 become three times the same: each 35/3."""
    gains, offsets = solve_gains(chain(FACTORS), cost)
    assert np.allclose(gains[:, 0], np.array([1, 1 / 2, 2]) * 35 / 30)
    assert not offsets.any()


def test_gains_of_images_that_differ_by_hand():
    """Minimize 5x² - 2·3xy + 4y² with x + y = 2: x = 2(3 + 4)/(5 + 2·3 + 4) = 14/15."""
    mean, std = [[1, 1], [1, 1]], [[2, 2], [np.sqrt(3), np.sqrt(3)]]
    moments = moments_of([[1, 1], [1, 1]], mean, std, [[0, 3], [3, 0]])
    assert np.allclose(solve_gains(moments, "rmse")[0][:, 0], [14 / 15, 16 / 15])
    # Means agree already.
    assert np.allclose(solve_gains(moments, "mu")[0][:, 0], 1)
    # 5x² - 2(1 + 2√3)xy + 4y².
    product = 1 + 2 * np.sqrt(3)
    wanted = 2 * (product + 4) / (5 + 2 * product + 4)
    assert np.allclose(solve_gains(moments, "musig")[0][:, 0], [wanted, 2 - wanted])


def test_known_gains_and_offsets_of_three_scenes(monkeypatch):
    factors, offsets = np.array([1.0, 2.0, 0.5]), np.array([0.0, -3.0, 4.0])
    moments = chain(factors, offsets)
    monkeypatch.setattr(solvers, "ANCHOR_WEIGHT", 1e-9)
    gains, added = (each[:, 0] for each in solve_gains_and_offsets(moments))
    # Standard deviations 2, 4, 1 become 7/3 each, means 10, 17, 9 become 12.
    assert np.allclose(gains * factors * 2, 7 / 3, rtol=1e-5)
    assert np.allclose(gains * (10 * factors + offsets) + added, 12, rtol=1e-5)


def test_anchors_keep_the_sums_and_change_little():
    gains, added = (each[:, 0] for each in solve_gains_and_offsets(chain(FACTORS, (0, -3, 4))))
    means = np.array([10.0, 17.0, 9.0])
    assert np.isclose((gains * means + added).sum(), means.sum())
    assert np.isclose((gains * np.array([2, 4, 1])).sum(), 7)
    assert np.allclose(gains, np.array([7 / 6, 7 / 12, 7 / 3]), rtol=0.03)


def test_groups_are_solved_by_themselves():
    area = [[10, 5, 0], [5, 10, 0], [0, 0, 10]]
    there = np.array(area) > 0
    moments = moments_of(area, np.array([[2.0], [4.0], [7.0]]) * there, np.ones((3, 3)) * there)
    assert moments.groups() == [[0, 1], [2]]
    assert np.allclose(solve_gains(moments, "mu")[0][:, 0], [1.5, 0.75, 1])


def test_what_determines_no_gain_is_named():
    constant = chain((1, 0, 1), mean=10, std=2)
    for solve in (lambda m: solve_gains(m, "rmse"), solve_gains_and_offsets):
        with pytest.raises(InputError, match=r"band 1 of b and what overlaps it.*singular"):
            solve(constant)
    opposite = moments_of([[1, 1], [1, 1]], [[1, -1], [2, 3]], [[0.1, 0.1], [0.1, 0.1]])
    with pytest.raises(InputError, match="not above 0"):
        solve_gains(opposite, "mu")
    # What is left of the band of the first scene is nothing.
    assert np.allclose(solve_gains(opposite, "mu", with_zero=True)[0][:, 0], [0, 4])


def test_decorrelated_color_is_inverted():
    rgb = np.random.default_rng(0).uniform(5, 250, (3, 40))
    channels = to_decorrelated(rgb, (0, 255))
    assert np.allclose(from_decorrelated(channels, (0, 255)), rgb)
    gray = to_decorrelated(np.full((3, 1), 100.0), (0, 255))
    assert np.isclose(gray[0, 0], 2 * np.sqrt(3), rtol=1e-3) and np.abs(gray[1:]).max() < 0.01
    assert np.allclose(to_decorrelated(rgb * 257, (0, 65535)), channels)


# Files


def write(path, image, row, col, side=(120, 140), **settings):
    """Write a part of an image at its place."""
    part = image[:, row : row + side[0], col : col + side[1]]
    origin = (500000.0 + GSD * col, 5200000.0 - GSD * row)
    return build_raster(path, image=part, dtype=image.dtype, origin=origin, gsd=GSD, **settings)


def scenes_of(tmp_path, factors=FACTORS, **settings):
    """Write three scenes in a row that overlap by 40 columns."""
    ground = synthesize(3, (120, 340), "uint16", 5).astype(float)
    return [
        write(tmp_path / f"{name}.tif", np.rint(ground * factor).astype(np.uint16), 0, 100 * number,
              **settings)
        for number, (name, factor) in enumerate(zip("abc", factors, strict=True))
    ]  # fmt: skip


def pixels_of(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def gains_in(path):
    with rasterio.open(path) as dataset:
        return np.array(json.loads(dataset.tags()["GEOSSDA_GAINS"]))


@pytest.mark.parametrize("settings", [{"balance": "qp", "balance_cost": "mu"},
                                      {"balance": "gain-offset"}])  # fmt: skip
def test_gains_of_files(tmp_path, settings):
    paths = scenes_of(tmp_path)
    harmonize(paths, f"{tmp_path}/parts/", scenes="none", **settings)
    gains = np.concatenate([gains_in(tmp_path / f"parts/{name}.tif") for name in "abc"])
    assert np.allclose(gains / gains[:1], np.array([[1], [0.5], [2]]), rtol=0.01)
    # Overlaps show no step: the ground has one value, whichever scene is on top.
    one, other = (pixels_of(tmp_path / f"parts/{name}.tif").astype(float) for name in "bc")
    assert np.abs(one[:, :, 100:] - other[:, :, :40]).max() < 0.02 * one.mean()


def test_how_work_is_cut_changes_no_pixel(tmp_path):
    paths = scenes_of(tmp_path)
    outputs = [tmp_path / f"{tile}.tif" for tile in (48, 1024)]
    for out, tile in zip(outputs, (48, 1024), strict=True):
        harmonize(paths, out, balance="gain-offset", scenes="none", tile=tile)
    assert np.array_equal(*map(pixels_of, outputs))


def test_statistics_do_not_depend_on_pixels_read_at_a_time(tmp_path, monkeypatch):
    mosaic = open_mosaic(scenes_of(tmp_path))
    whole = measure_overlaps(mosaic)
    monkeypatch.setattr("geossda.balance.overlap_moments._TILE", 32)
    cut = measure_overlaps(mosaic)
    assert np.allclose(whole.product, cut.product) and np.array_equal(whole.area, cut.area)
    # 40 columns are common.
    assert whole.area[0, 1] == 40 * 120 and whole.area[0, 2] == 0
    monkeypatch.setattr("geossda.balance.overlap_moments.MEASURED_PX", 1200)
    coarse = measure_overlaps(mosaic)
    assert np.isclose(coarse.area[0, 1], 40 * 120, rtol=0.05)
    assert np.allclose(coarse.mean[0, 1], whole.mean[0, 1], rtol=0.03)


def test_sources_on_other_grids_and_in_other_crs(tmp_path):
    a, b, c = scenes_of(tmp_path)
    for path, name, options in (
        (b, "coarse.tif", {"width": 70, "height": 60}),
        (c, "other.tif", {"crs": CRS.from_epsg(3857)}),
    ):
        with rasterio.open(path) as source:
            if "width" in options:
                options["transform"] = source.transform * source.transform.scale(2, 2)
                options["crs"] = source.crs
            with WarpedVRT(
                source, resampling=Resampling.bilinear, add_alpha=True, **options
            ) as vrt:
                profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "crs": vrt.crs,
                           "transform": vrt.transform, "width": vrt.width, "height": vrt.height,
                           "nodata": 0}  # fmt: skip
                with rasterio.open(tmp_path / name, "w", **profile) as made:
                    made.write(np.where(vrt.read(4) == 65535, vrt.read([1, 2, 3]), 0))
    out = tmp_path / "out.tif"
    harmonize([a, tmp_path / "coarse.tif", tmp_path / "other.tif"], out, scenes="none",
              balance="gain-offset")  # fmt: skip
    gains = gains_in(out)
    assert np.allclose(gains / gains[:1], np.array([[1], [0.5], [2]]), rtol=0.08)


def test_decorrelated_color_of_files(tmp_path, listener):
    paths = scenes_of(tmp_path, (1.0, 0.8, 0.7))
    parts = f"{tmp_path}/parts/"
    harmonize(paths, parts, scenes="none", balance="gain-offset", balance_space="decorrelated")
    one, other = (pixels_of(tmp_path / f"parts/{name}.tif").astype(float) for name in "bc")
    assert np.abs(one[:, :, 100:] - other[:, :, :40]).mean() < 0.02 * one.mean()
    harmonize(paths, tmp_path / "qp.tif", scenes="none", balance="qp", progress=listener,
              balance_space="decorrelated")  # fmt: skip
    assert any("l alpha beta" in note for note in listener.notes)


def test_one_transform_follows_so_that_scenes_stay_at_one_level(tmp_path):
    paths = scenes_of(tmp_path)
    style = build_raster(tmp_path / "style.tif", dtype="uint16", size=(120, 140), seed=9)
    harmonize(paths, f"{tmp_path}/parts/", style=style, method="linear", scenes="none",
              balance="gain-offset")  # fmt: skip
    one, other = (pixels_of(tmp_path / f"parts/{name}.tif").astype(float) for name in "bc")
    assert np.abs(one[:, :, 100:] - other[:, :, :40]).max() < 0.02 * one.mean()
    harmonize(paths, f"{tmp_path}/still/", style=style, method="linear", scenes="none",
              balance="gain-offset", strength=0.0)  # fmt: skip
    assert np.array_equal(pixels_of(tmp_path / "still/b.tif"), pixels_of(paths[1]))


def test_nodata_enters_nothing(tmp_path):
    valid = np.ones((120, 140), bool)
    valid[30:60, 110:130] = valid[40:70, 5:30] = False
    paths = scenes_of(tmp_path, nodata=0, valid=valid)
    harmonize(paths, f"{tmp_path}/parts/", scenes="none", balance="qp")
    for name, factor in zip("abc", FACTORS, strict=True):
        out = tmp_path / f"parts/{name}.tif"
        assert np.array_equal((pixels_of(out) == 0).all(0), ~valid)
        assert np.allclose(gains_in(out), 35 / 30 / factor, rtol=0.1)


# Bad input


def test_sources_that_do_not_overlap(tmp_path, listener):
    a, b, c = scenes_of(tmp_path)
    with pytest.raises(GeoreferenceError, match="fewer than 100 valid pixels in common"):
        harmonize([a, c], tmp_path / "out.tif", balance="qp")
    assert not (tmp_path / "out.tif").exists()
    apart = synthesize(3, (120, 140), "uint16", 8)
    d = build_raster(tmp_path / "d.tif", image=apart, dtype="uint16", origin=(600000.0, 5200000.0))
    far = (600000.0 + GSD * 100, 5200000.0)
    e = build_raster(tmp_path / "e.tif", image=apart, dtype="uint16", origin=far)
    harmonize([a, b, d], f"{tmp_path}/one/", scenes="none", balance="qp", progress=listener)
    assert listener.warnings == [f"{d} overlaps no other source: it is not balanced"]
    assert np.array_equal(pixels_of(tmp_path / "one/d.tif"), pixels_of(d))
    harmonize([a, d, b, e], f"{tmp_path}/two/", scenes="none", balance="qp", progress=listener)
    assert "2 groups that do not overlap" in listener.warnings[-1]


def test_overlaps_of_nodata_only(tmp_path):
    valid = np.ones((120, 140), bool)
    valid[:, 100:] = False
    paths = scenes_of(tmp_path, nodata=0, valid=valid)
    with pytest.raises(GeoreferenceError, match="check their CRS and nodata"):
        harmonize(paths, tmp_path / "out.tif", balance="gain-offset")


def test_sources_that_cannot_be_balanced(tmp_path):
    a, b, _ = scenes_of(tmp_path)
    out = tmp_path / "out.tif"
    with pytest.raises(InputError, match="is one source"):
        harmonize(a, out, balance="qp")
    other = build_raster(tmp_path / "four.tif", bands=4, dtype="uint16")
    with pytest.raises(BandError, match="has 4 bands"):
        harmonize([a, other], out, balance="qp")
    again = build_raster(tmp_path / "again.tif", bands=4, dtype="uint16")
    with pytest.raises(BandError, match="decorrelated colour takes red, green and blue"):
        harmonize([other, again], out, balance="qp", balance_space="decorrelated")
    dark = write(tmp_path / "dark.tif", np.zeros((3, 120, 340), np.uint16), 0, 100)
    for balance in ("qp", "gain-offset"):
        with pytest.raises(InputError, match="singular"):
            harmonize([a, b, dark], out, balance=balance, scenes="none")
    assert not out.exists()


def test_command_line(tmp_path):
    paths = scenes_of(tmp_path)
    out = tmp_path / "out.tif"
    command = ["harmonize", *map(str, paths), "--balance", "gain-offset", "--scenes", "none"]
    result = CliRunner().invoke(cli, [*command, "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert gains_in(out).shape == (3, 3)
    with rasterio.open(out) as dataset:
        assert dataset.tags()["GEOSSDA_METHOD"] == "none"
