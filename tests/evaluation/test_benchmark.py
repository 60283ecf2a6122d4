"""The benchmark: published layouts, trials that are made once, tables by hand."""

import dataclasses
import json
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from click.testing import CliRunner
from conftest import ENCODER, UTM, build_raster, synthesize
from PIL import Image
from safetensors.torch import save_file

from geossda import (
    BenchmarkConfig,
    benchmark_paper,
    benchmark_places,
    segment,
)
from geossda.api import benchmark
from geossda.config import PaperBenchmarkConfig, SegmentConfig
from geossda.data import datasets
from geossda.data.datasets import Pair
from geossda.data.labels import rasterize, read_footprints
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import Cancelled, InputError, VectorError
from geossda.evaluation import benchmark_run
from geossda.evaluation import experiments as trials
from geossda.evaluation.calibration import BIN_WIDTH, Reliability
from geossda.evaluation.table import differences, markdown, paired_markdown, plot, summary
from geossda.evaluation.trial_rasters import city_stretch
from geossda.models.card import StyleCard
from geossda.models.model_file import save
from geossda.models.presets import build_generator
from geossda.models.segmenter import build
from geossda.progress import SILENT
from geossda.raster.mosaic import open_mosaic
from geossda.raster.scaling import scaling
from geossda.raster.windows import Window
from geossda.runtime.segmenter_network import open_segmenter

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (96, 128)
# Degrees that are about 0.3 m.
DEGREE = 2.7e-6
FAST = BenchmarkConfig(
    rows=("none", "rhm", "ssda+mean-teacher"), seeds=1, steps=2, batch=2, patch=64, gsd=0.5,
    encoder=ENCODER, encoder_weights="none", device="cpu",
)  # fmt: skip


