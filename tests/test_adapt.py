"""Adapting to imagery without labels: what methods do to patches, and what they leave alone."""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from click.testing import CliRunner
from conftest import UTM, build_raster, synthesize

import geossda
from geossda import SegmentConfig, TrainSegmenterConfig, TrainStyleConfig, train_segmenter
from geossda.adapt.learned import HIGHEST_GAIN, Bank, Banks, StyleTransfer, _restrained
from geossda.adapt.plain import HistogramMatching, gamma, hsv
from geossda.adapt.strategies import resolved
from geossda.data.patches import PatchSampler, TargetSampler, WorkingRaster
from geossda.errors import BandError, Cancelled, EmptyRasterError, InputError, StyleError
from geossda.models.card import read_card
from geossda.models.moments import Gaussian, Look, measure, measure_gaussian, merged
from geossda.models.segmenter import load_segmenter
from geossda.models.style_model import load_style_model
from geossda.raster.radiometry import scaling
from geossda.raster.reading import open_mosaic
from geossda.training.segmenter import train
from geossda.training.teacher import BEGIN, BINS, RAMP, Teacher

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (160, 200)
TINY = TrainSegmenterConfig(
    encoder="tu-mobilenetv3_small_050", encoder_weights="none", gsd=0.5, steps=4, batch=2,
    unlabelled=2, patch=64, seed=3, checkpoint=2, device="cpu",
)  # fmt: skip


def boxes():
    return [(x, y, x + 24, y + 20) for x in (10, 70, 130) for y in (12, 90)]


