"""Many references to one style."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.color.style import SHARES, Style
from geossda.errors import StyleError


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
                f"reference {other.name} has {other.bands} bands, {first.name} has {first.bands}: "
                "choose common ones with --bidx"
            )
    styles = [
        style if style.dtype == first.dtype else style.carried_to(first.working_range)
        for style in styles
    ]
    share = np.array(weights or [style.pixels for style in styles], float)
    share /= share.sum()
    mean, std = _moments(share, [s.mean for s in styles], [s.std for s in styles])
    lab_mean = lab_std = None
    lab = [(s.lab_mean, s.lab_std) for s in styles]
    if all(m is not None and s is not None for m, s in lab):
        lab_mean, lab_std = _moments(
            share, [m for m, _ in lab if m is not None], [s for _, s in lab if s is not None]
        )
    each = np.repeat(share, len(SHARES))
    quantiles = np.empty_like(first.quantiles)
    for band in range(first.bands):
        values = np.concatenate([style.quantiles[band] for style in styles])
        order = np.argsort(values, kind="stable")
        ranks = np.cumsum(each[order]) - each[order] / 2
        quantiles[band] = np.interp(SHARES, ranks / each.sum(), values[order])
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
        _covariance(share, styles, mean),
        _features(share, styles),
        first.colors if all(style.colors == first.colors for style in styles) else (),
        _sample(share, styles),
    )


def _moments(
    share: NDArray[np.float64], means: list[NDArray[np.float64]], stds: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pool means and standard deviations."""
    mean = share @ np.stack(means)
    square = share @ (np.stack(stds) ** 2 + np.stack(means) ** 2)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _covariance(
    share: NDArray[np.float64], styles: Sequence[Style], mean: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Pool covariances: those within the styles, and that of their means."""
    total = np.zeros((len(mean), len(mean)))
    for part, style in zip(share, styles, strict=True):
        if style.covariance is None:
            return None
        total += part * (style.covariance + np.outer(style.mean - mean, style.mean - mean))
    return total


def _sample(share: NDArray[np.float64], styles: Sequence[Style]) -> NDArray[np.float64] | None:
    """Pool colors: of each style as many as its share is, spread over its own."""
    samples = [style.sample for style in styles if style.sample is not None]
    if len(samples) < len(styles):
        return None
    size = max(sample.shape[1] for sample in samples)
    counts = np.maximum(np.rint(share * size), share > 0).astype(int)
    return np.concatenate(
        [
            sample[:, np.linspace(0, sample.shape[1] - 1, count).astype(int)]
            for sample, count in zip(samples, counts, strict=True)
        ],
        axis=1,
    )


def _features(share: NDArray[np.float64], styles: Sequence[Style]) -> dict[str, dict[str, Any]]:
    """Pool what models measured, for those that measured all the styles."""
    pooled: dict[str, dict[str, Any]] = {}
    for model, structures in styles[0].features.items():
        if not all(model in style.features for style in styles):
            continue
        pooled[model] = {
            structure: [
                [_level(share, [style.features[model][structure][g][k] for style in styles])
                 for k in range(len(levels))]
                for g, levels in enumerate(groups)
            ]
            for structure, groups in structures.items()
            if all(structure in style.features[model] for style in styles)
        }  # fmt: skip
    return pooled


def _level(share: NDArray[np.float64], levels: list[Any]) -> list[list[float]]:
    means, stds = ([np.array(level[part]) for level in levels] for part in (0, 1))
    return [moments.tolist() for moments in _moments(share, means, stds)]
