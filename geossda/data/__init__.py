"""Rasters and footprints to training samples."""
