"""Runs that end early and go on, and runs that several processes share."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from conftest import SMALL_SHARDS, Listener

from geossda import HarmonizeConfig, SegmentConfig, harmonize, segment
from geossda.errors import Cancelled, OutputError, OutputExistsError, RasterError
from geossda.runs.shard_folder import shards_folder
from geossda.runs.shard_layout import strips_of
from geossda.runs.state import load_state, save_state
from geossda.runtime.graph import DeviceMemoryError
from geossda.segmentation.model_runner import Fitting


def pixels(path):
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.dataset_mask()


def same(one, other, by=0):
    (first, mask), (second, mask_too) = pixels(one), pixels(other)
    assert np.array_equal(mask, mask_too)
    return np.abs(first.astype(int) - second).max() <= by


@pytest.fixture(scope="module")
def whole(tall, look, tmp_path_factory):
    """By histogram, in one go."""
    out = tmp_path_factory.mktemp("whole") / "whole.tif"
    harmonize(tall, out, style=look, config=HarmonizeConfig(method="histogram"))
    return out


def stopped(tall, look, out, interrupter, after=12, **settings):
    """Stop in the middle; gives the parts that are finished."""
    config = HarmonizeConfig(**{"method": "histogram", "tile": 256, **settings})
    with pytest.raises(Cancelled):
        harmonize(tall, out, style=look, config=config,
                  progress=interrupter("harmonizing", after, Cancelled("stop")))  # fmt: skip
    assert not out.exists()
    return sorted(path.name for path in shards_folder(out).glob("0*.tif"))


def test_strips_cover_and_follow_from_the_shape_alone():
    for shape in [(1, 1), (1, 100_000), (100_000, 1), (5000, 300), (2048, 40_000)]:
        strips = strips_of(shape)
        assert [strip.row for strip in strips] == [
            sum(before.height for before in strips[:index]) for index in range(len(strips))
        ]
        assert sum(strip.height for strip in strips) == shape[0]
        assert all(strip.height * shape[1] >= 2**20 for strip in strips[:-1])


def test_numbers_come_back_to_the_bit(tmp_path):
    given = {
        "a": np.array([0.1, np.nan]),
        "array": [None, "x", 1 / 3, {"b": np.eye(2, dtype="i8")}],
    }
    save_state(tmp_path / "n.npz", given)
    back = load_state(tmp_path / "n.npz")
    assert back["a"].tobytes() == given["a"].tobytes()
    assert back["array"][:3] == given["array"][:3]
    assert np.array_equal(back["array"][3]["b"], np.eye(2))
    assert sorted(os.listdir(tmp_path)) == ["n.npz", "n.npz.sha256"]


@pytest.mark.parametrize("tile", [256, 512, 1024])
def test_a_run_goes_on(tall, look, whole, tmp_path, interrupter, listener, tile):
    out = tmp_path / "out.tif"
    finished = stopped(tall, look, out, interrupter, after=12)
    assert finished == ["000000.tif"]
    before = (shards_folder(out) / finished[0]).stat().st_mtime_ns
    config = HarmonizeConfig(method="histogram", tile=tile, timings=True)
    listener.stage = lambda name, total=None: (
        listener.stages.append(name),
        (name == "harmonizing" and (shards_folder(out) / finished[0]).stat().st_mtime_ns == before)
        or name != "harmonizing"
        or pytest.fail("a finished shard was computed again"),
    )
    harmonize(tall, out, style=look, config=config, progress=listener)
    assert any("resuming, 1 of 3 shards" in note for note in listener.notes)
    assert "reading statistics" not in listener.stages, "measured once"
    assert same(out, whole)
    assert sorted(os.listdir(tmp_path)) == ["out.tif", "out.tif.stages.json"]
    stages = json.loads((tmp_path / "out.tif.stages.json").read_text())
    assert [stage["stage"] for stage in stages] == ["harmonizing", "compressing out.tif"]
    assert stages[0]["seconds"] > 0 and stages[0]["peak_mb"] > 50


@pytest.mark.parametrize("change", ["strength", "source", "no resume"])
def test_other_settings_or_inputs_begin_anew(
    tall, look, tmp_path, interrupter, listener, make_raster, change
):
    mine, out = tmp_path / "in.tif", tmp_path / "out.tif"
    mine.write_bytes(tall.read_bytes())
    stopped(mine, look, out, interrupter, after=12)
    config = HarmonizeConfig(method="histogram", strength=0.5 if change == "strength" else 1.0,
                             resume=change != "no resume")  # fmt: skip
    if change == "source":
        with rasterio.open(mine, "r+") as dataset:
            dataset.write(255 - dataset.read())
    harmonize(mine, out, style=look, config=config, progress=listener)
    assert "reading statistics" in listener.stages
    assert sum("begun anew" in note for note in listener.notes) == (change != "no resume")
    fresh = tmp_path / "fresh.tif"
    harmonize(mine, fresh, style=look, config=config)
    assert same(out, fresh)
    assert sorted(os.listdir(tmp_path)) == ["fresh.tif", "in.tif", "out.tif"]


def test_without_resume_nothing_is_left(tall, look, tmp_path, interrupter):
    assert stopped(tall, look, tmp_path / "out.tif", interrupter, after=12, resume=False) == []
    assert os.listdir(tmp_path) == []


def test_one_process_an_output(tall, look, tmp_path):
    out = tmp_path / "out.tif"
    holder = "\n".join([
        "import sys; from geossda.runs.lock import output_lock",
        f"with output_lock({str(out)!r}):",
        "    print('held', flush=True); sys.stdin.read()",
    ])  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="another process"):
            harmonize(tall, out, style=look, config=HarmonizeConfig(method="histogram"))
        process.kill()
    harmonize(tall, out, style=look, config=HarmonizeConfig(method="histogram"))
    assert os.listdir(tmp_path) == ["out.tif"]


def test_an_output_finished_meanwhile_is_kept(tall, look, tmp_path):
    """Another process may write the output between the first check and the lock."""
    out = tmp_path / "out.tif"

    class Late(Listener):
        def stage(self, name, total=None):
            if not out.exists():
                out.write_bytes(b"theirs")

    with pytest.raises(OutputExistsError):
        harmonize(tall, out, style=look, method="histogram", progress=Late())
    assert out.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("damage", ["noise", "empty", "no checksum"])
@pytest.mark.parametrize("file", ["000000.tif", "measured.npz"])
def test_damaged_shards_are_computed_again(
    tall, look, whole, tmp_path, interrupter, listener, file, damage
):
    out = tmp_path / "out.tif"
    stopped(tall, look, out, interrupter, after=12)
    path = shards_folder(out) / file
    if damage == "no checksum":
        path.with_name(f"{file}.sha256").unlink()
    else:
        size = path.stat().st_size if damage == "noise" else 0
        path.write_bytes(np.random.default_rng(0).bytes(size))
    harmonize(tall, out, style=look, method="histogram", progress=listener)
    assert same(out, whole)
    assert os.listdir(tmp_path) == ["out.tif"]
    if file == "000000.tif":
        assert sum("1 damaged shard" in note for note in listener.notes) == 1
    assert ("reading statistics" in listener.stages) == (file == "measured.npz")


def test_a_folder_of_shards_that_is_a_link_is_left_alone(tall, look, tmp_path):
    out, precious = tmp_path / "out.tif", tmp_path / "precious"
    precious.mkdir()
    (precious / "000000.tif").write_text("theirs")
    shards_folder(out).symlink_to(precious)
    for resume in (True, False):
        with pytest.raises(OutputError, match="symbolic link"):
            harmonize(tall, out, style=look, method="histogram", resume=resume)
    assert (precious / "000000.tif").read_text() == "theirs"


def test_a_folder_that_is_not_ours_is_left_alone(tall, look, tmp_path):
    out = tmp_path / "out.tif"
    shards_folder(out).mkdir()
    theirs = shards_folder(out) / "000000.tif"
    theirs.write_text("theirs")
    for resume in (True, False):
        with pytest.raises(OutputError, match="not made by geossda"):
            harmonize(tall, out, style=look, method="histogram", resume=resume)
    assert theirs.read_text() == "theirs"


def test_other_peoples_files_in_the_folder_of_shards_stay(tall, look, whole, tmp_path, interrupter):
    out = tmp_path / "out.tif"
    stopped(tall, look, out, interrupter, after=12)
    (shards_folder(out) / "@eaDir").mkdir()
    (shards_folder(out) / "notes.txt").write_text("theirs")
    (shards_folder(out) / "000001.0123456789ab.tmp.tif").write_text("of a killed process")
    harmonize(tall, out, style=look, method="histogram")
    assert same(out, whole)
    assert sorted(os.listdir(shards_folder(out))) == ["@eaDir", "notes.txt"]
    # And the next run is not kept from its work by them.
    harmonize(tall, out, style=look, method="histogram", overwrite=True)
    assert sorted(os.listdir(shards_folder(out))) == ["@eaDir", "notes.txt"]


@pytest.mark.parametrize("length", [223, 224, 244, 300])
def test_a_name_without_room_for_temporary_files_is_refused_at_once(tall, look, tmp_path, length):
    out = tmp_path / ("n" * (length - 4) + ".tif")
    if length <= 223:
        harmonize(tall, out, style=look, method="histogram")
        assert os.listdir(tmp_path) == [out.name]
        return
    with pytest.raises(OutputError, match=f"{length} bytes"):
        harmonize(tall, out, style=tmp_path / "nowhere.json", method="histogram")
    assert os.listdir(tmp_path) == []


def test_of_several_outputs_finished_ones_stay(tall, look, tmp_path, interrupter, listener):
    other = tmp_path / "other.tif"
    other.write_bytes(tall.read_bytes())
    config = HarmonizeConfig(method="histogram")
    with pytest.raises(Cancelled):
        harmonize([tall, other], f"{tmp_path}/out/", style=look, config=config,
                  progress=interrupter("harmonizing", 4, Cancelled("stop")))  # fmt: skip
    first = tmp_path / "out" / "tall.tif"
    before = first.stat().st_mtime_ns
    harmonize([tall, other], f"{tmp_path}/out/", style=look, config=config, progress=listener)
    assert first.stat().st_mtime_ns == before
    assert sorted(os.listdir(tmp_path / "out")) == ["other.tif", "tall.tif"]
    assert same(first, tmp_path / "out" / "other.tif")


def test_a_truncated_source_is_mended_and_gone_on_with(tall, look, whole, tmp_path):
    mine, out = tmp_path / "in.tif", tmp_path / "out.tif"
    data = tall.read_bytes()
    mine.write_bytes(data)
    times = (1_000_000_000, 1_000_000_000)
    os.utime(mine, times)
    config = HarmonizeConfig(method="histogram", tile=256)

    class Cut:
        """Damages the file, length and time kept, once measuring is over."""

        def stage(self, name, total=None):
            if name == "harmonizing":
                mine.write_bytes(data[: len(data) // 2])
                os.utime(mine, times)

        def advance(self, steps=1): ...
        def note(self, text): ...
        def warn(self, text): ...

    with pytest.raises(RasterError, match="truncated") as told:
        harmonize(mine, out, style=look, config=config, progress=Cut())
    assert any("again to go on" in note for note in told.value.__notes__)
    assert shards_folder(out).exists()
    mine.write_bytes(data)
    os.utime(mine, times)
    harmonize(mine, out, style=look, config=config)
    assert same(out, whole)
    assert sorted(os.listdir(tmp_path)) == ["in.tif", "out.tif"]


def test_a_learned_run_goes_on_to_the_same_bytes(tall, look, tmp_path, interrupter):
    settings = {"method": "ssda", "device": "cpu", "tile": 512}
    out, one_go = tmp_path / "out.tif", tmp_path / "whole.tif"
    assert stopped(tall, look, out, interrupter, after=3, **settings) == ["000000.tif"]
    for path in (out, one_go):
        harmonize(tall, path, style=look, config=HarmonizeConfig(**settings))
    assert same(out, one_go)
    assert sorted(os.listdir(tmp_path)) == ["out.tif", "whole.tif"]


KILLED = (
    SMALL_SHARDS
    + """