def write_town(folder, name, seed):
    """One place: a mosaic with four roofs, and their footprints."""
    folder = folder / name
    folder.mkdir(parents=True)
    image = (synthesize(3, SIZE, "uint8", seed) // 3 + 20 * seed).astype(np.uint8)
    shapes = []
    for x in (10, 80):
        for y in (12, 66):
            image[:, y : y + 20, x : x + 26] = 220 - 15 * seed
            shapes.append(shapely.box(500000 + x / 2, 5200000 - y / 2 - 10,
                                      500000 + x / 2 + 13, 5200000 - y / 2))  # fmt: skip
    build_raster(folder / "mosaic_0.tif", image=image)
    gpd.GeoDataFrame(geometry=shapes, crs=UTM).to_file(folder / "footprints.gpkg")


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    root = tmp_path_factory.mktemp("towns")
    for seed, name in enumerate(("alba", "brac", "como"), start=1):
        write_town(root, name, seed)
    return root


@pytest.fixture(scope="module")
def pair(tmp_path_factory, towns):
    """Two places that stay as they are."""
    root = tmp_path_factory.mktemp("pair")
    for name in ("alba", "brac"):
        shutil.copytree(towns / name, root / name)
    return root


@pytest.fixture
def two(tmp_path, pair):
    """Two places, which may be changed."""
    return shutil.copytree(pair, tmp_path / "two")


# Layouts


@pytest.fixture(scope="module")
def inria(tmp_path_factory):
    root = tmp_path_factory.mktemp("inria")
    for kind in ("images", "gt"):
        (root / "AerialImageDataset" / "train" / kind).mkdir(parents=True)
    train = root / "AerialImageDataset" / "train"
    for seed, city in enumerate(datasets.INRIA):
        for number in (1, 2, 10) if city == "austin" else (1,):
            name = f"{city}{number}.tif"
            build_raster(train / "images" / name, size=SIZE, gsd=0.3, seed=seed)
            mask = np.zeros((1, *SIZE), np.uint8)
            mask[0, 20:50, 30:70] = 255
            build_raster(train / "gt" / name, image=mask, gsd=0.3)
    (train / "images" / "readme.txt").write_text("not an image")
    build_raster(train / "images" / "bellingham1.tif", size=SIZE)
    return root


def write_city(root, area, count, layout):
    title = f"SN2_buildings_train_{area}"
    folder, image, labels, label = {
        "archive": (f"{area}_Train", f"RGB-PanSharpen/RGB-PanSharpen_{area}_img{{}}.tif",
                    "geojson/buildings", f"buildings_{area}_img{{}}.geojson"),
        "bucket": (area, f"PS-RGB/{title}_PS-RGB_img{{}}.tif",
                   "geojson_buildings", f"{title}_geojson_buildings_img{{}}.geojson"),
    }[layout]  # fmt: skip
    transform = rasterio.Affine(DEGREE, 0, 2.3, 0, -DEGREE, 36.1)
    for number in range(1, count + 1):
        path = root / folder / image.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        build_raster(
            path, size=SIZE, dtype="uint16", crs="EPSG:4326", transform=transform, seed=number
        )
        (root / folder / labels).mkdir(parents=True, exist_ok=True)
        corners = [(2.3 + 20 * DEGREE, 36.1 - 60 * DEGREE), (2.3 + 60 * DEGREE, 36.1 - 60 * DEGREE),
                   (2.3 + 60 * DEGREE, 36.1 - 20 * DEGREE)]  # fmt: skip
        ring = [[x, y, 0.0] for x, y in [*corners, corners[0]]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        feature = {"type": "Feature", "properties": {}, "geometry": geometry}
        # As in the real set, some images have no building at all.
        features = [] if number == 2 else [feature]
        (root / folder / labels / label.format(number)).write_text(
            json.dumps({"type": "FeatureCollection", "features": features})
        )


@pytest.fixture(scope="module")
def deepglobe(tmp_path_factory):
    root = tmp_path_factory.mktemp("deepglobe")
    for area in datasets.SPACENET:
        write_city(root, area, 4, "bucket" if "Paris" in area else "archive")
    return root


def test_inria_is_read_by_city_and_number(inria):
    for folder in (inria, inria / "AerialImageDataset"):
        found = datasets.inria(folder)
        assert list(found) == ["austin", "chicago", "kitsap", "tyrol-w", "vienna"]
        names = [pair.image.name for pair in found["austin"]]
        assert names == ["austin1.tif", "austin2.tif", "austin10.tif"]
    pair = found["vienna"][0]
    shapes = read_footprints(pair.labels, UTM)
    assert shapely.area(shapes.geometry).sum() == pytest.approx(30 * 40 * 0.09)


def test_spacenet_is_read_in_both_layouts(deepglobe):
    found = datasets.spacenet(deepglobe)
    assert list(found) == ["vegas", "paris", "shanghai", "khartoum"]
    assert all(len(pairs) == 4 for pairs in found.values())
    for city in ("vegas", "paris"):
        counts = [len(read_footprints(pair.labels, "EPSG:4326")) for pair in found[city]]
        assert counts == [1, 0, 1, 1]


def test_cities_are_in_natural_order_whatever_else_lies_there(tmp_path):
    for area in datasets.SPACENET:
        folder = tmp_path / f"{area}_Train"
        (folder / "RGB-PanSharpen").mkdir(parents=True)
        (folder / "geojson" / "buildings").mkdir(parents=True)
        for number in (10, 9, 2, 100):
            (folder / "RGB-PanSharpen" / f"RGB-PanSharpen_{area}_img{number}.tif").touch()
            (folder / "geojson" / "buildings" / f"buildings_{area}_img{number}.geojson").touch()
        (folder / "RGB-PanSharpen" / f"RGB-PanSharpen_{area}_img2.tif.aux.xml").touch()
        (folder / "RGB-PanSharpen" / f"MUL-PanSharpen_{area}_img3.tif").touch()
    for area, pairs in zip(datasets.SPACENET, datasets.spacenet(tmp_path).values(), strict=True):
        numbers = (2, 9, 10, 100)
        assert [pair.image.name for pair in pairs] == [
            f"RGB-PanSharpen_{area}_img{n}.tif" for n in numbers
        ]
        assert [pair.labels.name for pair in pairs] == [
            f"buildings_{area}_img{n}.geojson" for n in numbers
        ]


def test_an_inria_image_without_its_mask_is_named(inria, tmp_path):
    shutil.copytree(inria, tmp_path / "copy")
    (tmp_path / "copy" / "AerialImageDataset" / "train" / "gt" / "kitsap1.tif").unlink()
    with pytest.raises(InputError, match=r"^kitsap1.tif has no labels .*gt.kitsap1.tif$"):
        datasets.inria(tmp_path / "copy")


def test_places_are_folders_with_mosaics_and_one_vector_file(two, make_raster):
    make_raster(two / "brac" / "mosaic_1.tif", size=SIZE)
    make_raster(two / "brac" / "other.tif", size=SIZE)
    (two / "notes").mkdir()
    found = datasets.places(two)
    assert list(found) == ["alba", "brac"]
    assert [pair.image.name for pair in found["brac"]] == ["mosaic_0.tif", "mosaic_1.tif"]
    assert {pair.labels for pair in found["brac"]} == {two / "brac" / "footprints.gpkg"}
    (two / "brac" / "footprints.gpkg").unlink()
    with pytest.raises(VectorError, match="no vector file"):
        datasets.places(two)
    shutil.rmtree(two / "brac")
    with pytest.raises(InputError, match=r"holds 1 places: .* two at least"):
        datasets.places(two)


@pytest.mark.parametrize("declared", [None, 0, 255])
def test_a_mask_is_its_labels_pixel_by_pixel(tmp_path, make_raster, declared):
    """Holes, corners that touch and single pixels too, whatever the mask calls nodata."""
    rng = np.random.default_rng(0)
    mask = (rng.random((1, *SIZE)) > 0.6).astype(np.uint8) * 255
    mask[0, 20:60, 30:90] = 255
    mask[0, 30:40, 50:60] = 0
    path = make_raster(tmp_path / "gt.tif", image=mask, gsd=0.3)
    if declared is not None:
        with rasterio.open(path, "r+") as target:
            target.nodata = declared
    shapes = read_footprints(path, UTM)
    burnt = rasterize(shapes, open_mosaic(path).grid, Window(0, 0, *SIZE))
    assert np.array_equal(burnt, mask[0] // 255)


def test_wrong_folders_are_named(inria, deepglobe, tmp_path, towns):
    with pytest.raises(InputError, match=r"not Inria's.*train/images"):
        datasets.inria(tmp_path)
    with pytest.raises(InputError, match=r"not SpaceNet 2's.*AOI_2_Vegas_Train/RGB-PanSharpen"):
        datasets.spacenet(tmp_path)
    with pytest.raises(InputError, match="holds 0 places"):
        datasets.places(tmp_path)
    write_city(tmp_path, "AOI_2_Vegas", 1, "archive")
    with pytest.raises(InputError, match="AOI_3_Paris"):
        datasets.spacenet(tmp_path)
    for area in datasets.SPACENET[1:]:
        write_city(tmp_path, area, 1, "archive")
    next(tmp_path.glob("AOI_4*/geojson/buildings/*")).unlink()
    with pytest.raises(InputError, match=r"Shanghai_img1.tif has no labels"):
        datasets.spacenet(tmp_path)
    (tmp_path / "train" / "images").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no austin1.tif"):
        datasets.inria(tmp_path)


def test_the_choice_of_patches_depends_on_names_and_seed_alone(tmp_path):
    pairs = [Pair(tmp_path / f"img{n}.tif", tmp_path / f"{n}.json") for n in range(50)]
    kept = datasets.choose_pairs(pairs, 10, 0)
    assert len(kept) == 10 and kept == [pair for pair in pairs if pair in kept]
    assert set(datasets.choose_pairs(pairs[::-1], 10, 0)) == set(kept)
    assert datasets.choose_pairs(pairs, 50, 0) == datasets.choose_pairs(pairs, 99, 0) == pairs
    assert set(datasets.choose_pairs(pairs, 10, 1)) != set(kept)
    without = [pair for pair in pairs if pair != kept[0]]
    assert set(kept[1:]) < set(datasets.choose_pairs(without, 10, 0))


def test_a_citys_cut_is_of_its_brightest_two_percent(tmp_path):
    """Over all its images together, and of nothing dark."""
    dark = np.tile(np.arange(1000, dtype=np.uint16), (3, 96, 1))
    for number, image in enumerate((dark, dark + 1000)):
        build_raster(tmp_path / f"{number}.tif", image=image, dtype="uint16")
    cut = city_stretch([Pair(tmp_path / f"{n}.tif", tmp_path) for n in range(2)], SILENT)
    assert cut.low.tolist() == [0, 0, 0]
    assert cut.high == pytest.approx([0.98 * 1999] * 3, abs=2)
    shown = cut.to_bytes(np.tile(np.arange(2000, dtype=np.uint16), (3, 1, 1)))[0, 0]
    assert (shown == 255).mean() == pytest.approx(0.02, abs=0.003)
    assert (shown == 0).sum() <= 5, "no more than rounding makes black"


# Trials and tables


def test_trials_are_planned_for_both_forms():
    config = dataclasses.replace(FAST, seeds=2)
    one = list(trials.plan("one-to-others", "abc", config))
    out = list(trials.plan("leave-one-out", "abc", config))
    assert len(one) == len(out) == 2 * 3 * 3
    assert len({trial.key for trial in one + out}) == 36
    assert (one[0].sources, one[0].targets, one[0].tests) == (("a",), ("b", "c"), ("b", "c"))
    assert (out[0].sources, out[0].targets, out[0].tests) == (("b", "c"), ("a",), ("a",))
    taught = next(trial for trial in one if trial.row == "ssda+mean-teacher").settings(config)
    assert (taught.adapt, taught.mean_teacher, taught.jitter, taught.scaling) == (
        "ssda",
        True,
        False,
        "bits",
    )


def result(row, seed, name="", **ious):
    return {"trial": {"row": row, "seed": seed, "name": name},
            "figures": {place: {"iou": iou} for place, iou in ious.items()}}  # fmt: skip


def test_tables_by_hand(tmp_path):
    results = [
        result("none", 0, a=0.5), result("none", 0, a=0.7, b=0.2), result("none", 1, a=0.8, b=0.4),
        result("ssda", 0, b=0.9),
    ]  # fmt: skip
    rows = trials.gather(results, lambda figures: figures["iou"])
    assert rows["none"]["a"] == pytest.approx({0: 0.6, 1: 0.8})
    found = summary(rows)
    assert list(found) == ["none", "ssda"]
    assert found["none"]["a"] == pytest.approx((0.7, 0.2 / np.sqrt(2)))
    assert found["none"]["mean"] == pytest.approx((0.5, 0.2 / np.sqrt(2)))
    lines = markdown(rows, "title").splitlines()
    assert lines[2] == "| method | a | b | mean |"
    assert lines[4] == "| Baseline | 70.0 ± 14.1 | 30.0 ± 14.1 | 50.0 ± 14.1 |"
    assert lines[5] == "| SS(DA)² | – | 90.0 | – |"


def test_differences_by_hand():
    """Paired by seed: what two rows share in a seed is in neither mean nor interval."""
    rows = {"none": {"a": {0: 0.1, 1: 0.5, 2: 0.3}, "b": {0: 0.2, 1: 0.6}},
            "rhm": {"a": {0: 0.2, 1: 0.7, 2: 0.6}, "b": {0: 0.3, 1: 0.7, 2: 0.9}},
            "ssda": {"a": {0: 0.4}}}  # fmt: skip
    found = differences(rows, "none")
    # 0.1, 0.2 and 0.3: deviation 0.1, and t of two degrees of freedom is 4.303.
    assert found["rhm"]["a"] == pytest.approx((0.2, 0.2 - 0.2484, 0.2 + 0.2484), abs=1e-4)
    assert found["rhm"]["b"] == pytest.approx((0.1, 0.1, 0.1))
    # Means over places of seeds 0 and 1: 0.1 and 0.15.
    assert found["rhm"]["mean"] == pytest.approx((0.125, 0.125 - 0.3177, 0.125 + 0.3177), abs=1e-4)
    assert "ssda" not in found and "none" not in found, "one seed has no interval"
    lines = paired_markdown(rows, "none", "transfer: difference").splitlines()
    assert lines[2] == "| method | a | b | mean |"
    assert (
        lines[4]
        == "| RHM | +20.0 (-4.8 to +44.8) | +10.0 (+10.0 to +10.0) | +12.5 (-19.3 to +44.3) |"
    )
    assert paired_markdown({"none": rows["none"]}, "rhm", "x") == ""


def test_tables_by_the_place_whose_labels_were_used():
    results = [result("none", 0, "a", b=0.2, c=0.6), result("none", 0, "b", a=0.5, c=0.7)]
    rows = trials.gather(results, lambda figures: figures["iou"], by_labels=True)
    assert rows == {"none": {"a": {0: pytest.approx(0.4)}, "b": {0: pytest.approx(0.6)}}}


def test_the_plot_is_a_picture_and_leaves_pyplot_alone(tmp_path):
    import matplotlib
    from matplotlib import pyplot

    before = pyplot.get_fignums(), dict(matplotlib.rcParams), matplotlib.get_backend()
    some = {"none": {"a": {0: 0.6, 1: 0.8}, "b": {0: 0.3}}, "ssda": {"b": {0: 0.9}}}
    seen = []
    for rows in (some, {"none": some["none"]}):
        plot({"one": rows, "two": some}, tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            assert picture.format == "PNG" and picture.size == (11 * 120, 2 * 432)
            seen.append(np.asarray(picture.convert("RGB")).astype(int))
    changed = np.abs(seen[0] - seen[1]).sum(axis=(1, 2)) > 0
    assert changed[:432].any() and not changed[450:].any(), "a panel a form"
    after = pyplot.get_fignums(), dict(matplotlib.rcParams), matplotlib.get_backend()
    assert after == before


def test_places_end_to_end_and_nothing_twice(towns, tmp_path, listener):
    run = tmp_path / "run"
    rows = dataclasses.replace(FAST, rows=("none", "ssda+mean-teacher"))
    parts = [dataclasses.replace(rows, part=part, parts=2) for part in (1, 2)]
    first = benchmark_places(towns, run, form="one-to-others", config=parts[0])
    assert (first.done, first.planned) == (3, 6)
    planned = [trial.key for trial in trials.plan("one-to-others", ("alba", "brac", "como"), rows)]
    assert {path.stem for path in run.glob("one*.json")} == set(planned[::2])
    own = {path: path.stat().st_mtime_ns for path in run.glob("one*.json")}
    second = benchmark_places(towns, run, form="one-to-others", config=parts[1])
    assert (second.done, second.planned) == (6, 6)
    assert own == {path: path.stat().st_mtime_ns for path in own}
    made = {path: path.stat().st_mtime_ns for path in run.glob("one*.json")}
    again = benchmark_places(towns, run, form="one-to-others", config=rows, progress=listener)
    assert again.table == second.table and not listener.notes
    assert made == {path: path.stat().st_mtime_ns for path in run.glob("one*.json")}
    left = {path.name for path in run.iterdir()} - {path.name for path in made}
    assert left == {"table.md", "results.json", "table.png"}
    numbers = json.loads((run / "results.json").read_text())
    assert set(numbers["one-to-others"]) == {"Baseline", "SS(DA)² + teacher"}
    assert set(numbers["one-to-others"]["Baseline"]) == {"alba", "brac", "como", "mean"}
    assert "the same by the place of the labels" in second.table
    assert len(numbers["each"]) == 6
    for one in numbers["each"]:
        key = f"one-to-others_{one['name']}_{one['row'].replace('+', '_')}_{one['seed']}"
        kept = json.loads((run / f"{key}.json").read_text())["figures"]
        for place, iou in one["iou"].items():
            assert iou == pytest.approx(kept[place]["iou"], abs=1e-4)
    other = dataclasses.replace(FAST, steps=3, rows=("none",), part=1, parts=3)
    assert benchmark_places(towns, run, form="leave-one-out", config=other).done == 1
    assert (run / "leave-one-out_alba_none_0.json").exists()
    told = json.loads((run / "one-to-others_alba_none_0.json").read_text())
    assert set(told["figures"]) == {"brac", "como"} and told["settings"]["steps"] == 2


ONE = dataclasses.replace(FAST, rows=("none",))


def figures(run):
    return {path.stem: json.loads(path.read_text())["figures"] for path in run.glob("*_*.json")}


@pytest.fixture(scope="module")
def whole(pair, tmp_path_factory):
    """Folder and result of the two trainings of ONE, in one go."""
    run = tmp_path_factory.mktemp("whole")
    return run, benchmark_places(pair, run, form="one-to-others", config=ONE)


@pytest.fixture
def run(whole, tmp_path):
    """A folder with the results of ONE, to go on in."""
    return shutil.copytree(whole[0], tmp_path / "run")


def test_results_of_other_settings_are_kept(pair, run, tmp_path, towns, listener):
    """Other steps, other first weights and a place more: one line, before any training."""
    before = figures(run)
    weights = tmp_path / "encoder.safetensors"
    save_file(build("unet", ENCODER, 3).encoder.model.state_dict(), weights)
    for changed, said in (
        ({"steps": 3}, "none_0.json is of steps 2, now 3: give another --run"),
        ({"encoder_weights": str(weights)}, 'encoder_weights "none", now "encoder.safetensors"'),
    ):
        other = dataclasses.replace(ONE, **changed)
        with pytest.raises(InputError, match=said):
            benchmark_places(pair, run, form="one-to-others", config=other, progress=listener)
    with pytest.raises(InputError, match=r'is of targets \["brac"\], now \["brac", "como"\]'):
        benchmark_places(towns, run, form="one-to-others", config=ONE, progress=listener)
    assert figures(run) == before and not listener.notes


def test_results_know_the_weights_of_their_style_model(run):
    """And not its name alone; those of before that are taken as they are."""
    config = dataclasses.replace(ONE, rows=("ssda",))
    trial = next(trials.plan("one-to-others", ("alba", "brac"), config))
    path, settings = run / f"{trial.key}.json", trial.settings(config)
    kept = trials._identity(trial, settings)
    assert len(kept["settings"].pop("style_weights")) == 12
    path.write_text(json.dumps(kept))
    assert trials.recall(trial, settings, run) == kept
    kept["settings"]["style_weights"] = "0" * 12
    path.write_text(json.dumps(kept))
    with pytest.raises(InputError, match=r'is of style_weights "0{12}", now "'):
        trials.recall(trial, settings, run)


def test_where_and_in_what_order_a_training_is_made_changes_nothing(pair, whole, tmp_path):
    last = dataclasses.replace(ONE, part=2, parts=2)
    benchmark_places(pair, tmp_path / "other", form="one-to-others", config=last)
    alone = figures(tmp_path / "other")
    assert list(alone) == ["one-to-others_brac_none_0"]
    assert alone.items() <= figures(whole[0]).items()


# Told of the steps behind it, then of each of two.
@pytest.mark.parametrize("after", [2, 3])
def test_a_stopped_table_goes_on_as_if_it_had_not_been(pair, whole, tmp_path, interrupter, after):
    """Stopped in a training, and between a training and its figures."""
    stop = interrupter("training", after, Cancelled("stop"))
    run = tmp_path / "run"
    with pytest.raises(Cancelled):
        benchmark_places(pair, run, form="one-to-others", config=ONE, progress=stop)
    assert not list(run.glob("*.json")) and list(run.glob("*_run"))
    again = benchmark_places(pair, run, form="one-to-others", config=ONE)
    assert again.table == whole[1].table
    assert figures(run) == figures(whole[0])
    assert not list(run.glob("*_run")) and not list(run.glob("*.safetensors"))


def test_settings_may_be_changed_after_a_stop(pair, tmp_path, interrupter):
    stop = interrupter("training", 3, Cancelled("stop"))
    first = dataclasses.replace(ONE, part=1, parts=2)
    with pytest.raises(Cancelled):
        benchmark_places(pair, tmp_path, form="one-to-others", config=first, progress=stop)
    more = dataclasses.replace(first, steps=3)
    assert benchmark_places(pair, tmp_path, form="one-to-others", config=more).done == 1


def test_daug_is_left_out_alone(pair, tmp_path, listener):
    config = dataclasses.replace(ONE, rows=("daug", "none"))
    found = benchmark_places(
        pair, tmp_path / "run", form="leave-one-out", config=config, progress=listener
    )
    assert (found.done, found.planned) == (2, 2)
    assert len(listener.warnings) == 1 and "--domain-model" in listener.warnings[0]
    assert "| Baseline |" in found.table and "| DAug |" not in found.table


def test_rows_of_domains_take_the_model_that_fits(tmp_path, listener):
    network = build_generator("cyclegan", 3, "all", 2, 4)
    card = StyleCard("x", "0", "cyclegan", domains=("alba", "brac"), width=4)
    save(tmp_path / "m.safetensors", network.state_dict(), card)
    rows = ("none", "daug", "translation", "standardgan")
    config = dataclasses.replace(ONE, rows=rows, domain_model=str(tmp_path / "m.safetensors"))
    planned = list(trials.plan("one-to-others", ("alba", "brac"), config))
    kept = benchmark_run._with_models(planned, config, listener)
    assert [trial.row for trial in kept] == ["none", "translation"] * 2
    assert [text.split()[1] for text in listener.warnings] == ["daug", "standardgan"]
    plain, translated = (trial.settings(config) for trial in kept[:2])
    assert translated.style_model == config.domain_model and translated.structure == "full"
    assert plain.style_model == "default" and plain.structure == "lock"


def test_parts_and_rows_that_cannot_be(towns, tmp_path, listener):
    with pytest.raises(
        InputError, match="part is 3: give a whole number from 1 to parts, which is 2"
    ):
        benchmark_places(towns, tmp_path, config=dataclasses.replace(FAST, part=3, parts=2))
    config = dataclasses.replace(FAST, rows=("daug",))
    found = benchmark_places(towns, tmp_path, config=config, progress=listener)
    assert found.planned == 0 and any("--domain-model" in text for text in listener.warnings)


def test_what_is_measured_is_what_segment_finds(towns, tmp_path, tiny_model):
    place = towns / "alba"
    mosaic = open_mosaic(place / "mosaic_0.tif")
    shapes = read_footprints(place / "footprints.gpkg", UTM)
    raster = WorkingRaster.prepare(mosaic, 0.5, scaling("percentile", mosaic), shapes=shapes)
    config = SegmentConfig(model=str(tiny_model), device="cpu", threshold=0.5, regularize="none")
    counts = trials.measure(open_segmenter(config), [raster]).confusion()
    files = {"mask": tmp_path / "mask.tif", "probabilities": tmp_path / "p.tif"}
    segment(place / "mosaic_0.tif", tmp_path / "o.gpkg", config=config, **files)
    with rasterio.open(files["mask"]) as source:
        found = source.read(1) == 1
    with rasterio.open(files["probabilities"]) as source:
        probability = np.clip(source.read(1).astype(float), 1e-9, 1 - 1e-9)
    logit = np.log(probability / (1 - probability))
    with rasterio.open(place / "mosaic_0.tif") as source:
        true = rasterio.features.rasterize(shapes, source.shape, transform=source.transform) == 1
    assert 0 < (found & true).sum() < found.sum() < found.size
    assert counts.hit + counts.miss == true.sum()
    # Logits are counted in bins, and batches of one and of two round differently.
    near = np.abs(logit) < BIN_WIDTH / 2 + 1e-3
    assert near.mean() < 0.02
    for measured, here in ((counts.hit, true), (counts.false_alarm, ~true)):
        assert abs(measured - (found & here).sum()) <= (near & here).sum()


def test_half_a_bin_below_one_half_is_no_building():
    logits = np.array([-0.02, 0.02], np.float32)
    counts = Reliability.of(logits, np.array([False, True])).confusion()
    assert (counts.hit, counts.false_alarm, counts.miss) == (1, 0, 0)


# The paper's table

PAPER = PaperBenchmarkConfig(
    rows=("none",), seeds=1, steps=2, batch=2, patch=64, gsd=0.3, tests=2, references=2,
    encoder=ENCODER, encoder_weights="none", device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def paper(inria, deepglobe, tmp_path_factory):
    """Folder and result of one training, and what was prepared for it."""
    asked, run = [], tmp_path_factory.mktemp("paper")

    def prepare(pairs, config, scalings, progress):
        asked.append((pairs, scalings))
        return real(pairs, config, scalings, progress)

    real = benchmark.prepare_places
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "prepare_places", prepare)
        return run, benchmark_paper(inria, deepglobe, run, config=PAPER), asked


def test_looks_come_from_other_patches_than_those_measured(paper, deepglobe):
    """And both go through the one cut of their city."""
    run, found, asked = paper
    assert (found.done, found.planned) == (1, 1)
    (labelled, _), (references, of_looks), (tests, of_tests) = asked
    assert [len(pairs) for pairs in labelled.values()] == [3, 1, 1, 1, 1]
    cities = datasets.spacenet(deepglobe)
    for city, pairs in tests.items():
        listed = (run / f"test_patches_{city}.txt").read_text().splitlines()
        assert listed == [pair.image.name for pair in pairs] and len(pairs) == 2
        assert not set(pairs) & set(references[city])
        assert set(pairs) | set(references[city]) == set(cities[city])
        wanted = city_stretch(cities[city], SILENT)
        for cut in (of_looks[city], of_tests[city]):
            assert cut.low.tolist() == wanted.low.tolist()
            assert cut.high.tolist() == wanted.high.tolist()
    figures = json.loads((run / "paper_inria_none_0.json").read_text())["figures"]
    assert set(figures) == {"vegas", "paris", "shanghai", "khartoum"}


def test_a_city_that_is_all_measured_on_gives_the_looks_too(inria, deepglobe, tmp_path):
    config = dataclasses.replace(PAPER, tests=9, references=1, rows=("rhm",))
    assert benchmark_paper(inria, deepglobe, tmp_path, config=config).done == 1
    assert len((tmp_path / "test_patches_paris.txt").read_text().splitlines()) == 4


def test_results_of_other_patches_are_kept(inria, deepglobe, paper, tmp_path):
    run = shutil.copytree(paper[0], tmp_path / "run")
    before = figures(run)
    listed = (run / "test_patches_vegas.txt").read_text()
    other = dataclasses.replace(PAPER, tests=3)
    with pytest.raises(InputError, match=r"none_0.json is of patches .*: give another --run"):
        benchmark_paper(inria, deepglobe, run, config=other)
    assert figures(run) == before
    assert (run / "test_patches_vegas.txt").read_text() == listed


# The command line


def command(*arguments):
    from geossda_cli.main import cli

    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


QUICK = ("--seeds", 1, "--steps", 2, "--batch", 2, "--patch", 64, "--encoder", ENCODER,
         "--encoder-weights", "none", "--device", "cpu", "--progress", "none")  # fmt: skip


def test_places_from_the_command_line(pair, tmp_path):
    done = command("benchmark", "places", pair, "--run", tmp_path / "run", "--form",
                   "leave-one-out", "--rows", "gamma", "--gsd", 0.5, *QUICK)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "| Gamma |" in done.output and "2 of 2 trainings" in done.output


def test_the_papers_table_from_the_command_line(inria, deepglobe, tmp_path):
    run = tmp_path / "run"
    arguments = ("benchmark", "paper", "--inria", inria, "--deepglobe", deepglobe, "--run", run,
                 "--tests", 2, "--references", 2, "--gsd", 0.3, "--rows", "hsv",
                 "--rows", "ssda")  # fmt: skip
    done = command(*arguments, *QUICK)
    assert done.exit_code == 0, done.output
    assert all(f"| {name} |" in done.output for name in ("HSV", "SS(DA)²"))
    assert "| method | khartoum | paris | shanghai | vegas | mean |" in done.output
    listed = (run / "test_patches_vegas.txt").read_text().split()
    assert len(listed) == 2 and all(name.startswith("RGB-PanSharpen_AOI_2") for name in listed)
    again = command(*arguments, *QUICK)
    assert again.output.splitlines()[-1].endswith("2 of 2 trainings")


def test_the_papers_table_has_the_papers_rows():
    rows = {row: {"vegas": {0: 0.5}} for row in PaperBenchmarkConfig().rows}
    shown = [line.split("|")[1].strip() for line in markdown(rows, "title").splitlines()[4:]]
    assert shown == ["Baseline", "Hist. Equ.", "HSV", "Gamma", "RHM", "DAug", "SS(DA)²"]


@pytest.mark.parametrize("wrong", ["places", "inria", "deepglobe"])
def test_a_wrong_folder_is_one_line(tmp_path, capsys, inria, deepglobe, wrong):
    from geossda_cli.main import main

    run = tmp_path / "run"
    folders = {"inria": inria, "deepglobe": deepglobe, wrong: tmp_path}
    arguments = ["paper", "--inria", folders["inria"], "--deepglobe", folders["deepglobe"]]
    if wrong == "places":
        arguments = ["places", tmp_path]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in ("benchmark", *arguments, "--run", run)])
    assert stop.value.code == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and told[0].startswith("geossda: ") and str(tmp_path) in told[0]
    assert not run.exists()
