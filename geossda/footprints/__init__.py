"""Probabilities and masks to building footprints and vector files; no torch."""
