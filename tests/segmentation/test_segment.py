"""`segment` from mosaic to GeoPackage, with a tiny model of seeded weights."""

import json
import threading

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
import torch
from affine import Affine
from click.testing import CliRunner
from conftest import build_raster, ragged_border, synthesize

import geossda
from geossda import SegmentConfig, segment
from geossda.api.segment import least_confidence
from geossda.errors import (
    BandError,
    Cancelled,
    GeoreferenceError,
    ModelError,
    OutputExistsError,
    RasterError,
    counted,
)
from geossda.footprints.shaping import reach_m
from geossda.models.card import SegmenterCard
from geossda.models.segmenter import load_segmenter
from geossda.models.tta import mean_logits
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import Stretch
from geossda.raster.windows import Window
from geossda.segmentation import model_runner as running
from geossda.segmentation.prepare import ready_to_predict
from geossda.segmentation.sliding_window import WindowReader, predict

SIZE = (151, 203)
EXACT = {"regularize": "none", "min_area": 0.0, "min_confidence": 0.0}


@pytest.fixture
def settings(tiny_model):
    """A config for the tiny model on the CPU."""

    def make(**changes):
        return SegmentConfig(**{"model": str(tiny_model), "device": "cpu", **changes})

    return make


def run(sources, folder, config, *, name="out", rasters=True, **more):
    """Segment; gives (frame, probabilities, mask) with the rasters as arrays."""
    paths = {kind: folder / f"{name}_{kind}.tif" for kind in ("probabilities", "mask")}
    result = segment(
        sources, folder / f"{name}.gpkg", config=config, **(paths if rasters else {}), **more
    )
    frame = gpd.read_file(result.output, layer="buildings")
    assert len(frame) == result.buildings
    assert frame.area_m2.sum() == pytest.approx(result.area_m2)
    if not rasters:
        return frame
    arrays = []
    for path in paths.values():
        with rasterio.open(path) as dataset:
            arrays.append(dataset.read(1))
    return frame, *arrays


def in_pixels(frame, path):
    """Outlines in pixels of a raster, as comparable texts."""
    with rasterio.open(path) as dataset:
        to_pixel = ~dataset.transform
    shapes = shapely.transform(
        frame.geometry.to_numpy(),
        lambda xy: np.round(np.column_stack(to_pixel * (xy[:, 0], xy[:, 1])), 3) + 0.0,
    )
    return sorted(shape.wkt for shape in shapely.normalize(shapes))


@pytest.fixture(scope="module")
def hamlet(tmp_path_factory):
    """A third of the town's size, where what is found is not compared: outlines take a while."""
    path = tmp_path_factory.mktemp("hamlet") / "hamlet.tif"
    return build_raster(path, size=(91, 113), nodata=0, seed=3)


@pytest.fixture(scope="module")
def found(town, tiny_model, tmp_path_factory):
    """What the model finds in the town, with pixel edges and everything kept."""
    folder = tmp_path_factory.mktemp("found")
    config = SegmentConfig(model=str(tiny_model), device="cpu", **EXACT)
    return run(town, folder, config)


# What comes out


def test_the_tiny_model_finds_something(found):
    """Otherwise the tests below say nothing."""
    frame, probability, mask = found
    assert 15 < len(frame) < 2000
    assert 0.2 < (mask[mask != 255] == 1).mean() < 0.8
    assert np.ptp(probability[probability >= 0]) > 0.5


def test_rasters_lie_on_the_mosaics_grid(town, tiny_model, settings, tmp_path):
    config = settings(co=("BLOCKSIZE=128",), **EXACT)
    run(town, tmp_path, config)
    with (
        rasterio.open(town) as source,
        rasterio.open(tmp_path / "out_probabilities.tif") as probability,
        rasterio.open(tmp_path / "out_mask.tif") as mask,
    ):
        for raster, dtype, nodata in ((probability, "float32", -1.0), (mask, "uint8", 255.0)):
            assert (raster.count, raster.dtypes[0], raster.nodata) == (1, dtype, nodata)
            assert (raster.crs, raster.transform, raster.shape) == (
                source.crs, source.transform, source.shape,
            )  # fmt: skip
            structure = raster.tags(ns="IMAGE_STRUCTURE")
            assert structure["LAYOUT"] == "COG" and raster.block_shapes[0] == (128, 128)
            tags = raster.tags()
            assert tags["GEOSSDA_COMMAND"] == "segment"
            assert tags["GEOSSDA_MODEL"].startswith("tiny 0 ")
            assert json.loads(tags["GEOSSDA_SOURCES"]) == ["town.tif"]


