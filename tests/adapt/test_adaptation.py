"""Adapting to imagery without labels: what methods do to patches, and what they leave alone."""

import dataclasses
import json
from typing import get_args

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from click.testing import CliRunner
from conftest import ENCODER, UTM, build_raster, synthesize
from PIL import Image

import geossda
from geossda import SegmentConfig, TrainSegmenterConfig, TrainStyleConfig, train_segmenter
from geossda.adapt.color_clusters import GraphTransfer, measure_places
from geossda.adapt.photometric import HUE, SATURATION, VALUE, HistogramMatching, gamma, hsv
from geossda.adapt.samplers import training_streams
from geossda.adapt.strategies import STRATEGIES, Strategy, resolve_adaptation
from geossda.adapt.style_transfer import (
    MAX_CONTRAST_GAIN,
    _limit_contrast,
    measure_styles,
    style_transfers,
)
from geossda.config import AdaptMethod
from geossda.data.labels import read_footprints
from geossda.data.patches import PatchSampler, TargetPatch, TargetSampler
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import BandError, Cancelled, EmptyRasterError, InputError, StyleError
from geossda.models.losses import masked_bce_dice
from geossda.models.model_file import read_card
from geossda.models.segmenter import load_segmenter
from geossda.models.style_arrays import (
    ImageStyle,
    LevelMoments,
    PixelGaussian,
    measure_gaussian,
    pool_styles,
)
from geossda.models.style_statistics import measure_moments
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import scaling
from geossda.runtime.style_network import load_style_model
from geossda.training import mean_teacher
from geossda.training import segmenter_loop as segmenter
from geossda.training.mean_teacher import BEGIN, BINS, MIN_RASTER_FRACTION, RAMP, MeanTeacher
from geossda.training.objective import Batch, Objective, TargetBatch
from geossda.training.segmenter_loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (160, 200)
TINY = TrainSegmenterConfig(
    encoder=ENCODER, encoder_weights="none", gsd=0.5, steps=4, batch=2,
    target_batch=2, patch=64, seed=3, checkpoint=2, device="cpu", degrade=False,
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


def prepared(path, kind="bits", floor=0.0, **settings):
    mosaic = open_mosaic(path)
    return WorkingRaster.prepare(mosaic, 0.5, scaling(kind, mosaic, floor=floor), **settings)


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


def test_hsv_shifts_each_by_so_much_and_no_more():
    image = np.broadcast_to(np.array([150, 110, 80], np.uint8)[:, None, None], (3, 8, 8))

    def measure(image):
        return cv2.cvtColor(image.transpose(1, 2, 0).copy(), cv2.COLOR_RGB2HSV)[0, 0].astype(int)

    drawn = [measure(hsv(image, image[0] > 0, 0, rng(seed))) for seed in range(60)]
    shifts = np.array(drawn) - measure(image)
    shifts[:, 0] = (shifts[:, 0] + 90) % 180 - 90
    limits = np.array([HUE, SATURATION, VALUE])
    # Colours of 8 bit say hue and saturation to one or two only.
    assert (np.abs(shifts) <= limits + 2).all()
    assert (shifts.min(0) < -limits / 2).all() and (shifts.max(0) > limits / 2).all()


def test_gamma_keeps_order_and_greys_and_hsv_needs_three_bands():
    image, valid = patch_of()
    grey = np.repeat(image[:1], 3, axis=0)
    made = gamma(grey, valid, 0, rng())
    assert (made == made[0]).all()
    order = np.argsort(grey[0].ravel(), kind="stable")
    assert (np.diff(made[0].ravel()[order].astype(int)) >= 0).all()
    with pytest.raises(BandError, match="2 bands"):
        hsv(image[:2], valid, 0, rng())


def test_matched_histograms_are_the_targets(tmp_path):
    """A target no larger than a patch is the reference, whatever is drawn."""
    image, valid = patch_of()
    wanted = 120 + patch_of(9)[0] // 3
    target = prepared(build_raster(tmp_path / "target.tif", image=wanted))
    made = HistogramMatching([target], 64)(image, valid, 0, rng(4))
    shares = np.linspace(0.05, 0.95, 19)
    quantiles = [np.quantile(x, shares, axis=(1, 2)) for x in (made, wanted, image)]
    assert np.abs(quantiles[0] - quantiles[1]).max() <= 2
    assert np.abs(quantiles[2] - quantiles[1]).max() > 20


def test_nodata_of_the_target_is_in_no_histogram(tmp_path):
    wanted, known = 100 + patch_of(9)[0] // 4, np.tri(64, dtype=bool)
    wanted[:, ~known] = 255
    path = build_raster(tmp_path / "target.tif", image=wanted, mask=True, valid=known)
    target = prepared(path)
    target.in_memory[:3, ~known] = 255
    made = HistogramMatching([target], 64)(*patch_of(), 0, rng(4))
    assert made.max() <= wanted[:, known].max() < 255


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
        moments = LevelMoments(*(part[0].numpy() for part in measure_moments(x, 1)))
        return ImageStyle(measure_gaussian(x.numpy()), ((moments,),))

    pooled, together = pool_styles([look(x[None]) for x in patches]), look(patches)
    assert np.allclose(pooled.pixels.mean, together.pixels.mean, atol=1e-6)
    assert np.allclose(pooled.pixels.covariance, together.pixels.covariance, atol=1e-5)
    assert np.allclose(pooled.groups[0][0].mean, together.groups[0][0].mean, atol=1e-6)
    assert np.allclose(pooled.groups[0][0].std, together.groups[0][0].std, atol=1e-4)


def transfers(rasters, sources, side=32):
    """Both directions: labelled patches to targets, target patches to any raster."""
    model = load_style_model("default", "cpu")
    looks = measure_styles(model, rasters, side, "lock", 0)
    return style_transfers(model, looks, rasters[:sources], rasters[sources:], "lock")


def test_style_transfer_goes_towards_the_target(villages):
    rasters = [prepared(path) for path in villages]
    method, back = transfers(rasters, 1, 64)
    image, valid = rasters[0].in_memory[:3, 40:104, 40:104], np.ones((64, 64), bool)
    made = method(image, valid, 0, rng(1))
    assert np.array_equal(made, method(image, valid, 0, rng(1))) and made.dtype == np.uint8
    wanted = rasters[1].in_memory[:3].mean((1, 2))
    before, after = (np.abs(x.mean((1, 2)) - wanted).mean() for x in (image, made))
    assert after < 0.6 * before
    # Target patches are given any raster's look: their own, which changes little, or another.
    target = rasters[1].in_memory[:3, 40:104, 40:104]
    moved = {
        int(np.abs(back(target, valid, 0, rng(k)).astype(int) - target).max()) for k in range(9)
    }
    assert min(moved) < 6 and max(moved) > 30 and len(moved) == 2


def test_a_look_is_the_whole_rasters_whatever_stands_in_a_patch(tmp_path):
    """A meadow is made as a town's raster is, not as the town."""

    def halves(name, left, right):
        image = np.empty((3, 96, 200))
        image[:, :, :100], image[:, :, 100:] = (np.array(c)[:, None, None] for c in (left, right))
        image += rng(1).normal(0, 4, image.shape)
        path = tmp_path / f"{name}.tif"
        return prepared(build_raster(path, image=np.clip(image, 1, 255).astype(np.uint8)))

    # Half meadow and half roofs under another sun; then roofs alone would be 190 all over.
    rasters = [
        halves("own", (60, 90, 60), (150, 140, 140)),
        halves("other", (60 * 0.6 + 50, 90 * 0.6 + 50, 60 * 0.6 + 50), (140, 134, 134)),
    ]
    method, _ = transfers(rasters, 1)
    for left, wanted in ((10, (86, 104, 86)), (150, (140, 134, 134))):
        image = rasters[0].in_memory[:3, 20:52, left : left + 32]
        made = method(image, np.ones((32, 32), bool), 0, rng())
        assert np.abs(made.mean((1, 2)) - wanted).max() < 12


def test_flat_ground_is_not_blown_up(tmp_path):
    calm = 100 + rng().normal(0, 5, (3, 96, 96))
    images = calm.astype(np.uint8), synthesize(3, (96, 96), "uint8", 2)
    rasters = [
        prepared(build_raster(tmp_path / f"{k}.tif", image=image)) for k, image in enumerate(images)
    ]
    method, _ = transfers(rasters, 1)
    image = rasters[0].in_memory[:3, :32, :32]
    contrasts = [
        np.sqrt(x.var((1, 2)).mean())
        for x in (image, rasters[1].in_memory[:3], method(image, np.ones((32, 32), bool), 0, rng()))
    ]
    assert contrasts[1] > 5 * contrasts[0]
    assert contrasts[2] < 1.1 * MAX_CONTRAST_GAIN * contrasts[0]


def test_graph_matching_takes_the_colors_of_places_not_of_rasters(tmp_path):
    """Two rasters of a folder, one dark and one light, are one place of two clusters."""
    (tmp_path / "two").mkdir()
    rasters = [
        prepared(build_raster(tmp_path / folder / f"{value}.tif", dtype="uint8",
                              image=np.full((3, 96, 96), value, np.uint8)))
        for folder, value in (("two", 50), ("two", 100), (".", 200))
    ]  # fmt: skip
    places = measure_places(rasters, 32, 0)
    two, one = (places[raster.folder] for raster in rasters[1:])
    assert np.sort(two.centers[0]) * 255 == pytest.approx([50, 100], abs=1e-3)
    assert one.centers[:, 0] * 255 == pytest.approx([200] * 3, abs=1e-3)
    folders = [raster.folder for raster in rasters]
    shift = GraphTransfer(places, folders, folders[2:], np.ones(1))
    image = np.full((3, 4, 4), 60, np.uint8)
    # The one cluster of the source is its mean, since the target has one.
    expected = 60 + 200 - 255 * two.centers[0] @ two.masses
    assert shift(image, image[0] > 0, 0, rng()) == pytest.approx(
        np.full((3, 4, 4), expected), abs=1
    )
    assert shift(image, image[0] > 0, 2, rng()) is image


def test_graph_matching_of_a_place_without_pixels_is_one_line(tmp_path):
    nowhere = np.zeros((64, 64), bool)
    empty = build_raster(tmp_path / "empty.tif", size=(64, 64), valid=nowhere, nodata=0)
    raster = prepared(empty)
    with pytest.raises(EmptyRasterError, match="nodata"):
        measure_places([raster], 32, 0)


def test_contrast_is_raised_so_far_and_no_further():
    flat, wild = (ImageStyle(PixelGaussian(np.zeros(3), np.eye(3) * v), ()) for v in (0.001, 0.1))
    gain = (_limit_contrast(flat, wild).pixels.covariance[0, 0] / 0.001) ** 0.5
    assert float(gain) == pytest.approx(MAX_CONTRAST_GAIN, rel=1e-4)
    assert _limit_contrast(wild, flat) is flat


def test_auto_depends_on_target_and_places():
    def chosen(places, has_target, **settings):
        config = resolve_adaptation(TrainSegmenterConfig(**settings), places, has_target)
        return config.adapt, config.mean_teacher

    assert chosen(1, False) == ("none", True)
    assert chosen(1, True) == ("ssda", True)
    assert chosen(1, True, mean_teacher=False) == ("ssda", False)
    assert chosen(2, True) == ("none", False)
    assert chosen(2, False) == ("none", True)
    assert chosen(2, True, jitter=False) == chosen(2, True, scaling="bits") == ("ssda", False)
    assert chosen(2, True, adapt="ssda") == ("ssda", True)
    assert chosen(1, False, adapt="hsv") == ("hsv", True)
    for method in ("rhm", "graph", "daug", "ssda"):
        with pytest.raises(InputError, match="--target"):
            chosen(1, False, adapt=method)


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


@pytest.mark.parametrize("sampler", [PatchSampler, TargetSampler])
def test_methods_are_told_which_raster_a_patch_is_of(villages, sampler):
    rasters = [prepared(path) for path in villages]
    told = []

    def recolor(image, valid, raster, rng):
        told.append((raster, image.mean((1, 2))))
        return image

    draws = sampler(rasters, 64, 7, recolor, 1.0)
    for step in range(12):
        draws.draw(step, 0)
    assert {raster for raster, _ in told} == {0, 1}
    # The ground of the first is dark.
    assert all((green < 90) == (raster == 0) for raster, (_, green, _) in told)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_patches_are_recoloured(villages, share):
    rasters = [prepared(villages[0])]
    plain = PatchSampler(rasters, 64, 7, jitter=False)
    changed = PatchSampler(rasters, 64, 7, lambda image, *_: 255 - image, share, jitter=False)
    for step in range(30):
        given = plain.draw(step, 0).image
        wanted = 1 - given if share else given
        assert np.allclose(changed.draw(step, 0).image, wanted, atol=1e-6)


def test_without_jitter_and_resizing_a_patch_is_the_rasters_bytes(tmp_path):
    pixels = patch_of()[0]
    raster = prepared(build_raster(tmp_path / "a.tif", image=pixels))
    sampler = PatchSampler([raster], 64, 1, jitter=False, scale=(1, 1))
    turned = [np.rot90(pixels, times, (1, 2)) for times in range(4)]
    turned += [image[:, :, ::-1] for image in turned]
    for step in range(5):
        image = sampler.draw(step, 0).image
        assert any(np.array_equal(image, way / np.float32(255)) for way in turned)


@pytest.mark.parametrize("method", ["hsv", "gamma", "rhm", "graph", "ssda", "daug"])
def test_a_method_recolours_labelled_patches_and_those_that_teach(villages, domains, method):
    sources, targets = ([prepared(path)] for path in villages)
    plain, made = (
        training_streams(
            dataclasses.replace(
                TINY, adapt=adapt, share=1.0, jitter=False,
                style_model="default" if adapt != "daug" else str(domains),
            ),
            sources,
            targets,
        )
        for adapt in ("none", method)
    )  # fmt: skip
    one, other = plain.labelled(1, 0), made.labelled(1, 0)
    assert np.array_equal(one.label, other.label) and np.array_equal(one.weight, other.weight)
    assert np.abs(one.image - other.image).mean() > 0.01
    unchanged = PatchSampler(sources, TINY.patch, TINY.seed, jitter=False).draw(1, 0)
    assert np.array_equal(one.image, unchanged.image)
    views = plain.target(1, 0), made.target(1, 0)
    assert np.array_equal(views[0].image, views[1].image)
    assert not np.array_equal(views[0].restyled, views[1].restyled)
    if method in ("rhm", "graph", "ssda", "daug"):
        own, wanted = (raster.in_memory[:3].mean((1, 2)) / 255 for raster in (*sources, *targets))

        def nearer(image):
            color = image.mean((1, 2))
            return np.abs(color - wanted).sum() < np.abs(color - own).sum()

        assert nearer(other.image) and not nearer(one.image)
        # Patches that teach are given the looks of all rasters, labelled ones too.
        looks = {bool(nearer(made.target(step, 0).restyled)) for step in range(12)}
        assert looks == {True, False}


def test_columns_held_back_are_never_drawn(villages):
    raster = prepared(villages[0], hold_out=0.5)
    assert raster.width == SIZE[1] // 2
    raster.in_memory[:3, :, raster.width :] = 0  # no other pixel is 0
    sampler = PatchSampler([raster], 64, 1, jitter=False)
    assert all(sampler.draw(step, 0).image.min() > 0 for step in range(20))


def test_scalings(villages, tmp_path):
    raster = prepared(villages[0])
    with rasterio.open(villages[0]) as source:
        assert np.array_equal(raster.in_memory[:3], source.read())
    even = prepared(build_raster(tmp_path / "a.tif", size=SIZE, dtype="uint16"), "equalize")
    counts = np.stack([np.histogram(band, 8, (0, 256))[0] for band in even.in_memory[:3]])
    assert counts.max() < 1.1 * counts.min()
    stretched = prepared(villages[0], "percentile").in_memory[:3]
    assert stretched.min() == 0 and stretched.max() == 255
    longer = build_raster(tmp_path / "b.tif", size=SIZE, dtype="uint16", seed=1)
    assert np.array_equal(
        prepared(longer, "bits").in_memory, prepared(longer, "percentile").in_memory
    )


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


def test_target_patches_are_a_function_of_the_place_and_nodata_has_no_weight(tmp_path):
    path = build_raster(tmp_path / "holes.tif", image=town((90, 120, 220), (99, 99, 99)), mask=True)
    one, other = (TargetSampler([prepared(path)], 64, 2, gamma, 1.0, jitter=True) for _ in range(2))
    drawn = {step: one.draw(step, 0) for step in range(8)}
    assert any((view.weight == 0).any() for view in drawn.values())
    for step in reversed(drawn):
        view, again = drawn[step], other.draw(step, 0)
        assert all(np.array_equal(a, b) for a, b in zip(view, again, strict=True))
        nothing = view.weight[0] == 0
        assert not view.image[:, nothing].any() and not view.restyled[:, nothing].any()
        assert view.image[:, ~nothing].all()
    assert not np.array_equal(drawn[0].image, drawn[1].image)


# The mean teacher


class Identity(torch.nn.Module):
    """A network that predicts its first band as the probability."""

    def forward(self, image):
        return torch.logit(image[:, :1].clamp(1e-4, 1 - 1e-4))


def predict_labels(teacher, image, rasters):
    """Pseudo-labels of images without nodata."""
    return teacher.pseudo_labels(Identity(), image, torch.ones_like(image[:, :1]), rasters)


def test_consistency_begins_late_and_slowly():
    teacher = MeanTeacher(100, 0.2)
    weights = [teacher.weight(step) for step in range(1, 101)]
    first = round(100 * BEGIN)
    assert not any(weights[:first]) and weights[first] > 0
    assert weights[round(100 * (BEGIN + RAMP)) :] == [1.0] * (100 - round(100 * (BEGIN + RAMP)))
    assert MeanTeacher(100, 0.2, places=4).weight(100) == 0.25


@pytest.mark.parametrize(
    ("power", "prior", "places"), [(0.3, 0.2, 1), (2, 0.2, 1), (2, 0.05, 1), (0.3, 0.2, 4)]
)
def test_pseudo_labels_hold_the_expected_building_fraction(power, prior, places):
    probability = torch.linspace(0, 1, 4096).reshape(1, 1, 64, 64) ** power * 0.9
    labels = predict_labels(MeanTeacher(10, prior, places), probability.expand(1, 3, 64, 64), [0])
    fraction = float((labels >= 0.5).float().mean())
    # Between the teacher's mean probability and the prior, as factors: halfway with labels of one
    # place, a fifth of the way with four.
    exponent = {1: 1 / 2, 4: 1 / 5}[places]
    expected = float(probability.mean()) ** (1 - exponent) * prior**exponent
    assert fraction == pytest.approx(expected, abs=2 / BINS)
    # In the teacher's order, and more confident than the teacher.
    assert (labels.flatten().diff() >= 0).all()
    middle = probability[labels >= 0.5].min()
    moved = torch.logit(probability, 1e-4) - torch.logit(middle)
    further = (torch.logit(labels, 1e-4).abs() >= moved.abs() - 1e-2) | (moved.abs() > 6)
    assert further.all()


def test_agreeing_with_the_teacher_costs_little_and_disagreeing_much():
    image = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).round()
    labels = predict_labels(MeanTeacher(10, 0.5), image, [0, 1])
    logits, weight = Identity()(image), torch.ones(2, 1, 32, 32)
    assert masked_bce_dice(logits, labels, weight).item() < 0.01
    assert masked_bce_dice(-logits, labels, weight).item() > 4


