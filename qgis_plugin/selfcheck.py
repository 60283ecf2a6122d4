"""Try a new core: harmonize one tile and predict one window; the core's Python runs this file.

Loading libraries is not enough: operators that a network needs are looked up when it runs.
"""

import contextlib
import io
import pathlib
import sys
import tempfile

SIDE_PX = 256


def write_raster(path, seed):
    """Write a GeoTIFF of three bands with noise in blocks.

    Parameters
    ----------
    path : path
    seed : int
    """
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin

    blocks = np.random.default_rng(seed).integers(1, 255, (3, SIDE_PX // 16, SIDE_PX // 16))
    pixels = blocks.repeat(16, axis=1).repeat(16, axis=2).astype("uint8")
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5200000, 0.3, 0.3)}
    with rasterio.open(path, "w", driver="GTiff", height=SIDE_PX, width=SIDE_PX, count=3,
                       dtype="uint8", **place) as file:  # fmt: skip
        file.write(pixels)


def run(*arguments):
    """Run a command of the core; end with its message if it fails."""
    from geossda_cli.main import main

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main([str(argument) for argument in arguments])
    except SystemExit as end:
        if end.code:
            sys.exit(end.code)


def check():
    """Run both networks on a small raster, and print the versions that did it."""
    import rasterio

    import geossda

    with tempfile.TemporaryDirectory() as folder:
        source, reference = pathlib.Path(folder, "source.tif"), pathlib.Path(folder, "style.tif")
        write_raster(source, 0)
        write_raster(reference, 1)
        harmonized = pathlib.Path(folder, "harmonized.tif")
        run("harmonize", source, "--style", reference, "--method", "ssda", "-o", harmonized)
        run("segment", harmonized, "-o", pathlib.Path(folder, "buildings.gpkg"))
        with rasterio.open(harmonized) as file:
            runtime = file.tags()["GEOSSDA_RUNTIME"]
    print(f"geossda {geossda.__version__} with {runtime}{card()}: one tile harmonized, one window "
          "predicted")  # fmt: skip


def card():
    """Return what PyTorch computes on, if it is there."""
    try:
        import torch
    except ImportError:
        return ""
    device = "NVIDIA card" if torch.cuda.is_available() else "processor"
    return f", PyTorch {torch.__version__} on the {device}"


if __name__ == "__main__":
    check()
