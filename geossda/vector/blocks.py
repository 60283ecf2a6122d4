"""One block of a raster: the parts in it, those that touch its rim, and those that are whole."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.raster.windows import Window
from geossda.vector.finishing import Ended, Tally, finish
from geossda.vector.parts import Marks, Traced
from geossda.vector.tracing import Corners, find_corners


class Block(NamedTuple):
    """What is found in a block.

    Attributes
    ----------
    corners : Corners
        Those strictly inside the block of the parts that go on, numbered from 1.
    tally : Tally
        Of these parts; the first entry is the outside.
    top, bottom, left, right : int arrays
        The numbers of the pixels of its rim, 0 outside.
    whole : Traced
        The parts that do not reach the rim.
    """

    corners: Corners
    tally: Tally
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    whole: Traced


def read_block(read: Callable[[Window], Marks], window: Window, *, diagonal: bool) -> Block:
    """Read and label a block.

    Parameters
    ----------
    read : callable
        Gives the marks of a window.
    window : Window
    diagonal : bool
        Parts that touch at a point belong together; none is taken for whole then.
    """
    inside, probability = read(window)
    # Counting pixels here (connectedComponentsWithStats) takes four times as long; corners tell.
    count, found = cv2.connectedComponents(inside.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    labels = np.asarray(found)
    tally = Tally.empty(count)
    if probability is not None:
        where = np.flatnonzero(inside)
        tally = Tally.of_pixels(labels.ravel()[where], count, probability.ravel()[where])
    corners = find_corners(labels, window.row + 1, window.col + 1, inside)
    rim = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    goes_on = np.full(count, diagonal)
    for line in rim:
        goes_on[line] = True
    goes_on[0] = True  # the outside, so that it keeps number 0
    number = np.where(goes_on, np.cumsum(goes_on) - 1, 0)
    stays = goes_on[corners.part]
    mine = corners.take(stays)
    top, bottom, left, right = (number[line] for line in rim)
    return Block(
        mine._replace(part=number[mine.part]),
        tally.take(goes_on),
        top,
        bottom,
        left,
        right,
        finish(Ended(corners.take(~stays), tally, None)),
    )
