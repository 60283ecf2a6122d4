"""Which settings outputs do not record, and which do not change their pixels."""

# Settings of where the work is done and what becomes of files, which outputs do not record.
NOT_IN_PROVENANCE = frozenset({"device", "overwrite", "resume", "scheduler", "workers"})
# These, and settings of how the work is divided and packed: none changes a pixel but by rounding.
EXECUTION_ONLY = NOT_IN_PROVENANCE | {"append", "batch", "co", "tile"}
