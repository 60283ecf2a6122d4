"""Model cards: what is written is read again, and what somebody else wrote is checked."""

import dataclasses
import json
import math
import pickle

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file

from geossda.errors import ModelError
from geossda.models.card import SegmenterCard, StyleCard
from geossda.models.card_checks import LIMITS
from geossda.models.model_file import digest, load, read_card, resolve, save
from geossda.models.segmenter import build, load_segmenter
from geossda.runtime.style_network import load_style_model

pytestmark = pytest.mark.usefixtures("one_thread")


def write_card(path, card, **entries):
    """Write a model of one tensor whose card has other entries; `entries` of ... are left out."""
    tensors = {"a": torch.zeros(1, dtype=torch.float16)}
    complete = {**dataclasses.asdict(card), "sha256": digest(tensors), **entries}
    complete = {name: value for name, value in complete.items() if value is not ...}
    save_file(tensors, path, {"geossda": json.dumps(complete)})
    return path


SEGMENTER, STYLE = SegmenterCard("x", "1"), StyleCard("x", "1")
WRONG = [
    (SEGMENTER, {"name": ...}, "name is missing"),
    (SEGMENTER, {"name": ["x"]}, "name is "),
    (SEGMENTER, {"name": "x" * 201}, "at most 200 characters"),
    (SEGMENTER, {"licence": ["CC0"]}, "licence is "),
    (SEGMENTER, {"colour": "red"}, "colour is unknown"),
    (SEGMENTER, {"kind": "detector"}, "kind is 'detector'"),
    (SEGMENTER, {"kind": ["style"]}, "kind is "),
    (SEGMENTER, {"bands": "rgb"}, "bands is 'rgb'"),
    (SEGMENTER, {"bands": []}, "names were expected"),
    (SEGMENTER, {"bands": [1, 2, 3]}, "bands is 1"),
    (SEGMENTER, {"bands": ["b"] * 65}, "at most 64"),
    (SEGMENTER, {"gsd_m": "0.3"}, "a number was expected"),
    (SEGMENTER, {"gsd_m": True}, "a number was expected"),
    (SEGMENTER, {"gsd_m": 0}, "gsd_m is 0"),
    (SEGMENTER, {"gsd_m": -0.3}, "gsd_m is -0.3"),
    (SEGMENTER, {"gsd_m": math.nan}, "gsd_m is nan"),
    (SEGMENTER, {"gsd_m": math.inf}, "gsd_m is inf"),
    (SEGMENTER, {"gsd_m": 10**400}, "gsd_m is 1000"),
    (SEGMENTER, {"patch_px": 100}, "a multiple of 32"),
    (SEGMENTER, {"patch_px": 2**20}, "32 to 4096"),
    (SEGMENTER, {"patch_px": 64.5}, "a multiple of 32"),
    (SEGMENTER, {"patch_px": 64, "overlap_px": 64}, "at most half of patch_px"),
    (SEGMENTER, {"overlap_px": -1}, "overlap_px is -1"),
    (SEGMENTER, {"scaling": "log"}, "scaling is 'log'"),
    (SEGMENTER, {"low_percent": 50, "high_percent": 50}, "not below high_percent"),
    (SEGMENTER, {"threshold": 1.5}, "threshold is 1.5"),
    (SEGMENTER, {"temperature": 0}, "temperature is 0"),
    (SEGMENTER, {"floor": -1}, "floor is -1"),
    (SEGMENTER, {"outputs": []}, "outputs is"),
    (SEGMENTER, {"outputs": ["distance"]}, "the first of building, boundary, distance"),
    (SEGMENTER, {"outputs": ["building", "height"]}, "outputs is"),
    (SEGMENTER, {"metrics": [1]}, "metrics is "),
    (SEGMENTER, {"training": None}, "training is None"),
    (SEGMENTER, {"sha256": "0"}, "hexadecimal"),
    (STYLE, {"preset": "pix2pix"}, "preset is 'pix2pix'"),
    (STYLE, {"adain": None}, "adain is None"),
    (STYLE, {"bands": 0}, "bands is 0"),
    (STYLE, {"bands": 10**6}, "1 to 64"),
    (STYLE, {"bands": ["red"]}, "bands is "),
    (STYLE, {"domains": "abc"}, "domains is 'abc'"),
    (STYLE, {"domains": ["a"]}, "preset daug"),
    (STYLE, {"preset": "daug"}, "preset daug"),
    (STYLE, {"preset": "daug", "domains": ["a", ""]}, "names were expected"),
]


