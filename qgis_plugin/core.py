"""The core: which Python has it, what it offers, and what is amiss with it."""

import json
import os
from pathlib import Path

from qgis.core import QgsSettings

from .environment import find_core
from .process import LAUNCH, ask, environment

SETTING = "geossda/python"
SNAPSHOT = Path(__file__).with_name("description.json")
# The form of the core's description that this plugin reads.
FORMAT = 2
SET_UP = 'run "Set up geossda" in the Processing toolbox, or name the Python that has it under Settings, Options, geossda'  # noqa: E501

# What was found about a Python in this session, since asking takes a fraction of a second.
_asked = {}


def python():
    """Give the Python that has the core and where it was named; "" if there is none."""
    return find_core(os.environ | {"PATH": environment()["PATH"]}, setting())


def setting():
    """Give the Python named in the settings, or ""."""
    return QgsSettings().value(SETTING, "", type=str)


def choose(path):
    """Name the Python in the settings; "" leaves it to be found."""
    QgsSettings().setValue(SETTING, path)
    forget()


def forget():
    """Look anew at the next occasion: something was installed or removed."""
    _asked.clear()


def problem():
    """Say in one line why the core cannot run, or give ""."""
    found, _ = python()
    if not found:
        return "geossda is not installed yet: " + SET_UP
    if found in _asked and _asked[found][1]:
        del _asked[found]
    return _look(found)[1]


def description():
    """Give what the core offers; without a core, what it offered when the plugin was made."""
    found, _ = python()
    told = _look(found)[0] if found else None
    return told or json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def _look(found):
    """Ask a Python for the core's description; gives (description or None, problem or "")."""
    if found not in _asked:
        _asked[found] = _ask(found)
    return _asked[found]


def _ask(found):
    well, out, err = ask(found, [LAUNCH, "geossda_cli", "describe"])
    if not well:
        last = ([line for line in err.splitlines() if line.strip()] or ["it said nothing"])[-1]
        return None, f"{found} cannot run geossda ({last}): {SET_UP}"
    try:
        told = json.loads(out)
    except ValueError:
        return None, f"{found} gives no description that can be read: {SET_UP}"
    if told.get("format") != FORMAT:
        version = told.get("version", "of unknown version")
        return None, f"geossda {version} and this plugin are too far apart: update the older"
    return told, ""
