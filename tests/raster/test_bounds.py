"""Only a part of a mosaic: its pixels are those of the whole."""

import numpy as np
import pytest
import rasterio
from conftest import UTM
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from geossda import HarmonizeConfig, SegmentConfig, harmonize, segment
from geossda.errors import GeoreferenceError
from geossda.raster.mosaic import open_mosaic

SIZE = (300, 350)


def bounds_of(path, window):
    with rasterio.open(path) as dataset:
        return dataset.window_bounds(window)


@pytest.mark.parametrize(
    ("method", "most", "kind"),
    [
        ("histogram", 0, {"nodata": 0}),
        ("reinhard", 0, {"mask": True}),
        ("equalize", 0, {"alpha": True}),
        ("ssda", 1, {}),
    ],
    ids=["histogram", "reinhard", "equalize", "ssda"],
)
def test_part_of_a_harmonized_mosaic_is_the_wholes(make_raster, tmp_path, method, most, kind):
    source = make_raster(tmp_path / "source.tif", size=SIZE, **kind)
    other = make_raster(tmp_path / "east.tif", size=SIZE, seed=3, origin=(500100, 5200000), **kind)
    look = make_raster(tmp_path / "look.tif", size=SIZE, seed=9)
    window = Window(90, 40, 200, 150)
    config = HarmonizeConfig(method=method, tile=128)
    style = None if method == "equalize" else look
    whole, part = (
        harmonize(
            [source, other],
            tmp_path / f"{name}.tif",
            style=style,
            config=HarmonizeConfig(**{**vars(config), "bounds": bounds}),
        ).outputs[0]
        for name, bounds in (("whole", None), ("part", bounds_of(source, window)))
    )
    with rasterio.open(whole) as a, rasterio.open(part) as b:
        assert b.transform == a.window_transform(window)
        assert np.array_equal(a.dataset_mask(window=window), b.dataset_mask())
        difference = np.abs(a.read(window=window).astype(int) - b.read())
        assert difference[:, b.dataset_mask() > 0].max() <= most


def test_bounds_are_widened_to_whole_pixels_in_any_crs(make_raster, tmp_path):
    mosaic = open_mosaic(make_raster(tmp_path / "a.tif", size=(97, 131), gsd=0.5))
    assert mosaic.window_of((500010.2, 5199970.2, 500020.0, 5199990.0)) == (20, 20, 40, 20)
    box = (500010, 5199970, 500020, 5199990)
    wider = mosaic.window_of(transform_bounds(UTM, "EPSG:4326", *box), "EPSG:4326")
    assert wider.row <= 20 and wider.col <= 20
    assert wider.row + wider.height >= 60 and wider.col + wider.width >= 40
    assert mosaic.window_of((0, 0, 1e7, 1e7)) == (0, 0, 97, 131)
    assert mosaic.cropped(box).shape == (40, 20)


def test_bounds_on_a_rotated_raster_hold_the_box(make_raster, tmp_path):
    mosaic = open_mosaic(make_raster(tmp_path / "a.tif", size=(97, 131), rotated=True))
    box = (500010, 5199985, 500020, 5199990)
    part = mosaic.cropped(box)
    left, bottom, right, top = part.grid.extent.bounds
    assert left <= box[0] and bottom <= box[1] and right >= box[2] and top >= box[3]


@pytest.mark.parametrize(
    ("bounds", "crs", "said"),
    [
        ((0, 0, 1, 1), None, "do not overlap"),
        ((0, 0, 1, 1), "EPSG:9999999", "cannot be used"),
    ],
    ids=["beside", "unknown"],
)
def test_bounds_that_will_not_do(make_raster, tmp_path, bounds, crs, said):
    source = make_raster(tmp_path / "a.tif")
    settings = {"bounds": bounds, "bounds_crs": crs}
    config = HarmonizeConfig(method="equalize", **settings)
    with pytest.raises(GeoreferenceError, match=said):
        harmonize(source, tmp_path / "out.tif", config=config)
    with pytest.raises(GeoreferenceError, match=said):
        segment(source, tmp_path / "out.gpkg", config=SegmentConfig(**settings))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_bounds_in_a_crs_on_a_raster_without_one(make_raster, tmp_path):
    mosaic = open_mosaic(make_raster(tmp_path / "a.tif", crs=None))
    assert mosaic.window_of((500000, 5199990, 500010, 5200000)) == (0, 0, 20, 20)
    with pytest.raises(GeoreferenceError, match="has no CRS"):
        mosaic.window_of((500000, 5199990, 500010, 5200000), "EPSG:4326")


def test_segment_stays_within_the_bounds(town, tiny_model, tmp_path):
    import geopandas as gpd

    window = Window(60, 30, 100, 90)
    bounds = bounds_of(town, window)
    config = SegmentConfig(model=str(tiny_model), min_area=0, regularize="none", bounds=bounds)
    segment(town, tmp_path / "part.gpkg", mask=tmp_path / "mask.tif", config=config)
    found = gpd.read_file(tmp_path / "part.gpkg", layer="buildings").total_bounds
    assert (found[:2] >= np.array(bounds[:2]) - 1e-6).all()
    assert (found[2:] <= np.array(bounds[2:]) + 1e-6).all()
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert (mask.height, mask.width) == (90, 100)
