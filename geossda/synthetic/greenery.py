"""Trees, bushes and palms of a synthetic town."""

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.synthetic.canvas import PIXEL, Canvas, Plane, fractal, smoothstep
from geossda.synthetic.town_layout import Layout

# Colors of mango, broadleaf, bright broadleaf, olive, grey-green and, last, palm leaves (RGB).
_LEAVES = np.array(
    [(62, 82, 44), (78, 102, 50), (98, 118, 58), (104, 112, 66), (86, 104, 62), (112, 128, 70)],
    np.float32,
)
# Radii of the crowns that are drawn, in pixels, and variants of each.
_RADII_PX = (2, 3, 4, 5, 7, 9, 11, 14, 17, 21)
_VARIANTS = 7
_PALM = 5
# Trees per square metre, by the kind of block.
_DENSITY = {
    "homes": 0.0095,
    "dense": 0.003,
    "estate": 0.003,
    "school": 0.003,
    "field": 0.0012,
    "open": 0.004,
    "wood": 0.03,
}


def plant(rng: np.random.Generator, canvas: Canvas, layout: Layout, keep_out: Plane) -> None:
    """Plant trees, bushes and hedges where `keep_out` (0 to 1) leaves room.

    Parameters
    ----------
    rng : Generator
    canvas : Canvas
    layout : Layout
    keep_out : (height, width) float32 array
        Above 0.5 nothing is planted: roofs, streets, water.
    """
    shape = canvas.shape
    crown, kind = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    room = cv2.distanceTransform((keep_out < 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    sprites = [[_crown(rng, r) for _ in range(_VARIANTS)] for r in _RADII_PX]
    palms = [_palm(rng, 8 + v % 4) for v in range(_VARIANTS)]
    cols, rows, big = _spots(rng, shape, layout)
    for col, row, sort in zip(cols.tolist(), rows.tolist(), big.tolist(), strict=True):
        free = float(room[row, col])
        if sort == 2 and free > 5:
            _put(crown, kind, palms[int(rng.integers(_VARIANTS))], (row, col), 6.5, _PALM)
            continue
        wanted = rng.gamma(4.0, 2.6) if sort else rng.gamma(3.0, 1.0)
        # A crown may overhang the edge of a roof, but not cover the house.
        radius = min(wanted, free * 1.12)
        if radius < 1.6:
            continue
        size = int(np.argmin(np.abs(np.array(_RADII_PX) - radius)))
        sprite = sprites[size][int(rng.integers(_VARIANTS))]
        tall = max(0.7, _RADII_PX[size] * PIXEL * rng.uniform(1.1, 1.7))
        _put(crown, kind, sprite, (row, col), min(tall, 8.5), int(rng.integers(_PALM)))
    _shade_in(rng, canvas, crown, kind)


def _spots(
    rng: np.random.Generator, shape: tuple[int, int], layout: Layout
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw columns, rows and kinds (0 bush, 1 tree, 2 palm) of all plants."""
    step = 4
    small = (-(-shape[0] // step), -(-shape[1] // step))
    density = np.full(small, 0.003, np.float32)
    for block in layout.blocks:
        outline = np.round(block.outline / PIXEL / step).astype(np.int32)
        cv2.fillPoly(density, [outline], _DENSITY[block.kind])
    banks = [layout.river, *getattr(layout.river, "geoms", [])]
    for bank in banks:
        if bank.geom_type == "Polygon" and not bank.is_empty:
            rim = np.round(np.asarray(bank.exterior.coords) / PIXEL / step).astype(np.int32)
            cv2.polylines(density, [rim], True, 0.035, 3)
    clumps = fractal(rng, small, 30, 4)
    density *= np.exp(np.float32(1.25) * clumps - 0.5)
    cell = (step * PIXEL) ** 2
    rows, cols = np.nonzero(rng.random(small, np.float32) < density * 2.6 * cell)
    sorts = rng.choice(3, len(rows), p=[0.46, 0.52, 0.02])
    jitter = rng.integers(0, step, (2, len(rows)))
    x = [np.minimum(cols * step + jitter[0], shape[1] - 1)]
    y = [np.minimum(rows * step + jitter[1], shape[0] - 1)]
    sort = [sorts]
    for line in layout.hedges:
        steps = np.linspace(0, 1, max(2, int(len(line) * 5)))
        at = np.linspace(0, 1, len(line))
        hx = np.interp(steps, at, line[:, 0]) / PIXEL + rng.normal(0, 0.8, len(steps))
        hy = np.interp(steps, at, line[:, 1]) / PIXEL + rng.normal(0, 0.8, len(steps))
        inside = (hx >= 0) & (hy >= 0) & (hx < shape[1]) & (hy < shape[0])
        x.append(hx[inside].astype(np.int64))
        y.append(hy[inside].astype(np.int64))
        sort.append(np.zeros(int(inside.sum()), np.int64))
    return np.concatenate(x), np.concatenate(y), np.concatenate(sort)


def _crown(rng: np.random.Generator, radius: int) -> Plane:
    """Return the height of an irregular crown, 0 to 1."""
    reach = int(radius * 1.3) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] / radius
    angle = np.arctan2(y, x)
    bulge = sum(
        rng.normal(0, 0.3 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 7)
    )
    dist = np.hypot(x, y) / (1 + 0.55 * bulge)
    dome = np.sqrt(np.clip(1 - dist**2, 0, 1))
    lumps = np.zeros_like(dome)
    for _ in range(5 + 2 * radius):
        away, turn = np.sqrt(rng.random()) * 0.85, rng.uniform(0, 6.3)
        size = rng.uniform(0.2, 0.42)
        near = np.hypot(x - away * np.cos(turn), y - away * np.sin(turn)) / size
        lumps = np.maximum(lumps, (1 - 0.55 * away) * np.sqrt(np.clip(1 - near**2, 0, 1)))
    shape = np.where(dist < 1, 0.5 * dome + 0.5 * lumps * np.sqrt(dome), 0)
    return shape.astype(np.float32)


def _palm(rng: np.random.Generator, radius: int) -> Plane:
    """Return the height of a palm, fronds around a point, 0 to 1."""
    reach = radius + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] / radius
    dist = np.hypot(x, y)
    turn = np.arctan2(y, x) + 0.5 * dist
    fronds = int(rng.integers(9, 13))
    frond = np.cos(fronds * turn + rng.uniform(0, 6.3)) + rng.normal(0, 0.15, dist.shape)
    blade = np.clip(0.55 * frond + 1.0 - 0.85 * dist, 0, 1) * (dist < 1)
    return np.asarray(blade * (1 - 0.35 * dist), np.float32)


def _put(
    crown: Plane,
    kind: NDArray[np.uint8],
    sprite: Plane,
    spot: tuple[int, int],
    tall: float,
    leaf: int,
) -> None:
    reach = sprite.shape[0] // 2
    top, left = spot[0] - reach, spot[1] - reach
    bottom = min(spot[0] + reach + 1, crown.shape[0])
    right = min(spot[1] + reach + 1, crown.shape[1])
    rows, cols = slice(max(top, 0), bottom), slice(max(left, 0), right)
    part = sprite[rows.start - top : bottom - top, cols.start - left : right - left]
    new = part * np.float32(tall)
    higher = new > crown[rows, cols]
    crown[rows, cols][higher] = new[higher]
    kind[rows, cols][higher] = leaf


def _shade_in(
    rng: np.random.Generator, canvas: Canvas, crown: Plane, kind: NDArray[np.uint8]
) -> None:
    """Paint the crowns: bright tips, dark gaps, leaves as noise."""
    tint = fractal(rng, canvas.shape, 120, 3)
    leaves = rng.standard_normal(canvas.shape, np.float32)
    leaves = np.asarray(cv2.GaussianBlur(leaves, (0, 0), 0.8), np.float32) * np.float32(2.0)
    depth = cv2.GaussianBlur(crown, (0, 0), 2.5)
    gaps = np.clip((crown - depth) / np.maximum(depth, 0.4), -0.6, 0.6)
    tone = np.clip(1 + 0.09 * tint + 0.15 * leaves + 0.62 * gaps, 0.3, 1.45)
    color = _LEAVES[kind] * tone[..., None]
    alpha = np.where(crown >= canvas.height * 0.8, smoothstep(crown, 0.12, 0.5), 0)
    canvas.paint(np.asarray(alpha, np.float32), color, green=0.45)
    np.maximum(canvas.height, crown + np.float32(0.18) * leaves * (crown > 0.5), out=canvas.height)
