"""The page about a harmonized raster: its measures on known answers, and the whole of it."""

import json
import re
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from conftest import UTM, synthesize

from geossda import HarmonizeConfig, ReportConfig, harmonize, report
from geossda.balance.scenes import read_scenes
from geossda.color.similarity import gradient_correlation, gradient_correlations
from geossda.errors import (
    BandError,
    Cancelled,
    InputError,
    OutputExistsError,
    RasterError,
    VectorError,
)
from geossda.evaluation.pair import Pair
from geossda.evaluation.scene_seams import scene_borders, scene_steps
from geossda.evaluation.structure_map import compare_structure
from geossda.evaluation.window_seams import lattice_steps
from geossda.raster.histograms import histograms
from geossda.raster.mosaic import open_mosaic
from geossda.runs.run import timings_file

SIZE = (300, 420)


def pair_of(before, after):
    return Pair(open_mosaic(before), open_mosaic(after))


def figures_in(page):
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    return json.loads(found[1])


# Windows


def test_steps_across_windows_are_those_put_in(tmp_path, make_raster):
    """Noise has no borders; a chessboard of 10 DN on windows of 32 px has nothing else."""
    noise = np.random.default_rng(0).integers(100, 105, (2, *SIZE)).astype(np.uint8)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] // 32
    board = noise + 10 * ((x + y) % 2).astype(np.uint8)
    before = make_raster(tmp_path / "before.tif", image=noise)
    after = make_raster(tmp_path / "after.tif", image=board)
    old, new = lattice_steps(pair_of(before, after), 32)
    assert old.ratio == pytest.approx(1, abs=0.03)
    assert new.middle == pytest.approx(old.middle, rel=0.03)
    assert new.border == pytest.approx(10, rel=0.03)
    assert new.ratio == pytest.approx(10 / old.middle.mean(), rel=0.05)


def test_few_pieces_of_line_tell_nearly_the_same(tmp_path, make_raster):
    path = make_raster(tmp_path / "in.tif", size=(700, 900))
    pair = pair_of(path, path)
    (every, _), (some, _) = lattice_steps(pair, 32), lattice_steps(pair, 32, pieces=20)
    assert some.ratio == pytest.approx(every.ratio, rel=0.15)


def test_nodata_makes_no_step(tmp_path, make_raster):
    """A ramp of 1 DN a pixel across, with nodata on one side of a border."""
    ramp = np.broadcast_to(np.arange(50, 150, dtype=np.uint8), (1, 100, 100)).copy()
    valid = np.ones((100, 100), bool)
    valid[:, 50:60] = False
    path = make_raster(tmp_path / "in.tif", image=ramp, nodata=0, valid=valid)
    steps, _ = lattice_steps(pair_of(path, path), 50)
    # Across the column at 50 there is no valid pair; the row at 50 has no step.
    assert steps.border == pytest.approx([0.0])
    # The column at 25 steps by 1, the row by 0, the column at 75 by 1, the row at 75 by 0.
    assert steps.middle == pytest.approx([200 / (200 + 2 * 90)])


def test_one_window_has_no_borders(tmp_path, make_raster):
    path = make_raster(tmp_path / "in.tif", size=(40, 50))
    steps, _ = lattice_steps(pair_of(path, path), 64)
    assert np.isnan(steps.border).all() and np.isnan(steps.ratio)


# What is drawn


def test_correlations_of_cells_are_those_of_the_cells_alone():
    before = synthesize(3, (128, 192), "uint8", 1)
    after = np.clip(before * 0.5 + synthesize(3, (128, 192), "uint8", 2) * 0.3, 0, 255)
    after = after.astype(np.uint8)
    found = gradient_correlations(before, after, np.ones((128, 192), bool), 64)
    assert found.shape == (2, 3)
    for row in range(2):
        for col in range(3):
            cut = np.s_[None, :, 64 * row : 64 * row + 64, 64 * col : 64 * col + 64]
            assert found[row, col] == pytest.approx(
                gradient_correlation(before[cut], after[cut]), abs=1e-4
            )


def test_other_colours_are_no_other_drawing():
    before = synthesize(2, (70, 90), "uint16", 1)
    valid = np.ones((70, 90), bool)
    after = before.astype(np.float32) * 0.4 + 900
    assert gradient_correlations(before, after, valid, 32) == pytest.approx(1, abs=1e-4)
    # Turned round, and flat: nothing to correlate.
    assert gradient_correlations(before, -after, valid, 32) == pytest.approx(-1, abs=1e-4)
    flat = np.full_like(after, 7)
    assert np.isnan(gradient_correlations(before, flat, valid, 32)).all()


