"""Layers as QGIS shows them: selected features, CRS set by hand, rasters that are no plain file."""

import os
import sqlite3

import numpy as np
import pytest
from osgeo import gdal, ogr, osr


@pytest.fixture
def houses():
    """A memory layer of three squares side by side; the first two are selected."""
    from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRectangle, QgsVectorLayer

    layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=name:string", "häuser", "memory")
    for number in range(3):
        feature = QgsFeature(layer.fields())
        west = 500010 + 30 * number
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(west, 5199950, west + 20, 5199970)))
        feature.setAttribute("name", f"house {number}")
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    layer.selectByIds([feature.id() for feature in list(layer.getFeatures())[:2]])
    QgsProject.instance().addMapLayer(layer)
    yield layer
    QgsProject.instance().removeMapLayer(layer.id())


def file_of(layer, listen, **more):
    from geossda_processing.layers import file_of_raster, file_of_vector
    from geossda_processing.values import finish
    from qgis.core import QgsVectorLayer

    heard = listen()
    of = file_of_vector if isinstance(layer, QgsVectorLayer) else file_of_raster
    return finish(of(layer, heard, **more), heard), heard


def names(path):
    dataset = ogr.Open(path)
    return [feature.GetField("name") for feature in dataset.GetLayer(0)]


def run(name, parameters, listen):
    import processing

    heard = listen()
    return processing.run(f"geossda:{name}", parameters, feedback=heard), heard


def test_selected_features_only(qgis, listen, houses):
    from qgis.core import QgsProcessingException, QgsProcessingFeatureSourceDefinition

    selected = QgsProcessingFeatureSourceDefinition(houses.id(), True)
    made, _ = run("evaluate", {"FOUND": selected, "TRUE": houses}, listen)
    assert made["BUILDINGS_PRECISION"] == 1
    assert made["BUILDINGS_RECALL"] == pytest.approx(2 / 3)
    # The area takes the third house out of the count.
    made, _ = run("evaluate", {"FOUND": selected, "TRUE": houses, "AREA": selected}, listen)
    assert made["BUILDINGS_RECALL"] == 1
    houses.removeSelection()
    with pytest.raises(QgsProcessingException, match="no feature of häuser is selected"):
        run("evaluate", {"FOUND": selected, "TRUE": houses}, listen)


def test_figures_are_shown_by_their_labels_and_not_as_json(qgis, listen, houses):
    _, heard = run("evaluate", {"FOUND": houses, "TRUE": houses}, listen)
    assert "F1 of buildings: 1" in heard.infos
    ours = [text for text in heard.infos if not text.startswith("Results: ")]
    assert [text for text in ours if "{" in text or '"iou"' in text] == []


@pytest.mark.parametrize("kind", ["memory", "filtered", "edited", "one of two layers", "moved"])
def test_vector_layers_are_read_as_they_are_shown(qgis, listen, houses, tmp_path, kind):
    from qgis.core import QgsCoordinateReferenceSystem, QgsVectorLayer

    stored, _ = file_of(houses, listen)
    assert names(stored) == ["house 0", "house 1", "house 2"]
    if kind == "memory":
        return
    layer, expected = QgsVectorLayer(stored, "stored"), ["house 0", "house 1", "house 2"]
    if kind == "filtered":
        layer.setSubsetString("name = 'house 1'")
        expected = ["house 1"]
    elif kind == "edited":
        layer.startEditing()
        layer.deleteFeature(next(layer.getFeatures()).id())
        expected = ["house 1", "house 2"]
    elif kind == "one of two layers":
        dataset = ogr.Open(stored, 1)
        dataset.CreateLayer("other", dataset.GetLayer(0).GetSpatialRef(), ogr.wkbPolygon)
        del dataset
        layer = QgsVectorLayer(f"{stored}|layerid=0", "stored")
    elif kind == "moved":
        layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32634"))
    assert layer.isValid()
    path, heard = file_of(layer, listen)
    assert path != stored and names(path) == expected
    dataset = ogr.Open(path)
    place = dataset.GetLayer(0).GetSpatialRef().GetAuthorityCode(None)
    assert place == ("32634" if kind == "moved" else "32633")
    assert any("EPSG:32634" in text for text in heard.infos) == (kind == "moved")


