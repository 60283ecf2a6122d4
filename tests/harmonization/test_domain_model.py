"""Models of declared domains applied to rasters: seamless, by reference or by name."""

import dataclasses

import numpy as np
import pytest
import rasterio
import torch
from conftest import build_raster

import geossda
from geossda.config import HarmonizeConfig
from geossda.errors import BandError, StyleError
from geossda.evaluation.samples import Sample
from geossda.evaluation.style_scores import learned, score
from geossda.models.card import StyleCard
from geossda.models.model_file import save
from geossda.models.presets import TRANSLATORS, build_generator
from geossda.runtime.style_network import load_style_model

PRESETS = sorted(TRANSLATORS)
DOMAINS = ("dark", "light")


@pytest.fixture(autouse=True)
def small(one_thread):
    pass


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of each preset, of random weights that all matter."""
    folder = tmp_path_factory.mktemp("models")
    for preset in PRESETS:
        torch.manual_seed(1)
        network = build_generator(preset, 3, domains=2, width=4)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
        card = StyleCard("mine", "0", preset, domains=DOMAINS, width=4)
        save(folder / f"{preset}.safetensors", network.state_dict(), card)
    return folder


@pytest.fixture(scope="module")
def rasters(tmp_path_factory):
    root = tmp_path_factory.mktemp("rasters")
    for index, name in enumerate((*DOMAINS, "elsewhere")):
        (root / name).mkdir()
        build_raster(root / name / "a.tif", size=(96, 120), seed=index, nodata=0)
    build_raster(root / "light" / "deep.tif", size=(96, 120), dtype="uint16", seed=5)
    return root


def pixels(path):
    with rasterio.open(path) as dataset:
        return dataset.read().astype(int), dataset.dataset_mask() > 0, dataset.tags()


@pytest.mark.parametrize(
    ("preset", "structure"),
    [("cyclegan", "full"), ("cyclegan", "lock"), ("stargan", "full"), ("starganv2", "full")],
)
def test_tiles_and_bounds_change_no_pixel(tmp_path, models, rasters, preset, structure):
    config = HarmonizeConfig(
        style_model=str(models / f"{preset}.safetensors"),
        structure=structure,
        device="cpu",
        scenes="none",
    )
    source, reference = rasters / "dark" / "a.tif", rasters / "light" / "a.tif"
    outs = {}
    for tile in (64, 1024):
        outs[tile] = tmp_path / f"{tile}.tif"
        one = dataclasses.replace(config, tile=tile)
        result = geossda.harmonize(source, outs[tile], style=reference, config=one)
        assert result.method == "translation"
    (small, mask, tags), (whole, other_mask, _) = (pixels(outs[tile]) for tile in (64, 1024))
    assert np.abs(small - whole).max() <= 1 and (mask == other_mask).all()
    assert tags["GEOSSDA_METHOD"] == "translation"
    before, valid, _ = pixels(source)
    assert (whole[:, ~valid] == before[:, ~valid]).all() and (valid == mask).all()
    assert np.abs(whole - before)[:, valid].mean() > 5
    if preset != "cyclegan":
        return
    part = tmp_path / "part.tif"
    bounds = (500010.0, 5200000.0 - 40, 500050.0, 5200000.0 - 10)
    geossda.harmonize(source, part, style=reference, config=config, bounds=bounds)
    cut = pixels(part)[0]
    assert np.abs(cut - whole[:, 20:80, 20:100]).max() <= 1


def test_a_domain_is_the_folder_or_named(tmp_path, models, rasters):
    config = HarmonizeConfig(
        style_model=str(models / "cyclegan.safetensors"), structure="full", scenes="none"
    )
    source, elsewhere = rasters / "dark" / "a.tif", rasters / "elsewhere" / "a.tif"
    with pytest.raises(StyleError, match=r"folder elsewhere, .* \(dark, light\): .* --domain"):
        geossda.harmonize(source, tmp_path / "x.tif", style=elsewhere, config=config)
    with pytest.raises(StyleError, match="has no domain green; its domains are dark, light"):
        geossda.harmonize(
            source, tmp_path / "x.tif", style=elsewhere, config=config, domain="green"
        )
    named = tmp_path / "named.tif"
    reference = rasters / "light" / "a.tif"
    geossda.harmonize(source, named, style=elsewhere, config=config, domain="light")
    by_folder, of_file = tmp_path / "folder.tif", tmp_path / "file.tif"
    geossda.harmonize(source, by_folder, style=reference, config=config)
    assert (pixels(named)[0] == pixels(by_folder)[0]).all()
    saved = tmp_path / "style.json"
    geossda.make_style(reference, saved, style_model=config.style_model)
    geossda.harmonize(source, of_file, style=saved, config=config)
    assert np.abs(pixels(of_file)[0] - pixels(by_folder)[0]).max() <= 1


def test_saved_styles_are_of_a_domain_that_is_named(tmp_path, models, rasters, listener):
    model = str(models / "starganv2.safetensors")
    config = HarmonizeConfig(style_model=model, scenes="none")
    source, elsewhere = rasters / "dark" / "a.tif", rasters / "elsewhere" / "a.tif"
    saved, out, same = (tmp_path / name for name in ("light.json", "out.tif", "same.tif"))
    with pytest.raises(StyleError, match=r"--domain \(harmonize, style\)"):
        geossda.make_style(elsewhere, saved, style_model=model)
    with pytest.raises(StyleError, match="no declared domains"):
        geossda.make_style(elsewhere, saved, domain="light")
    geossda.make_style(elsewhere, saved, style_model=model, domain="light")
    with pytest.raises(StyleError, match="style shows domain light, and domain is dark"):
        geossda.harmonize(source, out, style=saved, config=config, domain="dark")
    assert not out.exists()
    geossda.harmonize(source, out, style=saved, config=config, domain="light")
    geossda.harmonize(source, same, style=elsewhere, config=config, domain="light")
    assert np.abs(pixels(out)[0] - pixels(same)[0]).max() <= 1
    geossda.harmonize(
        source, tmp_path / "linear.tif", style=saved, config=config, method="linear",
        domain="light",
        progress=listener,
    )  # fmt: skip
    assert "method linear translates to no domain: --domain is ignored" in listener.warnings
    assert "method linear has no style model: --style-model is ignored" in listener.warnings


def test_evaluate_style_refuses_other_folders_before_it_reads(models, rasters, listener):
    with pytest.raises(StyleError, match="lies in the folder elsewhere, which is none of"):
        geossda.evaluate_style(
            [rasters / "dark" / "a.tif", rasters / "elsewhere" / "a.tif"],
            style_model=str(models / "starganv2.safetensors"), progress=listener,
        )  # fmt: skip
    assert not listener.stages


def test_the_standard_is_a_domain_of_standardgan(tmp_path, models, rasters):
    config = HarmonizeConfig(
        style_model=str(models / "standardgan.safetensors"), structure="full", domain="standard"
    )
    reference = rasters / "elsewhere" / "a.tif"
    outs = [tmp_path / "standard.tif", tmp_path / "again.tif"]
    given = {1024: reference, 64: rasters / "light" / "a.tif"}
    for out, (tile, style) in zip(outs, given.items(), strict=True):
        geossda.harmonize(rasters / "dark" / "a.tif", out, style=style, config=config, tile=tile)
    # Whatever the reference and the tiles.
    assert np.abs(pixels(outs[0])[0] - pixels(outs[1])[0]).max() <= 1
    other = dataclasses.replace(config, style_model=str(models / "cyclegan.safetensors"))
    with pytest.raises(StyleError, match="has no domain standard; its domains are dark, light"):
        geossda.harmonize(reference, tmp_path / "x.tif", style=reference, config=other)


def test_other_types_are_stretched_as_in_training(tmp_path, models, rasters):
    """A 16-bit source and reference: results stay within what the reference's stretch holds."""
    config = HarmonizeConfig(
        style_model=str(models / "cyclegan.safetensors"), structure="full", scenes="none"
    )
    source = build_raster(tmp_path / "deep.tif", size=(96, 120), dtype="uint16", seed=9)
    out = tmp_path / "out.tif"
    reference = rasters / "light" / "deep.tif"
    geossda.harmonize(source, out, style=reference, config=config)
    result, target = pixels(out)[0], pixels(reference)[0]
    low, high = np.percentile(target.reshape(3, -1), (2, 98), axis=1)
    step = 2 + 0.02 * (high - low)  # percentiles are those of windows
    assert (result.min((1, 2)) >= low - step).all() and (result.max((1, 2)) <= high + step).all()
    assert (np.ptp(result, axis=(1, 2)) > 0.1 * (high - low)).all()


