"""SS(DA)² matches like land to like land, and its network changes little beyond that."""

import json

import numpy as np
import pytest
import rasterio
from conftest import synthesize

import geossda
from geossda.harmonization.ssda import LIMIT, Transfer
from geossda.models.style_arrays import ImageStyle, LevelMoments, PixelGaussian
from geossda.runtime.style_network import Settings, open_style_model

SIDE = 320


def town(forest, seed):
    """Roofs, and in a share of the image forest; 0..255."""
    rng = np.random.default_rng(seed)
    blocks = rng.random((SIDE // 8, SIDE // 8)) < forest
    trees = blocks.repeat(8, 0).repeat(8, 1)
    roofs = np.array([150, 120, 100])[:, None, None] + 25 * rng.normal(size=(1, SIDE, SIDE))
    green = np.array([50, 80, 40])[:, None, None] + 8 * rng.normal(size=(1, SIDE, SIDE))
    image = np.where(trees, green, roofs) + 3 * rng.normal(size=(3, SIDE, SIDE))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def in_other_light(image):
    gain = np.array([0.8, 0.9, 1.0])[:, None, None]
    return np.clip(np.rint(image * gain + 20), 0, 255).astype(np.uint8)


@pytest.fixture
def pair(make_raster, tmp_path):
    """A town, and a reference of more forest in other light."""
    source = make_raster(tmp_path / "town.tif", image=town(0.2, 0))
    return source, make_raster(tmp_path / "forest.tif", image=in_other_light(town(0.4, 1)))


def pixels(path):
    with rasterio.open(path) as dataset:
        return dataset.read().astype(float)


def harmonized(source, style, path, **settings):
    done = geossda.harmonize(source, path, style=style, scenes="none", overwrite=True, **settings)
    return pixels(done.outputs[0])


def test_like_land_is_nearer_to_the_truth_and_what_one_raster_gets(pair, tmp_path):
    source, reference = pair
    truth = in_other_light(town(0.2, 0)).astype(float)
    out = tmp_path / "o.tif"
    off = {
        match: np.abs(harmonized(source, reference, out, match=match) - truth).mean()
        for match in ("land", "whole", "auto")
    }
    assert off["land"] < 0.75 * off["whole"]
    assert off["auto"] == off["land"]


def test_several_sources_get_whole_images(pair, make_raster, tmp_path):
    source, reference = pair
    other = make_raster(tmp_path / "other.tif", image=town(0.5, 2))
    results = {}
    for match in ("auto", "whole", "land"):
        folder = tmp_path / match
        folder.mkdir()
        geossda.harmonize([source, other], folder, style=reference, scenes="none", match=match)
        results[match] = pixels(folder / "town.tif")
    assert np.array_equal(results["auto"], results["whole"])
    assert not np.array_equal(results["auto"], results["land"])


def test_a_style_without_a_sample_is_matched_whole_with_a_word(pair, tmp_path, listener):
    source, reference = pair
    style = tmp_path / "style.json"
    geossda.make_style(reference, style)
    entries = json.loads(style.read_text())
    del entries["sample"]
    style.write_text(json.dumps(entries))
    without = harmonized(source, style, tmp_path / "o.tif", progress=listener)
    assert any("no sample of pixels" in text for text in listener.warnings)
    whole = harmonized(source, style, tmp_path / "p.tif", match="whole")
    assert np.array_equal(without, whole)


def test_a_saved_style_matches_like_land_as_its_reference_does(pair, tmp_path):
    source, reference = pair
    style = tmp_path / "style.json"
    geossda.make_style(reference, style)
    one, other = (harmonized(source, each, tmp_path / "o.tif") for each in (reference, style))
    assert np.abs(one - other).max() <= 1


def test_the_network_changes_little_beyond_the_map_of_colors():
    model = open_style_model("default", Settings(precision="float32"))
    rng = np.random.default_rng(0)
    image = (synthesize(3, (128, 128), "uint8", 1) / 255).astype(np.float32)
    valid = np.ones((128, 128), bool)

    def style(factor):
        levels = tuple(
            LevelMoments(
                factor * rng.uniform(0.1, 1, count).astype(np.float32),
                factor * rng.uniform(0.1, 1, count).astype(np.float32),
            )
            for count in model.shape.level_channels
        )
        spread = np.eye(3, dtype=np.float32) * 0.04
        return ImageStyle(PixelGaussian(np.full(3, 0.5, np.float32), spread), (levels,))

    own, other = style(1), style(4)
    same = ImageStyle(other.pixels, own.groups)
    plain = Transfer(model, own, same, "full")(image, valid)
    free = Transfer(model, own, other, "full")(image, valid) - plain
    bound = Transfer(model, own, other, "full", LIMIT)(image, valid) - plain
    assert np.abs(free).max() > 2 * LIMIT * 0.2
    assert np.abs(bound).max() <= LIMIT * 0.2 * 1.001
    assert np.corrcoef(free.ravel(), bound.ravel())[0, 1] > 0.7


@pytest.mark.parametrize("value", [20, 90, 128, 200])
def test_an_image_of_one_color_gets_that_of_the_style(pair, make_raster, tmp_path, value):
    _, reference = pair
    flat = make_raster(tmp_path / "flat.tif", image=np.full((3, SIDE, SIDE), value, np.uint8))
    wanted = pixels(reference).mean((1, 2))
    for match in ("land", "whole"):
        result = harmonized(flat, reference, tmp_path / "o.tif", match=match)
        assert np.abs(result - wanted[:, None, None]).max() <= 10
    same = harmonized(flat, flat, tmp_path / "o.tif")
    assert np.abs(same - value).max() <= 1
