"""One raster or many, read by window: what is valid, what lies where, and in which metres."""

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from conftest import UTM, ragged_border, synthesize
from PIL import Image
from rasterio.vrt import WarpedVRT

from geossda.errors import BandError, GeoreferenceError, RasterError
from geossda.raster.grid import Grid
from geossda.raster.gsd import grid_at_gsd, ground_sample_distance
from geossda.raster.mosaic import find_sources, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

SIZE = (97, 131)
WHOLE = Window(0, 0, *SIZE)


def read_whole(mosaic):
    with gdal_environment():
        return mosaic.read(Window(0, 0, *mosaic.shape))


def read_in_pieces(mosaic, size):
    pixels = np.zeros((mosaic.count, *mosaic.shape), mosaic.dtype)
    valid = np.zeros(mosaic.shape, bool)
    for tile in tiles(mosaic.shape, size):
        pixels[:, tile.rows, tile.cols], valid[tile.rows, tile.cols] = mosaic.read(tile)
    return pixels, valid


# What is valid


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("told_by", ["nodata", "alpha", "mask", "all"])
def test_validity(tmp_path, make_raster, dtype, told_by):
    how = {
        "nodata": {"nodata": -9999 if dtype in ("int16", "float32") else 0},
        "alpha": {"alpha": True},
        "mask": {"mask": True},
        "all": {},
    }[told_by]
    mosaic = open_mosaic(make_raster(tmp_path / "a.tif", dtype=dtype, size=SIZE, **how))
    assert mosaic.sources[0].validity == told_by
    assert mosaic.sources[0].nodata == how.get("nodata")
    assert (mosaic.count, mosaic.dtype, mosaic.shape) == (3, np.dtype(dtype), SIZE)
    pixels, valid = read_whole(mosaic)
    expected = np.ones(SIZE, bool) if told_by == "all" else ragged_border(SIZE)
    assert np.array_equal(valid, expected)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert np.array_equal(pixels, dataset.read([1, 2, 3]))
    if told_by == "nodata":
        assert (pixels[0][valid] == how["nodata"]).any(), "the value in one band alone is data"


def test_floats_that_are_not_finite_are_invalid(tmp_path, make_raster):
    image = synthesize(3, SIZE, "float32", 0)
    image[0, 3, 5], image[2, 7, 9], image[1, 11, 13] = np.nan, np.inf, -np.inf
    expected = np.ones(SIZE, bool)
    expected[[3, 7, 11], [5, 9, 13]] = False
    for name, how in (("all", {}), ("nodata", {"nodata": -1.0}), ("mask", {"mask": True})):
        path = make_raster(
            tmp_path / f"{name}.tif", image=image, dtype="float32", valid=np.ones(SIZE, bool), **how
        )
        assert np.array_equal(read_whole(open_mosaic(path))[1], expected), name


def test_nan_as_nodata(tmp_path, make_raster):
    image = synthesize(2, SIZE, "float32", 0)
    image[:, 3, 5] = np.nan
    path = make_raster(
        tmp_path / "a.tif", image=image, dtype="float32", nodata=np.nan, valid=np.ones(SIZE, bool)
    )
    mosaic = open_mosaic(path)
    assert mosaic.sources[0].validity == "nodata"
    valid = read_whole(mosaic)[1]
    assert not valid[3, 5] and valid.sum() == valid.size - 1


def test_nodata_given_stands_in_for_a_missing_or_wrong_one(tmp_path, make_raster):
    image = np.where(ragged_border(SIZE), synthesize(3, SIZE, "uint8", 0), 7).astype(np.uint8)
    plain = make_raster(tmp_path / "plain.tif", image=image)
    assert read_whole(open_mosaic(plain))[1].all()
    assert np.array_equal(read_whole(open_mosaic(plain, nodata=7))[1], ragged_border(SIZE))
    wrong = make_raster(tmp_path / "wrong.tif", image=image, nodata=1, valid=np.ones(SIZE, bool))
    assert np.array_equal(read_whole(open_mosaic(wrong, nodata=7))[1], ragged_border(SIZE))


