"""Polygons to stay within, as layers: selected features, other CRS, layers without a file."""

import numpy as np
import pytest
from osgeo import gdal, ogr

# The raster of `make_raster`: half metres from (500000, 5200000).
WEST, EAST = (500020, 5199900, 500050, 5199960), (500120, 5199920, 500150, 5199950)


@pytest.fixture
def quarters():
    """A memory layer of two polygons in degrees, WEST and EAST; only WEST is selected."""
    from qgis.core import (
        QgsCoordinateReferenceSystem,
        QgsCoordinateTransform,
        QgsFeature,
        QgsGeometry,
        QgsProject,
        QgsRectangle,
        QgsVectorLayer,
    )

    layer = QgsVectorLayer("Polygon?crs=EPSG:4326&field=name:string", "viertel", "memory")
    utm, degrees = map(QgsCoordinateReferenceSystem, ("EPSG:32633", "EPSG:4326"))
    back = QgsCoordinateTransform(utm, degrees, QgsProject.instance())
    for name, corners in (("west", WEST), ("east", EAST)):
        feature = QgsFeature(layer.fields())
        geometry = QgsGeometry.fromRect(QgsRectangle(*corners))
        geometry.transform(back)
        feature.setGeometry(geometry)
        feature.setAttribute("name", name)
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    layer.selectByIds([next(layer.getFeatures()).id()])
    QgsProject.instance().addMapLayer(layer)
    yield layer
    QgsProject.instance().removeMapLayer(layer.id())


def run(name, given, listen):
    import processing

    heard = listen()
    return processing.run(f"geossda:{name}", given, feedback=heard), heard


def pixels_in(*boxes):
    """Return which pixels of the raster have their centers in boxes, (300, 400)."""
    x, y = 500000.25 + np.arange(400) * 0.5, 5199999.75 - np.arange(300) * 0.5
    inside = np.zeros((300, 400), bool)
    for left, bottom, right, top in boxes:
        inside |= ((x > left) & (x < right))[None] & ((y > bottom) & (y < top))[:, None]
    return inside


def valid_of(path):
    """Return where an output is valid and its values, on the grid of the raster, (300, 400)."""
    dataset = gdal.Open(path)
    left, _, _, top, _, _ = dataset.GetGeoTransform()
    col, row = round((left - 500000) * 2), round((5200000 - top) * 2)
    part = np.s_[row : row + dataset.RasterYSize, col : col + dataset.RasterXSize]
    valid, values = np.zeros((300, 400), bool), np.zeros((3, 300, 400), np.uint8)
    valid[part] = dataset.GetRasterBand(1).GetMaskBand().ReadAsArray() > 0
    values[:, part[0], part[1]] = dataset.ReadAsArray()[:3]
    return valid, values, (dataset.RasterYSize, dataset.RasterXSize)


def extent_of(path):
    dataset = ogr.Open(path)
    left, right, bottom, top = dataset.GetLayer(0).GetExtent()
    return left, bottom, right, top


def selected_of(layer):
    from qgis.core import QgsProcessingFeatureSourceDefinition

    return QgsProcessingFeatureSourceDefinition(layer.id(), True)


