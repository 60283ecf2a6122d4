"""Segmenters run by OpenVINO and by PyTorch; files that cannot be run are said."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from onnx import TensorProto, helper, numpy_helper

from geossda import export, info, segment
from geossda.config import SegmentConfig
from geossda.errors import Cancelled, InputError, ModelError, OutputExistsError
from geossda.models.card import SegmenterCard
from geossda.models.model_file import load, read_card, read_model, resolve, save
from geossda.models.onnx_file import CARD_KEY, GRAPH_KEY, read_metadata
from geossda.parallel.cores import cores
from geossda.runtime import choice
from geossda.runtime.openvino_graph import _Kept
from geossda.runtime.segmenter_network import open_segmenter

pytestmark = pytest.mark.usefixtures("one_thread")


def opened(model, runtime, **changes):
    return open_segmenter(
        SegmentConfig(model=str(model), runtime=runtime, precision="float32", **changes)
    )


@pytest.fixture
def windows():
    blocks = np.random.default_rng(4).integers(0, 255, (2, 3, 8, 8), np.uint8)
    return blocks.repeat(8, 2).repeat(8, 3)


@pytest.fixture
def pair(tiny_model, tmp_path):
    """A copy of the tiny model's two files, to be damaged; gives the ONNX file."""
    for suffix in (".safetensors", ".onnx"):
        shutil.copy(tiny_model.with_suffix(suffix), tmp_path / f"m{suffix}")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("tta", [1, 8])
def test_openvino_gives_the_logits_that_torch_gives(tiny_model, windows, tta):
    one, other = (opened(tiny_model, name, tta=tta) for name in ("openvino", "torch"))
    assert (one.runtime.name, other.runtime.name) == ("openvino", "torch")
    for window in windows:
        mine, theirs = one(window[None]), other(window[None])
        assert np.ptp(mine) > 1 and mine.shape == (1, 64, 64) and mine.dtype == np.float32
        assert np.abs(mine - theirs).max() < 1e-4


def test_what_was_compiled_is_used_again_by_the_same_graph_alone(pair, windows):
    def requests(network):
        network(windows[:1])
        return network.graph._requests(((1, 3, 64, 64),))

    first = opened(pair, "openvino")
    before, logits = requests(first), first(windows[:1])
    again = opened(pair, "openvino")
    assert requests(again) is before and np.array_equal(again(windows[:1]), logits)
    assert requests(opened(pair, "openvino", batch=1)) is not before or cores() == 1
    pair.with_suffix(".safetensors").unlink()
    rewritten(pair, swapped_weight)
    other = opened(pair, "openvino")
    assert requests(other) is not before and not np.array_equal(other(windows[:1]), logits)


def test_as_much_is_kept_compiled_as_was_agreed():
    """What was used last; something larger alone is kept too, until the next."""
    kept, made = _Kept(10), []

    def get(name, values):
        return kept.get(name, values, lambda: made.append(name) or name)

    for name, values in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4)):
        assert get(name, values) == name
    assert made == ["a", "b", "c", "b"]
    get("large", 99)
    get("large", 99)
    get("a", 4)
    get("large", 99)
    assert made[4:] == ["large", "a", "large"]


