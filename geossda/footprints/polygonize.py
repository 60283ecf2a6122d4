"""Footprints of a raster of any size, block by block, identical to those of the whole raster.

Blocks are read once, in threads. Each yields the connected components (4-connected pixels) that
are complete within it; of the others, the outline corners strictly inside the block and the labels
along its border. Corners on the lines between blocks follow from these labels. Components that
touch across a line are joined by union-find, and those that do not reach the last row read are
traced and yielded.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from geossda.footprints.components import footprints_of, in_row_order
from geossda.footprints.labelling import ComponentJoiner, label_block
from geossda.footprints.records import BuildingWindow, Footprints, OpenComponents
from geossda.parallel.ordered_map import OrderedPool
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window, tiles


def polygonize(
    read: Callable[[Window], BuildingWindow],
    shape: tuple[int, int],
    *,
    connectivity: int = 4,
    block: int = 2048,
    pool: OrderedPool | None = None,
    progress: Progress = SILENT,
) -> Iterator[tuple[Footprints, OpenComponents]]:
    """Trace the footprints of a raster, strip by strip of blocks.

    Neither the outlines nor their order depend on `block` or `pool`: footprints are ordered by
    their last row, then by their upper left corner. Memory grows with the open components, not
    with the raster.

    Parameters
    ----------
    read : callable
        Returns the building pixels of a window; called from several threads.
    shape : (int, int)
        Height and width of the raster in pixels.
    connectivity : {4, 8}
        With 8, pixels that touch at a corner belong together; since no valid polygon touches
        itself along its interior, geometries are MultiPolygons then.
    block : int
        Side of a block in pixels.
    pool : OrderedPool, optional
        Threads that read and label; by default a pool of all cores.
    progress : Progress
        Advanced by one for each block.

    Yields
    ------
    footprints : Footprints
        Those completed by a strip, maybe none, in pixels.
    open_components : OpenComponents
        Components that the strip did not complete.
    """
    height, width = shape
    tops, lefts = range(0, height, block), range(0, width, block)
    progress.stage("polygonizing", len(tops) * len(lefts))
    diagonal = connectivity == 8
    joiner = ComponentJoiner(width, lefts, diagonal=diagonal)
    with contextlib.nullcontext(pool) if pool else OrderedPool() as pool:
        blocks = pool.map(partial(label_block, read, diagonal=diagonal), tiles(shape, block))

        for row in tops:
            strip = []
            for _ in lefts:
                strip.append(next(blocks))
                progress.advance()
            last = row == tops[-1]
            closed = footprints_of(joiner.add(strip, row, last=last))
            still_open = joiner.open_components(np.inf if last else row + block)
            yield in_row_order([closed, *(each.complete for each in strip)]), still_open
