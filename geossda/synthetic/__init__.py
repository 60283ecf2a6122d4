"""Synthetic towns, rendered from a seed, to try all commands without real imagery."""
