"""The learned style as verbs: harmonize, style, matrix, evaluate-style, info."""

import json
from typing import get_args

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from conftest import synthesize
from PIL import Image

import geossda
from geossda import EvaluateStyleConfig, HarmonizeConfig, MatrixConfig, StyleConfig
from geossda.config import MapMethod, MatchingMethod
from geossda.errors import BandError, EmptyRasterError, InputError, StyleError
from geossda.harmonization.methods import known_statistics
from geossda.harmonization.model_statistics import Covariance, Features
from geossda.harmonization.style import load_style

SIZE = (300, 340)


@pytest.fixture
def looks(tmp_path, make_raster, one_thread):
    """Three looks, one of them dark and of another type."""
    dark = (synthesize(3, SIZE, "uint8", 2) * 0.4).astype(np.uint8)
    return [
        make_raster(tmp_path / "a.tif", size=SIZE, seed=1),
        make_raster(tmp_path / "b.tif", image=dark),
        make_raster(tmp_path / "c.tif", size=SIZE, seed=3, dtype="uint16"),
    ]


def pixels(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def command(*arguments):
    from geossda_cli.main import cli

    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return done.exit_code, done.stdout


@pytest.mark.parametrize("structure", ["lock", "full"])
def test_the_result_is_nearer_to_the_reference(tmp_path, looks, structure):
    config = HarmonizeConfig(method="ssda", structure=structure, device="cpu")
    out = geossda.harmonize(looks[0], tmp_path / "out.tif", style=looks[1], config=config)
    before, wanted, after = pixels(looks[0]), pixels(looks[1]), pixels(out.outputs[0])
    assert out.method == "ssda"
    for a, b, c in zip(before, wanted, after, strict=True):
        assert abs(c.mean() - b.mean()) < 0.15 * abs(a.mean() - b.mean())
        assert abs(c.std() - b.std()) < 0.4 * abs(a.std() - b.std()) + 1
        # What is drawn stays: steps between neighbours go together.
        steps = [np.diff(image.astype(float), axis=1).ravel() for image in (a, c)]
        assert np.corrcoef(*steps)[0, 1] > 0.9


def test_an_image_in_its_own_look_stays(tmp_path, looks):
    for structure, most in (("full", 1), ("lock", 3)):
        config = HarmonizeConfig(method="ssda", structure=structure, device="cpu", overwrite=True)
        out = geossda.harmonize(looks[0], tmp_path / "out.tif", style=looks[0], config=config)
        difference = pixels(out.outputs[0]).astype(int) - pixels(looks[0])
        assert np.abs(difference).mean() < 0.5 and np.percentile(np.abs(difference), 99) <= most


@pytest.mark.parametrize("bands", [1, 2])
def test_too_few_bands_fall_back_with_a_word(tmp_path, make_raster, listener, bands):
    source = make_raster(tmp_path / "a.tif", bands=bands, seed=1)
    look = make_raster(tmp_path / "b.tif", bands=bands, seed=2)
    result = geossda.harmonize(source, tmp_path / "o.tif", style=look, progress=listener)
    assert result.method == "histogram"
    assert any("more bands than there are: histogram" in w for w in listener.warnings)
    plain = HarmonizeConfig(method="histogram")
    same = geossda.harmonize(source, tmp_path / "p.tif", style=look, config=plain)
    assert np.array_equal(pixels(result.outputs[0]), pixels(same.outputs[0]))
    with pytest.raises(BandError, match=f"3 bands at a time, the image has {bands}"):
        geossda.harmonize(
            source, tmp_path / "q.tif", style=look, config=HarmonizeConfig(method="ssda")
        )
    assert not (tmp_path / "q.tif").exists()


def test_a_style_without_features_falls_back_with_a_word(tmp_path, looks, listener):
    without = tmp_path / "without.json"
    geossda.make_style(looks[1], without, config=StyleConfig(style_model="none"))
    result = geossda.harmonize(looks[0], tmp_path / "o.tif", style=without, progress=listener)
    assert result.method == "histogram"
    assert any("without the style model" in text for text in listener.warnings)
    config = HarmonizeConfig(method="ssda")
    with pytest.raises(StyleError, match="make it again"):
        geossda.harmonize(looks[0], tmp_path / "p.tif", style=without, config=config)


def test_a_style_of_an_older_version_still_does_the_classical_methods(tmp_path, looks):
    path = tmp_path / "old.json"
    geossda.make_style(looks[1], path, config=StyleConfig(style_model="none"))
    entries = json.loads(path.read_text())
    entries["format"] = "geossda style 1"
    del entries["covariance"], entries["features"]
    path.write_text(json.dumps(entries))
    result = geossda.harmonize(looks[0], tmp_path / "o.tif", style=path)
    assert result.method == "histogram"


def test_a_saved_style_does_what_its_reference_does(tmp_path, looks):
    saved = tmp_path / "look.json"
    geossda.make_style(looks[1], saved)
    assert saved.stat().st_size < 400_000
    outs = []
    for name, style in (("one", looks[1]), ("two", saved)):
        config = HarmonizeConfig(method="ssda", device="cpu")
        done = geossda.harmonize(looks[0], tmp_path / f"{name}.tif", style=style, config=config)
        outs.append(pixels(done.outputs[0]).astype(int))
    assert np.abs(outs[0] - outs[1]).max() <= 1


def test_styles_are_pooled_by_weight(tmp_path, looks):
    files = []
    for index in (0, 1):
        files.append(tmp_path / f"{index}.json")
        geossda.make_style(looks[index], files[-1])
    one, other = (load_style(path, known_statistics()) for path in files)
    pooled = geossda.make_style(files, tmp_path / "all.json", config=StyleConfig(weights=(3, 1)))
    assert pooled.mean == pytest.approx(0.75 * one.mean + 0.25 * other.mean)
    key = next(iter(pooled[Features].models))
    level = [style[Features].models[key]["lock"][0][2] for style in (one, other, pooled)]
    mean = 0.75 * np.array(level[0][0]) + 0.25 * np.array(level[1][0])
    assert level[2][0] == pytest.approx(mean, abs=1e-5)
    square = sum(
        share * (np.array(part[1]) ** 2 + np.array(part[0]) ** 2)
        for share, part in zip((0.75, 0.25), level[:2], strict=True)
    )
    assert level[2][1] == pytest.approx(np.sqrt(square - mean**2), abs=1e-4)
    # All weight on one is that one.
    alone = geossda.make_style(files, tmp_path / "one.json", config=StyleConfig(weights=(0, 1)))
    assert alone[Covariance].matrix == pytest.approx(other[Covariance].matrix, rel=1e-6)
    with pytest.raises(StyleError, match="1 weights for 2"):
        geossda.make_style(files, tmp_path / "bad.json", config=StyleConfig(weights=(1,)))


def test_more_bands_than_the_model_takes(tmp_path, make_raster, one_thread):
    source = make_raster(tmp_path / "a.tif", bands=5, size=SIZE, dtype="uint16", seed=1)
    look = make_raster(tmp_path / "b.tif", bands=5, size=SIZE, dtype="uint16", seed=2, nodata=0)
    config = HarmonizeConfig(method="ssda", device="cpu")
    out = geossda.harmonize(source, tmp_path / "o.tif", style=look, config=config).outputs[0]
    made, wanted = pixels(out), pixels(look)
    assert made.dtype == np.uint16 and made.shape == (5, *SIZE)
    for band in range(5):
        mean = wanted[band][wanted[band] > 0].mean()
        assert made[band].mean() == pytest.approx(mean, rel=0.05)


def test_nodata_is_in_no_look(tmp_path, make_raster, one_thread):
    """The same reference, its nodata black or white: the same style, the same result."""
    source = make_raster(tmp_path / "a.tif", size=SIZE, seed=1)
    image = np.clip(synthesize(3, SIZE, "uint8", 2), 5, 250)
    image[:, 100:140, 50:200] = 0
    outs = []
    for value in (0, 255):
        given = np.where(image == 0, value, image).astype(np.uint8)
        with rasterio.Env():
            look = make_raster(
                tmp_path / f"{value}.tif", image=given, nodata=value, valid=image[0] != 0
            )
        config = HarmonizeConfig(method="ssda", device="cpu")
        done = geossda.harmonize(source, tmp_path / f"o{value}.tif", style=look, config=config)
        outs.append(pixels(done.outputs[0]).astype(int))
    assert np.abs(outs[0] - outs[1]).max() <= 2
    assert np.abs(outs[0] - outs[1]).mean() < 0.3


def test_matrix_has_the_originals_on_its_diagonal(tmp_path, looks):
    out = tmp_path / "m.png"
    config = MatrixConfig(patches=2, patch=96, cell=96, device="cpu")
    assert geossda.matrix(looks[:2], out, config=config) == out
    with Image.open(out) as picture:
        seen = np.asarray(picture).astype(int)
    first = pixels(looks[0])[:, :96, :96].transpose(1, 2, 0)
    assert np.array_equal(seen[18:114, 18:114], first)
    # In its column the second source is bright like the first, in its own it is dark.
    other = seen[118:214, 18:114].mean()
    own = seen[118:214, 118:214].mean()
    assert abs(other - first.mean()) < 0.4 * abs(own - first.mean())
    code, told = command("matrix", *looks[:2], "-o", out)
    assert code == 1 or "exists" in told
    with pytest.raises(InputError, match=r"\.png"):
        geossda.matrix(looks, tmp_path / "m.tif")
    with pytest.raises(InputError, match="two or more"):
        geossda.matrix(looks[:1], tmp_path / "n.png")


@pytest.mark.parametrize("truth", [False, True])
def test_evaluate_style(looks, truth):
    config = EvaluateStyleConfig(patches=4, patch=96, truth=truth, device="cpu")
    rows = {row.method: row for row in geossda.evaluate_style(looks, config=config)}
    assert list(rows) == [
        "identity",
        *get_args(MatchingMethod),
        *get_args(MapMethod),
        "ssda lock",
        "ssda full",
    ]
    assert (rows["identity"].fall, rows["identity"].structure) == (0, pytest.approx(1))
    assert rows["histogram"].fall > 0.9
    assert rows["ssda full"].reconstruction > 40
    assert (rows["identity"].psnr is None) == (not truth)
    if truth:
        assert rows["linear"].psnr > rows["identity"].psnr


def test_evaluate_style_on_the_command_line(looks):
    options = ["--patches", "2", "--patch", "64", "--device", "cpu"]
    code, told = command("evaluate-style", *looks[:2], *options, "--json")
    assert code == 0
    assert {"method", "distance", "fall", "psnr"} <= json.loads(told)[0].keys()
    code, told = command("evaluate-style", *looks[:2], *options)
    assert (
        code == 0
        and len(told.splitlines()) == len([*get_args(MatchingMethod), *get_args(MapMethod)]) + 4
        and "PSNR" not in told
    )


def test_looks_of_rasters_without_room(tmp_path, make_raster, looks):
    holes = make_raster(tmp_path / "holes.tif", size=(40, 40), nodata=0)
    with pytest.raises(EmptyRasterError, match="smaller --patch"):
        geossda.evaluate_style([looks[0], holes], config=EvaluateStyleConfig(patch=32))
    four = make_raster(tmp_path / "four.tif", bands=4, size=SIZE)
    with pytest.raises(BandError, match="--bidx"):
        geossda.evaluate_style([looks[0], four])
    low = make_raster(tmp_path / "low.tif", size=(17, 64))
    with pytest.raises(InputError, match="room for patches of 16 px, 32 at least"):
        geossda.evaluate_style([looks[0], low])


def test_info_of_styles_and_style_models(tmp_path, looks):
    about = geossda.info("default-style")
    assert about["kind"] == "style model" and about["bands"] == 3 and about["attribution"]
    geossda.make_style(looks[0], tmp_path / "s.json")
    assert geossda.info(tmp_path / "s.json")["style_models"] == [about["sha256"][:16]]


def test_a_style_of_one_color_is_warned_of(tmp_path, make_raster, listener):
    image, valid = np.full((3, 90, 90), 200, np.uint8), np.zeros((90, 90), bool)
    valid[30:60, 30:60] = True
    image[:, ~valid] = synthesize(3, (90, 90), "uint8", 1)[:, ~valid]
    flat = make_raster(tmp_path / "flat.tif", image=image, valid=valid, alpha=True)
    plain = make_raster(tmp_path / "plain.tif", size=(90, 90))
    out = tmp_path / "o.tif"
    geossda.harmonize(plain, out, style=flat, method="linear", progress=listener)
    assert any("flat.tif is of one colour" in text for text in listener.warnings)
    listener.warnings.clear()
    geossda.make_style([flat, plain], tmp_path / "s.json", style_model="none", progress=listener)
    assert not listener.warnings
