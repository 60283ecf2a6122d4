"""The benchmark: published layouts, trials that are made once, tables by hand."""

import dataclasses
import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from click.testing import CliRunner
from conftest import UTM, build_raster, synthesize
from PIL import Image

from geossda import (
    BenchmarkConfig,
    benchmark_places,
    segment,
)
from geossda.api.benchmark import _city_cut
from geossda.config import SegmentConfig
from geossda.data import datasets
from geossda.data.datasets import Pair
from geossda.data.labels import read_footprints
from geossda.data.patches import WorkingRaster
from geossda.errors import InputError
from geossda.evaluation import trials
from geossda.evaluation.table import markdown, plot, summary
from geossda.progress import SILENT
from geossda.raster.radiometry import scaling
from geossda.raster.reading import open_mosaic

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (96, 128)
# Degrees that are about 0.3 m.
DEGREE = 2.7e-6
ENCODER = "tu-mobilenetv3_small_050"
FAST = BenchmarkConfig(
    rows=("none", "rhm", "ssda+teach"), seeds=1, steps=2, batch=2, patch=64, gsd=0.5,
    encoder=ENCODER, encoder_weights="none", device="cpu",
)  # fmt: skip


def write_town(folder, name, seed):
    """One place: a mosaic with four roofs, and their footprints."""
    folder = folder / name
    folder.mkdir(parents=True)
    image = (synthesize(3, SIZE, "uint8", seed) // 3 + 20 * seed).astype(np.uint8)
    shapes = []
    for x in (10, 80):
        for y in (12, 60):
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
    assert shapes.area.sum() == pytest.approx(30 * 40 * 0.09)


def test_spacenet_is_read_in_both_layouts(deepglobe):
    found = datasets.spacenet(deepglobe)
    assert list(found) == ["vegas", "paris", "shanghai", "khartoum"]
    assert all(len(pairs) == 4 for pairs in found.values())
    for city in ("vegas", "paris"):
        counts = [len(read_footprints(pair.labels, "EPSG:4326")) for pair in found[city]]
        assert counts == [1, 0, 1, 1]


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
    kept = datasets.chosen(pairs, 10, 0)
    assert len(kept) == 10 and kept == [pair for pair in pairs if pair in kept]
    assert set(datasets.chosen(pairs[::-1], 10, 0)) == set(kept)
    assert set(datasets.chosen(pairs[:40], 40, 0)) == set(pairs[:40])
    assert set(datasets.chosen(pairs, 10, 1)) != set(kept)
    without = [pair for pair in pairs if pair != kept[0]]
    assert set(kept[1:]) < set(datasets.chosen(without, 10, 0))


def test_a_citys_cut_is_of_its_brightest_two_percent(tmp_path):
    """Over all its images together, and of nothing dark."""
    dark = np.tile(np.arange(1000, dtype=np.uint16), (3, 96, 1))
    for number, image in enumerate((dark, dark + 1000)):
        build_raster(tmp_path / f"{number}.tif", image=image, dtype="uint16")
    cut = _city_cut([Pair(tmp_path / f"{n}.tif", tmp_path) for n in range(2)], SILENT)
    assert cut.low.tolist() == [0, 0, 0]
    assert cut.high == pytest.approx([0.98 * 1999] * 3, abs=2)


# Trials and tables


def test_trials_are_planned_for_both_forms():
    config = dataclasses.replace(FAST, seeds=2)
    one = list(trials.plan("one-to-others", "abc", config))
    out = list(trials.plan("leave-one-out", "abc", config))
    assert len(one) == len(out) == 2 * 3 * 3
    assert len({trial.key for trial in one + out}) == 36
    assert (one[0].sources, one[0].targets, one[0].tests) == (("a",), ("b", "c"), ("b", "c"))
    assert (out[0].sources, out[0].targets, out[0].tests) == (("b", "c"), ("a",), ("a",))
    taught = next(trial for trial in one if trial.row == "ssda+teach").settings(config)
    assert (taught.adapt, taught.teach, taught.jitter, taught.scaling) == (
        "ssda",
        True,
        False,
        "bits",
    )


def result(row, seed, **ious):
    return {"trial": {"row": row, "seed": seed},
            "figures": {place: {"iou": iou} for place, iou in ious.items()}}  # fmt: skip


def test_tables_by_hand(tmp_path):
    results = [
        result("none", 0, a=0.5), result("none", 0, a=0.7, b=0.2), result("none", 1, a=0.8, b=0.4),
        result("ssda", 0, b=0.9),
    ]  # fmt: skip
    rows = trials.gather(results, lambda figures: figures["iou"])
    assert rows["none"]["a"] == pytest.approx([0.6, 0.8])
    found = summary(rows)
    assert list(found) == ["none", "ssda"]
    assert found["none"]["a"] == pytest.approx((0.7, 0.2 / np.sqrt(2)))
    assert found["none"]["mean"] == pytest.approx((0.5, 0.2 / np.sqrt(2)))
    lines = markdown(rows, "title").splitlines()
    assert lines[2] == "| method | a | b | mean |"
    assert lines[4] == "| Baseline | 70.0 ± 14.1 | 30.0 ± 14.1 | 50.0 ± 14.1 |"
    assert lines[5] == "| SS(DA)² | – | 90.0 ± 0.0 | 90.0 ± 0.0 |"
    plot({"one": rows, "two": rows}, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"


def test_places_end_to_end_and_nothing_twice(towns, tmp_path, listener):
    run = tmp_path / "run"
    parts = [dataclasses.replace(FAST, part=part, parts=2) for part in (1, 2)]
    first = benchmark_places(towns, run, form="one-to-others", config=parts[0])
    assert (first.done, first.planned) == (5, 9)
    second = benchmark_places(towns, run, form="one-to-others", config=parts[1])
    assert (second.done, second.planned) == (9, 9)
    made = {path: path.stat().st_mtime_ns for path in run.glob("one*.json")}
    again = benchmark_places(towns, run, form="one-to-others", config=FAST, progress=listener)
    assert again.table == second.table and not listener.notes
    assert made == {path: path.stat().st_mtime_ns for path in run.glob("one*.json")}
    left = {path.name for path in run.iterdir()} - {path.name for path in made}
    assert left == {"table.md", "results.json", "table.png"}
    numbers = json.loads((run / "results.json").read_text())
    assert set(numbers["one-to-others"]) == {"Baseline", "RHM", "SS(DA)² + teacher"}
    assert set(numbers["one-to-others"]["RHM"]) == {"alba", "brac", "como", "mean"}
    other = dataclasses.replace(FAST, steps=3, rows=("none",))
    assert benchmark_places(towns, run, form="leave-one-out", config=other).done == 3
    told = json.loads((run / "one-to-others_alba_none_0.json").read_text())
    assert set(told["figures"]) == {"brac", "como"} and told["settings"]["steps"] == 2


def test_parts_and_rows_that_cannot_be(towns, tmp_path, listener):
    with pytest.raises(InputError, match="part 3 of 2"):
        benchmark_places(towns, tmp_path, config=dataclasses.replace(FAST, part=3, parts=2))
    config = dataclasses.replace(FAST, rows=("daug",))
    found = benchmark_places(towns, tmp_path, config=config, progress=listener)
    assert found.planned == 0 and any("--domain-model" in text for text in listener.warnings)


def test_what_is_measured_is_what_segment_finds(towns, tmp_path, tiny_model):
    place = towns / "alba"
    mosaic = open_mosaic(place / "mosaic_0.tif")
    shapes = read_footprints(place / "footprints.gpkg", UTM)
    raster = WorkingRaster.prepare(mosaic, 0.5, scaling("percentile", mosaic), shapes=shapes)
    counts = trials.measure(tiny_model, [raster], "cpu").confusion()
    config = SegmentConfig(model=str(tiny_model), device="cpu", threshold=0.5)
    segment(place / "mosaic_0.tif", tmp_path / "o.gpkg", mask=tmp_path / "mask.tif", config=config)
    with rasterio.open(tmp_path / "mask.tif") as source:
        found = source.read(1) == 1
    true = raster.held[3] == 1
    # The mask is on the raster's own grid, whose pixels are not quite 0.5 m.
    assert counts.hit + counts.miss == true.sum()
    assert counts.hit == pytest.approx((found & true).sum(), rel=0.03)
    assert counts.false_alarm == pytest.approx((found & ~true).sum(), rel=0.03)


# The command line


def command(*arguments):
    from geossda_cli.main import cli

    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


QUICK = ("--seeds", 1, "--steps", 2, "--batch", 2, "--patch", 64, "--encoder", ENCODER,
         "--encoder-weights", "none", "--device", "cpu", "--progress", "none")  # fmt: skip


def test_places_from_the_command_line(towns, tmp_path):
    done = command("benchmark", "places", towns, "--run", tmp_path / "run", "--form",
                   "leave-one-out", "--rows", "gamma", "--gsd", 0.5, *QUICK)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "| Gamma |" in done.output and "3 of 3 trainings" in done.output


def test_the_papers_table_from_the_command_line(inria, deepglobe, tmp_path):
    run = tmp_path / "run"
    arguments = ("benchmark", "paper", "--inria", inria, "--deepglobe", deepglobe, "--run", run,
                 "--tests", 2, "--references", 2, "--gsd", 0.3)  # fmt: skip
    done = command(*arguments, *QUICK)
    assert done.exit_code == 0, done.output
    for name in ("Baseline", "Hist. Equ.", "HSV", "Gamma", "RHM", "SS(DA)²"):
        assert f"| {name} |" in done.output
    assert "| method | khartoum | paris | shanghai | vegas | mean |" in done.output
    listed = (run / "test_patches_vegas.txt").read_text().split()
    assert len(listed) == 2 and all(name.startswith("RGB-PanSharpen_AOI_2") for name in listed)
    again = command(*arguments, *QUICK)
    assert again.output.splitlines()[-1].endswith("6 of 6 trainings")


def test_a_wrong_folder_is_one_line(tmp_path, capsys, deepglobe):
    from geossda_cli.main import main

    with pytest.raises(SystemExit) as stop:
        main(["benchmark", "paper", "--inria", str(tmp_path), "--deepglobe", str(deepglobe),
              "--run", str(tmp_path / "run")])  # fmt: skip
    assert stop.value.code == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
