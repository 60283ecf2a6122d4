"""Inputs as people have them, each from a public report: pixels and places of what comes out."""

import os

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from conftest import UTM, synthesize
from rasterio.crs import CRS

from geossda import evaluate, harmonize, polygonize, scenes
from geossda.errors import OutputError, RasterError, VectorError
from geossda.raster.area import read_area
from geossda.raster.grid import Grid
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window

SIZE = (60, 80)
X, Y, GSD = 500000.0, 5200000.0, 0.5
NORTH_UP = Affine(GSD, 0, X, 0, -GSD, Y)
# One building: rows 10 to 30, columns 10 to 30.
BUILDING = np.zeros((1, *SIZE), np.uint8)
BUILDING[0, 10:30, 10:30] = 1
PLACE = (X + 5, Y - 15, X + 15, Y - 5)
# Turned and mirrored: how pixels and transform are changed so that the ground stays the same.
TURNS = {
    "south-up": (lambda a: a[:, ::-1], Affine(GSD, 0, X, 0, GSD, Y - 60 * GSD)),
    "mirrored": (lambda a: a[:, :, ::-1], Affine(-GSD, 0, X + 80 * GSD, 0, -GSD, Y)),
    "turned": (
        lambda a: np.rot90(a, axes=(1, 2)),
        Affine(0, -GSD, X + 80 * GSD, -GSD, 0, Y),
    ),
}


def whole(mosaic):
    return mosaic.read(Window(0, 0, *mosaic.shape))


def write_mask(path, pixels, **options):
    """Write a mask as GDAL has it beside a file of three bands."""
    with rasterio.open(
        path, "w", driver="GTiff", height=60, width=80, count=1, dtype="uint8", crs=UTM,
        transform=NORTH_UP, **options,
    ) as mask:  # fmt: skip
        mask.write(pixels.astype(np.uint8), 1)
        mask.update_tags(**{f"INTERNAL_MASK_FLAGS_{band}": "2" for band in (1, 2, 3)})


def bounds_of(path):
    return gpd.read_file(path, layer="buildings").total_bounds


@pytest.mark.parametrize("kind", TURNS)
def test_rasters_that_are_not_north_up(tmp_path, make_raster, kind):
    """rasterio 3505, 3094."""
    turn, transform = TURNS[kind]
    image = synthesize(3, SIZE, "uint8", 0)
    plain = make_raster(tmp_path / "plain.tif", image=image, transform=NORTH_UP)
    turned = make_raster(tmp_path / "turned.tif", image=turn(image), transform=transform)
    east = make_raster(tmp_path / "east.tif", size=SIZE, seed=1, origin=(X + 80 * GSD, Y))
    expected, known = whole(open_mosaic([plain, east]))
    pixels, valid = whole(open_mosaic([east, turned]).resampled(open_mosaic([plain, east]).grid))
    assert valid.all() and known.all()
    # Turned by a right angle, pixels are resampled, which blurs them by little.
    assert np.abs(pixels - expected.astype(float)).mean() < (3 if kind == "turned" else 1e-9)
    mask = make_raster(tmp_path / "mask.tif", image=turn(BUILDING), transform=transform)
    polygonize(mask, tmp_path / "out.gpkg")
    assert bounds_of(tmp_path / "out.gpkg") == pytest.approx(PLACE)


@pytest.mark.parametrize("turn", ["north-up", "south-up"])
def test_a_mosaic_over_the_antimeridian(tmp_path, make_raster, turn):
    """rasterio 1861: rasters on both sides are neighbors, not a world apart."""
    step = 5e-6
    image = synthesize(3, SIZE, "uint8", 0)
    west = make_raster(
        tmp_path / "west.tif", image=image, crs="EPSG:4326",
        transform=Affine(step, 0, 180 - 80 * step, 0, -step, -17),
    )  # fmt: skip
    other = {"north-up": image, "south-up": image[:, ::-1]}[turn]
    down = {
        "north-up": Affine(step, 0, -180, 0, -step, -17),
        "south-up": Affine(step, 0, -180, 0, step, -17 - 60 * step),
    }[turn]
    east = make_raster(tmp_path / "east.tif", image=other, crs="EPSG:4326", transform=down)
    mosaic = open_mosaic([west, east])
    assert mosaic.shape == (60, 160)
    pixels, valid = whole(mosaic)
    assert valid.all()
    assert np.array_equal(pixels, np.concatenate([image, image], axis=2))
    # Seen from the other side, too.
    assert open_mosaic([east, west]).shape == (60, 160)


