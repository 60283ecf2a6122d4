"""Which band is red: colour interpretation, then names, then order."""

import numpy as np
import pytest
import rasterio
from conftest import synthesize

from geossda.raster.bands import color_of_name, rgb_first
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

SIZE = (60, 70)


@pytest.mark.parametrize(
    ("name", "color"),
    [("Red", "red"), ("B04 (red)", "red"), ("red edge 1", "rededge"), ("RedEdge", "rededge"),
     ("near infrared", "nir"), ("NIR1", "nir"), ("r", "red"), ("B", "blue"), ("band 1", None),
     ("a red and green index", None), ("", None), (None, None), ("infrared", "nir"),
     ("B04", "red"), ("b03", "green"), ("S2A_B02", "blue"), ("B02, Blue", "blue"), ("B8A", "nir"),
     ("B4", None), ("B05", "rededge"), ("665 nm", "red"), ("Band 1 (490nm)", "blue"),
     ("0.56 µm", "green"), ("0.865 um", "nir"), ("443 nanometers", "coastal"), ("3 nm", None),
     ("coastal_blue", "coastal"), ("green_i", None), ("B02 B04", None), ("1375 nm", "swir")],
)  # fmt: skip
def test_colours_by_name(name, color):
    assert color_of_name(name) == color


def test_rgb_first():
    assert rgb_first((1, 2, 3, 4), ("blue", "green", "red", "nir")) == (3, 2, 1, 4)
    assert rgb_first((1, 2, 3), ("nir", "red", "green")) == (1, 2, 3)
    assert rgb_first((1, 2, 3, 4), ("red", "green", "blue", "red")) == (1, 2, 3, 4)


@pytest.mark.parametrize("how", ["interpretation", "names"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_bands_are_read_red_green_blue_first(tmp_path, make_raster, how, dtype):
    image = synthesize(4, SIZE, dtype, 0)
    names = ["blue", "green", "red", "nir"]
    told = (
        {"colorinterp": names}
        if how == "interpretation"
        else {"descriptions": names, "colorinterp": ["gray", *["undefined"] * 3]}
    )
    path = make_raster(tmp_path / "a.tif", image=image, dtype=dtype, **told)
    mosaic = open_mosaic(path)
    source = mosaic.sources[0]
    assert source.bands == (3, 2, 1, 4) and source.file_order == (2, 1, 0, 3)
    assert source.colors == ("red", "green", "blue", "nir")
    with gdal_environment():
        pixels, _ = mosaic.read(Window(0, 0, *SIZE))
    assert np.array_equal(pixels, image[[2, 1, 0, 3]])
    chosen = open_mosaic(path, bands=[1, 2, 3]).sources[0]
    assert chosen.bands == (1, 2, 3) and chosen.file_order == (0, 1, 2)


@pytest.mark.parametrize(
    "names",
    [["B02", "B03", "B04", "B08"], ["b02", "b03", "b04", "b8a"],
     ["490 nm", "560 nm", "665 nm", "842 nm"], "CENTRAL_WAVELENGTH_UM"],
    ids=["Sentinel-2", "lower case", "wavelengths", "metadata"],
)  # fmt: skip
def test_bands_are_known_by_number_and_wavelength(tmp_path, make_raster, names):
    path = make_raster(tmp_path / "a.tif", bands=4, dtype="uint16")
    with rasterio.open(path, "r+") as dataset:
        for band, micrometres in enumerate((0.49, 0.56, 0.665, 0.842), start=1):
            if isinstance(names, str):
                dataset.update_tags(band, ns="IMAGERY", **{names: micrometres})
            else:
                dataset.set_band_description(band, names[band - 1])
    source = open_mosaic(path).sources[0]
    assert source.colors == ("red", "green", "blue", "nir") and source.bands == (3, 2, 1, 4)


def test_names_that_contradict_the_interpretation_are_warned_of(tmp_path, make_raster, listener):
    path = make_raster(
        tmp_path / "a.tif",
        colorinterp=["red", "green", "blue"],
        descriptions=["NIR", "Red", "Green"],
    )
    mosaic = open_mosaic(path)
    assert mosaic.sources[0].bands == (1, 2, 3)
    check_imagery(mosaic, listener)
    assert len(listener.warnings) == 1
    assert "named nir" in listener.warnings[0] and "--bidx" in listener.warnings[0]
