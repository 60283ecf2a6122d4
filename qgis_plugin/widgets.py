"""Widgets of dialogs. Imported by Processing, where there is a window, by name."""

from processing.gui.wrappers import DIALOG_MODELER, WidgetWrapper
from qgis.core import QgsProcessingParameterEnum
from qgis.PyQt.QtWidgets import QComboBox


class ChoiceWrapper(WidgetWrapper):
    """A list of choices that shows words and gives the command line's values.

    QGIS's own shows values, or gives numbers.
    """

    def createWidget(self, labels=()):
        """Return the list; in the Modeler with the inputs that may fill it, too."""
        box = QComboBox()
        for value, label in zip(self.parameterDefinition().options(), labels):
            box.addItem(label, value)
        if self.dialogType == DIALOG_MODELER:
            for value in self.dialog.getAvailableValuesOfType(QgsProcessingParameterEnum):
                box.addItem(self.dialog.resolveValueDescription(value), value)
        box.currentIndexChanged.connect(lambda index: self.widgetValueHasChanged.emit(self))
        return box

    def setValue(self, value):
        """Select a value; one that is not in the list is left."""
        values = [self.widget.itemData(index) for index in range(self.widget.count())]
        if value in values:
            self.widget.setCurrentIndex(values.index(value))

    def value(self):
        """Return the value that is selected."""
        return self.widget.currentData()
