"""The functions that users call, one per file: paths and settings in, files and a record out.

Each composes the other subpackages. They are imported one by one, so that methods that need no
network do not wait for torch.
"""
