"""Training a style model: what is drawn, what a run leaves behind, how it goes on."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from geossda.api.train_style import train_style
from geossda.config import TrainStyleConfig
from geossda.data.scaled_rasters import UnlabelledRaster
from geossda.data.views import ViewSampler
from geossda.errors import (
    BandError,
    Cancelled,
    EmptyRasterError,
    InputError,
    ModelError,
    SettingError,
    TrainingError,
)
from geossda.models.card import StyleCard
from geossda.models.model_file import read_card
from geossda.raster.mosaic import open_mosaic
from geossda.runtime.style_network import load_style_model
from geossda.training import style_loop as loop
from geossda.training import style_step
from geossda.training.photometric_changes import random_changes
from geossda.training.style_recipe import Recipe, learning_rate

TINY = TrainStyleConfig(
    steps=6, batch=4, patch=32, perceptual=0.0, checkpoint=3, device="cpu", licence="CC0"
)


@pytest.fixture(autouse=True)
def small(one_thread, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 2)


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """Three rasters of unlike looks, types and band counts."""
    from conftest import build_raster

    folder = tmp_path_factory.mktemp("looks")
    return [
        build_raster(folder / "a.tif", size=(96, 150), seed=1, nodata=0),
        build_raster(folder / "b.tif", size=(120, 90), seed=2, dtype="uint16"),
        build_raster(folder / "c.tif", size=(100, 100), seed=3, bands=5),
    ]


def prepared(paths, hold_out=0.0):
    return [UnlabelledRaster.prepare(open_mosaic(path), hold_out, 10**6) for path in paths]


def lines(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_views_are_the_same_for_the_same_place(looks):
    one, other = (ViewSampler(prepared(looks), 3, 32, seed=4) for _ in range(2))
    first = one.draw(5, 2).images
    assert first.shape == (2, 3, 32, 32) and first.dtype == np.uint8
    one.draw(9, 9)
    assert np.array_equal(one.draw(5, 2).images, other.draw(5, 2).images)
    assert not np.array_equal(first, one.draw(5, 3).images)
    assert not np.array_equal(first[0], first[1])


def test_what_is_drawn_does_not_depend_on_what_fits_in_memory(looks):
    held = ViewSampler(prepared(looks), 3, 32, seed=4)
    rasters = [UnlabelledRaster.prepare(open_mosaic(path)) for path in looks]
    assert all(raster.in_memory is None for raster in rasters)
    assert np.array_equal(
        ViewSampler(rasters, 3, 32, seed=4).draw(0, 0).images, held.draw(0, 0).images
    )


def test_places_are_of_one_raster_and_the_same_bands(tmp_path, make_raster):
    """Every raster and band has a value of its own, with little noise."""
    noise = np.random.default_rng(0).integers(0, 5, (2, 5, 200, 200))
    values = np.arange(10).reshape(2, 5, 1, 1) * 20 + noise
    rasters = [
        make_raster(tmp_path / f"{index}.tif", bands=5, image=image.astype(np.uint8))
        for index, image in enumerate(values)
    ]
    sampler = ViewSampler(prepared(rasters), 3, 32, seed=0, places=2)
    for step in range(10):
        images = sampler.draw(step, 0).images
        assert images.shape == (4, 3, 32, 32)
        own = images.reshape(4, 3, -1).min(2) // 20
        assert (own == own[0]).all(), own
    one = ViewSampler(prepared(rasters), 3, 32, seed=0)
    assert np.array_equal(one.draw(3, 1).images, sampler.draw(3, 1).images[:2])


def test_nodata_is_never_drawn(tmp_path, make_raster):
    """Pixels without data are 0 in a raster that has none below 60."""
    image = np.random.default_rng(0).integers(60, 200, (3, 120, 120)).astype(np.uint8)
    raster = make_raster(tmp_path / "a.tif", image=image, nodata=0, valid=np.tri(120, dtype=bool))
    sampler = ViewSampler(prepared([raster]), 3, 32, seed=0)
    drawn = np.stack([sampler.draw(step, 0).images for step in range(60)])
    assert drawn.min() >= 60


def test_what_is_held_out_is_never_drawn(tmp_path, make_raster):
    """The right quarter is bright."""
    image = np.random.default_rng(0).integers(10, 60, (3, 90, 160)).astype(np.uint8)
    image[:, :, 120:] += 150
    raster = make_raster(tmp_path / "a.tif", image=image)
    held = ViewSampler(prepared([raster], hold_out=0.25), 3, 32, seed=0)
    drawn = np.stack([held.draw(step, 0).images for step in range(60)])
    assert drawn.max() < 60
    every = ViewSampler(prepared([raster]), 3, 32, seed=0)
    assert max(every.draw(step, 0).images.max() for step in range(60)) > 160


def test_views_are_changed_in_space_only(tmp_path, make_raster):
    """A raster of two values, each of its own in every band: no third colour but between them."""
    pattern = np.random.default_rng(0).random((100, 100)) < 0.5
    image = np.where(pattern, [[[50]], [[90]], [[130]]], [[[200]], [[10]], [[100]]])
    raster = make_raster(tmp_path / "a.tif", image=image.astype(np.uint8))
    sampler = ViewSampler(prepared([raster]), 3, 32, seed=0)
    for step in range(20):
        view = sampler.draw(step, 0).images.astype(float).transpose(0, 2, 3, 1).reshape(-1, 3)
        share = (view[:, 0] - 50) / 150
        expected = np.array([50, 90, 130]) + share[:, None] * np.array([150, -80, -30])
        assert np.abs(view - expected).max() <= 2


def test_flat_bands_and_rasters_without_room_are_said(tmp_path, make_raster):
    flat = make_raster(tmp_path / "flat.tif", image=np.full((3, 80, 80), 7, np.uint8))
    with pytest.raises(EmptyRasterError, match="held nodata"):
        ViewSampler(prepared([flat]), 3, 32, seed=0).draw(0, 0)
    with pytest.raises(EmptyRasterError, match="no raster"):
        ViewSampler([], 3, 32, seed=0)


def test_a_run_and_what_it_leaves(tmp_path, looks, listener):
    out = tmp_path / "style.safetensors"
    card = train_style(looks, out, config=TINY, progress=listener)
    run = tmp_path / "style_run"
    assert read_card(out) == card and isinstance(card, StyleCard)
    assert sorted(path.name for path in run.iterdir()) == [
        "best.safetensors", "config.json", "last.pt", "sample.png", "stats.jsonl",
    ]  # fmt: skip
    assert listener.steps >= 6 and "training" in listener.stages
    entries = lines(run)
    assert [entry["step"] for entry in entries if "cycle" in entry] == [2, 4, 6]
    watched = [entry for entry in entries if "score" in entry]
    assert [entry["step"] for entry in watched] == [3, 6]
    for entry in entries:
        assert all(np.isfinite(value) for value in entry.values())
    with Image.open(run / "sample.png") as sample:
        assert sample.size[0] == sample.size[1] > 3 * 96
    best = load_style_model(run / "best.safetensors", "cpu")
    lowest = min(watched, key=lambda entry: entry["score"])
    assert best.card.training["steps_done"] == lowest["step"]
    average = torch.load(run / "last.pt", weights_only=True)["average"]
    for name, tensor in load_file(out).items():
        assert torch.equal(tensor, average[name].half()), name
    assert str(tmp_path) not in json.dumps(dataclasses.asdict(card))


@pytest.mark.parametrize(
    ("settings", "killed_after", "kept"),
    [
        ({}, 4, 3),
        # Other networks, losses and optimizer.
        ({"preset": "paper", "steps": 3, "batch": 2, "checkpoint": 2}, 2, 2),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path, looks, interrupter, listener, settings, killed_after, kept
):
    config = dataclasses.replace(TINY, **settings)
    whole = train_style(looks, tmp_path / "whole.safetensors", config=config)
    out, run = tmp_path / "out.safetensors", tmp_path / "run"
    stop = interrupter("training", killed_after + 1, Cancelled("stop"))
    with pytest.raises(Cancelled):
        train_style(looks, out, run=run, config=config, progress=stop)
    assert not out.exists()
    resumed = train_style(looks, out, run=run, config=config, progress=listener)
    assert any(f"resuming at step {kept} " in note for note in listener.notes)
    assert resumed.sha256 == whole.sha256
    assert lines(run) == lines(tmp_path / "whole_run")


def test_training_brings_looks_nearer_than_matching_gaussians(tmp_path, looks):
    """The first thing learned is what the loss of colour asks for."""
    config = dataclasses.replace(
        TINY, steps=40, checkpoint=40, adversarial=0.0, contrastive=0.0, color=20.0, photometric=0.0
    )
    train_style(looks[:2], tmp_path / "style.safetensors", config=config)
    found = [entry["color"] for entry in lines(tmp_path / "style_run") if "color" in entry]
    assert np.mean(found[-5:]) < 0.9 * np.mean(found[:5])


def test_a_photometric_change_is_learned(looks, monkeypatch):
    """The distance from one change of fixed images falls below that of matching Gaussians."""
    config = dataclasses.replace(
        TINY, adversarial=0.0, contrastive=0.0, cycle=0.0, structure=0.0, steps=10**6
    )
    sampler = ViewSampler(prepared(looks), 3, 32, seed=0, places=2)
    samples = np.stack([sampler.draw(0, place).images for place in range(4)])
    fixed = random_changes(torch.zeros((4, 3)), torch.Generator().manual_seed(0))
    monkeypatch.setattr(style_step, "random_changes", lambda *_: fixed)
    trainer = style_step.StyleTrainer(config, Recipe.of(config), torch.device("cpu"))
    found = []
    for _ in range(30):
        trainer.step(samples)
        found.append(trainer.losses["photometric"])
    assert found[-1] < 0.9 * found[0]


def test_a_run_may_begin_with_a_model(tmp_path, looks):
    first = train_style(looks, tmp_path / "first.safetensors", config=TINY)
    onward = dataclasses.replace(
        TINY, init_from=str(tmp_path / "first.safetensors"), steps=1, lr=0.0, ema=0.0
    )
    card = train_style(looks, tmp_path / "onward.safetensors", config=onward)
    assert card.training["init_from"] == f"{first.name} {first.sha256[:12]}"
    begun, ended = (load_file(tmp_path / f"{name}.safetensors") for name in ("first", "onward"))
    assert all(torch.equal(begun[name], ended[name]) for name in begun)


def test_a_model_of_other_settings_cannot_be_begun_with(tmp_path, looks):
    out = tmp_path / "style.safetensors"
    config = dataclasses.replace(TINY, init_from="default", bands=2)
    with pytest.raises(ModelError, match="default is of preset geossda, 3 bands, AdaIN all"):
        train_style(looks, out, config=config)
    with pytest.raises(SettingError, match="photometric is 5 with preset daug"):
        train_style(looks, out, config=TINY, preset="daug", photometric=5.0)
    assert not out.exists()


LOSSES = ("adversarial", "contrastive", "cycle", "photometric", "structure")


def test_every_loss_can_be_left_out(tmp_path, looks):
    for index, names in enumerate((LOSSES[:2], LOSSES[2:4], LOSSES[4:])):
        without = dict.fromkeys(names, 0.0)
        config = dataclasses.replace(TINY, steps=1, checkpoint=1, **without)
        train_style(looks, tmp_path / f"{index}.safetensors", config=config)
    alone = {"adversarial": 0.0, "contrastive": 0.0, "photometric": 0.0, "structure": 0.0}
    config = dataclasses.replace(TINY, steps=2, checkpoint=2, **alone)
    train_style(looks, tmp_path / "alone.safetensors", config=config)
    assert {"cycle", "step", "lr"} == set(lines(tmp_path / "alone_run")[0])


def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(tmp_path, looks):
    config = dataclasses.replace(TINY, lr=1e30)
    with pytest.raises(TrainingError, match=r"loss \w+ is (nan|inf) at step \d.*lower --lr"):
        train_style(looks, tmp_path / "style.safetensors", config=config)
    assert not (tmp_path / "style.safetensors").exists()


def test_bad_settings_are_said_before_any_work(tmp_path, looks, make_raster):
    out = tmp_path / "style.safetensors"
    with pytest.raises(InputError, match="multiple of 16"):
        train_style(looks, out, config=dataclasses.replace(TINY, patch=40))
    with pytest.raises(InputError, match="batch is 5: give a multiple of 2"):
        train_style(looks, out, config=dataclasses.replace(TINY, batch=5))
    gray = make_raster(tmp_path / "gray.tif", bands=1)
    with pytest.raises(BandError, match=r"gray.tif has 1 band, the model is to take 3"):
        train_style([*looks, gray], out, config=TINY)
    train_style(looks, out, config=dataclasses.replace(TINY, steps=1))
    with pytest.raises(TrainingError, match="begun with steps=1"):
        train_style(looks, out, config=dataclasses.replace(TINY, overwrite=True))


def test_presets_and_what_overrides_them():
    paper = Recipe.of(TrainStyleConfig(preset="paper"))
    assert (paper.reconstruction, paper.adversarial, paper.cycle) == (50, 5, 50)
    assert (paper.perceptual, paper.contrastive) == (1, 1)
    assert (paper.color, paper.structure) == (0, 0)
    assert (paper.optimizer, paper.lr, paper.contrast, paper.temperature) == (
        "sgd", 0.01, "batch", 1.0,
    )  # fmt: skip
    mine = Recipe.of(TrainStyleConfig(preset="paper", cycle=0.0, contrast="infonce"))
    assert (mine.cycle, mine.contrast, mine.adversarial) == (0.0, "infonce", 5)
    config = TrainStyleConfig(preset="paper", steps=100)
    rates = [learning_rate(step, config, paper) for step in (1, 51, 100)]
    assert rates == pytest.approx([0.01, 0.01 * 0.5**0.95, 0.01 * 0.01**0.95])


def test_one_band_models(tmp_path, make_raster):
    rasters = [make_raster(tmp_path / f"{k}.tif", bands=1, seed=k) for k in range(2)]
    out = tmp_path / "gray.safetensors"
    card = train_style(rasters, out, config=dataclasses.replace(TINY, bands=1, steps=2))
    assert card.bands == 1
