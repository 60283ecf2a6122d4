"""``python -m geossda_cli``."""

from .main import main

main()
