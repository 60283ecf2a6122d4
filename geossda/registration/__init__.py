"""Registration: footprints shifted to where building probabilities fit them best."""
