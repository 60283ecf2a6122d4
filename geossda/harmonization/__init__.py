"""Harmonization: styles measured, transforms fitted, and mosaics rewritten in another style."""