def test_footprints_beyond_the_antimeridian(tmp_path, make_raster):
    step = 5e-6
    mask = make_raster(
        tmp_path / "mask.tif", image=BUILDING, crs="EPSG:4326",
        transform=Affine(step, 0, 180 + 5 * step, 0, -step, -17),
    )  # fmt: skip
    polygonize(mask, tmp_path / "found.gpkg")
    found = gpd.read_file(tmp_path / "found.gpkg", layer="buildings")
    assert found.total_bounds[0] == pytest.approx(180 + 15 * step)
    there = shapely.affinity.translate(found.geometry[0], -360)
    gpd.GeoDataFrame(geometry=[there], crs=found.crs).to_file(tmp_path / "true.gpkg")
    for truth in ("true.gpkg", "found.gpkg"):
        assert evaluate(tmp_path / "found.gpkg", tmp_path / truth).pixels.iou == 1


def test_an_area_cut_at_the_antimeridian(tmp_path, make_raster):
    """The parts of a polygon that GeoJSON cuts at 180 degrees meet on a grid in metres."""
    image = synthesize(3, SIZE, "uint8", 0)
    corner = (819451.5, 8117998.0)  # 180 E, 17 S
    path = make_raster(
        tmp_path / "a.tif", image=image, crs="EPSG:32760", origin=(corner[0] - 20, corner[1] + 15)
    )
    parts = [
        shapely.box(179.99995, -17.0001, 180, -17),
        shapely.box(-180, -17.0001, -179.99995, -17),
    ]
    area = tmp_path / "area.geojson"
    gpd.GeoDataFrame(geometry=[shapely.MultiPolygon(parts)], crs="EPSG:4326").to_file(area)
    _, valid = whole(open_mosaic(path).within(read_area(area)))
    rows, columns = np.nonzero(valid)
    assert np.ptp(columns) + 1 == pytest.approx(21, abs=1)
    assert np.ptp(rows) + 1 == pytest.approx(22, abs=1)
    assert valid[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].mean() > 0.9


@pytest.mark.parametrize("words", ["ESRI", "proj", "towgs84", "compound", "code"])
def test_one_crs_in_other_words_is_the_same(tmp_path, make_raster, words):
    """A neighbor whose CRS another program has written is not resampled."""
    crs = {
        "ESRI": CRS.from_wkt(CRS.from_epsg(32633).to_wkt(version="WKT1_ESRI")),
        "proj": CRS.from_string("+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs"),
        "towgs84": CRS.from_string(
            "+proj=utm +zone=33 +ellps=WGS84 +towgs84=0,0,0,0,0,0,0 +units=m +no_defs"
        ),
        "compound": CRS.from_string("EPSG:32633+5773"),
        "code": CRS.from_epsg(32633),
    }[words]
    image = synthesize(3, (60, 160), "uint8", 0)
    west = make_raster(tmp_path / "west.tif", image=image[:, :, :80])
    east = make_raster(
        tmp_path / "east.tif", image=image[:, :, 80:], crs=crs, origin=(X + 80 * GSD, Y)
    )
    pixels, valid = whole(open_mosaic([west, east]))
    assert valid.all() and np.array_equal(pixels, image)


@pytest.mark.parametrize("bits", [1, 8])
def test_masks_beside_the_file_of_zeros_and_ones(tmp_path, make_raster, bits):
    """GDAL 513, 3622: unlike those in a file, they are not expanded to 255."""
    path = make_raster(tmp_path / "a.tif", size=SIZE)
    wanted = np.zeros(SIZE, bool)
    wanted[:, 40:] = True
    write_mask(tmp_path / "a.tif.msk", wanted, NBITS=bits)
    mosaic = open_mosaic(path)
    assert np.array_equal(whole(mosaic)[1], wanted)
    coarse = Grid((30, 40), NORTH_UP * Affine.scale(2), UTM)
    assert np.array_equal(whole(mosaic.resampled(coarse))[1], wanted[::2, ::2])
    turned = Grid((60, 80), Affine(GSD, 0, X, 0, GSD, Y - 60 * GSD), UTM)
    assert np.array_equal(whole(mosaic.resampled(turned))[1], wanted[::-1])


