"""Groups of footprints that touch."""

import numpy as np
import shapely
from numpy.typing import NDArray


def touching_groups(
    polygons: NDArray[np.object_], owners: NDArray[np.int64], gap: float
) -> NDArray[np.int64]:
    """Return the group of each polygon among those that touch, directly or through others.

    Parameters
    ----------
    polygons : (n,) array of shapely Polygon
    owners : (n,) int64 array
        Features that polygons are parts of; those of one feature are of one group.
    gap : float
        Distance up to which polygons touch, in units of their coordinates.

    Returns
    -------
    (n,) int64 array
        From 0, without gaps.
    """
    tree = shapely.STRtree(polygons)
    one, other = tree.query(polygons, predicate="dwithin", distance=gap)
    _, first, back = np.unique(owners, return_index=True, return_inverse=True)
    rows = np.arange(len(polygons))
    one = np.concatenate([one, rows, first[back]])
    other = np.concatenate([other, first[back], rows])
    groups, before = rows, np.full(len(polygons), -1)
    while (groups != before).any():
        before, groups = groups, groups.copy()
        np.minimum.at(groups, one, before[other])
        groups = groups[groups]
    return np.asarray(np.unique(groups, return_inverse=True)[1], np.int64)
