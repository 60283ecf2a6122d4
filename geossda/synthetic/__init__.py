"""A synthetic town, rendered from a seed, to try everything on without real imagery."""
