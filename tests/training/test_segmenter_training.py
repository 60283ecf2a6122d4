"""Training: losses by hand, samples that are what they say, runs that go on where they ended."""

import dataclasses
import json
import math
from importlib import resources

import geopandas as gpd
import numpy as np
import pytest
import segmentation_models_pytorch
import shapely
import torch
from affine import Affine
from conftest import ENCODER, UTM, ragged_border, synthesize
from safetensors.torch import load_file

from geossda import SegmentConfig, TrainSegmenterConfig, segment, train_segmenter
from geossda.data.augment import jitter_color, random_symmetry
from geossda.data.labels import find_footprints, rasterize, read_footprints
from geossda.data.patches import Patch, PatchSampler, random_patch
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import (
    BandError,
    Cancelled,
    EmptyRasterError,
    InputError,
    ModelError,
    OutputExistsError,
    TrainingError,
    VectorError,
)
from geossda.models.fuse_layers import Upconvolution, folded
from geossda.models.losses import masked_bce_dice
from geossda.models.model_file import read_card
from geossda.models.segmenter import load_segmenter
from geossda.raster.grid import Grid
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import scaling
from geossda.raster.shapes import Shapes
from geossda.raster.windows import Window, tiles
from geossda.training import segmenter_loop as loop
from geossda.training.segmenter_loop import learning_rate, train

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (180, 220)


