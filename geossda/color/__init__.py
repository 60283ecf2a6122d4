"""The classical ways to bring the colours of one image to another; arrays only."""
