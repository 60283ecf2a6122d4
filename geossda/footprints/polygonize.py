"""Footprints of a raster of any size, block by block, exactly those of the whole raster.

Blocks are read once, in threads. Each gives the parts (4-connected pixels) that are whole within
it, and of the others the corners of their outlines strictly inside it and the labels of its rim;
what lies on the lines between blocks is found from the rims. Parts that touch across a line are
joined (union-find), and a part that no longer reaches the last row read is walked and given away.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from geossda.footprints.blocks import read_block
from geossda.footprints.components import finish, in_order
from geossda.footprints.joining import Join
from geossda.footprints.records import BuildingWindow, OpenComponents, Traced
from geossda.parallel.ordered_map import OrderedPool
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window, tiles


def polygonize(
    read: Callable[[Window], BuildingWindow],
    shape: tuple[int, int],
    *,
    connectivity: int = 4,
    block: int = 2048,
    crew: OrderedPool | None = None,
    progress: Progress = SILENT,
) -> Iterator[tuple[Traced, OpenComponents]]:
    """Turn a raster into footprints, strip by strip of blocks.

    Neither their outlines nor their order depend on `block` or `crew`: they come in the order
    of their last row, then of their upper left corner. Memory follows the parts that are open.

    Parameters
    ----------
    read : callable
        Gives the marks of a window; called from threads.
    shape : (int, int)
        Height and width of the raster.
    connectivity : {4, 8}
        With 8 pixels that touch at a corner belong together; as no polygon may hang on a point,
        shapes are MultiPolygons then.
    block : int
        Side of a block in pixels.
    crew : OrderedPool, optional
        Threads that read and trace; one of all cores by default.
    progress : Progress
        Advanced by one a block.

    Yields
    ------
    (Traced, Open)
        Those that ended in a strip, maybe none, and what is known of those that did not.
    """
    height, width = shape
    tops, lefts = range(0, height, block), range(0, width, block)
    progress.stage("polygonizing", len(tops) * len(lefts))
    diagonal = connectivity == 8
    join = Join(width, lefts, diagonal=diagonal)
    with contextlib.nullcontext(crew) if crew else OrderedPool() as crew:
        blocks = crew.map(partial(read_block, read, diagonal=diagonal), tiles(shape, block))

        for row in tops:
            strip = []
            for _ in lefts:
                strip.append(next(blocks))
                progress.advance()
            last = row == tops[-1]
            ended = finish(join.add(strip, row, last=last))
            still = join.still_open(np.inf if last else row + block)
            yield in_order([ended, *(each.whole for each in strip)]), still
