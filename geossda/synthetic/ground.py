"""Ground of a synthetic town: soil, grass, fields, water, streets, walls."""

import cv2
import numpy as np
import shapely

from geossda.synthetic.canvas import PIXEL, Canvas, Plane, fill, fractal, smoothstep, stroke
from geossda.synthetic.town_layout import Layout, Parcel

_GRASS, _LUSH, _DRY = (112, 124, 70), (84, 106, 52), (152, 146, 98)
_RED, _SAND, _GREY = (174, 128, 98), (194, 170, 138), (156, 148, 134)
_CROPS = ((98, 116, 58), (120, 132, 72), (140, 132, 88), (82, 104, 50), (146, 120, 88))
_TILLED = ((150, 110, 82), (166, 130, 98), (128, 98, 74))
_YARDS = {"swept": (190, 150, 116), "lawn": (92, 116, 54), "paved": (178, 172, 160)}
_WATER = (58, 70, 58)
# Amount of bare soil by the kind of block, in standard deviations of the noise.
_WORN = {
    "homes": 0.15,
    "dense": 1.5,
    "estate": 0.7,
    "school": 1.0,
    "field": -0.6,
    "open": -0.5,
    "wood": -0.9,
}


def paint_ground(rng: np.random.Generator, canvas: Canvas, layout: Layout) -> Plane:
    """Paint the ground, and the walls between plots.

    Parameters
    ----------
    rng : Generator
    canvas : Canvas
    layout : Layout

    Returns
    -------
    keep_out : (height, width) float32 array
        1 where nothing may be planted (streets, roofs and water), 0 elsewhere.
    """
    shape = canvas.shape
    roofs = fill(shape, [shapely.get_coordinates(house.outline) for house in layout.houses])
    _paint_land(rng, canvas, layout, roofs)
    for kind in _YARDS:
        _paint_yards(rng, canvas, layout, kind)
    for parcel in layout.fields:
        _paint_field(rng, canvas, parcel)
    water = _paint_water(rng, canvas, layout)
    streets = _paint_streets(rng, canvas, layout, water)
    _paint_clutter(rng, canvas, roofs)
    for lines, color, height in (
        (layout.walls[::2], (176, 166, 150), 1.9),
        (layout.walls[1::2], (142, 124, 106), 1.6),
    ):
        wall = stroke(shape, lines, 0.3) * (1 - streets) * (1 - water)
        canvas.paint(wall * np.float32(0.85), color)
        np.maximum(canvas.height, wall * np.float32(height), out=canvas.height)
    return np.maximum(np.maximum(roofs, streets), water)


def _paint_land(rng: np.random.Generator, canvas: Canvas, layout: Layout, roofs: Plane) -> None:
    shape = canvas.shape
    worn = np.full(shape, -0.3, np.float32)
    for block in layout.blocks:
        outline = np.round(block.outline / PIXEL).astype(np.int32)
        cv2.fillPoly(worn, [outline], _WORN[block.kind] + rng.normal(0, 0.3))
    worn = np.asarray(cv2.GaussianBlur(worn, (0, 0), 9), np.float32)
    near = cv2.GaussianBlur(roofs, (0, 0), 14) + 0.6 * cv2.GaussianBlur(roofs, (0, 0), 5)
    bare = smoothstep(
        fractal(rng, shape, 190, 7, 0.68) + worn + 2.0 * np.asarray(near) - 0.75, -0.55, 0.55
    )
    # Grass in patches of three greens, with tufts.
    canvas.paint(np.ones(shape, np.float32), _GRASS, green=1.0)
    canvas.paint(smoothstep(fractal(rng, shape, 240, 5), -0.1, 1.5), _LUSH, green=1.0)
    canvas.paint(smoothstep(fractal(rng, shape, 130, 6, 0.7), 0.1, 1.5), _DRY, green=0.75)
    tufts = fractal(rng, shape, 9, 4, 0.8)
    np.multiply(canvas.albedo, (1 + np.float32(0.11) * tufts)[..., None], out=canvas.albedo)
    soil = np.empty((*shape, 3), np.float32)
    soil[:] = _SAND
    kinds = fractal(rng, shape, 420, 5, 0.5) + np.float32(rng.normal(0, 0.5))
    for color, low, high in ((_RED, -0.4, 0.9), (_GREY, 1.2, 2.0)):
        share = smoothstep(kinds, low, high)[..., None]
        soil += (np.array(color, np.float32) - soil) * share
    soil *= (1 + 0.075 * fractal(rng, shape, 50, 6, 0.75))[..., None]
    canvas.paint(bare * np.float32(0.93), soil, green=0.0)
    weeds = smoothstep(fractal(rng, shape, 7, 3, 0.7) + 0.5 * kinds, 1.15, 2.0)
    canvas.paint(weeds * np.float32(0.55), (84, 92, 54), green=0.8)


