"""The plugin's own facts, out of its metadata."""

import configparser
from pathlib import Path

HERE = Path(__file__).parent
ICON = str(HERE / "icon.svg")


def metadata():
    """Return the entries of metadata.txt."""
    read = configparser.ConfigParser(interpolation=None)
    read.read(HERE / "metadata.txt", encoding="utf-8")
    return read["general"]


def help_url(part):
    """Return the address of a part of the help page."""
    return "{}#{}".format(metadata()["homepage"], part)
