"""What a segmenter is trained to output, and the degradations of what it is shown."""

import dataclasses
import math

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from conftest import ENCODER
from rasterio import Affine

from geossda import SegmentConfig, segment
from geossda.api.train_segmenter import train_segmenter
from geossda.config import TrainSegmenterConfig
from geossda.data import degradations
from geossda.data.degradations import degrade
from geossda.data.label_maps import (
    INTERIOR_PX,
    STEPS_PER_PX,
    label_maps,
    rasterize_distances,
    rescale_distances,
)
from geossda.models.losses import masked_bce, masked_bce_dice
from geossda.models.segmenter import load_segmenter
from geossda.raster.grid import Grid
from geossda.raster.shapes import Shapes
from geossda.raster.windows import Window
from geossda.training.objective import Batch, Objective
from geossda.training.segmenter_loop import learning_rate

pytestmark = pytest.mark.usefixtures("one_thread")

GRID = Grid((60, 80), Affine(0.5, 0, 1000, 0, -0.5, 2000), "EPSG:32633")


def house(left, top, right, bottom):
    """A box in pixels of the grid."""
    return shapely.box(1000 + left / 2, 2000 - bottom / 2, 1000 + right / 2, 2000 - top / 2)


def distances(*houses, window=None):
    shapes = Shapes([house(*each) for each in houses], "EPSG:32633")
    return rasterize_distances(shapes, GRID, window or Window(0, 0, 60, 80))


def test_distances_are_those_to_the_edge_of_the_own_building():
    found = distances((10, 10, 30, 21))
    assert (found > 0).sum() == 20 * 11 and (found[10:21, 10:30] > 0).all()
    # The middle row's centres lie 5.5 px from the edges above and below.
    assert found[15, 20] == pytest.approx(5.5 * STEPS_PER_PX, abs=1)
    assert found[10, 20] == found[20, 20] == found[15, 10] == STEPS_PER_PX / 2


def test_touching_buildings_have_an_edge_between_them():
    apart, joined = distances((10, 10, 25, 30), (25, 10, 40, 30)), distances((10, 10, 40, 30))
    assert np.array_equal(apart > 0, joined > 0)
    assert (apart[11:29, 24:26] == STEPS_PER_PX / 2).all()
    assert (joined[20, 24:26] > 9 * STEPS_PER_PX).all()
    boundary, interior = label_maps(apart)[1:]
    assert boundary[20, 22:28].tolist() == [0, 1, 1, 1, 1, 0]
    assert interior[20, 17] == pytest.approx(7.5 / INTERIOR_PX)


def test_a_window_reads_what_the_whole_does():
    houses = [(5, 5, 30, 40), (30, 5, 33, 9), (50, 30, 79, 59)]
    window = Window(8, 20, 30, 35)
    whole = distances(*houses)
    assert np.array_equal(distances(*houses, window=window), whole[window.rows, window.cols])


def test_label_maps_of_nothing_are_zero():
    assert not label_maps(np.zeros((4, 5), np.uint8)).any()
    assert label_maps(np.full((4, 5), 255, np.uint8))[0].all()


def test_rescaled_distances_keep_buildings():
    steps = np.array([[0, 1, 40, 200]], np.uint8)
    assert rescale_distances(steps, 0.1).tolist() == [[0, 1, 4, 20]]
    assert rescale_distances(steps, 2.0).tolist() == [[0, 2, 80, 255]]


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_degraded_patches_stay_in_range_and_are_reproducible(bands):
    image = np.random.default_rng(0).random((bands, 48, 48), np.float32)
    changed = 0
    for seed in range(30):
        given = image.copy()
        result = degrade(given, np.random.default_rng(seed))
        assert result.dtype == np.float32 and result.shape == image.shape
        assert result.min() >= 0 and result.max() <= 1 and np.isfinite(result).all()
        assert np.array_equal(given, image), "the input is left alone"
        assert np.array_equal(result, degrade(image, np.random.default_rng(seed)))
        changed += not np.array_equal(result, image)
    assert changed > 15


def detail(image):
    return float(np.abs(np.diff(image, axis=-1)).mean())


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_each_degradation_does_what_it_is_called(bands):
    rng = np.random.default_rng(3)
    image = rng.uniform(0.3, 0.7, (bands, 64, 64)).astype(np.float32)
    assert detail(degradations.coarsen(image, rng)) < 0.8 * detail(image)
    assert detail(degradations.blur(image, rng)) < 0.9 * detail(image)
    assert detail(degradations.sharpen(image, rng)) > 1.1 * detail(image)
    assert degradations.flatten(image, rng).std() < 0.95 * image.std()
    assert degradations.haze(image, rng).std() < image.std()
    assert degradations.restretch(0.2 * image, rng).std() > 0.2 * image.std()
    assert len(np.unique(degradations.quantize(image, rng))) <= 64
    assert np.ptp(degradations.gray(image, rng), axis=0).max() == pytest.approx(0, abs=1e-6)
    compressed = degradations.jpeg(image, rng)
    assert compressed.shape == image.shape and 0 < np.abs(compressed - image).mean() < 0.2
    # A patch of distinct bands comes back in the same order.
    levels = np.linspace(0.1, 0.9, bands, dtype=np.float32)[:, None, None]
    flat = np.broadcast_to(levels, (bands, 32, 32))
    assert np.abs(degradations.jpeg(flat, rng) - flat).max() < 0.1


