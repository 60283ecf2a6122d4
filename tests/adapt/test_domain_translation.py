"""Adaptation by models of declared domains: which domain, which statistics, all rasters alike."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import ENCODER, build_raster

from geossda.adapt.domain_translation import domain_translations, standardized
from geossda.adapt.samplers import training_streams
from geossda.adapt.strategies import STRATEGIES, TrainingRasters
from geossda.config import TrainSegmenterConfig
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import InputError, StyleError
from geossda.models.card import StyleCard
from geossda.models.model_file import save
from geossda.models.presets import build_generator
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import scaling
from geossda.runtime.style_network import load_style_model

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = TrainSegmenterConfig(
    encoder=ENCODER, encoder_weights="none", gsd=0.5, steps=4, batch=2, target_batch=2, patch=32,
    seed=3, device="cpu", degrade=False, jitter=False, structure="full",
)  # fmt: skip


@pytest.fixture(scope="module")
def rasters(tmp_path_factory):
    root = tmp_path_factory.mktemp("domains")
    results = []
    for index, name in enumerate(("dark", "light")):
        (root / name).mkdir()
        path = build_raster(root / name / "a.tif", size=(90, 110), seed=index, nodata=0)
        mosaic = open_mosaic(path)
        results.append(WorkingRaster.prepare(mosaic, 0.5, scaling("bits", mosaic)))
    return results


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for preset in ("cyclegan", "standardgan"):
        torch.manual_seed(1)
        network = build_generator(preset, 3, domains=2, width=4)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
        card = StyleCard("mine", "0", preset, domains=("dark", "light"), width=4)
        save(folder / f"{preset}.safetensors", network.state_dict(), card)
    return folder


def test_patches_go_to_the_domain_of_the_target(rasters, models):
    model = load_style_model(models / "cyclegan.safetensors", "cpu")
    labelled, target = domain_translations(model, rasters[:1], rasters[1:], 32, "full", 0)
    image, valid = rasters[0].in_memory[:3, 30:62, 40:72], np.ones((32, 32), bool)
    rng = np.random.default_rng
    result = labelled(image, valid, 0, rng(0))
    assert result.shape == image.shape and result.dtype == np.uint8
    style = labelled.targets["light"]
    own = labelled.own[0, "light"]
    expected = model.translate(image[None].astype(np.float32) / 255, own, style)[0]
    assert np.abs(result - np.clip(expected * 255, 0, 255)).max() <= 1
    # Patches of the target go to any domain.
    image = rasters[1].in_memory[:3, 30:62, 40:72]
    drawn = {target(image, valid, 0, rng(seed)).tobytes() for seed in range(8)}
    assert len(drawn) == 2 and set(target.own) == {(0, "dark"), (0, "light")}
    assert set(labelled.own) >= {(0, "light")}


def test_standardized_rasters_are_seamless_and_keep_masks(rasters, models, monkeypatch):
    model = load_style_model(models / "standardgan.safetensors", "cpu")
    before = [raster.in_memory.copy() for raster in rasters]
    whole = standardized(model, rasters, 32, "full", 0)
    monkeypatch.setattr("geossda.adapt.domain_translation.WINDOW_PX", 40)
    cut = standardized(model, rasters, 32, "full", 0)
    for raster, given, one, other in zip(rasters, before, whole, cut, strict=True):
        assert np.array_equal(raster.in_memory, given)  # as they were
        assert np.abs(one.in_memory.astype(int) - other.in_memory).max() <= 1
        assert np.array_equal(one.in_memory[3:], given[3:])
        valid = given[-1] > 0
        assert np.array_equal(one.in_memory[:3, ~valid], given[:3, ~valid])
        assert np.abs(one.in_memory[:3].astype(int) - given[:3])[:, valid].mean() > 5


def test_strategies_take_the_model_of_the_settings(rasters, models):
    config = dataclasses.replace(
        TINY, adapt="translation", style_model=str(models / "cyclegan.safetensors"), share=1.0
    )
    plain = training_streams(dataclasses.replace(config, adapt="none"), rasters[:1], rasters[1:])
    streams = training_streams(config, rasters[:1], rasters[1:])
    one, other = plain.labelled(1, 0), streams.labelled(1, 0)
    assert np.array_equal(one.label, other.label)
    assert np.abs(one.image - other.image).mean() > 0.01
    config = dataclasses.replace(
        TINY, adapt="standardgan", style_model=str(models / "standardgan.safetensors")
    )
    mapped = STRATEGIES["standardgan"].mapped(config, rasters)
    assert (mapped[0].in_memory != rasters[0].in_memory).any() and mapped[0] is not rasters[0]
    assert STRATEGIES["none"].mapped(config, rasters) == rasters
    assert STRATEGIES["standardgan"].mapped(config, []) == []


def test_what_cannot_be_used_is_refused(rasters, models):
    ours = load_style_model("default", "cpu")
    with pytest.raises(StyleError, match="preset geossda, which does not translate between"):
        domain_translations(ours, rasters[:1], rasters[1:], 32, "full", 0)
    with pytest.raises(StyleError, match="needs one of preset standardgan"):
        standardized(ours, rasters, 32, "full", 0)
    model = load_style_model(models / "standardgan.safetensors", "cpu")
    large = dataclasses.replace(rasters[0], in_memory=None)
    with pytest.raises(InputError, match="too large to be standardized in memory"):
        standardized(model, [large], 32, "full", 0)
    path = models / "cyclegan.safetensors"
    cyclegan = load_style_model(path, "cpu")
    config = TrainSegmenterConfig(style_model=str(path), device="cpu", patch=32)
    given = TrainingRasters(config, rasters[:1], rasters[1:])
    with pytest.raises(StyleError, match=r"is of preset cyclegan, .* give --adapt translation"):
        STRATEGIES["ssda"].prepare(given)
    elsewhere = dataclasses.replace(
        cyclegan, card=dataclasses.replace(cyclegan.card, domains=("a", "b"))
    )
    with pytest.raises(StyleError, match="no domain dark"):
        domain_translations(elsewhere, rasters[:1], rasters[1:], 32, "full", 0)