def test_rasters_and_footprints_agree(town, found):
    frame, probability, mask = found
    known = mask != 255
    assert np.array_equal(known, probability != -1)
    assert np.array_equal(mask[known] == 1, probability[known] >= 0.5)
    assert probability[known].min() >= 0 and probability[known].max() <= 1
    with rasterio.open(town) as dataset:
        burnt = rasterio.features.rasterize(frame.geometry, mask.shape, transform=dataset.transform)
    assert np.array_equal(burnt == 1, mask == 1)
    assert known.sum() > 0.5 * known.size
    assert not known[~ragged_border(SIZE)].any(), "nodata stays nodata"


def test_footprints_carry_confidence_and_area(town, found):
    frame, probability, _ = found
    with rasterio.open(town) as dataset:
        for row in frame.sample(12, random_state=1).itertuples():
            inside = rasterio.features.geometry_mask(
                [row.geometry], SIZE, dataset.transform, invert=True
            )
            assert row.confidence == pytest.approx(probability[inside].mean(), abs=1e-3)
            assert row.area_m2 == pytest.approx(0.25 * inside.sum(), rel=2e-3, abs=0.01)
    assert frame.id.tolist() == list(range(1, len(frame) + 1))


def test_geopackage_tells_where_it_comes_from(hamlet, settings, tmp_path):
    run(hamlet, tmp_path, settings(), rasters=False)
    about = pyogrio.read_info(tmp_path / "out.gpkg", layer="buildings")["layer_metadata"]
    assert about["GEOSSDA_VERSION"] == geossda.__version__
    assert about["GEOSSDA_MODEL"].startswith("tiny 0 ")
    assert json.loads(about["GEOSSDA_SETTINGS"])["tolerance"] == 0.5


def test_no_building_is_an_empty_layer(town, settings, tmp_path):
    frame, probability, mask = run(town, tmp_path, settings(threshold=1.0))
    assert len(frame) == 0 and frame.crs.to_epsg() == 32633
    assert probability.max() < 1 and not (mask == 1).any()


SHAPES = [
    ("none", 0.5, False), ("simplify", 0.5, False), ("simplify", 2.0, False),
    ("rectilinear", 0.5, False), ("rectilinear", 0.5, True),
]  # fmt: skip
SCALES = [(0.0, None), (0.05, None), (0.5, None), (0.05, 0.61), (0.05, 0.8), (0.05, 0.22)]


@pytest.mark.parametrize(
    ("regularize", "tolerance", "split", "threshold", "gsd"),
    [
        *((*shape, *scale) for shape in SHAPES for scale in SCALES),
        pytest.param(
            *SHAPES[0], 0.05, 1.1,
            marks=pytest.mark.xfail(
                strict=True,
                reason="a hole of 2.5 m told by a nodata value vanishes at 1.1 m: GDAL makes a "
                "pixel of whatever valid ones there are",
            ),
        ),
    ],
)  # fmt: skip
def test_no_building_touches_nodata(
    hamlet, settings, tmp_path, regularize, tolerance, split, threshold, gsd
):
    config = settings(
        regularize=regularize, tolerance=tolerance, split=split,
        threshold=threshold, min_area=0.0, gsd=gsd,
    )  # fmt: skip
    frame = run(hamlet, tmp_path, config, rasters=False)
    assert len(frame) > 0
    if threshold < 0.5 and not split:
        assert frame.area_m2.max() > 500, "buildings go as far as they may"
    with rasterio.open(hamlet) as dataset:
        valid = (dataset.read() != 0).any(axis=0)
        shapes = rasterio.features.shapes(
            (~valid).astype(np.uint8), mask=~valid, transform=dataset.transform
        )
        nodata = shapely.union_all([shapely.geometry.shape(shape) for shape, _ in shapes])
        extent = shapely.box(*dataset.bounds)
    assert frame.distance(nodata).min() > 0
    reach = reach_m(regularize, tolerance, gsd or 0.5)
    assert frame.within(extent.buffer(reach + 1e-6)).all()