def test_a_plain_vector_file_is_not_copied(qgis, listen, houses):
    from qgis.core import QgsVectorLayer

    stored, _ = file_of(houses, listen)
    assert file_of(QgsVectorLayer(stored, "stored"), listen)[0] == stored


def test_a_crs_set_on_a_raster_layer_counts(qgis, listen, make_raster, tmp_path):
    from qgis.core import QgsCoordinateReferenceSystem, QgsRasterLayer

    town = make_raster(tmp_path / "town.tif")
    dataset = gdal.Open(town, gdal.GA_Update)
    dataset.SetProjection("")
    del dataset
    layer = QgsRasterLayer(town, "town")
    given = {"INPUT": layer, "METHOD": "equalize", "OUTPUT": str(tmp_path / "out.tif")}
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32631"))
    made, heard = run("harmonize", given, listen)
    dataset = gdal.Open(made["OUTPUT"])
    place = osr.SpatialReference(dataset.GetProjection())
    assert place.GetAuthorityCode(None) == "32631"
    assert any("EPSG:32631" in text for text in heard.infos)


@pytest.mark.parametrize("kind", ["table of a GeoPackage", "bands of a file", "virtual raster"])
def test_rasters_that_are_no_plain_file(qgis, listen, make_raster, tmp_path, kind):
    from qgis.core import QgsRasterLayer

    town = make_raster(tmp_path / "town.tif", size=(120, 160))
    pixels = gdal.Open(town).ReadAsArray()
    if kind == "table of a GeoPackage":
        target = tmp_path / "rasters.gpkg"
        options = ["RASTER_TABLE=town", "TILE_FORMAT=PNG"]
        gdal.Translate(str(target), town, format="GPKG", creationOptions=options)
        more = [*options[1:], "RASTER_TABLE=other", "APPEND_SUBDATASET=YES"]
        gdal.Translate(str(target), town, format="GPKG", creationOptions=more)
        layer = QgsRasterLayer(f"GPKG:{target}:town", "town")
    elif kind == "bands of a file":
        layer = QgsRasterLayer(f"vrt://{town}?bands=3,2,1", "town")
        pixels = pixels[::-1]
    else:
        source = QgsRasterLayer(town, "town")
        box = source.extent().toString(10).replace(" : ", ",")
        uri = (
            f"?crs=EPSG:32633&extent={box}&width=160&height=120&formula=%22town@1%22%20%2B%201"
            f"&town:uri={town}&town:provider=gdal"
        )
        layer = QgsRasterLayer(uri, "town", "virtualraster")
        pixels = pixels[:1].astype(np.float32) + 1
    assert layer.isValid()
    path, _ = file_of(layer, listen)
    read = gdal.Open(path).ReadAsArray()
    assert np.array_equal(read[: len(pixels)] if read.ndim == 3 else read[None], pixels)
    given = {"INPUT": layer, "METHOD": "grayworld", "OUTPUT": str(tmp_path / "out.tif")}
    given.update({"BIDX": [1, 2, 3]} if kind == "table of a GeoPackage" else {})
    made, _ = run("harmonize", given, listen)
    assert gdal.Open(made["OUTPUT"]).RasterXSize == 160


