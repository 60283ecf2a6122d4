"""Files of layers. What the core could not read as QGIS shows it is copied first."""

import contextlib
import os
import sqlite3
from pathlib import Path

from osgeo import gdal, ogr
from qgis.core import (
    QgsCoordinateTransformContext,
    QgsFeatureRequest,
    QgsFields,
    QgsProcessingException,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsRasterFileWriter,
    QgsRasterInterface,
    QgsRasterPipe,
    QgsVectorFileWriter,
    QgsVectorLayerFeatureSource,
)

# Suffixes of vector files that the core reads.
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".fgb", ".kml", ".gml", ".shp", ".zip", ".gdb",
                   ".geojsonl")  # fmt: skip


class Copy:
    """A file that stands for a layer, to be made while an algorithm runs: it may take a while.

    Parameters
    ----------
    name : str
        Of the layer.
    suffix : str
    write : callable
        Takes a path and a feedback, and returns an error, or "".
    """

    def __init__(self, name, suffix, write):
        # The name stands in the core's messages and in what it writes.
        safe = "".join(sign if sign.isalnum() else "_" for sign in name)[:60] or "layer"
        self._name, self._write = name, write
        self._path = QgsProcessingUtils.generateTempFilename(safe + suffix)

    def make(self, feedback):
        """Write the file, and return its path.

        Raises
        ------
        QgsProcessingException
            It could not be written.
        """
        error = self._write(self._path, feedback)
        if error:
            raise QgsProcessingException(f"{self._name} cannot be copied for geossda: {error}")
        return self._path


def file_of_raster(layer, feedback):
    """Return the file that a raster layer is in, or a `Copy`.

    Sources that GDAL reads by another name than a path (a table of a GeoPackage, a variable of a
    netCDF) and layers whose CRS was set in QGIS become a VRT; other sources are written out.

    Parameters
    ----------
    layer : QgsRasterLayer
    feedback : QgsProcessingFeedback

    Raises
    ------
    QgsProcessingException
        A web map: it is pictures of no fixed size.
    """
    provider, name = layer.dataProvider(), layer.name()
    own_crs = _own_crs(layer, feedback)
    if layer.providerType() == "gdal":
        parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
        path = (parts.get("vsiPrefix") or "") + parts["path"] + (parts.get("vsiSuffix") or "")
        plain = os.path.exists(path) or path.startswith("/vsi") or "://" in path.partition("?")[0]
        plain = plain and not path.startswith("vrt:") and not parts.get("layerName")
        if plain and own_crs is None:
            return os.path.abspath(path) if os.path.exists(path) else path
        source = path if plain else layer.source().partition("|option:")[0]
        return Copy(name, ".vrt", lambda target, _: _write_vrt(source, target, own_crs))
    if provider.capabilities() & QgsRasterInterface.Capability.Size:
        return Copy(name, ".tif", _raster_writer(provider, layer.crs()))
    raise QgsProcessingException(
        f"{name} is not a raster file ({layer.providerType()}): export it to a GeoTIFF first"
    )


def file_of_vector(layer, feedback, selected=False, limit=-1):
    """Return the file that a vector layer is in, or a `Copy`.

    Parameters
    ----------
    layer : QgsVectorLayer
    feedback : QgsProcessingFeedback
    selected : bool
        Only the features that are selected now.
    limit : int
        So many features at most; -1 for all.
    """
    own_crs = _own_crs(layer, feedback)
    if own_crs is None and not selected and limit < 0 and layer.providerType() == "ogr":
        path = QgsProviderRegistry.instance().decodeUri("ogr", layer.source()).get("path") or ""
        changed = layer.isEditable() and layer.isModified()
        if not changed and not layer.subsetString() and _holds_one_layer(path):
            return os.path.abspath(path)
    request = QgsFeatureRequest()
    if selected:
        request.setFilterFids(layer.selectedFeatureIds())
    if limit >= 0:
        request.setLimit(limit)
    return Copy(layer.name(), ".gpkg", _vector_writer(layer, request))


