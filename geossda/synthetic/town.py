"""A small georeferenced town, rendered from a seed as an aerial survey would see it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely import affinity

from geossda.errors import InputError
from geossda.synthetic.canvas import PIXEL, Canvas, Plane
from geossda.synthetic.greenery import plant
from geossda.synthetic.ground import paint_ground
from geossda.synthetic.houses import House
from geossda.synthetic.roofs import RoofPainter
from geossda.synthetic.town_layout import lay_out

CRS = "EPSG:32737"
# Upper left corner in metres east and north, on the coast of Tanzania.
_ORIGIN = (527_400.0, 9_317_900.0)
_MIN_SIZE_PX = 256
# Rows exposed at once.
_STRIP_ROWS = 512
# Greatest height of an object that casts a shadow, in metres.
_MAX_HEIGHT_M = 10.0


@dataclass(frozen=True)
class Town:
    """A rendered town with its ground truth.

    Attributes
    ----------
    image : (3, height, width) uint8 array
        Mosaic of two strips that differ in haze, gain and season; 0 where invalid.
    clean : (3, height, width) uint8 array
        The same ground, all of it in the style of the west strip; 0 where invalid.
    valid : (height, width) bool array
        False beyond the end of the swath, in the upper right corner.
    reference : (3, h, w) uint8 array
        Other ground nearby, smaller, in the style of the west strip; all valid.
    footprints : list of shapely Polygon
        Roof outlines, in `crs`, of the houses that lie entirely in valid pixels.
    transform, reference_transform : Affine
        From pixels of 0.3 m to `crs`.
    crs : str
    seam_col : (height,) int array
        First column of the east strip in each row.
    """

    image: NDArray[np.uint8]
    clean: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    reference: NDArray[np.uint8]
    footprints: list[Any]
    transform: Affine
    reference_transform: Affine
    crs: str
    seam_col: NDArray[np.int64]


@dataclass(frozen=True)
class _Acquisition:
    """Season, exposure and haze of one acquisition."""

    season: tuple[float, float, float]
    dryness: float
    gain: tuple[float, float, float]
    haze: tuple[float, float, float]


_WEST = _Acquisition((1, 1, 1), 0.0, (0.97, 0.96, 0.95), (5, 6, 9))
_EAST = _Acquisition((1.3, 1.08, 0.86), 0.8, (0.66, 0.7, 0.7), (38, 43, 55))


@dataclass(frozen=True)
class _Scene:
    canvas: Canvas
    light: Plane
    houses: list[House]


def render_town(seed: int, size_px: int) -> Town:
    """Render a town; the same seed and size always give the same town.

    Parameters
    ----------
    seed : int
        Any number from 0 on.
    size_px : int
        Height and width of the mosaic, in pixels of 0.3 m; at least 256. A reference of half
        that size is rendered too.

    Returns
    -------
    Town

    Raises
    ------
    InputError
        `size_px` is too small for a town.
    """
    if size_px < _MIN_SIZE_PX:
        raise InputError(f"a town of {size_px} px: give at least {_MIN_SIZE_PX}")
    ground, nearby, framing = (np.random.default_rng([seed, part]) for part in range(3))
    transform = Affine(PIXEL, 0, _ORIGIN[0], 0, -PIXEL, _ORIGIN[1])
    half = size_px // 2
    away = transform * Affine.translation(-half - size_px // 8, size_px // 5)

    scene = _build(ground, size_px)
    valid = _swath_end(framing, size_px)
    seam = _seam(framing, size_px)
    east = np.arange(size_px) >= seam[:, None]
    clean, image = _expose(ground, scene, (_WEST, _EAST))
    image = np.where(east, image, clean)
    image[:, ~valid] = 0
    clean[:, ~valid] = 0
    (reference,) = _expose(nearby, _build(nearby, half), (_WEST,))
    return Town(
        image=image,
        clean=clean,
        valid=valid,
        reference=reference,
        footprints=_footprints(scene.houses, valid, transform),
        transform=transform,
        reference_transform=away,
        crs=CRS,
        seam_col=seam,
    )


def _build(rng: np.random.Generator, size: int) -> _Scene:
    """Lay out a square of ground and paint it; `size` is in pixels."""
    side = size * PIXEL
    layout = lay_out(rng, side, side)
    canvas = Canvas.blank((size, size))
    # All towns have the same sun, because the reference must share the mosaic's.
    azimuth, elevation = np.radians(312.0), np.radians(51.0)
    sun = np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.cos(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    keep_out = paint_ground(rng, canvas, layout)
    painter = RoofPainter(rng, sun)
    for car in layout.cars:
        painter.car(canvas, car)
    for house in layout.houses:
        painter.house(canvas, house)
    plant(rng, canvas, layout, keep_out)
    return _Scene(canvas, _sunlight(canvas.height, sun), layout.houses)


def _sunlight(height: Plane, sun: NDArray[np.float64]) -> Plane:
    """Compute the sunlight on each pixel: 0 in shadow, about 1 on open ground.

    Parameters
    ----------
    height : (rows, columns) float32 array
        Height above ground in metres.
    sun : (3,) array
        Unit vector towards the sun.
    """
    flat = float(np.hypot(sun[0], sun[1]))
    drop = PIXEL * sun[2] / flat
    ray = height.copy()
    reach = 1
    # Each pass doubles the distance that shadows have been carried away from the sun.
    while reach * drop < 2 * _MAX_HEIGHT_M:
        shift = np.array([[1, 0, -sun[0] / flat * reach], [0, 1, -sun[1] / flat * reach]])
        carried = cv2.warpAffine(ray, shift, ray.shape[::-1], flags=cv2.INTER_LINEAR)
        carried -= np.float32(drop * reach)
        np.maximum(ray, carried, out=ray)
        reach *= 2
    ray -= height
    ray -= np.float32(0.12)
    ray /= np.float32(0.5)
    lit = np.asarray(1 - cv2.GaussianBlur(np.clip(ray, 0, 1), (0, 0), 0.6), np.float32)
    return lit


def _expose(
    rng: np.random.Generator, scene: _Scene, acquisitions: tuple[_Acquisition, ...]
) -> list[NDArray[np.uint8]]:
    """Expose a scene once for each acquisition, with the same noise in the same pixels."""
    canvas, light = scene.canvas, scene.light
    rows, cols = canvas.shape
    shots = [np.empty((3, rows, cols), np.uint8) for _ in acquisitions]
    margin = 4
    for top in range(0, rows, _STRIP_ROWS):
        # The lens blurs: a margin of rows is exposed too, and cut off afterwards.
        above, below = max(0, top - margin), min(rows, top + _STRIP_ROWS + margin)
        part = slice(above, below)
        keep = slice(top - above, min(top + _STRIP_ROWS, rows) - above)
        grain = rng.standard_normal((keep.stop - keep.start, cols, 3), np.float32)
        speckle = rng.standard_normal((keep.stop - keep.start, cols, 1), np.float32)
        shade = light[part, :, None]
        # Shadows are lit by the sky, which is blue.
        lit = np.array([0.31, 0.34, 0.40], np.float32) * (1 - shade) + shade
        for acquisition, shot in zip(acquisitions, shots, strict=True):
            ground = canvas.albedo[part]
            if acquisition.dryness:
                grey = ground.mean(axis=2, keepdims=True)
                dry = (0.45 * ground + 0.55 * grey) * np.array(acquisition.season, np.float32)
                ground = ground + (dry - ground) * canvas.green[part, :, None] * acquisition.dryness
            seen = cv2.GaussianBlur(ground * lit, (0, 0), 0.52)[keep]
            # Response curve of a camera: more contrast in the middle than at both ends.
            tone = np.clip(seen / 255, 0, 1.25)
            tone += 0.055 * np.sin(2 * np.pi * (np.minimum(tone, 1) - 0.46))
            seen = 255 * (0.82 * tone + 0.18 * tone.mean(axis=2, keepdims=True))
            seen += 2.6 * grain + 2.2 * speckle
            seen = seen * np.array(acquisition.gain, np.float32) + np.array(
                acquisition.haze, np.float32
            )
            shot[:, top : top + _STRIP_ROWS] = np.moveaxis(np.clip(np.rint(seen), 1, 255), 2, 0)
    return shots


def _seam(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """Draw the first column of the east strip in each row: a slightly slanted line."""
    slant = rng.choice([-1, 1]) * rng.uniform(0.02, 0.06)
    rows = np.arange(size) - size / 2
    cols = size * rng.uniform(0.48, 0.54) + slant * rows
    return np.asarray(np.rint(cols), np.int64)


def _swath_end(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Draw the valid pixels: all but an irregular upper right corner."""
    wide, tall = rng.uniform(0.2, 0.27, 2) * size
    t = np.sort(rng.uniform(0.15, 0.85, 3))
    bend = rng.normal(0, 0.005, 3) * size
    x = np.concatenate([[size - wide], size - wide * (1 - t) + bend, [size], [size]])
    y = np.concatenate([[0], tall * t - bend, [tall], [0]])
    corner = np.zeros((size, size), np.uint8)
    cv2.fillPoly(corner, [np.rint(np.column_stack([x, y])).astype(np.int32)], 1)
    return np.asarray(corner == 0)


def _footprints(houses: list[House], valid: NDArray[np.bool_], transform: Affine) -> list[Any]:
    """Return outlines of the houses that lie entirely in valid pixels."""
    size = valid.shape[0]
    frame = shapely.box(0, 0, size, size)
    whole = []
    for house in houses:
        outline = shapely.transform(house.outline, lambda metres: metres / PIXEL)
        if not frame.contains(outline):
            continue
        left, top, right, bottom = (int(v) for v in outline.bounds)
        rows, cols = slice(top, bottom + 1), slice(left, right + 1)
        if not valid[rows, cols].all():
            covered = np.zeros((bottom + 1 - top, right + 1 - left), np.uint8)
            corners = shapely.get_coordinates(outline) - (left, top)
            cv2.fillPoly(covered, [np.rint(corners).astype(np.int32)], 1)
            if (covered.astype(bool) & ~valid[rows, cols]).any():
                continue
        whole.append(affinity.affine_transform(outline, transform.to_shapely()))
    return whole