def test_the_files_of_the_bundled_segmenter_are_a_pair():
    """Tensor by tensor the same weights, the same card, the same output."""
    weights = resolve("default", SegmenterCard)
    graph = weights.with_suffix(".onnx")
    assert read_card(graph) == read_card(weights)
    tensors, card = load(weights, SegmenterCard)
    model = onnx.load(graph)
    held = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    learned = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    assert len(learned) > 200
    for name, tensor in learned.items():
        assert held[name].dtype == np.float16 and np.array_equal(held[name], tensor.numpy()), name
    entries = read_metadata(graph)
    assert entries[GRAPH_KEY] == hashlib.sha256(model.graph.SerializeToString()).hexdigest()
    assert json.loads(entries["resolution"]) == 30 and json.loads(entries["tiles_size"]) == 512
    assert json.loads(entries["tiles_overlap"]) == 12.5
    image = np.random.default_rng(0).integers(0, 255, (1, 3, 16, 16), np.uint8)
    image = image.repeat(card.patch_px // 16, 2).repeat(card.patch_px // 16, 3)
    one, other = (opened("default", name)(image) for name in ("openvino", "torch"))
    assert np.abs(one - other).max() < 1e-4
    assert ((one > 0) == (other > 0)).mean() > 0.9999


def test_the_file_runs_in_another_runtime_as_it_is(tiny_model, windows):
    """Deepness and GeoDeep use ONNX Runtime: images of 0..1 to probabilities of two classes."""
    session = onnxruntime.InferenceSession(tiny_model.with_suffix(".onnx"))
    image = windows[:1].astype(np.float32) / 255
    background, building = session.run(None, {session.get_inputs()[0].name: image})[0][0]
    logits = opened(tiny_model, "openvino", tta=1)(windows[:1])[0]
    assert np.abs(building - 1 / (1 + np.exp(-logits))).max() < 1e-5
    assert np.abs(background + building - 1).max() < 1e-6


def test_info_reads_the_card_of_either_file(tiny_model):
    assert info(tiny_model.with_suffix(".onnx")) == info(tiny_model)


def test_export_writes_beside_the_model_and_keeps_what_is_there(pair, tmp_path):
    before = pair.read_bytes()
    with pytest.raises(OutputExistsError):
        export(pair.with_suffix(".safetensors"))
    pair.unlink()
    assert export(pair.with_suffix(".safetensors")) == pair
    assert pair.read_bytes() == before, "the same weights make the same file"
    with pytest.raises(ModelError, match="ONNX file already"):
        export(pair, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"ending in \.onnx"):
        export(pair.with_suffix(".safetensors"), tmp_path / "m.tflite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.safetensors"]


# Files that cannot be run


def rewritten(path, change, *, hashed=True):
    """Change an ONNX file, and its hash too unless that is what is to be noticed."""
    model = onnx.load(path, load_external_data=False)
    change(model)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if hashed and GRAPH_KEY in entries:
        entries[GRAPH_KEY] = hashlib.sha256(model.graph.SerializeToString()).hexdigest()
        helper.set_model_props(model, entries)
    path.write_bytes(model.SerializeToString())


def with_custom_operator(model):
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[-1].domain = "com.example"


def with_dynamic_shapes(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def with_weights_elsewhere(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def without_a_weight(model):
    del next(node for node in model.graph.node if node.op_type == "Conv").input[1]


def with_an_unknown_operator(model):
    model.graph.node[-1].op_type = "Frobnicate"


def with_another_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 96


def with_another_input(model):
    model.graph.input.append(helper.make_tensor_value_info("hint", TensorProto.FLOAT, [1]))


def with_another_card(model):
    entries = {entry.key: entry.value for entry in model.metadata_props}
    entries[CARD_KEY] = json.dumps({**json.loads(entries[CARD_KEY]), "bands": ["red", "green"]})
    helper.set_model_props(model, entries)


def without_card(model):
    del model.metadata_props[:]


def with_a_loop(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=body))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_custom_operator, "custom operators"),
        (with_dynamic_shapes, r"dynamic shapes \(image\)"),
        (with_weights_elsewhere, "keeps weights in other files"),
        (with_another_size, "card that does not fit its graph"),
        (with_another_input, "card that does not fit its graph"),
        (with_another_card, "card that does not fit its graph"),
        (without_card, "without a geossda card"),
        (with_a_loop, "a loop or a branch"),
        (without_a_weight, "Conv lacks an input"),
        (with_an_unknown_operator, "cannot be read by OpenVINO: .*Frobnicate"),
    ],
)
def test_a_file_that_cannot_be_run_is_one_line(pair, town, tmp_path, change, message):
    pair.with_suffix(".safetensors").unlink()
    rewritten(pair, change)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ModelError, match=message) as error:
        segment(town, tmp_path / "out.gpkg", model=str(pair))
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == before