def test_the_threshold_is_of_recent_steps_too():
    def fraction(*images):
        teacher = MeanTeacher(10, 0.1)
        for image in images:
            labels = predict_labels(teacher, image.expand(1, 3, 64, 64), [0])
        return float((labels >= 0.5).float().mean())

    dark = torch.linspace(0, 0.2, 4096).reshape(1, 1, 64, 64)
    assert fraction(dark) == pytest.approx(0.1, abs=0.02)
    assert fraction(2 * dark, dark) == 0
    assert fraction(2 * dark, *[dark] * 200) == pytest.approx(0.1, abs=0.02)


def test_every_raster_has_pseudo_labels():
    """The teacher is unsure of the whole second raster, whose threshold is therefore lower."""
    confident = torch.linspace(0, 1, 4096).reshape(1, 1, 64, 64)
    image = torch.cat([confident, 0.1 * confident]).expand(2, 3, 64, 64)

    def fractions(rasters):
        labels = predict_labels(MeanTeacher(10, 0.2), image, rasters)
        return [float((one >= 0.5).float().mean()) for one in labels]

    together, apart = fractions([0, 0]), fractions([0, 1])
    assert together[1] == 0
    assert apart[1] == pytest.approx(MIN_RASTER_FRACTION * 0.2, abs=0.04)
    # A raster with more than that keeps its pseudo-labels.
    assert apart[0] == together[0] > 0.3


