"""One process at a time checks, makes and replaces an output."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest

import geossda
from geossda.errors import OutputError, OutputExistsError
from geossda.runs.lock import exclusive, output_lock


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    out = tmp_path / "out.tif"
    with output_lock(out):
        assert os.listdir(tmp_path) == [".out.tif.lock"]
        with pytest.raises(OutputError, match="another process"), output_lock(out):
            pass
        with output_lock(tmp_path / "other.tif"):
            pass
    assert os.listdir(tmp_path) == []
    with output_lock(out):
        pass


def test_a_lock_of_a_killed_process_is_free(tmp_path):
    out = tmp_path / "out.tif"
    code = (
        "import os, signal; from geossda.runs.lock import output_lock\n"
        f"with output_lock({str(out)!r}): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert os.listdir(tmp_path) == [".out.tif.lock"]
    with output_lock(out):
        pass
    assert os.listdir(tmp_path) == []


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("theirs")
    (tmp_path / ".out.tif.lock").symlink_to(target)
    with pytest.raises(OutputError, match="cannot write"), output_lock(tmp_path / "out.tif"):
        pass
    assert target.read_text() == "theirs"


@pytest.mark.parametrize("there", [True, False])
def test_an_output_that_is_a_link_is_written_through(tmp_path, make_raster, there):
    mask = make_raster(tmp_path / "mask.tif", image=np.ones((1, 40, 40), np.uint8))
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "houses.gpkg"
    if there:
        geossda.polygonize(mask, file)
    link = tmp_path / "link.gpkg"
    link.symlink_to(file)
    with output_lock(file), pytest.raises(OutputError, match="another process"):
        geossda.polygonize(mask, link, append=True)
    geossda.polygonize(mask, link, append=True)
    assert link.is_symlink() and pyogrio.read_info(file, layer="buildings")["features"] == 1 + there
    assert os.listdir(file.parent) == [file.name]
    lost = tmp_path / "lost.gpkg"
    lost.symlink_to(tmp_path / "nowhere" / "houses.gpkg")
    with pytest.raises(OutputError, match=r"nowhere does not exist"):
        geossda.polygonize(mask, lost)


def test_threads_that_take_turns_never_hold_it_together(tmp_path):
    """Including those that open the file just before its holder removes it."""
    holders, most, refused = [], [], []

    def work():
        for _ in range(300):
            try:
                with output_lock(tmp_path / "out"):
                    holders.append(1)
                    most.append(len(holders))
                    holders.pop()
            except OutputError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most and max(most) == 1
    assert len(most) + len(refused) == 1200
    assert os.listdir(tmp_path) == []


def test_what_a_function_checks_still_holds_when_it_writes(tmp_path):
    out = tmp_path / "out.txt"
    checked, go_on = threading.Event(), threading.Event()

    @exclusive(lambda given: [given["output"], given["other"]])
    def write(output, text, other=None):
        if output.exists():
            raise OutputExistsError("there")
        checked.set()
        go_on.wait(30)
        output.write_text(text)

    first = threading.Thread(target=write, args=(out, "first"))
    first.start()
    checked.wait(30)
    with pytest.raises(OutputError, match="another process"):
        write(out, text="second")
    with pytest.raises(OutputError, match="another process"):
        write(tmp_path / "third", "third", other=f"{out}|layername=x")
    go_on.set()
    first.join()
    assert out.read_text() == "first"
    with pytest.raises(OutputExistsError):
        write(out, "second")
    with pytest.raises(TypeError):
        write(out)


@pytest.mark.parametrize("append", [True, False], ids=["append", "plain"])
def test_runs_at_once_lose_no_footprint(make_raster, tmp_path, append):
    """Of two at once one may be refused; whoever ends well has its rows in the file."""
    mask = make_raster(tmp_path / "mask.tif", bands=1, size=(60, 80))
    out = tmp_path / "out.gpkg"
    geossda.polygonize(mask, out)
    rows = len(gpd.read_file(out, layer="buildings"))
    assert rows > 0
    if not append:
        out.unlink()
    command = [sys.executable, "-m", "geossda_cli", "polygonize", mask, "-o", out]
    command += ["--append"] if append else []
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=300)[1] for process in running]
    ended_well = sum(process.returncode == 0 for process in running)
    assert ended_well >= 1
    assert len(gpd.read_file(out, layer="buildings")) == rows * (ended_well + append)
    if not append:
        assert ended_well == 1
    for process, text in zip(running, said, strict=True):
        if process.returncode:
            assert process.returncode == 1
            assert "another process" in text or "exists" in text, text
    assert sorted(os.listdir(tmp_path)) == ["mask.tif", "out.gpkg"]


@pytest.mark.parametrize("verb", ["make_style", "scenes", "report", "matrix", "evaluate",
                                  "train_style", "train_segmenter", "polygonize"])  # fmt: skip
def test_verbs_hold_the_locks_of_their_outputs(make_raster, tmp_path, verb):
    raster = make_raster(tmp_path / "in.tif")
    output = {"make_style": "o.json", "matrix": "o.png", "report": "o.html"}.get(verb, "o.gpkg")
    given = {
        "make_style": {"references": raster},
        "report": {"harmonized": raster},
        "matrix": {"images": [raster]},
        "evaluate": {"found": raster, "true": raster},
        "train_style": {"sources": [raster]},
        "train_segmenter": {"sources": [raster]},
    }.get(verb, {"source": raster})
    name = "errors" if verb == "evaluate" else "output"
    held = [tmp_path / output]
    if verb.startswith("train"):
        held.append(Path(tmp_path / "o_run"))
    for path in held:
        with output_lock(path), pytest.raises(OutputError, match="another process"):
            getattr(geossda, verb)(**given, **{name: tmp_path / output})
    assert os.listdir(tmp_path) == ["in.tif"]
