"""Every way to declare nodata, and several at once: nodata is never data."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from conftest import UTM, ragged_border, synthesize

from geossda.raster.grid import Grid
from geossda.raster.imagery import undeclared_fill, warn_of_fill
from geossda.raster.mosaic import open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

SIZE = (97, 131)
GRID = Grid(SIZE, Affine.translation(500000, 5200000) * Affine.scale(0.5, -0.5), UTM)
TURNED = Grid(SIZE, GRID.transform * Affine.translation(11, 7) * Affine.rotation(9), UTM)


def read(path, grid=None, **how):
    mosaic = open_mosaic(path, **how)
    mosaic = mosaic if grid is None else mosaic.resampled(grid)
    with gdal_environment():
        return mosaic.sources[0], *mosaic.read(Window(0, 0, *mosaic.shape))


def per_band_vrt(folder, values, dtype, masks=None):
    """Write one file a band, and a VRT of them with a nodata value each."""
    image = synthesize(len(values), SIZE, dtype, 0)
    valid, bands = ragged_border(SIZE), []
    vrt_type = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}[dtype]
    for index, value in enumerate(values):
        band = image[index].copy()
        if value is not None:
            band = np.where(valid, band, np.asarray(value, dtype))
        image[index] = band
        with rasterio.open(
            folder / f"{index}.tif", "w", driver="GTiff", width=SIZE[1], height=SIZE[0], count=1,
            dtype=dtype, crs=UTM, transform=GRID.transform,
        ) as dataset:  # fmt: skip
            dataset.write(band, 1)
        nodata = "" if value is None else f"<NoDataValue>{value}</NoDataValue>"
        bands.append(
            f'<VRTRasterBand dataType="{vrt_type}" band="{index + 1}">{nodata}<SimpleSource>'
            f'<SourceFilename relativeToVRT="1">{index}.tif</SourceFilename>'
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        )
    path = folder / "bands.vrt"
    numbers = ", ".join(map(str, GRID.transform.to_gdal()))
    path.write_text(
        f'<VRTDataset rasterXSize="{SIZE[1]}" rasterYSize="{SIZE[0]}"><SRS>{UTM}</SRS>'
        f"<GeoTransform>{numbers}</GeoTransform>{''.join(bands)}</VRTDataset>"
    )
    return path, image


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("uint16", (0, 65535, 1)),
        ("int16", (-9999, -32768, 0)),
        ("uint8", (None, 0, 255)),
        ("float32", (-9999, "nan", 0)),
    ],
)
def test_nodata_of_each_band_counts(tmp_path, dtype, values):
    path, image = per_band_vrt(tmp_path, values, dtype)
    source, pixels, valid = read(path)
    assert source.validity == "mask"
    assert np.array_equal(valid, ragged_border(SIZE))
    assert np.array_equal(pixels, image, equal_nan=dtype == "float32")


def test_nodata_of_each_band_counts_for_the_bands_chosen(tmp_path):
    path, _ = per_band_vrt(tmp_path, (0, 65535, 1), "uint16")
    source, _, valid = read(path, bands=[2])
    assert (source.validity, source.nodata) == ("nodata", 65535)
    assert np.array_equal(valid, ragged_border(SIZE))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_counts_beside_a_nodata_value(tmp_path, make_raster, dtype):
    image = synthesize(3, SIZE, dtype, 0)
    image[:, 40:44, 50:55] = 0
    path = make_raster(tmp_path / "a.tif", image=image, dtype=dtype, alpha=True)
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 0
    source, _, valid = read(path)
    expected = ragged_border(SIZE)
    expected[40:44, 50:55] = False
    assert source.validity == "alpha" and len(source.bands) == 3
    assert np.array_equal(valid, expected)


@pytest.mark.parametrize(
    ("dtype", "opaque"), [("uint16", 255), ("uint16", 65535), ("int16", 255), ("uint8", 1),
                          ("float32", 255), ("float32", 1)]
)  # fmt: skip
def test_alpha_of_any_opaque_value(tmp_path, make_raster, dtype, opaque):
    valid = ragged_border(SIZE)
    image = np.concatenate([synthesize(3, SIZE, dtype, 0), (valid * opaque)[None].astype(dtype)])
    names = ["red", "green", "blue", "alpha"]
    path = make_raster(tmp_path / "a.tif", image=image, dtype=dtype, colorinterp=names)
    source, pixels, known = read(path)
    assert (source.validity, source.tests.opaque, len(pixels)) == ("alpha", opaque, 3)
    assert np.array_equal(known, valid)
    _, _, turned = read(path, TURNED)
    _, _, usual = read(make_raster(tmp_path / "m.tif", dtype=dtype, mask=True), TURNED)
    assert np.mean(turned != usual) < 0.01


@pytest.mark.parametrize("kind", ["translucent", "feathered", "named"])
def test_alpha_that_is_not_plain_is_alpha(tmp_path, make_raster, kind):
    size = (300, 300)
    alpha = np.full(size, 255)
    if kind == "feathered":
        inwards = np.minimum(np.arange(300), np.arange(300)[::-1])
        alpha = np.minimum(255, 5 * np.minimum(inwards[:, None], inwards))
    elif kind == "translucent":
        alpha[60:240, 60:240] = 127
    alpha[:100, :100] = 0
    image = np.concatenate([synthesize(3, size, "uint8", 0), alpha[None].astype(np.uint8)])
    names = ["red", "green", "blue", "undefined" if kind == "named" else "alpha"]
    path = make_raster(
        tmp_path / "a.tif",
        image=image,
        colorinterp=names,
        descriptions=["a", "b", "c", "Alpha"] if kind == "named" else None,
    )
    mosaic = open_mosaic(path)
    with gdal_environment():
        _, valid = mosaic.read(Window(0, 0, *size))
    assert (mosaic.sources[0].validity, mosaic.count) == ("alpha", 3)
    assert np.array_equal(valid, alpha > 0)


@pytest.mark.parametrize("share", [0.001, 0.1])
def test_near_infrared_labelled_alpha_with_little_data_is_data(tmp_path, make_raster, share):
    """Its many zeros are nodata, not transparency."""
    image = synthesize(4, (300, 300), "uint8", 0)
    side = round(300 * share**0.5)
    valid = np.zeros((300, 300), bool)
    valid[150 - side // 2 :, 150 - side // 2 :][:side, :side] = True
    path = make_raster(
        tmp_path / "a.tif", image=image, valid=valid, nodata=0,
        colorinterp=["red", "green", "blue", "alpha"],
    )  # fmt: skip
    assert open_mosaic(path).count == 4


@pytest.mark.parametrize("how", ["per band", "alpha and nodata", "mask and nodata"])
def test_what_is_told_in_several_ways_is_warped_alike_in_every_window(tmp_path, make_raster, how):
    if how == "per band":
        path, _ = per_band_vrt(tmp_path, (0, 65535, 1), "uint16")
    else:
        kind = {"alpha": True} if how.startswith("alpha") else {"mask": True}
        path = make_raster(tmp_path / "a.tif", dtype="uint16", **kind)
        with rasterio.open(path, "r+") as dataset:
            dataset.nodata = 7
    mosaic = open_mosaic(path).resampled(TURNED)
    assert mosaic.sources[0].tests.combined
    with gdal_environment():
        pixels, valid = mosaic.read(Window(0, 0, *SIZE))
        for tile in tiles(SIZE, 37):
            part, known = mosaic.read(tile)
            assert np.array_equal(known, valid[tile.rows, tile.cols])
            assert np.array_equal(part[:, known], pixels[:, tile.rows, tile.cols][:, known])
    _, usual_pixels, usual = read(
        make_raster(tmp_path / "m.tif", dtype="uint16", mask=True), TURNED
    )
    assert 0.3 < valid.mean() < 0.9 and np.mean(valid != usual) < 0.02
    both = valid & usual
    assert np.abs(pixels[:, both].astype(int) - usual_pixels[:, both]).max() <= 1


def test_masks_of_each_band_count(tmp_path):
    path, _ = per_band_vrt(tmp_path, (None, None, None), "uint8")
    valid = ragged_border(SIZE)
    with rasterio.open(
        tmp_path / "mask.tif", "w", driver="GTiff", width=SIZE[1], height=SIZE[0], count=1,
        dtype="uint8", crs=UTM, transform=GRID.transform,
    ) as dataset:  # fmt: skip
        dataset.write((valid * 255).astype(np.uint8), 1)
    mask = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">mask.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTRasterBand>"
    )
    path.write_text(path.read_text().replace("</VRTRasterBand>", mask, 1))
    source, _, known = read(path)
    assert source.validity == "mask"
    assert np.array_equal(known, valid)


FILLS = [
    ("uint8", 0), ("uint8", 255), ("uint16", 0), ("uint16", 65535), ("int16", -9999),
    ("int16", -32768), ("int32", -2147483648), ("int32", 2147483647),
    ("float32", -9999.0), ("float32", 0.0),
    ("float32", -1.0), ("float32", -1e20), ("float64", 1e20),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "value"), FILLS)
@pytest.mark.parametrize("bands", [1, 3])
def test_undeclared_fill_is_seen(tmp_path, make_raster, listener, dtype, value, bands):
    image = synthesize(bands, (300, 420), dtype, 0)
    clean = make_raster(tmp_path / "clean.tif", image=image, dtype=dtype)
    assert undeclared_fill(open_mosaic(clean).sources[0]) is None
    image[:, ~ragged_border((300, 420))] = np.asarray(value, dtype)
    path = make_raster(tmp_path / "filled.tif", image=image, dtype=dtype)
    fill = undeclared_fill(open_mosaic(path).sources[0])
    assert fill is not None and fill.value == np.asarray(value, dtype)
    warn_of_fill(open_mosaic(path), listener)
    advised = listener.warnings[0].split("--nodata ")[1]
    declared = open_mosaic(path, nodata=float(advised)).sources[0]
    assert undeclared_fill(declared) is None


@pytest.mark.parametrize(
    ("dtype", "values"), [("uint16", (0, 65535, 9000)), ("int16", (-9999, -32768, 32767))]
)
def test_undeclared_fill_that_differs_by_band_is_seen(
    tmp_path, make_raster, listener, dtype, values
):
    size = (300, 420)
    image = synthesize(3, size, dtype, 0)
    image[:, ~ragged_border(size)] = np.array(values, dtype)[:, None]
    path = make_raster(tmp_path / "a.tif", image=image, dtype=dtype)
    fill = undeclared_fill(open_mosaic(path).sources[0])
    assert fill is not None and fill.value == values
    warn_of_fill(open_mosaic(path), listener)
    assert f"{', '.join(map(str, values))} in their bands" in listener.warnings[0]


def test_bright_roofs_are_no_fill(tmp_path, make_raster):
    image = synthesize(3, (300, 420), "uint8", 0)
    image[:, 100:200, 100:300] = 255
    path = make_raster(tmp_path / "a.tif", image=image)
    assert undeclared_fill(open_mosaic(path).sources[0]) is None


@pytest.mark.parametrize("fill", [-3.4028235e38, 3.4028235e38, np.nan, np.inf])
@pytest.mark.parametrize("grid", [None, TURNED], ids=["own grid", "warped"])
def test_floats_beyond_any_measurement_are_never_data(tmp_path, make_raster, fill, grid):
    """The lowest float32 is a fill whether the file says so or not; averages of it are as well."""
    inside = ragged_border(SIZE)
    image = synthesize(3, SIZE, "float32", 0)
    image[:, ~inside] = np.float32(fill)
    _, pixels, valid = read(make_raster(tmp_path / "a.tif", image=image, dtype="float32"), grid)
    assert valid.any() and not valid.all()
    assert np.abs(pixels[:, valid]).max() <= np.abs(image[:, inside]).max()
    if grid is None:
        assert np.array_equal(valid, inside)
