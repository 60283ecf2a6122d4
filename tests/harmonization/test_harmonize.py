"""`harmonize` from file to file: what is kept, what never changes, what is left behind."""

import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from click.testing import CliRunner
from conftest import RANGES, UTM, ragged_border, synthesize
from rasterio.enums import ColorInterp, MaskFlags

import geossda
from geossda import HarmonizeConfig, harmonize
from geossda.config import METHODS, MapMethod, Structure
from geossda.errors import Cancelled, OutputError, OutputExistsError, SettingError, StyleError
from geossda.harmonization.methods import METHODS as REGISTRY
from geossda.raster.creation_options import parse_creation_options
from geossda.runs.shard_folder import shards_folder

SIZE = (157, 211)
VALIDITIES = ("nodata", "mask", "alpha", "all")
DTYPES = ("uint8", "uint16", "int16", "float32")


def told(by, dtype):
    """Arguments of make_raster for a way to tell valid pixels."""
    value = {"int16": -9999, "float32": -1.0}.get(dtype, 0)
    return {"nodata": {"nodata": value}, "mask": {"mask": True}, "alpha": {"alpha": True},
            "all": {}}[by]  # fmt: skip


def everything(path):
    """All pixels of a file, alpha included, and its masks."""
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.dataset_mask()


def same_pixels(one, other):
    (pixels, mask), (pixels_too, mask_too) = everything(one), everything(other)
    return pixels.tobytes() == pixels_too.tobytes() and np.array_equal(mask, mask_too)


@pytest.fixture
def style(tmp_path, make_raster):
    """Write a reference of a type, a band count and a look of its own; gives its path."""

    def write(dtype="uint8", bands=3):
        low = RANGES[dtype][0]
        image = synthesize(bands, SIZE, dtype, 21)
        dark = (image.astype(float) - low) * np.linspace(0.5, 0.8, bands)[:, None, None] + low
        path = tmp_path / f"style_{dtype}_{bands}.tif"
        image = (np.rint(dark) if image.dtype.kind in "ui" else dark).astype(dtype)
        return make_raster(path, image=image, dtype=dtype)

    return write


# What is kept


@pytest.mark.parametrize("by", VALIDITIES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_everything_but_the_colours_is_kept(tmp_path, make_raster, style, by, dtype):
    names = ["blue", "green", "red", "undefined"]
    path = make_raster(
        tmp_path / "in.tif", bands=4, dtype=dtype, size=SIZE, rotated=by == "mask",
        descriptions=("B2", "B3", "B4", "B8"), colorinterp=names,
        tags={"AREA_OR_POINT": "Point", "acquired": "2021-06-01"}, **told(by, dtype),
    )  # fmt: skip
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ["DN"] * dataset.count
        dataset.scales = [0.1, 0.2, 0.3, 0.4, 1.0][: dataset.count]
        dataset.offsets = [1.0, 2.0, 3.0, 4.0, 0.0][: dataset.count]
        dataset.update_tags(2, wavelength="560", STATISTICS_MEAN="1")
    out = tmp_path / "out.tif"
    result = harmonize(path, out, style=style(dtype, 4))
    assert result.outputs == (out,) and result.method == "ssda"
    with rasterio.open(path) as before, rasterio.open(out) as after:
        for kept in ("crs", "transform", "shape", "dtypes", "count", "nodata", "descriptions",
                     "colorinterp", "scales", "offsets", "mask_flag_enums"):  # fmt: skip
            assert getattr(after, kept) == getattr(before, kept), kept
        assert after.units[:4] == before.units[:4]
        assert before.tags().items() <= after.tags().items()
        assert after.tags(2)["wavelength"] == "560"
        assert after.tags(2).get("STATISTICS_MEAN") != "1", "stale statistics are left out"
        assert np.array_equal(after.dataset_mask(), before.dataset_mask())
        expected = ragged_border(SIZE) if by != "all" else np.ones(SIZE, bool)
        if by == "nodata":
            assert np.array_equal((after.read() != after.nodata).any(axis=0), expected)
        elif by == "alpha":
            assert np.array_equal(after.read(5), before.read(5))
            assert after.colorinterp[4] == ColorInterp.alpha
        elif by == "mask":
            assert after.mask_flag_enums[0] == [MaskFlags.per_dataset]
        pixels, given = after.read([1, 2, 3, 4]), before.read([1, 2, 3, 4])
        assert np.array_equal(pixels[:, ~expected], given[:, ~expected])
        assert np.abs(pixels[:, expected].astype(float) - given[:, expected]).mean() > 0.01 * (
            RANGES[dtype][1] - RANGES[dtype][0]
        )


@pytest.mark.parametrize("method", [*METHODS, *get_args(MapMethod), "ssda"])
@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("uint8", 255), ("uint16", 300),
                                               ("int16", 0), ("float32", 0.0)])  # fmt: skip
