"""All steps on a rendered town."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geossda.api.evaluate import evaluate
from geossda.api.harmonize import harmonize
from geossda.api.segment import segment
from geossda.config import DemoConfig, config_from
from geossda.data.labels import read_footprints
from geossda.errors import OutputError
from geossda.evaluation.compare import Comparison
from geossda.evaluation.window_seams import steps_across
from geossda.progress import SILENT, Progress
from geossda.raster.cog import new_cog
from geossda.raster.grid import Grid
from geossda.raster.mosaic import open_mosaic
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import write_shapes
from geossda.raster.windows import Window
from geossda.staging import PathLike, atomic_write, check_output
from geossda.synthetic.picture import side_by_side
from geossda.synthetic.town import Town, render_town

OVERLAP_PX = 96
FILES = (
    "mosaic.tif",
    "strip_west.tif",
    "strip_east.tif",
    "reference.tif",
    "footprints.gpkg",
    "harmonized.tif",
    "buildings_before.gpkg",
    "buildings.gpkg",
    "before_after.png",
)


@dataclass(frozen=True)
class DemoResult:
    """The files and figures of the demo.

    Attributes
    ----------
    folder : Path
    before, after : Comparison
        Buildings detected in the mosaic as acquired and in the harmonized one, compared with the
        true ones.
    step_before, step_after : float
        Mean absolute colour difference across the seamline of the strips, in digital numbers, less
        that of the ground itself, which is known from the same ground in one acquisition.
    """

    folder: Path
    before: Comparison
    after: Comparison
    step_before: float
    step_after: float

    def lines(self) -> list[str]:
        """Return the files written and the figures measured as lines of text."""
        rows = [f"{self.folder / name}" for name in FILES]
        for label, comparison in (("as acquired", self.before), ("harmonized", self.after)):
            rows.append(
                f"buildings, {label}: IoU {comparison.pixels.iou:.3f} by pixel, "
                f"F1 {comparison.objects.f1:.3f} by building"
            )
        rows.append(
            f"colour difference across the seam: {self.step_before:.1f} as acquired, "
            f"{self.step_after:.1f} harmonized (8-bit digital numbers, less that of the ground)"
        )
        return rows


def demo(
    folder: PathLike = "demo",
    *,
    config: DemoConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> DemoResult:
    """Render a town, harmonize its strips, detect its buildings and compare with the true ones.

    Parameters
    ----------
    folder : path
        Folder to write to; created if missing.
    config : DemoConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    DemoResult
        What was written and measured.

    Raises
    ------
    OutputError
        The folder cannot be made, or holds files and `overwrite` is not set.
    """
    config = config_from(DemoConfig, config, settings)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make folder {folder}: {error.strerror}") from error
    for name in FILES:
        check_output(folder / name, overwrite=config.overwrite)
    progress.stage("rendering a town")
    town = render_town(config.seed, config.size)
    strips = _write_town(town, folder)
    harmonize(
        strips,
        folder / "harmonized.tif",
        style=folder / "reference.tif",
        progress=progress,
        overwrite=True,
        feather=OVERLAP_PX,
    )
    comparisons = []
    for source, name in (
        ("mosaic.tif", "buildings_before.gpkg"),
        ("harmonized.tif", "buildings.gpkg"),
    ):
        segment(folder / source, folder / name, overwrite=True, progress=progress)
        comparisons.append(
            evaluate(
                folder / name,
                folder / "footprints.gpkg",
                area=folder / "harmonized.tif",
                progress=progress,
            )
        )
    harmonized = open_mosaic(folder / "harmonized.tif")
    height, width = harmonized.shape
    after, valid = harmonized.read(Window(0, 0, height, width))
    # Far enough to reach beyond the feathered overlap on either side.
    reach = 2 * OVERLAP_PX
    before_steps, after_steps, ground_steps = (
        steps_across(image, town.valid & valid, town.seam_col, reach)
        for image in (town.image, after, town.clean)
    )
    step_before = float(np.nanmean(np.abs(before_steps - ground_steps)))
    step_after = float(np.nanmean(np.abs(after_steps - ground_steps)))
    with atomic_write(folder / "before_after.png") as part:
        side_by_side(
            [
                ("two acquisitions, as they come", town.image, []),
                (
                    "harmonized, with the buildings detected",
                    after,
                    _in_pixels(folder / "buildings.gpkg", town),
                ),
            ],
            part,
        )
    return DemoResult(folder, comparisons[0], comparisons[1], step_before, step_after)


def _write_town(town: Town, folder: Path) -> list[Path]:
    """Write the mosaic as acquired, its strips, the reference and the true footprints.

    The west strip extends beneath the east one, as strips of a survey overlap.

    Returns
    -------
    list of Path
        The two strips.
    """
    height, width = town.valid.shape
    columns = np.arange(width)[None, :]
    seam = town.seam_col[:, None]
    west = town.valid & (columns < seam + OVERLAP_PX)
    east = town.valid & (columns >= seam)
    paths = []
    _write(folder / "mosaic.tif", town.image, town.valid, town.transform, town.crs)
    for name, pixels, valid in (
        ("strip_west.tif", town.clean, west),
        ("strip_east.tif", town.image, east),
    ):
        used = np.flatnonzero(valid.any(axis=0))
        window = Window(0, int(used[0]), height, int(used[-1] - used[0] + 1))
        path = folder / name
        _write(
            path,
            pixels[:, window.rows, window.cols],
            valid[:, window.cols],
            town.transform * town.transform.translation(window.col, 0),
            town.crs,
        )
        paths.append(path)
    reference = town.reference
    _write(
        folder / "reference.tif",
        reference,
        np.ones(reference.shape[1:], bool),
        town.reference_transform,
        town.crs,
    )
    with atomic_write(folder / "footprints.gpkg") as part:
        write_shapes(Shapes(town.footprints, town.crs), part, "buildings")
    return paths


def _write(path: Path, pixels: Any, valid: Any, transform: Any, crs: str) -> None:
    height, width = valid.shape
    grid = Grid((height, width), transform, crs)
    with new_cog(path, grid, 3, np.dtype(np.uint8), validity="nodata", nodata=0) as writer:
        # No valid pixel may be 0, which stands for nodata.
        writer.write(Window(0, 0, height, width), np.maximum(pixels, 1), valid)


def _in_pixels(path: Path, town: Town) -> list[Any]:
    to_pixel = ~town.transform
    shapes = read_footprints(path, town.crs).geometry
    return list(
        shapely.transform(shapes, lambda xy: np.column_stack(to_pixel * (xy[:, 0], xy[:, 1])))
    )
