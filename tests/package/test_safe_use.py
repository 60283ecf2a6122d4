"""Foreign files in hostile surroundings: what is read, what is said, what stays behind."""

import os
import resource
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import UTM, Listener

import geossda
from geossda import HarmonizeConfig, PolygonizeConfig, harmonize, info, polygonize, train_segmenter
from geossda.errors import (
    BandError,
    InputError,
    ModelError,
    OutputError,
    RasterError,
    VectorError,
    counted,
)
from geossda.local_only import restrict_libraries
from geossda_cli.main import main


@pytest.fixture
def failing(capfd):
    """Run a command that fails, and return its code and what the process printed as lines."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, capfd.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize("name", ["a\nb.tif", "\x1b[31m.tif", "a\udcff.tif", "gone\r.json"])
def test_a_name_takes_one_line_whatever_it_holds(failing, tmp_path, name):
    code, lines = failing("info", tmp_path / name)
    assert code == 1 and len(lines) == 1
    assert "\x1b" not in lines[0] and repr(name)[1:-1].split(".")[0] in lines[0]


def test_one_is_singular(make_raster, tmp_path, style_of_three):
    assert counted(1, "band") == "1 band" and counted(1200, "band") == "1,200 bands"
    one = make_raster(tmp_path / "one.tif", bands=1)
    with pytest.raises(BandError, match=r"3 bands, .* has 1: choose"):
        harmonize(one, tmp_path / "o.tif", style=style_of_three, method="histogram")


@pytest.fixture
def style_of_three(make_raster, tmp_path):
    return make_raster(tmp_path / "style.tif", seed=5)


def test_what_gdal_remarks_is_not_printed(make_raster, tmp_path, capfd):
    path = make_raster(tmp_path / "a.tif")
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    data[start + 2 : start + 14], data[start + 14 : start + 26] = (
        data[start + 14 : start + 26],
        data[start + 2 : start + 14],
    )  # GDAL: tags are not sorted in ascending order
    path.write_bytes(data)
    with pytest.raises(SystemExit) as stop:
        main(["info", str(path)])
    assert stop.value.code == 0 and capfd.readouterr().err == ""


def test_an_input_that_is_deleted_meanwhile(make_raster, tmp_path):
    source = make_raster(tmp_path / "a.tif", size=(300, 300))

    class Deletes(Listener):
        def stage(self, name, total=None):
            super().stage(name, total)
            if name == "harmonizing":
                source.unlink()

    config = HarmonizeConfig(method="equalize", scenes="none", tile=64)
    with pytest.raises(RasterError, match=r"a\.tif"):
        harmonize(source, tmp_path / "o.tif", config=config, progress=Deletes())
    assert "o.tif" not in os.listdir(tmp_path)


def vrt_of(path):
    other = path.with_suffix(".vrt")
    other.write_text(
        f'<VRTDataset rasterXSize="20" rasterYSize="20"><SRS>{UTM}</SRS><GeoTransform>500000, 0.5, '
        '0, 5200000, 0, -0.5</GeoTransform><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    return other


def test_local_only(make_raster, tmp_path, monkeypatch, style_of_three):
    inner = make_raster(tmp_path / "a.tif", size=(20, 20), bands=1)
    vrt = vrt_of(inner)
    assert info(vrt)["width"] == 20
    hidden = make_raster(tmp_path / "b.tif", size=(20, 20), bands=1)
    (tmp_path / "b.tif.msk").write_bytes(vrt.read_bytes())  # a side file may be a VRT too
    monkeypatch.setenv("GEOSSDA_LOCAL_ONLY", "1")
    for path in (vrt, tmp_path / "disguised.tif"):
        if not path.exists():
            path.write_bytes(vrt.read_bytes())
        with pytest.raises(RasterError, match="of the formats GTiff"):
            info(path)
    with pytest.raises(RasterError, match="is not a local file"):
        info("https://example.invalid/a.tif")
    assert info(hidden)["validity"] == ["all"]
    # Runs make VRTs of their own shards.
    harmonize(inner, tmp_path / "o.tif", method="equalize")
    mask = make_raster(tmp_path / "mask.tif", image=np.ones((1, 20, 20), np.uint8))
    assert polygonize(mask, tmp_path / "o.gpkg").buildings == 1


def test_local_only_keeps_libraries_off_the_network():
    environment = {"GEOSSDA_LOCAL_ONLY": "1"}
    restrict_libraries(environment)
    assert "OGR_VRT" in environment["OGR_SKIP"] and environment["HF_HUB_OFFLINE"] == "1"
    for off in ({}, {"GEOSSDA_LOCAL_ONLY": "0"}):
        given = dict(off)
        restrict_libraries(given)
        assert given == off


def test_equal_runs_give_equal_bytes(make_raster, tmp_path, monkeypatch, style_of_three):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    source = make_raster(tmp_path / "a.tif", nodata=0)
    image = np.zeros((1, 60, 60), np.uint8)
    image[0, 9:30, 9:30] = 1
    mask = make_raster(tmp_path / "mask.tif", image=image)
    outputs = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        made = [tmp_path / folder / name for name in ("o.tif", "o.gpkg", "s.gpkg")]
        harmonize(source, made[0], style=style_of_three, method="histogram")
        polygonize(mask, made[1])
        polygonize(mask, made[1], append=True)
        geossda.scenes(source, made[2])
        outputs.append([path.read_bytes() for path in made])
    assert outputs[0] == outputs[1]
    assert sorted(os.listdir(tmp_path / "one")) == ["o.gpkg", "o.tif", "s.gpkg"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(OutputError, match="seconds since 1970"):
        polygonize(mask, made[1], config=PolygonizeConfig(overwrite=True))


def test_a_training_that_fails_at_once_leaves_no_folder(make_raster, tmp_path):
    source = make_raster(tmp_path / "a.tif", size=(64, 64))
    mask = make_raster(tmp_path / "mask.tif", image=np.ones((1, 64, 64), np.uint8))
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ModelError):
        train_segmenter(source, tmp_path / "o.safetensors", footprints=[mask], steps=1, batch=2,
                        patch=32, encoder="tu-mobilenetv3_small_050",
                        encoder_weights=str(tmp_path / "bad.safetensors"))  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
def test_too_little_address_space_is_told_of(monkeypatch):
    from geossda.devices import choose

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (taken + 10**9, taken + 10**9))
    with pytest.raises(InputError, match=r"\(ulimit -v\), of which libraries take"):
        choose("cpu")


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError("bad_alloc")]
)
def test_no_memory_is_one_line(failing, monkeypatch, tmp_path, error):
    def fail(path):
        raise error

    monkeypatch.setattr("geossda.api.info._raster", fail)
    code, lines = failing("info", tmp_path / "a.tif")
    assert code == 1 and len(lines) == 1 and "out of memory" in lines[0]


def test_errors_of_vector_libraries_are_one_kind(tmp_path):
    from pyogrio.errors import FeatureError
    from pyproj.exceptions import CRSError, ProjError
    from shapely.errors import GEOSException

    from geossda.raster.vector_files import vector_errors

    for kind in (CRSError, ProjError, FeatureError, GEOSException, KeyError):
        with pytest.raises(VectorError, match=r"can be read \("), vector_errors("a.gpkg"):
            raise kind("first line\nsecond")
    table = tmp_path / "table.gpkg"
    import pandas
    import pyogrio

    pyogrio.write_dataframe(pandas.DataFrame({"a": [1]}), table)
    with pytest.raises(VectorError, match="no layer with geometry"):
        info(table)
