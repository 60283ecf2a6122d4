"""``python -m geossda_cli``."""

from geossda_cli.main import main

main()
