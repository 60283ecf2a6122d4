"""Segmenters in 8-bit integers: what is rounded, what is measured, what is refused."""

import json
import shutil

import numpy as np
import onnx
import openvino
import pytest
from click.testing import CliRunner
from conftest import build_raster
from openvino import opset13 as ops

from geossda import export, info
from geossda.config import SegmentConfig
from geossda.errors import EmptyRasterError, InputError, ModelError
from geossda.models.card import SegmenterCard, StyleCard
from geossda.models.model_file import read_card, read_model, resolve
from geossda.models.onnx_file import GRAPH_KEY, RANGES_KEY, read_metadata
from geossda.runtime import choice
from geossda.runtime.openvino_graph import _core
from geossda.runtime.quantization import RangeMeter, quantize
from geossda.runtime.segmenter_network import open_segmenter
from geossda_cli.main import cli

pytestmark = pytest.mark.usefixtures("one_thread")
PAIR = (".safetensors", ".onnx")
VNNI = frozenset({"sse4_2", "avx2", "avx512_vnni"})


def run(model, image):
    compiled = _core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled.create_infer_request().infer([image])[0]


def two_layers(weights, head):
    """A padded 1 x 1 convolution of two bands to two channels, and a head of one."""
    image = ops.parameter([1, 2, 1, 2], np.float32, "image")
    image.output(0).set_names({"image"})
    strides, pads = ([1, 1], [0, 0], [0, 0]), [1, 1]
    padded = ops.pad(image, [0, 0, 1, 1], [0, 0, 1, 1], "constant", np.float32(0))
    first = ops.convolution(padded, ops.constant(weights), *strides, pads)
    first.output(0).set_names({"first"})
    last = ops.convolution(first, ops.constant(head), *strides, pads)
    return openvino.Model([ops.result(last)], [image])


def test_inputs_and_weights_are_rounded_but_for_the_last_layer():
    weights = np.array([[0.51, -1.0], [0.3, 0.1]], np.float32).reshape(2, 2, 1, 1)
    head = np.array([0.123, 1.0], np.float32).reshape(1, 2, 1, 1)
    image = np.array([[0.1004, 0.71], [0.25, 0.9001]], np.float32).reshape(1, 2, 1, 2)
    model = two_layers(weights, head)
    quantize(model, {"image": (0.0, 1.0)})
    rounded = np.rint(image * 255) / 255
    # Each output channel has its own largest weight: 1.0 and 0.3.
    steps = np.array([1.0, 0.3]).reshape(2, 1) / 127
    kernel = np.rint(weights[:, :, 0, 0] / steps) * steps
    channels = np.einsum("oi,ihw->ohw", kernel, rounded[0])
    expected = np.einsum("o,ohw->hw", head[0, :, 0, 0], channels)
    found = run(model, image)
    assert found.shape == (1, 1, 3, 4) and np.abs(found[0, 0, 1:2, 1:3] - expected).max() < 1e-5
    assert np.abs(run(two_layers(weights, head), image)[0, 0, 1:2, 1:3] - expected).max() > 1e-4
    assert found[0, 0, 0, 0] == 0  # what is padded stays exactly 0


def test_limits_of_signed_values_keep_zero_exact():
    weights = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)
    model = two_layers(weights, np.ones((1, 2, 1, 1), np.float32))
    quantize(model, {"image": (-0.37, 1.0)})
    image = np.array([[0.0, -0.2], [0.0, 0.5]], np.float32).reshape(1, 2, 1, 2)
    found = run(model, image)
    assert found[0, 0, 1, 1] == 0 and found[0, 0, 1, 2] == pytest.approx(0.3, abs=0.006)


def test_the_range_is_that_of_all_images():
    meter = RangeMeter(
        _core(), two_layers(np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1),
                            np.ones((1, 2, 1, 1), np.float32))
    )  # fmt: skip
    for values in ([[20, 51]], [[102, 30]]):
        meter(np.array([values, values], np.uint8))
    assert meter.ranges == {"image": (0.0, pytest.approx(0.4))}


