"""Roofs and cars of a synthetic town, painted at three times the resolution and averaged."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.synthetic.canvas import PIXEL, Canvas, Plane, fractal
from geossda.synthetic.houses import House

# Subpixels along the side of a pixel.
_SUBPIXELS = 3
_COLOURS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "tin": ((208, 214, 217), (184, 191, 196), (216, 217, 213), (164, 170, 173)),
    "rust": ((158, 128, 108), (140, 104, 84), (172, 156, 142)),
    "tile": ((192, 112, 78), (176, 98, 74), (202, 128, 88), (164, 98, 82)),
    "blue": ((78, 122, 170), (104, 142, 178), (82, 108, 136)),
    "maroon": ((148, 72, 76), (164, 82, 76), (128, 70, 70)),
    "green": ((118, 150, 130), (98, 128, 104)),
    "white": ((226, 226, 220), (214, 212, 208)),
    "concrete": ((168, 163, 152), (186, 181, 170), (150, 146, 138), (178, 168, 150)),
    "thatch": ((122, 108, 90), (136, 120, 98)),
}
_CARS = (
    (228, 228, 226),
    (228, 228, 226),
    (196, 198, 200),
    (168, 170, 172),
    (44, 46, 50),
    (70, 74, 82),
    (150, 38, 34),
    (46, 68, 112),
)


@dataclass(frozen=True)
class _Patch:
    """Grid of subpixels around one object; a and b are metres in the object's frame."""

    row: int
    col: int
    a: NDArray[np.float64]
    b: NDArray[np.float64]


@dataclass(frozen=True)
class _Facets:
    """Roof on subpixels: rise, distance up the slope and along the eave in metres, light, edges."""

    inside: NDArray[np.bool_]
    rise: NDArray[np.float64]
    down: NDArray[np.float64]
    along: NDArray[np.float64]
    light: NDArray[np.float64]
    edge: NDArray[np.float64]
    ridge: NDArray[np.bool_]