def test_models_and_methods_that_do_not_fit_are_refused(tmp_path, models, rasters):
    source, reference = rasters / "dark" / "a.tif", rasters / "light" / "a.tif"
    model = str(models / "cyclegan.safetensors")
    out = tmp_path / "x.tif"
    with pytest.raises(StyleError, match="of preset cyclegan, which is for method translation"):
        geossda.harmonize(source, out, style=reference, style_model=model, method="ssda")
    with pytest.raises(StyleError, match="of preset geossda, which is for method ssda"):
        geossda.harmonize(source, out, style=reference, method="translation")
    with pytest.raises(StyleError, match="no declared domains: leave out --domain"):
        geossda.harmonize(source, out, style=reference, domain="light")
    with pytest.raises(StyleError, match="references are of several domains"):
        geossda.harmonize(source, out, style=[reference, source], style_model=model)
    one_band = build_raster(tmp_path / "one.tif", bands=1)
    with pytest.raises(BandError, match="takes 3 bands"):
        geossda.harmonize(one_band, out, style=reference, style_model=model, method="translation")
    tiny = build_raster(tmp_path / "tiny.tif", size=(12, 12))
    with pytest.raises(StyleError, match="too small for the style model"):
        geossda.harmonize(tiny, out, style=reference, style_model=model)
    assert not out.exists()


def test_samples_are_translated_to_the_domains_they_are_named_by(models):
    """As matrix and evaluate-style do it: statistics of all patches, measured once a target."""
    rng = np.random.default_rng(0)
    samples = [
        Sample(f"{name}/a", rng.integers(0, 255, (2, 3, 32, 32), np.uint8)) for name in DOMAINS
    ]
    model = load_style_model(models / "cyclegan.safetensors", "cpu")
    method = learned(model, "full")
    there, again = (method(*samples) for _ in range(2))
    assert np.array_equal(there, again) and there.shape == samples[0].pixels.shape
    assert not np.array_equal(there, method(samples[0], samples[0]))
    (scores,) = score(samples, {"cyclegan": method})
    assert np.isfinite([scores.distance, scores.cycle, scores.structure]).all()
    with pytest.raises(StyleError, match="folder elsewhere"):
        method(samples[0], Sample("elsewhere/a", samples[1].pixels))
