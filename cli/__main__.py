"""``python -m geossda_cli``."""

from .main import entry

entry()
