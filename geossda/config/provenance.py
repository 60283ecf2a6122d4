"""Which settings outputs do not record, and which do not change their pixels."""

# Settings of where the work is done and what becomes of files, which outputs do not record; what
# ran the model, and in which precision, has a tag of its own.
NOT_IN_PROVENANCE = frozenset(
    {"device", "overwrite", "precision", "resume", "runtime", "scheduler", "timings", "workers"}
)
# These, and settings of how the work is divided and packed: none changes a pixel but by rounding.
EXECUTION_ONLY = NOT_IN_PROVENANCE | {"append", "batch", "co", "tile"}
