"""Every command that reads imagery warns of fill that is not declared."""

import numpy as np
import pytest
from conftest import Interrupter, ragged_border, synthesize

from geossda import (
    evaluate,
    evaluate_style,
    harmonize,
    info,
    make_style,
    matrix,
    polygonize,
    report,
    scenes,
    segment,
    train_style,
)
from geossda.errors import Cancelled
from geossda.raster.imagery import warn_of_distance
from geossda.raster.mosaic import open_mosaic

SIZE = (200, 240)


@pytest.fixture
def filled(tmp_path, make_raster):
    image = synthesize(3, SIZE, "float32", 1)
    image[:, ~ragged_border(SIZE)] = -9999
    return make_raster(tmp_path / "filled.tif", image=image, dtype="float32")


@pytest.fixture
def clean(tmp_path, make_raster):
    return make_raster(tmp_path / "clean.tif", size=SIZE, seed=5)


COMMANDS = {
    "harmonize": lambda a, b, out, **how: harmonize(a, out / "o.tif", method="equalize", **how),
    "harmonize to it": lambda a, b, out, **how: harmonize(
        b, out / "o.tif", style=a, method="histogram", **how
    ),
    "style": lambda a, b, out, **how: make_style(a, out / "s.json", style_model="none", **how),
    "scenes": lambda a, b, out, **how: scenes(a, out / "s.gpkg", **how),
    "matrix": lambda a, b, out, **how: matrix([a, b], out / "m.png", method="histogram", **how),
    "evaluate_style": lambda a, b, out, **how: evaluate_style([a, b], **how),
    "train_style": lambda a, b, out, **how: train_style(
        [a, b], out / "m.safetensors", steps=1, patch=64, batch=4, bands=1, perceptual=0, **how
    ),
    "report": lambda a, b, out, **how: report(a, out / "r.html", sources=a, **how),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_undeclared_fill_is_warned_of(tmp_path, filled, clean, listener, command):
    command(filled, clean, tmp_path, progress=listener)
    warnings = [text for text in listener.warnings if "--nodata -9999" in text]
    assert len(warnings) == 1 and "filled.tif" in warnings[0]


def test_segment_and_areas_warn_too(tmp_path, filled, clean, make_raster, listener, tiny_model):
    model = {"model": str(tiny_model), "regularize": "none"}
    segment(filled, tmp_path / "o.gpkg", progress=listener, **model)
    mask = np.zeros((1, *SIZE), np.uint8)
    mask[0, 50:90, 60:120] = 1
    truth = make_raster(tmp_path / "mask.tif", image=mask)
    polygonize(truth, tmp_path / "true.gpkg")
    evaluate(truth, tmp_path / "true.gpkg", area=filled, progress=listener)
    assert sum("--nodata -9999" in text for text in listener.warnings) == 2
    fill = info(filled)["undeclared_fill"]
    assert fill["value"] == -9999 and 0.01 < fill["share"] < 0.5
    assert info(clean)["undeclared_fill"] is None


@pytest.mark.parametrize("values", [(123, 123, 123), (123, 134, 148)])
def test_a_single_color_all_over_is_warned_of(tmp_path, make_raster, listener, values):
    image = np.broadcast_to(np.array(values, np.uint8)[:, None, None], (3, *SIZE)).copy()
    flat = make_raster(tmp_path / "flat.tif", image=image)
    harmonize(flat, tmp_path / "o.tif", method="equalize", progress=listener)
    assert ["100% of the pixels" in text for text in listener.warnings] == [True]


def test_rasters_far_from_each_other_are_warned_of(make_raster, tmp_path, listener):
    near, beside = (
        make_raster(tmp_path / "a.tif"),
        make_raster(tmp_path / "b.tif", origin=(500060, 5200010)),
    )
    far = make_raster(tmp_path / "far.tif", origin=(500000, 180))  # northing and row mixed up
    for paths in ([near], [near, beside], [far]):
        warn_of_distance(open_mosaic(paths), listener)
    assert not listener.warnings
    warn_of_distance(open_mosaic([near, beside, far]), listener)
    assert listener.warnings == [
        f"{near} (and 2 more): the rasters cover less than 1% of the 251 x 10,399,757 px that they "
        "span: check where they lie, or process them one by one"
    ]


@pytest.fixture
def scattered(make_raster, tmp_path):
    """Two rasters that overlap, and one 4.2 km away in both directions."""
    places = {"a": (500000, 5200000), "b": (500010, 5200000), "far": (504200, 5204200)}
    return [make_raster(tmp_path / f"{name}.tif", origin=at) for name, at in places.items()]


@pytest.mark.parametrize("balance", ["none", "gain-offset"])
def test_harmonize_warns_once_of_rasters_far_from_each_other(
    scattered, tmp_path, listener, balance
):
    harmonize(
        scattered, tmp_path / "o.tif", method="equalize", balance=balance,
        bounds=(500000, 5199960, 500010, 5199970), progress=listener,
    )  # fmt: skip
    assert sum("process them one by one" in text for text in listener.warnings) == 1


def test_segment_warns_of_rasters_far_from_each_other(scattered, tmp_path, tiny_model):
    stopped = Interrupter("reading statistics", 1, Cancelled("enough"))
    with pytest.raises(Cancelled):
        segment(scattered, tmp_path / "o.gpkg", model=str(tiny_model), progress=stopped)
    assert sum("process them one by one" in text for text in stopped.warnings) == 1
