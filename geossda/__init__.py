"""geossda."""
