"""`--method graph` from file to file."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import ragged_border, synthesize

import geossda
from geossda import HarmonizeConfig, harmonize
from geossda.errors import StyleError
from geossda.harmonization.methods import known_statistics
from geossda.harmonization.pooling import pool
from geossda.harmonization.reference_statistics import ColorClusters
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
    assert off.max() <= (1e-5 if dtype == "float32" else 0)


def test_a_constant_image_and_a_constant_style(tmp_path, make_raster):
    flat = make_raster(tmp_path / "flat.tif", image=np.full((3, *SIZE), 90, np.uint8))
    town = make_raster(tmp_path / "town.tif", image=synthesize(3, SIZE, "uint8", 1))
    for source, reference in ((flat, town), (town, flat), (flat, flat)):
        out = tmp_path / "out.tif"
        harmonize(source, out, style=reference, method="graph", scenes="none", overwrite=True)
        means = [read(path)[:3].mean(axis=(1, 2)) for path in (out, reference)]
        assert means[0] == pytest.approx(means[1], abs=1)


def test_a_style_made_before_says_so_in_one_line(tmp_path, make_raster):
    older = Path(__file__).with_name("style_2.json")
    source = make_raster(tmp_path / "a.tif", size=SIZE)
    with pytest.raises(StyleError, match="has no clusters of colors: make it again") as caught:
        harmonize(source, tmp_path / "out.tif", style=older, method="graph")
    assert "\n" not in str(caught.value) and not (tmp_path / "out.tif").exists()


def test_clusters_are_pooled_by_share_and_carried_to_other_types(tmp_path, make_raster):
    dark = make_raster(tmp_path / "dark.tif", image=np.full((3, *SIZE), 50, np.uint8))
    light = make_raster(tmp_path / "light.tif", image=np.full((3, *SIZE), 200, np.uint8))
    styles = [style_of(path, path.with_suffix(".json")) for path in (dark, light)]
    clusters = pool(styles, (3, 1))[ColorClusters]
    order = np.argsort(clusters.centers[0])
    assert clusters.centers[:, order] == pytest.approx(np.array([[50, 200]] * 3))
    assert clusters.masses[order] == pytest.approx([0.75, 0.25])
    carried = styles[0].carried_to((0, 2047))[ColorClusters]
    assert carried.centers[:, 0] == pytest.approx([50 / 255 * 2047] * 3)


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