def test_near_infrared_labelled_alpha_is_data(tmp_path, make_raster):
    image = synthesize(4, SIZE, "uint8", 1)
    names = ["red", "green", "blue", "alpha"]
    path = make_raster(tmp_path / "nir.tif", image=image, colorinterp=names)
    mosaic = open_mosaic(path)
    assert mosaic.sources[0].validity == "all"
    assert mosaic.sources[0].bands == (1, 2, 3, 4)
    pixels, valid = read_whole(mosaic)
    assert valid.all() and np.array_equal(pixels, image)


def test_translucent_alpha_is_valid_at_its_own_pixels(tmp_path, make_raster):
    image = np.concatenate([synthesize(3, SIZE, "uint8", 1), np.full((1, *SIZE), 255, np.uint8)])
    image[3, :10, :10], image[3, 20:25, 20:25] = 0, 128
    names = ["red", "green", "blue", "alpha"]
    path = make_raster(tmp_path / "soft.tif", image=image, colorinterp=names)
    mosaic = open_mosaic(path)
    assert mosaic.sources[0].validity == "alpha" and mosaic.count == 3
    with gdal_environment():
        valid = mosaic.read(WHOLE)[1]
        assert np.array_equal(mosaic.sources[0].read_alpha(WHOLE), image[3])
    assert np.array_equal(valid, image[3] > 0)


def test_a_mask_beside_the_file_counts(tmp_path, make_raster):
    path = make_raster(tmp_path / "a.tif", size=SIZE)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(ragged_border(SIZE))
    assert (tmp_path / "a.tif.msk").exists()
    with gdal_environment():
        mosaic = open_mosaic(path)
        assert mosaic.sources[0].validity == "mask"
        assert np.array_equal(mosaic.read(WHOLE)[1], ragged_border(SIZE))


def test_georeference_beside_the_file_counts(tmp_path, make_raster):
    path = tmp_path / "a.tif"
    Image.fromarray(synthesize(3, SIZE, "uint8", 0).transpose(1, 2, 0)).save(path)
    (tmp_path / "a.tfw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5199999.75\n")
    expected = Affine(0.5, 0, 500000, 0, -0.5, 5200000)
    with gdal_environment():
        assert open_mosaic(path).grid.transform.almost_equals(expected)


def test_bands_are_read_in_the_order_asked_for(tmp_path, make_raster):
    path = make_raster(tmp_path / "a.tif", bands=4, dtype="uint16")
    with rasterio.open(path) as dataset:
        expected = dataset.read([3, 1])
    assert np.array_equal(read_whole(open_mosaic(path, bands=(3, 1)))[0], expected)
    with pytest.raises(BandError, match=r"band 5 was asked for.* 1 to 4"):
        open_mosaic(path, bands=(5,))


# Many as one


@pytest.fixture
def quilt(tmp_path, make_raster):
    """Three pieces on one lattice: b overlaps a, c lies apart and leaves a gap."""
    folder = tmp_path / "quilt"
    folder.mkdir()
    places = {"a": (0, 0, 60, 70), "b": (21, 40, 60, 71), "c": (100, 20, 31, 45)}
    for seed, (name, (row, col, height, width)) in enumerate(places.items()):
        valid = np.ones((height, width), bool)
        valid[:3, :5] = False
        make_raster(
            folder / f"{name}.tif", size=(height, width), nodata=0, seed=seed, valid=valid,
            origin=(500000 + col * 0.5, 5200000 - row * 0.5),
        )  # fmt: skip
    return folder, places


def laid_out(folder, places, order):
    """The mosaic as it should be, painted from the last to the first."""
    pixels, valid = np.zeros((3, 131, 111), np.uint8), np.zeros((131, 111), bool)
    for name in reversed(order):
        row, col, height, width = places[name]
        with rasterio.open(folder / f"{name}.tif") as dataset:
            image = dataset.read()
        here = (image != 0).any(axis=0)
        part = (slice(row, row + height), slice(col, col + width))
        pixels[:, *part] = np.where(here, image, pixels[:, *part])
        valid[part] |= here
    return pixels, valid


