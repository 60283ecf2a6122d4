"""Runs that can be interrupted: shards, saved state, locks, fingerprints and their distribution."""
