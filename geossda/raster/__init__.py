"""GeoTIFF, VRT and COG to lazy arrays, and back."""
