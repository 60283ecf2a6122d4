"""Runs through QGIS: the same results as from the command line and the API, and clear failures."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import CORE, qgis_process
from osgeo import gdal, ogr

LOOK = {"METHOD": "histogram", "STRENGTH": 0.7}


def pixels(path):
    dataset = gdal.Open(str(path))
    mask = dataset.GetRasterBand(1).GetMaskBand().ReadAsArray()
    return dataset.ReadAsArray(), mask, dataset.GetGeoTransform(), dataset.GetProjection()


def same_raster(one, other):
    return all(np.array_equal(a, b) for a, b in zip(pixels(one), pixels(other)))


def polygons(path):
    dataset = ogr.Open(str(path))
    return [(f.GetGeometryRef().ExportToIsoWkt(), f.ExportToJson(as_object=True)["properties"])
            for f in dataset.GetLayerByName("buildings")]  # fmt: skip


def core(*arguments):
    return subprocess.run(
        [CORE, "-m", "geossda_cli", *map(str, arguments)], check=True, capture_output=True
    )


def api(code, *arguments):
    return subprocess.run([CORE, "-W", "ignore", "-c", code, *map(str, arguments)], check=True)


def run(name, parameters, listen, context=None):
    import processing

    heard = listen()
    return processing.run(f"geossda:{name}", parameters, feedback=heard, context=context), heard


@pytest.mark.parametrize("method", ["ssda", "histogram"])
def test_harmonize_is_the_same_everywhere(qgis, enabled, crop, tmp_path, method):
    source, reference = crop
    outs = [tmp_path / f"{name} ü.tif" for name in ("plugin", "cli", "api")]
    done = qgis_process(
        "run", "geossda:harmonize", f"--INPUT={source}", f"--STYLE={reference}",
        f"--METHOD={method}", "--STRENGTH=0.7", f"--OUTPUT={outs[0].name}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    core("harmonize", source, "--style", reference, "--method", method, "--strength", 0.7,
         "-o", outs[1])  # fmt: skip
    code = ("import sys, geossda as g; s, r, o, m = sys.argv[1:]; g.harmonize(s, o, style=r, "
            "config=g.HarmonizeConfig(method=m, strength=0.7))")  # fmt: skip
    api(code, source, reference, outs[2], method)
    assert same_raster(outs[0], outs[1])
    assert same_raster(outs[0], outs[2])
    before, after = pixels(source)[0], pixels(outs[0])[0]
    assert before.shape == after.shape and (before != after).any()


def test_segment_is_the_same_everywhere(qgis, enabled, crop, tmp_path):
    source = crop[0]
    outs = [tmp_path / f"{name}.gpkg" for name in ("plugin", "cli", "api")]
    rasters = [tmp_path / f"{name}.tif" for name in ("plugin", "cli")]
    done = qgis_process(
        "run", "geossda:segment", f"--INPUT={source}", f"--OUTPUT={outs[0]}",
        f"--PROBABILITIES={rasters[0]}", "--THRESHOLD=0.4", "--MIN_AREA=12", "--TOLERANCE=0.3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    core("segment", source, "-o", outs[1], "--probabilities", rasters[1], "--threshold", 0.4,
         "--min-area", 12, "--tolerance", 0.3)  # fmt: skip
    code = ("import sys, geossda as g; g.segment(sys.argv[1], sys.argv[2], config="
            "g.SegmentConfig(threshold=0.4, min_area=12, tolerance=0.3))")  # fmt: skip
    api(code, source, outs[2])
    assert len(polygons(outs[0])) > 3
    assert polygons(outs[0]) == polygons(outs[1]) == polygons(outs[2])
    assert same_raster(*rasters)


def test_extent_in_another_crs(qgis, listen, make_raster, tmp_path):
    town, other = make_raster(tmp_path / "town.tif"), make_raster(tmp_path / "other.tif", seed=7)
    common = {"INPUT": town, "STYLE": other, **LOOK}
    whole, _ = run("harmonize", {**common, "OUTPUT": str(tmp_path / "whole.tif")}, listen)
    from qgis.core import (
        QgsCoordinateReferenceSystem,
        QgsCoordinateTransform,
        QgsProject,
        QgsRectangle,
        QgsReferencedRectangle,
    )

    utm, degrees = map(QgsCoordinateReferenceSystem, ("EPSG:32633", "EPSG:4326"))
    box = QgsRectangle(500030.25, 5199900.25, 500090.25, 5199970.25)
    told = QgsCoordinateTransform(utm, degrees, QgsProject.instance()).transformBoundingBox(box)
    for name, extent in (
        ("here", f"500030.25,500090.25,5199900.25,5199970.25 [{utm.authid()}]"),
        ("degrees", QgsReferencedRectangle(told, degrees)),
    ):
        path = str(tmp_path / f"{name}.tif")
        part, heard = run("harmonize", {**common, "EXTENT": extent, "OUTPUT": path}, listen)
        image, _, place, _ = pixels(part["OUTPUT"])
        col, row = round((place[0] - 500000) / 0.5), round((5200000 - place[3]) / 0.5)
        height, width = image.shape[1:]
        if name == "here":
            assert (col, row, width, height) == (60, 59, 121, 141)
            assert "--bounds-crs EPSG:32633" in heard.commands[0]
        assert col <= 60 and row <= 59 and width >= 121 and height >= 141
        expected = pixels(whole["OUTPUT"])[0][:, row : row + height, col : col + width]
        assert np.array_equal(image, expected)


def test_the_logged_command_runs_in_a_terminal(qgis, listen, make_raster, tmp_path):
    town = make_raster(tmp_path / "it's a töwn.tif")
    given = {"INPUT": town, "METHOD": "equalize", "BIDX": [3, 1, 2], "NODATA": 7,
             "CO": "COMPRESS=ZSTD LEVEL=3", "OUTPUT": str(tmp_path / "öut put.tif")}  # fmt: skip
    made, heard = run("harmonize", given, listen)
    first = pixels(made["OUTPUT"])
    os.remove(made["OUTPUT"])
    assert "--overwrite" in heard.commands[0] and "--progress" not in heard.commands[0]
    subprocess.run(heard.commands[0], shell=True, check=True, capture_output=True)
    assert all(np.array_equal(a, b) for a, b in zip(first, pixels(made["OUTPUT"])))


def test_temporary_outputs_and_several_inputs(qgis, listen, make_raster, tmp_path):
    town, other = make_raster(tmp_path / "town.tif"), make_raster(tmp_path / "other.tif", seed=7)
    given = {"INPUT": town, "MORE_INPUTS": [other], "STYLE": town, "MORE_STYLES": [other], **LOOK,
             "OUTPUT": "TEMPORARY_OUTPUT"}  # fmt: skip
    made, _ = run("harmonize", given, listen)
    assert made["OUTPUT"].endswith("OUTPUT.tif") and Path(made["OUTPUT"]).exists()
    picture, _ = run("matrix", {"INPUT": [town, other], "METHOD": "reinhard",
                                "OUTPUT": "TEMPORARY_OUTPUT"}, listen)  # fmt: skip
    assert Path(picture["OUTPUT"]).read_bytes().startswith(b"\x89PNG")
    style, _ = run("style", {"INPUT": [other], "OUTPUT": str(tmp_path / "look.json")}, listen)
    assert json.loads(Path(style["OUTPUT"]).read_text())
    again, _ = run("harmonize", {"INPUT": town, "STYLE_FILE": style["OUTPUT"], **LOOK,
                                 "OUTPUT": str(tmp_path / "again.tif")}, listen)  # fmt: skip
    assert Path(again["OUTPUT"]).exists()


@pytest.fixture
def square():
    """A layer that is in no file, with one square of 20 m."""
    from qgis.core import QgsFeature, QgsGeometry, QgsRectangle, QgsVectorLayer

    layer = QgsVectorLayer("Polygon?crs=EPSG:32633", "squäre", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500010, 5199950, 500030, 5199970)))
    layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    return layer


def test_polygonize(qgis, listen, make_raster, tmp_path):
    town = make_raster(tmp_path / "town.tif")
    given = {"INPUT": town, "BIDX": [1], "REGULARIZE": "simplify", "MIN_AREA": 5.0,
             "THRESHOLD": 0.5, "OUTPUT": str(tmp_path / "plugin.gpkg")}  # fmt: skip
    run("polygonize", given, listen)
    core("polygonize", town, "--bidx", 1, "--regularize", "simplify", "--min-area", 5,
         "-o", tmp_path / "cli.gpkg")  # fmt: skip
    assert polygons(tmp_path / "plugin.gpkg") == polygons(tmp_path / "cli.gpkg")


def test_evaluate_takes_layers_without_a_file_and_gives_numbers(qgis, listen, square):
    made, heard = run("evaluate", {"FOUND": square, "TRUE": square, "AREA": square}, listen)
    assert made["PIXELS_IOU"] == made["BUILDINGS_F1"] == 1
    assert "IoU of pixels: 1" in heard.infos


def test_training_and_using_a_model(qgis, listen, make_raster, square, tmp_path):
    town = make_raster(tmp_path / "town.tif", size=(200, 200))
    given = {"INPUT": [town], "FOOTPRINTS": [square], "ENCODER": "tu-mobilenetv3_small_050",
             "ENCODER_WEIGHTS": "none", "STEPS": 2, "BATCH": 1, "PATCH": 64, "GSD": 0.5,
             "MEAN_TEACHER": False, "OUTPUT": str(tmp_path / "tiny.safetensors")}  # fmt: skip
    model, heard = run("trainsegmenter", given, listen)
    assert "--no-mean-teacher" in heard.commands[0]
    found, _ = run("segment", {"INPUT": town, "MODEL": model["OUTPUT"], "THRESHOLD": 0.0,
                               "OUTPUT": str(tmp_path / "found.gpkg")}, listen)  # fmt: skip
    assert polygons(found["OUTPUT"])
    given = {"INPUT": [town], "STEPS": 1, "BATCH": 4, "PATCH": 64, "PERCEPTUAL": 0,
             "OUTPUT": str(tmp_path / "look.safetensors")}  # fmt: skip
    look, _ = run("trainstyle", given, listen)
    harmonized, _ = run("harmonize", {"INPUT": town, "STYLE": town, "METHOD": "ssda",
                                      "STYLE_MODEL": look["OUTPUT"],
                                      "OUTPUT": str(tmp_path / "out.tif")}, listen)  # fmt: skip
    assert Path(harmonized["OUTPUT"]).exists()


@pytest.mark.parametrize("kind", ["wms", "band without style", "ssda on one band", "beside",
                                  "into a database", "damaged"])  # fmt: skip
def test_failures_are_one_line(qgis, listen, make_raster, tmp_path, kind):
    from qgis.core import QgsProcessingException, QgsRasterLayer

    town = make_raster(tmp_path / "town.tif")
    given = {"INPUT": town, "STYLE": town, "OUTPUT": str(tmp_path / "out.tif")}
    name, expected = "harmonize", ""
    if kind == "wms":
        source = "type=xyz&url=http://127.0.0.1/{z}/{x}/{y}.png&zmax=1&zmin=0"
        given["INPUT"] = QgsRasterLayer(source, "tiles", "wms")
        expected = "tiles is a web map: choose an Extent"
    elif kind == "band without style":
        del given["STYLE"]
        expected = "choose a Reference"
    elif kind == "ssda on one band":
        given.update(BIDX=[1], METHOD="ssda")
        expected = "band"
    elif kind == "beside":
        given["EXTENT"] = "0,1,0,1 [EPSG:32633]"
        expected = "the bounds do not overlap"
    elif kind == "into a database":
        name, expected = "segment", "writes files and layers of GeoPackages"
        given = {"INPUT": town, "OUTPUT": "postgis:dbname='x' table=\"y\" (geom)"}
    elif kind == "damaged":
        os.truncate(town, 200_000)
        expected = "town.tif"
    with pytest.raises(QgsProcessingException) as caught:
        run(name, given, listen)
    # QGIS's own line comes before what is refused in the dialog.
    message = str(caught.value).replace("Unable to execute algorithm\n", "")
    assert expected in message and "\n" not in message and "Traceback" not in message
    assert os.listdir(tmp_path) == ["town.tif"]


def test_results_load_with_name_and_style(qgis, listen, make_raster, tmp_path):
    """As the toolbox loads them: into a project, by the context's details."""
    from qgis.core import QgsProcessingContext, QgsProcessingOutputLayerDefinition, QgsProject

    town = make_raster(tmp_path / "town.tif")
    project, context = QgsProject.instance(), QgsProcessingContext()
    context.setProject(project)
    given = {"INPUT": town, "THRESHOLD": 0.3}
    for name, suffix in (("OUTPUT", "gpkg"), ("PROBABILITIES", "tif")):
        given[name] = QgsProcessingOutputLayerDefinition(str(tmp_path / f"x.{suffix}"), project)
    run_and_load("segment", given, context, listen)
    layers = {layer.name(): layer for layer in project.mapLayers().values()}
    assert set(layers) == {"town buildings", "town probabilities"}
    assert layers["town probabilities"].renderer().type() == "singlebandpseudocolor"
    buildings = layers["town buildings"]
    assert buildings.isValid() and buildings.featureCount()
    assert buildings.renderer().dump() == packaged_renderer(buildings)
    project.clear()