def swapped_weight(model):
    weight = model.graph.initializer[3]
    weight.raw_data = bytes(reversed(weight.raw_data))


@pytest.mark.parametrize("kind", ["changed", "cut", "noise", "empty", "text"])
def test_a_damaged_file_is_one_line(pair, kind):
    pair.with_suffix(".safetensors").unlink()
    data = pair.read_bytes()
    if kind == "changed":
        rewritten(pair, swapped_weight, hashed=False)
    elif kind == "cut":
        pair.write_bytes(data[: len(data) // 2])
    elif kind == "noise":
        pair.write_bytes(np.random.default_rng(0).integers(0, 255, 5000, np.uint8).tobytes())
    else:
        pair.write_bytes(b"" if kind == "empty" else b"<html>not found</html>")
    with pytest.raises(ModelError, match=r"damaged|not an ONNX file") as error:
        opened(pair, "openvino")
    assert "\n" not in str(error.value)


def test_files_of_different_weights_are_no_pair(pair):
    weights = pair.with_suffix(".safetensors")
    tensors, card = load(weights, SegmenterCard)
    name = next(name for name in tensors if tensors[name].is_floating_point())
    save(weights, {**tensors, name: tensors[name] * 2}, dataclasses.replace(card, sha256=""))
    for model in (pair, weights):
        with pytest.raises(ModelError, match="hold different weights"):
            open_segmenter(SegmentConfig(model=str(model)))


# What is chosen


def chosen(path, **settings):
    files, _ = read_model(path, SegmenterCard)
    return choice.choose_runtime(SegmentConfig(**settings), files)


def test_openvino_runs_what_no_gpu_does(pair):
    gpu = choice._gpu_of_torch()
    assert chosen(pair).name == ("torch" if gpu else "openvino")
    assert chosen(pair, device="cpu").name == "openvino"
    assert chosen(pair, runtime="torch", device="cpu").name == "torch"
    exact = chosen(pair, device="cpu", precision="float32")
    assert exact.tag == "openvino float32"
    again = chosen(pair, **exact.settings())
    assert again == exact
    weights = pair.with_suffix(".safetensors")
    pair.unlink()
    assert chosen(weights, device="cpu").name == "torch"
    with pytest.raises(ModelError, match="no ONNX file beside it"):
        chosen(weights, runtime="openvino")


def test_torch_needs_the_other_file(pair):
    pair.with_suffix(".safetensors").unlink()
    assert chosen(pair).name == "openvino"
    with pytest.raises(ModelError, match="no safetensors file beside it"):
        chosen(pair, runtime="torch")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "intel-gpu"}, "finds no Intel GPU"),
        ({"device": "cuda", "runtime": "openvino"}, "one of PyTorch"),
        ({"device": "mps"}, "no device mps"),
    ],
)
def test_devices_that_are_not_there_are_said(pair, settings, message):
    with pytest.raises(InputError, match=message):
        chosen(pair, **settings)


def test_bfloat16_is_refused_where_it_would_be_emulated(pair):
    from geossda.runtime.openvino_graph import has_bfloat16

    if has_bfloat16():
        assert chosen(pair, device="cpu", precision="bfloat16").precision == "bfloat16"
        return
    for runtime in ("openvino", "torch"):
        with pytest.raises(InputError, match="does not compute in bfloat16"):
            chosen(pair, device="cpu", precision="bfloat16", runtime=runtime)


@pytest.mark.parametrize(
    ("flags", "message"), [("sse4_2 avx", "no AVX2"), ("sse2", "lacks SSE4.2")], ids=str
)
def test_old_processors_are_said(pair, monkeypatch, listener, flags, message):
    monkeypatch.setattr(choice, "processor_flags", lambda: frozenset(flags.split()))
    files, _ = read_model(pair, SegmenterCard)
    config = SegmentConfig(device="cpu", runtime="openvino")
    if "AVX2" in message:
        choice.choose_runtime(config, files, listener)
        assert message in listener.warnings[0]
    else:
        with pytest.raises(InputError, match=message):
            choice.choose_runtime(config, files)


