"""A web map as input: what it shows of an extent is fetched from a server on this machine."""

import http.server
import math
import threading

import numpy as np
import pytest
from osgeo import gdal

# EPSG:3857 units of the world, edge to edge.
WORLD = 2 * math.pi * 6378137
ZOOM = 18


class Tiles(http.server.BaseHTTPRequestHandler):
    """Tiles of one color each, by their column and row."""

    def do_GET(self):
        zoom, column, row = (int(part) for part in self.path.strip("/").split(".")[0].split("/"))
        self.server.asked.append((zoom, column, row))
        image = np.empty((4, 256, 256), np.uint8)
        image[:] = np.array([column % 8 * 25 + 30, row % 8 * 25 + 30, 90, 255])[:, None, None]
        image[:3, ::8] //= 2
        memory = gdal.GetDriverByName("MEM").Create("", 256, 256, 4, gdal.GDT_Byte)
        memory.WriteArray(image)
        gdal.GetDriverByName("PNG").CreateCopy("/vsimem/tile.png", memory)
        data = bytes(gdal.VSIFReadL(1, 10_000_000, gdal.VSIFOpenL("/vsimem/tile.png", "rb")))
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def tiles(qgis):
    """A layer of XYZ tiles; `asked` is what has been fetched."""
    from qgis.core import QgsRasterLayer

    server = http.server.HTTPServer(("127.0.0.1", 0), Tiles)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{{z}}/{{x}}/{{y}}.png"
    layer = QgsRasterLayer(f"type=xyz&url={url}&zmin=0&zmax={ZOOM}", "tiles", "wms")
    assert layer.isValid()
    layer.asked = server.asked
    yield layer
    server.shutdown()
    server.server_close()


def extent_of(column, row, tiles):
    """The extent of some tiles from one on, as a user gives it."""
    size = WORLD / 2**ZOOM
    west, north = column * size - WORLD / 2, WORLD / 2 - row * size
    return f"{west},{west + tiles * size},{north - tiles * size},{north} [EPSG:3857]"


def run(given, listen):
    import processing

    heard = listen()
    return processing.run("geossda:harmonize", given, feedback=heard), heard


def test_a_web_map_is_fetched_for_the_extent(tiles, listen, tmp_path):
    column, row = 2**ZOOM // 2 + 100, 2**ZOOM // 2 - 60
    out = str(tmp_path / "out.tif")
    given = {"INPUT": tiles, "METHOD": "grayworld", "EXTENT": extent_of(column, row, 3),
             "OUTPUT": out}  # fmt: skip
    _, heard = run(given, listen)
    dataset = gdal.Open(out)
    # Near the equator the finest level, 0.6 m, is coarser than what the model wants: as it is.
    assert (dataset.RasterXSize, dataset.RasterYSize) == (768, 768)
    assert {zoom for zoom, *_ in tiles.asked} == {ZOOM}
    wanted = {(ZOOM, column + dx, row + dy) for dx in range(3) for dy in range(3)}
    assert wanted <= set(tiles.asked)
    assert any("license" in text for text in heard.warnings)
    image = dataset.ReadAsArray()
    # One color a tile: red grows with the column.
    assert image[0, 100, 100] < image[0, 100, 400] < image[0, 100, 700]


def test_a_web_map_without_an_extent_or_with_too_large_a_one_is_refused(tiles, listen, tmp_path):
    from qgis.core import QgsProcessingException

    given = {"INPUT": tiles, "METHOD": "grayworld", "OUTPUT": str(tmp_path / "out.tif")}
    with pytest.raises(QgsProcessingException, match="tiles is a web map: choose an Extent"):
        run(given, listen)
    with pytest.raises(QgsProcessingException, match="choose a smaller Extent"):
        run({**given, "EXTENT": extent_of(2**ZOOM // 2, 2**ZOOM // 2, 100)}, listen)
    assert tiles.asked == []


def test_a_web_map_is_fetched_for_the_area(tiles, listen, tmp_path):
    from qgis.core import QgsFeature, QgsGeometry, QgsRectangle, QgsVectorLayer

    column, row, size = 2**ZOOM // 2 + 100, 2**ZOOM // 2 - 60, WORLD / 2**ZOOM
    west, north = column * size - WORLD / 2, WORLD / 2 - row * size
    area = QgsVectorLayer("Polygon?crs=EPSG:3857", "area", "memory")
    feature = QgsFeature()
    box = QgsRectangle(west + size / 4, north - 3 * size / 4, west + size * 3 / 4, north - size / 4)
    feature.setGeometry(QgsGeometry.fromRect(box))
    area.dataProvider().addFeature(feature)
    area.updateExtents()
    out = str(tmp_path / "out.tif")
    run({"INPUT": tiles, "METHOD": "grayworld", "AREA": area, "OUTPUT": out}, listen)
    assert {(x, y) for _, x, y in tiles.asked} == {(column, row)}
    assert gdal.Open(out).RasterXSize == 128
