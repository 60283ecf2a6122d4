"""`--method graph` from file to file."""

import sys

import numpy as np
import pytest
import rasterio
from conftest import ragged_border, synthesize

import geossda
from geossda import HarmonizeConfig, harmonize
from geossda.errors import InputError
from geossda.harmonization.methods import known_statistics
from geossda.harmonization.style import load_style

SIZE = (90, 131)


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def style_of(path, out):
    geossda.make_style(path, out, config=geossda.StyleConfig(style_model="none"))
    return load_style(out, known_statistics())


@pytest.mark.parametrize(
    ("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint16"), (8, "float32")]
)
def test_a_shift_is_undone_whatever_the_tiles(tmp_path, make_raster, bands, dtype):
    """The reference is the source a tenth of the range brighter; nodata is left out."""
    valid = ragged_border(SIZE)
    image = synthesize(bands, SIZE, "uint8", 3).astype(np.float64) * 0.7 + 20
    unit = {"uint8": 1, "uint16": 8, "float32": 1 / 255}[dtype]
    low, high = ((np.rint(x) * unit).astype(dtype) for x in (image, image + 24))
    how = {"dtype": dtype, "valid": valid, "mask": True, "size": SIZE}
    # What is hidden must not count.
    source = make_raster(tmp_path / "a.tif", image=np.where(valid, low, high.max()), **how)
    reference = make_raster(tmp_path / "b.tif", image=np.where(valid, high, 0), **how)
    outs = []
    for tile in (32, 1024):
        out = tmp_path / f"{tile}.tif"
        config = HarmonizeConfig(method="graph", tile=tile, scenes="none")
        harmonize(source, out, style=reference, config=config)
        outs.append(read(out)[:bands])
    assert outs[0].tobytes() == outs[1].tobytes()
    off = np.abs(outs[0].astype(float) - high)[:, valid]
    # A whole number may be rounded to its neighbour.
    assert off.max() <= (1e-5 if dtype == "float32" else 1)


def test_a_constant_image_and_a_constant_style(tmp_path, make_raster):
    flat = make_raster(tmp_path / "flat.tif", image=np.full((3, *SIZE), 90, np.uint8))
    town = make_raster(tmp_path / "town.tif", image=synthesize(3, SIZE, "uint8", 1))
    for source, reference in ((flat, town), (town, flat), (flat, flat)):
        out = tmp_path / "out.tif"
        harmonize(source, out, style=reference, method="graph", scenes="none", overwrite=True)
        means = [read(path)[:3].mean(axis=(1, 2)) for path in (out, reference)]
        assert means[0] == pytest.approx(means[1], abs=1)


def test_a_style_file_gives_what_its_raster_gives(tmp_path, make_raster):
    source = make_raster(tmp_path / "a.tif", size=SIZE, seed=1)
    reference = make_raster(
        tmp_path / "b.tif", image=(synthesize(3, SIZE, "uint8", 2) * 0.6).astype(np.uint8)
    )
    style_of(reference, tmp_path / "b.json")
    results = []
    for style in (reference, tmp_path / "b.json"):
        harmonize(source, tmp_path / "out.tif", style=style, method="graph", overwrite=True)
        results.append(read(tmp_path / "out.tif").astype(int))
    assert np.abs(results[0] - results[1]).max() <= 1
    assert np.abs(results[0] - read(source)).mean() > 2


def test_matrix_by_graph_matching(tmp_path, make_raster):
    paths = [make_raster(tmp_path / f"{seed}.tif", size=SIZE, seed=seed) for seed in (1, 2)]
    out = geossda.matrix(
        paths, tmp_path / "m.png", method="graph", patches=1, patch=64, cell=32, device="cpu"
    )
    assert out.exists()


def test_without_scipy_it_says_so_and_comparisons_go_on(
    tmp_path, make_raster, monkeypatch, listener
):
    paths = [make_raster(tmp_path / f"{seed}.tif", size=SIZE, seed=seed) for seed in (1, 2)]
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.delitem(sys.modules, "geossda.color.graph_matching", raising=False)
    monkeypatch.delattr("geossda.color.graph_matching", raising=False)
    with pytest.raises(InputError, match=r"graph needs SciPy .*pip install scipy") as caught:
        harmonize(paths[0], tmp_path / "out.tif", style=paths[1], method="graph")
    assert "\n" not in str(caught.value) and not (tmp_path / "out.tif").exists()
    scores = geossda.evaluate_style(paths, patches=1, patch=64, device="cpu", progress=listener)
    assert "mixture" in {each.method for each in scores}
    assert "graph" not in {each.method for each in scores}
    assert [text for text in listener.warnings if text.startswith("graph is left out")]
