"""Training of the compared translation methods: domains are folders, runs resume, input is bad."""

import dataclasses

import numpy as np
import pytest
import torch

from geossda.api.train_style import train_style
from geossda.config import TrainStyleConfig
from geossda.data.scaled_rasters import UnlabelledRaster
from geossda.data.views import ViewSampler
from geossda.errors import BandError, Cancelled, InputError, ModelError, RasterError, SettingError
from geossda.models.card import StyleCard
from geossda.models.model_file import read_card
from geossda.models.onnx_export import export
from geossda.raster.mosaic import open_mosaic
from geossda.training.trainers import TRAINERS

TINY = TrainStyleConfig(
    preset="cyclegan", steps=6, batch=4, patch=32, width=4, checkpoint=3, device="cpu"
)
PRESETS = sorted(TRAINERS)


@pytest.fixture(autouse=True)
def small(one_thread):
    pass


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two domains of unlike colours, and a third."""
    from conftest import build_raster, synthesize

    root = tmp_path_factory.mktemp("domains")
    for index, name in enumerate(("dark", "light", "third")):
        (root / name).mkdir()
        image = synthesize(3, (70, 90), "uint8", index)
        image = (image // 2 + (0, 120, 40)[index]).astype(np.uint8)
        build_raster(root / name / "a.tif", image=image)
    return root


def pair(folders):
    return [folders / "dark", folders / "light"]


def test_samples_are_drawn_from_domains_in_turn(folders):
    paths = [folders / name / "a.tif" for name in ("light", "dark")]
    rasters = [UnlabelledRaster.prepare(open_mosaic(path), 0.0, 10**6) for path in paths]
    sampler = ViewSampler(rasters, 3, 32, seed=0, domains=["light", "dark"])
    drawn = [sampler.draw(3, place).raster for place in range(6)]
    assert drawn == [1, 0, 1, 0, 1, 0]  # in the order of the names


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, folders, interrupter, preset):
    # The generator of stargan learns at its fifth step.
    steps = 6 if preset == "stargan" else 2
    config = dataclasses.replace(TINY, preset=preset, batch=2, steps=steps, checkpoint=steps - 1)
    whole = train_style(pair(folders), tmp_path / "whole.safetensors", config=config)
    assert whole.domains == ("dark", "light") and whole.width == 4 and whole.preset == preset
    assert read_card(tmp_path / "whole.safetensors") == whole and isinstance(whole, StyleCard)
    out, run = tmp_path / "out.safetensors", tmp_path / "run"
    stop = interrupter("training", steps, Cancelled("stop"))
    with pytest.raises(Cancelled):
        train_style(pair(folders), out, run=run, config=config, progress=stop)
    assert not out.exists()
    assert train_style(pair(folders), out, run=run, config=config).sha256 == whole.sha256
    assert not out.with_suffix(".onnx").exists()
    with pytest.raises(ModelError, match=f"preset {preset} .*PyTorch alone"):
        export(out, tmp_path / "out.onnx")


def test_a_full_pool_shows_earlier_translations():
    config = TINY
    trainer = TRAINERS["cyclegan"](config, torch.device("cpu"), 2)
    trainer.pool_size = 2
    first = trainer._pooled(0, torch.zeros(2, 3, 4, 4))
    assert (first == 0).all() and len(trainer.pools[0]) == 2
    shown = trainer._pooled(0, torch.ones(40, 3, 4, 4))
    assert 10 < (shown == 0).all((1, 2, 3)).sum() + (shown == 1).all((1, 2, 3)).sum() == 40
    assert (shown[:6] == 0).any() and len(trainer.pools[0]) == 2 and not trainer.pools[1]


def test_the_generator_of_stargan_learns_each_fifth_step():
    trainer = TRAINERS["stargan"](
        dataclasses.replace(TINY, preset="stargan"), torch.device("cpu"), 2
    )
    samples = np.random.default_rng(0).integers(0, 255, (4, 2, 3, 32, 32)).astype(np.uint8)
    before = [value.clone() for value in trainer.generator.state_dict().values()]
    for step in range(1, 6):
        trainer.step(samples, [0, 1, 0, 1])
        after = trainer.generator.state_dict().values()
        same = all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        assert same == (step < 5) and ("cycle" in trainer.losses) == (step == 5)


def test_styles_of_references_leave_the_other_networks_of_starganv2():
    """The mapping network learns a hundred times slower, and nothing of references."""
    trainer = TRAINERS["starganv2"](
        dataclasses.replace(TINY, preset="starganv2"), torch.device("cpu"), 2
    )
    samples = np.random.default_rng(0).integers(0, 255, (4, 2, 3, 32, 32)).astype(np.uint8)
    trainer.step(samples, [0, 1, 0, 1])
    rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
    assert rates == pytest.approx([1e-4, 1e-6])
    real = torch.from_numpy(samples[:, 0]).float() / 255
    domains, targets = torch.tensor([0, 1, 0, 1]), torch.tensor([1, 0, 1, 0])
    mapping = [value.clone() for value in trainer.generator.mapping.state_dict().values()]
    encoder = [value.clone() for value in trainer.generator.encoder.state_dict().values()]
    trainer._generator_step(real, domains, targets, [real[targets], real[targets]])
    for kept, network in (
        (mapping, trainer.generator.mapping),
        (encoder, trainer.generator.encoder),
    ):
        now = network.state_dict().values()
        assert all(torch.equal(one, other) for one, other in zip(kept, now, strict=True))
    trainer.steps = 6
    assert trainer.learning_rate == trainer.lr


def test_targets_are_other_domains():
    trainer = TRAINERS["stargan"](
        dataclasses.replace(TINY, preset="stargan"), torch.device("cpu"), 3
    )
    domains = torch.arange(3).repeat(20)
    drawn = trainer.other_domains(domains)
    assert (drawn != domains).all() and len(set(drawn[domains == 0].tolist())) == 2


def test_a_learning_rate_falls_over_the_last_half():
    trainer = TRAINERS["cyclegan"](dataclasses.replace(TINY, steps=100), torch.device("cpu"), 2)
    rates = {}
    for trainer.steps in (1, 51, 76, 100):
        rates[trainer.steps] = trainer.learning_rate / trainer.lr
    assert list(rates.values()) == pytest.approx([1, 1, 0.5, 0.02])


@pytest.mark.parametrize("preset", PRESETS)
def test_one_domain_is_refused(tmp_path, folders, preset):
    config = dataclasses.replace(TINY, preset=preset)
    for source in (folders / "dark", folders / "dark" / "a.tif"):
        with pytest.raises(InputError, match=r"the rasters are of 1: give two( or more)? folders"):
            train_style([source], tmp_path / "m.safetensors", config=config)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_domains_is_refused(tmp_path, folders, make_raster):
    config = TINY
    out = tmp_path / "m.safetensors"
    three = [folders / name for name in ("dark", "light", "third")]
    with pytest.raises(InputError, match="between two domains, the rasters are of 3"):
        train_style(three, out, config=config)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RasterError, match="empty holds no raster"):
        train_style([folders / "dark", tmp_path / "empty"], out, config=config)
    with pytest.raises(BandError, match=r"has 3 bands, the model is to take 4"):
        train_style(pair(folders), out, config=dataclasses.replace(config, bands=4))
    (tmp_path / "dark").mkdir()
    make_raster(tmp_path / "dark" / "b.tif", size=(50, 50))
    with pytest.raises(InputError, match="two folders of rasters are called dark"):
        train_style([folders / "dark", tmp_path / "dark"], out, config=config)
    assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "cyclegan", "contrastive": 5.0}, "contrastive is 5.0 with preset cyclegan"),
        ({"preset": "cyclegan", "adain": "deepest"}, "adain and critic_every do not belong"),
        ({"width": 16}, "width is 16 with preset geossda"),
    ],
)
def test_settings_of_other_methods_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        TrainStyleConfig(**settings)


def test_training_may_begin_with_a_model(tmp_path, folders):
    config = dataclasses.replace(TINY, steps=1)
    first = tmp_path / "first.safetensors"
    train_style(pair(folders), first, config=config)
    onward = dataclasses.replace(config, init_from=str(first))
    assert train_style(pair(folders), tmp_path / "b.safetensors", config=onward).domains
    other = dataclasses.replace(onward, width=8)
    with pytest.raises(ModelError, match=r"preset cyclegan, 3 bands.* 2 domains and width 4"):
        train_style(pair(folders), tmp_path / "c.safetensors", config=other)