def test_valid_pixels_never_become_nodata(tmp_path, make_raster, method, dtype, nodata):
    """The style sits on the nodata value, and so would everything."""
    image = synthesize(3, SIZE, dtype, 1)
    path = make_raster(tmp_path / "in.tif", image=image, dtype=dtype, nodata=nodata)
    flat = np.full((3, *SIZE), nodata, dtype)
    flat[:, 0] += np.asarray(1 if nodata != 255 else -1).astype(dtype)
    reference = make_raster(tmp_path / "ref.tif", image=flat, dtype=dtype)
    out = tmp_path / "out.tif"
    config = HarmonizeConfig(method=method)
    harmonize(path, out, style=reference if method != "equalize" else None, config=config)
    with rasterio.open(path) as before, rasterio.open(out) as after:
        given, pixels = before.read(), after.read()
    assert np.array_equal((pixels != nodata).any(axis=0), ragged_border(SIZE))
    # No band either, but for those that had the value before.
    assert not ((pixels == nodata) & (given != nodata)).any()


def every_two(methods, dtypes):
    """Every method with every type, and every way to tell valid pixels with each of both."""
    for row, method in enumerate(methods):
        for column, dtype in enumerate(dtypes):
            yield method, dtype, VALIDITIES[(row + column) % len(VALIDITIES)]


EVERY_TWO = every_two([*METHODS, *get_args(MapMethod), "ssda"], [*DTYPES, "int32"])
# Where NaN and infinities are tried.
NOT_FINITE = ((method, "float32", "mask") for method in [*METHODS, *get_args(MapMethod), "ssda"])


@pytest.mark.parametrize(("method", "dtype", "by"), sorted({*EVERY_TWO, *NOT_FINITE}))
def test_strength_0_is_the_input_bit_for_bit(tmp_path, make_raster, style, method, dtype, by):
    if dtype == "int32" and by == "nodata":
        how = {"nodata": -1}
    else:
        how = told(by, dtype)
    path = make_raster(tmp_path / "in.tif", dtype=dtype, size=(97, 131), seed=2, **how)
    if by == "mask" and dtype == "float32":
        with rasterio.open(path, "r+") as dataset:
            pixels = dataset.read()
            pixels[1, 60:63, 60] = np.nan, np.inf, -np.inf
            dataset.write(pixels)
    out = tmp_path / "out.tif"
    reference = style(dtype) if REGISTRY[method].needs_style else None
    config = HarmonizeConfig(method=method, strength=0.0, tile=64)
    harmonize(path, out, style=reference, config=config)
    pixels, mask = everything(path)
    after, mask_after = everything(out)
    assert after.tobytes() == pixels.tobytes()
    if by == "mask" and dtype == "float32":
        mask[60:63, 60] = 0
    assert np.array_equal(mask_after, mask)


def quilt(tmp_path, make_raster, image, dtype="uint8", **how):
    """Two crops of one image that overlap by 60 columns, in a folder."""
    folder = tmp_path / "quilt"
    folder.mkdir(exist_ok=True)
    width = image.shape[2]
    cut = width // 2
    for name, left, right in (("a.tif", 0, cut + 30), ("b.tif", cut - 30, width)):
        make_raster(folder / name, image=image[:, :, left:right], dtype=dtype,
                    origin=(500000 + left * 0.5, 5200000), **how)  # fmt: skip
    return folder


