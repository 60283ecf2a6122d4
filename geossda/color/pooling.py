"""Many references to one style."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geossda.color.style import SHARES, Style
from geossda.errors import StyleError


def pool(styles: Sequence[Style]) -> Style:
    """Pool styles as if their pixels were one image's.

    Parameters
    ----------
    styles : sequence of Style
        Of one band count; those of another type than the first one are carried to its range.

    Raises
    ------
    StyleError
        None given, or band counts differ.
    """
    if not styles:
        raise StyleError("no style to pool")
    if len(styles) == 1:
        return styles[0]
    first = styles[0]
    for other in styles[1:]:
        if other.bands != first.bands:
            raise StyleError(
                f"reference {other.name} has {other.bands} bands, {first.name} has {first.bands}: "
                "choose common ones with --bidx"
            )
    styles = [
        style if style.dtype == first.dtype else style.carried_to(first.working_range)
        for style in styles
    ]
    share = np.array([style.pixels for style in styles], float)
    share /= share.sum()
    mean, std = _moments(share, [s.mean for s in styles], [s.std for s in styles])
    lab_mean = lab_std = None
    lab = [(s.lab_mean, s.lab_std) for s in styles]
    if all(m is not None and s is not None for m, s in lab):
        lab_mean, lab_std = _moments(
            share, [m for m, _ in lab if m is not None], [s for _, s in lab if s is not None]
        )
    weights = np.repeat(share, len(SHARES))
    quantiles = np.empty_like(first.quantiles)
    for band in range(first.bands):
        values = np.concatenate([style.quantiles[band] for style in styles])
        order = np.argsort(values, kind="stable")
        ranks = np.cumsum(weights[order]) - weights[order] / 2
        quantiles[band] = np.interp(SHARES, ranks / weights.sum(), values[order])
    return Style(
        f"{first.name} and {len(styles) - 1} more",
        first.dtype,
        first.working_range,
        quantiles,
        mean,
        std,
        lab_mean,
        lab_std,
        sum(style.pixels for style in styles),
    )


def _moments(
    share: NDArray[np.float64], means: list[NDArray[np.float64]], stds: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pool means and standard deviations."""
    mean = share @ np.stack(means)
    square = share @ (np.stack(stds) ** 2 + np.stack(means) ** 2)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))
