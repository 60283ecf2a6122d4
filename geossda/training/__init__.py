"""Training loops and their run directories."""
