"""Scenes of one mosaic: read or found, and brought to one radiometry."""

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from click.testing import CliRunner
from conftest import build_raster

from geossda import HarmonizeConfig, harmonize, scenes
from geossda.balance.balancing import balance_scenes, measure_balance
from geossda.balance.scene_detection import find_scenes
from geossda.balance.scenes import Scenes, read_scenes
from geossda.balance.seam_detection import _straightest
from geossda.balance.seam_search import SeamSearch, count_tones
from geossda.balance.tone_curves import KNOTS, QUANTILES, Border, solve_curves
from geossda.errors import GeoreferenceError, OutputError, OutputExistsError, VectorError
from geossda.raster.grid import Grid
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window, tiles
from geossda_cli.main import cli

SLANT = 0.05


def ground(size, bands=3, seed=0):
    """Fields, houses and grain, with power at all scales; 0..1."""
    rng = np.random.default_rng(seed)
    rows = np.fft.fftfreq(size)[:, None]
    power = 1 / np.maximum(np.hypot(rows, np.fft.rfftfreq(size)), 6 / size) ** 1.1
    scene = []
    shared = rng.normal(size=(size, size // 2 + 1)) + 1j * rng.normal(size=(size, size // 2 + 1))
    for _ in range(bands):
        own = rng.normal(size=shared.shape) + 1j * rng.normal(size=shared.shape)
        band = np.fft.irfft2((shared + 0.3 * own) * power, (size, size))
        scene.append(band / band.std())
    image = np.stack(scene)
    for _ in range(size * size // 1500):  # houses, brighter or darker, in every direction
        row, col = rng.integers(0, size - 24, 2)
        height, width = rng.integers(6, 24, 2)
        image[:, row : row + height, col : col + width] += rng.normal(0, 1.2, (bands, 1, 1))
    return np.clip(0.45 + 0.11 * image + rng.normal(0, 0.01, image.shape), 0.02, 0.98)


def away_from(size, cut):
    """Give how far right of a slanted line every pixel lies."""
    y, x = np.mgrid[:size, :size] + 0.5
    return x - (cut + SLANT * (y - size / 2))


def strips(image, cut, feather=0):
    """Give the right part gain, gamma and haze."""
    share = np.clip(away_from(image.shape[1], cut) / max(feather, 1e-6) + 0.5, 0, 1)
    other = 0.65 * image**1.1 + 0.29
    return image * (1 - share) + other * share


def polygons(size, cut):
    """Give the two parts in pixels."""
    top, bottom = (cut + SLANT * (y - size / 2) for y in (-5, size + 5))
    left = shapely.Polygon([(-5, -5), (top, -5), (bottom, size + 5), (-5, size + 5)])
    return left, shapely.box(-5, -5, size + 5, size + 5).difference(left)


def step(image, clean, cut, feather):
    """Give the step across the edge, the ground's own taken off."""
    away, gap = away_from(image.shape[1], cut), feather / 2
    front, back = (away < -gap) & (away > -gap - 12), (away > gap) & (away < gap + 12)
    return [
        abs((a[back].mean() - a[front].mean()) - (c[back].mean() - c[front].mean()))
        for a, c in zip(image.astype(float), clean.astype(float), strict=True)
    ]


def varying(deviations):
    """Give differences of the ground whose tones vary by themselves, one sample to a tone."""
    size = len(deviations)
    return (np.diag(deviations) * size**0.5)[:, None]


def border(first, second, tones):
    """A border whose tones vary as much dark as bright, each by itself."""
    ground = varying(np.full(len(QUANTILES), 0.01))
    return Border(first, second, tones[None, :, None].repeat(24, 0), ground, 0, 50.0)


def test_curves_undo_what_scenes_differ_in():
    tones = np.linspace(0.1, 0.9, len(QUANTILES))
    seen = [tones, 0.7 * tones + 0.2, tones**1.4]
    borders = [border(a, b, np.stack([seen[a], seen[b]])) for a, b in ((0, 1), (1, 2))]
    curves = solve_curves(borders, 3, 1)
    assert curves.shape == (3, 1, KNOTS)
    knots = np.linspace(0, 1, KNOTS)
    after = [np.interp(tone, knots, curve[0]) for tone, curve in zip(seen, curves, strict=True)]
    for a, b in ((0, 1), (1, 2)):
        before = np.abs(seen[a] - seen[b]).mean()
        assert np.abs(after[a] - after[b]).mean() < 0.1 * before
    assert np.allclose(curves.mean(0), knots, atol=0.01)
    assert (np.diff(curves, axis=-1) >= 0).all()


def test_a_scene_that_meets_none_keeps_its_values():
    tones = np.linspace(0.1, 0.9, len(QUANTILES))
    curves = solve_curves([border(0, 1, np.stack([tones, 0.8 * tones]))], 3, 1)
    assert np.allclose(curves[2, 0], np.linspace(0, 1, KNOTS), atol=1e-6)


def test_tones_that_are_not_known_are_left_out():
    tones = np.linspace(0.1, 0.9, len(QUANTILES))
    seen = np.stack([tones, tones])
    seen[1, -3:] = np.nan
    assert np.allclose(solve_curves([border(0, 1, seen)], 2, 1), np.linspace(0, 1, KNOTS))


def test_tones_that_vary_by_themselves_count_less():
    tones = np.linspace(0.1, 0.9, len(QUANTILES))
    other = tones + np.where(tones > 0.6, 0.2, 0.0)
    firm = varying(np.full(len(QUANTILES), 0.01))
    loose = varying(np.where(tones > 0.6, 1.0, 0.01))
    change = []
    for usual in (firm, loose):
        one = Border(0, 1, np.stack([tones, other])[None, :, None], usual, 0, 50.0)
        curves = solve_curves([one], 2, 1)
        change.append(np.abs(curves[0] - curves[1]).max())
    assert change[1] < 0.5 * change[0]


def test_labels_are_those_of_pixel_centres_the_first_on_top():
    scenes = Scenes((shapely.box(0, 0, 4.6, 9), shapely.box(3, 0, 8, 9)))
    row = scenes.labels(Window(2, 0, 1, 10))[0]
    assert row.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert (scenes.labels(Window(20, 20, 3, 4)) == 2).all()
    whole = scenes.labels(Window(0, 0, 9, 10))
    assert np.array_equal(scenes.labels(Window(3, 2, 4, 5)), whole[3:7, 2:7])


def test_meetings_are_where_scenes_are_seen_to_meet():
    scenes = Scenes((shapely.box(0, 0, 4, 10), shapely.box(3, 0, 10, 10)))
    (meeting,) = scenes.borders((10, 10))
    assert (meeting.first, meeting.second) == (0, 1)
    assert meeting.line.equals(shapely.LineString([(4, 0), (4, 10)]))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857"])
def test_footprints_of_scenes_in_any_crs(tmp_path, crs):
    transform = Affine.translation(500000, 5200000) * Affine.rotation(20) * Affine.scale(2, -2)
    path = build_raster(tmp_path / "a.tif", size=(80, 90), transform=transform)
    grid = open_mosaic(path).grid
    corners = [(0, 0), (40, 0), (55, 80), (0, 80)]
    frame = geopandas.GeoDataFrame(
        geometry=[shapely.Polygon([transform * corner for corner in corners])], crs="EPSG:32633"
    ).to_crs(crs)
    frame.to_file(tmp_path / "s.gpkg")
    labels = read_scenes(tmp_path / "s.gpkg", grid).labels(Window(0, 0, 80, 90))
    wanted = Scenes((shapely.Polygon(corners),)).labels(Window(0, 0, 80, 90))
    assert (labels != wanted).mean() < 0.002


def test_scenes_on_another_grid_lie_on_the_same_ground(tmp_path):
    mosaic = open_mosaic(build_raster(tmp_path / "a.tif", size=(80, 90)))
    scenes = Scenes((shapely.box(10, 20, 50, 60),))
    place, *_ = rasterio.warp.calculate_default_transform(
        mosaic.grid.crs.to_wkt(), "EPSG:4326", 90, 80, *mosaic.grid.extent.bounds
    )
    degrees = Grid((80, 90), place, "EPSG:4326")
    for grid in (mosaic.grid.zoom_out(2), mosaic.grid[4:70, 6:80], degrees):
        moved = scenes.on(mosaic.grid, grid).polygons[0]
        back = Scenes((moved,)).on(grid, mosaic.grid).polygons[0]
        assert back.symmetric_difference(scenes.polygons[0]).area < 2


@pytest.mark.parametrize(
    ("shapes", "crs", "error", "said"),
    [
        ([shapely.Point(1, 2)], "EPSG:32633", VectorError, "contains no polygon"),
        ([shapely.box(0, 0, 1, 1)], "EPSG:32633", GeoreferenceError, "do not overlap the raster"),
        ([shapely.box(0, 0, 1, 1)], None, GeoreferenceError, "must both have a CRS"),
    ],
)
def test_scenes_that_cannot_be_used(tmp_path, shapes, crs, error, said):
    grid = open_mosaic(build_raster(tmp_path / "a.tif")).grid
    path = tmp_path / "s.geojson"
    if crs is None:  # what has no CRS in every format
        grid = Grid(grid.shape, grid.transform, None)
        crs = "EPSG:4326"
    geopandas.GeoDataFrame(geometry=shapes, crs=crs).to_file(path)
    with pytest.raises(error, match=said):
        read_scenes(path, grid)


def test_a_scenes_file_that_is_none_is_one_line(tmp_path):
    path = build_raster(tmp_path / "a.tif")
    (tmp_path / "s.gpkg").write_text("no")
    done = CliRunner().invoke(
        cli,
        ["harmonize", str(path), "--style", str(path), "--scenes", str(tmp_path / "s.gpkg")],
    )
    assert done.exit_code == 1
    assert "can be read" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not list(tmp_path.glob("*harmonized*"))


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory):
    """A clean ground and the same in two scenes, hard and feathered: (folder, size, cut)."""
    folder = tmp_path_factory.mktemp("scenes")
    size, cut = 1024, 560
    clean = ground(size)
    for name, image in (
        ("clean", clean),
        ("hard", strips(clean, cut)),
        ("feathered", strips(clean, cut, 64)),
    ):
        build_raster(folder / f"{name}.tif", image=np.rint(image * 255).astype(np.uint8))
    return folder, size, cut


def read(path):
    with rasterio.open(path) as data:
        return data.read()


def applied(mosaic, tile):
    image = np.zeros((mosaic.count, *mosaic.shape), mosaic.dtype)
    for window in tiles(mosaic.shape, tile):
        image[:, window.rows, window.cols] = mosaic.read(window)[0]
    return image


@pytest.mark.parametrize(("name", "feather", "fall"), [("hard", 0, 0.9), ("feathered", 64, 0.8)])
def test_scenes_given_are_levelled(mosaics, name, feather, fall):
    folder, size, cut = mosaics
    mosaic = open_mosaic(folder / f"{name}.tif")
    levelling = measure_balance(mosaic, Scenes(polygons(size, cut)), (0.0, 255.0))
    assert bool(levelling.feathers) == bool(feather)
    window = Window(0, 0, size, size)
    before, valid = mosaic.read(window)
    after = levelling(before, valid, window, mosaic.grid)
    clean = read(folder / "clean.tif")
    left = np.mean(step(after, clean, cut, feather)) / np.mean(step(before, clean, cut, feather))
    assert left <= 1 - fall
    assert (
        np.corrcoef(np.diff(after[0].ravel() * 1.0), np.diff(clean[0].ravel() * 1.0))[0, 1] > 0.95
    )


def test_a_hard_seam_is_found_to_the_pixel(mosaics):
    folder, size, cut = mosaics
    scenes = find_scenes(open_mosaic(folder / "hard.tif"))
    assert len(scenes.polygons) == 2
    found = scenes.labels(Window(0, 0, size, size))
    wanted = Scenes(polygons(size, cut)).labels(Window(0, 0, size, size))
    wrong = min((found != wanted).mean(), (found == wanted).mean())
    assert wrong * size <= 1.5  # columns


@pytest.mark.parametrize("unknown", [0, 2])
def test_the_line_along_which_steps_agree_is_found(unknown):
    """Whatever its slope; pieces that nothing is known of do not vote."""
    rng = np.random.default_rng(2)
    places = np.arange(12) * 40.0
    steps = rng.normal(size=(12, 3, 61))
    turn, middle = 0.05, 22
    at = np.rint(middle + turn * (places - places.mean())).astype(int)
    steps[np.arange(12), :, at] += 5
    steps[:unknown] = np.nan
    found = _straightest(steps, places)
    drawn = np.rint(found[1] + found[0] * (places - places.mean())).astype(int)
    assert np.abs(drawn - at).max() <= 1 and np.mean(drawn == at) > 0.8
    assert found[2] > 8
    # The same line in a mirror, and none where most is not known.
    turned = _straightest(steps[:, :, ::-1], places)
    assert turned[:2] == pytest.approx((-found[0], 60 - found[1]), abs=0.003) and turned[2] > 8
    steps[:6] = np.nan
    assert _straightest(steps, places)[2] == 0


def test_a_feathered_seam_is_found_and_levelled_without_a_hint(tmp_path):
    size, cut, feather = 1600, 800, 96  # shorter ones are not looked for
    clean = ground(size)
    image = strips(clean, cut, feather)
    clean, before = (np.rint(one * 255).astype(np.uint8) for one in (clean, image))
    mosaic = open_mosaic(build_raster(tmp_path / "a.tif", image=before))
    mosaic, (found,) = balance_scenes(mosaic, "auto")
    assert len(found.scenes.polygons) == 2
    assert found.feathers
    left = np.mean(step(applied(mosaic, size), clean, cut, feather))
    assert left <= 0.2 * np.mean(step(before, clean, cut, feather))


def test_a_road_is_no_seam_since_beyond_it_the_ground_is_as_before(mosaics, tmp_path):
    folder, size, cut = mosaics
    image = read(folder / "clean.tif").astype(float)
    road = np.clip(60 - np.abs(away_from(size, cut)), 0, 16) / 16  # soft shoulders
    image += road * (190 - image) * 0.7
    path = build_raster(tmp_path / "road.tif", image=np.rint(image).astype(np.uint8))
    search = SeamSearch(count_tones(image, np.ones((size, size), bool), 16), 256)
    line = search.strongest(np.ones((size // 16, size // 16), bool))[0]
    assert abs(line.offset + line.slope * size / 32 - cut / 16) < 8  # its edges stand out
    assert line.persistence < 0.5
    assert not find_scenes(open_mosaic(path)).polygons


def test_pieces_of_a_border_where_the_ground_changes_count_little():
    tones = np.linspace(0.1, 0.9, len(QUANTILES))
    other = 0.8 * tones + 0.1
    pieces = np.stack([tones, other])[None].repeat(12, 0)
    pieces[:3, 1] += 0.3  # a lake begins at the border
    one = Border(0, 1, pieces[:, :, None], varying(np.full(len(QUANTILES), 0.01)), 0, 50.0)
    curves = solve_curves([one], 2, 1)[:, 0]
    knots = np.linspace(0, 1, KNOTS)
    left = np.interp(tones, knots, curves[0]) - np.interp(other, knots, curves[1])
    assert np.abs(left).mean() < 0.1 * np.abs(tones - other).mean()


def test_no_seam_is_found_where_there_is_none(mosaics, listener):
    folder, *_ = mosaics
    assert not find_scenes(open_mosaic(folder / "clean.tif")).polygons
    mosaic, found = balance_scenes(open_mosaic(folder / "clean.tif"), "auto", progress=listener)
    assert found == [None]
    assert np.array_equal(applied(mosaic, 512), read(folder / "clean.tif"))


def test_where_the_ground_itself_changes_no_seam_is_seen(tmp_path):
    """A straight border of two kinds of land: nothing goes on across it."""
    left, right = ground(1024, seed=1), 0.7 * ground(1024, seed=2) + 0.25
    image = np.where(away_from(1024, 500) < 0, left, right)
    path = build_raster(tmp_path / "land.tif", image=np.rint(image * 255).astype(np.uint8))
    assert not find_scenes(open_mosaic(path)).polygons


@pytest.mark.parametrize("name", ["hard", "feathered"])
def test_levelled_pixels_do_not_depend_on_windows(mosaics, name):
    folder, size, cut = mosaics
    shapes = polygons(size, cut)
    frame = geopandas.GeoDataFrame(geometry=list(shapes))
    transform = open_mosaic(folder / f"{name}.tif").grid.transform
    frame = frame.set_geometry(
        frame.geometry.affine_transform([transform.a, 0, 0, transform.e, transform.c, transform.f])
    ).set_crs("EPSG:32633")
    frame.to_file(folder / f"{name}.gpkg")
    mosaic, _ = balance_scenes(open_mosaic(folder / f"{name}.tif"), str(folder / f"{name}.gpkg"))
    whole = applied(mosaic, size)
    for tile in (97, 256):
        assert np.array_equal(applied(mosaic, tile), whole)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_levelling_keeps_types_bands_and_nodata(tmp_path, dtype):
    size, cut = 768, 400
    low, high = {"uint16": (150, 1900), "int16": (-800, 2500), "float32": (0.03, 0.85)}[dtype]
    clean = ground(size, bands=4)
    image = low + strips(clean, cut) * (high - low)
    valid = np.ones((size, size), bool)
    valid[:, :9] = valid[300:340, 380:450] = False
    nodata = -9999.0 if dtype == "float32" else 0
    made = (np.rint(image) if dtype != "float32" else image).astype(dtype)
    path = build_raster(tmp_path / "a.tif", image=made, nodata=nodata, valid=valid, dtype=dtype)
    mosaic = open_mosaic(path)
    levelling = measure_balance(
        mosaic, Scenes(polygons(size, cut)), (float(made.min()), float(made.max()))
    )
    window = Window(0, 0, size, size)
    before, known = mosaic.read(window)
    after = levelling(before, known, window, mosaic.grid)
    assert after.dtype == before.dtype
    assert after.shape == before.shape
    assert np.array_equal(after[:, ~known], before[:, ~known])
    truth = low + clean * (high - low)
    odd = ~known | (before[0] == nodata)  # a few valid pixels have nodata's value in one band
    left, had = (np.mean(step(np.where(odd, truth, a), truth, cut, 0)) for a in (after, before))
    assert left < 0.1 * had


def test_strength_0_changes_no_pixel_whatever_the_scenes(mosaics, tmp_path):
    folder, *_ = mosaics
    config = HarmonizeConfig(method="histogram", strength=0.0)
    out = harmonize(
        folder / "hard.tif", tmp_path / "o.tif", style=folder / "clean.tif", config=config
    )
    assert np.array_equal(read(out.outputs[0]), read(folder / "hard.tif"))


def test_harmonize_takes_the_step_away_without_a_hint(mosaics, tmp_path):
    folder, _, cut = mosaics
    style, hard = folder / "clean.tif", folder / "hard.tif"
    clean, before = read(style), read(hard)
    left = {}
    for way in ("auto", "none"):
        config = HarmonizeConfig(method="histogram", scenes=way)
        out = harmonize(
            folder / "hard.tif",
            tmp_path / f"{way}.tif",
            style=folder / "clean.tif",
            config=config,
        )
        after = read(out.outputs[0])
        left[way] = np.mean(step(after, clean, cut, 0)) / np.mean(step(before, clean, cut, 0))
        with rasterio.open(out.outputs[0]) as data:
            assert data.tags()["GEOSSDA_SCENES"] == ("[2]" if way == "auto" else "[1]")
    assert left["auto"] <= 0.4
    assert left["none"] > 0.6


def test_outlines_of_scenes_can_be_written_mended_and_given_back(mosaics, tmp_path):
    folder, size, _ = mosaics
    found = scenes(folder / "hard.tif", tmp_path / "s.gpkg")
    assert found.scenes == 2
    frame = geopandas.read_file(tmp_path / "s.gpkg")
    assert frame["scene"].tolist() == [1, 2]
    window, grid = Window(0, 0, size, size), open_mosaic(folder / "hard.tif").grid
    again = read_scenes(tmp_path / "s.gpkg", grid).labels(window)
    there = find_scenes(open_mosaic(folder / "hard.tif")).labels(window)
    assert (again != there).mean() < 1e-4
    with pytest.raises(OutputExistsError):
        scenes(folder / "hard.tif", tmp_path / "s.gpkg")
    one = scenes(folder / "clean.tif", tmp_path / "one.geojson")
    assert one.scenes == len(geopandas.read_file(tmp_path / "one.geojson")) == 1
    with pytest.raises(OutputError, match=r"\.gpkg"):
        scenes(folder / "clean.tif", tmp_path / "one.txt")


def test_a_mosaic_without_crs_has_scenes_too(tmp_path, mosaics):
    folder, *_ = mosaics
    path = build_raster(tmp_path / "a.tif", image=read(folder / "hard.tif"), crs=None)
    done = CliRunner().invoke(cli, ["scenes", str(path), "-o", str(tmp_path / "s.gpkg")])
    assert done.exit_code == 0, done.output
    assert "2 scenes" in done.output
    assert len(read_scenes(tmp_path / "s.gpkg", open_mosaic(path).grid).polygons) == 2
