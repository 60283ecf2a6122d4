"""Bad input: one line that helps, exit 1 or 2, no traceback, nothing half-written."""

import ctypes
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geossda.errors import counted
from geossda_cli.main import main

# Of Linux: <sys/prctl.h> and <linux/capability.h>.
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def write(path, pixels, *, crs="EPSG:32737", transform=None, **profile):
    count, height, width = pixels.shape
    transform = from_origin(500_000, 9_300_000, 0.3, 0.3) if transform is None else transform
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=pixels.dtype,
        crs=crs,
        transform=transform,
        **profile,
    ) as dataset:
        dataset.write(pixels)
    return path


def noise(bands=3, height=80, width=90, dtype="uint8", high=255, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, high, (bands, height, width)).astype(dtype)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Call the command line in an empty folder; give (exit code, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return stop.value.code, told.err.strip()

    return call


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "source.tif", noise())


@pytest.fixture
def style(tmp_path):
    return write(tmp_path / "style.tif", noise(seed=1) // 2)


def refused(result, *words, code=1):
    """Check for one line with these words."""
    assert result[0] == code, result
    lines = result[1].splitlines()
    lines = [line for line in lines if not line.startswith("geossda: warning: the style ")]
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]


def left_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_missing_file(run, style):
    refused(run("harmonize", "nowhere.tif", "--style", style), "nowhere.tif", "does not exist")
    refused(run("segment", "nowhere.tif", "-o", "b.gpkg"), "nowhere.tif", "does not exist")
    assert left_in(".") == ["style.tif"]


def test_not_a_raster(run, style, tmp_path):
    (tmp_path / "notes.tif").write_text("not pixels")
    refused(run("harmonize", "notes.tif", "--style", style), "notes.tif", "not a raster")


