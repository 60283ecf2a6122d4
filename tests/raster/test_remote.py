"""Rasters read over HTTP by ranges, as from OpenAerialMap."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio

from geossda import harmonize, open_mosaic
from geossda.raster.windows import Window
from geossda.runs.fingerprint import fingerprint
from geossda_cli.main import main

# The standard handler with ranges, which it lacks; prints its port. In a process of its own, since
# GDAL holds the interpreter while it opens a file.
SERVER = """
import http.server

class Ranges(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        with open(self.translate_path(self.path), "rb") as file:
            data = file.read()
        whole, wanted = len(data), self.headers.get("Range")
        self.send_response(206 if wanted else 200)
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            data = data[int(first) : int(last) + 1 if last else None]
            end = int(first) + len(data) - 1
            self.send_header("Content-Range", f"bytes {first}-{end}/{whole}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(tmp_path):
    """Serve tmp_path on the loopback; give its address."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


def test_a_url_reads_as_the_file_does(served, tmp_path, make_raster, monkeypatch):
    path = tmp_path / "far.tif"
    make_raster(path, bands=3, dtype="uint8", size=(150, 170))
    window = Window(20, 30, 90, 100)
    near, valid = open_mosaic(path).read(window)
    far, far_valid = open_mosaic(f"{served}/far.tif").read(window)
    assert np.array_equal(near, far)
    assert np.array_equal(valid, far_valid)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = harmonize(f"{served}/far.tif", style=f"{served}/far.tif")
    assert result.outputs[0].resolve() == (tmp_path / "here" / "far_harmonized.tif").resolve()
    with rasterio.open(result.outputs[0]) as dataset:
        assert dataset.shape == (150, 170)


def test_a_signed_url_leaves_no_secret(served, tmp_path, make_raster, monkeypatch, capsys):
    make_raster(tmp_path / "far.tif", size=(150, 170))
    make_raster(tmp_path / "style.tif", size=(150, 170), seed=1)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    query = "Expires=1900000000&Signature=SECRET" + "x" * 300
    far, style = (f"{served}/{name}.tif?{query}" for name in ("far", "style"))
    for arguments in (
        ["harmonize", far, "--style", style, "--method", "histogram"],
        ["harmonize", far, "--style", far, "--method", "histogram", "-o", "o/", "--co", "LEVEL=2"],
        ["style", style, "-o", "style.json", "--style-model", "none"],
        ["report", "far_harmonized.tif", "--source", far, "-o", "report.html"],
        ["report", far, "--source", far, "-o", "other.html"],
        ["scenes", far, "-o", "scenes.gpkg"],
        ["harmonize", f"{served}/nowhere.tif?{query}", "--style", style],
        ["info", f"{served}/nowhere.tif?{query}"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == int("nowhere" in str(arguments)), arguments
        told = capsys.readouterr()
        assert "SECRET" not in told.out + told.err
    names = {path.name for path in work.rglob("*")}
    pages = {"report.html", "other.html"}
    assert names == pages | {"far_harmonized.tif", "far.tif", "o", "style.json", "scenes.gpkg"}
    for path in work.rglob("*"):
        if path.is_file():
            assert b"SECRET" not in path.read_bytes(), path
    assert "far.tif" in str(rasterio.open("far_harmonized.tif").tags()["GEOSSDA_SOURCES"])


def test_a_link_signed_anew_is_the_same_source(served, tmp_path, make_raster):
    make_raster(tmp_path / "far.tif", size=(150, 170))
    one, other = (fingerprint(f"{served}/far.tif?s={signature}") for signature in "ab")
    assert one == other and "s=a" not in str(one)
