"""Apply transforms and models to mosaics, window by window."""