@pytest.mark.parametrize("how", ["nodata", "mask", "alpha"])
@pytest.mark.parametrize("size", [1, 3])
def test_what_is_too_near_to_nodata_for_a_prediction_is_warned_of(
    make_raster, settings, tmp_path, listener, how, size
):
    valid = np.zeros((90, 100), bool)
    valid[40 : 40 + size, 50 : 50 + size] = True
    declared = {how: 0 if how == "nodata" else True}
    path = make_raster(tmp_path / "a.tif", size=valid.shape, valid=valid, **declared)
    frame, probability, mask = run(path, tmp_path, settings(), progress=listener)
    assert not len(frame) and (probability == -1).all() and (mask == 255).all()
    assert len(listener.warnings) == 1 and "nothing was predicted" in listener.warnings[0]
    assert "m of nodata" in listener.warnings[0]


def test_smaller_buildings_are_left_out(found, town, settings, tmp_path):
    every = found[0]
    frame = run(town, tmp_path, settings(**{**EXACT, "min_area": 8.0}), rasters=False)
    assert 0 < len(frame) < len(every)
    assert sorted(frame.area_m2) == sorted(every.area_m2[every.area_m2 >= 8])


@pytest.mark.parametrize(("given", "least"), [(None, 0.65), (0.55, 0.55)])
def test_weak_buildings_are_left_out(found, town, settings, tmp_path, given, least):
    every = found[0]
    wanted = settings(**{**EXACT, "min_confidence": given})
    frame = run(town, tmp_path, wanted, rasters=False)
    assert 0 < len(frame) < len(every)
    assert sorted(frame.area_m2) == sorted(every.area_m2[every.confidence >= least])


def test_the_least_confidence_follows_the_threshold():
    assert [least_confidence(None, threshold) for threshold in (0, 0.5, 1)] == [0.3, 0.65, 1]


# What must not matter


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_batch_size_changes_nothing(found, town, settings, tmp_path, batch):
    frame, probability, mask = run(town, tmp_path, settings(batch=batch, **EXACT))
    reference, expected, expected_mask = found
    assert np.abs(probability - expected).max() <= 1 / 255
    undecided = np.abs(expected - 0.5) <= 1 / 255
    assert np.array_equal(mask[~undecided], expected_mask[~undecided])
    if np.array_equal(mask, expected_mask):
        assert in_pixels(frame, town) == in_pixels(reference, town)


def test_runs_are_repeatable(found, town, settings, tmp_path):
    frame, probability, _ = run(town, tmp_path, settings(**EXACT))
    assert np.array_equal(probability, found[1])
    assert in_pixels(frame, town) == in_pixels(found[0], town)


@pytest.mark.parametrize("place", ["mercator", "degrees", "rotated", "another zone"])
def test_the_crs_does_not_matter(found, town, make_raster, settings, tmp_path, place):
    """The same pixels, half a metre on the ground, in CRSs of other units and other metres."""
    with rasterio.open(town) as dataset:
        image, transform = dataset.read(), dataset.transform
    lon, lat = 25.0, 60.0
    crs, transform = {
        "mercator": ("EPSG:3857", Affine(1.0, 0, 2782987, 0, -1.0, 8399737)),
        "degrees": ("EPSG:4326", Affine(0.5 / 55800, 0, lon, 0, -0.5 / 111412, lat)),
        "rotated": ("EPSG:32633", transform * Affine.rotation(30)),
        "another zone": ("EPSG:32736", Affine(0.5, 0, 400000, 0, -0.5, 9300000)),
    }[place]
    path = make_raster(tmp_path / "there.tif", image=image, crs=crs, transform=transform)
    config = settings(nodata=0.0, **EXACT)
    frame, probability, _ = run(path, tmp_path, config)
    assert frame.crs.to_string() == crs
    assert np.array_equal(probability, found[1])
    assert in_pixels(frame, path) == in_pixels(found[0], town)
    areas = np.sort(frame.area_m2), np.sort(found[0].area_m2)
    assert areas[0].sum() == pytest.approx(areas[1].sum(), rel=0.03)


