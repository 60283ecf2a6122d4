"""Style models run by OpenVINO and by PyTorch: the same statistics, the same images."""

import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
import rasterio
import torch
from conftest import synthesize
from onnx import helper, numpy_helper
from test_segmenter_network import run_without_torch

import geossda
from geossda.errors import ModelError
from geossda.harmonization.style_features import Patches, measure_features
from geossda.models.card import StyleCard
from geossda.models.model_file import load, read_card, resolve, save
from geossda.models.onnx_export import export
from geossda.models.onnx_file import GENERATOR_KEY, GRAPH_KEY
from geossda.models.presets import build_generator
from geossda.models.style_arrays import ImageStyle, PixelGaussian, transport, unpacked
from geossda.models.style_statistics import Gaussian
from geossda.models.style_statistics import transport as transport_of_tensors
from geossda.runtime.openvino_graph import OpenvinoGraph
from geossda.runtime.style_network import Settings, open_style_model

pytestmark = pytest.mark.usefixtures("one_thread")


def both(path):
    return [open_style_model(path, Settings("cpu", name, "float32"))
            for name in ("openvino", "torch")]  # fmt: skip


def images(count, bands, seed, side=64):
    made = [synthesize(bands, (side, side), "uint8", seed + k) for k in range(count)]
    return np.stack(made).astype(np.float32) / 255


def check_alike(models, bands):
    patches, valid = images(3, bands, 1), np.ones((3, 64, 64), bool)
    valid[0, 20:, :30] = False
    own, theirs = (model.measure(patches, valid) for model in models)
    for mine, other in zip(own.pixels, theirs.pixels, strict=True):
        assert np.array_equal(mine, other)
    for mine, other in zip(own.groups, theirs.groups, strict=True):
        for one, two in zip(mine, other, strict=True):
            assert np.allclose(one.mean, two.mean, atol=1e-5)
            assert np.allclose(one.std, two.std, atol=1e-5)
    style = models[0].measure(images(2, bands, 7) ** 2)
    window = images(1, bands, 1, side=96)
    made, wanted = (model.translate(window, own, style, window[:, 0] > 0) for model in models)
    assert np.abs(made - wanted).max() < 1e-4 and np.abs(made - window).mean() > 0.005
    again = models[0].translate(window, own, own)
    assert models[0].card.preset == "paper" or np.allclose(again, window, atol=1e-5)


@pytest.mark.parametrize("bands", [3, 5])
def test_openvino_gives_what_torch_gives(bands):
    check_alike(both("default"), bands)


@pytest.mark.parametrize(("preset", "adain"), [("geossda", "deepest"), ("paper", "deepest")])
def test_other_generators_too(tmp_path, preset, adain):
    torch.manual_seed(0)
    network = build_generator(preset, 3, adain)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    path = tmp_path / "m.safetensors"
    save(path, network.state_dict(), StyleCard("m", "0", preset, adain=adain))
    export(path, path.with_suffix(".onnx"))
    check_alike(both(path), 3)


def test_the_files_of_the_bundled_style_model_are_a_pair():
    weights = resolve("default", StyleCard)
    graph = weights.with_suffix(".onnx")
    assert read_card(graph) == read_card(weights)
    held = {each.name: numpy_helper.to_array(each) for each in onnx.load(graph).graph.initializer}
    tensors, _ = load(weights, StyleCard)
    assert len(tensors) > 10
    for name, tensor in tensors.items():
        assert held[name].dtype == np.float16 and np.array_equal(held[name], tensor.numpy()), name
    bundled = weights.parent.glob("*.[os][na]*")
    assert sum(path.stat().st_size for path in bundled) < 60e6


def test_transport_of_arrays_is_that_of_tensors():
    roots = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    covariances = [root @ root.T + np.eye(4, dtype=np.float32) for root in roots]
    zero = np.zeros(4, np.float32)
    mine = transport(*(PixelGaussian(zero, each) for each in covariances))
    given = [Gaussian(torch.zeros(1, 4), torch.from_numpy(each)[None]) for each in covariances]
    assert np.allclose(mine, transport_of_tensors(*given)[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("numbers", ["", "0 0 1", "8 40 16 32 48", "7 35 16 32 48 64", "8 40 x"])
def test_a_generator_that_is_not_the_graphs_is_one_line(tmp_path, numbers):
    path = tmp_path / "m.onnx"
    shutil.copy(resolve("default", StyleCard).with_suffix(".onnx"), path)
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**entries, GENERATOR_KEY: numbers})
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="card that does not fit its graph") as error:
        open_style_model(path, Settings("cpu"))
    assert "\n" not in str(error.value)
    assert hashlib.sha256(model.graph.SerializeToString()).hexdigest() == entries[GRAPH_KEY]
    assert json.loads(entries["geossda"])["kind"] == "style"


