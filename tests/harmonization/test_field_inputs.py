"""Inputs as the field has them, harmonized: what is declared counts, and one look comes out."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from conftest import ragged_border, synthesize
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from geossda import HarmonizeConfig, harmonize, make_style, segment
from geossda.errors import GeoreferenceError, RasterError

SIZE = (120, 150)


def harmonized(path, style, folder, listener, method="histogram"):
    output = folder / f"{path.stem}_out.tif"
    harmonize(path, output, style=style, config=HarmonizeConfig(method=method), progress=listener)
    with rasterio.open(output) as dataset:
        return dataset.read(), dataset.dataset_mask() > 0, dataset.profile, dataset.colorinterp


@pytest.fixture
def reference(tmp_path, make_raster):
    image = synthesize(3, SIZE, "uint8", 5)
    return make_raster(tmp_path / "reference.tif", image=image // [[[1]], [[2]], [[3]]])


@pytest.mark.parametrize("method", ["histogram", "reinhard"])
@pytest.mark.parametrize(("dtype", "left", "right"), [("uint16", 0.5, 0.6), ("float32", 1, 4)])
@pytest.mark.parametrize("together", [True, False])
def test_strips_of_one_acquisition_get_one_look(
    tmp_path, make_raster, reference, listener, method, dtype, left, right, together
):
    """One strip fills a bit more than the other, or is within 0..1 and the other is not."""
    image = synthesize(3, (120, 400), dtype, 1)
    paths = []
    for factor, first in ((left, 0), (right, 150)):
        paths.append(
            make_raster(
                tmp_path / f"{first}.tif",
                image=(image[:, :, first : first + 250] * factor).astype(dtype),
                dtype=dtype,
                transform=Affine.translation(500000 + first, 5200000) * Affine.scale(1, -1),
            )
        )
    output = tmp_path / "o.tif" if together else f"{tmp_path}/o/"
    config = HarmonizeConfig(method=method)
    outputs = harmonize(paths, output, style=reference, config=config, progress=listener).outputs
    made = []
    for path in outputs:
        with rasterio.open(path) as dataset:
            made.append(dataset.read())
    means = made[0][:, :, :150].mean(axis=(1, 2)), made[-1][:, :, -150:].mean(axis=(1, 2))
    assert np.allclose(means[0], means[1], rtol=0.2), means


def test_references_of_one_acquisition_share_a_range(tmp_path, make_raster):
    image = synthesize(3, SIZE, "uint16", 1)
    low = make_raster(tmp_path / "low.tif", image=image // 2, dtype="uint16")
    high = make_raster(tmp_path / "high.tif", image=image, dtype="uint16")
    style = make_style([low, high], tmp_path / "style.json")
    assert style.working_range == (0, 2047)


def test_alpha_is_kept_beside_a_nodata_value(tmp_path, make_raster, reference, listener):
    only = make_raster(tmp_path / "only.tif", size=SIZE, alpha=True)
    both = make_raster(tmp_path / "both.tif", size=SIZE, alpha=True)
    with rasterio.open(both, "r+") as dataset:
        dataset.nodata = 0
    usual = harmonized(only, reference, tmp_path, listener)
    made = harmonized(both, reference, tmp_path, listener)
    assert made[3][-1].name == "alpha"
    assert np.array_equal(made[0], usual[0]) and np.array_equal(made[1], ragged_border(SIZE))


@pytest.mark.parametrize("opaque", [255, 65535])
def test_alpha_of_any_opaque_value_is_kept(tmp_path, make_raster, reference, listener, opaque):
    valid = ragged_border(SIZE)
    alpha = (valid * opaque)[None].astype(np.uint16)
    image = np.concatenate([synthesize(3, SIZE, "uint16", 0), alpha])
    names = ["red", "green", "blue", "alpha"]
    path = make_raster(tmp_path / "a.tif", image=image, dtype="uint16", colorinterp=names)
    made, _, _, colors = harmonized(path, reference, tmp_path, listener)
    assert np.array_equal(made[3], alpha[0]) and colors[3].name == "alpha"
    assert np.array_equal(made[:3, ~valid], image[:3, ~valid])


def test_undeclared_fill_is_warned_of(tmp_path, make_raster, reference, listener):
    image = synthesize(3, SIZE, "float32", 0)
    image[:, ~ragged_border(SIZE)] = -9999
    path = make_raster(tmp_path / "a.tif", image=image, dtype="float32")
    harmonized(path, reference, tmp_path, listener)
    assert sum("--nodata -9999" in text for text in listener.warnings) == 1


@pytest.mark.parametrize(
    ("dtype", "fill"), [("float32", -9999), ("int16", -32768), ("uint16", 65535)]
)
def test_nodata_of_the_source_that_the_reference_cannot_hold(
    tmp_path, make_raster, reference, listener, dtype, fill
):
    """The value that the warning advises works with an 8-bit reference, which is all data."""
    image = synthesize(3, SIZE, "uint16", 0).astype(dtype)
    valid = ragged_border(SIZE)
    image[:, ~valid] = fill
    made = []
    for name, declared in (("declared", fill), ("given", None)):
        path = tmp_path / f"{name}.tif"
        make_raster(path, image=image, dtype=dtype)
        with rasterio.open(path, "r+") as dataset:
            dataset.nodata = declared
        given = None if declared is not None else fill
        output = tmp_path / f"{name}_out.tif"
        harmonize(
            path, output, style=reference, method="histogram", nodata=given, progress=listener
        )
        with rasterio.open(output) as dataset:
            made.append(dataset.read())
    assert np.array_equal(made[0], made[1])
    assert (made[0][:, ~valid] == fill).all() and not (made[0][:, valid] == fill).any()
    with pytest.raises(RasterError, match=r"reference\.tif is uint8 and cannot hold it"):
        make_style(reference, tmp_path / "style.json", nodata=fill)


@pytest.mark.parametrize("method", ["histogram", "reinhard", "grayworld", "equalize"])
def test_the_order_of_bands_changes_nothing_but_their_order(
    tmp_path, make_raster, reference, listener, method
):
    image = synthesize(3, SIZE, "uint8", 2)
    rgb = make_raster(tmp_path / "rgb.tif", image=image, colorinterp=["red", "green", "blue"])
    bgr = make_raster(tmp_path / "bgr.tif", image=image[::-1], colorinterp=["blue", "green", "red"])
    usual, made = (harmonized(p, reference, tmp_path, listener, method) for p in (rgb, bgr))
    assert [color.name for color in made[3]] == ["blue", "green", "red"]
    assert np.array_equal(made[0][::-1], usual[0])


def test_unlike_colours_of_style_and_source_are_warned_of(
    tmp_path, make_raster, reference, listener
):
    path = make_raster(
        tmp_path / "cir.tif",
        size=SIZE,
        colorinterp=["gray", "undefined", "undefined"],
        descriptions=["NIR", "Red", "Green"],
    )
    harmonized(path, reference, tmp_path, listener)
    assert any("nir, red, green" in text for text in listener.warnings)


def test_bands_that_the_style_alone_declares_are_noted(tmp_path, make_raster, reference, listener):
    undeclared = make_raster(
        tmp_path / "a.tif", size=SIZE, colorinterp=["gray", "undefined", "undefined"]
    )
    harmonized(undeclared, reference, tmp_path, listener)
    assert any("taken as red, green, blue" in text for text in listener.notes)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("points_crs", ["EPSG:4326", None])
@pytest.mark.parametrize("bounds", [None, (10, 20, 100, 90)])
def test_ground_control_points_are_kept(
    tmp_path, make_raster, reference, listener, bounds, points_crs
):
    path = make_raster(tmp_path / "a.tif", size=SIZE, crs=None, transform=Affine.identity())
    corners = [(0, 0), (SIZE[0], 0), (0, SIZE[1]), SIZE]
    points = [GroundControlPoint(r, c, 39 + c / 1e5, 9 - r / 1e5, z=7) for r, c in corners]
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = points, CRS.from_user_input(points_crs) if points_crs else CRS()
    output = tmp_path / "o.tif"
    config = HarmonizeConfig(method="histogram", bounds=bounds)
    harmonize(path, output, style=reference, config=config, progress=listener)
    with rasterio.open(output) as dataset:
        kept, crs = dataset.gcps
        assert dataset.crs is None
        assert (crs and crs.to_string()) == points_crs
    col, row = (10, 20) if bounds else (0, 0)
    for old, new in zip(points, kept, strict=True):
        assert (new.row, new.col) == (old.row - row, old.col - col)
        assert (new.x, new.y, new.z) == pytest.approx((old.x, old.y, old.z))
    assert listener.warnings == [] and any("GCPs" in text for text in listener.notes)
    with pytest.raises(GeoreferenceError, match=r"GCPs.*gdalwarp"):
        segment(path, tmp_path / "o.gpkg")
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    (tmp_path / "area.geojson").write_text(json.dumps(outline))
    with pytest.raises(GeoreferenceError, match=r"GCPs.*gdalwarp.*area\.geojson"):
        harmonize(path, output, method="equalize", area=tmp_path / "area.geojson", overwrite=True)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("bounds", [None, (10, 20, 100, 90)])
def test_rpcs_are_kept(tmp_path, make_raster, reference, listener, bounds):
    path = make_raster(tmp_path / "a.tif", size=SIZE, crs=None, transform=Affine.identity())
    coefficients = " ".join(["1"] + ["0"] * 19)
    rpcs = {f"{name}_{end}": "60" for name in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
            for end in ("OFF", "SCALE")}  # fmt: skip
    rpcs |= {f"{name}_COEFF": coefficients for name in ("LINE_NUM", "LINE_DEN", "SAMP_NUM",
                                                        "SAMP_DEN")}  # fmt: skip
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="RPC", **rpcs)
    output = tmp_path / "o.tif"
    config = HarmonizeConfig(method="histogram", bounds=bounds)
    harmonize(path, output, style=reference, config=config, progress=listener)
    with rasterio.open(output) as dataset:
        kept = dataset.rpcs
    assert (kept.line_off, kept.samp_off) == ((40, 50) if bounds else (60, 60))
    with pytest.raises(GeoreferenceError, match=r"RPCs.*gdalwarp -rpc"):
        segment(path, tmp_path / "o.gpkg")