def test_side_files_of_what_was_there_before_go(tmp_path, make_raster):
    """xarray-spatial 3595: statistics that QGIS left, a mask or overviews are of the old pixels."""
    path, out = make_raster(tmp_path / "a.tif", size=SIZE), tmp_path / "out.tif"
    harmonize(path, out, method="equalize")
    (tmp_path / "out.tif.aux.xml").write_text(
        '<PAMDataset><SRS>EPSG:4326</SRS><PAMRasterBand band="1"><Metadata>'
        '<MDI key="STATISTICS_MAXIMUM">3</MDI></Metadata></PAMRasterBand></PAMDataset>'
    )
    write_mask(tmp_path / "out.tif.msk", np.zeros(SIZE))
    (tmp_path / "out.tif.ovr").write_bytes((tmp_path / "a.tif").read_bytes())
    (tmp_path / "out.qml").write_text("kept: a style is the user's")
    with pytest.raises(OutputError):
        harmonize(path, out, method="grayworld")
    assert (tmp_path / "out.tif.msk").exists()
    harmonize(path, out, method="equalize", overwrite=True)
    with rasterio.open(out) as dataset:
        assert dataset.crs == UTM and "STATISTICS_MAXIMUM" not in dataset.tags(1)
        assert dataset.dataset_mask().all()
    assert sorted(each.name for each in tmp_path.glob("out.*")) == ["out.qml", "out.tif"]


def test_few_bits_a_pixel(tmp_path, make_raster):
    """One bit a mask, and twelve in sixteen of which a result may need more."""
    mask = make_raster(tmp_path / "mask.tif", image=BUILDING, NBITS=1, compress="CCITTFAX4")
    polygonize(mask, tmp_path / "out.gpkg")
    assert bounds_of(tmp_path / "out.gpkg") == pytest.approx(PLACE)
    dark = make_raster(tmp_path / "dark.tif", size=SIZE, dtype="uint16", NBITS=12)
    image = synthesize(3, SIZE, "uint16", 5) * 20
    bright = make_raster(tmp_path / "bright.tif", image=image, dtype="uint16")
    harmonize(dark, tmp_path / "out.tif", style=bright, method="histogram")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.read().max() == pytest.approx(image.max(), rel=0.02)


def test_a_mask_whose_buildings_are_nodata(tmp_path, make_raster, listener):
    mask = make_raster(tmp_path / "mask.tif", image=BUILDING * 255)
    with rasterio.open(mask, "r+") as dataset:
        dataset.nodata = 255
    assert polygonize(mask, tmp_path / "out.gpkg", progress=listener).buildings == 0
    assert "holds no building, but nodata (255)" in listener.warnings[0]
    with rasterio.open(mask, "r+") as dataset:
        dataset.nodata = None
    found = polygonize(mask, tmp_path / "out.gpkg", overwrite=True, progress=listener)
    assert found.buildings == 1 and len(listener.warnings) == 1


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_parts_of_files_by_gdals_names(tmp_path, make_raster, monkeypatch):
    """rasterio 3278: a variable or table is named after the driver and the file."""
    image = synthesize(3, SIZE, "uint8", 0)
    path = tmp_path / "rasters.gpkg"
    for number, table in enumerate(("one", "two")):
        more = {"APPEND_SUBDATASET": "YES"} if number else {}
        with rasterio.open(
            path, "w", driver="GPKG", height=60, width=80, count=3, dtype="uint8", crs=UTM,
            transform=NORTH_UP, RASTER_TABLE=table, TILE_FORMAT="PNG", **more,
        ) as dataset:  # fmt: skip
            dataset.write(image + number)
    monkeypatch.chdir(tmp_path)
    for name in (f"GPKG:{path}:two", "GPKG:rasters.gpkg:two"):
        pixels, _ = whole(open_mosaic(name, bands=(1, 2, 3)))
        assert np.array_equal(pixels, image + 1)
    with pytest.raises(RasterError, match=r"name one of its subdatasets \(GPKG:.*rasters.gpkg:one"):
        open_mosaic(path)
    with pytest.raises(RasterError, match="is not a raster GDAL can open"):
        open_mosaic("NETCDF:none.nc:red")
    harmonize("GPKG:rasters.gpkg:two", method="equalize", bidx=(1, 2, 3))
    assert [each.name for each in tmp_path.glob("*.tif")] == [
        "GPKG_rasters.gpkg_two_harmonized.tif"
    ]


