"""The bundled weights, each with its card in its header and a page beside it."""
