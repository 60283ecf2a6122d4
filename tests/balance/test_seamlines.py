"""Lines along which overlapping sources are cut."""

import cv2
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from conftest import UTM, build_raster, synthesize

from geossda import harmonize
from geossda.balance.seamlines import find_seamlines, read_seamlines
from geossda.errors import GeoreferenceError, InputError, OutputExistsError, VectorError
from geossda.harmonization.tiles import _seam_weight
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window

GSD, SHAPE = 0.5, (60, 100)
PLAIN = {"method": "none", "scenes": "none"}


def pixels_of(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def two(tmp_path, west, east, start=30, **settings):
    """Write two scenes; the second begins `start` columns east of the first."""
    first = build_raster(tmp_path / "west.tif", image=west, gsd=GSD, dtype="uint8", **settings)
    origin = (500000.0 + GSD * start, 5200000.0)
    second = build_raster(tmp_path / "east.tif", image=east, gsd=GSD, dtype="uint8", origin=origin,
                          **settings)  # fmt: skip
    return [first, second]


def corridor():
    """Columns 27 to 32 of an overlap of 40, from row 30 on columns 7 to 12, and between them."""
    path = np.zeros((60, 40), bool)
    path[:34, 27:33] = path[28:, 7:13] = path[28:34, 7:33] = True
    return path


def unlike(tmp_path):
    """Scenes alike in a corridor only, as far as cuts are seen."""
    ground = synthesize(3, (60, 130), "uint8", 4) // 2 + 60
    west, east = ground[:, :, :70].copy(), ground[:, :, 30:].copy()
    grain = np.random.default_rng(1).integers(-60, 60, (3, 60, 40))
    east[:, :, :40] += (grain * ~corridor()).astype(np.uint8)
    return two(tmp_path, west, east)


def test_the_line_stays_where_scenes_are_alike(tmp_path):
    seams = find_seamlines(open_mosaic(unlike(tmp_path)))
    owner = seams.sources_at(Window(0, 0, 60, 130))
    assert (owner[:, :30] == 0).all() and (owner[:, 70:] == 1).all() and seams.owners == (0, 1)
    steps = np.argwhere(np.diff(owner[:, 30:70], axis=1) != 0)
    near = cv2.dilate(corridor().astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert near[tuple(steps.T)].mean() > 0.95
    # Each side is in one piece: from west to east the owner changes once in most rows.
    assert np.mean((np.diff(owner, axis=1) != 0).sum(1) == 1) > 0.8


def test_how_work_is_cut_changes_no_pixel_and_the_layer_gives_the_same(tmp_path):
    paths = unlike(tmp_path)
    outputs = [tmp_path / f"{name}.tif" for name in ("small", "large", "again")]
    result = harmonize(paths, outputs[0], seamlines="auto", tile=16, **PLAIN)
    harmonize(paths, outputs[1], seamlines="auto", **PLAIN)
    assert np.array_equal(pixels_of(outputs[0]), pixels_of(outputs[1]))
    layer = tmp_path / "small_seamlines.gpkg"
    assert result.seamlines == layer
    about, _, _, (names, numbers) = pyogrio.raw.read(layer, layer="seamlines")
    assert list(about["fields"]) == ["source", "number"] and "32633" in about["crs"]
    assert list(names) == ["west.tif", "east.tif"] and list(numbers) == [1, 2]
    harmonize(paths, outputs[2], seamlines=str(layer), **PLAIN)
    assert np.array_equal(pixels_of(outputs[2]), pixels_of(outputs[0]))
    with pytest.raises(OutputExistsError, match="small_seamlines"):
        outputs[0].unlink()
        harmonize(paths, outputs[0], seamlines="auto", **PLAIN)


def drawn(path, boxes, names=("west.tif", "east.tif"), field="source"):
    """Write polygons by hand, from columns and rows of the mosaic."""
    shapes = [
        shapely.box(500000 + GSD * left, 5200000 - GSD * bottom, 500000 + GSD * right,
                    5200000 - GSD * top)
        for left, top, right, bottom in boxes
    ]  # fmt: skip
    how = {"driver": "GPKG", "layer": "seamlines", "geometry_type": "Polygon", "crs": UTM}
    pyogrio.raw.write(path, shapely.to_wkb(shapes), [np.array(names, object)], [field], **how)
    return str(path)


def test_lines_drawn_by_hand(tmp_path):
    paths = two(tmp_path, np.full((3, 60, 70), 50, np.uint8), np.full((3, 60, 100), 130, np.uint8))
    lines = drawn(tmp_path / "lines.gpkg", [(0, 0, 50, 60), (50, 0, 130, 60)])
    out = tmp_path / "out.tif"
    harmonize(paths, out, seamlines=lines, seamline_feather=0, **PLAIN)
    row = pixels_of(out)[0, 30]
    assert (row[:50] == 50).all() and (row[50:] == 130).all()
    harmonize(paths, out, seamlines=lines, seamline_feather=8, overwrite=True, **PLAIN)
    # 50 + 80 (0.5 + d / 8) half a pixel and so on from the line.
    assert pixels_of(out)[0, 30, 45:55].tolist() == [50, 55, 65, 75, 85, 95, 105, 115, 125, 130]
    # Where no polygon lies, the first valid source is on top, as beyond the one that is named.
    part = drawn(tmp_path / "part.gpkg", [(0, 0, 200, 20), (0, 40, 20, 60)])
    harmonize(paths, out, seamlines=part, seamline_feather=0, overwrite=True, **PLAIN)
    pixels = pixels_of(out)[0]
    assert (pixels[:, :70] == 50).all() and (pixels[:, 70:] == 130).all()


def test_nodata_of_the_source_on_top_shows_the_one_below(tmp_path):
    valid = np.ones((60, 100), bool)
    valid[20:30, 10:25] = False
    west = np.full((3, 60, 100), 50, np.uint8)
    paths = two(tmp_path, west, np.full((3, 60, 100), 130, np.uint8), nodata=0, valid=valid)
    lines = drawn(tmp_path / "lines.gpkg", [(0, 0, 40, 60), (40, 0, 130, 60)])
    out = tmp_path / "out.tif"
    harmonize(paths, out, seamlines=lines, seamline_feather=0, **PLAIN)
    pixels = pixels_of(out)[0]
    assert (pixels[20:30, 10:25] == 0).all(), "nothing else is there"
    # The hole of the second scene is 10 to 25 columns east of its border.
    assert (pixels[20:30, 40:55] == 50).all() and (pixels[35, 40:55] == 130).all()


def test_a_source_within_another_adds_nothing(tmp_path):
    image = synthesize(3, SHAPE, "uint8", 2)
    paths = two(tmp_path, image, image[:, :, 40:80], 40)
    assert find_seamlines(open_mosaic(paths)).owners == (0,)


def test_sources_that_do_not_overlap_are_warned_of(tmp_path, listener):
    image = synthesize(3, SHAPE, "uint8", 2)
    apart = two(tmp_path, image, image, 140)
    assert len(find_seamlines(open_mosaic(apart), progress=listener).owners) == 2
    assert "nothing to cut" in "".join(listener.warnings)


def test_weights_by_hand():
    own = np.zeros((9, 20), bool)
    own[:, 10:] = True
    assert np.allclose(_seam_weight(own, 4)[4, 6:14], [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1])
    assert np.array_equal(_seam_weight(own, 0), own)


def test_bad_input(tmp_path):
    paths = two(tmp_path, np.full((3, 60, 70), 50, np.uint8), np.full((3, 60, 100), 9, np.uint8))
    with pytest.raises(InputError, match="the one source of its output"):
        harmonize(paths, f"{tmp_path}/folder/", seamlines="auto", **PLAIN)
    mosaic = open_mosaic(paths)
    box = [(0, 0, 50, 60)]
    unknown = drawn(tmp_path / "a.gpkg", box, ["north.tif"])
    with pytest.raises(VectorError, match=r"name the source north\.tif, which is not among"):
        read_seamlines(unknown, mosaic)
    without = drawn(tmp_path / "b.gpkg", box, ["west.tif"], "file")
    with pytest.raises(VectorError, match="no field 'source'"):
        read_seamlines(without, mosaic)
    beside = drawn(tmp_path / "c.gpkg", [(900, 0, 990, 60)], ["west.tif"])
    with pytest.raises(GeoreferenceError, match="do not overlap the mosaic"):
        harmonize(paths, tmp_path / "out.tif", seamlines=beside, **PLAIN)
    with pytest.raises(VectorError, match="does not exist"):
        harmonize(paths, tmp_path / "out.tif", seamlines=str(tmp_path / "no.gpkg"), **PLAIN)