@pytest.mark.parametrize("given", ["folder", "glob", "list", "reversed"])
def test_folder_glob_and_list_are_one_mosaic(quilt, given):
    folder, places = quilt
    (folder / "notes.txt").write_text("not a raster")
    order = "cba" if given == "reversed" else "abc"
    paths = {
        "folder": folder,
        "glob": str(folder / "*.tif"),
        "list": [folder / f"{name}.tif" for name in order],
        "reversed": [folder / f"{name}.tif" for name in order],
    }[given]
    mosaic = open_mosaic(paths)
    assert [source.path[-5] for source in mosaic.sources] == list(order)
    assert mosaic.shape == (131, 111)
    assert mosaic.grid.transform.almost_equals(Affine(0.5, 0, 500000, 0, -0.5, 5200000))
    pixels, valid = read_whole(mosaic)
    expected, expected_valid = laid_out(folder, places, order)
    assert np.array_equal(valid, expected_valid)
    assert np.array_equal(pixels[:, valid], expected[:, valid])
    assert not valid.all(), "the gap is nodata"
    tops = [laid_out(folder, places, o)[0][:, 30, 50].tolist() for o in ("abc", "bca")]
    assert tops[0] != tops[1], "the overlap tells the order"


def test_pieces_of_unlike_kind_are_refused(tmp_path, make_raster):
    one = make_raster(tmp_path / "one.tif")
    for name, other, error in (
        ("two", {"bands": 2}, BandError),
        ("deep", {"dtype": "uint16"}, RasterError),
        ("lost", {"crs": None}, GeoreferenceError),
    ):
        path = make_raster(tmp_path / f"{name}.tif", **other)
        with pytest.raises(error, match=f"{name}.tif"):
            open_mosaic([one, path])


def test_find_sources_keeps_order_and_drops_doubles(tmp_path, make_raster):
    for name in ("b.tif", "a.TIF", ".hidden.tif", "c.tiff"):
        make_raster(tmp_path / name, size=(8, 8))
    every = [str(tmp_path / name) for name in ("a.TIF", "b.tif", "c.tiff")]
    assert find_sources([tmp_path]) == every
    assert find_sources([every[2], tmp_path]) == [every[2], every[0], every[1]]
    assert find_sources(["https://x.org/y.tif", "/vsizip/z.zip/a.tif"]) == [
        "https://x.org/y.tif", "/vsizip/z.zip/a.tif",
    ]  # fmt: skip
    with pytest.raises(RasterError, match="no raster was given"):
        find_sources([])
    with pytest.raises(RasterError, match="matches no file"):
        find_sources([str(tmp_path / "*.jp2")])


# Windows of it


@pytest.mark.parametrize("piece", [16, 40, 64])
@pytest.mark.parametrize("gsd", [0.5, 0.8, 0.31], ids=["own", "coarser", "finer"])
@pytest.mark.parametrize("told_by", ["nodata", "mask", "alpha"])
def test_windows_equal_the_whole(tmp_path, make_raster, piece, gsd, told_by):
    how = {"nodata": {"nodata": 0}, "mask": {"mask": True}, "alpha": {"alpha": True}}[told_by]
    blocks = {"tiled": True, "blockxsize": 32, "blockysize": 48}
    path = make_raster(tmp_path / "a.tif", size=SIZE, **blocks, **how)
    mosaic = open_mosaic(path)
    if gsd != 0.5:
        mosaic = mosaic.resampled(grid_at_gsd(mosaic.grid, gsd))
        assert mosaic.shape != SIZE
    pixels, valid = read_whole(mosaic)
    in_pieces, valid_in_pieces = read_in_pieces(mosaic, piece)
    assert 0.5 < valid.mean() < 1
    assert np.array_equal(valid, valid_in_pieces)
    assert np.array_equal(pixels[:, valid], in_pieces[:, valid])


@pytest.mark.xfail(
    strict=True,
    reason="GDAL's bilinear with nodata: where a pixel centre falls exactly on that of a nodata "
    "pixel, rounding of the window's offset decides whether it is valid",
)
def test_windows_equal_the_whole_where_centres_coincide_with_nodata(tmp_path, make_raster):
    """Row 78 of 157 over 97 rows has its centre on that of row 48, the first of the hole."""
    path = make_raster(tmp_path / "a.tif", size=SIZE, nodata=0)
    mosaic = open_mosaic(path)
    mosaic = mosaic.resampled(grid_at_gsd(mosaic.grid, 0.31))
    assert np.array_equal(read_whole(mosaic)[1], read_in_pieces(mosaic, 37)[1])


