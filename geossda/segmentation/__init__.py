"""Segmentation: windows of a mosaic to a raster of building probabilities."""
