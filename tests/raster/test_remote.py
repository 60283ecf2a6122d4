"""Rasters read over HTTP by ranges, as from OpenAerialMap."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio

from geossda import harmonize, open_mosaic
from geossda.raster.windows import Window

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