def test_near_infrared_labelled_alpha_is_warped_as_data(tmp_path, make_raster):
    names = ["red", "green", "blue", "alpha"]
    there = Affine.translation(*in_utm32(500020, 5199995)) * Affine.scale(0.5, -0.5)
    paths = [
        make_raster(tmp_path / "a.tif", bands=4, colorinterp=names),
        make_raster(tmp_path / "b.tif", bands=4, colorinterp=names, crs="EPSG:32632",
                    transform=there, seed=2),
    ]  # fmt: skip
    mosaic = open_mosaic(paths)
    pixels, valid = mosaic.read_source(1, Window(0, 0, *mosaic.shape))
    assert valid.sum() == pytest.approx(SIZE[0] * SIZE[1], rel=0.06)
    with rasterio.open(paths[1]) as dataset:
        means = dataset.read().mean(axis=(1, 2))
    assert pixels[:, valid].mean(axis=1) == pytest.approx(means, abs=1)


def test_windows_equal_the_whole_of_a_mosaic_of_unlike_grids(tmp_path, make_raster):
    """Another pixel size, another CRS and half a pixel of shift, all at once."""
    there = Affine.translation(*in_utm32(500045, 5200003)) * Affine.scale(0.5, -0.5)
    paths = [
        make_raster(tmp_path / "a.tif", size=(60, 70), nodata=0, seed=1),
        make_raster(tmp_path / "b.tif", size=(60, 70), nodata=0, seed=2,
                    origin=(500020.25, 5199990.25)),
        make_raster(tmp_path / "c.tif", size=(40, 40), nodata=0, seed=3, gsd=0.9,
                    origin=(500000, 5199980)),
        make_raster(tmp_path / "d.tif", size=(60, 60), nodata=0, seed=4, crs="EPSG:32632",
                    transform=there),
    ]  # fmt: skip
    mosaic = open_mosaic(paths)
    pixels, valid = read_whole(mosaic)
    for size in (19, 64):
        in_pieces, valid_in_pieces = read_in_pieces(mosaic, size)
        assert np.array_equal(valid, valid_in_pieces)
        assert np.array_equal(pixels[:, valid], in_pieces[:, valid])
    for index in range(4):
        assert mosaic.read_source(index, Window(0, 0, *mosaic.shape))[1].sum() > 1000


def in_utm32(x, y):
    return pyproj.Transformer.from_crs(UTM, "EPSG:32632", always_xy=True).transform(x, y)


def test_resampled_means_keep_and_pixels_made_of_masked_ones_are_invalid(tmp_path, make_raster):
    path = make_raster(tmp_path / "a.tif", size=SIZE, mask=True)
    mosaic = open_mosaic(path)
    pixels, valid = read_whole(mosaic)
    coarse, coarse_valid = read_whole(mosaic.resampled(grid_at_gsd(mosaic.grid, 1.0)))
    assert coarse_valid.shape == (48, 66) or coarse_valid.shape == (49, 66)
    means = pixels[:, valid].mean(axis=1)
    assert np.abs(coarse[:, coarse_valid].mean(axis=1) - means).max() < 3
    assert coarse_valid.sum() * 4 < valid.sum()
    inside = np.kron(coarse_valid[:47, :64], np.ones((2, 2), bool))[4:-4, 4:-4]
    assert valid[4:90, 4:124][inside].all()


def test_a_source_without_overlap_gives_nothing(quilt):
    folder, _ = quilt
    mosaic = open_mosaic(folder)
    pixels, valid = mosaic.read_source(2, Window(0, 0, 40, 40))
    assert not valid.any() and not pixels.any()


