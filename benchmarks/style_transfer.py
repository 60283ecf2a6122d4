"""How well looks are brought over: eight looks, the truth of ten dates, a matrix.

    python benchmarks/style_transfer.py DATA [--style-model NAME=FILE ...] [--matrix FILE.png]

DATA holds places/, satellite/ and dates/. Looks and dates are measured on the right fifth of each
raster, which the bundled model has not been trained on; --whole measures dates on the whole. Each
--style-model adds its two rows, so that presets and ablations stand in one table.
"""

import argparse
import json
import tempfile
from pathlib import Path

import rasterio

import geossda
from geossda.config import EvaluateStyleConfig, MatrixConfig

PLACES = ("banepa", "kampala", "nairobi", "nepal", "zanzibar")
# Coastal, blue, green, yellow, red, ...: what is shown of eight bands.
RGB = (5, 3, 2)


def looks(data: Path, folder: Path) -> list[Path]:
    """Give five places and three satellites, each of three bands."""
    shanghai = folder / "shanghai_rgb.tif"
    with rasterio.open(data / "satellite" / "shanghai_8band.tif") as source:
        profile = {**source.profile, "count": 3, "photometric": None}
        pixels = source.read(RGB)
    profile.pop("photometric")
    with rasterio.open(shanghai, "w", **profile) as made:
        made.write(pixels)
    satellites = [data / "satellite" / name for name in ("paris.tif", "vegas_labelled.tif")]
    return [*(data / "places" / p / "mosaic_0.tif" for p in PLACES), *satellites, shanghai]


def table(
    images: list[Path], models: dict[str, str], **settings: object
) -> list[dict[str, object]]:
    """Score the plain methods and every model on the images, and print the rows."""
    rows: list[dict[str, object]] = []
    for name, path in models.items():
        config = EvaluateStyleConfig(style_model=path, **settings)  # type: ignore[arg-type]
        for entry in geossda.evaluate_style(images, config=config):
            row = entry.to_dict()
            if row["method"].startswith("ssda"):
                row["method"] = row["method"].replace("ssda", name)
            elif rows and any(r["method"] == row["method"] for r in rows):
                continue
            rows.append(row)
            print(
                f"{row['method']:22} W1 {row['distance']:6.2f} fall {row['fall']:7.1%} structure "
                f"{row['structure']:.4f} (worst {row['worst_structure']:.3f}) cycle "
                f"{row['cycle']:5.2f} own {row['reconstruction']:5.1f} dB"
                + (f" PSNR {row['psnr']:.2f} SSIM {row['ssim']:.4f}" if row["psnr"] else ""),
                flush=True,
            )
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--style-model", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--matrix", type=Path)
    parser.add_argument("--no-dates", action="store_true")
    parser.add_argument("--whole", action="store_true", help="dates on the whole, not a fifth")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    models = dict(entry.split("=", 1) for entry in given.style_model) or {"ssda": "default"}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        eight = looks(given.data, Path(folder))
        print("eight looks, 56 ordered pairs, right fifth of each")
        found["looks"] = table(eight, models, hold_out=0.2)
        dates = sorted((given.data / "dates").glob("*.tif"))
        if not given.no_dates:
            print("ten dates of one place, 90 ordered pairs, four bands, against the date itself")
            hold_out = 0.0 if given.whole else 0.2
            found["dates"] = table(dates, models, hold_out=hold_out, truth=True, patches=0)
        if given.matrix:
            config = MatrixConfig(
                style_model=next(iter(models.values())), bidx=(1, 2, 3), overwrite=True
            )
            geossda.matrix([*eight, dates[0], dates[4]], given.matrix, config=config)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
