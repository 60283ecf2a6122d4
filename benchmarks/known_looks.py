"""How near methods come to a known look: PSNR on the left half of places, styles from the right.

The left half of each place's largest raster is the source; its right half under a look that is
known (gain, gamma, haze, tint, a sensor's curve, saturation; seeded) is the reference; the left
half under the same look is the truth. Land differs between the halves as it does between images of
one region, so a method that matches distributions without regard to land is off where the halves
differ.

    python benchmarks/known_looks.py PLACES [--looks 5] [--side 900] [--methods linear mixture ...]
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling

import geossda


def main() -> None:
    """Measure each method on each place and look, and print means and worst cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", type=Path)
    parser.add_argument("--looks", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=900, help="longer side of the rasters, pixels")
    parser.add_argument(
        "--methods", nargs="+", default=["linear", "histogram", "reinhard", "mixture", "ssda"]
    )
    parser.add_argument("--style-model", default="default")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    looks = make_looks(given.looks, given.seed)
    scores: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for place in sorted(f for f in given.places.iterdir() if any(f.glob("mosaic_*.tif"))):
            left, right = halves(place, given.side)
            rows: dict[str, list[float]] = {method: [] for method in given.methods}
            for look in looks:
                source = write(Path(folder) / "source.tif", *left)
                reference = write(Path(folder) / "reference.tif", look(right[0]), right[1])
                truth = look(left[0])
                for method in given.methods:
                    result = geossda.harmonize(
                        source, Path(folder) / "out.tif", style=reference, method=method,
                        style_model=given.style_model, scenes="none", overwrite=True,
                    )  # fmt: skip
                    with rasterio.open(result.outputs[0]) as dataset:
                        pixels = dataset.read().astype(np.float64)
                    error = np.mean((pixels - truth)[:, left[1]] ** 2)
                    rows[method].append(float(10 * np.log10(255**2 / max(error, 1e-9))))
            scores[place.name] = rows
            print(place.name, {m: round(float(np.mean(v)), 1) for m, v in rows.items()}, flush=True)
    for method in given.methods:
        flat = np.array([value for rows in scores.values() for value in rows[method]])
        plain = np.array([v for rows in scores.values() for v in rows[given.methods[0]]])
        print(
            f"{method:10s} mean {flat.mean():5.2f} dB, worst {flat.min():5.2f}, below "
            f"{given.methods[0]} in {np.mean(flat < plain):.0%}"
        )
    if given.out:
        given.out.write_text(json.dumps(scores, indent=1) + "\n")


def halves(place: Path, side: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the left and the right half of a place's largest raster, 8 bit, and what is valid."""

    def pixels(path: Path) -> int:
        with rasterio.open(path) as dataset:
            return int(dataset.width * dataset.height)

    with rasterio.open(max(place.glob("mosaic_*.tif"), key=pixels)) as dataset:
        factor = max(1, max(dataset.shape) / side)
        shape = tuple(int(n / factor) for n in dataset.shape)
        image = dataset.read([1, 2, 3], out_shape=(3, *shape), resampling=Resampling.average)
        valid = dataset.dataset_mask(out_shape=shape) > 0
    image = image.astype(np.float64)
    if image.max() > 255:
        low, high = np.percentile(image[:, valid], [0.1, 99.9])
        image = (image - low) / (high - low) * 255
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    middle = shape[1] // 2
    return [(image[:, :, cols], valid[:, cols]) for cols in (slice(0, middle), slice(middle, None))]


def make_looks(count: int, seed: int) -> list:
    """Return seeded changes of color: gain, gamma, curve, saturation, haze and tint."""
    rng = np.random.default_rng(seed)

    def one():
        gamma, curve = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(-0.05, 0.05)
        gain = rng.uniform(0.6, 1.35) * rng.uniform(0.85, 1.15, 3)[:, None, None]
        saturation = rng.uniform(0.7, 1.2)
        haze, air = rng.uniform(0, 0.25), rng.uniform(0.4, 0.65, 3)[:, None, None]
        tint = rng.uniform(-0.05, 0.05, 3)[:, None, None]

        def look(image: np.ndarray) -> np.ndarray:
            x = (image / 255) ** gamma * gain
            x = x + curve * np.sin(2 * np.pi * np.clip(x, 0, 1))
            x = x.mean(0) + (x - x.mean(0)) * saturation
            x = x * (1 - haze) + haze * air + tint
            return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)

        return look

    return [one() for _ in range(count)]


def write(path: Path, image: np.ndarray, valid: np.ndarray) -> Path:
    """Write an RGB GeoTIFF with a mask."""
    profile = {"driver": "GTiff", "width": image.shape[2], "height": image.shape[1], "count": 3,
               "dtype": "uint8", "crs": "EPSG:32631", "photometric": "rgb",
               "transform": rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 1e6)}  # fmt: skip
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(image)
        dataset.write_mask(valid)
    return path


if __name__ == "__main__":
    main()