@pytest.mark.parametrize(("version", "message"), [("2023.1.0", "too old"), ("", "not installed")])
def test_openvino_that_is_old_or_missing_is_said(pair, monkeypatch, version, message):
    monkeypatch.setattr(choice, "openvino_version", lambda: version)
    with pytest.raises(InputError, match=message):
        chosen(pair, runtime="openvino")


# Whole runs


BLOCKED = """
import sys
for name in ("torch", "torchvision", "timm", "segmentation_models_pytorch"):
    sys.modules[name] = None  # importing it fails, as where it is not installed
from geossda_cli.main import main
main({arguments})
"""


def run_without_torch(*arguments):
    """Run a command in an interpreter that has no torch; gives what it wrote and how it ended."""
    script = BLOCKED.format(arguments=[str(argument) for argument in arguments])
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ}
    )


def test_segment_runs_without_torch_and_says_what_ran(town, tiny_model, tmp_path):
    paths = [tmp_path / f"{name}.tif" for name in ("without", "torch")]
    done = run_without_torch(
        "segment", town, "--model", tiny_model.with_suffix(".onnx"), "--precision", "float32",
        "--regularize", "none",
        "-o", tmp_path / "without.gpkg", "--probabilities", paths[0],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    segment(
        town, tmp_path / "torch.gpkg", probabilities=paths[1], model=str(tiny_model),
        runtime="torch", precision="float32", device="cpu", regularize="none",
    )  # fmt: skip
    tags, arrays = [], []
    for path in paths:
        with rasterio.open(path) as dataset:
            tags.append(dataset.tags()["GEOSSDA_RUNTIME"])
            arrays.append(dataset.read(1))
    assert tags == ["openvino float32", "torch float32"]
    assert np.abs(arrays[0] - arrays[1]).max() < 1e-4


def test_shards_of_another_runtime_are_not_used(town, tiny_model, tmp_path, interrupter):
    """An interrupted run goes on with what began it, or begins again."""
    given = {"model": str(tiny_model), "device": "cpu", "precision": "float32",
             "regularize": "none"}  # fmt: skip
    paths = {name: tmp_path / f"{name}.tif" for name in ("mixed", "torch")}
    with pytest.raises(Cancelled):
        segment(
            town, tmp_path / "mixed.gpkg", probabilities=paths["mixed"], runtime="openvino",
            progress=interrupter("polygonizing", 1, Cancelled("stop")), **given,
        )  # fmt: skip
    for name, path in paths.items():
        segment(town, tmp_path / f"{name}.gpkg", probabilities=path, runtime="torch",
                overwrite=True, **given)  # fmt: skip
    arrays = []
    for path in paths.values():
        with rasterio.open(path) as dataset:
            assert dataset.tags()["GEOSSDA_RUNTIME"] == "torch float32"
            arrays.append(dataset.read(1))
    assert np.array_equal(*arrays)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "{town}", "--model", "{weights}", "-o", "out.gpkg"], "geossda export"),
        (["segment", "{town}", "--runtime", "torch", "-o", "out.gpkg"], "pip install"),
        (["export", "{weights}", "-o", "other.onnx"], "pip install 'geossda[train]'"),
    ],
    ids=["no-pair", "torch", "export"],
)
def test_what_needs_torch_says_so_in_one_line(town, pair, tmp_path, arguments, message):
    pair.unlink()
    given = {"town": town, "weights": pair.with_suffix(".safetensors")}
    done = run_without_torch(
        *(tmp_path / a if a.startswith("out") or a.startswith("other") else a.format(**given)
          for a in arguments)
    )  # fmt: skip
    assert done.returncode == 1
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]
