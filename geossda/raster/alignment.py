"""How the pixels of one grid lie on another."""

import math

from odc.geo.geobox import GeoBox


def axis_scale(own: GeoBox, target: GeoBox) -> tuple[float, float, float, float] | None:
    """Give (scale x, scale y, offset x, offset y) from pixels of `target` to pixels of `own`.

    None if the two differ by more: another CRS, a rotation, a flip.
    """
    if own.crs != target.crs:
        return None
    to_own = ~own.transform * target.transform
    span = max(target.shape)
    if max(abs(to_own.b), abs(to_own.d)) * span > 0.01 or min(to_own.a, to_own.e) <= 0:
        return None
    exact = [to_own.a, to_own.e, to_own.c, to_own.f]
    # Snap what is rounding in the transforms, so that equal lattices are read without resampling.
    snapped = [round(value) for value in exact]
    near = [
        abs(e - s) * (span if i < 2 else 1) < 0.01
        for i, (e, s) in enumerate(zip(exact, snapped, strict=True))
    ]
    if all(near):
        exact = [float(value) for value in snapped]
    return exact[0], exact[1], exact[2], exact[3]


def inside(start: int, length: int, scale: float, offset: float, size: int) -> slice:
    """Give the target pixels of a run that lie wholly inside `size` own pixels (at least one)."""
    first = max(start, math.ceil(-offset / scale - 1e-6))
    stop = min(start + length, math.floor((size - offset) / scale + 1e-6))
    if stop <= first:  # narrower than a target pixel
        first = min(max(start, first), start + length - 1)
        stop = first + 1
    return slice(first, stop)


def ends(run: slice) -> tuple[int, int]:
    """Give the first pixel of a run, and the one after its last."""
    return run.start, run.stop
