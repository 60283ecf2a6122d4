"""Render layers as QGIS shows them on loading: qgis_map.py PICTURE LAYER [LAYER ...], top first.

For the system's Python that has QGIS.
"""

import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize


def main(picture, *paths):
    """Load with the layers' own styles, render the extent of the last, save."""
    QgsApplication.setPrefixPath("/usr", True)
    app = QgsApplication([], False)
    app.initQgis()
    layers = [
        QgsVectorLayer(path, path) if Path(path).suffix == ".gpkg" else QgsRasterLayer(path, path)
        for path in paths
    ]
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[-1].crs())
    settings.setExtent(layers[-1].extent())
    settings.setOutputSize(QSize(900, 900))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(picture)
    print(picture, [layer.isValid() for layer in layers])


if __name__ == "__main__":
    main(*sys.argv[1:])
