"""Rasters that say impossible things of themselves: one line, in bounded time and memory."""

import struct
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from affine import Affine
from conftest import UTM, synthesize

from geossda import HarmonizeConfig, harmonize, info, polygonize
from geossda.errors import EmptyRasterError, GeoreferenceError, OutputError, RasterError
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import open_mosaic
from geossda.raster.statistics import sample_tiles
from geossda.raster.windows import tiles


def vrt(path, kind="Byte", bands=1, size=2**31 - 1, inside=""):
    band = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}">{inside}</VRTRasterBand>'
        for number in range(1, bands + 1)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}"><SRS>{UTM}</SRS><GeoTransform>'
        f"500000, 0.3, 0, 1000000, 0, -0.3</GeoTransform>{band}</VRTDataset>"
    )
    return path


NAN = float("nan")
TRANSFORMS = {
    "singular": Affine(0, 0, 5e5, 0, 0, 1e6),
    "on a line": Affine(1, 1, 5e5, 1, 1, 1e6),
    "nearly on a line": Affine(1, 1, 5e5, 1, 1 + 1e-11, 1e6),
    "not a number": Affine(NAN, 0, 5e5, 0, -0.3, 1e6),
    "too large": Affine(1e300, 1e300, 5e5, 1e300, 1e300, 1e6),
    "too far away": Affine(0.3, 0, 5e5, 0, -0.3, 1e300),
    "larger than the Earth": Affine(-1e300, 0, 1e12, 0, -0.5, 5e6),
    "far enough to round": Affine(0.3, 0, 1e15, 0, -0.3, 1e6),
    "too small": Affine(1e-300, 0, 5e5, 0, -1e-300, 1e6),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_transform_that_places_nothing(tmp_path, make_raster, transform):
    path = make_raster(tmp_path / "a.tif", transform=transform)
    with pytest.raises(GeoreferenceError, match="on a line or nowhere"):
        open_mosaic(path)


def test_metres_declared_as_degrees(tmp_path, make_raster):
    path = make_raster(tmp_path / "a.tif", crs="EPSG:4326", gsd=0.3)
    with pytest.raises(GeoreferenceError, match="declare the CRS"):
        ground_sample_distance(open_mosaic(path).grid)
    assert info(path)["gsd_m"] is None
    mask = make_raster(tmp_path / "mask.tif", bands=1, crs="EPSG:4326", gsd=0.3)
    with pytest.raises(GeoreferenceError, match="declare the CRS"):
        polygonize(mask, tmp_path / "o.gpkg")
    with pytest.raises(GeoreferenceError, match="declares the CRS"):
        open_mosaic([make_raster(tmp_path / "b.tif"), path])


def test_a_raster_larger_than_the_earth(tmp_path):
    path = vrt(tmp_path / "a.vrt")
    assert info(path)["width"] == 2**31 - 1
    with pytest.raises(OutputError, match="free"):
        polygonize(path, tmp_path / "o.gpkg")
    with pytest.raises(RasterError, match="more than the Earth"):
        harmonize(path, tmp_path / "o.tif", config=HarmonizeConfig(method="equalize"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.vrt"]


def test_few_tiles_of_very_many_are_spread_and_inside():
    side = 2**31 - 1
    windows = sample_tiles((side, side), budget_px=100 * 512**2)
    assert len(windows) == 100 == len(set(windows))
    rows, cols = (np.array([window[axis] for window in windows]) for axis in (0, 1))
    assert np.ptp(rows) > 0.9 * side and np.ptp(cols) > 0.8 * side
    assert all(w.row + w.height <= side and w.col + w.width <= side for w in windows)
    few = sample_tiles((5000, 7000), budget_px=10 * 512**2)
    assert set(few) < set(tiles((5000, 7000), 512))


def test_a_block_of_gigabytes(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=60000, height=60000, count=1, dtype="uint8", crs=UTM,
        transform=Affine(0.3, 0, 5e5, 0, -0.3, 1e6), tiled=True, blockxsize=59904, blockysize=59904,
        sparse_ok=True, compress="deflate",
    ):  # fmt: skip
        pass
    with pytest.raises(RasterError, match="TILED=YES"):
        open_mosaic(path)


@pytest.mark.parametrize("kind", ["CInt16", "CFloat32"])
def test_complex_pixels(tmp_path, kind):
    with pytest.raises(RasterError, match="integers or floats"):
        open_mosaic(vrt(tmp_path / "a.vrt", kind, size=20))


def test_a_name_that_is_not_utf_8(tmp_path):
    with pytest.raises(RasterError, match="not UTF-8"):
        open_mosaic(f"{tmp_path}/a\udcff.tif")


def test_styles_and_outputs_whose_names_are_not_utf_8(tmp_path, make_raster):
    good, bad = make_raster(tmp_path / "a.tif"), tmp_path / "\udcff.tif"
    with pytest.raises(OutputError, match=r"udcff.tif' is a name that is not UTF-8: choose"):
        harmonize(good, bad, method="equalize")
    good_too = make_raster(tmp_path / "b.tif")
    good_too.rename(bad)
    with pytest.raises(RasterError, match=r"not UTF-8, which GDAL cannot open: rename"):
        harmonize(good, tmp_path / "c.tif", style=bad, method="linear")
    assert sorted(tmp_path.iterdir()) == sorted([good, bad])


@pytest.mark.parametrize("kernel", ["", "<Kernel><Size>0</Size></Kernel>"])
def test_a_vrt_with_a_filter_without_kernel(tmp_path, make_raster, kernel):
    make_raster(tmp_path / "a.tif", bands=1, size=(20, 20))
    path = tmp_path / "a.vrt"
    source = f'<SourceFilename relativeToVRT="1">a.tif</SourceFilename>{kernel}'
    vrt(path, size=20, inside=f"<KernelFilteredSource>{source}</KernelFilteredSource>")
    with pytest.raises(RasterError, match="without Kernel"):
        open_mosaic(path)
    kernel = "<Kernel><Size>1</Size><Coefs>1</Coefs></Kernel>"
    source = f'<SourceFilename relativeToVRT="1">a.tif</SourceFilename>{kernel}'
    vrt(path, size=20, inside=f"<KernelFilteredSource>{source}</KernelFilteredSource>")
    assert open_mosaic(path).shape == (20, 20)


def test_values_beyond_single_precision(tmp_path, make_raster):
    image = synthesize(3, (97, 131), "float64", 0)
    wild = image.copy()
    wild[0, 3, 5] = 1e308
    path = make_raster(tmp_path / "a.tif", image=wild, dtype="float64")
    assert info(path)["working_range"] == (0, 1)
    path = make_raster(tmp_path / "b.tif", image=image * 1e306, dtype="float64")
    with pytest.raises(EmptyRasterError, match="no valid pixel"):
        info(path)


@pytest.mark.skipif(sys.platform == "win32", reason="the call that silences libtiff is not found")
@pytest.mark.parametrize("place", ["directory", "strip"])
def test_offsets_beyond_any_file_are_reported_in_one_line(tmp_path, make_raster, place):
    path = make_raster(tmp_path / "a.tif", size=(20, 30), BIGTIFF="YES", ENDIANNESS="LITTLE")
    data = bytearray(path.read_bytes())
    directory = struct.unpack_from("<Q", data, 8)[0]
    if place == "directory":
        struct.pack_into("<Q", data, 8, 2**56)
    else:
        count = struct.unpack_from("<Q", data, directory)[0]
        entries = [directory + 8 + 20 * number for number in range(count)]
        (strips,) = (at for at in entries if struct.unpack_from("<H", data, at)[0] == 273)
        struct.pack_into("<HHQQ", data, strips, 273, 16, 1, 2**56)  # LONG8
    path.write_bytes(data)
    script = f"from geossda_cli.main import main; main(['info', {str(path)!r}])"
    if place == "strip":
        script = script.replace("info'", "harmonize', '--method', 'equalize', '-o', 'o.tif'")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.startswith("geossda: "), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_what_gdal_says_in_another_encoding_is_not_printed(tmp_path, make_raster):
    path = make_raster(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(city="x")
    damaged = path.read_bytes().replace(b"<Item name=", b"<Item \xff\xff\xff\xff ")
    assert b"\xff\xff\xff\xff " in damaged
    path.write_bytes(damaged)
    command = (
        "import sys; from geossda_cli.main import entry; sys.argv[1:] = ['info', 'a.tif']; entry()"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "megapixels" in done.stdout and done.stderr == ""