def _paint_yards(rng: np.random.Generator, canvas: Canvas, layout: Layout, kind: str) -> None:
    """Paint the yards of one kind: swept soil, lawn or paving."""
    shape = canvas.shape
    yards = fill(shape, [yard.outline for yard in layout.yards if yard.kind == kind], 1.5)
    ragged = 0.08 if kind == "paved" else 0.3
    cover = smoothstep(yards + ragged * fractal(rng, shape, 34, 5, 0.7), 0.4, 0.7)
    tone = 1 + 0.05 * fractal(rng, shape, 60, 6, 0.75)[..., None]
    color = np.array(_YARDS[kind], np.float32) * tone
    canvas.paint(cover * np.float32(0.72), color, green=1.0 if kind == "lawn" else 0.0)


def _paint_field(rng: np.random.Generator, canvas: Canvas, parcel: Parcel) -> None:
    """Paint one field: its crop, its rows and its bare spots, within its bounds."""
    low = np.floor(parcel.outline.min(axis=0) / PIXEL).astype(int) - 2
    high = np.ceil(parcel.outline.max(axis=0) / PIXEL).astype(int) + 2
    left, top = np.maximum(low, 0).tolist()
    right, bottom = np.minimum(high, canvas.shape[::-1]).tolist()
    if right - left < 2 or bottom - top < 2:
        return
    size = (bottom - top, right - left)
    inside = fill(size, [parcel.outline - np.array([left, top]) * PIXEL], 1.0)
    y, x = np.mgrid[top:bottom, left:right] * np.float32(PIXEL)
    wander = fractal(rng, size, 60, 2)
    across = y * np.cos(parcel.angle) - x * np.sin(parcel.angle) + 0.25 * wander
    pace = rng.uniform(1.3, 3.4)
    rows = smoothstep(np.sin(2 * np.pi * across / pace) + 0.7 * fractal(rng, size, 8, 3), -0.6, 0.9)
    crop = np.array(_CROPS[int(rng.integers(len(_CROPS)))]) * rng.uniform(0.88, 1.1)
    soil = np.array(_TILLED[int(rng.integers(len(_TILLED)))]) * rng.uniform(0.9, 1.12)
    grown = float(rng.beta(1.1, 1.1))
    patchy = smoothstep(fractal(rng, size, 70, 5, 0.7), -1.5, 1.5)
    alpha = np.clip(rows * (0.25 + 0.75 * grown) + 0.55 * grown * patchy - 0.12, 0, 1)
    part = Canvas(
        canvas.albedo[top:bottom, left:right],
        canvas.green[top:bottom, left:right],
        canvas.height[top:bottom, left:right],
    )
    grain = (1 + 0.05 * fractal(rng, size, 8, 3, 0.8))[..., None]
    part.paint(inside * np.float32(0.9), soil * grain)
    part.paint(inside * np.float32(alpha), crop * grain, green=1.0)


def _paint_water(rng: np.random.Generator, canvas: Canvas, layout: Layout) -> Plane:
    shape = canvas.shape
    shapes = [p for p in getattr(layout.river, "geoms", [layout.river]) if not p.is_empty]
    outlines = [np.asarray(p.exterior.coords) for p in shapes]
    bank = fill(shape, [np.asarray(p.buffer(2.2).exterior.coords) for p in shapes], 4.0)
    rough = fractal(rng, shape, 26, 5, 0.7)
    mud = smoothstep(bank + 0.16 * rough, 0.35, 0.75)
    canvas.paint(mud * np.float32(0.75), (124, 112, 84), green=0.3)
    water = smoothstep(fill(shape, outlines, 2.0) + 0.04 * rough, 0.42, 0.58)
    murk = 1 + 0.07 * fractal(rng, shape, 220, 3)[..., None]
    canvas.paint(water * np.float32(0.97), np.array(_WATER, np.float32) * murk)
    return water