def test_empty_folder_and_glob(run, style, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(run("harmonize", "empty", "--style", style), "holds no raster")
    refused(run("harmonize", "*.jp2", "--style", style), "matches no file")


def test_no_style(run, source):
    refused(run("harmonize", source), "--style")


def test_no_crs(run, style, tmp_path):
    write(tmp_path / "bare.tif", noise(), crs=None)
    code, told = run("harmonize", "bare.tif", "--style", style)
    assert code == 0
    assert "no CRS" in told
    refused(run("segment", "bare.tif", "-o", "b.gpkg"), "no CRS")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_no_transform(run, style, tmp_path):
    write(tmp_path / "bare.tif", noise(), transform=rasterio.Affine.identity())
    assert run("harmonize", "bare.tif", "--style", style)[0] == 0
    refused(run("segment", "bare.tif", "-o", "b.gpkg"), "no transform")


def test_no_valid_pixel(run, style, tmp_path):
    write(tmp_path / "void.tif", np.zeros((3, 50, 50), np.uint8), nodata=0)
    refused(run("harmonize", "void.tif", "--style", style), "void.tif", "no valid pixel")
    refused(run("harmonize", style, "--style", "void.tif"), "void.tif", "no valid pixel")
    refused(run("segment", "void.tif", "-o", "b.gpkg"), "void.tif", "no valid pixel")
    assert left_in(".") == ["style.tif", "void.tif"]


def test_nan_and_infinity_stay_and_count_nowhere(run, style, tmp_path):
    pixels = noise(dtype="float32") / np.float32(300)
    pixels[:, 10:20, 10:20] = np.nan
    pixels[1, 30:40, 30:40] = np.inf
    write(tmp_path / "wild.tif", pixels)
    assert run("harmonize", "wild.tif", "--style", style, "-o", "out.tif")[0] == 0
    with rasterio.open(tmp_path / "out.tif") as dataset:
        result = dataset.read()
    assert np.isnan(result[:, 10:20, 10:20]).all()
    assert np.isinf(result[1, 30:40, 30:40]).all()
    good = np.isfinite(pixels).all(axis=0)
    assert np.isfinite(result[:, good]).all()
    assert result[:, good].max() < 0.6


@pytest.mark.parametrize(("of_source", "of_style"), [(3, 1), (1, 3), (4, 3)])
def test_band_counts_differ(run, tmp_path, of_source, of_style):
    write(tmp_path / "a.tif", noise(of_source))
    write(tmp_path / "b.tif", noise(of_style))
    refused(
        run("harmonize", "a.tif", "--style", "b.tif"),
        "has " + counted(of_style, "band"), f"has {of_source}", "--bidx",
    )  # fmt: skip
    assert left_in(".") == ["a.tif", "b.tif"]


def test_band_that_is_not_there(run, source, style):
    refused(run("harmonize", source, "--style", style, "--bidx", "1,2,7"), "band 7", "1 to 3")
    assert run("harmonize", source, "--style", style, "--bidx", "0")[0] == 2


def test_eleven_bits_take_an_eight_bit_style(run, style, tmp_path):
    write(tmp_path / "eleven.tif", noise(dtype="uint16", high=2047))
    assert run("harmonize", "eleven.tif", "--style", style, "-o", "out.tif")[0] == 0
    with rasterio.open(tmp_path / "out.tif") as dataset:
        result = dataset.read()
    # The style fills half of 8 bit, so the result fills about half of 11 bit.
    assert result.dtype == np.uint16
    assert 900 < result.max() < 1300


@pytest.mark.parametrize("shape", [(5, 7), (60, 1), (1, 100_000), (1, 1)])
def test_odd_sizes(run, style, tmp_path, shape):
    write(tmp_path / "odd.tif", noise(height=shape[0], width=shape[1]))
    code, told = run("harmonize", "odd.tif", "--style", style, "-o", "out.tif")
    assert code == 0 and told.count("\n") == 0 and "too small an image: histogram is used" in told
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.shape == shape
        assert dataset.read().any()


@pytest.mark.parametrize("shape", [(5, 7), (300, 1)])
def test_segment_of_less_than_a_window(run, tiny_model, tmp_path, shape):
    write(tmp_path / "odd.tif", noise(height=shape[0], width=shape[1]))
    assert run("segment", "odd.tif", "-o", "b.gpkg", "--model", tiny_model)[0] == 0
    assert "b.gpkg" in left_in(".")


def test_truncated(run, source, style, tmp_path):
    whole = source.read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    refused(run("harmonize", "cut.tif", "--style", style), "cut.tif", "damaged")
    assert left_in(".") == ["cut.tif", "source.tif", "style.tif"]


def test_corrupted(run, style, tmp_path):
    tiled = {"compress": "zstd", "tiled": True, "blockxsize": 256, "blockysize": 256}
    path = write(tmp_path / "bad.tif", noise(height=600, width=600, high=5), **tiled)
    data = bytearray(path.read_bytes())
    data[-40_000:-30_000] = b"\x00" * 10_000
    path.write_bytes(data)
    refused(run("harmonize", "bad.tif", "--style", style), "bad.tif", "damaged")
    refused(run("segment", "bad.tif", "-o", "b.gpkg"), "bad.tif", "damaged")
    assert left_in(".") == ["bad.tif", "style.tif"]


def test_mixed_sources(run, source, style, tmp_path):
    write(tmp_path / "long.tif", noise(dtype="uint16"))
    refused(
        run("harmonize", source, "long.tif", "--style", style, "-o", "m.tif"), "uint16", "uint8"
    )


def test_output_folder_missing(run, source, style):
    refused(run("harmonize", source, "--style", style, "-o", "no/o.tif"), "no", "does not exist")
    refused(run("segment", source, "-o", "no/b.gpkg"), "no", "does not exist")


def obey_modes():
    """Have root write only where modes allow it, as anybody else: no CAP_DAC_OVERRIDE."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
        raise OSError("the capability cannot be dropped")


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
def test_output_folder_read_only(source, style, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    done = subprocess.run(
        [sys.executable, "-m", "geossda_cli", "harmonize", source, "--style", style, "-o",
         "locked/o.tif", "--method", "histogram"],
        cwd=tmp_path, capture_output=True, text=True, preexec_fn=obey_modes,
    )  # fmt: skip
    refused((done.returncode, done.stderr.strip()), "read-only")
    assert left_in(tmp_path / "locked") == []


def test_output_exists(run, source, style, tmp_path):
    (tmp_path / "o.tif").write_text("kept")
    refused(run("harmonize", source, "--style", style, "-o", "o.tif"), "o.tif", "--overwrite")
    assert (tmp_path / "o.tif").read_text() == "kept"
    assert run("harmonize", source, "--style", style, "-o", "o.tif", "--overwrite")[0] == 0
    (tmp_path / "b.gpkg").write_text("kept")
    refused(run("segment", source, "-o", "b.gpkg"), "b.gpkg", "--overwrite")
    assert (tmp_path / "b.gpkg").read_text() == "kept"


def test_output_equals_input(run, source, style):
    before = source.read_bytes()
    result = run("harmonize", source, "--style", style, "-o", source, "--overwrite")
    refused(result, "source.tif", "also an input")
    refused(run("harmonize", source, "--style", style, "-o", style, "--overwrite"), "also an input")
    assert source.read_bytes() == before


def test_style_equals_source(run, source):
    code, told = run("harmonize", source, "--style", source, "-o", "o.tif")
    assert code == 0
    assert "both source and style" in told


def test_wrong_suffix(run, source):
    refused(run("segment", source, "-o", "buildings.shp"), ".gpkg")


def test_wrong_creation_option(run, source, style):
    refused(run("harmonize", source, "--style", style, "--co", "ZSTD"), "NAME=VALUE", code=2)
    result = run("harmonize", source, "--style", style, "-o", "o.tif", "--co", "COMPRESS=NO_SUCH")
    refused(result, "NO_SUCH")
    assert left_in(".") == ["source.tif", "style.tif"]


def test_damaged_style(run, source, tmp_path):
    (tmp_path / "look.json").write_text("{")
    refused(run("harmonize", source, "--style", "look.json"), "look.json", "not a style")
    (tmp_path / "look.json").write_text('{"format": "other"}')
    refused(run("harmonize", source, "--style", "look.json"), "look.json", "not a style")


def test_unknown_model(run, source):
    refused(run("segment", source, "-o", "b.gpkg", "--model", "best"), "best", "default")


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def test_pickle_as_weights_runs_nothing(run, source, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Evil()))
    result = run("segment", source, "-o", "b.gpkg", "--model", "model.safetensors")
    refused(result, "pickle", "safetensors")
    assert "pwned" not in left_in(".")


def test_model_of_other_band_count(run, tiny_model, tmp_path):
    write(tmp_path / "five.tif", noise(bands=5))
    result = run("segment", "five.tif", "-o", "b.gpkg", "--model", tiny_model)
    refused(result, "5 bands", "expects 3", "--bidx")
    assert run("segment", "five.tif", "-o", "b.gpkg", "--model", tiny_model,
               "--bidx", "3,2,1")[0] == 0  # fmt: skip


def test_usage(run, source):
    assert run("harmonize")[0] == 2
    assert run("harmonize", source, "--method", "magic")[0] == 2
    assert run("harmonize", source, "--strength", "2")[0] == 2
    assert run("nonsense")[0] == 2


LIMITED = """
    import resource, signal, sys
    # A file may grow to 100 kB: writing more fails as it does on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    from geossda_cli.main import main
    main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["harmonize", "segment"])
