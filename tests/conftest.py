"""Tiny georeferenced rasters, a tiny model, and progress reporters that listen or interrupt."""

import gc
import logging
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import settings
from rasterio.enums import ColorInterp

# Threads of OpenMP that wait for each other keep cores busy, which the tests beside them need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")

REPO = Path(__file__).resolve().parent.parent
DATA = REPO.parent / "shared" / "data"
UTM = "EPSG:32633"
# The smallest of timm's networks with all kinds of layers.
ENCODER = "tu-test_efficientnet"

# Ranges that sensors fill: 8 bit, 11 bit in 16, signed (height, dB x 100), reflectance.
RANGES = {
    "uint8": (20, 235),
    "uint16": (150, 1900),
    "int16": (-800, 2500),
    "int32": (-70000, 90000),
    "float32": (0.03, 0.85),
    "float64": (0.03, 0.85),
}


def synthesize(bands, size, dtype, seed):
    """Smooth hills, blocks with edges and grain: (bands, height, width) within RANGES."""
    height, width = size
    rng = np.random.default_rng([seed, height, width])
    y, x = np.mgrid[0:height, 0:width].astype(float)
    phase = rng.uniform(0, 6, 4)
    hills = np.sin(x / 23 + phase[0]) + np.cos(y / 31 + phase[1]) + np.sin((x + y) / 57 + phase[2])
    blocks = rng.uniform(-1.2, 1.2, (height // 9 + 1, width // 9 + 1)).repeat(9, 0).repeat(9, 1)
    low, high = RANGES[dtype]
    image = []
    for band in range(bands):
        grain = rng.normal(0, 0.25, size)
        scene = hills * (0.5 + 0.1 * band) + blocks[:height, :width] + grain + 0.3 * band
        share = np.clip(0.5 + scene / 6, 0, 1) ** (1 + 0.2 * band)
        image.append(low + share * (high - low))
    image = np.stack(image)
    return (np.rint(image) if np.dtype(dtype).kind in "ui" else image).astype(dtype)


def ragged_border(size):
    """Validity with a border of 4 px, a cut corner and a hole, none of them symmetric."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    valid = (y >= 4) & (x >= 4) & (x < width - 2) & (x + y > (height + width) // 7)
    valid[height // 2 : height // 2 + 5, width // 3 : width // 3 + 8] = False
    return valid


def build_raster(
    path, *, bands=3, dtype="uint8", size=(97, 131), crs=UTM, gsd=0.5, transform=None,
    rotated=False, nodata=None, mask=False, alpha=False, descriptions=None, colorinterp=None,
    tags=None, seed=0, image=None, valid=None, origin=(500000.0, 5200000.0), **profile,
):  # fmt: skip
    """Write a GeoTIFF; returns its path.

    With `nodata`, `mask` or `alpha` pixels outside :func:`ragged_border` (or `valid`) have no
    data. With `nodata`, a few valid pixels have that value in band 1 alone.
    """
    dtype = np.dtype(dtype).name
    if image is None:
        image = synthesize(bands, size, dtype, seed)
    bands, *size = image.shape
    if valid is None:
        told = nodata is not None or mask or alpha
        valid = ragged_border(size) if told else np.ones(size, bool)
    if transform is None:
        transform = Affine.translation(*origin) * Affine.scale(gsd, -gsd)
        if rotated:
            transform = transform * Affine.rotation(17.0)
    if nodata is not None:
        image = image.copy()
        image[image == np.asarray(nodata, dtype)] += 1
        rows, cols = (slice(n // 2 + 9, n // 2 + 12) for n in size)
        if bands > 1 and not np.isnan(nodata):
            image[0, rows, cols] = nodata
        image = np.where(valid, image, np.asarray(nodata, dtype))
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", height=size[0], width=size[1], count=bands + bool(alpha),
            dtype=dtype, crs=crs, transform=transform, nodata=nodata, **profile,
        ) as dataset,
    ):  # fmt: skip
        dataset.write(image, list(range(1, bands + 1)))
        if alpha:
            opaque = np.iinfo(dtype).max if np.dtype(dtype).kind in "ui" else 1
            dataset.write((valid * opaque).astype(dtype), bands + 1)
        if mask:
            dataset.write_mask(valid)
        if colorinterp is None and (alpha or (bands >= 3 and dtype == "uint8")):
            names = ["red", "green", "blue"] if bands >= 3 else ["gray"]
            colorinterp = names + ["undefined"] * (bands - len(names))
        if colorinterp:
            names = [*colorinterp, "alpha"] if alpha else colorinterp
            dataset.colorinterp = [ColorInterp[name] for name in names]
        for index, text in enumerate(descriptions or (), start=1):
            dataset.set_band_description(index, text)
        if tags:
            dataset.update_tags(**tags)
    return path


# Begun first, so that at the end no core waits for another; the other files take less than 20 s.
LONGEST = {
    f"test_{name}.py"
    for name in ("adaptation", "align", "architecture", "bad_input", "balancing", "benchmark",
                 "demo", "distribute", "docs", "field_inputs", "footprints", "fuzz", "harmonize",
                 "label_maps", "light_install", "methods", "quantization", "real", "regions",
                 "regularize", "report", "report_page", "scheduler", "segment",
                 "segmenter_network", "segmenter_training", "shards", "style_network",
                 "style_verbs", "train_style")
}  # fmt: skip


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish():
    """Leave what was imported out of later garbage collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Let the processes that tests start be interrupted, also where the tests run unattended.

    A shell starts background jobs with SIGINT ignored, and children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def only_weights(request, monkeypatch):
    """Tests of training write the ONNX file too only where they ask for it: it takes as long."""
    if request.path.parent.name in ("training", "adapt") and "onnx" not in request.keywords:
        for module in ("train_segmenter", "train_style"):
            monkeypatch.setattr(f"geossda.api.{module}.export_beside", lambda *_, **__: None)


@pytest.fixture(scope="session")
def make_raster():
    return build_raster


def pytest_configure(config):
    for told in (
        # Affine 3 prefers @ to *, which Affine 2 has not and rasterio and odc-geo use.
        "ignore:Use `@` matmul instead of `\\*`:PendingDeprecationWarning",
        # Shapely 2.2 and odc-geo 0.5.
        "ignore:The 'shapely.ops.transform:DeprecationWarning:odc.geo",
    ):
        config.addinivalue_line("filterwarnings", told)


class Listener:
    """Progress that keeps what it is told."""

    def __init__(self):
        self.stages, self.steps, self.notes, self.warnings = [], 0, [], []

    def stage(self, name, total=None):
        self.stages.append(name)

    def advance(self, steps=1):
        self.steps += steps

    def note(self, text):
        self.notes.append(text)

    def warn(self, text):
        self.warnings.append(text)


class Interrupter(Listener):
    """Raises `error` once the stage whose name starts with `stage` has advanced `after` times."""

    def __init__(self, stage, after, error):
        super().__init__()
        self.where, self.left, self.error, self.raised = stage, after, error, False

    def advance(self, steps=1):
        super().advance(steps)
        if self.stages[-1].startswith(self.where):
            self.left -= 1
            if self.left <= 0:
                self.raised = True
                raise self.error


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def interrupter():
    return Interrupter


@pytest.fixture
def places():
    """The labelled mosaics, which are not part of the repository."""
    folder = DATA / "places"
    if not folder.is_dir():
        pytest.skip(f"real imagery is not here: {folder}")
    return folder


@pytest.fixture
def satellite():
    """The satellite tiles, which are not part of the repository."""
    folder = DATA / "satellite"
    if not folder.is_dir():
        pytest.skip(f"real imagery is not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def town(tmp_path_factory):
    """A raster of 0.5 m for the tiny model: red, green, blue, ragged nodata."""
    path = tmp_path_factory.mktemp("town") / "town.tif"
    return build_raster(path, size=(151, 203), nodata=0, seed=3)


@pytest.fixture(scope="session")
def one_thread():
    """Networks this small only wait for each other in more."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, one_thread):
    """A segmenter of seeded weights whose logits vary as a trained one's do; 64 px, 0.5 m."""
    import torch

    from geossda.models.card import SegmenterCard
    from geossda.models.model_file import save
    from geossda.models.onnx_export import export
    from geossda.models.segmenter import build

    torch.manual_seed(5)
    encoder = "tu-mobilenetv3_small_050"
    network = build("unet", encoder, 3).eval()
    sample = torch.from_numpy(synthesize(3, (64, 64), "uint8", 3)).float()[None] / 255
    with torch.inference_mode():
        logits = network(sample)
    head = network.segmentation_head[0]
    gain = 2 / logits.std()
    with torch.no_grad():
        head.bias.copy_((head.bias - logits.median()) * gain)
        head.weight.mul_(gain)
    card = SegmenterCard(
        "tiny", "0", "unet", encoder, gsd_m=0.5, patch_px=64, overlap_px=16, licence="MIT"
    )
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    card = save(path, network.state_dict(), card)
    export(path, path.with_suffix(".onnx"))
    return path


# Run by processes that tests start, before any other code.
SMALL_SHARDS = "from geossda.runs import shard_layout\nshard_layout.MIN_STRIP_PX = 2**14\n"


@pytest.fixture(scope="module")
def small_shards():
    """Divide small rasters into several shards, in this process and in workers that it starts."""
    import dask
    import distributed  # noqa: F401  (its defaults would go with what is set before them)

    from geossda.runs import shard_layout
    from geossda.segmentation import segment_job

    with (
        pytest.MonkeyPatch.context() as patch,
        dask.config.set({"distributed.worker.preload": [SMALL_SHARDS]}),
    ):
        for module in (shard_layout, segment_job):
            patch.setattr(module, "MIN_STRIP_PX", 2**14)
        yield


@pytest.fixture(scope="module")
def cluster():
    """The address of a Dask scheduler with two workers, which the tests of a file share."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
        memory_limit=0, silence_logs=logging.CRITICAL,
    ) as started:  # fmt: skip
        yield started.scheduler_address


@pytest.fixture(scope="module")
def tall(small_shards, make_raster, tmp_path_factory):
    """Three shards, the last one short."""
    return make_raster(tmp_path_factory.mktemp("tall") / "tall.tif", size=(2200, 300), nodata=0,
                       seed=4, tiled=True, blockxsize=256, blockysize=256)  # fmt: skip


@pytest.fixture(scope="module")
def look(make_raster, tmp_path_factory):
    return make_raster(tmp_path_factory.mktemp("look") / "look.tif", size=(300, 300), seed=9)
