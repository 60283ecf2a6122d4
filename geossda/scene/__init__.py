"""A made-up town, drawn pixel by pixel, to try everything on without a single real image."""