@pytest.fixture(scope="module")
def calibrated_once(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    shutil.copy(tiny_model, folder / "m.safetensors")
    raster = build_raster(folder / "town.tif", size=(160, 200), seed=3)
    return export(folder / "m.safetensors", calibrate=(str(raster),))


@pytest.fixture
def calibrated(calibrated_once, tmp_path):
    """A copy of the tiny model that was calibrated on one raster; gives the ONNX file."""
    for suffix in (".safetensors", ".onnx"):
        shutil.copy(calibrated_once.with_suffix(suffix), tmp_path)
    return tmp_path / "m.onnx"


def opened(path, precision):
    return open_segmenter(
        SegmentConfig(model=str(path), device="cpu", runtime="openvino", precision=precision)
    )


def test_a_calibrated_model_runs_in_int8(calibrated, tiny_model, monkeypatch):
    monkeypatch.setattr(choice, "processor_flags", lambda: VNNI)
    before = read_metadata(tiny_model.with_suffix(".onnx"))
    after = read_metadata(calibrated)
    assert after[GRAPH_KEY] == before[GRAPH_KEY] and RANGES_KEY not in before
    assert read_card(calibrated) == read_card(tiny_model)
    blocks = np.random.default_rng(4).integers(0, 255, (1, 3, 8, 8), np.uint8)
    window = blocks.repeat(8, 2).repeat(8, 3)
    exact, rounded = (opened(calibrated, precision) for precision in ("float32", "int8"))
    assert rounded.runtime.tag == "openvino int8"
    reference, found = exact(window), rounded(window)
    assert 1e-4 < np.abs(found - reference).mean() < 0.25 * reference.std()
    assert np.array_equal(found, opened(calibrated, "int8")(window))


def test_auto_is_int8_where_it_is_fast_and_the_model_is_calibrated(
    calibrated, tiny_model, monkeypatch
):
    def precision(path, **settings):
        files, _ = read_model(path, SegmenterCard)
        config = SegmentConfig(device="cpu", runtime="openvino", **settings)
        return choice.choose_runtime(config, files).precision

    monkeypatch.setattr(choice, "processor_flags", lambda: VNNI)
    assert precision(calibrated) == "int8"
    about = [info(path.with_suffix(end)) for path in (calibrated, tiny_model) for end in PAIR]
    assert [each["calibrated_for_int8"] for each in about] == [True, True, False, False]
    assert precision(tiny_model) != "int8"
    assert precision(calibrated, precision="float32") == "float32"
    monkeypatch.setattr(choice, "processor_flags", lambda: frozenset({"sse4_2", "avx2"}))
    assert precision(calibrated) != "int8"
    with pytest.raises(InputError, match="no instructions for int8"):
        precision(calibrated, precision="int8")
    with pytest.raises(InputError, match="int8 is one of OpenVINO"):
        files, _ = read_model(calibrated, SegmenterCard)
        config = SegmentConfig(device="cpu", runtime="torch", precision="int8")
        choice.choose_runtime(config, files)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "has no ranges for int8"),
        ("nonsense", "cannot be used"),
        ("[[0, 1]]", "cannot be used"),
        ('{"image": [0, NaN]}', "cannot be used"),
        ('{"image": [1, 0]}', "cannot be used"),
        ('{"image": [0, 1e999]}', "cannot be used"),
        ('{"another": [0, 1]}', "lack image"),
    ],
)
def test_ranges_that_cannot_be_used_are_said(calibrated, monkeypatch, entry, message):
    monkeypatch.setattr(choice, "processor_flags", lambda: VNNI)
    model = onnx.load(calibrated)
    entries = {e.key: e.value for e in model.metadata_props if e.key != RANGES_KEY}
    onnx.helper.set_model_props(model, entries | ({RANGES_KEY: entry} if entry else {}))
    calibrated.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=message) as error:
        opened(calibrated, "int8")(np.zeros((1, 3, 64, 64), np.uint8))
    assert "\n" not in str(error.value)


def test_what_cannot_be_calibrated_leaves_nothing(tiny_model, tmp_path, make_raster):
    target = tmp_path / "m.onnx"
    empty = make_raster(tmp_path / "e.tif", size=(64, 64), nodata=0, valid=np.eye(64, dtype=bool))
    with pytest.raises(EmptyRasterError, match="half is valid"):
        export(tiny_model, target, calibrate=(str(empty),))
    with pytest.raises(InputError, match="style model"):
        export(resolve("default", StyleCard), target, calibrate=(str(empty),))
    assert not target.exists()


def test_the_command_line(tiny_model, tmp_path, make_raster):
    raster = make_raster(tmp_path / "town.tif", size=(96, 96), seed=3)
    done = CliRunner().invoke(
        cli,
        ["export", str(tiny_model), "-o", str(tmp_path / "m.onnx"), "--calibrate", str(raster)],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(read_metadata(tmp_path / "m.onnx")[RANGES_KEY])["image"][1] <= 1
