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


def test_no_building_is_found_in_fill_that_is_not_declared(tmp_path, listener):
    """Black beside the raster's data, whose edge is as straight as a wall."""
    image = np.clip(crop("fields", np.random.default_rng([7, 0]), 384, mixed=0) * 255, 1, 255)
    image[:, :, :131] = 0
    raster, found = tmp_path / "a.tif", tmp_path / "a.gpkg"
    write(raster, image.astype(np.uint8), 0)
    segment(raster, found, progress=listener)
    assert pyogrio.read_info(found, layer="buildings")["features"] == 0
    assert any("are 0 in every band" in text for text in listener.warnings)