import os, signal, sys
import geossda

source, look, out, at, after = sys.argv[1:]

class Killer:
    left = int(after)

    def stage(self, name, total=None):
        self.now = name
        self.advance()

    def advance(self, steps=1):
        self.left -= self.now.startswith(at)
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def note(self, text): ...
    def warn(self, text): ...

geossda.harmonize(source, out, style=look, method="histogram", tile=256, progress=Killer())
"""
)


def test_killed_again_and_again(tall, look, whole, tmp_path):
    out = tmp_path / "out.tif"
    moments = [("reading statistics", 3), ("harmonizing", 3), ("harmonizing", 12),
               ("compressing", 1)]  # fmt: skip
    for moment in moments:
        arguments = map(str, (tall, look, out, *moment))
        ended = subprocess.run([sys.executable, "-c", KILLED, *arguments])
        assert ended.returncode == -signal.SIGKILL
    harmonize(tall, out, style=look, method="histogram", tile=256)
    assert same(out, whole)
    assert os.listdir(tmp_path) == ["out.tif"]


@pytest.fixture(scope="module")
def town(small_shards, make_raster, tmp_path_factory):
    """Three shards of two lines of six windows for the tiny model."""
    return make_raster(tmp_path_factory.mktemp("place") / "town.tif", size=(300, 270), nodata=0)


@pytest.fixture(scope="module")
def found(town, tiny_model, tmp_path_factory):
    """Footprints, in one go."""
    out = tmp_path_factory.mktemp("found") / "found.gpkg"
    segment(town, out, config=settings(tiny_model))
    return gpd.read_file(out, layer="buildings")


def settings(tiny_model):
    return SegmentConfig(model=str(tiny_model), device="cpu", regularize="none")


def test_segmenting_goes_on(town, tiny_model, found, tmp_path, interrupter, listener):
    out = tmp_path / "out.gpkg"
    stop = interrupter("segmenting", 6 * 3, Cancelled("stop"))
    with pytest.raises(Cancelled):
        segment(town, out, config=settings(tiny_model), progress=stop)
    assert len(list(shards_folder(out).glob("0*.tif"))) == 1
    segment(town, out, config=settings(tiny_model), progress=listener)
    assert any("resuming, 1 of" in note for note in listener.notes)
    assert gpd.read_file(out, layer="buildings").to_wkb().equals(found.to_wkb())
    assert os.listdir(tmp_path) == ["out.gpkg"]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="processes of Linux")
def test_workers_find_the_same_and_lost_ones_are_made_good_for(
    small_shards, make_raster, tiny_model, tmp_path, capfd
):
    """One is lost while it writes shards, another while outlines are made."""
    town = make_raster(tmp_path / "town.tif", size=(450, 400), nodata=0)
    out, alone = tmp_path / "out.gpkg", tmp_path / "alone.gpkg"
    config = SegmentConfig(model=str(tiny_model), device="cpu", regularize="simplify")
    segment(town, alone, config=config)
    ended = {}

    class Killer(Listener):
        def stage(self, name, total=None):
            super().stage(name, total)
            if name == "segmenting":
                threading.Thread(target=self.end_one_at_work).start()
            if name == "polygonizing":
                self.end_one()

        def end_one_at_work(self):
            deadline = time.monotonic() + 60
            while not any(shards_folder(out).glob("*.tmp.tif")) and time.monotonic() < deadline:
                time.sleep(0.005)
            self.end_one()

        def end_one(self):
            workers = [p for p in children_of(os.getpid()) if b"spawn_main" in command_of(p)]
            os.kill(workers[-1], signal.SIGKILL)
            ended[self.stages[-1]] = workers[-1]

    segment(town, out, config=config, workers=2, progress=Killer())
    assert list(ended) == ["segmenting", "polygonizing"] and len(set(ended.values())) == 2
    assert capfd.readouterr().err == "", "neither the workers nor those who lost them say anything"
    one, other = (gpd.read_file(path, layer="buildings") for path in (alone, out))
    assert len(one) > 100 and one.to_wkb().equals(other.to_wkb())
    assert sorted(os.listdir(tmp_path)) == ["alone.gpkg", "out.gpkg", "town.tif"]


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        direct = [int(child) for child in file.read().split()]
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    for thread in threads:
        if thread != pid:
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                direct += [int(child) for child in file.read().split()]
    return sorted(direct)


def command_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


class Small(torch.nn.Module):
    """Has room for two images."""

    def forward(self, x):
        if len(x) > 2:
            raise DeviceMemoryError("no room")
        return x.mean(dim=1)


def test_a_batch_too_large_is_halved():
    images = np.random.default_rng(0).integers(0, 255, (7, 3, 8, 8)).astype(np.uint8)
    network, sizes = Small(), []

    def run(batch):
        sizes.append(len(batch))
        return network(torch.from_numpy(batch).float()).numpy()

    fitting = Fitting(8)
    made = fitting(run, images)
    assert np.allclose(made, images.mean(axis=1), atol=1e-4)
    assert sizes == [8, 4, 2, 2, 2, 2] and fitting.batch == 2
