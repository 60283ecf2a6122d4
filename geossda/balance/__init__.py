"""Radiometric balancing: scenes of one mosaic found and brought to a common radiometry."""
