"""geossda in QGIS's Processing toolbox: a thin shell around the core's command line.

Nothing of geossda is imported here, and nothing heavy: the core runs in a Python of its own, in a
child process. What the dialogs ask for is the core's own description.
"""


def classFactory(iface):
    """Make the plugin for QGIS."""
    from .plugin import GeossdaPlugin

    return GeossdaPlugin(iface)
