"""Calibration: probabilities that say how often they are right."""

import dataclasses

import numpy as np
import pytest
import rasterio
import torch
from conftest import build_raster

from geossda import SegmentConfig, segment
from geossda.evaluation.calibration import CENTRES, WIDTH, Reliability, calibration
from geossda.models.card import load, save
from geossda.models.segmenter import load_segmenter

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(temperature, count=200_000, seed=0):
    """Logits whose labels come true as often as logit / temperature says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, count).astype(np.float32)
    labels = rng.random(count) < 1 / (1 + np.exp(-logits / temperature))
    return Reliability.of(logits, labels)


def test_counts_by_hand():
    found = Reliability.of(np.array([0, 0.02, 3, -99], np.float32), np.array([1, 0, 1, 0], bool))
    middle, three = (int(np.argmin(np.abs(CENTRES - value))) for value in (0, 3))
    assert found.every.sum() == 4 and found.every[middle] == 2 and found.every[0] == 1
    assert found.true[middle] == 1 and found.true[three] == 1 and found.true.sum() == 2
    assert WIDTH == pytest.approx(CENTRES[1] - CENTRES[0])
    counts = found.confusion()
    assert (counts.hit, counts.false_alarm, counts.miss) == (2, 1, 0)


def test_error_by_hand():
    # Ten pixels of probability 1/2, two of them buildings; ten of next to 1, all of them.
    logits = np.array([0.0] * 10 + [16.0] * 10, np.float32)
    labels = np.array([1, 1] + [0] * 8 + [1] * 10, bool)
    assert Reliability.of(logits, labels).error() == pytest.approx((0.3 * 10 + 0) / 20, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_and_mends(temperature):
    found = drawn(temperature)
    assert found.temperature() == pytest.approx(temperature, rel=0.03)
    assert found.error(found.temperature()) < 0.01
    if temperature != 1:
        assert found.error() > 0.04


def test_one_class_alone_teaches_nothing():
    logits = np.linspace(-3, 3, 50, dtype=np.float32)
    for label in (True, False):
        assert Reliability.of(logits, np.full(50, label)).temperature() == 1


def test_counts_add_up_and_are_written_down():
    one, two = drawn(1, 500, 1), drawn(2, 700, 2)
    both = one + two + Reliability.none()
    assert both.every.sum() == 1200
    again = Reliability.from_lists(both.every.tolist(), both.true.tolist())
    assert again.temperature() == both.temperature() and again.error() == both.error()


def test_nothing_kept_back_is_nothing_to_calibrate_on():
    assert calibration([], torch.device("cpu")) is None


def test_a_cards_temperature_divides_the_logits_and_moves_no_building(tiny_model, tmp_path):
    tensors, card = load(tiny_model, type(load_segmenter(tiny_model)[1]))
    warm = tmp_path / "warm.safetensors"
    save(warm, tensors, dataclasses.replace(card, temperature=2.0))
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain, cooled = (load_segmenter(m, fold=False)[0](image) for m in (tiny_model, warm))
    assert torch.allclose(plain / 2, cooled, atol=1e-4)
    raster = build_raster(tmp_path / "r.tif")
    read = []
    for model in (tiny_model, warm):
        names = [tmp_path / f"{model.stem}_{kind}.tif" for kind in ("p", "m")]
        segment(raster, tmp_path / f"{model.stem}.gpkg", probabilities=names[0], mask=names[1],
                config=SegmentConfig(model=str(model), device="cpu", threshold=0.5))  # fmt: skip
        for name in names:
            with rasterio.open(name) as source:
                read.append(source.read(1))
    before, mask, after, same = read
    # Blended windows are means of probabilities, which a temperature does not commute with.
    assert (mask != same).mean() < 0.01
    assert np.abs(after - 0.5).mean() < 0.9 * np.abs(before - 0.5).mean()


def test_training_with_a_part_kept_back_writes_the_temperature(tmp_path):
    import geopandas as gpd
    import shapely
    from conftest import UTM

    from geossda import TrainSegmenterConfig, train_segmenter

    raster = build_raster(tmp_path / "a.tif", size=(128, 200))
    box = shapely.box(500010, 5199950, 500090, 5199990)
    gpd.GeoDataFrame(geometry=[box], crs=UTM).to_file(tmp_path / "f.gpkg")
    config = TrainSegmenterConfig(
        encoder="tu-mobilenetv3_small_050", encoder_weights="none", gsd=0.5, steps=3, batch=2,
        patch=64, device="cpu", hold_out=0.4,
    )  # fmt: skip
    card = train_segmenter(raster, tmp_path / "m.safetensors", config=config)
    assert card.temperature != 1 and 0 <= card.metrics["held_out_iou"] <= 1
    errors = [card.metrics[f"held_out_calibration_error{end}"] for end in ("", "_calibrated")]
    assert all(0 <= error <= 1 for error in errors)
    whole = train_segmenter(raster, tmp_path / "w.safetensors",
                            config=dataclasses.replace(config, hold_out=0.0))  # fmt: skip
    assert whole.temperature == 1 and not whole.metrics