@pytest.mark.parametrize("name", ["a!b", "a;b"])
def test_paths_that_would_be_taken_for_archives(tmp_path, make_raster, monkeypatch, name):
    """Pyogrio 632."""
    mask = make_raster(tmp_path / f"{name}.tif", image=BUILDING)
    monkeypatch.chdir(tmp_path)
    for suffix in (".gpkg", ".fgb", ".parquet"):
        with pytest.raises(OutputError, match=r"! or ; in its path: choose another output"):
            polygonize(mask, tmp_path / f"{name}{suffix}")
    with pytest.raises(OutputError, match=r"! or ; in its path"):
        scenes(mask, tmp_path / f"{name}.fgb")
    polygonize(mask, tmp_path / "plain.fgb")
    (tmp_path / "plain.fgb").rename(tmp_path / f"{name}.fgb")
    with pytest.raises(VectorError, match=r"! or ; in its path, which cannot be read"):
        evaluate(tmp_path / f"{name}.fgb", mask)
    assert sorted(os.listdir()) == [f"{name}.fgb", f"{name}.tif"]


@pytest.mark.parametrize("name", ["100%", "a%20b", "a#1", "a?b=c", "[1]", "a&b", "it's", "ü 東"])
def test_signs_in_names_are_taken_as_they_are(tmp_path, make_raster, name):
    mask = make_raster(tmp_path / f"{name}.tif", image=BUILDING)
    assert open_mosaic(mask).sources[0].path == str(mask)
    polygonize(mask, tmp_path / f"{name}.fgb")
    assert evaluate(tmp_path / f"{name}.fgb", mask).pixels.iou == 1
    assert sorted(os.listdir(tmp_path)) == sorted([f"{name}.fgb", f"{name}.tif"])


@pytest.mark.parametrize("kind", ["heights", "with points and nothing", "in collections"])
def test_layers_of_many_kinds(tmp_path, make_raster, kind):
    mask = make_raster(tmp_path / "mask.tif", image=BUILDING)
    house = shapely.box(*PLACE)
    shapes = {
        "heights": [shapely.force_3d(house, 7)],
        "with points and nothing": [
            house, shapely.Point(X, Y), None, shapely.Polygon(),
            shapely.LineString([(X, Y), (X + 9, Y - 9)]),
        ],
        "in collections": [shapely.GeometryCollection([shapely.Point(X, Y), house])],
    }[kind]  # fmt: skip
    gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_file(tmp_path / "true.gpkg")
    result = evaluate(mask, tmp_path / "true.gpkg")
    assert result.pixels.iou == result.objects.f1 == 1


@pytest.mark.parametrize(
    ("own", "grid", "metres"),
    [("EPSG:21096", "EPSG:32636", 35), ("EPSG:26916", "EPSG:32616", 0), (UTM, UTM, 0)],
)
def test_datums_that_fit_within_a_buildings_width_only(tmp_path, listener, own, grid, metres):
    """QGIS 34983: Arc 1960 of East Africa is some 30 m off by what PROJ knows without grids."""
    house = gpd.GeoSeries([shapely.box(450000, 35000, 450010, 35010)], crs=own)
    house.to_file(tmp_path / "true.gpkg")
    house.to_crs(grid).to_file(tmp_path / "found.gpkg")
    evaluate(tmp_path / "true.gpkg", tmp_path / "found.gpkg", progress=listener)
    told = [text for text in listener.warnings if f"within {metres} m only" in text]
    assert len(told) == (1 if metres else 0) == len(listener.warnings)


def test_an_area_in_a_mosaic_over_the_antimeridian(tmp_path, make_raster):
    step = 5e-6
    path = make_raster(
        tmp_path / "a.tif", size=SIZE, crs="EPSG:4326",
        transform=Affine(step, 0, 180 - 40 * step, 0, -step, -17),
    )  # fmt: skip
    # Columns 30 to 50 and rows 10 to 20, as GeoJSON cuts it.
    south, north = -17 - 20 * step, -17 - 10 * step
    west = shapely.box(180 - 10 * step, south, 180, north)
    east = shapely.box(-180, south, -180 + 10 * step, north)
    area = tmp_path / "area.geojson"
    gpd.GeoDataFrame(geometry=[shapely.MultiPolygon([west, east])], crs="EPSG:4326").to_file(area)
    _, valid = whole(open_mosaic(path).within(read_area(area)))
    expected = np.zeros(SIZE, bool)
    expected[10:20, 30:50] = True
    assert np.array_equal(valid, expected)
