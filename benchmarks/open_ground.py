"""Rendered ground on which nothing is built: forest, water, snow, bare ground and fields.

    python benchmarks/open_ground.py OUT

Writes the 56 rasters of 512 px that the bundled segmenter learned empty ground from, and an empty
layer of buildings for `train-segmenter --negatives`. Every third raster is uint16. The tests render
other crops with `crop`.
"""

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from scipy import ndimage as ndi
from shapely.geometry import box

Plane = NDArray[np.float64]
CRS = "EPSG:32633"
# Kinds of the training rasters, in turn.
TRAINING = (
    ("forest",) * 5 + ("water",) * 2 + ("snow",) * 2 + ("bare",) * 2 + ("fields",) * 3
)  # fmt: skip
RASTERS, SIDE_PX, SEED = 56, 512, 2026


def fractal(
    rng: np.random.Generator, side: int, power: float, flat: float = 1.0, turn: float = 0.0
) -> Plane:
    """Return noise of a power-law spectrum with mean 0 and deviation 1, stretched one way."""
    down, right = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    cos, sin = np.cos(turn), np.sin(turn)
    frequency = np.hypot(cos * right + sin * down, (-sin * right + cos * down) * flat)
    frequency[0, 0] = 1 / side
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) / frequency ** (power / 2)
    noise = np.fft.ifft2(spectrum).real
    return (noise - noise.mean()) / noise.std()


def forest(rng: np.random.Generator, side: int) -> Plane:
    """Render tree crowns under a low sun, (3, side, side) in 0..1."""
    height = np.full((side, side), -1.0)
    low, high = sorted(rng.uniform(4, 22, 2))
    high += 3
    tint = np.zeros((side, side))
    rough = rng.uniform(0, 0.5) * fractal(rng, side, rng.uniform(1.5, 2.5))
    spread = rng.choice([0.01, 0.03, 0.06])
    rows, cols = np.mgrid[:side, :side]
    crowns = rng.uniform(1.2, 2.5) * side * side / (np.pi * ((low + high) / 2) ** 2)
    for _ in range(int(crowns)):
        y, x, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(low, high)
        part = np.s_[
            int(max(0, y - radius)) : int(min(side, y + radius + 1)),
            int(max(0, x - radius)) : int(min(side, x + radius + 1)),
        ]
        away = ((rows[part] - y) ** 2 + (cols[part] - x) ** 2) / radius**2 * (1 + rough[part])
        dome = np.sqrt(np.clip(1 - away, 0, 1)) * radius / high + rng.uniform(0, 0.6)
        top = np.where(away < 1, dome, -1)
        seen = top > height[part]
        height[part][seen] = top[seen]
        tint[part][seen] = rng.normal()
    texture = fractal(rng, side, rng.uniform(0.5, 1.5)) * rng.uniform(0.2, 1)
    height = ndi.gaussian_filter(height, 0.7) + 0.25 * texture
    relief = _relief(rng.uniform(0, 2 * np.pi), height)
    light = 0.5 + 0.25 * height + rng.uniform(0.5, 2) * relief + 0.08 * fractal(rng, side, 1)
    color = [rng.uniform(0.2, 0.5), rng.uniform(0.35, 0.55), rng.uniform(0.12, 0.35)]
    bands = zip(color, rng.normal(size=3), strict=True)
    return np.stack([light * (base + spread * tint * share) for base, share in bands])


def water(rng: np.random.Generator, side: int) -> Plane:
    """Render ripples and glint, (3, side, side) in 0..1."""
    turn = rng.uniform(0, np.pi)
    power, flat = rng.uniform(0.3, 3.0), rng.uniform(0.15, 1)
    ripples = fractal(rng, side, power, flat, turn) * rng.uniform(0.005, 0.06)
    ripples = ripples + fractal(rng, side, 3.5) * rng.uniform(0.0, 0.05)
    sparkle = fractal(rng, side, rng.uniform(0.2, 1.2), 0.4, turn) > rng.uniform(2.3, 4)
    glint = sparkle * rng.uniform(0, 0.4)
    color = np.array([rng.uniform(0.02, 0.35), rng.uniform(0.08, 0.4), rng.uniform(0.08, 0.45)])
    noise = rng.normal(size=(3, side, side)) * rng.uniform(0, 0.012)
    return color[:, None, None] * (1 + ripples * 3) + glint + noise


def snow(rng: np.random.Generator, side: int) -> Plane:
    """Render drifts, rocks and tracks, (3, side, side) in 0..1.1."""
    power, flat, turn = rng.uniform(1.5, 3.5), rng.uniform(0.2, 1), rng.uniform(0, np.pi)
    drifts = fractal(rng, side, power, flat, turn)
    sun = rng.uniform(0, 2 * np.pi)
    relief = _relief(sun, ndi.gaussian_filter(drifts, rng.uniform(0.5, 3)))
    light = rng.uniform(0.6, 0.93) + rng.uniform(0.02, 0.1) * drifts + rng.uniform(0, 1.5) * relief
    rocks = fractal(rng, side, rng.uniform(1.5, 3)) > rng.uniform(1, 4)
    light -= rocks * rng.uniform(0.1, 0.6)
    bands = np.stack([light * each for each in (rng.uniform(0.93, 1), 1, rng.uniform(1, 1.08))])
    if rng.random() < 0.3:
        rows, cols = np.mgrid[:side, :side]
        for _ in range(rng.integers(1, 4)):
            turn = rng.uniform(0, np.pi)
            along = np.cos(turn) * cols + np.sin(turn) * rows - rng.uniform(-side / 2, side)
            away = np.abs(along + 15 * fractal(rng, side, 4))
            bands -= (away < rng.uniform(1, 6)) * rng.uniform(0.02, 0.2)
    clipped = np.minimum(bands, rng.uniform(0.9, 1.1))
    return clipped + rng.normal(size=(1, side, side)) * rng.uniform(0, 0.01)


