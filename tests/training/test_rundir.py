"""The folder of a training run: what it resumes from, and what damage of it leads to."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch
from conftest import ENCODER

from geossda import TrainSegmenterConfig, TrainStyleConfig
from geossda.data.patches import Patch
from geossda.data.views import Views
from geossda.errors import GeossdaError, OutputError, TrainingError
from geossda.training import segmenter_loop, style_loop
from geossda.training.rundir import RunDirectory

pytestmark = pytest.mark.usefixtures("one_thread")

SEGMENTER = TrainSegmenterConfig(
    encoder=ENCODER, encoder_weights="none", steps=4, batch=2, patch=32,
    auxiliary=0, checkpoint=2, device="cpu",
)  # fmt: skip
STYLE = TrainStyleConfig(steps=4, batch=4, patch=32, perceptual=0.0, checkpoint=2, device="cpu")


def train_segmenter(folder, output, **given):
    def draw(step, place):
        image = np.random.default_rng([step, place]).random((3, 32, 32), np.float32)
        return Patch(image, (image[:1] > 0.5).astype(np.float32), np.ones((1, 32, 32), np.float32))

    return segmenter_loop.train(draw, 3, output, folder, SEGMENTER, **given)


def train_style(folder, output, **given):
    def draw(step, place):
        rng = np.random.default_rng([step, place])
        return Views(rng.integers(0, 256, (4, 3, 32, 32), np.uint8), 0)

    return style_loop.train(draw, output, folder, STYLE, **given)


@pytest.fixture(scope="module", params=[train_segmenter, train_style], ids=["segmenter", "style"])
def finished(request, tmp_path_factory):
    """A training function, and the folder of a run that it finished."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    request.param(folder, folder.parent / "out.safetensors")
    return request.param, folder


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(bytes(range(256)) * 20)


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    """One bit of one weight."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    data[largest.header_offset + 200 + largest.file_size // 2] ^= 16
    path.write_bytes(data)


def folder_instead(path):
    path.unlink()
    path.mkdir()


def other_content(content):
    def save(path):
        torch.save(content(torch.load(path, weights_only=True)), path)

    save.__name__ = content.__name__
    return save


def no_step(state):
    return {name: value for name, value in state.items() if name != "step"}


def step_of_text(state):
    return {**state, "step": "2"}


def no_average(state):
    return {name: value for name, value in state.items() if name != "average"}


def other_shapes(state):
    return {**state, "average": {name: torch.zeros(1) for name in state["average"]}}


def a_list(state):
    return [state]


def optimizer_of_numbers(state):
    return {name: 3 if "optimizer" in name else value for name, value in state.items()}


DAMAGES = [empty, garbage, cut_off, flipped, folder_instead]
CONTENTS = [no_step, step_of_text, no_average, other_shapes, a_list, optimizer_of_numbers]


@pytest.mark.parametrize(
    "damage", [*DAMAGES, *map(other_content, CONTENTS)], ids=lambda damage: damage.__name__
)
def test_a_damaged_checkpoint_is_one_line(finished, tmp_path, damage):
    train, folder = finished
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    damage(run / "last.pt")
    with pytest.raises(TrainingError, match=r"last\.pt is damaged .*: delete it") as caught:
        train(run, tmp_path / "out.safetensors")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not (tmp_path / "out.safetensors").exists()
    assert (run / "last.pt").exists(), "nothing is deleted unasked"


def test_the_undamaged_run_is_resumed(finished, tmp_path, listener):
    """So that what is refused above is refused for its damage."""
    train, folder = finished
    shutil.copytree(folder, tmp_path / "run")
    train(tmp_path / "run", tmp_path / "out.safetensors", progress=listener)
    assert any("resuming at step 4 " in note for note in listener.notes)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "\0\xff", "[" * 100_000])
def test_settings_that_cannot_be_read_are_one_line(finished, tmp_path, text):
    train, folder = finished
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    (run / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(TrainingError, match=r"config\.json cannot be read") as caught:
        train(run, tmp_path / "out.safetensors")
    assert "\n" not in str(caught.value)


def test_lines_of_figures_that_are_not_whole_are_dropped(tmp_path):
    directory = RunDirectory(tmp_path / "run", {"steps": 4})
    directory.save({"step": 2})
    kept = {"step": 1, "loss": 0.5}
    lines = [json.dumps(kept), "{", "", "[1]", "null", '{"loss": 1}', '{"step": "1"}',
             '{"step": 3, "loss": 0.1}', '{"step": 2, "lo']  # fmt: skip
    stats = tmp_path / "run" / "stats.jsonl"
    stats.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\x00")
    assert directory.resume(lambda checkpoint: None)
    assert [json.loads(line) for line in stats.read_text().splitlines()] == [kept]


def test_a_missing_checkpoint_starts_anew(finished, tmp_path):
    train, folder = finished
    run = tmp_path / "run"
    shutil.copytree(folder, run)
    (run / "last.pt").unlink()
    (run / "config.json").write_text("{")
    card = train(run, tmp_path / "out.safetensors")
    assert json.loads((run / "config.json").read_text())["steps"] == 4
    assert card.sha256 == train(tmp_path / "new", tmp_path / "new.safetensors").sha256


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="cannot create the run folder"):
            RunDirectory(path, {})
    for name in ("config.json", "stats.jsonl"):
        run = tmp_path / name
        (run / name).mkdir(parents=True)
        with pytest.raises(GeossdaError, match=name):
            RunDirectory(run, {}).log(step=1)


def test_a_checkpoint_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("rename"), replace(*names)))
    directory = RunDirectory(tmp_path / "run", {})
    events.clear()
    directory.save({"step": 1})
    assert events[0] == "fsync" and "rename" in events
