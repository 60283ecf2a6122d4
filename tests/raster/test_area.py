"""An area by polygons, in every command that takes one."""

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from conftest import UTM, synthesize

from geossda import (
    HarmonizeConfig,
    SegmentConfig,
    harmonize,
    make_style,
    open_mosaic,
    report,
    scenes,
    segment,
)
from geossda.errors import GeoreferenceError, VectorError
from geossda.raster.area import read_area
from geossda.raster.source import Source
from geossda.raster.windows import Window

SIZE = (300, 400)
X, Y, GSD = 500000.0, 5200000.0, 0.5
# In pixels: left, top, right, bottom.
BOXES = [(30, 40, 130, 120), (200, 150, 330, 260)]


@pytest.fixture
def area(tmp_path):
    """Two polygons in longitude and latitude; gives the path."""
    shapes = [shapely.box(X + a * GSD, Y - d * GSD, X + c * GSD, Y - b * GSD)
              for a, b, c, d in BOXES]  # fmt: skip
    path = tmp_path / "area.geojson"
    gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_crs("EPSG:4326").to_file(path)
    return path


def inside():
    mask = np.zeros(SIZE, bool)
    for left, top, right, bottom in BOXES:
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("kind", [{}, {"nodata": 0}, {"alpha": True}, {"mask": True}])
def test_harmonize_writes_the_area_alone(tmp_path, make_raster, area, kind):
    path = make_raster(tmp_path / "a.tif", size=SIZE, valid=np.ones(SIZE, bool), **kind)
    style = make_raster(tmp_path / "style.tif", size=SIZE, seed=4)
    harmonize(path, tmp_path / "o.tif", style=style, area=area, method="histogram")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert (dataset.height, dataset.width) == (220, 300)
        assert dataset.transform * (0, 0) == (X + 30 * GSD, Y - 40 * GSD)
        valid, pixels = dataset.dataset_mask() > 0, dataset.read([1, 2, 3])
    assert np.array_equal(valid, inside()[40:260, 30:330])
    assert not pixels[:, ~valid].any()


def test_statistics_are_those_of_the_area(tmp_path, make_raster, area):
    image = synthesize(3, SIZE, "uint8", 1)
    image[:, ~inside()] = 250
    path = make_raster(tmp_path / "a.tif", image=image)
    masked = make_raster(tmp_path / "m.tif", image=image, mask=True, valid=inside())
    styles = [
        make_style(path, tmp_path / "a.json", area=area, style_model="none"),
        make_style(masked, tmp_path / "m.json", style_model="none"),
    ]
    assert styles[0].pixels == styles[1].pixels == inside().sum()
    assert np.array_equal(styles[0].mean, styles[1].mean)


def test_only_what_the_area_touches_is_read(tmp_path, make_raster, area, monkeypatch):
    path = make_raster(tmp_path / "a.tif", size=SIZE)
    mosaic = open_mosaic(path).within(read_area(area))
    windows, read = [], Source._read

    def counted(source, window, shape):
        windows.append(window)
        return read(source, window, shape)

    monkeypatch.setattr(Source, "_read", counted)
    pixels, valid = mosaic.read(Window(0, 340, 300, 60))
    assert windows == [] and not valid.any() and not pixels.any()
    _, valid = mosaic.read(Window(0, 0, *SIZE))
    assert len(windows) == 1 and np.array_equal(valid, inside())


def test_segment_draws_within_the_area(tmp_path, make_raster, area, tiny_model):
    path = make_raster(tmp_path / "a.tif", size=SIZE, seed=3)
    config = SegmentConfig(model=str(tiny_model), threshold=0.5, regularize="none", split=False)
    mask = tmp_path / "mask.tif"
    segment(path, tmp_path / "o.gpkg", mask=mask, config=config, area=str(area))
    with rasterio.open(mask) as dataset:
        values = dataset.read(1)
    assert np.array_equal(values != 255, inside()[40:260, 30:330])
    found = pyogrio.read_dataframe(tmp_path / "o.gpkg", layer="buildings").union_all()
    wanted = gpd.read_file(area).to_crs(UTM).union_all()
    assert found.area > 0
    assert found.difference(wanted.buffer(0.01)).area < 1e-6


def test_scenes_and_report_take_an_area(tmp_path, make_raster, area):
    path = make_raster(tmp_path / "a.tif", size=SIZE)
    style = make_raster(tmp_path / "style.tif", size=SIZE, seed=4)
    assert scenes(path, tmp_path / "s.fgb", area=area).scenes == 1
    outline = pyogrio.read_dataframe(tmp_path / "s.fgb").union_all()
    wanted = gpd.read_file(area).to_crs(UTM).union_all()
    assert outline.symmetric_difference(wanted).area < 1e-6 * wanted.area
    harmonize(path, tmp_path / "o.tif", style=style, config=HarmonizeConfig(method="histogram"))
    figures = report(tmp_path / "o.tif", tmp_path / "r.html", sources=path, area=area).figures
    assert (figures["height"], figures["width"]) == (220, 300)
    assert figures["nodata_share"] == pytest.approx(1 - inside().sum() / (220 * 300), abs=0.02)


def test_areas_that_cannot_be_used(tmp_path, make_raster, area):
    path = make_raster(tmp_path / "a.tif", size=SIZE)
    far = tmp_path / "far.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 9, 9)], crs=UTM).to_file(far)
    with pytest.raises(GeoreferenceError, match="does not overlap"):
        harmonize(path, tmp_path / "o.tif", method="equalize", area=far)
    with pytest.raises(VectorError, match="does not exist"):
        harmonize(path, tmp_path / "o.tif", method="equalize", area=tmp_path / "none.gpkg")
    bare = make_raster(tmp_path / "bare.tif", size=SIZE, crs=None)
    with pytest.raises(GeoreferenceError, match="no CRS"):
        harmonize(bare, tmp_path / "o.tif", method="equalize", area=area)
    assert not (tmp_path / "o.tif").exists()


def test_workers_see_the_same_area(tmp_path, make_raster, area, monkeypatch):
    path = make_raster(tmp_path / "a.tif", size=SIZE)
    style = make_raster(tmp_path / "style.tif", size=SIZE, seed=4)
    monkeypatch.chdir(tmp_path)
    made = []
    for workers in (1, 2):
        output = tmp_path / f"{workers}.tif"
        harmonize(path, output, style=style, area=area.name, method="histogram", workers=workers)
        with rasterio.open(output) as dataset:
            made.append((dataset.read(), dataset.dataset_mask()))
    assert all(np.array_equal(one, other) for one, other in zip(*made, strict=True))