def bare(rng: np.random.Generator, side: int) -> Plane:
    """Render soil with stones and bushes, (3, side, side) in 0..1."""
    power, flat, turn = rng.uniform(1.2, 3), rng.uniform(0.2, 1), rng.uniform(0, np.pi)
    soil = fractal(rng, side, power, flat, turn)
    relief = _relief(rng.uniform(0, 2 * np.pi), soil)
    light = rng.uniform(0.35, 0.75) + rng.uniform(0.01, 0.1) * soil + rng.uniform(0, 0.6) * relief
    bushes = fractal(rng, side, rng.uniform(0.3, 1.6))
    light -= (bushes > rng.uniform(1.6, 3.5)) * rng.uniform(0.05, 0.35)
    color = np.array([1, rng.uniform(0.7, 0.95), rng.uniform(0.45, 0.85)])
    noise = rng.normal(size=(3, side, side)) * rng.uniform(0, 0.02)
    return color[:, None, None] * light + noise


def fields(rng: np.random.Generator, side: int) -> Plane:
    """Render fields with furrows and borders, (3, side, side) in 0..1."""
    number = rng.integers(2, 14)
    centres = rng.uniform(0, side, (number, 2))
    rows, cols = np.mgrid[:side, :side]
    turn = rng.uniform(0, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    across = np.abs((cos * cols + sin * rows)[..., None] - centres @ [cos, sin])
    along = np.abs((-sin * cols + cos * rows)[..., None] - centres @ [-sin, cos])
    field = np.argmin(np.maximum(across, along * rng.uniform(0.5, 2)), -1)
    out = np.zeros((3, side, side))
    for index in range(number):
        green = rng.random() < 0.55
        base = np.array([0.3, 0.42, 0.2] if green else [0.6, 0.5, 0.36])
        color = base * rng.uniform(*((0.5, 1.4) if green else (0.6, 1.4)))
        color = color * rng.uniform(0.85, 1.15, 3)
        turn, period = rng.uniform(0, np.pi), rng.uniform(3, 14)
        phase = (np.cos(turn) * cols + np.sin(turn) * rows) * 2 * np.pi / period
        furrows = np.sin(phase) * rng.uniform(0, 0.12)
        texture = fractal(rng, side, rng.uniform(0.5, 3)) * rng.uniform(0.02, 0.12)
        inside = field == index
        out[:, inside] = (color[:, None, None] * (1 + furrows + texture))[:, inside]
    edges = ndi.morphological_gradient(field, size=int(rng.integers(2, 6))) > 0
    if rng.random() < 0.5:
        out[:, edges] *= rng.uniform(0.5, 1.5)
    return out + rng.normal(size=(3, side, side)) * rng.uniform(0, 0.01)


KINDS = {"forest": forest, "water": water, "snow": snow, "bare": bare, "fields": fields}


def crop(kind: str, rng: np.random.Generator, side: int, mixed: float = 0.35) -> Plane:
    """Render ground of one kind, with a probability `mixed` of patches of another.

    Returns
    -------
    (3, side, side) float array
        Red, green and blue, about 0 to 1.
    """
    image = KINDS[kind](rng, side)
    if rng.random() < mixed:
        other = KINDS[rng.choice(list(KINDS))](rng, side)
        patches = fractal(rng, side, rng.uniform(2.5, 4)) > rng.uniform(-1, 1)
        share = ndi.gaussian_filter(patches.astype(float), rng.uniform(0.5, 6))
        image = image * (1 - share) + other * share
    blur = rng.uniform(0, 1.4)
    return ndi.gaussian_filter(image, (0, blur, blur))


def write(path: Path, bands: NDArray[np.uint8] | NDArray[np.uint16], number: int) -> None:
    """Write a raster of 0.3 m pixels; each number has its own place."""
    profile = {
        "driver": "GTiff", "width": bands.shape[2], "height": bands.shape[1], "count": 3,
        "dtype": bands.dtype, "crs": CRS, "tiled": True, "compress": "deflate",
        "photometric": "RGB", "transform": from_origin(5e5 + number * 5000, 5e6, 0.3, 0.3),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(bands)


def main() -> None:
    """Write the training rasters and their layer of buildings."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for number in range(RASTERS):
        rng = np.random.default_rng([SEED, number])
        image = crop(TRAINING[number % len(TRAINING)], rng, SIDE_PX)
        if number % 3:
            bands = np.clip(image * 255, 1, 255).astype(np.uint8)
        else:
            bands = np.clip(image * rng.uniform(900, 3000), 1, 4000).astype(np.uint16)
        write(out / f"mosaic_{number}.tif", bands, number)
    # A building far away: a layer without any would not say what kind of geometry it has.
    far = box(100_000, 4_000_000, 100_010, 4_000_010)
    gpd.GeoDataFrame(geometry=[far], crs=CRS).to_file(out / "footprints.gpkg", layer="buildings")


def _relief(sun: float, height: Plane) -> Plane:
    down, right = np.gradient(height)
    return np.cos(sun) * right + np.sin(sun) * down


if __name__ == "__main__":
    main()
