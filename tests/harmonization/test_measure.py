"""Statistics of sources and styles."""

import numpy as np
import pytest

from geossda.harmonization.reading import SAMPLE_COLORS, sample_colors
from geossda.raster.mosaic import open_mosaic


@pytest.mark.parametrize("size", [(300, 141), (700, 900)])
def test_each_valid_pixel_has_the_same_chance_in_a_sample_of_colors(tmp_path, make_raster, size):
    """A strip at the border, whose tiles hold fewer pixels, is no more than its area."""
    image = np.full((3, *size), 50, np.uint8)
    image[:, :, -13:] = 200
    valid = np.ones(size, bool)
    valid[:60, : size[1] // 2] = False
    path = make_raster(tmp_path / "a.tif", image=image, valid=valid, mask=True)
    colors = sample_colors(open_mosaic(path))
    assert len(colors) == 3 and colors.shape[1] <= SAMPLE_COLORS
    share = (image[0] == 200)[valid].mean()
    assert (colors[0] == 200).mean() == pytest.approx(share, rel=0.1)
