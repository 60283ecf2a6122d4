"""The resolution to predict at: the model's, or finer where the model is surer."""

from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest

from geossda import SegmentConfig, segment
from geossda.raster.mosaic import open_mosaic
from geossda.segmentation.prediction_gsd import choose_gsd

CARD = SimpleNamespace(
    gsd_m=0.4, patch_px=64, overlap_px=16, threshold=0.5, scaling="bits", low_percent=2.0,
    high_percent=98.0, floor=0.0,
)  # fmt: skip


class Brightness:
    """Bright pixels are buildings, dark ones are not, and gray ones may be."""

    card, side_by_side = CARD, False

    def __call__(self, images):
        """Return logits."""
        return (images.mean(axis=1, dtype=np.float32) - 127.5) / 25


class Contrast(Brightness):
    """Sure where neighbouring pixels are alike, so what is fine and sharp is unsure."""

    def __call__(self, images):
        """Return logits."""
        gray = images.mean(axis=1, dtype=np.float32)
        return 4 - np.abs(np.diff(gray, axis=2, append=gray[..., -1:])) / 40


def houses(path, make_raster, gsd):
    """Bright huts of 0.9 m on dark ground, as far apart; 3 px of 0.3 m, 2.25 px of 0.4 m."""
    side = round(72 / gsd)
    metres = (np.arange(side) + 0.5) * gsd
    lit = (metres % 1.8 < 0.9).astype(np.uint8)
    image = np.broadcast_to(30 + 200 * lit[:, None] * lit, (3, side, side)).astype(np.uint8)
    return make_raster(path, image=image, gsd=gsd)


def test_small_houses_are_predicted_finer(make_raster, tmp_path, listener):
    mosaic = open_mosaic(houses(tmp_path / "a.tif", make_raster, 0.1))
    assert choose_gsd(mosaic, Brightness(), SegmentConfig(), listener) == pytest.approx(0.3)
    assert any("predicted at 0.3 m" in note and "--gsd 0.4" in note for note in listener.notes)
    assert listener.stages[0] == "choosing the resolution"


def test_what_is_surer_at_the_models_own_distance_stays_there(make_raster, tmp_path, listener):
    mosaic = open_mosaic(houses(tmp_path / "a.tif", make_raster, 0.1))
    assert choose_gsd(mosaic, Contrast(), SegmentConfig(), listener) == 0.4
    assert not listener.notes


@pytest.mark.parametrize("own", [0.37, 0.4, 0.9])
def test_imagery_that_is_no_finer_is_not_tried(make_raster, tmp_path, listener, own):
    mosaic = open_mosaic(houses(tmp_path / "a.tif", make_raster, own))
    assert choose_gsd(mosaic, Brightness(), SegmentConfig(), listener) == 0.4
    assert not listener.stages


def test_never_finer_than_the_imagery(make_raster, tmp_path):
    mosaic = open_mosaic(houses(tmp_path / "a.tif", make_raster, 0.34))
    assert choose_gsd(mosaic, Brightness(), SegmentConfig()) == pytest.approx(0.34, rel=0.001)


def test_where_nothing_is_found_the_models_own_is_taken(make_raster, tmp_path):
    dark = make_raster(tmp_path / "a.tif", image=np.full((3, 400, 400), 9, np.uint8), gsd=0.1)
    assert choose_gsd(open_mosaic(dark), Brightness(), SegmentConfig()) == 0.4


def test_the_choice_is_that_of_the_option(make_raster, tmp_path, tiny_model, listener):
    raster = make_raster(tmp_path / "fine.tif", size=(420, 500), gsd=0.2)
    settings = {"model": str(tiny_model), "device": "cpu"}
    segment(raster, tmp_path / "chosen.gpkg", progress=listener, **settings)
    given = 0.375 if any("predicted at" in note for note in listener.notes) else 0.5
    segment(raster, tmp_path / "given.gpkg", gsd=given, **settings)
    frames = [gpd.read_file(tmp_path / f"{name}.gpkg", layer="buildings") for name in
              ("chosen", "given")]  # fmt: skip
    assert len(frames[0]) > 3
    assert frames[0].to_wkb().equals(frames[1].to_wkb())
