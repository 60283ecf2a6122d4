"""Outlines against the true ones and `buildingregulariser`'s: how near, how many corners.

    python benchmarks/outlines.py PLACES                  # of true footprints as masks of 0.3 m
    python benchmarks/outlines.py PLACES --of model       # of the bundled model's output
    python benchmarks/outlines.py PLACES --of split      # the same, touching houses separated

PLACES holds a folder a place, each with `mosaic_*.tif` and `footprints.gpkg`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import shapely

from geossda.data.labels import rasterize, read_footprints
from geossda.evaluation.buildings import intersecting_pairs, match, polis, score
from geossda.footprints.overlaps import OverlapResolver
from geossda.footprints.polygonize import polygonize as trace
from geossda.footprints.records import BuildingWindow, Footprints, OpenComponents
from geossda.footprints.shaping import Shaping
from geossda.raster.grid import Grid
from geossda.raster.gsd import grid_at_gsd
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window

GSD_M = 0.3


def aligned(raw: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Give for each outline along pixels the one made of it: that with most in common."""
    one, other = shapely.STRtree(made).query(raw, predicate="intersects")
    common = shapely.area(shapely.intersection(raw[one], made[other]))
    best = {a: b for _, a, b in sorted(zip(common, one, other, strict=True))}
    return np.array([made[best[i]] if i in best else raw[i] for i in range(len(raw))], object)


def buildingregulariser(raw: np.ndarray) -> np.ndarray:
    """Have the package of that name work on outlines in pixels; its settings are in metres."""
    import buildingregulariser as package
    import geopandas as gpd

    metres = shapely.transform(raw, lambda xy: xy * GSD_M)
    frame = gpd.GeoDataFrame(geometry=list(metres), crs=32636)
    made = package.regularize_geodataframe(frame, num_cores=1).geometry.to_numpy()
    return shapely.transform(aligned(metres, made), lambda xy: xy / GSD_M)


def drawn_from_masks(true: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Draw true footprints again from their mask, in pixels."""
    mask = rasterize(true, grid, Window(0, 0, *grid.shape)).astype(bool)
    parts = [p for p, _ in trace(lambda w: BuildingWindow(mask[w.rows, w.cols]), tuple(grid.shape))]
    raw = np.concatenate([part.polygons for part in parts])
    raw = raw[shapely.area(raw) * GSD_M**2 >= 8]
    each = np.ones(len(raw))
    parts = Footprints(raw, shapely.area(raw).astype(int), each, each, each)

    def settled(how: str) -> np.ndarray:
        shaping = Shaping(grid, GSD_M, how, 0.5, 0)
        resolver = OverlapResolver(10, shaping)
        return resolver.add(
            parts, shaping.regularized(raw), OpenComponents(np.inf, np.zeros((0, 4)))
        )[1]

    return {"none": raw, "simplify": settled("simplify"), "rectilinear": settled("rectilinear")}


def drawn_by_model(path: Path, grid: Grid, folder: Path, *, split: bool) -> dict[str, np.ndarray]:
    """Have `segment` find buildings and draw them, in pixels."""
    import pyogrio

    from geossda import SegmentConfig, segment

    made = {}
    for how in ("none", "simplify", "rectilinear"):
        config = SegmentConfig(regularize=how, split=split, overwrite=True)
        segment(path, folder / "found.gpkg", config=config)
        found = pyogrio.read_dataframe(folder / "found.gpkg", layer="buildings").geometry.to_numpy()
        made[how] = in_pixels(found, grid)
    return {how: aligned(made["none"], each) for how, each in made.items()}


def in_pixels(polygons: np.ndarray, grid: Grid) -> np.ndarray:
    """Give polygons in a grid's CRS in its pixels."""
    to_pixel = ~grid.transform
    return shapely.transform(polygons, lambda xy: np.column_stack(to_pixel * (xy[:, 0], xy[:, 1])))


def shapes(places: Path, source: str, folder: Path) -> None:
    """Compare outlines, of true footprints as masks of 0.3 m or of the bundled model's output."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    away: dict[str, list[float]] = {}
    for path in sorted(places.glob("*/mosaic_*.tif")):
        grid = grid_at_gsd(open_mosaic(path).grid, GSD_M)
        true = read_footprints(path.parent / "footprints.gpkg", grid.crs.to_wkt())
        true = true[shapely.intersects(true.geometry, grid.extent)]
        goal = in_pixels(true.geometry, grid)
        if source == "masks":
            ways = drawn_from_masks(true, grid)
        else:
            ways = drawn_by_model(path, grid, folder, split=source == "split")
        raw = ways["none"]
        ways["buildingregulariser"] = buildingregulariser(raw)
        same = intersecting_pairs(raw, goal)
        hits = match(same, 0.5)  # the same buildings for all, matched by their pixels
        for name, made in ways.items():
            once = np.array(list({shapely.to_wkb(shape): shape for shape in made}.values()))
            figures = score(
                once,
                goal,
                intersecting_pairs(once, goal),
                hits[:0],
                metres=(GSD_M, GSD_M),
                invalid=0,
            )
            common = shapely.area(shapely.intersection(made, raw))
            iou = common / (shapely.area(made) + shapely.area(raw) - common)
            rows.setdefault(name, []).append(
                (len(raw), iou.mean(), figures.right_angles, figures.overlaps,
                 (~shapely.is_valid(made)).sum())
            )  # fmt: skip
            away.setdefault(name, []).extend(
                (path.parent.name, GSD_M * polis(made[same.found[h]], goal[same.true[h]]),
                 GSD_M * shapely.hausdorff_distance(made[same.found[h]], goal[same.true[h]]),
                 shapely.get_num_coordinates(made[same.found[h]]) - 1)
                for h in hits
            )  # fmt: skip
    known = sorted({place for place, *_ in away["none"]})
    print(
        "| outlines | PoLiS, m | median | Hausdorff, m | corners | mean | right angles "
        f"| IoU with pixels | overlaps | invalid | {' | '.join(known)} |"
    )
    print("|" + "---|" * (10 + len(known)))
    for name, figures in rows.items():
        table = np.array(figures, float)
        iou, square = (table[:, :1] * table[:, 1:3]).sum(axis=0) / table[:, 0].sum()
        place, distance, far, corners = (np.array(c) for c in zip(*away[name], strict=True))
        each = " | ".join(f"{distance[place == one].mean():.3f}" for one in known)
        print(
            f"| {name} | {distance.mean():.3f} | {np.median(distance):.3f} | {far.mean():.2f} "
            f"| {np.median(corners):.0f} | {corners.mean():.1f} | {square:.2f} | {iou:.3f} "
            f"| {table[:, 3].sum():.0f} | {table[:, 4].sum():.0f} | {each} |"
        )
    print(f"{table[:, 0].sum():.0f} outlines, {len(distance)} of them true ones found again")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", type=Path)
    parser.add_argument("--of", choices=("masks", "model", "split"), default="masks")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shapes(given.places, given.of, Path(folder))


if __name__ == "__main__":
    main()