@pytest.mark.parametrize("kind", ["all", "selected", "filtered", "joined", "moved"])
def test_harmonize_within_polygons_of_a_layer(qgis, listen, make_raster, quarters, tmp_path, kind):
    from qgis.core import (
        QgsCoordinateReferenceSystem,
        QgsCoordinateTransformContext,
        QgsFeature,
        QgsGeometry,
        QgsRectangle,
        QgsVectorFileWriter,
        QgsVectorLayer,
        QgsVectorLayerJoinInfo,
    )

    town, area, boxes = make_raster(tmp_path / "town.tif"), quarters, (WEST, EAST)
    whole = {"INPUT": town, "METHOD": "linear", "STYLE": make_raster(tmp_path / "b.tif", seed=4)}
    if kind == "selected":
        area, boxes = selected_of(quarters), (WEST,)
    elif kind in ("filtered", "joined"):
        stored = str(tmp_path / "stored.gpkg")
        QgsVectorFileWriter.writeAsVectorFormatV3(
            quarters,
            stored,
            QgsCoordinateTransformContext(),
            QgsVectorFileWriter.SaveVectorOptions(),
        )
        area = QgsVectorLayer(stored, "stored")
    if kind == "joined":
        join = QgsVectorLayerJoinInfo()
        join.setJoinLayer(quarters)
        join.setJoinFieldName("name")
        join.setTargetFieldName("name")
        assert area.addJoin(join)
    elif kind == "filtered":
        area.setSubsetString("name = 'east'")
        boxes = (EAST,)
    elif kind == "moved":
        # Numbers in metres, in a layer whose CRS is set by hand.
        area = QgsVectorLayer("Polygon?crs=EPSG:32632", "viertel", "memory")
        feature = QgsFeature()
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(*EAST)))
        area.dataProvider().addFeature(feature)
        area.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
        boxes = (EAST,)
    made, heard = run(
        "harmonize", {**whole, "AREA": area, "OUTPUT": str(tmp_path / "out.tif")}, listen
    )
    assert heard.commands[0].count("--area") == 1
    valid, values, size = valid_of(made["OUTPUT"])
    expected = pixels_in(*boxes)
    assert np.array_equal(valid, expected)
    # Only as large as the polygons; statistics are of them alone.
    rows, columns = np.nonzero(expected)
    assert size == (np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert len(np.unique(values[0][expected])) > 50


def test_buildings_lie_within_the_selected_polygon(qgis, listen, make_raster, quarters, tmp_path):
    given = {"INPUT": make_raster(tmp_path / "town.tif"), "THRESHOLD": 0.0, "MIN_AREA": 0.0,
             "AREA": selected_of(quarters), "OUTPUT": "TEMPORARY_OUTPUT",
             "MASK": str(tmp_path / "mask.tif")}  # fmt: skip
    made, _ = run("segment", given, listen)
    assert made["BUILDINGS"] > 0
    assert extent_of(made["OUTPUT"]) == pytest.approx(WEST, abs=0.51)
    assert np.array_equal(gdal.Open(made["MASK"]).ReadAsArray() == 1, np.ones((120, 60), bool))


def test_style_scenes_and_report_stay_within_polygons(
    qgis, listen, make_raster, quarters, tmp_path
):
    import json

    town, area = make_raster(tmp_path / "town.tif"), selected_of(quarters)
    style, _ = run(
        "style", {"INPUT": [town], "AREA": area, "OUTPUT": str(tmp_path / "a.json")}, listen
    )
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["pixels"] == 60 * 120
    scenes, _ = run("scenes", {"INPUT": town, "AREA": area, "OUTPUT": "TEMPORARY_OUTPUT"}, listen)
    assert scenes["SCENES"] == 1
    assert extent_of(scenes["OUTPUT"]) == pytest.approx(WEST, abs=0.51)
    out, _ = run("harmonize", {"INPUT": town, "STYLE_FILE": style["OUTPUT"], "METHOD": "histogram",
                               "OUTPUT": str(tmp_path / "out.tif")}, listen)  # fmt: skip
    given = {"INPUT": out["OUTPUT"], "SOURCES": [town], "AREA": area,
             "OUTPUT": str(tmp_path / "r.html"), "QA": str(tmp_path / "qa.tif")}  # fmt: skip
    made, _ = run("report", given, listen)
    quality = gdal.Open(made["QA"])
    # In cells of 64 pixels, from the corner of the area.
    assert quality.GetGeoTransform() == (WEST[0], 32.0, 0, WEST[3], 0, -32.0)
    assert (quality.RasterXSize, quality.RasterYSize) == (1, 2)


def test_an_area_that_nothing_of_is_selected_is_refused(
    qgis, listen, make_raster, quarters, tmp_path
):
    from qgis.core import QgsProcessingException

    quarters.removeSelection()
    given = {"INPUT": make_raster(tmp_path / "town.tif"), "METHOD": "equalize",
             "AREA": selected_of(quarters), "OUTPUT": str(tmp_path / "out.tif")}  # fmt: skip
    with pytest.raises(QgsProcessingException, match="Area: no feature of viertel is selected"):
        run("harmonize", given, listen)


def test_an_area_that_does_not_overlap_is_refused_by_the_layers_name(
    qgis, listen, make_raster, quarters, tmp_path
):
    from qgis.core import QgsProcessingException

    quarters.setName("elsewhere")
    place = gdal.Open(make_raster(tmp_path / "town.tif"), gdal.GA_Update)
    place.SetGeoTransform((600000, 0.5, 0, 5200000, 0, -0.5))
    del place
    given = {"INPUT": str(tmp_path / "town.tif"), "METHOD": "equalize", "AREA": quarters,
             "OUTPUT": str(tmp_path / "out.tif")}  # fmt: skip
    with pytest.raises(QgsProcessingException, match=r"elsewhere\S* does not overlap the raster"):
        run("harmonize", given, listen)