@pytest.mark.parametrize(("card", "entries", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_entry_is_named(tmp_path, card, entries, message):
    path = write_card(tmp_path / "m.safetensors", card, **entries)
    with pytest.raises(ModelError, match=message) as caught:
        read_card(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_every_number_of_a_card_has_limits():
    numbers = {
        field.name
        for card in (SegmenterCard, StyleCard)
        for field in dataclasses.fields(card)
        if field.type in ("int", "float", int, float)
    }
    assert "gsd_m" in numbers and numbers <= set(LIMITS)


@pytest.mark.parametrize("card", [SEGMENTER, STYLE], ids=["segmenter", "style"])
def test_a_right_card_passes(tmp_path, card):
    """So that what is refused above is refused for its entry."""
    assert dataclasses.replace(read_card(write_card(tmp_path / "m", card)), sha256="") == card


@pytest.mark.parametrize("header", ["[]", "1", "null", '"x"', "{", "[" * 100_000])
def test_a_header_that_is_no_card_is_one_line(tmp_path, header):
    save_file({"a": torch.zeros(1)}, tmp_path / "m", {"geossda": header})
    with pytest.raises(ModelError, match="cannot be used") as caught:
        read_card(tmp_path / "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "encoder",
    ["tu-hf_hub:x/y", "tu-hf-hub:x/y", "tu-local-dir:/tmp", "tu-resnet18.hf-hub:x/y",
     "timm-regnethf-hub:x/y", "hf-hub:x/y", "tu-https://host/x", "tu-../x", "tu-", "", "x\ny"],
)  # fmt: skip
def test_a_card_cannot_name_an_address(tmp_path, monkeypatch, encoder):
    """Neither library is asked for it: they download what they take for an address."""
    monkeypatch.setattr(smp, "create_model", lambda *_, **__: pytest.fail("the library was called"))
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm was called"))
    path = write_card(tmp_path / "m.safetensors", SEGMENTER, encoder=encoder)
    with pytest.raises(ModelError, match="unknown encoder"):
        load_segmenter(path)


def test_pretrained_weights_are_named_from_a_list():
    for encoder in ("tu-mobilenetv3_small_050", "resnet18"):
        with pytest.raises(ModelError, match=r"unknown encoder weights imagenett: give .*imagenet"):
            build("unet", encoder, 3, "imagenett")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, tiny_model, value):
    tensors, card = load(tiny_model, SegmenterCard)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensors[name].reshape(-1)[7] = value
    save(tmp_path / "m.safetensors", tensors, card)
    with pytest.raises(ModelError, match=f"not finite .{name}"):
        load_segmenter(tmp_path / "m.safetensors")
    tensors, style = load(resolve("default", StyleCard), StyleCard)
    next(iter(tensors.values())).reshape(-1)[0] = value
    save(tmp_path / "s.safetensors", tensors, style)
    with pytest.raises(ModelError, match="not finite"):
        load_style_model(tmp_path / "s.safetensors", "cpu")


def test_card_round_trip(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(4)}
    card = SegmenterCard(
        "one", "2", bands=("nir", "red"), gsd_m=0.6, metrics={"iou": 0.7}, training={"steps": 3}
    )
    path = tmp_path / "m.safetensors"
    written = save(path, tensors, card)
    assert written == dataclasses.replace(card, sha256=written.sha256)
    loaded, again = load(path, SegmenterCard)
    assert again == written == read_card(path)
    assert loaded["a"].dtype == torch.float16 and loaded["n"].dtype == torch.int64
    assert torch.equal(loaded["a"].float(), tensors["a"])
    assert digest(loaded) == again.sha256 and len(again.sha256) == 64


def test_the_digest_sees_names_types_shapes_and_values():
    base = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    others = [
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3).int(), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": torch.full((1,), 1.0001)},
    ]
    assert len({digest(tensors) for tensors in [base, *others]}) == 5
    assert digest(base) == digest(dict(reversed(base.items())))


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_pickles_are_refused_unread(tmp_path, kind):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    path = tmp_path / "model.safetensors"
    if kind == "torch":
        torch.save({"a": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    for read in (read_card, lambda path: load(path, SegmenterCard), load_segmenter):
        with pytest.raises(ModelError, match=r"pickle.*refused"):
            read(path)


def test_damaged_weights_are_detected(tmp_path, tiny_model):
    data = bytearray(tiny_model.read_bytes())
    data[-5] ^= 1
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(data)
    assert read_card(path).name == "tiny", "the card is whole"
    with pytest.raises(ModelError, match="damaged"):
        load_segmenter(path)
    path.write_bytes(tiny_model.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_segmenter(path)


def test_weights_of_others_are_told_apart(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="without a geossda card"):
        read_card(path)
    save_file(
        {"a": torch.zeros(1)},
        path,
        {"geossda": json.dumps({"name": "x", "version": "1", "bands": []})},
    )
    with pytest.raises(ModelError, match=r"bands is .*names were expected"):
        read_card(path)
    save(path, {"a": torch.zeros(1)}, SegmenterCard("x", "1", encoder="tu-mobilenetv3_small_050"))
    with pytest.raises(ModelError, match="does not hold the unet"):
        load_segmenter(path)


def test_unknown_networks_are_said():
    for architecture, encoder in (("unett", "resnet18"), ("unet", "resnet1")):
        with pytest.raises(ModelError, match=r"unknown (architecture unett|encoder resnet1): give"):
            build(architecture, encoder, 3)


def test_encoder_weights_from_a_file(tmp_path):
    torch.manual_seed(1)
    source = build("unet", "tu-mobilenetv3_small_050", 3)
    weights = source.encoder.model.state_dict()
    path = tmp_path / "encoder.safetensors"
    save_file({**weights, "classifier.weight": torch.zeros(2)}, path)
    torch.manual_seed(2)
    network = build("unet", "tu-mobilenetv3_small_050", 3, str(path))
    for name, tensor in network.encoder.model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    save_file({"conv_stem.weight": weights["conv_stem.weight"]}, path)
    with pytest.raises(ModelError, match="lacks"):
        build("unet", "tu-mobilenetv3_small_050", 3, str(path))
    with pytest.raises(ModelError, match="does not fit"):
        save_file({**weights, "conv_stem.weight": torch.zeros(1)}, path)
        build("unet", "tu-mobilenetv3_small_050", 3, str(path))
    with pytest.raises(ModelError, match="do not exist"):
        build("unet", "tu-mobilenetv3_small_050", 3, str(tmp_path / "none.safetensors"))
