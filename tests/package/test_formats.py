"""One table says which vector formats are read and written; everything else asks it."""

import ast
import contextlib
import dataclasses
import shutil

import geopandas as gpd
import numpy as np
import pytest
import shapely
from conftest import REPO

from geossda import formats, info, polygonize, scenes
from geossda.data.labels import find_footprints, is_vector, read_footprints
from geossda.errors import OutputError, VectorError
from geossda.formats import VECTOR_FORMATS, VectorFormat, suffix_of, vector_suffixes

WRITTEN = vector_suffixes(writes=True)


@pytest.fixture
def mask(tmp_path, make_raster):
    image = np.zeros((1, 30, 30), np.uint8)
    image[0, 4:14, 6:20] = 1
    return make_raster(tmp_path / "mask.tif", image=image)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_is_written_is_read_back(mask, tmp_path, suffix):
    out = tmp_path / f"footprints{suffix}"
    assert polygonize(mask, out).buildings == 1
    assert len(read_footprints(out, None)) == 1
    assert info(out)["kind"] == "footprints"
    assert find_footprints(str(mask)) == out


@pytest.mark.parametrize("suffix", sorted(set(VECTOR_FORMATS) - set(WRITTEN)))
def test_what_is_only_read_is_not_written(mask, tmp_path, suffix):
    with pytest.raises(OutputError, match=r"a name ending in \.gpkg, \.fgb, \.geojson, \.parquet"):
        polygonize(mask, tmp_path / f"out{suffix}")
    frame = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 9, 9)], crs="EPSG:32632")
    if suffix == ".zip":  # as portals of offices deliver shapefiles
        (tmp_path / "parts").mkdir()
        frame.to_file(tmp_path / "parts" / "in.shp")
        shutil.make_archive(str(tmp_path / "in"), "zip", tmp_path / "parts")
    else:
        if suffix == ".geojsonl":  # has no CRS to declare
            frame = frame.to_crs("EPSG:4326")
        driver = VECTOR_FORMATS[suffix].driver
        frame.to_file(tmp_path / f"in{suffix}", driver=driver, layer="buildings")
    assert len(read_footprints(tmp_path / f"in{suffix}", None)) == 1
    assert is_vector(tmp_path / f"in{suffix}")


def test_scenes_are_written_where_every_gdal_reads_them(tmp_path, make_raster):
    with pytest.raises(OutputError, match=r"a name ending in \.gpkg, \.fgb, \.geojson was exp"):
        scenes(make_raster(tmp_path / "a.tif"), tmp_path / "scenes.parquet")


def test_a_format_is_one_entry(mask, tmp_path, monkeypatch):
    """Newline-delimited GeoJSON is written and read once it is in the table."""
    monkeypatch.setitem(VECTOR_FORMATS, ".geojsons", VectorFormat(".geojsons", "GeoJSONSeq"))
    out = tmp_path / "footprints.geojsons"
    assert polygonize(mask, out).buildings == 1
    assert len(read_footprints(out, None)) == 1 and info(out)["buildings"] == 1


def test_the_plugin_knows_the_same_formats():
    tree = ast.parse((REPO / "qgis_plugin" / "layers.py").read_text())
    known = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "VECTOR_SUFFIXES"
    )
    assert set(known) == set(vector_suffixes(by_ogr=True))


def test_the_table_is_well_formed():
    assert {each.suffix: each for each in VECTOR_FORMATS.values()} == VECTOR_FORMATS
    for each in VECTOR_FORMATS.values():
        assert each.suffix == suffix_of(f"a{each.suffix.upper()}")
        assert dataclasses.replace(each) == each
    rasters = {*formats.RASTER_SUFFIXES, *formats.PICTURE_SUFFIXES}
    others = {*formats.MODEL_SUFFIXES, formats.STYLE_SUFFIX}
    assert not set(VECTOR_FORMATS) & (rasters | others) and not rasters & others


def test_info_of_a_layer_without_a_feature(tmp_path):
    path = tmp_path / "none.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    described = info(path)
    assert described["buildings"] == 0 and described["area_m2"] == 0
    assert described["bounds"] is None


def test_gml_without_a_schema_stays_the_only_file(mask, tmp_path):
    polygonize(mask, tmp_path / "a.geojson")
    frame = gpd.read_file(tmp_path / "a.geojson")
    frame.to_file(tmp_path / "b.gml", driver="GML")
    (tmp_path / "b.xsd").unlink()
    assert info(tmp_path / "b.gml")["buildings"] == 1
    assert not (tmp_path / "b.gfs").exists()
    (tmp_path / "b.gfs").write_text("mine")  # what was there stays
    with contextlib.suppress(VectorError):
        info(tmp_path / "b.gml")
    assert (tmp_path / "b.gfs").exists()
