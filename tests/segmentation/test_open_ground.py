"""Ground without buildings: the bundled model finds none."""

import numpy as np
import pyogrio
import pytest
from open_ground import crop, write

from geossda import segment


@pytest.mark.parametrize("kind", ["forest", "water", "snow", "bare", "fields"])
def test_no_building_is_found_where_there_is_none(tmp_path, kind):
    """Crops that were not trained on, 8 and 16 bit; the model before drew some 100 in a forest."""
    for number, scale in enumerate((255, 2500)):
        image = crop(kind, np.random.default_rng([7, number]), 384, mixed=0)
        bands = np.clip(image * scale, 1, scale).astype(np.uint8 if scale == 255 else np.uint16)
        raster, found = tmp_path / f"{number}.tif", tmp_path / f"{number}.gpkg"
        write(raster, bands, number)
        segment(raster, found)
        assert pyogrio.read_info(found, layer="buildings")["features"] == 0
