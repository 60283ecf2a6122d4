"""Groups of bands: networks have a fixed number of input bands, images any number."""

from typing import NamedTuple

from geossda.errors import ModelError, counted


class Group(NamedTuple):
    """Bands that go through a network together.

    Attributes
    ----------
    bands : list of int
        0-based.
    fresh : list of int
        Bands of the group that the result is taken of; the others were in an earlier group.
    """

    bands: list[int]
    fresh: list[int]

    @property
    def fresh_indices(self) -> list[int]:
        """Indices of the fresh bands within the group."""
        return [self.bands.index(band) for band in self.fresh]


def groups(count: int, at_a_time: int) -> list[Group]:
    """Return groups that cover `count` bands in order; the last one begins earlier if need be.

    Parameters
    ----------
    count : int
        Bands of the image.
    at_a_time : int
        Bands that the network takes.

    Raises
    ------
    ModelError
        The image has fewer bands than the network takes.
    """
    if count < at_a_time:
        raise ModelError(
            f"the network takes {counted(at_a_time, 'band')} at a time, the image has {count}"
        )
    covering = []
    for start in range(0, count, at_a_time):
        first = min(start, count - at_a_time)
        bands = list(range(first, first + at_a_time))
        covering.append(Group(bands, [band for band in bands if band >= start]))
    return covering
