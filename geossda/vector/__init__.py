"""Probabilities and masks to footprints."""