def test_what_is_not_valid_is_not_compared():
    before = synthesize(1, (64, 64), "uint8", 1)
    after = before.copy()
    valid = np.ones((64, 64), bool)
    valid[10:40, 20:50] = False
    after[:, ~valid] = np.random.default_rng(0).integers(0, 255, (~valid).sum())
    assert gradient_correlations(before, after, valid, 64) == pytest.approx(1, abs=1e-6)
    assert gradient_correlations(before, after, np.ones_like(valid), 64)[0, 0] < 0.9
    few = np.zeros_like(valid)
    few[:4, :4] = True
    assert np.isnan(gradient_correlations(before, after, few, 64)).all()


def test_changed_cells_are_found_whatever_the_windows(tmp_path, make_raster, monkeypatch):
    before = synthesize(3, SIZE, "uint8", 1)
    after = before.copy()
    after[:, 64:128, 192:256] = synthesize(3, (64, 64), "uint8", 9)
    pair = pair_of(
        make_raster(tmp_path / "before.tif", image=before),
        make_raster(tmp_path / "after.tif", image=after),
    )
    whole = compare_structure(pair, 32)
    changed = np.argwhere(whole.cells < 0.9)
    assert {tuple(cell) for cell in changed.tolist()} == {
        (row, col) for row in (2, 3) for col in (6, 7)
    }
    assert whole.changed == pytest.approx(4 / (10 * 14))
    assert whole.pixels == SIZE[0] * SIZE[1]
    monkeypatch.setattr("geossda.evaluation.structure_map._WINDOW_PX", 96)
    assert np.array_equal(compare_structure(pair, 32).cells, whole.cells)


# Scenes


