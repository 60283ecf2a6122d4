"""What bounds each verb, and how near it comes, in one run.

    python benchmarks/ceilings.py MOSAIC STYLE [--repeats 1] [--verb segment] [--verb harmonize]

Ceilings, each a process of its own, timed without start-up: *decode*, reading the mosaic and
nothing else; *model*, the network on tensors in memory, as many as the verb runs; *encode*,
writing pixels in memory as the COG the verb writes. A verb's share is the time of the slowest of
its ceilings over its own without start-up (imports, loading the model, a first window).

All of them share the cores, so no verb can reach its lowest ceiling unless the other stages cost
nothing: *together* is the same share against the CPU seconds of all its ceilings over the cores.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from whole_job import child

Steps = Iterator[None]
CORES = os.cpu_count() or 1


def noise(*shape: int) -> Any:
    """Random numbers of 0..1."""
    return np.random.default_rng(0).random(shape, np.float32)


def decode(mosaic: str) -> Steps:
    """Read every pixel at full resolution, in tiles as harmonize does."""
    from geossda.raster.mosaic import open_mosaic
    from geossda.raster.source import gdal_environment
    from geossda.raster.windows import tiles

    opened = open_mosaic(mosaic)

    def read(window: Any) -> None:
        with gdal_environment():
            opened.read(window)

    yield
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(read, tiles(opened.shape, 1024)))


def windows(mosaic: str) -> tuple[Any, Any, list[tuple[int, int]]]:
    """Give the segmenter's card, its reader and where its windows lie."""
    from geossda.models.card import SegmenterCard
    from geossda.models.model_file import read_card, resolve
    from geossda.raster.mosaic import open_mosaic
    from geossda.raster.windows import starts
    from geossda.segmentation.prepare import choose_bands, ready_to_predict

    card = read_card(resolve("default", SegmenterCard))
    opened = choose_bands(open_mosaic(mosaic), card)
    reader = ready_to_predict(opened, card, card.gsd_m, clearance_m=1.8)
    rows, cols = (starts(n, card.patch_px, card.overlap_px) for n in reader.mosaic.shape)
    return card, reader, [(row, col) for row in rows for col in cols]


def decode_windows(mosaic: str) -> Steps:
    """Read windows at the model's resolution, as segment does."""
    _card, reader, places = windows(mosaic)
    yield
    for place in places:
        reader.read(*place)