@pytest.mark.parametrize(
    ("crs", "lat", "step", "expected"),
    [
        ("EPSG:3857", 60.0, 0.5, 0.5),
        ("EPSG:3857", 0.0, 0.5, 1.0),
        ("EPSG:4326", 60.0, 0.25 / 111412, None),
        ("EPSG:32635", 60.0, 0.25, 0.5),
    ],
)
def test_the_model_sees_its_own_metres(make_raster, tmp_path, tiny_model, crs, lat, step, expected):
    """Half-metre pixels of Web Mercator are a quarter of a metre at 60 degrees."""
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(27.0, lat)
    transform = Affine(step, 0, x, 0, -step, y)
    path = make_raster(tmp_path / "a.tif", size=(200, 300), crs=crs, transform=transform)
    card = load_segmenter(tiny_model)[1]
    reader = ready_to_predict(open_mosaic(path), card, card.gsd_m, clearance_m=1.0)
    height, width = reader.mosaic.shape
    if expected is None:  # a degree of longitude is half one of latitude there
        assert (height, width) == (100, pytest.approx(75, abs=1))
    else:
        assert (height, width) == (
            pytest.approx(200 * expected, abs=1), pytest.approx(300 * expected, abs=1),
        )  # fmt: skip
    assert reader.clearance_px == 2, "this raster is valid everywhere"
    assert reader.patch_px == card.patch_px


def test_another_gsd_leaves_rasters_on_the_mosaics_grid(town, settings, tmp_path):
    frame, probability, mask = run(town, tmp_path, settings(gsd=0.8, **EXACT))
    assert probability.shape == mask.shape == SIZE
    assert len(frame) > 5
    with rasterio.open(town) as dataset:
        burnt = rasterio.features.rasterize(frame.geometry, SIZE, transform=dataset.transform)
    known = mask != 255
    assert 0.4 < known.mean() < 1
    assert ((burnt == 1) == (mask == 1))[known].mean() > 0.93
    assert not known[~ragged_border(SIZE)].any()


def test_tiles_of_one_acquisition_are_scaled_alike(town, settings, tmp_path, listener):
    """With one stretch, tiles give the pixels of the raster that they were cut from."""
    halves = [tmp_path / "west.tif", tmp_path / "east.tif"]
    with rasterio.open(town) as dataset:
        for path, window in zip(halves, ((0, 0, 64, 151), (64, 0, 139, 151)), strict=True):
            cut = rasterio.windows.Window(*window)
            profile = dataset.profile | {"width": cut.width, "height": cut.height}
            profile["transform"] = dataset.window_transform(cut)
            with rasterio.open(path, "w", **profile) as tile:
                tile.write(dataset.read(window=cut))
    _, whole, _ = run(town, tmp_path, settings(**EXACT))
    _, alike, _ = run(halves, tmp_path, settings(stretch="mosaic", **EXACT), name="alike")
    _, single, _ = run(halves, tmp_path, settings(**EXACT), name="single", progress=listener)
    # Buildings of several sources stay a little further away from nodata.
    known = alike != -1
    assert known.mean() > 0.5 * (whole != -1).mean()
    assert np.abs(alike - whole)[known].max() < 1e-3
    assert np.abs(single - whole)[known].max() > 0.05
    assert any("--stretch mosaic" in note for note in listener.notes)


