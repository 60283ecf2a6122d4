"""One block of a raster: the parts in it, those that touch its rim, and those that are whole."""

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.footprints.components import Ended, ProbabilityStats, finish
from geossda.footprints.records import BuildingWindow, Traced
from geossda.footprints.tracing import Corners, find_corners
from geossda.raster.windows import Window


class Block(NamedTuple):
    """What is found in a block.

    Attributes
    ----------
    corners : Corners
        Those strictly inside the block of the parts that go on, numbered from 1.
    tally : ProbabilityStats
        Of these parts; the first entry is the outside.
    top, bottom, left, right : int arrays
        The numbers of the pixels of its rim, 0 outside.
    whole : Traced
        The parts that do not reach the rim.
    """

    corners: Corners
    tally: ProbabilityStats
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    whole: Traced


def read_block(
    read: Callable[[Window], BuildingWindow], window: Window, *, diagonal: bool
) -> Block:
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
    labels = _labels_of(inside.shape)
    count, _ = cv2.connectedComponents(
        inside.view(np.uint8), labels, connectivity=4, ltype=cv2.CV_32S
    )
    tally = ProbabilityStats.empty(count)
    if probability is not None:
        where = np.flatnonzero(inside)
        tally = ProbabilityStats.of_pixels(labels.ravel()[where], count, probability.ravel()[where])
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


_scratch = threading.local()


def _labels_of(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Give the calling thread its array for labels: threads that ask for memory wait in line."""
    size = math.prod(shape)
    if len(getattr(_scratch, "labels", ())) < size:
        _scratch.labels = np.empty(size, np.int32)
    labels: NDArray[np.int32] = _scratch.labels[:size].reshape(shape)
    return labels
