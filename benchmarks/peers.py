"""Other tools on the same raster, weights and windows, taken by turns with geossda in one run.

    python benchmarks/peers.py MOSAIC [--python ENVIRONMENT/bin/python] [--side 5000]

A square is cut out of MOSAIC's middle. Finding buildings in it, at its own resolution in windows
of 512 px that overlap by 128: geossda, geoai-py, and torchgeo's grid sampler with stitching by
hand. Giving it other colours: geossda, homonim and rio-hist, towards a darker copy of an eighth
of the resolution. Peers are no dependencies: ``--python`` names the interpreter of an environment
that has them, and those it lacks are left out. Seconds are of the call alone, without start-up;
peak memory is the process's.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SIDE, OVERLAP, BATCH = 512, 128, 4


def prepare(folder: Path, mosaic: str, side: int) -> None:
    """Write the square, a reference for its colours, and the weights as each tool takes them."""
    import dataclasses

    import numpy as np
    import rasterio
    import torch
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    from geossda.models.card import SegmenterCard
    from geossda.models.model_file import load, resolve, save
    from geossda.raster.gsd import ground_sample_distance
    from geossda.raster.mosaic import open_mosaic

    with rasterio.open(mosaic) as data:
        window = Window((data.width - side) // 2, (data.height - side) // 2, side, side)
        place = {
            "driver": "GTiff", "count": 3, "dtype": "uint8", "crs": data.crs, "tiled": True,
            "blockxsize": 512, "blockysize": 512,
        }  # fmt: skip
        transform = data.window_transform(window)
        with rasterio.open(
            folder / "square.tif", "w", width=side, height=side, transform=transform,
            compress="jpeg", photometric="ycbcr", jpeg_quality=90, **place,
        ) as square:  # fmt: skip
            square.write(data.read([1, 2, 3], window=window))
        small = data.read([1, 2, 3], window=window, out_shape=(3, side // 8, side // 8),
                          resampling=Resampling.average)  # fmt: skip
        with rasterio.open(
            folder / "reference.tif", "w", width=side // 8, height=side // 8,
            transform=transform * transform.scale(8), **place,
        ) as reference:  # fmt: skip
            reference.write((small * np.array([0.7, 0.8, 0.9])[:, None, None]).astype(np.uint8))
    tensors, card = load(resolve("default", SegmenterCard), SegmenterCard)
    gsd = min(ground_sample_distance(open_mosaic(folder / "square.tif").grid))
    same = dataclasses.replace(
        card, gsd_m=gsd, patch_px=SIDE, overlap_px=OVERLAP, scaling="bits", name="as geoai"
    )
    save(folder / "model.safetensors", tensors, same)
    # One logit a pixel is two classes of which the first has a logit of 0.
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor
               for name, tensor in tensors.items()}  # fmt: skip
    torch.save(tensors, folder / "one.pth")
    for name in ("segmentation_head.0.weight", "segmentation_head.0.bias"):
        tensors[name] = torch.cat([torch.zeros_like(tensors[name]), tensors[name]])
    torch.save(tensors, folder / "two.pth")
    about = {"architecture": card.architecture, "encoder_name": card.encoder}
    (folder / "about.json").write_text(json.dumps(about))


def geossda(folder: Path) -> Iterator[None]:
    """To polygons as they are traced, since the others stop at a mask."""
    from geossda import SegmentConfig
    from geossda.api.segment import segment

    config = SegmentConfig(
        model=str(folder / "model.safetensors"),
        regularize="none",
        split=False,
        min_area=0,
        overwrite=True,
    )
    yield
    segment(folder / "square.tif", folder / "out.gpkg", mask=folder / "geossda.tif", config=config)


def geoai(folder: Path) -> Iterator[None]:
    """Its own call for whole rasters."""
    from geoai.train import semantic_segmentation

    yield
    semantic_segmentation(
        str(folder / "square.tif"), str(folder / "geoai.tif"), str(folder / "two.pth"),
        num_channels=3, num_classes=2, window_size=SIDE, overlap=OVERLAP, batch_size=BATCH,
        quiet=True, **json.loads((folder / "about.json").read_text()),
    )  # fmt: skip


def torchgeo(folder: Path) -> Iterator[None]:
    """Its dataset and sampler; probabilities are summed and divided by how often they were."""
    import numpy as np
    import rasterio
    import segmentation_models_pytorch as smp
    import torch
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler

    about = json.loads((folder / "about.json").read_text())
    network = smp.create_model(about["architecture"], encoder_name=about["encoder_name"],
                               encoder_weights=None, in_channels=3, classes=1)  # fmt: skip
    network.load_state_dict(torch.load(folder / "one.pth"))
    network.eval()
    yield
    dataset = RasterDataset(str(folder / "square.tif"))
    sampler = GridGeoSampler(dataset, SIDE, SIDE - OVERLAP)
    with rasterio.open(folder / "square.tif") as data:
        profile, to_pixel = data.profile, ~data.transform
    total = np.zeros((profile["height"], profile["width"]), np.float32)
    times = np.zeros_like(total)
    for samples in DataLoader(dataset, BATCH, sampler=sampler, collate_fn=list):
        with torch.inference_mode():
            images = torch.stack([sample["image"] for sample in samples]) / 255
            found = torch.sigmoid(network(images))[:, 0].numpy()
        for sample, probability in zip(samples, found, strict=True):
            x, y = sample["bounds"][:2]
            col, row = (round(value) for value in to_pixel * (x.start, y.stop))
            rows, cols = slice(max(0, row), row + SIDE), slice(max(0, col), col + SIDE)
            inside = probability[rows.start - row :, cols.start - col :]
            shape = total[rows, cols].shape
            total[rows, cols] += inside[: shape[0], : shape[1]]
            times[rows, cols] += 1
    mask = (total / np.maximum(times, 1) >= 0.5).astype(np.uint8)
    profile = {k: profile[k] for k in ("driver", "width", "height", "crs", "transform")}
    with rasterio.open(folder / "torchgeo.tif", "w", count=1, dtype="uint8", **profile) as data:
        data.write(mask, 1)


def geossda_harmonize(folder: Path) -> Iterator[None]:
    """Histogram matching to a COG with a pyramid."""
    from geossda import HarmonizeConfig
    from geossda.api.harmonize import harmonize

    yield
    harmonize(
        folder / "square.tif", style=folder / "reference.tif", output=folder / "recolored.tif",
        config=HarmonizeConfig(method="histogram", scenes="none", overwrite=True),
    )  # fmt: skip


def homonim(folder: Path) -> Iterator[None]:
    """Its defaults, compressed as ours is."""
    from homonim import cli

    yield
    cli.cli(
        ["fuse", "-od", str(folder), "-o", "-co", "COMPRESS=JPEG", "-co", "PHOTOMETRIC=YCBCR",
         "--dtype", "uint8", "--nodata", "null", str(folder / "square.tif"),
         str(folder / "reference.tif")], standalone_mode=False,
    )  # fmt: skip


def rio_hist(folder: Path) -> Iterator[None]:
    """Its defaults, compressed as ours is."""
    from rio_hist.scripts.cli import hist

    yield
    hist(
        ["--co", "compress=jpeg", "--co", "photometric=ycbcr", "-c", "RGB",
         str(folder / "square.tif"), str(folder / "reference.tif"), str(folder / "hist.tif")],
        standalone_mode=False,
    )  # fmt: skip


TOOLS = {
    tool.__name__: tool for tool in (geossda, geoai, torchgeo, geossda_harmonize, homonim, rio_hist)
}


def agreement(folder: Path) -> None:
    """Print how much of the masks is the same."""
    import rasterio

    masks = {}
    for name in ("geossda", "geoai", "torchgeo"):
        if (folder / f"{name}.tif").exists():
            with rasterio.open(folder / f"{name}.tif") as data:
                masks[name] = data.read(1)
    ours = masks.pop("geossda")
    for name, theirs in masks.items():
        known = ours != 255
        share = ((ours == 1) == (theirs == 1))[known].mean()
        print(f"{name}'s mask is geossda's in {100 * share:.3f} % of the pixels")


def do(name: str, folder: Path) -> None:
    """Import, then do it and print its seconds."""
    steps = TOOLS[name](folder)
    next(steps)
    began = time.perf_counter()
    next(steps, None)
    print(f"\n{time.perf_counter() - began}")


def has(python: str, module: str) -> bool:
    """Tell whether an environment has a module."""
    found = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({module!r}))"
    return subprocess.run([python, "-c", found]).returncode == 0


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    given.side -= given.side % 8
    from whole_job import child  # which the peers' environments cannot import

    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        # Each in a process of its own: a child's peak memory includes what its parent held.
        child([sys.executable, __file__, "--do", "prepare", folder, given.mosaic, str(given.side)])
        pythons = {}
        for name in TOOLS:
            ours = name.startswith("geossda")
            pythons[name] = sys.executable if ours else given.python
            if not ours and not has(given.python, name):
                print(f"{name} is not in {given.python}: left out")
                del pythons[name]
        seconds: dict[str, list[float]] = {name: [] for name in pythons}
        peaks: dict[str, list[float]] = {name: [] for name in pythons}
        for _ in range(given.repeats):
            for name, python in pythons.items():
                _, peak, text = child([python, __file__, "--do", name, folder])
                seconds[name].append(float(text.split()[-1]))
                peaks[name].append(peak)
        print(f"{platform.machine()}, {os.cpu_count()} cores, {given.side**2 / 1e6:.1f} Mpx")
        print(f"{'':20}{'Mpx/s':>8}{'peak MB':>9}   seconds")
        for name in pythons:
            best, told = min(seconds[name]), " ".join(f"{s:.2f}" for s in seconds[name])
            print(f"{name:20}{given.side**2 / 1e6 / best:8.2f}{max(peaks[name]):9.0f}   {told}")
        print(child([sys.executable, __file__, "--do", "agreement", folder])[2].strip())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--do"]:
        if sys.argv[2] == "prepare":
            prepare(Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
        elif sys.argv[2] == "agreement":
            agreement(Path(sys.argv[3]))
        else:
            do(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