class RoofPainter:
    """Paints houses and cars on a canvas.

    Parameters
    ----------
    rng : Generator
    sun : (3,) array
        Unit vector towards the sun: x right, y down, z up.
    """

    def __init__(self, rng: np.random.Generator, sun: NDArray[np.float64]) -> None:
        self._rng = rng
        self._sun = sun
        self._smooth = fractal(rng, (512, 512), 96, 5)
        self._grain = fractal(rng, (512, 512), 5, 3)

    def house(self, canvas: Canvas, house: House) -> None:
        """Paint one house.

        Parameters
        ----------
        canvas : Canvas
        house : House
        """
        patch = _patch(canvas.shape, (house.x, house.y, house.angle), house.outline.bounds)
        if patch is None:
            return
        facets = _facets(house, patch, self._sun)
        texture = self._texture(house, facets, patch)
        height = house.eave + facets.rise
        if house.roof == "flat":
            height = self._furnish(house, patch, facets, texture, height)
        _stamp(canvas, patch, facets.inside, texture * facets.light[..., None], height)

    def car(self, canvas: Canvas, place: tuple[float, float, float]) -> None:
        """Paint a car.

        Parameters
        ----------
        canvas : Canvas
        place : (float, float, float)
            x and y in metres, angle in radians.
        """
        x, y, _ = place
        length, width = self._rng.uniform(3.9, 4.9), self._rng.uniform(1.7, 1.95)
        patch = _patch(canvas.shape, place, (x - 2.6, y - 2.6, x + 2.6, y + 2.6))
        if patch is None:
            return
        inside = (abs(patch.a) / (length / 2)) ** 6 + (abs(patch.b) / (width / 2)) ** 6 < 1
        color = np.empty((*inside.shape, 3))
        color[:] = _CARS[int(self._rng.integers(len(_CARS)))]
        cabin = (abs(patch.a + 0.3) < length * 0.27) & (abs(patch.b) < width * 0.44)
        roof = (abs(patch.a + 0.35) < length * 0.16) & (abs(patch.b) < width * 0.36)
        color[cabin & ~roof] = (38, 42, 48)
        _stamp(canvas, patch, inside, color, np.where(cabin, 1.45, 1.0))

    def _noise(self, plane: Plane, x: NDArray[np.float64], y: NDArray[np.float64]) -> Plane:
        """Sample noise at a random offset; x and y are in its pixels."""
        dx, dy = self._rng.integers(0, 512, 2)
        sampled: Plane = plane[(y.astype(int) + dy) % 512, (x.astype(int) + dx) % 512]
        return sampled

    def _texture(self, house: House, facets: _Facets, patch: _Patch) -> NDArray[np.float64]:
        rng, material = self._rng, house.material
        tones = _COLOURS[material]
        base = np.array(tones[int(rng.integers(len(tones)))], float) + rng.normal(0, 2.5, 3)
        base *= rng.uniform(0.88, 1.06)
        s, t = facets.along, facets.down
        tone = 1 + 0.035 * self._noise(self._smooth, patch.a * 9, patch.b * 9)
        tone += 0.03 * self._noise(self._grain, patch.a * 10, patch.b * 10)
        if material in ("tin", "rust", "blue", "maroon", "green", "white"):
            sheet, course = np.floor(s / 0.85).astype(int), np.floor(t / 2.6).astype(int)
            spread = 0.07 if material in ("tin", "rust") else 0.025
            tone *= 1 + spread * rng.standard_normal((97, 11))[sheet % 97, course % 11]
            seam = (s / 0.85) % 1 < 0.16
            tone *= np.where(seam, rng.uniform(0.84, 0.93), 1.0)
            tone *= np.where((t % 2.6 < 0.12) & (t > 0.3), 0.93, 1.0)
        elif material == "tile":
            tone *= 1 + 0.06 * np.sin(2 * np.pi * t / 0.42)
            tone += 0.05 * self._noise(self._grain, s * 18, t * 18)
        elif material == "thatch":
            tone += 0.1 * self._noise(self._grain, s * 14, t * 4)
        texture = base * tone[..., None]
        rusty = {"rust": rng.uniform(0.5, 1.0), "tin": rng.uniform(-0.9, 0.42)}.get(material, -1.5)
        stain = self._noise(self._smooth, s * 26, t * 6) + 0.5 * self._noise(
            self._smooth, patch.a * 12, patch.b * 12
        )
        if material in ("tin", "rust"):
            rust = np.clip((stain * 0.5 + rusty) * 0.9, 0, 0.9)[..., None]
            texture += (np.array([134.0, 84, 58]) - texture) * rust
        else:
            dirt = np.clip(stain * 0.11, -0.05, 0.3)[..., None]
            texture += (np.array([104.0, 96, 84]) - texture) * dirt
        texture[facets.ridge] *= 1.07
        texture[facets.edge < 0.16] *= 0.88
        return texture

    def _furnish(
        self,
        house: House,
        patch: _Patch,
        facets: _Facets,
        texture: NDArray[np.float64],
        height: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Add a parapet, stair heads, water tanks and small objects to a flat roof."""
        rng = self._rng
        parapet = facets.edge < 0.34
        texture[parapet] = texture[parapet] * 0.4 + np.array([196, 190, 180]) * 0.62
        height = height - np.where(parapet, 0.0, rng.uniform(0.5, 0.9))
        stains = self._noise(self._smooth, patch.a * 16, patch.b * 16)
        texture *= (1 - 0.1 * np.clip(stains, -0.5, 1.6))[..., None]
        wing = house.wings[0]
        for _ in range(int(rng.integers(0, 3)) if wing.length * wing.width > 40 else 0):
            a = wing.a + rng.uniform(-0.36, 0.36) * wing.length
            b = wing.b + rng.uniform(-0.34, 0.34) * wing.width
            sides = rng.uniform(1.4, 3.4, 2)
            part = (abs(patch.a - a) < sides[0] / 2) & (abs(patch.b - b) < sides[1] / 2)
            part &= facets.inside
            tones = [(196, 190, 178), (150, 66, 58), (84, 122, 158), (176, 182, 184)]
            texture[part] = np.array(tones[int(rng.integers(4))]) * rng.uniform(0.85, 1.05)
            height = np.where(part, house.eave + rng.uniform(0.6, 2.4), height)
        for _ in range(int(rng.integers(0, 4))):
            a = wing.a + rng.uniform(-0.4, 0.4) * wing.length
            b = wing.b + rng.uniform(-0.4, 0.4) * wing.width
            tank = (np.hypot(patch.a - a, patch.b - b) < rng.uniform(0.5, 0.8)) & facets.inside
            texture[tank] = [(40, 42, 46), (60, 96, 140), (206, 206, 202)][int(rng.integers(3))]
            height = np.where(tank, house.eave + 1.3, height)
        return height


def _patch(
    shape: tuple[int, int],
    place: tuple[float, float, float],
    bounds: tuple[float, float, float, float],
) -> _Patch | None:
    x, y, angle = place
    left, top = (max(0, math.floor(v / PIXEL) - 1) for v in bounds[:2])
    right = min(shape[1], math.ceil(bounds[2] / PIXEL) + 1)
    bottom = min(shape[0], math.ceil(bounds[3] / PIXEL) + 1)
    if right <= left or bottom <= top:
        return None
    dx = (left + (np.arange((right - left) * _SUBPIXELS) + 0.5) / _SUBPIXELS) * PIXEL - x
    dy = (top + (np.arange((bottom - top) * _SUBPIXELS) + 0.5) / _SUBPIXELS) * PIXEL - y
    cos, sin = math.cos(angle), math.sin(angle)
    a = dx[None, :] * cos + dy[:, None] * sin
    return _Patch(top, left, a, dy[:, None] * cos - dx[None, :] * sin)


def _facets(house: House, patch: _Patch, sun: NDArray[np.float64]) -> _Facets:
    """Compute the slopes of a roof; where two wings meet, the higher one is visible."""
    shape = patch.a.shape
    inside, ridge = np.zeros(shape, bool), np.zeros(shape, bool)
    rise, edge = np.full(shape, -1.0), np.full(shape, -1.0)
    down, along, light = np.zeros(shape), np.zeros(shape), np.ones(shape)
    cos, sin = math.cos(house.angle), math.sin(house.angle)
    sun_a, sun_b = sun[0] * cos + sun[1] * sin, sun[1] * cos - sun[0] * sin
    steep = math.hypot(1, house.pitch)
    for wing in house.wings:
        a, b = patch.a - wing.a, patch.b - wing.b
        half_a, half_b = wing.length / 2, wing.width / 2
        if wing.length < wing.width:  # the ridge follows the longer side
            a, b, half_a, half_b = b, a, half_b, half_a
            sun_s, sun_t = sun_b, sun_a
        else:
            sun_s, sun_t = sun_a, sun_b
        to_a, to_b = half_a - abs(a), half_b - abs(b)
        within = (to_a > 0) & (to_b > 0)
        if house.roof == "shed":
            t, s, out_s, out_t = b + half_b, a, 0.0 * a, -1.0 + 0.0 * b
        elif house.roof == "hip":
            end = to_a < to_b
            t, s = np.where(end, to_a, to_b), np.where(end, b, a)
            out_s, out_t = np.where(end, np.sign(a), 0.0), np.where(end, 0.0, np.sign(b))
        else:
            t, s, out_s, out_t = to_b, a, 0.0 * a, np.sign(b)
        pitch = 0.0 if house.roof == "flat" else house.pitch
        up = pitch * t
        lit = (pitch * (out_s * sun_s + out_t * sun_t) + sun[2]) / (steep * sun[2])
        if house.roof == "flat":
            lit = np.ones(shape)
        wins = within & (up > rise)
        inside |= within
        edge = np.where(within, np.maximum(edge, np.minimum(to_a, to_b)), edge)
        rise, down, along = (
            np.where(wins, new, old) for new, old in ((up, rise), (t, down), (s, along))
        )
        light = np.where(wins, np.clip(lit, 0.3, 1.35), light)
        top = (half_b - to_b < 0.2) if house.roof in ("gable", "hip") else np.zeros(shape, bool)
        ridge = np.where(wins, top, ridge)
    return _Facets(inside, np.maximum(rise, 0), down, along, light, edge, ridge)


def _stamp(
    canvas: Canvas,
    patch: _Patch,
    inside: NDArray[np.bool_],
    color: NDArray[np.float64],
    height: NDArray[np.float64],
) -> None:
    """Average subpixels and blend them over the canvas."""
    cover = inside.astype(np.float32)
    size = (cover.shape[1] // _SUBPIXELS, cover.shape[0] // _SUBPIXELS)
    small = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)
    tint = cv2.resize(np.float32(color) * cover[..., None], size, interpolation=cv2.INTER_AREA)
    tall = cv2.resize(np.float32(height) * cover, size, interpolation=cv2.INTER_AREA)
    rows = slice(patch.row, patch.row + size[1])
    cols = slice(patch.col, patch.col + size[0])
    left = 1 - small
    canvas.albedo[rows, cols] = canvas.albedo[rows, cols] * left[..., None] + tint
    canvas.green[rows, cols] *= left
    canvas.height[rows, cols] = np.maximum(canvas.height[rows, cols] * left, tall)
