"""Calibration: probabilities that say how often they are right."""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from conftest import ENCODER, UTM, build_raster
from scipy.special import expit, logit

from geossda import SegmentConfig, TrainSegmenterConfig, segment, train_segmenter
from geossda.data.scaled_rasters import WorkingRaster
from geossda.evaluation import calibration as module
from geossda.evaluation.calibration import BIN_WIDTH, CENTERS, Reliability, calibration, held_out
from geossda.models.model_file import load, read_card, save
from geossda.models.segmenter import load_segmenter
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import scaling

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(temperature, count=200_000, seed=0):
    """Logits whose labels come true as often as logit / temperature says."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, count).astype(np.float32)
    labels = rng.random(count) < 1 / (1 + np.exp(-logits / temperature))
    return Reliability.of(logits, labels)


def test_counts_by_hand():
    found = Reliability.of(np.array([0, 0.02, 3, -99], np.float32), np.array([1, 0, 1, 0], bool))
    middle, three = (int(np.argmin(np.abs(CENTERS - value))) for value in (0, 3))
    assert found.every.sum() == 4 and found.every[middle] == 2 and found.every[0] == 1
    assert found.true[middle] == 1 and found.true[three] == 1 and found.true.sum() == 2
    assert BIN_WIDTH == pytest.approx(CENTERS[1] - CENTERS[0])
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


CPU = torch.device("cpu")


class Brightness(torch.nn.Module):
    """A network whose logits follow the first band, from -8 to 8."""

    def forward(self, image):
        return 16 * image[:, :1] - 8


def half_kept(tmp_path, hold_out=0.4):
    """A raster with holes, whose pixels are buildings as often as half the logit says."""
    raster = build_raster(tmp_path / "kept.tif", size=(200, 330), mask=True)
    mosaic = open_mosaic(raster)
    kept = WorkingRaster.prepare(mosaic, 0.5, scaling("bits", mosaic), hold_out=hold_out)
    logits = kept.in_memory[0] / 255 * 16 - 8
    kept.in_memory[-2] = np.random.default_rng(0).random(logits.shape) < 1 / (
        1 + np.exp(-logits / 2)
    )
    return kept, logits


def test_nothing_kept_back_is_nothing_to_calibrate_on(tmp_path):
    assert calibration([], CPU) is None
    assert calibration([half_kept(tmp_path, 0.0)[0]], CPU) is None


def test_valid_pixels_of_the_columns_kept_back_are_counted(tmp_path, monkeypatch):
    raster, logits = half_kept(tmp_path)
    kept = np.zeros(logits.shape, bool)
    kept[:, raster.width :] = raster.in_memory[-1, :, raster.width :] > 0
    assert raster.width == 198 and 0.9 < kept[:, 198:].mean() < 1
    wanted = Reliability.of(logits[kept], raster.in_memory[-2][kept] > 0)
    for side in (64, 512):
        monkeypatch.setattr(module, "WINDOW_PX", side)
        found = held_out(Brightness(), [raster], CPU)
        assert found.every.sum() == kept.sum() and found.true.sum() == wanted.true.sum()
        # Float32 puts some logits into the next bin.
        assert np.abs(np.cumsum(found.every - wanted.every)).max() < 0.03 * kept.sum()
    both = held_out(Brightness(), [raster, raster], CPU)
    assert np.array_equal(both.every, 2 * found.every)


def test_a_network_too_sure_of_itself_is_calibrated(tmp_path):
    raster, _ = half_kept(tmp_path)
    found = calibration([raster], CPU)(Brightness())
    assert found.temperature == pytest.approx(2, rel=0.05)
    told = found.metrics
    assert told["held_out_calibration_error"] > 0.05
    assert told["held_out_calibration_error_calibrated"] < 0.02
    counts = held_out(Brightness(), [raster], CPU).confusion()
    assert told["held_out_iou"] == round(counts.iou, 4) and 0.5 < counts.iou < 1


def test_a_cards_temperature_divides_the_logits_and_moves_no_building(tiny_model, tmp_path):
    tensors, card = load(tiny_model, type(load_segmenter(tiny_model)[1]))
    warm = tmp_path / "warm.safetensors"
    save(warm, tensors, dataclasses.replace(card, temperature=2.0))
    image = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain, cooled = (load_segmenter(m, fold=False)[0](image) for m in (tiny_model, warm))
    assert torch.allclose(plain / 2, cooled, atol=1e-4)
    # No larger than a window: where windows blend, probabilities are means of several, which
    # dividing logits does not commute with.
    raster = build_raster(tmp_path / "r.tif", size=(64, 64))
    read = []
    for model in (tiny_model, warm):
        names = [tmp_path / f"{model.stem}_{kind}.tif" for kind in ("p", "m")]
        segment(raster, tmp_path / f"{model.stem}.gpkg", probabilities=names[0], mask=names[1],
                config=SegmentConfig(model=str(model), device="cpu", precision="float32",
                                     threshold=0.5, regularize="none"))  # fmt: skip
        for name in names:
            with rasterio.open(name) as source:
                read.append(source.read(1))
                told = source.tags()["GEOSSDA_TEMPERATURE"]
                assert told == ("1" if model == tiny_model else "2")
    before, mask, after, same = read
    assert np.array_equal(mask, same) and 0.01 < mask.mean() < 0.99
    assert np.allclose(after, expit(logit(before) / 2), atol=0.002)


def test_training_with_a_part_kept_back_writes_the_temperature(tmp_path):
    raster = build_raster(tmp_path / "a.tif", size=(128, 200))
    box = shapely.box(500010, 5199950, 500090, 5199990)
    gpd.GeoDataFrame(geometry=[box], crs=UTM).to_file(tmp_path / "f.gpkg")
    config = TrainSegmenterConfig(
        encoder=ENCODER, encoder_weights="none", gsd=0.5, steps=3, batch=2,
        patch=64, device="cpu", hold_out=0.3,
    )  # fmt: skip
    card = train_segmenter(raster, tmp_path / "m.safetensors", config=config)
    assert read_card(tmp_path / "m.safetensors") == card
    assert card.temperature != 1 and 0 <= card.metrics["held_out_iou"] <= 1
    errors = [card.metrics[f"held_out_calibration_error{end}"] for end in ("", "_calibrated")]
    assert all(0 <= error <= 1 for error in errors)
    whole = train_segmenter(raster, tmp_path / "w.safetensors",
                            config=dataclasses.replace(config, hold_out=0.0))  # fmt: skip
    assert whole.temperature == 1 and not whole.metrics