@pytest.mark.parametrize("step", [1e9, 1e4, 49.9, 1e-9])
def test_pixels_far_larger_or_smaller_than_the_grids_are_read(tmp_path, make_raster, step):
    image = np.arange(1, 4, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    wide = make_raster(
        tmp_path / "wide.tif", image=image, transform=Affine(step, 0, 500000, 0, -0.5, 5200000)
    )
    source = open_mosaic(wide).sources[0]
    grid = Grid((8, 8), Affine(0.5, 0, 500000, 0, -0.5, 5200000), source.grid.crs)
    pixels, valid = source.read(Window(0, 0, 8, 8), grid)
    # Rows fit one to one; along a row the source has as many columns as its pixels cover.
    covered = min(8, max(1, round(4 * step / 0.5)))
    if step > 1:
        assert valid[:4, :covered].all() and not valid[4:].any()
    assert (pixels[:, valid] == [[1], [2], [3]]).all()


def test_metres_declared_as_degrees_beside_degrees_are_refused(tmp_path, make_raster):
    image = np.ones((3, 8, 8), np.uint8)
    metres = Affine(0.5, 0, 500000, 0, -0.5, 5200000)
    degrees = Affine(1e-5, 0, 15, 0, -1e-5, 46.9)
    wrong = make_raster(tmp_path / "wrong.tif", image=image, transform=metres, crs="EPSG:4326")
    right = make_raster(tmp_path / "right.tif", image=image, transform=degrees, crs="EPSG:4326")
    for order in ([wrong, right], [right, wrong]):
        with pytest.raises(GeoreferenceError, match="each declares the CRS its coordinates"):
            open_mosaic(order)
    # Alike, they lie rightly beside each other, whatever their numbers mean.
    beside = make_raster(
        tmp_path / "beside.tif",
        image=image,
        transform=Affine.translation(4, 0) * metres,
        crs="EPSG:4326",
    )
    assert open_mosaic([wrong, beside]).shape == (8, 16)


def test_to_xarray_equals_read(quilt):
    folder, _ = quilt
    mosaic = open_mosaic(folder)
    pixels, valid = read_whole(mosaic)
    dataset = mosaic.to_xarray(chunk_px=37)
    assert dataset.image.chunks == ((3,), (37, 37, 37, 20), (37, 37, 37))
    assert dataset.image.dims == ("band", "y", "x")
    assert dataset.rio.crs.to_epsg() == 32633
    assert dataset.rio.transform() == mosaic.grid.transform
    loaded = dataset.compute(scheduler="single-threaded")
    assert loaded.image.dtype == np.uint8 and loaded.valid.dtype == bool
    assert np.array_equal(loaded.image.values, pixels)
    assert np.array_equal(loaded.valid.values, valid)


# Where it lies


def test_rotated_raster(tmp_path, make_raster):
    path = make_raster(tmp_path / "a.tif", rotated=True, nodata=0, size=SIZE)
    mosaic = open_mosaic(path)
    with rasterio.open(path) as dataset:
        assert mosaic.grid.transform == dataset.transform
        assert dataset.transform.b != 0
    assert ground_sample_distance(mosaic.grid) == pytest.approx((0.5, 0.5), rel=1e-3)
    coarse = mosaic.resampled(grid_at_gsd(mosaic.grid, 0.8))
    whole, in_pieces = read_whole(coarse), read_in_pieces(coarse, 23)
    assert whole[1].mean() > 0.5
    assert np.array_equal(whole[0][:, whole[1]], in_pieces[0][:, whole[1]])
    # A rotated piece in a mosaic that is not: it covers what its corners say.
    straight = make_raster(tmp_path / "b.tif", size=(20, 20), nodata=0)
    both = open_mosaic([straight, path])
    valid = both.read_source(1, Window(0, 0, *both.shape))[1]
    assert valid.sum() == pytest.approx(ragged_border(SIZE).sum(), rel=0.02)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("told_by", ["nodata", "given", "alpha", "mask", "all"])
def test_another_crs_is_warped(tmp_path, make_raster, dtype, told_by):
    how = {
        "nodata": {"nodata": 0},
        "given": {},
        "alpha": {"alpha": True},
        "mask": {"mask": True},
        "all": {},
    }[told_by]
    first = make_raster(tmp_path / "first.tif", size=(20, 20), dtype=dtype, **how)
    there = Affine.translation(*in_utm32(500020, 5199995)) * Affine.scale(0.5, -0.5)
    image = synthesize(3, SIZE, dtype, 1)
    if told_by == "given":
        image = np.where(ragged_border(SIZE), image, 0).astype(dtype)
    path = make_raster(
        tmp_path / "far.tif", image=image, dtype=dtype, crs="EPSG:32632", transform=there, **how
    )
    mosaic = open_mosaic([first, path], nodata=0 if told_by == "given" else None)
    pixels, valid = mosaic.read_source(1, Window(0, 0, *mosaic.shape))
    expected = SIZE[0] * SIZE[1] if told_by == "all" else ragged_border(SIZE).sum()
    assert valid.sum() == pytest.approx(expected, rel=0.06)
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(dataset, crs=UTM, transform=mosaic.grid.transform, height=mosaic.shape[0],
                  width=mosaic.shape[1], resampling=rasterio.enums.Resampling.nearest) as nearest,
    ):  # fmt: skip
        close = nearest.read([1, 2, 3]).astype(float)
    span = float(image.max()) - float(image.min())
    off = np.abs(pixels.astype(float) - close)[:, valid] / span
    assert off.mean() < 0.1, "the same ground, but for interpolation"
    wrong = ~np.isin(pixels[:, valid], [0]) if told_by == "given" else np.True_
    assert np.mean(wrong) > 0.99