def _own_crs(layer, feedback):
    """Return the CRS set on a layer in QGIS, or None if it is the one of its source."""
    crs = layer.crs()
    if not crs.isValid() or crs == layer.dataProvider().crs():
        return None
    feedback.pushInfo(f"{layer.name()}: taken to be in {crs.userFriendlyIdentifier()}, as in QGIS")
    return crs


def _holds_one_layer(path):
    """Return whether a path is a vector file of a single layer that the core reads."""
    if Path(path).suffix.lower() not in VECTOR_SUFFIXES or not os.path.exists(path):
        return False
    dataset = ogr.Open(path)
    layers = [dataset.GetLayer(index) for index in range(dataset.GetLayerCount())]
    return sum(layer.GetGeomType() != ogr.wkbNone for layer in layers) == 1


def _write_vrt(source, target, crs):
    """Write a VRT of a source that GDAL opens, in another CRS if one is given."""
    options = {"format": "VRT"}
    if crs is not None:
        options["outputSRS"] = crs.toWkt()
    try:
        written = gdal.Translate(target, source, **options)
    except RuntimeError as error:
        return str(error)
    return "" if written else gdal.GetLastErrorMsg() or "GDAL cannot open it"


def _raster_writer(provider, crs):
    """Return a function that writes a raster of any provider as it is to a GeoTIFF."""
    # A provider is of the thread that made it; a clone is free for another one.
    clone = provider.clone()

    def write(target, feedback):
        pipe = QgsRasterPipe()
        if not pipe.set(clone):
            return "its provider cannot be read from"
        writer = QgsRasterFileWriter(target)
        error = writer.writeRaster(
            pipe, clone.xSize(), clone.ySize(), clone.extent(), crs,
            QgsCoordinateTransformContext(),
        )  # fmt: skip
        failed = error != QgsRasterFileWriter.WriterError.NoError
        return f"writing failed ({error})" if failed else ""

    return write


def _vector_writer(layer, request):
    """Return a function that writes features of a layer, with its unsaved edits."""
    # Unlike the layer, its source may be read in another thread.
    source = QgsVectorLayerFeatureSource(layer)
    kind, crs = layer.wkbType(), layer.crs()
    # In an edit buffer ids need not be unique; GeoPackages give new ones.
    places = [place for place, field in enumerate(layer.fields()) if field.name().lower() != "fid"]
    fields = QgsFields()
    for place in places:
        fields.append(layer.fields().at(place))

    def write(target, feedback):
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName, options.layerName = "GPKG", Path(target).stem
        writer = QgsVectorFileWriter.create(
            target, fields, kind, crs, QgsCoordinateTransformContext(), options
        )
        for feature in source.getFeatures(request):
            if feedback.isCanceled() or writer.hasError():
                break
            values = feature.attributes()
            feature.setFields(fields)
            feature.setAttributes([values[place] for place in places])
            writer.addFeature(feature)
        return writer.errorMessage() if writer.hasError() else ""

    return write


def holds_other_layers(path, name):
    """Return whether a file is a GeoPackage with other layers than the one of a name.

    Parameters
    ----------
    path : str
        May be missing.
    name : str
        Of the layer that may be there.
    """
    if not path.lower().endswith(".gpkg") or not os.path.isfile(path):
        return False
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            tables = database.execute("SELECT table_name FROM gpkg_contents").fetchall()
        except sqlite3.DatabaseError:  # the core says what is wrong with it
            return False
    return bool({table for (table,) in tables} - {name, "layer_styles"})


def count_and_sums(path, fields):
    """Return the number of features in a file, and the sum of each of some fields.

    Parameters
    ----------
    path : str
        Of the file; ``|layername=NAME`` after it names a layer other than the first.
    fields : sequence of str
    """
    path, _, name = path.partition("|layername=")
    dataset = ogr.Open(path)
    layer = dataset.GetLayerByName(name) if name else dataset.GetLayer(0)
    sums = dict.fromkeys(fields, 0.0)
    if fields:
        layer.SetIgnoredFields(["OGR_GEOMETRY"])
        for feature in layer:
            for field in fields:
                sums[field] += feature.GetField(field) or 0.0
    return layer.GetFeatureCount(), sums
