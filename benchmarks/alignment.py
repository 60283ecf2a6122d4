"""Footprints moved by a known error, and how much of it `align` takes back.

    python benchmarks/alignment.py FOOTPRINTS MOSAIC... --keep FOLDER

FOOTPRINTS, a vector file or a mask, should lie well on the mosaics; what they are off themselves is
in every residual. Each mosaic is segmented once, into the folder. Residuals are metres left of the
error, of each footprint: median, 90th percentile, and the share that is worse off than before.
Beside `align` stand one shift for all, and each group alone.
"""

import argparse
from pathlib import Path

import numpy as np
import shapely

import geossda
from geossda.data.labels import read_footprints
from geossda.raster.gsd import grid_at_gsd
from geossda.raster.mosaic import open_mosaic
from geossda.registration.correlation import score_shifts
from geossda.registration.shift_field import solve_shifts
from geossda.registration.touching import touching_groups

GSD_M, MARGIN_PX, GAP_PX = 0.3, 7, 0.5
ERRORS = ("none", "constant", "smooth", "jitter", "smooth, 1/4 missing, 1/4 extra")


def probabilities_of(mosaic: Path, folder: Path) -> object:
    """Open the probabilities of a mosaic at 0.3 m, predicted once."""
    name = f"{mosaic.parent.name}_{mosaic.stem}"
    target = folder / f"{name}.tif"
    if not target.exists():
        geossda.segment(mosaic, folder / f"{name}.gpkg", probabilities=target, overwrite=True)
    raster = open_mosaic(target)
    return raster.resampled(grid_at_gsd(raster.grid, GSD_M))


def in_pixels(footprints: object, raster: object) -> np.ndarray:
    """Return the footprints that lie on a raster, in its pixels."""
    to_pixel = ~raster.grid.transform
    shapes = shapely.transform(
        footprints.geometry, lambda xy: np.column_stack(to_pixel * (xy[:, 0], xy[:, 1]))
    )
    height, width = raster.shape
    return shapes[shapely.within(shapely.centroid(shapes), shapely.box(0, 0, width, height))]


def errors(kind: str, centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the error of each group in metres, to the right and down."""
    x, y = (centres * GSD_M).T
    if kind == "none":
        return np.zeros_like(centres)
    if kind == "constant":
        return np.tile([2.4, -1.5], (len(centres), 1))
    if kind == "jitter":
        return rng.normal((2.1, 1.2), 0.6, centres.shape)
    # Over 180 m once from end to end, and back.
    turn = np.pi / 90
    return np.column_stack([1.2 + 1.8 * np.sin(turn * y), -0.9 + 1.5 * np.cos(turn * x)])


def strangers(count: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return rectangles of 4 to 15 m where no building need be."""
    corners = rng.uniform(0, 1, (count, 2)) * shape[::-1]
    sides = rng.uniform(4, 15, (count, 2)) / GSD_M
    boxes = shapely.box(*corners.T, *(corners + sides).T)
    turned = [
        shapely.affinity.rotate(box, turn)
        for box, turn in zip(boxes, rng.uniform(0, 90, count), strict=True)
    ]
    return np.array(turned, object)


def residuals(
    raster: object, footprints: np.ndarray, kind: str, seed: int, radius: int
) -> dict[str, np.ndarray]:
    """Move footprints and return the metres that each way leaves of the error."""
    rng = np.random.default_rng(seed)
    groups = touching_groups(footprints, np.arange(len(footprints)), GAP_PX)
    centres = shapely.get_coordinates(shapely.centroid(footprints))
    middle = np.column_stack([np.bincount(groups, each) for each in centres.T])
    error = errors(kind, middle / np.bincount(groups)[:, None], rng)[groups]
    moved = np.array(
        [
            shapely.affinity.translate(shape, *step)
            for shape, step in zip(footprints, error / GSD_M, strict=True)
        ],
        object,
    )
    if "missing" in kind:
        kept = rng.random(len(moved)) > 0.25
        added = strangers(len(moved) // 4, raster.shape, rng)
        moved, error = np.concatenate([moved[kept], added]), error[kept]
    groups = touching_groups(moved, np.arange(len(moved)), GAP_PX)
    scores = score_shifts(moved, groups, raster, radius, MARGIN_PX)
    bounds = shapely.bounds(moved)
    places = (bounds[:, :2] + bounds[:, 2:]) / 2
    centres = np.column_stack([np.bincount(groups, each) for each in places.T])
    found, trusted = solve_shifts(scores, centres / np.bincount(groups)[:, None], GSD_M)
    found[~trusted | (np.abs(found) >= radius).any(axis=1)] = 0
    contrast = scores.contrast.astype(np.float64)
    together = np.einsum("gij,g->ij", contrast, scores.area_px)
    ways = {
        "before": np.zeros_like(found),
        "one shift for all": np.tile(peaks(together[None]), (len(found), 1)),
        "each group alone": peaks(contrast),
        "align": found,
    }
    return {
        way: np.linalg.norm((shift[groups] * GSD_M)[: len(error)] + error, axis=1)
        for way, shift in ways.items()
    }


def peaks(scores: np.ndarray) -> np.ndarray:
    """Return the best shift of each array of scores, in pixels to the right and down."""
    row, col = np.divmod(scores.reshape(len(scores), -1).argmax(axis=1), scores.shape[2])
    return np.column_stack([col, row]) - scores.shape[2] // 2


def main() -> None:
    """Print a table of all errors and ways."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("footprints")
    parser.add_argument("mosaics", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path, required=True, help="Folder of the probabilities.")
    parser.add_argument("--search", type=float, default=5.0, help="Largest shift in metres.")
    given = parser.parse_args()
    given.keep.mkdir(exist_ok=True)
    radius = round(given.search / GSD_M) + 1
    rasters = [probabilities_of(mosaic, given.keep) for mosaic in given.mosaics]
    print(f"{given.footprints}\n| error | way | median m | 90 % m | worse |\n|---|---|---|---|---|")
    for kind in ERRORS:
        left: dict[str, list[np.ndarray]] = {}
        for seed, raster in enumerate(rasters):
            footprints = in_pixels(read_footprints(given.footprints, raster.grid.crs), raster)
            if len(footprints) > 3:
                for way, metres in residuals(raster, footprints, kind, seed, radius).items():
                    left.setdefault(way, []).append(metres)
        before = np.concatenate(left["before"])
        for way, parts in left.items():
            metres = np.concatenate(parts)
            worse = (metres > before + GSD_M).mean()
            print(
                f"| {kind} | {way} | {np.median(metres):.2f} | {np.percentile(metres, 90):.2f} "
                f"| {worse:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
