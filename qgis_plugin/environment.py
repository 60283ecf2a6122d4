"""Where the core's Python is, and the environment it runs in. No QGIS in here."""

import os
import shutil
from pathlib import Path

# Variables of QGIS's own Python, GDAL, PROJ and Qt, which would mislead another one.
FOREIGN = ("PYTHON", "__PYVENV", "VIRTUAL_ENV", "GDAL", "OGR", "PROJ", "GEOTIFF", "OSGEO", "QGIS",
           "QT_", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD")  # fmt: skip
SCRIPTS, PYTHON = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")


def cleaned(environ, roots=()):
    """Return a copy of environment variables without those that belong to QGIS.

    Parameters
    ----------
    environ : mapping of str
    roots : sequence of str
        Folders of QGIS; what lies in them is taken off ``PATH``.
    """
    kept = {name: value for name, value in environ.items() if not name.upper().startswith(FOREIGN)}
    inside = [os.path.normcase(os.path.abspath(root)) for root in roots if root]
    kept["PATH"] = os.pathsep.join(
        part
        for part in environ.get("PATH", "").split(os.pathsep)
        if not any(os.path.normcase(os.path.abspath(part)).startswith(root) for root in inside)
    )
    # Names in any script pass through pipes unharmed, line by line.
    kept.update(PYTHONUTF8="1", PYTHONUNBUFFERED="1")
    return kept


def home(environ):
    """Return the folder of the private environment: GEOSSDA_QGIS_HOME, else ~/.qgis_geossda."""
    return Path(environ.get("GEOSSDA_QGIS_HOME") or Path.home() / ".qgis_geossda")


def private_python(environ):
    """Return the Python of the private environment, whether it exists or not."""
    return home(environ) / "venv" / SCRIPTS / PYTHON


def find_core(environ, setting):
    """Return the Python that has the core.

    Parameters
    ----------
    environ : mapping
        Environment variables.
    setting : str
        The Python that the plugin's settings name, "" if none.

    Returns
    -------
    (str, str)
        Its path, "" if there is none, and where it was named: "GEOSSDA_PYTHON", "settings",
        "private environment" or "path".
    """
    if environ.get("GEOSSDA_PYTHON"):
        return environ["GEOSSDA_PYTHON"], "GEOSSDA_PYTHON"
    if setting:
        return setting, "settings"
    private = private_python(environ)
    if private.exists():
        return str(private), "private environment"
    program = shutil.which("geossda", path=environ.get("PATH"))
    return (_python_of(Path(program)) if program else ""), "path"


def is_program(path):
    """Return whether a path, or a name on the path, is a program that can be started."""
    return shutil.which(path) is not None


def _python_of(program):
    """Return the Python a console script runs under: by its first line, or in its folder."""
    with open(program, "rb") as script:
        first = script.readline(1024)
    if first.startswith(b"#!"):
        named = first[2:].decode("utf-8", "replace").strip()
        if os.path.exists(named):
            return named
    for folder in (program.resolve().parent, program.resolve().parent.parent):
        if (folder / PYTHON).exists():
            return str(folder / PYTHON)
    return ""


def system_pythons(environ, newest=19):
    """Return programs that may be a Python of the system, the newest first.

    Parameters
    ----------
    environ : mapping
        Environment variables.
    newest : int
        Minor version of the newest Python 3 to look for.
    """
    names = [f"python3.{minor}" for minor in range(newest, 10, -1)] + ["python3", "python"]
    folders = [os.path.join(environ.get("LOCALAPPDATA", ""), "Programs", "Python")] * (
        os.name == "nt"
    )
    programs = [shutil.which(name, path=environ.get("PATH")) for name in names]
    for folder in folders:
        programs += sorted(map(str, Path(folder).glob("Python3*/python.exe")), reverse=True)
    return list(dict.fromkeys(path for path in programs if path))