def geobox(crs, x, y, step, shape=(100, 120)):
    transform = Affine.translation(x, y) * Affine.scale(step, -step)
    return Grid(shape, transform, crs)


def test_gsd_of_utm_is_nearly_the_pixel():
    # 0.9996 is UTM's scale on its middle meridian.
    found = ground_sample_distance(geobox(UTM, 500000, 5200000, 0.5))
    assert found == pytest.approx((0.5 / 0.9996, 0.5 / 0.9996), rel=1e-5)


def test_gsd_of_web_mercator_at_60_degrees_is_half():
    x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(25.0, 60.0)
    found = ground_sample_distance(geobox("EPSG:3857", x - 18, y + 15, 0.3))
    assert found == pytest.approx((0.15, 0.15), rel=5e-3)


def test_gsd_of_degrees():
    step = 1e-5
    found = ground_sample_distance(geobox("EPSG:4326", 25.0, 60.0, step))
    geod = pyproj.Geod(ellps="WGS84")
    east = geod.inv(25, 60, 25 + step, 60)[2]
    south = geod.inv(25, 60, 25, 60 - step)[2]
    assert found == pytest.approx((east, south), rel=1e-4)
    assert found[0] == pytest.approx(found[1] / 2, rel=0.01)


def test_gsd_needs_a_place_on_the_globe():
    with pytest.raises(GeoreferenceError, match="no CRS"):
        ground_sample_distance(geobox(None, 0, 0, 1))
    local = 'LOCAL_CS["plan",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    with pytest.raises(GeoreferenceError):
        ground_sample_distance(geobox(local, 0, 0, 1))


@pytest.mark.parametrize(
    ("crs", "x", "y", "step"),
    [
        (UTM, 500000, 5200000, 0.5),
        ("EPSG:3857", 2782987, 8399737, 0.6),
        ("EPSG:4326", 25, 60, 5e-6),
    ],
    ids=["utm", "mercator", "degrees"],
)
def test_grid_at_gsd_keeps_the_rectangle(crs, x, y, step):
    own = geobox(crs, x, y, step, (531, 747))
    for gsd in (0.3, 0.47, 1.1):
        grid = grid_at_gsd(own, gsd)
        corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
        for right, down in corners:
            assert grid.transform * (right * grid.shape.x, down * grid.shape.y) == pytest.approx(
                own.transform * (right * own.shape.x, down * own.shape.y), abs=1e-9, rel=1e-12
            )
        found = ground_sample_distance(grid)
        sides = (grid.shape.x, grid.shape.y)
        for one, side in zip(found, sides, strict=True):
            assert one == pytest.approx(gsd, rel=max(0.02, 0.6 / side))


def test_grid_near_the_gsd_is_left_alone():
    own = geobox(UTM, 500000, 5200000, 0.3)
    assert grid_at_gsd(own, 0.305) is own
    assert grid_at_gsd(own, 0.31).shape != own.shape
