"""Runtimes: what runs a network, OpenVINO or PyTorch, behind one protocol."""