@pytest.mark.parametrize("structure", ["lock", "full"])
def test_harmonize_runs_without_torch_and_is_the_same(make_raster, tmp_path, structure):
    source = make_raster(tmp_path / "source.tif", size=(150, 170), nodata=0, seed=3)
    style = make_raster(tmp_path / "style.tif", size=(160, 160), seed=8)
    paths = [tmp_path / f"{name}.tif" for name in ("without", "torch")]
    done = run_without_torch(
        "harmonize", source, "--style", style, "--method", "ssda", "--structure", structure,
        "--precision", "float32", "-o", paths[0],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    geossda.harmonize(
        source, paths[1], style=style, method="ssda", structure=structure, runtime="torch",
        precision="float32", device="cpu",
    )  # fmt: skip
    tags, pixels = [], []
    for path in paths:
        with rasterio.open(path) as dataset:
            tags.append(dataset.tags()["GEOSSDA_RUNTIME"])
            pixels.append(dataset.read().astype(int))
    assert tags == ["openvino float32", "torch float32"]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1
    with rasterio.open(source) as dataset:
        assert np.abs(pixels[0] - dataset.read()).mean() > 3


@pytest.mark.parametrize(("dtype", "structure"), [("uint8", "lock"), ("float32", "full")])
def test_what_is_compiled_beside_other_work_is_what_runs(
    make_raster, tmp_path, monkeypatch, dtype, structure
):
    source = make_raster(tmp_path / "source.tif", size=(150, 170), dtype=dtype, seed=3)
    style = make_raster(tmp_path / "style.tif", size=(160, 160), dtype=dtype, seed=8)
    prepared, run = set(), set()
    prepare, call = OpenvinoGraph.prepare, OpenvinoGraph.__call__

    def prepare_and_note(graph, shapes):
        prepared.add(shapes[0])
        prepare(graph, shapes)

    def call_and_note(graph, inputs):
        run.add(inputs[0].shape)
        return call(graph, inputs)

    monkeypatch.setattr(OpenvinoGraph, "prepare", prepare_and_note)
    monkeypatch.setattr(OpenvinoGraph, "__call__", call_and_note)
    geossda.harmonize(source, tmp_path / "out.tif", style=style, method="ssda", structure=structure,
                      runtime="openvino", device="cpu")  # fmt: skip
    assert prepared == run


def test_patches_of_no_pixels_change_no_statistics():
    model = open_style_model("default", Settings("cpu", "openvino", "float32"))
    patches, valid = images(3, 3, 1), np.ones((3, 64, 64), bool)
    valid[1, 20:, :30] = False
    pixels = patches.mean((0, 2, 3)), np.eye(3) / 9
    plain = model.measure(patches, valid, pixels)
    filled = measure_features(pixels, Patches(patches, valid), model, "full")
    for one, other in zip(plain.groups[0], filled.groups[0], strict=True):
        assert np.allclose(one.mean, other.mean, rtol=0, atol=1e-6)
        assert np.allclose(one.std, other.std, rtol=0, atol=1e-6)


def test_what_cannot_be_compiled_is_said_where_it_runs(monkeypatch):
    model = open_style_model("default", Settings("cpu", "openvino", "float32"))

    def fail(*_):
        raise ModelError("no memory")

    monkeypatch.setattr(OpenvinoGraph, "_compile", fail)
    window = images(1, 3, 1, side=88)
    own = PixelGaussian(np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    zeros = np.zeros(sum(model.shape.level_channels), np.float32)
    style = ImageStyle(own, (unpacked(np.concatenate([zeros, zeros])[None],
                                      model.shape.level_channels),))  # fmt: skip
    model.prepare([(88, 88)])
    with pytest.raises(ModelError, match="no memory"):
        model.translate(window, style, ImageStyle(own, style.groups))
