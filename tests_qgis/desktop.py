"""Runs inside QGIS's desktop (``qgis --code``): opens every dialog, runs, cancels, takes pictures.

Where things are is in the environment: GEOSSDA_DESKTOP is a folder for pictures and results,
GEOSSDA_RASTER and GEOSSDA_STYLE the imagery, GEOSSDA_TESTS this folder.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

import processing
from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog
from qgis.core import (
    QgsApplication,
    QgsLayerTreeGroup,
    QgsProcessingContext,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import (
    QApplication,
    QDockWidget,
    QPushButton,
    QTextEdit,
    QToolButton,
    QTreeView,
)
from qgis.utils import iface

FOLDER = Path(os.environ["GEOSSDA_DESKTOP"])
SEEN = {"dialogs": []}


def wait(until, seconds=300):
    """Let QGIS work until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        if until():
            return True
        time.sleep(0.02)
    return False


def photograph(widget, name):
    pause = time.monotonic() + 0.5
    wait(lambda: time.monotonic() > pause)
    widget.grab().save(str(FOLDER / f"{name}.png"))


def dialogs():
    for algorithm in QgsApplication.processingRegistry().providerById("geossda").algorithms():
        dialog = processing.createAlgorithmDialog(algorithm.id(), {})
        dialog.resize(760, 600)
        dialog.show()
        photograph(dialog, algorithm.name())
        dialog.close()
        SEEN["dialogs"].append(algorithm.name())


def run(name, parameters):
    """Press Run in a dialog; gives the layer it has loaded."""
    before = set(QgsProject.instance().mapLayers())
    dialog = processing.createAlgorithmDialog(f"geossda:{name}", parameters)
    dialog.resize(760, 600)
    dialog.show()
    dialog.runButton().click()
    loaded = wait(lambda: set(QgsProject.instance().mapLayers()) - before)
    wait(lambda: dialog.runButton().isEnabled())
    photograph(dialog, f"{name}_log")
    dialog.close()
    new = set(QgsProject.instance().mapLayers()) - before
    return QgsProject.instance().mapLayer(new.pop()) if loaded else None


def cancel(parameters):
    """Press Cancel while the core works; gives seconds until the dialog is free again."""
    dialog = processing.createAlgorithmDialog("geossda:segment", parameters)
    dialog.show()
    dialog.runButton().click()
    log = dialog.findChild(QTextEdit, "txtLog")
    if not wait(lambda: "segmenting" in log.toPlainText().lower()):
        return None
    start = time.monotonic()
    dialog.cancelButton().click()
    ended = wait(lambda: dialog.runButton().isEnabled(), 10)
    dialog.close()
    return time.monotonic() - start if ended else None


def press_in_options(page):
    """Press the page's first button; notes which window takes input then, and closes it."""

    def look():
        dialog = QApplication.activeModalWidget()
        SEEN["modal"] = dialog.windowTitle()
        photograph(dialog, "options_setup")
        dialog.close()

    QTimer.singleShot(1500, look)
    next(b for b in page.findChildren(QPushButton) if b.text() == "Set up…").click()


def options():
    """Open QGIS's options at the settings page, as the menu does."""

    def take():
        dialog = QApplication.activeModalWidget()
        dialog.resize(900, 500)
        photograph(dialog, "options")
        SEEN["buttons"] = [b.text() for b in dialog.findChildren(QPushButton)
                           if b.isVisible() and b.text().endswith("…")]  # fmt: skip
        press_in_options(dialog)
        dialog.reject()

    QTimer.singleShot(1500, take)
    found = next(a.menu() for a in iface.rasterMenu().actions() if "geossda" in a.text())
    next(action for action in found.actions() if action.text() == "Options…").trigger()


def choices():
    """Note the words of a choice in a dialog, its value, and what stands above the fold."""
    dialog = processing.createAlgorithmDialog("geossda:harmonize", {"METHOD": "histogram"})
    panel = dialog.mainWidget()
    box = panel.wrappers["METHOD"].widget
    SEEN["method"] = [box.currentText(), panel.createProcessingParameters()["METHOD"]]
    dialog.close()
    algorithm = QgsApplication.processingRegistry().algorithmById("geossda:trainsegmenter")
    SEEN["above the fold"] = [
        parameter.name() for parameter in algorithm.parameterDefinitions()
        if not parameter.flags() & parameter.Flag.FlagAdvanced
    ]  # fmt: skip


def menu():
    """Open a dialog from the menu, and note what the toolbar's button offers."""
    found = next(a.menu() for a in iface.rasterMenu().actions() if "geossda" in a.text())
    SEEN["menu"] = [action.text() for action in found.actions()]
    button = iface.mainWindow().findChild(QToolButton, "geossda_button")
    SEEN["button"] = [action.text() for action in button.menu().actions()]
    next(action for action in found.actions() if action.text() == "Find buildings…").trigger()
    opened = [w for w in QApplication.topLevelWidgets() if w.windowTitle() == "Find buildings"]
    SEEN["from the menu"] = [w.isVisible() for w in opened]
    for window in opened:
        window.close()