def segmenter(mosaic: str, batch: int, fold: bool) -> Steps:
    """Run as many windows as the mosaic has, in batches on all cores."""
    import torch

    from geossda.devices import choose, mixed_precision
    from geossda.models.segmenter import load_segmenter

    card, _reader, places = windows(mosaic)
    network = load_segmenter("default", fold=fold)[0].to(memory_format=torch.channels_last)
    shape = (batch, len(card.bands), card.patch_px, card.patch_px)
    images = torch.from_numpy(noise(*shape)).to(memory_format=torch.channels_last)
    with torch.inference_mode(), mixed_precision(choose("cpu")):
        network(images)
        yield
        for _ in range(-(-len(places) // batch)):
            torch.sigmoid(network(images).float()).numpy()


def segmenter_in_threads(mosaic: str) -> Steps:
    """Run the same windows as segment does, one a thread."""
    from geossda.config import SegmentConfig
    from geossda.runtime.segmenter_network import open_segmenter
    from geossda.segmentation.model_runner import Read, run_windows

    card, reader, places = windows(mosaic)
    network = open_segmenter(SegmentConfig())
    shape = (len(card.bands), card.patch_px, card.patch_px)
    image = (255 * noise(*shape)).astype("uint8")
    whole = Read(reader.read(0, 0).window, image, image[0] >= 0)

    def run(count: int) -> None:
        for _ in run_windows(
            places[:count], lambda row, col: whole, network, SegmentConfig().batch
        ):
            pass

    run(4)
    yield
    run(len(places))


def generator(mosaic: str, structure: str) -> Steps:
    """Run the style model on tiles of 1024 px without halo."""
    from geossda.harmonization.ssda import scale
    from geossda.raster.mosaic import open_mosaic
    from geossda.runtime.style_network import load_style_model

    height, width = open_mosaic(mosaic).shape
    model = load_style_model("default")
    side = 1024 // scale(structure)
    tile, valid = noise(1, 3, side, side), noise(1, side, side) >= 0
    look = model.measure(tile, valid, (tile[0].mean((1, 2)), 0.1 * np.eye(3)))
    model.translate(tile, look, look, valid)
    yield
    for _ in range(-(-height * width // 1024**2)):
        model.translate(tile, look, look, valid)


def encode(mosaic: str) -> Steps:
    """Write pixels from memory as the COG that harmonize writes."""
    from rasterio.io import MemoryFile

    from geossda.raster.cog import write_cog

    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        with rasterio.open(mosaic) as data, MemoryFile() as memory:
            about = {name: getattr(data, name) for name in ("width", "height", "crs", "transform")}
            options = {"driver": "GTiff", "count": data.count, "dtype": data.dtypes[0]}
            with memory.open(**about, **options, tiled=True, interleave="pixel") as raster:
                raster.write(data.read())
            yield
            write_cog(memory.name, Path(folder) / "out.tif")


def started(verb: str) -> Steps:
    """Start, and stop with the model's first window."""
    if verb == "segment":
        import geossda.api.segment
        from geossda.config import SegmentConfig
        from geossda.runtime.segmenter_network import open_segmenter

        network = open_segmenter(SegmentConfig())
        card = network.card
        network(np.zeros((1, len(card.bands), card.patch_px, card.patch_px), np.uint8))
    else:
        import geossda.api.harmonize  # noqa: F401

        if verb == "ssda":
            from geossda.runtime.style_network import Settings, open_style_model

            open_style_model("default", Settings())
    yield


def do(name: str, arguments: list[Any]) -> None:
    """Get ready, then do it; print seconds and CPU seconds."""
    steps = globals()[name](*arguments)
    next(steps)
    wall, cpu = time.perf_counter(), time.process_time()
    next(steps, None)
    print(f"\n{json.dumps([time.perf_counter() - wall, time.process_time() - cpu])}")


CEILINGS: dict[str, tuple[Any, ...]] = {
    "decode": (decode,),
    "decode at the model's resolution": (decode_windows,),
    "segmenter as trained, batches of 4": (segmenter, 4, False),
    "segmenter folded, batches of 1": (segmenter, 1, True),
    "segmenter folded, batches of 2": (segmenter, 2, True),
    "segmenter folded, batches of 4": (segmenter, 4, True),
    "segmenter as segment runs it": (segmenter_in_threads,),
    "style model on a sixteenth (lock)": (generator, "lock"),
    "style model (full)": (generator, "full"),
    "encode": (encode,),
}
SEGMENT = ("decode at the model's resolution", "segmenter")
# Verb and options, what it is started as, and the ceilings that bound it.
VERBS: dict[str, tuple[list[str], str, tuple[str, ...]]] = {
    "segment, outlines as traced": (
        ["segment", "--regularize", "none", "--no-split"], "segment", SEGMENT,
    ),
    "segment": (["segment"], "segment", SEGMENT),
    "harmonize histogram": (
        ["harmonize", "--method", "histogram"], "histogram", ("decode", "encode"),
    ),
    "harmonize lock": (
        ["harmonize", "--structure", "lock"], "ssda",
        ("decode", "style model on a sixteenth (lock)", "encode"),
    ),
    "harmonize full": (
        ["harmonize", "--structure", "full"], "ssda", ("decode", "style model (full)", "encode"),
    ),
}  # fmt: skip


def apart(function: Any, *arguments: Any) -> tuple[float, list[float]]:
    """Do it in a process of its own; gives its seconds, and those timed with those of CPUs."""
    words = [function.__name__, json.dumps(arguments)]
    seconds, _, text = child([sys.executable, __file__, "--do", *words])
    return seconds, json.loads(text.splitlines()[-1])


def compute_once(mosaic: str, style: str, verbs: list[str], folder: Path) -> None:
    """Print both tables."""
    with rasterio.open(mosaic) as data:
        mpx = data.width * data.height / 1e6
    chosen = {name: verb for name, verb in VERBS.items() if name.split(",")[0] in verbs}
    needed = tuple(part for _, _, bounds in chosen.values() for part in bounds)
    found = {}
    print(f"{'':36}{'Mpx/s':>8}{'s':>8}{'CPU s':>8}")
    for name, (function, *more) in CEILINGS.items():
        if name.startswith(needed):
            seconds, cpu = found[name] = apart(function, mosaic, *more)[1]
            print(f"{name:36}{mpx / seconds:8.1f}{seconds:8.2f}{cpu:8.2f}", flush=True)
    print(f"\n{'':28}{'Mpx/s':>7}{'s':>7}{'start':>7}{'MB':>6}{'share':>7}{'together':>10}  lowest")
    for name, (words, kind, bounds) in chosen.items():
        start = apart(started, kind)[0]
        style_too = ["--style", style] if words[0] == "harmonize" else []
        out = folder / ("out.tif" if style_too else "out.gpkg")
        seconds, peak, _ = child(
            [sys.executable, "-m", "geossda_cli", words[0], mosaic, *style_too, *words[1:], "-o",
             str(out)]
        )  # fmt: skip
        out.unlink()
        # Of several forms of one ceiling the fastest.
        best = [
            min((times, ceiling) for ceiling, times in found.items() if ceiling.startswith(part))
            for part in bounds
        ]
        (slowest, _), lowest = max(best)
        together = sum(cpu for (_, cpu), _ in best) / CORES
        net = seconds - start
        print(
            f"{name:28}{mpx / net:7.1f}{seconds:7.1f}{start:7.1f}{peak:6.0f}{slowest / net:7.2f}"
            f"{together / net:10.2f}  {lowest}",
            flush=True,
        )


def main() -> None:
    """Print the tables, as often as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic")
    parser.add_argument("style")
    parser.add_argument("--verb", choices=tuple({n.split(",")[0] for n in VERBS}), action="append")
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    verbs = given.verb or [name.split(",")[0] for name in VERBS]
    print(f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        for _ in range(given.repeats):
            compute_once(given.mosaic, given.style, verbs, Path(folder))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--do"]:
        do(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
