"""A method with a statistic of its own needs its two classes and its name, as CONTRIBUTING says."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from conftest import synthesize

import geossda
from geossda.errors import StyleError
from geossda.harmonization.measure import SourceStatistics
from geossda.harmonization.method import PixelMethod, required
from geossda.harmonization.methods import METHODS, known_statistics
from geossda.harmonization.statistic import BandStatistic
from geossda.harmonization.style import load_style

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = (40, 50)


@dataclass(frozen=True)
class Skewness(BandStatistic):
    """Skewness of each band between its 2nd and 98th percentile (Bowley), -1 to 1, (bands,)."""

    name = "skewness"
    label = "skewness"

    @classmethod
    def measure(cls, reading):
        """Return the skewness of an image's histograms."""
        low, middle, high = reading.histograms.quantiles((0.02, 0.5, 0.98)).T
        return cls((low + high - 2 * middle) / np.maximum(high - low, 1e-9))


class Skew(PixelMethod):
    """Skewness matched band by band: midtones are moved by a parabola."""

    name = "skew"
    needs = (Skewness,)

    def curves(self, source: SourceStatistics, style):
        """Return values moved between the ends of the working range, (bands, bins)."""
        low, high = source.working_range
        share = np.clip((source.histograms.values - low) / (high - low), 0, 1)
        change = source[Skewness].values - required(style)[Skewness].values
        bump = (high - low) * share * (1 - share)
        return source.histograms.values + change[:, None] * bump


@pytest.fixture(autouse=True)
def skew(monkeypatch):
    """The class in the registry, and its name among the choices of the setting."""
    monkeypatch.setitem(METHODS, "skew", Skew)
    entry = geossda.HarmonizeConfig.__dataclass_fields__["method"]
    choices = (*entry.metadata["choices"], "skew")
    monkeypatch.setattr(entry, "metadata", {**entry.metadata, "choices": choices})


@pytest.fixture
def rasters(tmp_path, make_raster):
    """A source of uint8, a reference of uint8 that is skewed, and one of uint16."""
    dark = (synthesize(3, SIZE, "float64", 2) / synthesize(3, SIZE, "float64", 2).max()) ** 3
    return [
        make_raster(tmp_path / "source.tif", size=SIZE, seed=1),
        make_raster(tmp_path / "dark.tif", image=(250 * dark).astype(np.uint8)),
        make_raster(tmp_path / "deep.tif", size=SIZE, dtype="uint16", seed=3),
    ]


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def skewness(image):
    low, middle, high = np.quantile(image.reshape(len(image), -1), (0.02, 0.5, 0.98), axis=1)
    return (low + high - 2 * middle) / (high - low)


def test_style_files_hold_the_statistic_and_pool_it(tmp_path, rasters):
    pooled = geossda.make_style(
        rasters[1:], tmp_path / "style.json", style_model="none", weights=(3, 1)
    )
    loaded = load_style(tmp_path / "style.json", known_statistics())
    each = np.stack([skewness(read(path).astype(float)) for path in rasters[1:]])
    assert loaded[Skewness].values == pytest.approx((0.75, 0.25) @ each, abs=0.03)
    assert loaded[Skewness].values == pytest.approx(pooled[Skewness].values, abs=1e-6)
    assert loaded.carried_to((0.0, 4095.0))[Skewness] == loaded[Skewness]


@pytest.mark.parametrize("source", [0, 2])
def test_harmonize_with_the_method(tmp_path, rasters, source):
    saved = tmp_path / "style.json"
    geossda.make_style(rasters[1], saved, style_model="none")
    for name, style in (("raster", rasters[1]), ("file", saved)):
        target = tmp_path / f"{name}.tif"
        geossda.harmonize(rasters[source], target, style=style, method="skew")
    given, result = (read(path) for path in (rasters[source], tmp_path / "raster.tif"))
    own, other = skewness(given.astype(float)), skewness(read(rasters[1]).astype(float))
    print(own, other, given.mean((1, 2)), result.astype(float).mean((1, 2)))
    assert np.abs(other - own).min() > 0.1
    brighter = result.astype(float).mean((1, 2)) > given.mean((1, 2))
    assert brighter.tolist() == (own > other).tolist()
    assert np.abs(read(tmp_path / "file.tif").astype(int) - result).max() <= 1


def test_a_style_file_without_it_is_one_line(tmp_path, rasters):
    older = Path(__file__).with_name("style_2.json")
    with pytest.raises(StyleError, match="has no skewness: make it again with geossda style"):
        geossda.harmonize(rasters[0], tmp_path / "out.tif", style=older, method="skew")
    assert not (tmp_path / "out.tif").exists()
    wrong = {**json.loads(older.read_text()), "skewness": [1, 2]}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    with pytest.raises(StyleError, match=r"skewness has the shape .2., .3. was expected"):
        load_style(tmp_path / "wrong.json", known_statistics())