def three_scenes():
    """In pixels: two side by side with a slanted border, one below both."""
    return [
        shapely.Polygon([(0, 0), (200, 0), (230, 180), (0, 180)]),
        shapely.Polygon([(200, 0), (420, 0), (420, 180), (230, 180)]),
        shapely.box(0, 180, 420, 300),
    ]


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("file_crs", [UTM, "EPSG:4326"])
def test_steps_between_scenes_are_those_put_in(tmp_path, make_raster, rotated, file_crs):
    ground = np.random.default_rng(0).integers(0, 40, SIZE) + 100
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    of = np.select([shapely.contains_xy(s, x, y) for s in three_scenes()], [0, 1, 2], 2)
    steps = np.array([[0, 20, -30], [0, -8, 50]])  # band, scene
    before = (ground + steps[:, of]).astype(np.uint8)
    after = (ground + steps[:, of] // 2).astype(np.uint8)
    valid = np.ones(SIZE, bool)
    valid[:, :30] = valid[175:185, 300:330] = False
    told = {"nodata": 0, "valid": valid, "rotated": rotated}
    pair = pair_of(
        make_raster(tmp_path / "before.tif", image=before, **told),
        make_raster(tmp_path / "after.tif", image=after, **told),
    )
    step = pair.after.grid.transform
    placed = gpd.GeoSeries(three_scenes(), crs=UTM).affine_transform(
        [step.a, step.b, step.d, step.e, step.c, step.f]
    )
    path = tmp_path / "scenes.gpkg"
    placed.to_crs(file_crs).to_frame("geometry").to_file(path)
    scenes = read_scenes(path, pair.after.grid).polygons
    found = {(s.first, s.second): s for s in scene_steps(pair, scenes, 8)}
    assert set(found) == {(1, 2), (1, 3), (2, 3)}
    for (first, second), one in found.items():
        put = steps[:, second - 1] - steps[:, first - 1]
        assert one.before == pytest.approx(put, abs=4)
        halves = steps[:, second - 1] // 2 - steps[:, first - 1] // 2
        assert one.after == pytest.approx(halves, abs=4)
    sizes = [np.abs(s.before).mean() for s in scene_steps(pair, scenes, 8)]
    assert sizes == sorted(sizes, reverse=True)


def test_of_overlapping_scenes_the_first_is_on_top():
    (border,) = scene_borders([shapely.box(0, 0, 120, 90), shapely.box(100, 0, 200, 90)], 8)
    assert (border.first, border.second) == (0, 1)
    assert border.points[:, 0] == pytest.approx(120, abs=0.01)
    assert np.allclose(border.normals, [1, 0])


def test_a_scene_below_others_has_no_border():
    scene, neighbour = shapely.box(0, 0, 50, 90), shapely.box(50, 0, 90, 90)
    borders = scene_borders([scene, scene, neighbour], 8)
    assert [(border.first, border.second) for border in borders] == [(0, 2)]


def test_a_scene_around_a_tangle_has_a_border_with_it():
    # A zone of 1.5 px around such a tangle takes a minute and gigabytes.
    corners = np.random.default_rng(0).uniform(10, 90, (100, 2))
    tangle = shapely.make_valid(shapely.Polygon(corners), method="structure")
    (border,) = scene_borders([tangle, shapely.box(0, 0, 100, 100)], 0.5)
    assert len(border.points) > 20
    assert (shapely.distance(tangle, shapely.points(border.points)) < 0.5).all()


def test_scenes_that_touch_at_a_corner_or_not_at_all_have_no_border():
    assert scene_borders([shapely.box(0, 0, 50, 50), shapely.box(50, 50, 90, 90)], 8) == []
    assert scene_borders([shapely.box(0, 0, 50, 50), shapely.box(60, 0, 90, 90)], 8) == []


def test_scenes_that_are_none(tmp_path, make_raster):
    grid = open_mosaic(make_raster(tmp_path / "in.tif")).grid
    with pytest.raises(VectorError, match="does not exist"):
        read_scenes(tmp_path / "none.gpkg", grid)
    points = gpd.GeoSeries([shapely.Point(0, 0)], crs=UTM).to_frame("geometry")
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(VectorError, match="contains no polygon"):
        read_scenes(tmp_path / "points.gpkg", grid)


# The page


@pytest.fixture
def harmonized(tmp_path, make_raster):
    """Harmonize a raster with a look of its own; gives the source and the result, side by side."""

    def make(**kind):
        method = kind.pop("method", "histogram")
        source = make_raster(tmp_path / "town.tif", size=SIZE, **kind)
        bands, dtype = kind.get("bands", 3), kind.get("dtype", "uint8")
        low = {"uint8": 20, "uint16": 150, "float32": 0.03}[dtype]
        image = synthesize(bands, SIZE, dtype, 4)
        dimmed = ((image.astype(float) - low) * 0.6 + low).astype(dtype)
        style = make_raster(tmp_path / "style.tif", image=dimmed, dtype=dtype)
        out = tmp_path / "town_harmonized.tif"
        harmonize(source, out, style=style, config=HarmonizeConfig(method=method, tile=128))
        return source, out

    return make


KINDS = {
    "one": {"bands": 1},
    "two": {"bands": 2, "nodata": 0},
    "three": {"bands": 3, "mask": True},
    "four of 16 bit": {"bands": 4, "dtype": "uint16", "nodata": 0, "rotated": True},
    "float, degrees": {"dtype": "float32", "nodata": -1.0, "crs": "EPSG:4326",
                       "transform": Affine(1e-5, 0, 12, 0, -1e-5, 47)},
    "no CRS": {"crs": None, "alpha": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_page_of(tmp_path, harmonized, kind):
    source, out = harmonized(**KINDS[kind])
    result = report(out, qa=tmp_path / "qa.tif", config=ReportConfig(cell=32))
    assert result.page == tmp_path / "town_harmonized_report.html"
    text = result.page.read_text()
    assert figures_in(text) == result.figures
    told = result.figures
    assert told["sources"] == ["town.tif"] and told["method"] == "histogram"
    with rasterio.open(source) as dataset:
        gone = (dataset.dataset_mask() == 0).mean()
        if dataset.nodata is not None:
            pixels = dataset.read()
            gone = (pixels == dataset.nodata).all(axis=0).mean()
    assert told["nodata_share"] == pytest.approx(gone, abs=1e-5)
    for which, path in (("before", source), ("after", out)):
        found = histograms(open_mosaic(path))
        means = [band[which]["mean"] for band in told["histograms"]]
        assert means == pytest.approx(found.mean(), rel=1e-4)
    assert told["seams"]["tile_px"] == 128
    assert abs(told["seams"]["added"]) < 0.2
    assert told["drawing"]["median"] > 0.9
    assert (told["gsd_m"] is None) == (kind == "no CRS")
    assert told["strips"] is None and "--scenes FILE" in text
    # Nothing is fetched from anywhere.
    assert not re.search(r"""(src|href)=["'](?!data:)""", text) and "@import" not in text
    assert len(re.findall('src="data:image/webp', text)) == 2
    with rasterio.open(result.qa) as qa, rasterio.open(out) as dataset:
        assert qa.shape == (-(-SIZE[0] // 32), -(-SIZE[1] // 32))
        assert qa.transform.almost_equals(dataset.transform * Affine.scale(32), 1e-6)
        assert qa.crs == dataset.crs and qa.dtypes == ("float32",) and np.isnan(qa.nodata)
        cells = qa.read(1)
    assert np.isfinite(cells).sum() == told["drawing"]["cells"]
    below = (cells[np.isfinite(cells)] < 0.9).mean()
    assert told["drawing"]["share_under_0.9"] == pytest.approx(below, abs=1e-5)


def test_several_sources_and_scenes_on_the_command_line(tmp_path, make_raster):
    from geossda_cli.main import cli

    image = synthesize(3, (200, 400), "uint8", 1)
    west, east = image[:, :, :240] // 2, image[:, :, 200:]
    paths = [
        make_raster(tmp_path / "west.tif", image=west),
        make_raster(tmp_path / "east.tif", image=east, origin=(500100.0, 5200000.0)),
    ]
    style = make_raster(tmp_path / "style.tif", size=(200, 200), seed=8)
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / "both.tif"
    harmonize(paths, out, style=style, config=HarmonizeConfig(method="histogram", tile=128))
    scenes = gpd.GeoSeries(
        [shapely.box(500000, 5199900, 500120, 5200000),
         shapely.box(500120, 5199900, 500200, 5200000)], crs=UTM,
    )  # fmt: skip
    scenes.to_frame("geometry").to_file(tmp_path / "scenes.geojson")
    told = CliRunner().invoke(
        cli,
        ["report", str(out), "--source", str(paths[0]), "--source", str(paths[1]), "--scenes",
         str(tmp_path / "scenes.geojson"), "-o", str(tmp_path / "p.html"), "--json",
         "--progress", "none"],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    figures = json.loads(told.output)
    assert figures["sources"] == ["west.tif", "east.tif"]
    (step,) = figures["strips"]
    assert step["scenes"] == [1, 2]
    # Half as bright against bright before; feathered to one look after.
    assert step["size_before"] > 40 and step["size_after"] < 0.4 * step["size_before"]
    assert "1 to 2" in (tmp_path / "p.html").read_text()


def test_stages_are_told_and_every_text_is_escaped(tmp_path, harmonized):
    _, out = harmonized()
    bad = "<script>alert(1)</script>"
    stages = [{"stage": bad, "seconds": 12.3, "peak_mb": 456.0}, {"stage": "writing"}]
    timings_file(out).write_text(json.dumps(stages))
    with rasterio.open(out, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(GEOSSDA_STYLE=bad)
    result = report(out)
    text = result.page.read_text()
    assert bad not in text and "&lt;script&gt;alert(1)" in text
    assert "12.3 s" in text and "456 MB" in text
    assert result.figures["stages"][1] == {"stage": "writing", "seconds": None, "peak_mb": None}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('["tile"]', None),
        ('{"tile": "x"}', "GEOSSDA_SETTINGS"),
        ('{"bidx": ["a"]}', "GEOSSDA_SETTINGS"),
        ("[" * 5000, "not valid JSON"),
    ],
)
def test_settings_recorded_by_someone_else(harmonized, settings, message):
    _, out = harmonized()
    with rasterio.open(out, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(GEOSSDA_SETTINGS=settings)
    if message is None:
        assert report(out).figures["settings"] is None
    else:
        with pytest.raises(InputError, match=message):
            report(out)


def test_a_raster_too_small_for_cells_is_told_of(tmp_path, make_raster, listener):
    source = make_raster(tmp_path / "a.tif", size=(1, 64))
    report(source, tmp_path / "a.html", sources=[source], qa=tmp_path / "qa.tif",
           progress=listener)  # fmt: skip
    assert any("no cell of 64 px" in text for text in listener.warnings)


def test_missing_sources_are_asked_for(tmp_path, harmonized, make_raster):
    source, out = harmonized()
    plain = make_raster(tmp_path / "plain.tif")
    with pytest.raises(InputError, match="name its sources with --source"):
        report(plain)
    source.unlink()
    with pytest.raises(InputError, match=r"made from town\.tif, which is not beside it"):
        report(out)
    # A result that has its source's name is not its own source.
    shutil.copy(out, source)
    with pytest.raises(InputError, match="not beside it"):
        report(source)
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("missing", "does not exist"), ("text", "not a raster"), ("folder", "is a folder")],
)
def test_a_result_that_is_no_raster_is_refused(tmp_path, kind, reason):
    path = tmp_path / "result.tif"
    if kind == "text":
        path.write_text("no raster")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(RasterError, match=reason):
        report(path)
    assert not list(tmp_path.glob("*.html"))


def test_what_does_not_fit_is_told(tmp_path, harmonized, make_raster):
    _, out = harmonized()
    other = make_raster(tmp_path / "other.tif", bands=2)
    with pytest.raises(BandError, match=r"has 2 bands, .* has 3"):
        report(out, sources=other)
    page = tmp_path / "p.html"
    page.write_text("mine")
    with pytest.raises(OutputExistsError):
        report(out, page)
    report(out, page, config=ReportConfig(overwrite=True))
    assert "mine" != page.read_text()


@pytest.mark.parametrize(
    "stage",
    [
        "comparing structure",
        "reading statistics",
        "measuring window borders",
        "drawing overviews",
    ],
)
def test_cancel_leaves_nothing(tmp_path, harmonized, interrupter, stage):
    _, out = harmonized()
    before = set(tmp_path.iterdir())
    stopper = interrupter(stage, 1, Cancelled())
    with pytest.raises(Cancelled):
        report(out, qa=tmp_path / "qa.tif", progress=stopper)
    assert stopper.raised and set(tmp_path.iterdir()) == before
