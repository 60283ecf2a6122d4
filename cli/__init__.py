"""The command line of geossda."""