def test_disk_full(tmp_path, style, tiny_model, command):
    write(tmp_path / "big.tif", noise(height=700, width=700))
    arguments = {
        "harmonize": ["--style", style, "-o", tmp_path / "o.tif"],
        "segment": ["-o", tmp_path / "b.gpkg", "--mask", tmp_path / "m.tif", "--model", tiny_model],
    }[command]
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), command, tmp_path / "big.tif", *arguments],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("geossda: ")
    if sys.platform != "win32":
        assert all(line.startswith("geossda: ") for line in ended.stderr.splitlines())
    output = "o.tif" if command == "harmonize" else "b.gpkg"
    parts = {f".{output}.parts"} & set(left_in(tmp_path))
    assert set(left_in(tmp_path)) == {"big.tif", "style.tif", *parts}
    assert bool(parts) == last.endswith("run the same command again to go on")


def check_interrupted(code, told, folder, stage):
    assert code == 130, told
    assert not any("Traceback" in line for line in told), told
    kept = [] if stage == "reading statistics" else [".o.tif.parts"]
    assert left_in(folder) == [*kept, "source.tif", "style.tif"]
    assert bool(kept) == json.loads(told[-1])["text"].endswith("again to go on"), told


@pytest.mark.parametrize("stage", ["reading statistics", "harmonizing", "compressing"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(tmp_path, style, monkeypatch, stage, number):
    """The signal comes as soon as the stage has begun."""
    source = write(tmp_path / "source.tif", noise(height=200, width=300))

    class Interrupting(io.StringIO):
        def write(self, text):
            super().write(text)
            if stage in text and '"event": "stage"' in text:
                signal.raise_signal(number)

    told = Interrupting()
    monkeypatch.setattr(sys, "stderr", told)
    arguments = [source, "--style", style, "-o", tmp_path / "o.tif", "--progress", "json"]
    with pytest.raises(SystemExit) as stop:
        main(["harmonize", *map(str, arguments)])
    check_interrupted(stop.value.code, told.getvalue().splitlines(), tmp_path, stage)


def test_interrupt_of_a_process(tmp_path, style):
    """Which is not kept by threads that still compute."""
    source = write(tmp_path / "source.tif", noise(height=1000, width=1000))
    with subprocess.Popen(
        [sys.executable, "-m", "geossda_cli", "harmonize", source, "--style", style, "-o",
         tmp_path / "o.tif", "--tile", "64", "--progress", "json"],
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        told = []
        stop_if_it_hangs = threading.Timer(100, process.kill)
        stop_if_it_hangs.start()
        for line in process.stderr:
            told.append(line)
            if "harmonizing" in line and '"event": "stage"' in line:
                process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
        stop_if_it_hangs.cancel()
    check_interrupted(process.returncode, told, tmp_path, "harmonizing")


def test_a_nodata_no_pixel_can_hold(make_raster, tmp_path, run):
    source = make_raster(tmp_path / "bytes.tif")
    refused(
        run("harmonize", source, "--method", "equalize", "--nodata", "-9999"),
        "nodata -9999", "uint8",
    )  # fmt: skip