def test_nodata_of_the_target_is_in_no_pseudo_label_and_no_loss():
    image = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    weight = torch.ones(2, 1, 32, 32)
    weight[:, :, :16] = 0
    changed = torch.where(weight == 0, torch.ones_like(image), image)
    labelled = Batch(image, image[:, :1].round(), torch.ones(2, 1, 32, 32))
    labels, losses = [], []
    for target in (image, changed):
        labels.append(MeanTeacher(10, 0.2).pseudo_labels(Identity(), target, weight, [0, 0]))
        batch = TargetBatch(target, target, weight, (0, 0))
        losses.append(MeanTeacher(10, 0.2).loss(10, Identity(), Identity(), labelled, batch))
    assert torch.equal(labels[0][weight > 0], labels[1][weight > 0])
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    assert losses[0] > Objective().loss(10, Identity(), Identity(), labelled, None)


def test_a_resumed_run_with_a_teacher_is_the_uninterrupted_one(villages, tmp_path, interrupter):
    config = dataclasses.replace(TINY, steps=6, checkpoint=4, patch=32)
    draw = PatchSampler([prepared(villages[0])], 32, 3).draw
    target = TargetSampler([prepared(villages[1])], 32, 3, jitter=True).draw

    def go(name, **given):
        return train(draw, 3, tmp_path / f"{name}.safetensors", tmp_path / name, config,
                     draw_target=target, objective=MeanTeacher(6, 0.2), **given)  # fmt: skip

    whole = go("whole")
    with pytest.raises(Cancelled):
        go("run", progress=interrupter("training", 5, Cancelled("stop")))
    assert go("run").sha256 == whole.sha256
    one, other = (
        torch.load(tmp_path / name / "last.pt", weights_only=True)["objective"]
        for name in ("whole", "run")
    )
    # More than one step's pixels: what was counted before the interruption is not lost.
    assert torch.equal(one["histogram"], other["histogram"])
    assert one["histogram"].sum() > 3 * 2 * 32 * 32
    assert torch.equal(one["raster_histograms"][0], other["raster_histograms"][0])
    assert one["raster_histograms"][0].any()
    alone = train(draw, 3, tmp_path / "alone.safetensors", tmp_path / "alone", config)
    assert alone.sha256 != whole.sha256