def boxes():
    """Twelve buildings in pixels of the test raster: (left, top, right, bottom)."""
    return [(x, y, x + 22, y + 16 + x // 20) for x in (12, 68, 120, 178) for y in (14, 78, 140)]


def draw_town(seed=0):
    """Dark ground with grain, and a roof of 200 in every box."""
    ground = (synthesize(3, SIZE, "uint8", seed) // 4 + 20).astype(np.uint8)
    for left, top, right, bottom in boxes():
        ground[:, top:bottom, left:right] = 200
    return ground


@pytest.fixture
def village(tmp_path, make_raster):
    """A raster of 0.5 m with its footprints beside it, in another CRS."""
    folder = tmp_path / "village"
    folder.mkdir()
    raster = make_raster(folder / "village.tif", image=draw_town())
    shapes = [shapely.box(500000 + a / 2, 5200000 - d / 2, 500000 + c / 2, 5200000 - b / 2)
              for a, b, c, d in boxes()]  # fmt: skip
    frame = gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_crs(4326)
    frame.to_file(folder / "footprints.gpkg", layer="buildings")
    return raster, folder / "footprints.gpkg"


def labelled(village, gsd=0.5, percent=(0.0, 100.0)):
    raster, footprints = village
    mosaic = open_mosaic(raster)
    shapes = read_footprints(footprints, mosaic.grid.crs.to_wkt())
    return WorkingRaster.prepare(mosaic, gsd, scaling("percentile", mosaic, percent), shapes=shapes)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_patches_of_many_bands_are_resized(make_raster, tmp_path, scale):
    mosaic = open_mosaic(make_raster(tmp_path / "a.tif", bands=7, size=SIZE))
    raster = WorkingRaster.prepare(mosaic, 0.5, scaling("percentile", mosaic))
    patch = random_patch(raster, 64, np.random.default_rng(0), (scale, scale))
    assert patch.shape == (9, 64, 64) and patch[:7].std(axis=(1, 2)).min() > 5


# Losses


def batch(*values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def test_loss_by_hand():
    # Probabilities 1/2 everywhere, one of four pixels a building.
    loss = masked_bce_dice(batch(0, 0, 0, 0), batch(1, 0, 0, 0), batch(1, 1, 1, 1))
    dice = 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    assert loss.item() == pytest.approx((math.log(2) + dice) / 2)
    # Probabilities 0.8 on the building, 0.1 beside it.
    logit = [math.log(p / (1 - p)) for p in (0.8, 0.1)]
    loss = masked_bce_dice(batch(*logit), batch(1, 0), batch(1, 1))
    entropy = -(math.log(0.8) + math.log(0.9)) / 2
    dice = 1 - (2 * 0.8 + 1) / (0.9 + 1 + 1)
    assert loss.item() == pytest.approx((entropy + dice) / 2, rel=1e-5)


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much():
    target = batch(1, 0, 1, 0)
    right, wrong = 40 * (target - 0.5), 40 * (0.5 - target)
    weight = torch.ones_like(target)
    assert masked_bce_dice(right, target, weight).item() == pytest.approx(0, abs=1e-5)
    assert masked_bce_dice(wrong, target, weight).item() > 10


def test_masked_pixels_have_no_influence():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    target = (torch.rand(2, 1, 8, 8) > 0.5).float()
    weight = (torch.rand(2, 1, 8, 8) > 0.3).float()
    loss = masked_bce_dice(logits, target, weight)
    loss.backward()
    assert not logits.grad[weight == 0].any()
    assert logits.grad[weight == 1].all()
    other = torch.where(weight == 0, torch.full_like(logits, 30.0), logits)
    flipped = torch.where(weight == 0, 1 - target, target)
    assert masked_bce_dice(other, flipped, weight).item() == loss.item()
    kept = [x[weight == 1].reshape(1, 1, 1, -1) for x in (logits, target, weight)]
    assert masked_bce_dice(*kept).item() == pytest.approx(loss.item(), rel=1e-5)


def test_a_batch_without_labels_costs_nothing_to_learn_from():
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    loss = masked_bce_dice(logits, torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert math.isfinite(loss.item()) and not logits.grad.any()


# Labels


def test_footprints_come_in_the_rasters_crs(village):
    shapes = read_footprints(village[1], UTM)
    assert shapes.crs.to_epsg() == 32633 and len(shapes) == 12
    assert shapely.area(shapes.geometry).sum() == pytest.approx(
        sum((c - a) * (d - b) for a, b, c, d in boxes()) / 4, rel=1e-6
    )
    assert read_footprints(village[1], None).crs.to_epsg() == 4326


@pytest.mark.parametrize("suffix", [".geojson", ".fgb", ".shp", ".parquet"])
def test_footprints_of_any_format(village, tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="an optional package")
    frame = gpd.read_file(village[1])
    path = tmp_path / f"again{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_file(path)
    given, again = (
        sorted(shapely.normalize(shapely.set_precision(shape, 0.01)).wkt for shape in shapes)
        for shapes in (read_footprints(village[1], UTM), read_footprints(path, UTM))
    )
    assert given == again


def test_a_damaged_geoparquet_is_said(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(VectorError, match="not a vector file that can be read"):
        read_footprints(tmp_path / "a.parquet", UTM)


def test_the_layer_of_buildings_is_read_parts_apart_and_the_rest_left(tmp_path):
    path = tmp_path / "many.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=UTM).to_file(path, layer="a_points")
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    parts = shapely.MultiPolygon([shapely.box(5, 5, 6, 6), shapely.box(8, 8, 9, 9)])
    frame = gpd.GeoDataFrame(geometry=[bow_tie, parts, None], crs=UTM)
    frame.to_file(path, layer="buildings")
    shapes = read_footprints(path, UTM)
    assert len(shapes) == 4 and shapely.is_valid(shapes.geometry).all()
    assert shapely.area(shapes.geometry).tolist() == pytest.approx([1, 1, 1, 1])


def test_footprints_beside_the_raster_are_found_if_there_is_one_file(village, tmp_path):
    raster, footprints = village
    assert find_footprints(str(raster)) == footprints
    (raster.parent / "more.geojson").write_text("{}")
    with pytest.raises(VectorError, match=r"2 vector files.*--footprints"):
        find_footprints(str(raster))
    with pytest.raises(VectorError, match="no vector file"):
        find_footprints(str(tmp_path / "x.tif"))


def test_rasterized_windows_are_the_whole(village):
    mosaic = open_mosaic(village[0])
    shapes = read_footprints(village[1], mosaic.grid.crs.to_wkt())
    whole = rasterize(shapes, mosaic.grid, Window(0, 0, *SIZE))
    assert np.array_equal(whole == 1, (draw_town()[0] == 200))
    for window in tiles(SIZE, 50):
        part = rasterize(shapes, mosaic.grid, window)
        assert np.array_equal(part, whole[window.rows, window.cols])


def test_rasterizing_on_a_rotated_grid():
    transform = Affine.translation(100, 100) * Affine.rotation(30) * Affine.scale(1, -1)
    grid = Grid((40, 40), transform, UTM)
    shape = shapely.Polygon([transform * xy for xy in ((10, 5), (20, 5), (20, 12), (10, 12))])
    burnt = rasterize(Shapes([shape], UTM), grid, Window(0, 0, 40, 40))
    expected = np.zeros((40, 40), np.uint8)
    expected[5:12, 10:20] = 1
    assert np.array_equal(burnt, expected)


# Samples


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_samples_are_a_function_of_seed_step_and_place(village):
    raster = labelled(village)
    sampler, again = PatchSampler([raster], 64, 7), PatchSampler([labelled(village)], 64, 7)
    drawn = {(s, p): sampler.draw(s, p) for s in range(3) for p in range(2)}
    for (step, place), patch in reversed(drawn.items()):
        assert same(patch, again.draw(step, place)), "in any order"
        assert patch.image.shape == (3, 64, 64) and patch.image.dtype == np.float32
        assert patch.label.shape == (3, 64, 64) and patch.weight.shape == (1, 64, 64)
        assert patch.image.min() >= 0 and patch.image.max() <= 1
        assert set(np.unique(patch.label[:2])) <= {0, 1}
    others = [drawn[0, 1], drawn[1, 0], PatchSampler([raster], 64, 8).draw(0, 0)]
    assert not any(same(drawn[0, 0], other) for other in others)


@pytest.mark.parametrize("gsd", [0.5, 0.35, 0.8])
def test_labels_lie_on_their_buildings(village, gsd):
    """A roof is bright, so a threshold on the image must give the label back."""
    sampler = PatchSampler([labelled(village, gsd)], 96, 1)
    agreements = []
    for step in range(12):
        patch = sampler.draw(step, 0)
        label, gray = patch.label[0] == 1, patch.image.mean(axis=0)
        if not 0.02 < label.mean() < 0.98:
            continue
        bright = gray > (gray[label].mean() + gray[~label].mean()) / 2
        agreements.append((bright & label).sum() / (bright | label).sum())
    assert len(agreements) >= 8
    # At 0.8 m a building has 14 pixels in a row, two of which are half ground.
    assert np.median(agreements) > 0.85 and min(agreements) > 0.7


def test_nodata_has_no_weight(tmp_path, make_raster, village):
    path = make_raster(tmp_path / "holes.tif", image=draw_town(), mask=True)
    raster = labelled((path, village[1]))
    assert np.array_equal(raster.in_memory[-1] == 1, ragged_border(SIZE))
    sampler = PatchSampler([raster], 64, 0)
    patches = [sampler.draw(step, 0) for step in range(10)]
    assert any((patch.weight == 0).any() for patch in patches)
    for patch in patches:
        assert patch.weight.mean() > 0.25
        assert not patch.image[:, patch.weight[0] == 0].any()


def test_a_raster_smaller_than_a_patch_is_padded(tmp_path, make_raster, village):
    path = make_raster(tmp_path / "small.tif", image=draw_town()[:, :60, :70])
    patch = PatchSampler([labelled((path, village[1]))], 96, 0, scale=(1, 1)).draw(0, 0)
    assert patch.image.shape == (3, 96, 96)
    assert patch.weight.sum() == 60 * 70


def test_a_raster_of_nodata_is_given_up(tmp_path, make_raster, village):
    valid = np.zeros(SIZE, bool)
    valid[:5, :5] = True
    path = make_raster(tmp_path / "empty.tif", image=draw_town(), mask=True, valid=valid)
    with pytest.raises(EmptyRasterError, match="mostly nodata"):
        PatchSampler([labelled((path, village[1]))], 64, 0).draw(0, 0)


def test_large_rasters_are_seen_more_by_the_root_of_their_area(village, tmp_path, make_raster):
    small = make_raster(tmp_path / "small.tif", image=draw_town()[:, :90, :55])
    rasters = [labelled(village), labelled((small, village[1]))]
    sampler = PatchSampler(rasters, 32, 0)
    assert sampler._probabilities.tolist() == pytest.approx([np.sqrt(8) / (1 + np.sqrt(8)),
                                                      1 / (1 + np.sqrt(8))])  # fmt: skip
    with pytest.raises(EmptyRasterError):
        PatchSampler([], 32, 0)


def test_reading_from_disk_is_reading_from_memory(village):
    raster = labelled(village)
    window = Window(30, 41, 77, 90)
    held = raster.read(window)
    raster.in_memory = None
    assert np.array_equal(raster.read(window), held)
    assert held.shape == (5, 77, 90) and held.dtype == np.uint8


def test_turns_are_the_squares_symmetries():
    patch = np.arange(2 * 5 * 5).reshape(2, 5, 5)
    rng = np.random.default_rng(0)
    seen = {random_symmetry(patch, rng).tobytes() for _ in range(200)}
    assert len(seen) == 8
    expected = set()
    for times in range(4):
        turned = np.rot90(patch, times, axes=(1, 2))
        expected |= {turned.tobytes(), np.ascontiguousarray(turned[:, :, ::-1]).tobytes()}
    assert seen == expected


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_jitter_stays_in_range_and_changes_the_image(bands):
    image = np.random.default_rng(0).random((bands, 16, 16), np.float32)
    for seed in range(20):
        given = image.copy()
        result = jitter_color(given, np.random.default_rng(seed))
        assert result.dtype == np.float32 and result.shape == image.shape
        assert result.min() >= 0 and result.max() <= 1
        assert np.array_equal(given, image), "the input is left alone"
        assert not np.array_equal(result, image)


# The loop

TINY = TrainSegmenterConfig(
    encoder=ENCODER, encoder_weights="none", gsd=0.5, steps=6, batch=2,
    patch=32, lr=2e-3, seed=3, checkpoint=3, device="cpu", name="village", data="made up",
    licence="MIT", attribution="nobody",
)  # fmt: skip


@pytest.fixture
def draw(village):
    return PatchSampler([labelled(village)], TINY.patch, TINY.seed).draw


@pytest.fixture
def logged_often(monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 2)


def stats(run):
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("checkpoint", "killed_after"), [(3, 3), (2, 3), (4, 3)])
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path, draw, interrupter, listener, logged_often, checkpoint, killed_after
):
    config = dataclasses.replace(TINY, checkpoint=checkpoint)
    whole = train(draw, 3, tmp_path / "whole.safetensors", tmp_path / "whole", config)
    run, out = tmp_path / "run", tmp_path / "out.safetensors"
    stop = interrupter("training", killed_after + 1, Cancelled("stop"))
    with pytest.raises(Cancelled):
        train(draw, 3, out, run, config, progress=stop)
    assert not out.exists()
    resumed = train(draw, 3, out, run, config, progress=listener)
    kept = killed_after // checkpoint * checkpoint
    if kept:
        assert any(f"resuming at step {kept} " in text for text in listener.notes)
    assert listener.steps == config.steps
    assert resumed.sha256 == whole.sha256
    one, other = load_file(tmp_path / "whole.safetensors"), load_file(out)
    assert one.keys() == other.keys() and len(one) > 100
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert stats(run) == stats(tmp_path / "whole")
    assert [line["step"] for line in stats(run)] == [2, 4, 6]


def test_training_learns(tmp_path, draw, logged_often):
    config = dataclasses.replace(TINY, steps=24, checkpoint=24)
    train(draw, 3, tmp_path / "out.safetensors", tmp_path / "run", config)
    losses = [line["loss"] for line in stats(tmp_path / "run")]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_the_weights_that_are_written_are_the_average_and_load_again(tmp_path, draw):
    out, run = tmp_path / "out.safetensors", tmp_path / "run"
    card = train(draw, 3, out, run, TINY, sources=("village.tif",))
    assert read_card(out) == card
    network, loaded = load_segmenter(out, fold=False)
    assert loaded == card and not network.training
    average = torch.load(run / "last.pt", weights_only=True)["average"]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, average[name].half().float().to(tensor.dtype)), name
    assert (card.architecture, card.encoder) == ("unet", ENCODER)
    assert (card.name, card.gsd_m, card.licence) == ("village", 0.5, "MIT")
    assert card.bands == ("red", "green", "blue")
    assert card.training["steps"] == 6 and card.training["seed"] == 3
    assert json.loads((run / "config.json").read_text())["sources"] == ["village.tif"]
    assert str(tmp_path) not in json.dumps(dataclasses.asdict(card))


def test_folding_the_norms_changes_no_probability(tmp_path, draw):
    out = tmp_path / "out.safetensors"
    train(draw, 3, out, tmp_path / "run", TINY)
    trained, made = load_segmenter(out, fold=False)[0], load_segmenter(out)[0]
    norms = [sum(isinstance(m, torch.nn.BatchNorm2d) for m in n.modules()) for n in (trained, made)]
    assert norms[0] > 20 and norms[1] == 0
    image = torch.rand((2, 3, 96, 96), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(torch.sigmoid(trained(image)), torch.sigmoid(made(image)), atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "options", "transposed"),
    [
        ("unet", {}, 5),
        ("unet", {"decoder_use_norm": False}, 5),
        ("unet", {"decoder_attention_type": "scse"}, 0),
        ("unet", {"decoder_interpolation": "bilinear"}, 0),
        ("unetplusplus", {}, 0),
        ("fpn", {}, 0),
    ],
)
def test_what_doubles_and_convolves_becomes_one_layer(architecture, options, transposed):
    """With norms that do something, so that a mistake in their order is seen."""
    draw = torch.Generator().manual_seed(2)
    network = segmentation_models_pytorch.create_model(
        architecture, "tu-mobilenetv3_small_050", encoder_weights=None, in_channels=4, **options
    ).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=draw)
            module.running_var.uniform_(0.5, 2, generator=draw)
    made = folded(network, 4)
    assert sum(isinstance(module, Upconvolution) for module in made.modules()) == transposed
    image = torch.rand((2, 4, 96, 160), generator=draw)
    with torch.inference_mode():
        expected, found = network(image), made(image)
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_other_settings_are_refused_and_unrelated_ones_are_not(tmp_path, draw):
    run, out = tmp_path / "run", tmp_path / "out.safetensors"
    train(draw, 3, out, run, TINY)
    with pytest.raises(TrainingError, match=r"begun with lr=0.002, now lr=0.1.*--run"):
        train(draw, 3, out, run, dataclasses.replace(TINY, lr=0.1))
    unrelated = dataclasses.replace(TINY, checkpoint=5, overwrite=True)
    before = read_card(out)
    assert train(draw, 3, out, run, unrelated) == before, "finished already: written again"


def test_a_loss_that_is_not_finite_stops_with_the_step(tmp_path, draw):
    def poisoned(step, place):
        patch = draw(step, place)
        return Patch(patch.image * (np.nan if step == 4 else 1), patch.label, patch.weight)

    out, run = tmp_path / "out.safetensors", tmp_path / "run"
    with pytest.raises(TrainingError, match=r"the loss is nan at step 5: lower --lr"):
        train(poisoned, 3, out, run, TINY)
    assert not out.exists()
    checkpoint = torch.load(run / "last.pt", weights_only=True)
    assert checkpoint["step"] == 3
    assert all(torch.isfinite(x).all() for x in checkpoint["network"].values())


def test_a_failing_reader_is_heard(tmp_path, draw):
    def broken(step, place):
        if step == 3:
            raise EmptyRasterError("mostly nodata")
        return draw(step, place)

    with pytest.raises(EmptyRasterError):
        train(broken, 3, tmp_path / "out.safetensors", tmp_path / "run", TINY)


def test_patch_must_be_a_multiple_of_32(tmp_path, draw):
    with pytest.raises(InputError, match="multiple of 32"):
        train(draw, 3, tmp_path / "o.safetensors", tmp_path / "run",
              dataclasses.replace(TINY, patch=50))  # fmt: skip


def test_learning_rate_rises_then_falls_to_nothing():
    config = dataclasses.replace(TINY, steps=200, lr=1e-3)
    rates = np.array([learning_rate(step, config) for step in range(1, 201)])
    assert rates[0] == pytest.approx(1e-4) and rates[9] == pytest.approx(1e-3)
    assert (np.diff(rates[:10]) > 0).all() and (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.onnx
def test_the_verb_trains_on_files_and_the_model_segments(village, tmp_path, listener, make_raster):
    raster, footprints = village
    bare = make_raster(tmp_path / "bare.tif", origin=(600000, 5200000))
    out = tmp_path / "out.safetensors"
    card = train_segmenter(
        [raster, bare], out, footprints=[footprints], run=tmp_path / "run", config=TINY,
        progress=listener,
    )  # fmt: skip
    assert any("bare.tif holds no footprint" in text for text in listener.warnings)
    assert listener.stages[-2:] == ["training", "writing out.onnx"]
    assert read_card(out.with_suffix(".onnx")) == card
    by_itself = train_segmenter([raster], tmp_path / "again.safetensors", config=TINY)
    assert (tmp_path / "again_run" / "last.pt").exists()
    assert by_itself.bands == card.bands
    result = segment(raster, tmp_path / "out.gpkg",
                     config=SegmentConfig(model=str(out), device="cpu", threshold=0.3,
                                          regularize="none"))  # fmt: skip
    assert result.output.exists()
    with pytest.raises(OutputExistsError):
        train_segmenter([raster], out, config=TINY)


def test_only_what_lies_in_the_area_is_learned_from(village, tmp_path, listener, make_raster):
    raster, footprints = village
    mosaic = open_mosaic(raster)
    shapes = read_footprints(footprints, mosaic.grid.crs.to_wkt())
    # Two corners: an upper left of 100 x 90 pixels without its own upper left, and a lower right.
    corner = shapely.Polygon(
        [(500000 + x / 2, 5200000 - y / 2) for x, y in ((0, 90), (100, 90), (100, 0), (50, 0))]
    )
    other = shapely.box(500075, 5199910, 500200, 5199935)
    area = tmp_path / "area.gpkg"
    gpd.GeoDataFrame(geometry=[corner, other], crs=UTM).to_crs(4326).to_file(area)
    one = WorkingRaster.prepare(
        mosaic, 0.5, scaling("percentile", mosaic), shapes=shapes,
        area=Shapes([corner], UTM).to_crs(shapes.crs),
    )  # fmt: skip
    assert one.mosaic.shape == (90, 100)
    inside = rasterize(Shapes([corner], UTM), one.mosaic.grid, Window(0, 0, 90, 100))
    assert np.array_equal(one.in_memory[-1] > 0, inside > 0) and 0.7 < inside.mean() < 0.8
    assert np.array_equal(one.in_memory[-2], labelled(village).in_memory[-2][:90, :100])
    drawn = []

    def spy(draw, *arguments, **named):
        drawn.extend(draw(1, place) for place in range(20))
        return train(draw, *arguments, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("geossda.api.train_segmenter.train", spy)
        card = train_segmenter(
            [raster, make_raster(tmp_path / "far.tif", origin=(600000, 5200000))],
            tmp_path / "o.safetensors", footprints=[footprints], area=area, config=TINY,
            progress=listener,
        )  # fmt: skip
    assert card.training["steps"] == TINY.steps
    assert any("far.tif holds no polygon of" in text for text in listener.warnings)
    # The lower right is seen too, and nothing that lies in neither.
    assert any(patch.weight.all() for patch in drawn)
    elsewhere = tmp_path / "elsewhere.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=UTM).to_file(elsewhere)
    with pytest.raises(EmptyRasterError, match="no labelled raster"):
        train_segmenter(
            raster, tmp_path / "p.safetensors", footprints=[footprints], area=elsewhere,
            config=TINY, progress=listener,
        )  # fmt: skip
    assert any("elsewhere.gpkg: left out" in text for text in listener.warnings)


def test_an_area_without_houses_is_learned_from(village, tmp_path, listener):
    raster, footprints = village
    shapes = read_footprints(footprints, UTM)
    area, nearby = tmp_path / "area.gpkg", tmp_path / "nearby.gpkg"
    gpd.GeoDataFrame(geometry=[open_mosaic(raster).grid.extent], crs=UTM).to_file(area)
    shapes.to_geopandas().translate(5000).to_file(nearby)
    out = tmp_path / "out.safetensors"
    train_segmenter(raster, out, footprints=[nearby], area=area, config=TINY, progress=listener)
    assert not listener.warnings and out.exists()


def test_a_run_is_not_gone_on_with_when_labels_changed(village, tmp_path):
    raster, footprints = village
    run, out = tmp_path / "run", tmp_path / "out.safetensors"
    again = dataclasses.replace(TINY, overwrite=True)
    train_segmenter(raster, out, footprints=[footprints], run=run, config=TINY)
    frame = gpd.read_file(footprints)
    frame.iloc[1:].to_file(footprints, layer="buildings")
    with pytest.raises(TrainingError, match=r"begun with labels='.*--run"):
        train_segmenter(raster, out, footprints=[footprints], run=run, config=again)
    frame.to_file(footprints, layer="buildings")
    train_segmenter(raster, out, footprints=[footprints], run=run, config=again)
    area = tmp_path / "area.gpkg"
    gpd.GeoDataFrame(geometry=[open_mosaic(raster).grid.extent], crs=UTM).to_file(area)
    with pytest.raises(TrainingError, match=r"begun with labels='.*--run"):
        train_segmenter(raster, out, footprints=[footprints], area=area, run=run, config=again)


def test_training_goes_on_from_a_model(village, tmp_path, make_raster):
    raster, _ = village
    first, out = tmp_path / "first.safetensors", tmp_path / "out.safetensors"
    train_segmenter([raster], first, config=TINY)
    # Without a rate nothing is learned: what comes out is what went in.
    on = TrainSegmenterConfig(
        init_from=str(first),
        gsd=0.5,
        steps=2,
        batch=2,
        patch=32,
        lr=0.0,
        device="cpu",
        adapt="ssda",
    )
    card = train_segmenter([raster], out, targets=[raster], config=on)
    assert (card.architecture, card.encoder) == (TINY.architecture, TINY.encoder)
    assert (card.licence, card.attribution, card.data) == ("MIT", "nobody", "made up")
    assert str(tmp_path) not in json.dumps(dataclasses.asdict(card))
    assert card.training["init_from"] == f"village {read_card(first).sha256[:12]}"
    one, other = load_segmenter(first, fold=False)[0], load_segmenter(out, fold=False)[0]
    parameters = dict(other.named_parameters())
    assert all(torch.equal(value, parameters[name]) for name, value in one.named_parameters())
    # With one, it sets out from there.
    config = dataclasses.replace(on, lr=1e-4, adapt="none", licence="CC0-1.0", overwrite=True)
    card = train_segmenter([raster], out, run=tmp_path / "on", config=config)
    assert card.licence == "CC0-1.0"
    moved = [
        (value - other).abs().mean() / value.abs().mean().clamp(min=1e-6)
        for value, other in zip(
            one.parameters(), load_segmenter(out, fold=False)[0].parameters(), strict=True
        )
        if value.ndim == 4
    ]
    assert 0 < max(moved) < 0.05


def test_a_model_to_go_on_from_must_fit(village, tmp_path, make_raster):
    raster, footprints = village
    out = tmp_path / "out.safetensors"
    style = str(resources.files("geossda") / "weights" / "style.safetensors")
    with pytest.raises(ModelError, match="a style model, a segmenter model was expected"):
        train_segmenter([raster], out, config=dataclasses.replace(TINY, init_from=style))
    with pytest.raises(ModelError, match="unknown model"):
        train_segmenter([raster], out, config=dataclasses.replace(TINY, init_from="no.safetensors"))
    other = make_raster(tmp_path / "four.tif", bands=4)
    with pytest.raises(BandError, match="takes 3 bands, the rasters have 4"):
        train_segmenter(
            [other], out, footprints=[footprints],
            config=dataclasses.replace(TINY, init_from="default", adapt="none"),
        )  # fmt: skip
    assert not list(tmp_path.glob("out*.safetensors"))


def test_rasters_and_footprints_must_fit(village, tmp_path, make_raster):
    raster, footprints = village
    other = make_raster(raster.parent / "other.tif", bands=4)
    out = tmp_path / "out.safetensors"
    with pytest.raises(VectorError, match="3 footprint files for 2 rasters"):
        train_segmenter([raster, other], out, footprints=[footprints] * 3, config=TINY)
    with pytest.raises(BandError, match=r"has 4 bands, .* has 3"):
        train_segmenter([raster, other], out, footprints=[footprints], config=TINY)
    assert not list(tmp_path.glob("out*"))
