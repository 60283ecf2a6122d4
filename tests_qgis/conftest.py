"""A real QGIS with the plugin as a user gets it: out of the zip. Runs in the system's Python.

``make qgis`` starts it, with the project's own environment as the core's Python.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, osr

REPO = Path(__file__).resolve().parent.parent
DATA = REPO.parent / "shared" / "data"
CORE = os.environ.get("GEOSSDA_PYTHON") or str(REPO / ".venv" / "bin" / "python")
gdal.UseExceptions()


def pytest_configure(config):
    # QGIS 3.22's own imports.
    for told in ("ignore:setapi:DeprecationWarning", "ignore::DeprecationWarning:processing"):
        config.addinivalue_line("filterwarnings", told)


def group_of(pid):
    """Name the processes of a group that are still there, zombies not counted."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                state, _, group = stat.read().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == pid and state != "Z":
            found.append(int(entry))
    return found


@pytest.fixture(scope="session")
def profile(tmp_path_factory):
    """A bare user: nothing of QGIS or geossda has ever been set up. Gives its home."""
    home = tmp_path_factory.mktemp("home")
    os.environ.update(
        HOME=str(home), GEOSSDA_PYTHON=CORE, LC_ALL="C.UTF-8", XDG_RUNTIME_DIR=str(home)
    )
    return home


@pytest.fixture(scope="session")
def plugins(profile):
    """The folder of plugins, with the zip unpacked in it."""
    target = profile / "geossda_processing.zip"
    subprocess.run([CORE, str(REPO / "qgis_plugin" / "bundle.py"), str(target)], check=True)
    folder = profile / ".local/share/QGIS/QGIS3/profiles/default/python/plugins"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(target) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def qgis(plugins):
    """QGIS with Processing and the plugin; gives the application."""
    from qgis.core import QgsApplication

    app = QgsApplication([], "DISPLAY" in os.environ)
    app.initQgis()
    sys.path[:0] = [str(plugins), "/usr/share/qgis/python/plugins"]
    from processing.core.Processing import Processing

    Processing.initialize()
    import geossda_processing

    plugin = geossda_processing.classFactory(None)
    plugin.initProcessing()
    yield app
    plugin.unload()


@pytest.fixture
def provider(qgis):
    return qgis.processingRegistry().providerById("geossda")


@pytest.fixture
def listen(qgis):
    """A feedback that keeps what it is told, and cancels at a stage if asked to."""
    from qgis.core import QgsProcessingFeedback

    class Ear(QgsProcessingFeedback):
        def __init__(self):
            super().__init__(False)
            self.stages, self.infos, self.warnings, self.commands = [], [], [], []
            self.errors, self.on_stage = [], None

        def setProgressText(self, text):
            self.stages.append(text)
            if self.on_stage:
                self.on_stage(text)

        def pushInfo(self, text):
            self.infos.append(text)

        def pushWarning(self, text):
            self.warnings.append(text)

        def pushCommandInfo(self, text):
            self.commands.append(text)

        def pushConsoleInfo(self, text):
            pass

        def reportError(self, text, fatalError=False):
            self.errors.append(text)

    return Ear


@pytest.fixture(scope="session")
def make_raster():
    """Write a GeoTIFF with hills and blocks in three bands; returns its path."""

    def make(path, size=(300, 400), seed=0, gsd=0.5):
        rng = np.random.default_rng(seed)
        height, width = size
        small = rng.integers(20, 236, (3, height // 20 + 1, width // 20 + 1))
        image = small.repeat(20, 1).repeat(20, 2)[:, :height, :width]
        image = np.clip(image + rng.normal(0, 8, image.shape), 1, 255).astype(np.uint8)
        made = gdal.GetDriverByName("GTiff").Create(str(path), width, height, 3, gdal.GDT_Byte)
        made.SetGeoTransform((500000, gsd, 0, 5200000, 0, -gsd))
        place = osr.SpatialReference()
        place.ImportFromEPSG(32633)
        made.SetProjection(place.ExportToWkt())
        made.WriteArray(image)
        return str(path)

    return make


@pytest.fixture
def crop(tmp_path):
    """Real crops: (Nepal, 600 px; Kampala, the reference). Not part of the repository."""
    if not (DATA / "places").is_dir():
        pytest.skip(f"real imagery is not here: {DATA / 'places'}")
    paths = []
    for name, place in (("népal crop", "nepal/mosaic_0.tif"), ("kampala", "kampala/mosaic_1.tif")):
        path = tmp_path / f"{name}.tif"
        gdal.Translate(str(path), str(DATA / "places" / place), srcWin=[100, 100, 600, 600])
        paths.append(str(path))
    return paths


def qgis_process(*arguments, cwd=None):
    """Run an algorithm as a user of the terminal does."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(
        ["qgis_process.bin", *arguments], env=environment, cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="session")
def enabled(plugins):
    """The plugin switched on for qgis_process."""
    done = qgis_process("plugins", "enable", "geossda_processing")
    assert "Enabled geossda_processing" in done.stdout
    return plugins