@pytest.mark.parametrize("named", [True, False], ids=["layer", "file"])
def test_a_result_becomes_a_layer_of_an_existing_geopackage(
    qgis, listen, make_raster, tmp_path, named
):
    from qgis.core import QgsVectorLayer

    town = make_raster(tmp_path / "town.tif")
    target = tmp_path / "project.gpkg"
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(target))
    for name in ("roads", "houses"):
        layer = dataset.CreateLayer(name, geom_type=ogr.wkbLineString)
        layer.CreateFeature(ogr.Feature(layer.GetLayerDefn()))
    del dataset, layer
    output = f"ogr:dbname='{target}' table=\"houses\" (geom)" if named else str(target)
    made, _ = run("segment", {"INPUT": town, "THRESHOLD": 0.3, "OUTPUT": output}, listen)
    # Not the first layer of the file, which is somebody else's.
    assert made["OUTPUT"] == f"{target}|layername={'houses' if named else 'buildings'}"
    houses = QgsVectorLayer(made["OUTPUT"], "houses")
    assert houses.featureCount() == made["BUILDINGS"] > 0
    area = sum(feature["area_m2"] for feature in houses.getFeatures())
    assert made["AREA_M2"] == pytest.approx(area)
    dataset = ogr.Open(str(target))
    assert dataset.GetLayerByName("roads").GetFeatureCount() == 1
    # QGIS keeps statistics of rasters beside them.
    assert set(os.listdir(tmp_path)) <= {"project.gpkg", "town.tif", "town.tif.aux.xml"}


def test_a_geopackage_that_cannot_be_written_to_is_refused_first(
    qgis, listen, make_raster, tmp_path
):
    from qgis.core import QgsProcessingException

    town = make_raster(tmp_path / "town.tif")
    with sqlite3.connect(tmp_path / "other.gpkg") as database:
        database.execute("create table somebodys (value)")
    database.close()
    heard = listen()
    given = {"INPUT": town, "OUTPUT": f"ogr:dbname='{tmp_path}/other.gpkg' table=\"x\" (geom)"}
    import processing

    with pytest.raises(QgsProcessingException, match=r"other.gpkg"):
        processing.run("geossda:segment", given, feedback=heard)
    assert heard.stages == []
    # One that does not exist yet is made.
    given["OUTPUT"] = given["OUTPUT"].replace("other", "new")
    made, _ = run("segment", {**given, "THRESHOLD": 0.3}, listen)
    dataset = ogr.Open(str(tmp_path / "new.gpkg"))
    assert dataset.GetLayerByName("x").GetFeatureCount() == made["BUILDINGS"]
    assert made["BUILDINGS"] > 0


def test_an_empty_reference_is_refused_before_anything_runs(qgis, listen, make_raster, tmp_path):
    from qgis.core import QgsProcessingContext

    town = make_raster(tmp_path / "town.tif")
    algorithm = qgis.processingRegistry().createAlgorithmById("geossda:harmonize")
    given = {"INPUT": town, "OUTPUT": str(tmp_path / "out.tif")}
    fits, message = algorithm.checkParameterValues(given, QgsProcessingContext())
    assert not fits and message.startswith("choose a Reference") and "--" not in message
    assert algorithm.checkParameterValues({**given, "METHOD": "equalize"}, QgsProcessingContext())[
        0
    ]
    assert algorithm.checkParameterValues({**given, "STYLE": town}, QgsProcessingContext())[0]


def test_training_starts_from_the_bundled_model_unless_emptied(qgis, houses, make_raster, tmp_path):
    """So that it needs no network."""
    from geossda_processing import arguments, values
    from qgis.core import QgsProcessingContext, QgsProcessingFeedback

    algorithm = qgis.processingRegistry().createAlgorithmById("geossda:trainsegmenter")
    town = make_raster(tmp_path / "town.tif")
    verb, told = algorithm._verb, QgsProcessingFeedback(False)
    option = next(p["option"] for p in verb["parameters"] if p.get("initial") == "default")
    name = option[2:].replace("-", "_").upper()
    for more, expected in (({}, True), ({name: "default"}, True), ({name: ""}, False)):
        given = {"INPUT": [town], **more}
        read = {
            p["id"]: values.read(algorithm, p, given, QgsProcessingContext(), told)
            for p in verb["parameters"]
            if not p["kind"].endswith("_out")
        }
        command = arguments.build(verb, read)
        assert command[command.index(option) + 1] == "default" if expected else True
        assert (option in command) == expected