def layers_chosen(buildings, raster):
    """Note which layers Compare starts with, and what Find buildings takes as area."""
    dialog = processing.createAlgorithmDialog("geossda:evaluate", {})
    dialog.show()
    photograph(dialog, "evaluate_layers")
    chosen = dialog.mainWidget().createProcessingParameters()
    SEEN["compared"] = [chosen["FOUND"], chosen["TRUE"], chosen["AREA"]]
    dialog.close()
    buildings.selectByIds([next(buildings.getFeatures()).id()])
    area = QgsProcessingFeatureSourceDefinition(buildings.id(), True)
    dialog = processing.createAlgorithmDialog("geossda:segment", {"INPUT": raster, "AREA": area})
    dialog.resize(760, 600)
    dialog.show()
    photograph(dialog, "segment_area")
    chosen = dialog.mainWidget().createProcessingParameters()["AREA"]
    SEEN["area"] = [chosen.source.staticValue() == buildings.id(), chosen.selectedFeaturesOnly]
    dialog.close()


def tree():
    """Return the layer tree: names, and for a group (name, names)."""
    return [
        [node.name(), [child.name() for child in node.children()]]
        if isinstance(node, QgsLayerTreeGroup)
        else node.name()
        for node in QgsProject.instance().layerTreeRoot().children()
    ]


def modeler():
    """Open the Modeler with the model that chains two of our algorithms."""
    sys.path.insert(0, os.environ["GEOSSDA_TESTS"])
    from chain import chain
    from processing.modeler.ModelerDialog import ModelerDialog
    from processing.modeler.ModelerParametersDialog import ModelerParametersDialog

    dialog = ModelerDialog.create(chain("histogram", 0.5))
    dialog.resize(1000, 700)
    dialog.show()
    photograph(dialog, "modeler")
    child = dialog.model().childAlgorithms()["first"]
    parameters = ModelerParametersDialog(child.algorithm(), dialog.model(), "first")
    parameters.resize(700, 800)
    parameters.show()
    photograph(parameters, "modeler_harmonize")
    edited = parameters.createAlgorithm()
    SEEN["modeler method"] = [s.staticValue() for s in edited.parameterSources()["METHOD"]]
    parameters.close()
    dialog.setDirty(False)
    dialog.close()


def batch(raster, style):
    """Open the table of a batch, two rows filled in."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geossda:harmonize")
    dialog = BatchAlgorithmDialog(algorithm)
    dialog.resize(1000, 420)
    dialog.show()
    panel = dialog.mainWidget()
    panel.addRow(1)
    for row in range(2):
        for column, parameter in enumerate(algorithm.parameterDefinitions()):
            value = {"INPUT": raster, "STYLE": style}.get(parameter.name())
            if value:
                panel.wrappers[row][column].setParameterValue(value, QgsProcessingContext())
    photograph(dialog, "batch")
    dialog.close()


def everything():
    raster, style = os.environ["GEOSSDA_RASTER"], os.environ["GEOSSDA_STYLE"]
    for path in (style, raster):
        QgsProject.instance().addMapLayer(QgsRasterLayer(path, Path(path).stem))
    dialogs()
    choices()
    menu()
    options()
    modeler()
    batch(raster, style)
    loaded = QgsProcessingOutputLayerDefinition("TEMPORARY_OUTPUT", QgsProject.instance())
    harmonized = run("harmonize", {"INPUT": raster, "STYLE": style, "OUTPUT": loaded})
    SEEN["harmonized"] = harmonized.name()
    outputs = dict.fromkeys(("OUTPUT", "PROBABILITIES", "MASK"), loaded)
    run("segment", {"INPUT": harmonized.id(), **outputs})
    wait(lambda: isinstance(tree()[0], list), 10)
    SEEN["tree"] = tree()
    buildings = QgsProject.instance().mapLayersByName("town harmonized buildings")[0]
    SEEN["count"] = buildings.featureCount()
    layers_chosen(buildings, harmonized.id())
    for layer in QgsProject.instance().layerTreeRoot().findLayers():
        layer.setExpanded(False)
    iface.mapCanvas().setExtent(harmonized.extent())
    iface.mapCanvas().refresh()
    wait(lambda: not iface.mapCanvas().isDrawing(), 20)
    for dock in iface.mainWindow().findChildren(QDockWidget):
        if dock.objectName() in ("Browser", "ProcessingToolbox"):
            dock.setVisible(dock.objectName() != "Browser")
    iface.mainWindow().resize(1300, 820)
    toolbox = iface.mainWindow().findChild(QTreeView, "algorithmTree")
    toolbox.scrollToBottom()
    for row in range(toolbox.model().rowCount()):
        if toolbox.model().index(row, 0).data() == "geossda":
            toolbox.expandRecursively(toolbox.model().index(row, 0))
    toolbox.scrollToBottom()
    photograph(iface.mainWindow(), "window")
    SEEN["cancelled"] = cancel({"INPUT": raster, "OUTPUT": str(FOLDER / "cancelled.gpkg")})


def main():
    try:
        everything()
    except Exception:
        SEEN["error"] = traceback.format_exc()
    (FOLDER / "seen.json").write_text(json.dumps(SEEN, indent=1), encoding="utf-8")
    QgsProject.instance().clear()
    # Nobody is there to answer what QGIS asks when it is closed.
    os._exit(0)


QTimer.singleShot(1000, main)