def packaged_renderer(layer):
    """The renderer of the style that the GeoPackage carries."""
    from qgis.core import QgsVectorLayer
    from qgis.PyQt.QtXml import QDomDocument

    dataset = ogr.Open(layer.source().split("|")[0])
    document = QDomDocument()
    document.setContent(next(iter(dataset.GetLayerByName("layer_styles"))).GetField("styleQML"))
    plain = QgsVectorLayer("Polygon?field=confidence:double", "plain", "memory")
    assert plain.importNamedStyle(document)[0]
    return plain.renderer().dump()


def run_and_load(name, given, context, listen):
    from processing.gui.Postprocessing import handleAlgorithmResults
    from qgis.core import QgsApplication

    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"geossda:{name}")
    heard = listen()
    _, well = algorithm.run(given, context, heard)
    assert well, heard.errors
    assert handleAlgorithmResults(algorithm, context, heard)


def test_a_model_chains_harmonize_and_segment(qgis, listen, make_raster, tmp_path):
    from chain import chain
    from qgis.core import QgsProcessingContext, QgsProcessingModelAlgorithm

    model = chain("histogram", 0.3)
    path = str(tmp_path / "chain.model3")
    assert model.toFile(path)
    loaded = QgsProcessingModelAlgorithm()
    assert loaded.fromFile(path)
    assert loaded.validate() == (True, [])
    loaded.initAlgorithm()
    given = {"mosaic": make_raster(tmp_path / "town.tif"),
             "reference": make_raster(tmp_path / "other.tif", seed=7),
             "second:buildings": str(tmp_path / "chained.gpkg")}  # fmt: skip
    name = next(p.name() for p in loaded.parameterDefinitions() if p.isDestination())
    given[name] = given.pop("second:buildings")
    heard = listen()
    _, well = loaded.run(given, QgsProcessingContext(), heard)
    assert well, heard.errors
    core("harmonize", given["mosaic"], "--style", given["reference"], "--method", "histogram",
         "-o", tmp_path / "step.tif")  # fmt: skip
    core("segment", tmp_path / "step.tif", "-o", tmp_path / "steps.gpkg", "--threshold", 0.3)
    geometries = [[g for g, _ in polygons(tmp_path / f"{n}.gpkg")] for n in ("chained", "steps")]
    assert geometries[0] == geometries[1]