def test_the_loss_of_auxiliary_outputs_by_hand():
    logits = torch.zeros(1, 3, 1, 4)
    label = torch.zeros(1, 3, 1, 4)
    label[0, :, 0, 0] = 1
    label[0, 2, 0, 1] = 0.5
    weight = torch.tensor([1.0, 1, 1, 0]).reshape(1, 1, 1, 4)
    assert masked_bce(logits[:, 1:], label[:, 1:], weight).item() == pytest.approx(math.log(2))
    labelled = Batch(torch.zeros(1), label, weight)
    alone = masked_bce_dice(logits[:, :1], label[:, :1], weight)
    assert Objective(0.0).supervised(logits, labelled).item() == pytest.approx(alone.item())
    assert Objective(0.5).supervised(logits, labelled).item() == pytest.approx(
        alone.item() + 0.5 * math.log(2)
    )
    assert Objective(0.5).supervised(logits[:, :1], labelled).item() == pytest.approx(alone.item())
    hidden = logits.clone()
    hidden[..., 3] = 50.0
    assert masked_bce(hidden[:, 1:], label[:, 1:], weight).item() == pytest.approx(math.log(2))


def test_learning_rates_of_a_trapezoid():
    config = TrainSegmenterConfig(steps=10_000, lr=2.0, schedule="trapezoid")
    rates = [learning_rate(step, config) for step in (1, 100, 200, 5000, 6600, 8400, 10_000)]
    assert rates[:5] == pytest.approx([0.01, 1.0, 2.0, 2.0, 2.0])
    assert rates[5] == pytest.approx(2.0 * (1600 / 9800) / 0.33) and rates[6] == 0
    # Up to where it begins to fall, a longer training is the same.
    longer = dataclasses.replace(config, steps=20_000)
    assert all(learning_rate(s, longer) == learning_rate(s, config) for s in range(1, 6600, 100))


@pytest.fixture
def rasters(tmp_path, make_raster):
    """A raster with one house in its footprints, and one that they lie beside."""
    image = np.random.default_rng(0).integers(0, 255, (3, 96, 96), np.uint8)
    paths = []
    for name, east in (("town", 500000.0), ("desert", 900000.0)):
        origin = (east, 5200000)
        paths.append(make_raster(tmp_path / f"{name}.tif", image=image, origin=origin))
    box = shapely.box(500010, 5199970, 500025, 5199990)
    labels = tmp_path / "footprints.gpkg"
    gpd.GeoDataFrame(geometry=[box], crs="EPSG:32633").to_file(labels, layer="buildings")
    return paths


TINY = TrainSegmenterConfig(
    encoder=ENCODER, encoder_weights="none", gsd=0.5, steps=2, batch=2,
    patch=32, device="cpu", overwrite=True,
)  # fmt: skip


def test_rasters_without_a_building_are_negatives_only_if_that_is_said(rasters, tmp_path, listener):
    out = tmp_path / "out.safetensors"
    train_segmenter(rasters, out, run=tmp_path / "a", config=TINY, progress=listener)
    assert [text for text in listener.warnings if "desert.tif" in text]
    listener.warnings.clear()
    config = dataclasses.replace(TINY, negatives=True)
    card = train_segmenter(rasters, out, run=tmp_path / "b", config=config, progress=listener)
    assert not listener.warnings and card.training["negatives"]


def test_a_model_has_the_outputs_that_its_card_names(rasters, tmp_path):
    one, three, grown = (tmp_path / f"{name}.safetensors" for name in ("one", "three", "grown"))
    single = dataclasses.replace(TINY, auxiliary=0.0)
    assert train_segmenter(rasters[:1], one, config=single).outputs == ("building",)
    card = train_segmenter(rasters[:1], three, config=TINY)
    assert card.outputs == ("building", "boundary", "distance") and card.floor == TINY.floor
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shapes = [load_segmenter(path)[0](image).shape[1] for path in (one, three)]
    assert shapes == [1, 3]
    # A model of one output is continued with three; without a rate buildings stay as they were.
    config = dataclasses.replace(TINY, init_from=str(one), lr=0.0)
    train_segmenter(rasters[:1], grown, config=config)
    before, after = (load_segmenter(path, fold=False)[0] for path in (one, grown))
    head = "segmentation_head.0.weight"
    assert after.get_parameter(head).shape[0] == 3
    assert torch.equal(after.get_parameter(head)[:1], before.get_parameter(head))
    # All of them are segmented with.
    for path in (one, three, grown):
        segment(
            rasters[0],
            tmp_path / f"{path.stem}.gpkg",
            config=SegmentConfig(model=str(path), device="cpu", threshold=0.99),
        )
        assert (tmp_path / f"{path.stem}.gpkg").exists()