def town(color, ground):
    image = (synthesize(3, SIZE, "uint8", 5) // 8).astype(np.int16) + np.array(ground)[
        :, None, None
    ]
    for left, top, right, bottom in boxes():
        image[:, top:bottom, left:right] = np.array(color)[:, None, None]
    return np.clip(image, 1, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def villages(tmp_path_factory):
    """Two places of unlike colours, each in its folder; the first has footprints."""
    root = tmp_path_factory.mktemp("villages")
    paths = []
    for name, color, ground in (
        ("red", (200, 60, 50), (40, 50, 30)),
        ("blue", (90, 120, 220), (120, 110, 90)),
    ):
        (root / name).mkdir()
        paths.append(build_raster(root / name / f"{name}.tif", image=town(color, ground)))
    shapes = [
        shapely.box(500000 + a / 2, 5200000 - d / 2, 500000 + c / 2, 5200000 - b / 2)
        for a, b, c, d in boxes()
    ]
    gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_file(root / "red" / "footprints.gpkg")
    return paths


def prepared(path, kind="bits", **settings):
    mosaic = open_mosaic(path)
    return WorkingRaster.prepare(mosaic, 0.5, scaling(kind, mosaic), **settings)


def patch_of(seed=0, side=64):
    return synthesize(3, (side, side), "uint8", seed), np.ones((side, side), bool)


def rng(seed=0):
    return np.random.default_rng(seed)


# Plain methods


@pytest.mark.parametrize("method", [hsv, gamma])
def test_random_colours_are_a_function_of_the_generator(method):
    image, valid = patch_of()
    drawn = [method(image, valid, 0, rng(seed)) for seed in (1, 1, 2)]
    assert all(made.shape == image.shape and made.dtype == np.uint8 for made in drawn)
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_gamma_keeps_order_and_greys_and_hsv_needs_three_bands():
    image, valid = patch_of()
    grey = np.repeat(image[:1], 3, axis=0)
    made = gamma(grey, valid, 0, rng())
    assert (made == made[0]).all()
    order = np.argsort(grey[0].ravel(), kind="stable")
    assert (np.diff(made[0].ravel()[order].astype(int)) >= 0).all()
    with pytest.raises(BandError, match="2 bands"):
        hsv(image[:2], valid, 0, rng())


def test_matched_histograms_are_the_targets(villages):
    target = prepared(villages[1])
    image, valid = patch_of()
    made = HistogramMatching([target], 64)(image, valid, 0, rng(4))
    shares = np.linspace(0.1, 0.9, 9)
    assert np.abs(made.mean((1, 2)) - image.mean((1, 2))).max() > 5
    # The reference is one patch of the target: its darkest and brightest values hold.
    pixels = target.held[:3]
    assert (made.min((1, 2)) >= pixels.min((1, 2))).all()
    assert (made.max((1, 2)) <= pixels.max((1, 2))).all()
    again = HistogramMatching([target], 64)(made, valid, 0, rng(4))
    first, second = (np.quantile(x, shares, axis=(1, 2)) for x in (made, again))
    assert np.abs(first - second).max() <= 3


def test_nodata_is_in_no_histogram(villages, tmp_path):
    method = HistogramMatching([prepared(villages[1])], 64)
    image, valid = patch_of()
    valid[:20] = False
    other = image.copy()
    other[:, :20] = 255
    one, two = (method(x, valid, 0, rng(2)) for x in (image, other))
    assert np.array_equal(one[:, valid], two[:, valid])
    nothing = np.zeros(SIZE, bool)
    empty = build_raster(
        tmp_path / "empty.tif", image=town((9, 9, 9), (9, 9, 9)), mask=True, valid=nothing
    )
    with pytest.raises(EmptyRasterError, match="--target"):
        HistogramMatching([prepared(empty)], 64)(image, valid, 0, rng())


# Learned styles


def test_merged_looks_are_those_of_all_patches_together():
    torch.manual_seed(0)
    patches = torch.rand(5, 3, 16, 16) * torch.linspace(0.2, 1, 5)[:, None, None, None]

    def look(x):
        return Look(measure_gaussian(x, 1), ((measure(x, 1),),))

    pooled, together = merged([look(x[None]) for x in patches]), look(patches)
    assert torch.allclose(pooled.pixels.mean, together.pixels.mean, atol=1e-6)
    assert torch.allclose(pooled.pixels.covariance, together.pixels.covariance, atol=1e-5)
    assert torch.allclose(pooled.groups[0][0].std, together.groups[0][0].std, atol=1e-4)


def test_a_bank_gives_looks_of_like_content_first():
    looks = [object() for _ in range(3)]
    contents = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
    assert Bank(looks, contents).nearest(np.array([1, 0], np.float32), 2) == [looks[0], looks[2]]


@pytest.fixture(scope="module")
def banks(villages):
    model = load_style_model("default", "cpu")
    rasters = [prepared(path) for path in villages]

    def describe(image):
        return np.array(
            [image.std(), np.abs(np.diff(image.astype(int), axis=2)).mean()], np.float32
        )

    return Banks.measure(model, describe, rasters, 64, "lock", 0), rasters


def test_style_transfer_goes_towards_the_target(banks):
    measured, rasters = banks
    method = StyleTransfer(measured, [0], [1], np.ones(1))
    image, valid = rasters[0].held[:3, 40:104, 40:104], np.ones((64, 64), bool)
    made = method(image, valid, 0, rng(1))
    assert np.array_equal(made, method(image, valid, 0, rng(1))) and made.dtype == np.uint8
    wanted = rasters[1].held[:3].mean((1, 2))
    before, after = (np.abs(x.mean((1, 2)) - wanted).mean() for x in (image, made))
    assert after < 0.6 * before
    back = StyleTransfer(measured, [0], [0], np.ones(1))(image, valid, 0, rng(1))
    assert np.abs(back.mean((1, 2)) - wanted).mean() > after


def test_contrast_is_raised_so_far_and_no_further():
    flat, wild = (
        Look(Gaussian(torch.zeros(1, 3), torch.eye(3)[None] * v), ()) for v in (0.001, 0.1)
    )
    gain = (_restrained(flat, wild).pixels.covariance[0, 0, 0] / 0.001) ** 0.5
    assert float(gain) == pytest.approx(HIGHEST_GAIN, rel=1e-4)
    assert _restrained(wild, flat) is flat


def test_auto_is_ssda_where_there_is_a_target():
    assert resolved("auto", True) == "ssda" and resolved("auto", False) == "none"
    assert resolved("hsv", False) == "hsv"
    for method in ("rhm", "daug", "ssda"):
        assert resolved(method, True) == method
        with pytest.raises(InputError, match="--target"):
            resolved(method, False)


# Samplers


def test_all_methods_are_given_the_same_labelled_patches(villages):
    raster = prepared(villages[0])
    plain = PatchSampler([raster], 64, 7, jitter=False)
    changed = PatchSampler([raster], 64, 7, lambda image, *_: 255 - image, 0.5, jitter=False)
    differ = 0
    for step in range(12):
        one, other = plain.draw(step, 0), changed.draw(step, 0)
        assert np.array_equal(one.label, other.label) and np.array_equal(one.weight, other.weight)
        differ += not np.array_equal(one.image, other.image)
    assert 2 <= differ <= 10
    never = PatchSampler([raster], 64, 7, lambda image, *_: 255 - image, 0.0, jitter=False)
    assert all(np.array_equal(never.draw(s, 0).image, plain.draw(s, 0).image) for s in range(5))


def test_without_jitter_and_resizing_a_patch_is_the_rasters_bytes(villages):
    raster = prepared(villages[0])
    image = PatchSampler([raster], 64, 1, jitter=False, scale=(1, 1)).draw(0, 0).image
    values = {tuple(pixel) for pixel in np.rint(image * 255).astype(int).reshape(3, -1).T}
    assert values <= {tuple(pixel) for pixel in raster.held[:3].reshape(3, -1).T.tolist()}


def test_columns_held_back_are_never_drawn(villages):
    raster = prepared(villages[0], hold_out=0.5)
    assert raster.width == SIZE[1] // 2
    raster.held[:3, :, raster.width :] = 0  # no other pixel is 0
    sampler = PatchSampler([raster], 64, 1, jitter=False)
    assert all(sampler.draw(step, 0).image.min() > 0 for step in range(20))


def test_scalings(villages, tmp_path):
    raster = prepared(villages[0])
    with rasterio.open(villages[0]) as source:
        assert np.array_equal(raster.held[:3], source.read())
    even = prepared(build_raster(tmp_path / "a.tif", size=SIZE, dtype="uint16"), "equalize")
    counts = np.stack([np.histogram(band, 8, (0, 256))[0] for band in even.held[:3]])
    assert counts.max() < 1.1 * counts.min()
    stretched = prepared(villages[0], "percentile").held[:3]
    assert stretched.min() == 0 and stretched.max() == 255


def test_target_patches_in_two_views(villages):
    raster = prepared(villages[1])
    same = TargetSampler([raster], 64, 2).draw(3, 1)
    assert np.array_equal(same.image, same.restyled)
    other = TargetSampler([raster], 64, 2, lambda image, *_: 255 - image, 1.0)
    assert np.array_equal(other.draw(3, 1).image, same.image)
    assert np.allclose(other.draw(3, 1).restyled, 1 - same.image, atol=1e-6)
    noisy = TargetSampler([raster], 64, 2, jitter=True).draw(3, 1)
    assert np.array_equal(noisy.image, same.image)
    assert not np.array_equal(noisy.restyled, same.image)


# The teacher


class Always(torch.nn.Module):
    """A network that says what it is shown."""

    def forward(self, image):
        return torch.logit(image[:, :1].clamp(1e-4, 1 - 1e-4))


def test_teaching_begins_late_and_slowly():
    teacher = Teacher(Always(), 100)
    weights = [teacher.weight(step) for step in range(1, 101)]
    begun = round(100 * BEGIN)
    assert not any(weights[:begun]) and weights[begun] > 0
    assert weights[round(100 * (BEGIN + RAMP)) :] == [1.0] * (100 - round(100 * (BEGIN + RAMP)))


def test_as_many_buildings_are_taught_as_expected():
    probability = torch.linspace(0, 0.5, 4096).reshape(1, 1, 64, 64) ** 2
    image = probability.expand(1, 3, 64, 64)
    labels, sure = Teacher(Always(), 10).lesson(image, torch.ones_like(probability))
    assert float(labels.mean()) == pytest.approx(float(probability.mean()), abs=2 / BINS)
    assert 0.1 < float(sure.mean()) < 1
    # What is doubtful lies around the limit.
    doubtful = probability[sure == 0]
    assert labels[probability > doubtful.max()].all()
    assert not labels[probability < doubtful.min()].any()


def test_nodata_teaches_nothing():
    image = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    weight = torch.ones(2, 1, 32, 32)
    weight[:, :, :16] = 0
    other = torch.where(weight == 0, torch.ones_like(image), image)
    lessons = [Teacher(Always(), 10).lesson(x, weight) for x in (image, other)]
    assert not lessons[0][1][weight == 0].any()
    for one, two in zip(*lessons, strict=True):
        assert torch.equal(one[weight > 0], two[weight > 0])


def test_a_resumed_run_with_a_teacher_is_the_uninterrupted_one(villages, tmp_path, interrupter):
    config = dataclasses.replace(TINY, steps=6, checkpoint=4, patch=32)
    draw = PatchSampler([prepared(villages[0])], 32, 3).draw
    target = TargetSampler([prepared(villages[1])], 32, 3, jitter=True).draw

    def go(name, **given):
        return train(draw, 3, tmp_path / f"{name}.safetensors", tmp_path / name, config,
                     draw_target=target, **given)  # fmt: skip

    whole = go("whole")
    with pytest.raises(Cancelled):
        go("run", progress=interrupter("training", 5, Cancelled("stop")))
    assert go("run").sha256 == whole.sha256
    alone = train(draw, 3, tmp_path / "alone.safetensors", tmp_path / "alone", config)
    assert alone.sha256 != whole.sha256


# The verb


@pytest.mark.parametrize("method", ["none", "equalize", "hsv", "gamma", "rhm", "ssda"])
def test_every_method_trains_a_model_that_segments(villages, tmp_path, method):
    out = tmp_path / "out.safetensors"
    config = dataclasses.replace(TINY, adapt=method)
    card = train_segmenter([villages[0]], out, targets=villages[1], config=config)
    assert card.training["adapt"] == method
    assert card.scaling == ("equalize" if method == "equalize" else "percentile")
    found = geossda.segment(villages[1], tmp_path / "out.gpkg",
                            config=SegmentConfig(model=str(out), device="cpu"))  # fmt: skip
    assert found.output.exists()


def test_targets_must_have_the_sources_bands(villages, tmp_path):
    odd = build_raster(tmp_path / "odd.tif", size=SIZE, bands=2)
    with pytest.raises(BandError, match=r"has 2 bands, .* has 3"):
        train_segmenter([villages[0]], tmp_path / "o.safetensors", targets=[odd], config=TINY)
    with pytest.raises(InputError, match="--target"):
        train_segmenter([villages[0]], tmp_path / "o.safetensors",
                        config=dataclasses.replace(TINY, adapt="rhm"))  # fmt: skip
    assert not list(tmp_path.glob("o.*"))


def test_the_command_line(villages, tmp_path):
    from geossda_cli.main import cli

    out = tmp_path / "mine.safetensors"
    arguments = ["train-segmenter", villages[0], "--target", villages[1], "-o", out, "--adapt",
                 "rhm", "--no-teach", "--no-jitter", "--steps", 2, "--batch", 2, "--patch", 64,
                 "--encoder", TINY.encoder, "--encoder-weights", "none", "--gsd", 0.5,
                 "--device", "cpu", "--progress", "none"]  # fmt: skip
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    told = read_card(out).training
    assert (told["adapt"], told["teach"], told["jitter"]) == ("rhm", False, False)


def test_labels_may_be_a_mask(villages, tmp_path):
    with rasterio.open(villages[0]) as source:
        profile = {**source.profile, "count": 1, "photometric": None}
    mask = np.zeros(SIZE, np.uint8)
    for left, top, right, bottom in boxes():
        mask[top:bottom, left:right] = 255
    profile.pop("photometric")
    with rasterio.open(tmp_path / "mask.tif", "w", **{**profile, "nodata": 255}) as made:
        made.write(mask, 1)
    from geossda.data.labels import read_footprints

    shapes = read_footprints(tmp_path / "mask.tif", UTM)
    assert np.array_equal(prepared(villages[0], shapes=shapes).held[3] == 1, mask == 255)


# DAug


@pytest.fixture(scope="module")
def domains(villages, tmp_path_factory):
    out = tmp_path_factory.mktemp("daug") / "domains.safetensors"
    config = TrainStyleConfig(
        preset="daug", steps=4, batch=4, patch=32, perceptual=0.0, device="cpu"
    )
    geossda.train_style(villages, out, config=config)
    return out


def test_domains_are_folders_with_a_style_each(domains, villages, tmp_path):
    model = load_style_model(domains, "cpu")
    assert model.card.domains == ("blue", "red")
    for name, path in (("red", villages[0]), ("blue", villages[1])):
        look = model.domain_look(name)
        seen = prepared(path).held[:3].mean((1, 2)) / 255
        assert np.abs(look.pixels.mean[0].numpy() - seen).max() < 0.15
    config = dataclasses.replace(TINY, adapt="daug", style_model=str(domains))
    card = train_segmenter(
        [villages[0]], tmp_path / "m.safetensors", targets=villages[1], config=config
    )
    assert card.training["adapt"] == "daug"
    stranger = build_raster(tmp_path / "x.tif", size=SIZE)
    with pytest.raises(StyleError, match=r"no domain .*blue, red"):
        train_segmenter([villages[0]], tmp_path / "n.safetensors", targets=stranger, config=config)


def test_a_domain_goes_to_itself_unchanged_and_to_others_changed(domains, villages):
    model = load_style_model(domains, "cpu")
    image = prepared(villages[0]).held[None, :3, :64, :64].astype(np.float32) / 255
    red, blue = model.domain_look("red"), model.domain_look("blue")
    assert np.allclose(model.translate(image, red, red), image, atol=1e-4)
    moved = model.translate(image, red, blue).mean((0, 2, 3))
    wanted = prepared(villages[1]).held[:3].mean((1, 2)) / 255
    assert np.abs(moved - wanted).mean() < np.abs(image.mean((0, 2, 3)) - wanted).mean()


def test_a_model_of_domains_measures_no_looks(domains, villages, tmp_path):
    config = geossda.StyleConfig(style_model=str(domains))
    with pytest.raises(StyleError, match="declared domains"):
        geossda.make_style(villages[0], tmp_path / "s.json", config=config)
    with pytest.raises(StyleError, match="train one with --preset daug"):
        load_style_model("default", "cpu").domain_look("red")


def test_weights_of_a_segmenter_know_their_scaling(villages, tmp_path):
    out = tmp_path / "e.safetensors"
    train_segmenter([villages[0]], out, config=dataclasses.replace(TINY, adapt="equalize", steps=2))
    assert load_segmenter(out)[1].scaling == "equalize"