def test_scenes_found_drawn_and_reported_on(qgis, listen, make_raster, tmp_path):
    from qgis.core import QgsFeature, QgsGeometry, QgsRectangle, QgsVectorLayer

    town, other = make_raster(tmp_path / "town.tif"), make_raster(tmp_path / "other.tif", seed=7)
    found, heard = run("scenes", {"INPUT": town, "OUTPUT": "TEMPORARY_OUTPUT"}, listen)
    assert ogr.Open(found["OUTPUT"]).GetLayerByName("scenes").GetFeatureCount() == 1
    assert "--scenes" not in heard.commands[0]

    # Drawn in QGIS and in no file yet.
    drawn = QgsVectorLayer("Polygon?crs=EPSG:32633", "drawn", "memory")
    west = QgsFeature()
    box = QgsRectangle(500000, 5199000, 500060, 5200000)
    west.setGeometry(QgsGeometry.fromRect(box))
    drawn.dataProvider().addFeatures([west])
    given = {"INPUT": town, "STYLE": other, **LOOK, "SCENES_LAYER": drawn}
    levelled, heard = run("harmonize", {**given, "OUTPUT": str(tmp_path / "out.tif")}, listen)
    assert heard.commands[0].count("--scenes") == 1
    tags = gdal.Open(levelled["OUTPUT"]).GetMetadata()
    assert "GEOSSDA_SCENES" in tags

    page = tmp_path / "report.html"
    told = {"INPUT": levelled["OUTPUT"], "SOURCES": [town], "SCENES_LAYER": drawn,
            "OUTPUT": str(page), "QA": str(tmp_path / "qa.tif")}  # fmt: skip
    made, _ = run("report", told, listen)
    assert "</html>" in page.read_text(encoding="utf-8")
    assert gdal.Open(made["QA"]).RasterCount == 1
    assert 0.9 < made["LIKENESS"] <= 1