def test_a_coarse_raster_is_warned_of(make_raster, settings, tmp_path, listener):
    path = make_raster(tmp_path / "a.tif", gsd=1.5, size=(40, 50))
    run(path, tmp_path, settings(), rasters=False, progress=listener)
    assert len(listener.warnings) == 1 and "1.5 m" in listener.warnings[0]


# Bands


def test_bands_are_chosen_by_their_colours(found, town, make_raster, settings, tmp_path, listener):
    with rasterio.open(town) as dataset:
        red, green, blue = dataset.read()
    infrared = np.where(red > 0, synthesize(1, SIZE, "uint8", 9)[0], 0)
    stacked = np.stack([blue, green, red, infrared])
    path = make_raster(
        tmp_path / "bgrn.tif", image=stacked, nodata=0, valid=ragged_border(SIZE),
        colorinterp=["blue", "green", "red", "undefined"],
    )  # fmt: skip
    with rasterio.open(path, "r+") as dataset:
        dataset.write(stacked)
    frame = run(path, tmp_path, settings(**EXACT), rasters=False, progress=listener)
    assert in_pixels(frame, path) == in_pixels(found[0], town)
    assert any("[3, 2, 1]" in text for text in listener.notes)
    chosen = run(path, tmp_path, settings(bidx=(3, 2, 1), **EXACT), name="bidx", rasters=False)
    assert in_pixels(chosen, path) == in_pixels(found[0], town)
    other = run(path, tmp_path, settings(bidx=(1, 2, 3), **EXACT), name="bgr", rasters=False)
    assert in_pixels(other, path) != in_pixels(found[0], town)


@pytest.mark.parametrize("bands", [1, 2, 4, 8])
def test_bands_that_cannot_be_told_are_asked_for(make_raster, settings, tmp_path, bands):
    path = make_raster(tmp_path / "a.tif", bands=bands, dtype="uint16")
    asked = rf"has {counted(bands, 'band')}, the model expects 3.*--bidx"
    with pytest.raises(BandError, match=asked):
        segment(path, tmp_path / "out.gpkg", config=settings())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif"]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_the_type_does_not_matter(found, town, make_raster, settings, tmp_path, dtype):
    """The same picture in 11 bits, signed or as reflectance is stretched to the same input."""
    with rasterio.open(town) as dataset:
        image = dataset.read().astype(np.float64)
    scale = {"uint16": 8, "int16": 8, "float32": 1 / 256}[dtype]
    path = make_raster(
        tmp_path / "a.tif", image=(image * scale).astype(dtype), dtype=dtype,
        valid=ragged_border(SIZE), mask=True,
    )  # fmt: skip
    _, probability, mask = run(path, tmp_path, settings(**EXACT))
    # A pixel whose stretched value is near a half may round the other way.
    assert ((mask == 1) == (found[2] == 1)).mean() > 0.99
    known = mask != 255
    assert np.array_equal(known, found[2] != 255)
    assert np.abs(probability - found[1])[known].mean() < 0.01


# Many sources


def test_two_sources_are_one_mosaic(make_raster, settings, tmp_path):
    """A picture and its mirror image have the same percentiles, apart and together."""
    left = synthesize(3, (120, 110), "uint8", 6)
    whole = np.concatenate([left, left[:, :, ::-1]], axis=2)
    one = make_raster(tmp_path / "whole.tif", image=whole)
    (tmp_path / "pieces").mkdir()
    for name, col in (("a.tif", 0), ("b.tif", 110)):
        make_raster(tmp_path / "pieces" / name, image=whole[:, :, col : col + 110],
                    origin=(500000 + col * 0.5, 5200000))  # fmt: skip
    frame, probability, _ = run(one, tmp_path, settings(**EXACT), name="one")
    pieces, probability_too, _ = run(tmp_path / "pieces", tmp_path, settings(**EXACT), name="two")
    assert np.array_equal(probability, probability_too)
    assert in_pixels(frame, one) == in_pixels(pieces, one)
    seam = shapely.LineString([(500055, 5199940), (500055, 5200000)])
    assert frame.crosses(seam).any(), "the seam cuts no building in two"


