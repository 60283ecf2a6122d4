"""Execution: core counts, ordered maps in threads, Dask workers."""
