"""How many cores this process may use: all, or its share where several share a machine."""

import os
import sys

import cv2

_limit: int | None = None


def threads() -> int:
    """Give the number of threads for reading and computing."""
    return _limit or os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Use at most so many cores from now on, in OpenCV and torch too."""
    global _limit
    _limit = max(1, count)
    cv2.setNumThreads(_limit)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(_limit)