def test_each_source_has_its_own_stretch(make_raster, settings, tmp_path):
    left = synthesize(3, (120, 110), "uint8", 6)
    hazy = (left[:, :, ::-1] // 2 + 90).astype(np.uint8)
    paths = [
        make_raster(tmp_path / "a.tif", image=left),
        make_raster(tmp_path / "b.tif", image=hazy, origin=(500055, 5200000)),
    ]
    one = make_raster(tmp_path / "whole.tif", image=np.concatenate([left, hazy], axis=2))
    clear = make_raster(
        tmp_path / "clear.tif", image=np.concatenate([left, left[:, :, ::-1]], axis=2)
    )
    apart, together, wanted = (
        run(given, tmp_path, settings(**EXACT), name=name)[1][:, 130:]
        for given, name in ((paths, "apart"), (one, "together"), (clear, "clear"))
    )
    assert np.abs(apart - wanted).mean() < 0.3 * np.abs(together - wanted).mean()


# Windows


class Count(WindowReader):
    """Counts its reads."""

    reads = 0

    def read(self, row, col):
        Count.reads += 1
        return super().read(row, col)


class Pointwise:
    """Looks at one pixel at a time, so windows cannot matter to it."""

    side_by_side = True

    def __call__(self, images):
        return (images.mean(axis=1, dtype=np.float32) / 255 - np.float32(0.4)) * 6


def whole_prediction(path, patch, overlap, batch=2, reader=WindowReader):
    mosaic = open_mosaic(path)
    stretch = Stretch(np.zeros(3), np.full(3, 255.0))
    ready = reader(mosaic, [stretch], patch, 0)
    return list(predict(ready, Pointwise(), overlap_px=overlap, batch=batch))


@pytest.mark.parametrize(("patch", "overlap"), [(64, 16), (64, 0), (32, 24), (96, 40), (512, 64)])
def test_windows_cover_the_mosaic_and_blend_to_one(town, patch, overlap):
    strips = whole_prediction(town, patch, overlap)
    assert [strip.row for strip in strips] == [
        sum(len(before.valid) for before in strips[:index]) for index in range(len(strips))
    ]
    probability = np.concatenate([strip.probability for strip in strips])
    valid = np.concatenate([strip.valid for strip in strips])
    assert np.array_equal(valid, ragged_border(SIZE))
    with rasterio.open(town) as dataset:
        mean = dataset.read().astype(np.float32).mean(axis=0) / 255
    expected = 1 / (1 + np.exp(-(mean - 0.4) * 6))
    assert np.abs(probability - expected)[valid].max() < 1e-5
    assert not probability[~valid].any()


def test_windows_are_read_once_and_not_all_at_once(make_raster, tmp_path):
    """A tall raster, empty but for its foot: what is held does not grow with its height."""
    valid = np.zeros((48 * 50, 64), bool)
    valid[-20:] = True
    path = make_raster(tmp_path / "tall.tif", size=valid.shape, nodata=0, valid=valid)
    mosaic = open_mosaic(path)
    reader = Count(mosaic, [Stretch(np.zeros(3), np.full(3, 255.0))], 64, 0)
    Count.reads = 0
    strips = predict(reader, Pointwise(), overlap_px=16, batch=2)
    first = next(strips)
    assert first.row == 0 and not first.valid.any()
    assert Count.reads < 20
    rest = list(strips)
    assert Count.reads == 50
    assert len(rest) == 49 and rest[-1].valid.any()


class Convolving:
    """Looks at some pixels around each, so that windows matter to it."""

    side_by_side = True

    def __init__(self):
        self.layer = torch.nn.Conv2d(3, 1, 15, padding=7, bias=False)
        torch.nn.init.normal_(self.layer.weight, 0, 0.1, generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def __call__(self, images):
        return self.layer(torch.from_numpy(images).float() / 255)[:, 0].numpy()


MIRRORED = {"columns": lambda x: x[..., ::-1], "rows": lambda x: x[..., ::-1, :],
            "both": lambda x: x.swapaxes(-2, -1)}  # fmt: skip


@pytest.mark.parametrize(
    ("count", "alike"), [(1, ()), (2, ("columns",)), (4, ("columns", "rows")), (8, tuple(MIRRORED))]
)
def test_symmetries_that_are_averaged_over_make_no_difference(count, alike):
    """The mirror image of what is found is what is found in the mirror image."""
    image = synthesize(3, (48, 48), "uint8", 1)[None]
    network = Convolving()

    def averaged(images):
        return mean_logits(network, np.ascontiguousarray(images), count)

    same = [
        name
        for name, mirrored in MIRRORED.items()
        if np.allclose(averaged(mirrored(image)), mirrored(averaged(image)), atol=1e-5)
    ]
    assert tuple(same) == alike
    # What knows no direction is left as it is.
    assert np.allclose(mean_logits(Pointwise(), image, count), Pointwise()(image), atol=1e-6)


def test_symmetries_are_averaged_over_on_demand(town, tmp_path, settings, cluster):
    config = {"threshold": 0.5, **EXACT}
    alone = run(town, tmp_path, settings(**config), name="alone")[1]
    four = run(town, tmp_path, settings(tta=4, **config), name="four")[1]
    here = run(town, tmp_path, settings(tta=4, scheduler=cluster, **config), name="here")[1]
    valid = alone >= 0
    assert np.array_equal(valid, four >= 0) and np.array_equal(four, here)
    assert np.abs(alone - four)[valid].max() > 0.05
    # Doubts cancel out: logits' mean is less extreme than logits.
    assert np.abs(four - 0.5)[valid].mean() < np.abs(alone - 0.5)[valid].mean()


@pytest.mark.parametrize("going_on", [False, True], ids=["from-the-start", "going-on"])
def test_workers_give_the_same_outlines(hamlet, tmp_path, settings, interrupter, cluster, going_on):
    """Also where only outlines are left to be made."""
    config = {"threshold": 0.5, "regularize": "rectilinear", "split": True, "min_area": 0.0,
              "min_confidence": 0.0}  # fmt: skip
    alone, *_ = run(hamlet, tmp_path, settings(**config), name="alone")
    if going_on:
        with pytest.raises(Cancelled):
            segment(hamlet, tmp_path / "shared.gpkg", config=settings(**config),
                    progress=interrupter("polygonizing", 1, Cancelled()))  # fmt: skip
    shared, *_ = run(hamlet, tmp_path, settings(scheduler=cluster, **config), name="shared")
    assert len(alone) > 15 and alone.to_wkb().equals(shared.to_wkb())


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_window_a_thread_is_the_same_as_batches(town, batch, monkeypatch):
    """The first is a CPU's way, the other a GPU's."""
    before = torch.get_num_threads()
    ready = WindowReader(open_mosaic(town), [Stretch(np.zeros(3), np.full(3, 255.0))], 64, 0)

    def strips():
        return list(predict(ready, Convolving(), overlap_px=16, batch=batch))

    one_a_thread = strips()
    assert torch.get_num_threads() == before
    monkeypatch.setattr(running, "_in_threads", running._in_batches)
    for mine, other in zip(one_a_thread, strips(), strict=True):
        assert mine.row == other.row and np.array_equal(mine.valid, other.valid)
        assert np.abs(mine.probability - other.probability).max() < 1e-5
        assert np.ptp(mine.probability[mine.valid]) > 0.1


@pytest.mark.parametrize("fails", ["reading", "running"])
@pytest.mark.parametrize("way", ["_in_threads", "_in_batches"])
def test_what_fails_in_a_thread_is_raised_and_nothing_goes_on(town, way, fails):
    before = set(threading.enumerate())
    asked = []

    def read(row, col):
        asked.append(row)
        if fails == "reading" and row == 3:
            raise RasterError("truncated")
        return running.Read(Window(row, col, 4, 4), np.zeros((3, 4, 4), np.uint8), np.ones((4, 4)))

    def run(images):
        if fails == "running" and len(asked) > 3:
            raise RasterError("truncated")
        return images[:, 0].astype(np.float32)

    made = getattr(running, way)([(row, 0) for row in range(200)], read, run, 2)
    with pytest.raises(RasterError, match="truncated"):
        list(made)
    assert len(asked) < 50
    assert set(threading.enumerate()) <= before


# What is left behind


@pytest.mark.parametrize("stage", ["reading statistics", "segmenting", "writing mask"])
def test_an_end_in_the_middle_leaves_no_half_file(town, settings, tmp_path, interrupter, stage):
    stop = interrupter(stage, 1, Cancelled("stop"))
    out = tmp_path / "out.gpkg"
    with pytest.raises(Cancelled):
        segment(town, out, mask=tmp_path / "mask.tif", config=settings(), progress=stop)
    assert stop.raised
    kept = [] if stage == "reading statistics" else [".out.gpkg.parts"]
    assert [path.name for path in tmp_path.iterdir()] == kept


def test_existing_outputs_are_kept_unless_told(town, settings, tmp_path, listener):
    for kind in ("out.gpkg", "probabilities.tif", "mask.tif"):
        (tmp_path / kind).write_bytes(b"precious")
        with pytest.raises(OutputExistsError, match=kind):
            segment(
                town, tmp_path / "out.gpkg", probabilities=tmp_path / "probabilities.tif",
                mask=tmp_path / "mask.tif", config=settings(), progress=listener,
            )  # fmt: skip
        assert listener.stages == []
        assert (tmp_path / kind).read_bytes() == b"precious"
        (tmp_path / kind).unlink()
    (tmp_path / "out.gpkg").write_bytes(b"old")
    again = run(town, tmp_path, settings(overwrite=True, **EXACT), rasters=False)
    assert len(again) > 0


def test_an_unknown_model_is_said(town, tmp_path):
    with pytest.raises(ModelError, match="unknown model"):
        segment(town, tmp_path / "out.gpkg", config=SegmentConfig(model="nothing.safetensors"))


def test_a_card_tells_how_to_use_the_model(tiny_model):
    network, card = load_segmenter(tiny_model)
    assert isinstance(card, SegmenterCard) and not network.training
    assert (card.patch_px, card.overlap_px, card.gsd_m) == (64, 16, 0.5)
    assert next(network.parameters()).dtype == torch.float32


# Parity


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, []),
        (
            {"threshold": 0.6, "min_area": 3.0, "regularize": "none", "gsd": 0.7,
             "bidx": (3, 2, 1)},
            ["--threshold", "0.6", "--min-area", "3", "--regularize", "none", "--gsd", "0.7",
             "--bidx", "3,2,1"],
        ),
    ],
    ids=["defaults", "many"],
)  # fmt: skip
def test_the_command_line_finds_the_same(hamlet, tiny_model, settings, tmp_path, changes, options):
    from geossda_cli.main import cli

    frame, probability, mask = run(hamlet, tmp_path, settings(**changes), name="api")
    arguments = ["segment", hamlet, "--output", tmp_path / "cli.gpkg", "--device", "cpu",
                 "--model", tiny_model, "--mask", tmp_path / "cli_mask.tif",
                 "--probabilities", tmp_path / "cli_probabilities.tif", *options]  # fmt: skip
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert f"{len(frame):,} buildings" in done.stdout
    again = gpd.read_file(tmp_path / "cli.gpkg", layer="buildings")
    assert again.to_wkb().equals(frame.to_wkb())
    for kind, expected in (("probabilities", probability), ("mask", mask)):
        with rasterio.open(tmp_path / f"cli_{kind}.tif") as dataset:
            assert np.array_equal(dataset.read(1), expected)


def test_a_raster_far_too_coarse_is_refused_before_any_work(make_raster, settings, tmp_path):
    raster = make_raster(tmp_path / "ten.tif", gsd=20)
    with pytest.raises(GeoreferenceError, match=r"has pixels of 20 m.*a coarser --gsd"):
        segment(raster, tmp_path / "out.gpkg", config=settings())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ten.tif"]
