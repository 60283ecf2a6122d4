"""The rendered town, and the whole job on it with the bundled model."""

import re

import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely

from geossda import DemoConfig, demo
from geossda.models.card import SegmenterCard
from geossda.models.model_file import resolve
from geossda.synthetic.town import render_town


@pytest.fixture(scope="module")
def town():
    return render_town(3, 512)


def test_same_seed_same_town():
    town, again, other = (render_town(seed, 256) for seed in (3, 3, 4))
    assert np.array_equal(town.image, again.image)
    assert len(town.footprints) == len(again.footprints) > 0
    assert shapely.equals(town.footprints, again.footprints).all()
    assert not np.array_equal(town.image, other.image)


def test_two_acquisitions_of_one_ground(town):
    columns = np.arange(town.image.shape[2])[None, :]
    west = town.valid & (columns < town.seam_col[:, None])
    east = town.valid & ~west
    assert np.array_equal(town.image[:, west], town.clean[:, west])
    assert np.abs(town.image[:, east].astype(int) - town.clean[:, east]).mean() > 10
    assert 0.01 < (~town.valid).mean() < 0.3


def test_footprints_are_roofs_in_valid_ground(town):
    burnt = rasterio.features.rasterize(
        town.footprints, town.valid.shape, transform=town.transform
    ).astype(bool)
    assert len(town.footprints) > 5
    assert not (burnt & ~town.valid).any()
    # Ground is mostly green; roofs are not.
    greenness = town.clean[1].astype(int) - town.clean[0]
    assert greenness[burnt].mean() < greenness[town.valid & ~burnt].mean() - 5


@pytest.mark.skipif(not resolve("default", SegmenterCard).exists(), reason="no bundled model")
def test_whole_job(tmp_path):
    result = demo(tmp_path / "out", config=DemoConfig(size=512))
    assert sorted(path.name for path in result.folder.iterdir()) == sorted(
        line.rpartition("/")[2] for line in result.lines() if line.startswith(str(tmp_path))
    )
    assert result.after.pixels.iou > 0.4
    assert result.step_after < 0.5 * result.step_before
    assert any(re.search(r"IoU 0\.\d{3}", line) for line in result.lines())
    with rasterio.open(result.folder / "harmonized.tif") as dataset:
        assert dataset.nodata == 0
        assert dataset.crs.to_epsg() == 32737
