"""Pictures are written in the order of their bands, and resized without a shift."""

import io

import numpy as np
import pytest
from PIL import Image

from geossda.image_files import encode_image, resize_image, write_image


@pytest.fixture
def picture():
    """Red to the left, green to the right, blue rising downwards."""
    rows, cols = np.mgrid[0:40, 0:60]
    return np.stack([255 - 4 * cols, 4 * cols, 6 * rows], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(("suffix", "off"), [(".png", 0), (".jpg", 6), (".webp", 6)])
def test_colors_come_back(picture, suffix, off):
    with Image.open(io.BytesIO(encode_image(picture, suffix))) as image:
        back = np.asarray(image.convert("RGB"), float)
    assert np.abs(back - picture).mean() <= off


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_opacity_comes_back(picture, suffix):
    opacity = np.zeros((40, 60, 1), np.uint8)
    opacity[10:30, 10:50] = 255
    content = encode_image(np.concatenate([picture, opacity], axis=2), suffix)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image)[..., 3], opacity[..., 0])


def test_a_file_has_the_format_of_its_suffix(picture, tmp_path):
    for name, kind in (("a.png", "PNG"), ("a.JPG", "JPEG"), ("b.jpeg", "JPEG")):
        write_image(tmp_path / name, picture)
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.size) == (kind, (60, 40))


@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_resized_picture_lies_where_it_lay(picture, factor):
    height, width = int(40 * factor), int(60 * factor)
    small = resize_image(picture, height, width)
    assert small.shape == (height, width, 3)
    center = (np.arange(width) + 0.5) / factor - 0.5
    inner = slice(int(4 * factor), int(-4 * factor))
    assert np.abs(small[height // 2, inner, 1] - 4 * center[inner]).max() <= 1


def test_a_picture_too_large_for_its_format_is_refused():
    with pytest.raises(OSError, match="does not take 65536 x 1 px"):
        encode_image(np.zeros((1, 65536, 3), np.uint8), ".jpg")