def test_the_teacher_predicts_the_plain_patch_and_the_network_the_restyled_one(villages, tmp_path):
    """In a single step, before which the two runs do not differ."""
    config = dataclasses.replace(TINY, patch=32, steps=1)
    draw = PatchSampler([prepared(villages[0])], 32, 3).draw

    def go(name, change):
        def views(step, place):
            patch = draw(step, place)
            return TargetPatch(patch.image, change(patch.image), patch.weight, 0)

        run = tmp_path / name
        card = train(draw, 3, tmp_path / f"{name}.safetensors", run, config,
                     draw_target=views, objective=MeanTeacher(1, 0.2))  # fmt: skip
        state = torch.load(run / "last.pt", weights_only=True)["objective"]
        return card.sha256, state["histogram"]

    plain, inverted = go("plain", lambda image: image), go("inverted", lambda image: 1 - image)
    assert plain[0] != inverted[0]
    assert torch.equal(plain[1], inverted[1]) and plain[1].any()


def test_a_network_learns_the_pseudo_labels(villages, tmp_path, monkeypatch):
    """Labels have no weight here, so that the pseudo-labels are all there is to learn."""
    monkeypatch.setattr(segmenter, "LOG_EVERY", 1)
    monkeypatch.setattr(mean_teacher, "TEMPERATURE", 0.01)
    draw = PatchSampler([prepared(villages[0])], 32, 3).draw

    def unlabelled(step, place):
        return draw(step, place)._replace(weight=np.zeros((1, 32, 32), np.float32))

    config = dataclasses.replace(
        TINY, encoder="tu-mobilenetv3_small_050", steps=24, checkpoint=24, patch=32, lr=3e-3
    )
    target = TargetSampler([prepared(villages[1])], 32, 3).draw
    train(unlabelled, 3, tmp_path / "out.safetensors", tmp_path / "run", config,
          draw_target=target, objective=MeanTeacher(24, 0.2))  # fmt: skip
    lines = (tmp_path / "run" / "stats.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    full = round(24 * (BEGIN + RAMP))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[full : full + 3])


# The registry


def test_every_method_but_auto_is_a_strategy():
    assert {"auto", *STRATEGIES} == set(get_args(AdaptMethod))


def test_a_strategy_that_changes_the_loss_is_one_class(villages, tmp_path, monkeypatch):
    """Entropy minimization (Vu et al. 2019): written here whole, and trained by the verb."""

    class Entropy(Objective):
        steps = 0

        def loss(self, step, network, average, labelled, target):
            self.steps += 1
            probability = torch.sigmoid(network(target.restyled)).clamp(1e-4, 1 - 1e-4)
            entropy = -(probability * probability.log()).mean()
            return super().loss(step, network, average, labelled, target) + entropy

        def state_dict(self):
            return {"steps": self.steps}

        def load_state_dict(self, state):
            self.steps = state["steps"]

    class EntropyMinimization(Strategy):
        needs_target = True

        def objective(self, rasters):
            return Entropy()

    plain = train_segmenter(villages[0], tmp_path / "plain.safetensors", targets=villages[1],
                            config=dataclasses.replace(TINY, adapt="none"))  # fmt: skip
    monkeypatch.setitem(STRATEGIES, "hsv", EntropyMinimization)
    config = dataclasses.replace(TINY, adapt="hsv")
    out = tmp_path / "entropy.safetensors"
    card = train_segmenter(villages[0], out, targets=villages[1], config=config)
    assert card.sha256 != plain.sha256
    checkpoint = torch.load(tmp_path / "entropy_run" / "last.pt", weights_only=True)
    assert checkpoint["objective"] == {"steps": TINY.steps}
    with pytest.raises(InputError, match="--target"):
        train_segmenter(villages[0], tmp_path / "o.safetensors", config=config)


# The verb


def halves(picture):
    """What a picture of patches shows above and below."""
    pixels = np.asarray(Image.open(picture))
    return pixels[:128], pixels[-128:]


def test_patches_are_shown_as_they_are_and_as_they_are_made(villages, tmp_path):
    config = dataclasses.replace(TINY, adapt="gamma")
    train_segmenter([villages[0]], tmp_path / "g.safetensors", config=config)
    above, below = halves(tmp_path / "g_run" / "patches.png")
    shown = training_streams(
        config, [prepared(villages[0], "percentile", config.floor)], []
    ).preview
    for number in range(3):
        cells = [half[:, number * 132 : number * 132 + 128] for half in (above, below)]
        for cell, patch in zip(cells, shown(number), strict=True):
            mean = patch.image.mean((1, 2)) * 255
            assert cell.mean((0, 1)) == pytest.approx(mean, abs=2)


@pytest.mark.parametrize("method", ["none", "equalize", "hsv", "gamma", "rhm", "graph", "ssda"])
def test_every_method_trains_a_model_that_segments(villages, tmp_path, method):
    out = tmp_path / "out.safetensors"
    config = dataclasses.replace(TINY, adapt=method)
    card = train_segmenter([villages[0]], out, targets=villages[1], config=config)
    picture = tmp_path / "out_run" / "patches.png"
    assert picture.exists() == (method not in ("none", "equalize"))
    if picture.exists():
        above, below = (half.astype(int) for half in halves(picture))
        assert np.abs(above - below).mean() > 1
    assert card.training["adapt"] == method
    assert card.scaling == ("equalize" if method == "equalize" else "percentile")
    found = geossda.segment(villages[1], tmp_path / "out.gpkg",
                            config=SegmentConfig(model=str(out), device="cpu",
                                                 regularize="none"))  # fmt: skip
    assert found.output.exists()


def test_targets_must_have_the_sources_bands(villages, tmp_path):
    odd = build_raster(tmp_path / "odd.tif", size=SIZE, bands=2)
    with pytest.raises(BandError, match=r"has 2 bands, .* has 3"):
        train_segmenter([villages[0]], tmp_path / "o.safetensors", targets=[odd], config=TINY)
    with pytest.raises(InputError, match="--target"):
        train_segmenter([villages[0]], tmp_path / "o.safetensors",
                        config=dataclasses.replace(TINY, adapt="rhm"))  # fmt: skip
    assert not list(tmp_path.glob("o.*"))


def test_footprints_beside_all_rasters_are_one_line(villages, tmp_path):
    """Before the strategy measures styles of the labelled rasters, of which there are none."""
    elsewhere = tmp_path / "elsewhere.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 9, 9)], crs=UTM).to_file(elsewhere)
    config = dataclasses.replace(TINY, adapt="ssda")
    with pytest.raises(EmptyRasterError, match="no labelled raster is left"):
        train_segmenter([villages[0]], tmp_path / "o.safetensors", footprints=[elsewhere],
                        targets=villages[1], config=config)  # fmt: skip
    assert not list(tmp_path.glob("o*"))


def test_nothing_of_the_target_is_kept_back(villages, tmp_path):
    """Its left half, which would be all there is, has no data."""
    valid = np.zeros(SIZE, bool)
    valid[:, SIZE[1] // 2 :] = True
    image = town((90, 120, 220), (120, 110, 90))
    target = build_raster(tmp_path / "half.tif", image=image, mask=True, valid=valid)
    config = dataclasses.replace(TINY, adapt="none", hold_out=0.5)
    card = train_segmenter([villages[0]], tmp_path / "o.safetensors", targets=target, config=config)
    assert card.metrics


def test_the_command_line(villages, tmp_path):
    from geossda_cli.main import cli

    out = tmp_path / "mine.safetensors"
    arguments = ["train-segmenter", villages[0], "--target", villages[1], "-o", out, "--adapt",
                 "rhm", "--no-mean-teacher", "--no-jitter", "--steps", 2, "--batch", 2,
                 "--patch", 64, "--encoder", TINY.encoder, "--encoder-weights", "none",
                 "--gsd", 0.5, "--device", "cpu", "--progress", "none"]  # fmt: skip
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    told = read_card(out).training
    assert (told["adapt"], told["mean_teacher"], told["jitter"]) == ("rhm", False, False)


def test_places_are_folders_with_labels(villages, tmp_path):
    red, blue = map(prepared, villages)
    config = dataclasses.replace(TINY, adapt="none")
    counts = [training_streams(config, some, [blue]).places for some in ([red, red], [red, blue])]
    assert counts == [1, 2]
    footprints = villages[0].parent / "footprints.gpkg"
    config = dataclasses.replace(config, steps=2)
    card = train_segmenter(
        villages, tmp_path / "o.safetensors", footprints=[footprints], targets=villages[1],
        config=config,
    )  # fmt: skip
    assert card.training["places"] == 2


@pytest.mark.parametrize(("count", "method"), [(1, "ssda"), (2, "none")])
def test_auto_says_what_it_chose(villages, tmp_path, listener, count, method):
    footprints = villages[0].parent / "footprints.gpkg"
    card = train_segmenter(
        villages[:count], tmp_path / "o.safetensors", footprints=[footprints],
        targets=villages[1], config=dataclasses.replace(TINY, adapt="auto", steps=2),
        progress=listener,
    )  # fmt: skip
    assert (card.training["adapt"], card.training["mean_teacher"]) == (method, count == 1)
    (said,) = (line for line in listener.notes + listener.warnings if "auto" in line)
    assert f"labels of {count} place" in said
    assert said in (listener.notes if count == 1 else listener.warnings)


def test_auto_counts_the_places_that_have_labels(villages, tmp_path, monkeypatch):
    red, blue = villages
    linked = tmp_path / "linked"
    linked.symlink_to(red.parent)
    monkeypatch.chdir(red.parent.parent)
    same = [red, linked / red.name, red.relative_to(red.parent.parent)]
    config = dataclasses.replace(TINY, adapt="auto", steps=2)
    far = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32633")
    far.to_file(tmp_path / "far.gpkg")
    own = red.parent / "footprints.gpkg"
    for paths, labels in ((same, [own]), ([red, blue], [own, tmp_path / "far.gpkg"])):
        card = train_segmenter(
            paths, tmp_path / "o.safetensors", footprints=labels, targets=blue,
            config=dataclasses.replace(config, overwrite=True), run=tmp_path / f"{len(paths)}",
        )  # fmt: skip
        assert (card.training["adapt"], card.training["places"]) == ("ssda", 1)


def test_labels_may_be_a_mask(villages, tmp_path):
    with rasterio.open(villages[0]) as source:
        profile = {**source.profile, "count": 1, "nodata": 255}
    profile.pop("photometric", None)
    mask = np.zeros(SIZE, np.uint8)
    for left, top, right, bottom in boxes():
        mask[top:bottom, left:right] = 255
    with rasterio.open(tmp_path / "mask.tif", "w", **profile) as made:
        made.write(mask, 1)
    shapes = read_footprints(tmp_path / "mask.tif", UTM)
    assert np.array_equal(prepared(villages[0], shapes=shapes).in_memory[3] > 0, mask == 255)
    config = dataclasses.replace(TINY, adapt="none", steps=2)
    drawn, masked = (
        train_segmenter(
            villages[0], tmp_path / f"{k}.safetensors", footprints=given, config=config
        ).sha256
        for k, given in enumerate(([], [tmp_path / "mask.tif"]))
    )
    assert drawn == masked


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
        look = model.domain_style(name)
        pixels = prepared(path).in_memory[:3].reshape(3, -1) / 255
        assert np.abs(look.pixels.mean - pixels.mean(1)).max() < 0.15
        deviation = look.pixels.std / pixels.std(1)
        assert deviation.min() > 0.5 and deviation.max() < 2
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
    image = prepared(villages[0]).in_memory[None, :3, :64, :64].astype(np.float32) / 255
    red, blue = model.domain_style("red"), model.domain_style("blue")
    assert np.allclose(model.translate(image, red, red), image, atol=1e-4)
    moved = model.translate(image, red, blue).mean((0, 2, 3))
    wanted = prepared(villages[1]).in_memory[:3].mean((1, 2)) / 255
    assert np.abs(moved - wanted).mean() < np.abs(image.mean((0, 2, 3)) - wanted).mean()


def test_a_model_of_domains_measures_no_looks(domains, villages, tmp_path):
    config = geossda.StyleConfig(style_model=str(domains))
    with pytest.raises(StyleError, match="declared domains"):
        geossda.make_style(villages[0], tmp_path / "s.json", config=config)
    config = geossda.HarmonizeConfig(method="ssda", style_model=str(domains))
    with pytest.raises(StyleError, match="declared domains"):
        geossda.harmonize(villages[0], tmp_path / "h.tif", style=villages[1], config=config)
    assert not list(tmp_path.iterdir())
    with pytest.raises(StyleError, match="train one with --preset daug"):
        load_style_model("default", "cpu").domain_style("red")


def test_weights_of_a_segmenter_know_their_scaling(villages, tmp_path):
    out = tmp_path / "e.safetensors"
    train_segmenter([villages[0]], out, config=dataclasses.replace(TINY, adapt="equalize", steps=2))
    assert load_segmenter(out)[1].scaling == "equalize"