def _paint_streets(rng: np.random.Generator, canvas: Canvas, layout: Layout, water: Plane) -> Plane:
    """Paint paths, dirt tracks with ragged edges and wheel ruts, then paved streets."""
    shape = canvas.shape
    rough = fractal(rng, shape, 22, 5, 0.75)
    patches = fractal(rng, shape, 90, 6, 0.7)
    path = stroke(shape, layout.paths, 0.9, 1.2) * (1 - water)
    canvas.paint(smoothstep(path + 0.1 * rough, 0.15, 0.6) * np.float32(0.6), _SAND)
    taken = np.zeros(shape, np.float32)
    tint = np.float32(rng.uniform(0, 1))
    dirt = np.array(_SAND) * (1 - tint) + np.array((184, 136, 98)) * tint
    dirt_color = np.float32(dirt) * (1 + 0.05 * patches + 0.02 * rough)[..., None]
    # By class, the narrowest first, so that a junction shows the wider street.
    tracks = [street for street in layout.streets if not street.paved]
    for low, high in ((0.0, 3.2), (3.2, 4.4), (4.4, 99.0)):
        lines = [s.line for s in tracks if low <= s.width < high]
        widths = [s.width for s in tracks if low <= s.width < high]
        if not lines:
            continue
        wide = float(np.mean(widths))
        body = stroke(shape, lines, wide, 2.2)
        track = smoothstep(body + 0.17 * rough, 0.28, 0.7)
        canvas.paint(track * np.float32(0.8), dirt_color)
        crown = stroke(shape, lines, wide * 0.22, 1.4)
        weeds = smoothstep(crown + 0.25 * patches - 0.15, 0.2, 0.8) * track
        canvas.paint(weeds * np.float32(0.4), _DRY, green=0.8)
        np.maximum(taken, track, out=taken)
    paved = [street for street in layout.streets if street.paved]
    shoulder = np.zeros(shape, np.float32)
    groups = [[s for s in paved if s.width < 6.5], [s for s in paved if s.width >= 6.5]]
    for group in groups:
        if group:
            wide = float(np.mean([s.width for s in group]))
            side = stroke(shape, [s.line for s in group], wide + 2.4, 3.0)
            np.maximum(shoulder, side, out=shoulder)
    canvas.paint(smoothstep(shoulder + 0.14 * rough, 0.3, 0.8) * np.float32(0.8), dirt_color)
    for group in groups:
        if not group:
            continue
        lines = [s.line for s in group]
        wide = float(np.mean([s.width for s in group]))
        body = smoothstep(stroke(shape, lines, wide, 1.1) + 0.05 * rough, 0.3, 0.7)
        grey = np.array((138, 131, 122)) * rng.uniform(0.88, 1.08)
        canvas.paint(body, np.float32(grey) * (1 + 0.035 * patches)[..., None])
        worn = stroke(shape, lines, wide * 0.35, 4.0)
        canvas.paint(worn * np.float32(0.22), (160, 154, 146))
        sand = smoothstep(patches + 0.6 * rough, 0.7, 2.2) * body
        canvas.paint(sand * np.float32(0.5), dirt_color)
        np.maximum(taken, body, out=taken)
    return taken


def _paint_clutter(rng: np.random.Generator, canvas: Canvas, roofs: Plane) -> None:
    """Scatter small objects around houses: washing, buckets, heaps, stones."""
    near = np.asarray(cv2.GaussianBlur(roofs, (0, 0), 10), np.float32)
    count = int(roofs.size * 0.0035)
    rows, cols = rng.integers(0, canvas.shape[0], count), rng.integers(0, canvas.shape[1], count)
    chosen = rng.random(count) < near[rows, cols] * 1.6 + 0.02
    tones = [(226, 224, 216), (70, 62, 54), (120, 112, 100), (84, 116, 168), (176, 92, 70)]
    picks = rng.choice(len(tones), count, p=[0.24, 0.36, 0.28, 0.06, 0.06])
    sizes = rng.integers(1, 4, (count, 2))
    for row, col, pick, (tall, wide) in zip(
        rows[chosen], cols[chosen], picks[chosen], sizes[chosen], strict=True
    ):
        spot = canvas.albedo[row : row + tall, col : col + wide]
        spot += (np.array(tones[pick], np.float32) - spot) * np.float32(0.75)
        canvas.height[row : row + tall, col : col + wide] = 0.4
