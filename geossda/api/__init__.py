"""The verbs, one a file: paths and settings in, files and a record out.

Each reads as the sentence it is; what it does is in the other rooms. They are imported one by
one, so that recolouring does not wait for torch.
"""
