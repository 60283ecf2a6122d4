"""What makes labelled patches look like imagery without labels, while a segmenter is trained."""
