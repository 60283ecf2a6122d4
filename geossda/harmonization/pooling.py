"""Many references to one style."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geossda.errors import StyleError, counted
from geossda.harmonization.statistic import Statistic
from geossda.harmonization.style import Style


def check_weights(weights: Sequence[float], count: int) -> None:
    """Check the weights of references, which may be measured later.

    Parameters
    ----------
    weights : sequence of float
        Empty where there are none.
    count : int
        Number of references.

    Raises
    ------
    StyleError
        Not one weight each, or weights below 0 or all 0.
    """
    if weights and (len(weights) != count or min(weights) < 0 or sum(weights) <= 0):
        raise StyleError(
            f"{len(weights)} weights for {count} references: give one each, none below 0 and not "
            "all 0"
        )


def pool(styles: Sequence[Style], weights: Sequence[float] = ()) -> Style:
    """Pool styles as if their pixels were one image's.

    Parameters
    ----------
    styles : sequence of Style
        Of one band count; those of another type than the first one are carried to its range.
    weights : sequence of float, optional
        Shares, one a style; by their numbers of pixels if not given.

    Raises
    ------
    StyleError
        None given, band counts differ, or weights do not fit.
    """
    check_weights(weights, len(styles))
    if not styles:
        raise StyleError("no style to pool")
    if len(styles) == 1:
        return styles[0]
    first = styles[0]
    for other in styles[1:]:
        if other.bands != first.bands:
            raise StyleError(
                f"reference {other.name} has {counted(other.bands, 'band')}, {first.name} "
                f"has {first.bands}: "
                "choose common ones with --bidx"
            )
    styles = [style.fitted_to(first.dtype, first.working_range) for style in styles]
    shares = np.array(weights or [style.pixels for style in styles], float)
    shares /= shares.sum()
    return Style(
        f"{first.name} (and {len(styles) - 1} more)",
        first.dtype,
        first.working_range,
        {statistic: _pooled(statistic, styles, shares) for statistic in first.statistics},
    )


def _pooled(
    statistic: type[Statistic], styles: Sequence[Style], shares: NDArray[np.float64]
) -> Statistic | None:
    """Pool one statistic; None if one of the styles lacks it."""
    each = [value for style in styles if (value := style.get(statistic)) is not None]
    return statistic.pool(each, shares) if len(each) == len(styles) else None