@pytest.mark.parametrize("by", ["nodata", "alpha", "mask", "all"])
def test_strength_0_of_overlapping_crops_is_the_whole(tmp_path, make_raster, style, by):
    image = synthesize(3, SIZE, "uint8", 5)
    if by == "nodata":
        image[image == 0] = 1
        image[0, 40:50, 60:130] = 0  # in one band that is data
    how = told(by, "uint8")
    if by == "nodata":
        how["valid"] = np.ones((SIZE[0], SIZE[1] // 2 + 30), bool)
    elif by != "all":
        how["valid"] = np.ones((SIZE[0], SIZE[1] // 2 + 30), bool)
    folder = tmp_path / "crops"
    folder.mkdir()
    cut = SIZE[1] // 2
    for name, left in (("a.tif", 0), ("b.tif", SIZE[1] - cut - 30)):
        crop = image[:, :, left : left + cut + 30]
        path = make_raster(folder / name, image=crop, origin=(500000 + left * 0.5, 5200000), **how)
        with rasterio.open(path, "r+") as dataset:  # undo what the factory did to nodata
            dataset.write(crop, [1, 2, 3])
    out = tmp_path / "out.tif"
    for tile in (1024, 32):
        config = HarmonizeConfig(strength=0.0, tile=tile, feather=20, overwrite=True)
        harmonize(folder, out, style=style(), config=config)
        with rasterio.open(out) as dataset:
            assert np.array_equal(dataset.read([1, 2, 3]), image), f"tile {tile}"
            assert (dataset.dataset_mask() == 255).all()


# Cutting


@pytest.mark.parametrize("by", VALIDITIES)
@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        ("histogram", "uint8"),
        ("reinhard", "uint16"),
        ("reinhard", "float32"),
        ("equalize", "int32"),
        ("graph", "uint8"),
    ],
)
def test_tile_size_changes_no_pixel(tmp_path, make_raster, style, by, method, dtype):
    path = make_raster(tmp_path / "in.tif", size=SIZE, dtype=dtype, seed=4, **told(by, dtype))
    outs = [tmp_path / f"{tile}.tif" for tile in (64, 100, 1024)]
    for out in outs:
        config = HarmonizeConfig(method=method, tile=int(out.stem))
        harmonize(path, out, style=style(dtype), config=config)
    assert same_pixels(outs[0], outs[1]) and same_pixels(outs[1], outs[2])
    assert not np.array_equal(everything(outs[0])[0], everything(path)[0])


@pytest.mark.parametrize(
    ("structure", "dtype", "by"),
    [
        (structure, dtype, by)
        for row, structure in enumerate(get_args(Structure))
        for column, by in enumerate(VALIDITIES)
        for dtype in [("uint8", "uint16")[(row + column) % 2]]
    ],
)
def test_tile_size_changes_learned_pixels_by_rounding_only(
    tmp_path, make_raster, style, by, dtype, structure
):
    """Networks add up in another order for another shape: at most 1 of 255."""
    path = make_raster(
        tmp_path / "in.tif", bands=4, size=(150, 230), dtype=dtype, seed=4,
        colorinterp=["blue", "green", "red", "undefined"], **told(by, dtype),
    )  # fmt: skip
    made = []
    for tile in (64, 100, 1024):
        out = tmp_path / f"{tile}.tif"
        config = HarmonizeConfig(method="ssda", structure=structure, tile=tile, device="cpu")
        harmonize(path, out, style=style(dtype, 4), config=config)
        made.append(everything(out))
    step = 1 if dtype == "uint8" else 2047 / 255
    for pixels, mask in made[1:]:
        assert np.array_equal(mask, made[0][1])
        assert np.abs(pixels.astype(float) - made[0][0]).max() <= step
    assert not np.array_equal(made[0][0], everything(path)[0])


def test_torch_has_its_threads_again(tmp_path, make_raster, style):
    """Those of `lock` compute on one core each; a thread begun later has all again."""
    path = make_raster(tmp_path / "in.tif", size=(211, 330), seed=4)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        config = HarmonizeConfig(method="ssda", structure="lock", device="cpu")
        harmonize(path, tmp_path / "out.tif", style=style(), config=config)
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["histogram", "reinhard", "grayworld"])
@pytest.mark.parametrize("by", ["nodata", "alpha", "unlike"])
def test_tile_size_changes_no_pixel_of_two_feathered_sources(
    tmp_path, make_raster, style, by, method
):
    how = told("nodata" if by == "unlike" else by, "uint8")
    folder = quilt(tmp_path, make_raster, synthesize(3, (157, 260), "uint8", 6), **how)
    if by == "unlike":  # another value, another pixel size, and everything is a mask then
        make_raster(folder / "c.tif", size=(90, 80), gsd=0.7, nodata=255, seed=8,
                    origin=(500040.2, 5199990.1))  # fmt: skip
    for path in sorted(folder.iterdir()):  # dark pixels, which come to lie on nodata
        with rasterio.open(path, "r+") as dataset:
            pixels = dataset.read([1, 2, 3])
            pixels[1:, 20:60, 30:110] = 1
            dataset.write(pixels, [1, 2, 3])
    outs = [tmp_path / f"{tile}.tif" for tile in (64, 100, 1024)]
    for out in outs:
        config = HarmonizeConfig(method=method, tile=int(out.stem), feather=25)
        harmonize(folder, out, style=style(), config=config)
    assert same_pixels(outs[0], outs[1]) and same_pixels(outs[1], outs[2])
    with rasterio.open(outs[0]) as dataset:
        flags = {"nodata": MaskFlags.nodata, "alpha": MaskFlags.alpha,
                 "unlike": MaskFlags.per_dataset}[by]  # fmt: skip
        assert flags in dataset.mask_flag_enums[0]
        assert 0.6 < (dataset.dataset_mask() == 255).mean() < 1


# Many sources


def test_overlap_fades_from_one_source_to_the_other(tmp_path, make_raster, style):
    one, other = np.full((3, 120, 100), 60, np.uint8), np.full((3, 120, 100), 180, np.uint8)
    a = make_raster(tmp_path / "a.tif", image=one)
    b = make_raster(tmp_path / "b.tif", image=other, origin=(500000 + 60 * 0.5, 5200000))
    out = tmp_path / "out.tif"
    config = HarmonizeConfig(strength=0.0, feather=20)
    harmonize([a, b], out, style=style(), config=config)
    pixels, mask = everything(out)
    assert pixels.shape == (3, 120, 160) and (mask == 255).all()
    assert (pixels[:, :, :60] == 60).all() and (pixels[:, :, 100:] == 180).all()
    overlap = pixels[0, :, 60:100].astype(int)
    assert (np.diff(overlap, axis=1) >= 0).all(), "a ramp, no step back"
    assert np.diff(overlap, axis=1).max() <= 7, "120 digital numbers over 20 columns"
    assert overlap[0, 0] < 70 and overlap[0, -1] > 170
    assert (overlap[:, 19:21] == 120).all(), "even in the middle"


def test_each_source_of_a_mosaic_has_its_own_transform(tmp_path, make_raster, style):
    image = synthesize(3, (120, 200), "uint8", 7)
    folder = quilt(tmp_path, make_raster, image)
    hazy = folder / "b.tif"
    with rasterio.open(hazy, "r+") as dataset:
        dataset.write((dataset.read() // 2 + 90).astype(np.uint8))
    config = HarmonizeConfig(method="histogram")
    both = harmonize(folder, tmp_path / "both.tif", style=style(), config=config).outputs[0]
    sources = [folder / "a.tif", hazy]
    alone = harmonize(sources, f"{tmp_path}/alone/", style=style(), config=config).outputs
    assert [path.name for path in alone] == ["a.tif", "b.tif"]
    mosaic, (a, b) = everything(both)[0], (everything(path)[0] for path in alone)
    assert np.array_equal(mosaic[:, :, :70], a[:, :, :70])
    assert np.array_equal(mosaic[:, :, 130:], b[:, :, 60:])
    means = [x.mean(axis=(1, 2)) for x in (a, b)]
    assert np.abs(means[0] - means[1]).max() < 6, "haze and clear came to one look"


def test_several_sources_to_a_folder_and_to_default_names(tmp_path, make_raster, style):
    look = style()
    paths = [make_raster(tmp_path / f"{name}.tif", seed=n) for n, name in enumerate("ab")]
    folder = tmp_path / "out"
    result = harmonize(paths, f"{folder}/", style=look)
    assert result.outputs == (folder / "a.tif", folder / "b.tif")
    beside = harmonize(paths, style=look).outputs
    assert beside == (tmp_path / "a_harmonized.tif", tmp_path / "b_harmonized.tif")
    for one, other in zip(result.outputs, beside, strict=True):
        assert same_pixels(one, other)
    assert not same_pixels(*beside)
    # A folder that is there needs no slash.
    again = harmonize(paths, folder, style=look, config=HarmonizeConfig(overwrite=True))
    assert again.outputs == result.outputs


def test_two_sources_of_one_name_are_refused(tmp_path, make_raster, style):
    paths = []
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        paths.append(make_raster(tmp_path / name / "a.tif"))
    with pytest.raises(OutputError, match="same name"):
        harmonize(paths, f"{tmp_path}/out/", style=style())


# What is left behind


def test_existing_outputs_are_kept_unless_told(tmp_path, make_raster, style, listener):
    path, look, out = make_raster(tmp_path / "in.tif"), style(), tmp_path / "out.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        harmonize(path, out, style=look, progress=listener)
    assert out.read_bytes() == b"precious"
    assert listener.stages == [], "said before any work"
    harmonize(path, out, style=look, config=HarmonizeConfig(overwrite=True))
    with rasterio.open(out) as dataset:
        assert dataset.count == 3


@pytest.mark.parametrize("target", ["in.tif", "style_uint8_3.tif"])
def test_inputs_are_never_written_over(tmp_path, make_raster, style, target):
    path, look = make_raster(tmp_path / "in.tif"), style()
    before = (tmp_path / target).read_bytes()
    with pytest.raises(OutputError, match="also an input"):
        harmonize(path, tmp_path / target, style=look, config=HarmonizeConfig(overwrite=True))
    assert (tmp_path / target).read_bytes() == before


# Every error, and every moment with an error that is expected and with one that is not.
ENDS = [
    (Cancelled("stop"), "reading statistics", 1),
    (RuntimeError("bug"), "reading statistics", 1),
    (KeyboardInterrupt(), "harmonizing", 1),
    (MemoryError(), "harmonizing", 1),
    (Cancelled("stop"), "harmonizing", 2),
    (RuntimeError("bug"), "harmonizing", 2),
]


@pytest.mark.parametrize(
    ("error", "stage", "after"), ENDS, ids=[f"{type(e[0]).__name__}-{e[1]}-{e[2]}" for e in ENDS]
)
def test_an_end_in_the_middle_leaves_nothing(
    tmp_path, make_raster, style, interrupter, error, stage, after
):
    path, look = make_raster(tmp_path / "in.tif", size=(157, 260)), style()
    existing = tmp_path / "existing.tif"
    existing.write_bytes(b"precious")
    before = sorted(tmp_path.iterdir())
    for out in (tmp_path / "out.tif", existing):
        stop = interrupter(stage, after, error)
        # 54 tiles of 24 px and more are several strips.
        config = HarmonizeConfig(tile=24, overwrite=True)
        with pytest.raises(type(error)):
            harmonize(path, out, style=look, config=config, progress=stop)
        assert stop.raised
        # Parts and measurements to go on with, and nothing else.
        kept = [shards_folder(out)] if stage == "harmonizing" else []
        assert sorted(tmp_path.iterdir()) == sorted([*before, *kept])
        for folder in kept:
            shutil.rmtree(folder)
    assert existing.read_bytes() == b"precious"


def test_an_end_in_the_second_source_leaves_the_first(tmp_path, make_raster, style, interrupter):
    paths = [make_raster(tmp_path / f"{name}.tif", size=(40, 40)) for name in "ab"]
    stop = interrupter("harmonizing", 2, Cancelled("stop"))
    with pytest.raises(Cancelled):
        harmonize(paths, f"{tmp_path}/out/", style=style(), progress=stop)
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == [".b.tif.parts", "a.tif"]
    with rasterio.open(tmp_path / "out" / "a.tif") as dataset:
        assert dataset.read().shape == (3, 40, 40)


def test_ctrl_c_leaves_nothing(tmp_path, make_raster, style):
    """A real SIGINT to a real process, sent by itself in the middle of the work."""
    path, look = make_raster(tmp_path / "in.tif", size=SIZE), style()
    before = sorted(tmp_path.iterdir())
    script = f"""
import os, signal, geossda
from geossda.progress import Silent
class Stop(Silent):
    name = ""
    def stage(self, name, total=None): self.name = name
    def advance(self, steps=1):
        if self.name == "harmonizing": os.kill(os.getpid(), signal.SIGINT)
geossda.harmonize({str(path)!r}, {str(tmp_path / "out.tif")!r}, style={str(look)!r},
                  config=geossda.HarmonizeConfig(tile=32, resume=False), progress=Stop())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in done.stderr
    assert sorted(tmp_path.iterdir()) == before


# What is written


def test_provenance(tmp_path, make_raster, style):
    path, out = make_raster(tmp_path / "in.tif", tags={"acquired": "2021"}), tmp_path / "out.tif"
    config = HarmonizeConfig(method="reinhard", strength=0.5, tile=256)
    result = harmonize(path, out, style=style(), config=config)
    assert result.style == "style_uint8_3.tif"
    with rasterio.open(out) as dataset:
        tags = dataset.tags()
    assert tags["acquired"] == "2021"
    assert tags["GEOSSDA_VERSION"] == geossda.__version__
    assert tags["GEOSSDA_COMMAND"] == "harmonize"
    assert tags["GEOSSDA_METHOD"] == "reinhard"
    assert tags["GEOSSDA_STYLE"] == "style_uint8_3.tif"
    assert json.loads(tags["GEOSSDA_SOURCES"]) == ["in.tif"]
    settings = json.loads(tags["GEOSSDA_SETTINGS"])
    assert settings["strength"] == 0.5 and settings["feather"] == config.feather
    assert str(tmp_path) not in json.dumps(tags), "no private folders in the product"


@pytest.mark.parametrize("by", ["nodata", "mask", "alpha"])
def test_output_is_a_cog(tmp_path, make_raster, style, by):
    path = make_raster(tmp_path / "in.tif", size=(700, 1100), seed=3, **told(by, "uint8"))
    out = harmonize(path, tmp_path / "out.tif", style=style()).outputs[0]
    with rasterio.open(out) as dataset:
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        assert structure["LAYOUT"] == "COG"
        assert structure["COMPRESSION"] == "DEFLATE"
        assert dataset.block_shapes[0] == (512, 512)
        assert dataset.overviews(1) == [2, 4]
        full = dataset.read([1, 2, 3], masked=False)[:, 200:400, 300:900]
    # Overviews show the result, and the mask is in them.
    with rasterio.open(out, overview_level=0) as small:
        half = small.read([1, 2, 3])[:, 100:200, 150:450]
        assert half.mean(axis=(1, 2)) == pytest.approx(full.mean(axis=(1, 2)), abs=3)
        assert (small.dataset_mask() == 0).any() and (small.dataset_mask() == 255).any()


def test_a_level_is_of_its_compression():
    assert parse_creation_options(("BLOCKSIZE=128",))["LEVEL"] == "1"
    assert "LEVEL" not in parse_creation_options(("compress=zstd",))
    assert parse_creation_options(("COMPRESS=ZSTD", "level=9"))["LEVEL"] == "9"


def test_creation_options_reach_gdal(tmp_path, make_raster, style):
    path = make_raster(tmp_path / "in.tif", size=(300, 300))
    config = HarmonizeConfig(co=("compress=zstd", "BLOCKSIZE=128"))
    out = harmonize(path, tmp_path / "out.tif", style=style(), config=config).outputs[0]
    with rasterio.open(out) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "ZSTD"
        assert dataset.block_shapes[0] == (128, 128)
    with pytest.raises(SettingError, match="NAME=VALUE"):
        harmonize(path, tmp_path / "x.tif", style=style(), co=("ZSTD",))


def test_chosen_bands_in_the_order_asked_for(tmp_path, make_raster, style):
    path = make_raster(tmp_path / "in.tif", bands=4, descriptions=("r", "g", "b", "n"))
    out = tmp_path / "out.tif"
    config = HarmonizeConfig(bidx=(4, 1), strength=0.0)
    harmonize(path, out, style=style(bands=2), config=config)
    with rasterio.open(path) as before, rasterio.open(out) as after:
        assert after.descriptions == ("n", "r")
        assert np.array_equal(after.read(), before.read([4, 1]))


def test_bands_chosen_out_of_alpha_keep_it(tmp_path, make_raster, style):
    path = make_raster(tmp_path / "in.tif", bands=3, alpha=True)
    config = HarmonizeConfig(bidx=(2,))
    out = harmonize(path, tmp_path / "out.tif", style=style(bands=1), config=config).outputs[0]
    with rasterio.open(path) as before, rasterio.open(out) as after:
        assert after.count == 2 and after.colorinterp[1] == ColorInterp.alpha
        assert np.array_equal(after.read(2), before.read(4))


def test_translucent_alpha_is_kept_as_it_is(tmp_path, make_raster, style):
    image = synthesize(3, SIZE, "uint8", 1)
    path = make_raster(tmp_path / "in.tif", image=image, alpha=True)
    with rasterio.open(path, "r+") as dataset:
        opacity = dataset.read(4)
        opacity[70:75, 100:110] = 99
        dataset.write(opacity, 4)
    out = harmonize(path, tmp_path / "out.tif", style=style()).outputs[0]
    pixels, _ = everything(out)
    assert np.array_equal(pixels[3], opacity)
    assert not np.array_equal(pixels[:3, 70:75, 100:110], image[:, 70:75, 100:110])


def test_negative_floats(tmp_path, make_raster, style):
    """Decibels, or any float raster without a zero."""
    image = (synthesize(3, SIZE, "float32", 1) * 20 - 30).astype(np.float32)
    reference = make_raster(tmp_path / "ref.tif", image=image - 2, dtype="float32")
    path = make_raster(tmp_path / "in.tif", image=image, dtype="float32", nodata=-9999.0)
    out = harmonize(path, tmp_path / "out.tif", style=reference).outputs[0]
    pixels, mask = everything(out)
    assert np.array_equal(mask == 255, ragged_border(SIZE))
    assert np.isfinite(pixels).all()


def test_mask_beside_the_file_is_kept(tmp_path, make_raster, style):
    path = make_raster(tmp_path / "in.tif", size=SIZE)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(ragged_border(SIZE))
    out = harmonize(path, tmp_path / "out.tif", style=style()).outputs[0]
    assert np.array_equal(everything(out)[1] == 255, ragged_border(SIZE))
    assert not (tmp_path / "out.tif.msk").exists()


def test_what_a_method_does_not_need_is_said(tmp_path, make_raster, style, listener):
    path = make_raster(tmp_path / "in.tif")
    with pytest.raises(StyleError, match="--style"):
        harmonize(path, tmp_path / "out.tif")
    config = HarmonizeConfig(method="equalize")
    harmonize(path, tmp_path / "out.tif", style=style(), config=config, progress=listener)
    assert any("equalize" in text for text in listener.warnings)
    listener.warnings.clear()
    harmonize(path, tmp_path / "same.tif", style=path, progress=listener)
    assert any("both source and style" in text for text in listener.warnings)


def test_a_raster_without_crs_stays_without(tmp_path, make_raster, style, listener):
    transform = Affine(0.5, 0, 10, 0, -0.5, 20)
    path = make_raster(tmp_path / "in.tif", crs=None, transform=transform)
    out = harmonize(path, tmp_path / "out.tif", style=style(), progress=listener).outputs[0]
    with rasterio.open(out) as dataset:
        assert dataset.crs is None and dataset.transform == transform
    assert any("no CRS" in text for text in listener.warnings)


# Styles


def test_a_saved_style_does_what_its_references_do(tmp_path, make_raster, style):
    path = make_raster(tmp_path / "in.tif", seed=3)
    references = [style(), make_raster(tmp_path / "more.tif", seed=12, size=(60, 60))]
    look = geossda.make_style(references, tmp_path / "look.json")
    outs = [
        harmonize(path, tmp_path / f"{name}.tif", style=given).outputs[0]
        for name, given in (("refs", references), ("json", tmp_path / "look.json"), ("obj", look))
    ]
    assert same_pixels(outs[0], outs[2])
    pixels, from_json = everything(outs[0])[0], everything(outs[1])[0]
    assert np.abs(pixels.astype(int) - from_json).max() <= 1
    with pytest.raises(OutputExistsError):
        geossda.make_style(references, tmp_path / "look.json")


# Parity


def command(*arguments):
    from geossda_cli.main import cli

    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, []),
        ({"method": "reinhard", "strength": 0.6}, ["--method", "reinhard", "--strength", "0.6"]),
        (
            {"bidx": (3, 1, 2), "tile": 64, "nodata": 7.0, "co": ("COMPRESS=LZW", "BLOCKSIZE=256")},
            ["--bidx", "3,1", "--bidx", "2", "--tile", "64", "--nodata", "7", "--co",
             "COMPRESS=LZW", "--co", "BLOCKSIZE=256"],
        ),
    ],
    ids=["defaults", "reinhard", "many"],
)  # fmt: skip
def test_the_command_line_gives_the_same_pixels(tmp_path, make_raster, style, settings, options):
    path, look = make_raster(tmp_path / "in.tif", nodata=7, seed=3), style()
    api, cli = tmp_path / "api.tif", tmp_path / "cli.tif"
    harmonize(path, api, style=look, config=HarmonizeConfig(**settings))
    told = command("harmonize", path, "--style", look, "--output", cli, *options)
    assert told.strip() == str(cli)
    assert same_pixels(api, cli)
    with rasterio.open(api) as one, rasterio.open(cli) as other:
        tags = one.tags(), other.tags()
        assert tags[0] == tags[1]
        assert one.profile == other.profile


def test_the_command_line_makes_the_same_style(tmp_path, style):
    geossda.make_style(style(), tmp_path / "api.json")
    told = command("style", style(), "-o", tmp_path / "cli.json")
    assert (tmp_path / "api.json").read_text() == (tmp_path / "cli.json").read_text()
    assert "3 bands" in told


def test_crs_of_another_kind(tmp_path, make_raster, style):
    """Degrees, and a source that has to be warped on to them."""
    degrees = Affine.translation(15.0, 46.95) * Affine.scale(6e-6, -4.5e-6)
    a = make_raster(tmp_path / "a.tif", crs="EPSG:4326", transform=degrees, nodata=0)
    b = make_raster(tmp_path / "b.tif", crs=UTM, nodata=0, origin=(500010, 5199880))
    out = harmonize([a, b], tmp_path / "out.tif", style=style()).outputs[0]
    with rasterio.open(out) as dataset, rasterio.open(a) as first:
        assert dataset.crs == first.crs
        assert dataset.res == first.res
        mask = dataset.dataset_mask()
    assert mask[:97, :131].any() and (mask == 255).sum() > 1.2 * ragged_border((97, 131)).sum()
