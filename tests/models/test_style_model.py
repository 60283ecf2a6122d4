"""Generators, discriminators, looks: what they promise before any training and after."""

import numpy as np
import pytest
import torch

from geossda.errors import BandError, ModelError
from geossda.models.band_groups import groups
from geossda.models.card import StyleCard
from geossda.models.model_file import load, save
from geossda.models.presets import build_discriminator, build_generator
from geossda.models.style_statistics import Gaussian, measure_gaussian, measure_moments, transport
from geossda.runtime.choice import Runtime
from geossda.runtime.style_network import load_style_model, style_model_of

EXACT = Runtime("torch", "cpu", "float32")


def random_generator(preset="geossda", bands=3, adain="all", seed=0):
    """A generator whose every weight matters: a new one's head is zero."""
    torch.manual_seed(seed)
    network = build_generator(preset, bands, adain)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    return network.eval().requires_grad_(False)


def images(count=4, bands=3, side=64, seed=0):
    return torch.rand((count, bands, side, side), generator=torch.Generator().manual_seed(seed))


def swapped(look):
    return look.map_tensors(lambda tensor: tensor.flip(0))


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("preset", ["geossda", "paper"])
def test_any_number_of_bands(preset, bands):
    network = random_generator(preset, bands=min(bands, 3))
    image = images(bands=bands)
    content, look = network.encode(image)
    made = network.decode(content, look, swapped(look))
    assert made.shape == image.shape and made.isfinite().all()


@pytest.mark.parametrize("adain", ["all", "deepest"])
@pytest.mark.parametrize("bands", [3, 5])
def test_putting_back_what_was_taken_off_gives_the_image_back(bands, adain):
    network = random_generator(adain=adain)
    image = images(bands=bands)
    content, look = network.encode(image, images=2)
    assert torch.allclose(network.decode(content, look, look), image, atol=1e-5)
    # Also when the look is an equal one, not the same: the residuals cancel.
    again = network.decode(content, look, look.map_tensors(torch.clone))
    assert torch.allclose(again, image, atol=1e-4)


def test_before_training_translating_is_matching_gaussians():
    network = build_generator("geossda", 3)
    content, look = network.encode(
        images() ** torch.tensor([1.0, 2.0, 0.5, 3.0])[:, None, None, None]
    )
    made = network.decode(content, look, swapped(look))
    found = measure_gaussian(made, 4)
    assert torch.allclose(found.mean, look.pixels.mean.flip(0), atol=1e-5)
    wanted = look.pixels.moments.std.flip(0)
    assert torch.allclose(found.moments.std, wanted, rtol=0.02)


def test_deepest_only_keeps_the_image_s_own_colours():
    network = build_generator("geossda", 3, "deepest")  # the residual is still nothing
    image = images()
    content, look = network.encode(image)
    assert torch.allclose(network.decode(content, look, swapped(look)), image, atol=1e-5)


def test_the_look_of_two_patches_is_that_of_one_image_of_both():
    halves = images(2)
    whole = torch.cat([halves[:1], halves[1:]], 3)
    for found, wanted in zip(measure_moments(halves, 1), measure_moments(whole, 1), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)
    for found, wanted in zip(measure_gaussian(halves, 1), measure_gaussian(whole, 1), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_what_is_not_valid_is_in_no_statistic():
    network = random_generator()
    image, valid = images(2), torch.ones(2, 1, 64, 64)
    valid[:, :, :, 40:] = 0
    other = torch.where(valid > 0, image, torch.full_like(image, 77.0))
    content, look = network.encode(image, valid=valid)
    content_2, look_2 = network.encode(other, valid=valid)
    for one, two in zip(look.pixels, look_2.pixels, strict=True):
        assert torch.allclose(one, two, atol=1e-6)
    for one, two in zip(look.groups[0], look_2.groups[0], strict=True):
        assert torch.allclose(one.mean, two.mean) and torch.allclose(one.std, two.std)
    for one, two in zip(content.groups[0], content_2.groups[0], strict=True):
        assert torch.equal(one, two)
    alone = measure_gaussian(image[:, :, :, :40], 2)
    assert torch.allclose(look.pixels.mean, alone.mean, atol=1e-6)


def test_transport_takes_one_gaussian_to_the_other():
    random = torch.Generator().manual_seed(3)
    root_a, root_b = torch.randn((2, 1, 4, 4), generator=random)
    own = Gaussian(torch.zeros(1, 4), root_a @ root_a.mT + torch.eye(4))
    other = Gaussian(torch.zeros(1, 4), root_b @ root_b.mT + torch.eye(4))
    matrix = transport(own, other, ridge=0.0)
    assert torch.allclose(matrix, matrix.mT, atol=1e-5)
    assert torch.allclose(matrix @ own.covariance @ matrix.mT, other.covariance, atol=1e-4)
    # With correlations passed over, bands are scaled one by one.
    scales = other.moments.std / own.moments.std
    assert torch.allclose(transport(own, other, ridge=1.0), torch.diag_embed(scales), atol=1e-5)


@pytest.mark.parametrize("preset", ["geossda", "paper"])
def test_a_pixel_depends_on_no_more_than_the_halo(preset):
    """Changes outside the halo change nothing; just what makes tiles join without a seam."""
    network = random_generator(preset)
    side = 2 * network.halo + 2 * network.stride
    image = images(1, side=side)
    _, look = network.encode(image)
    other = look.map_tensors(lambda tensor: tensor * 1.3)
    middle = slice(network.halo, side - network.halo)

    def made(x):
        content, mine = network.encode(x, style=look)
        return network.decode(content, mine, other)[:, :, middle, middle]

    changed = torch.rand((1, 3, side + 2 * network.stride, side + 2 * network.stride))
    inner = slice(network.stride, side + network.stride)
    changed[:, :, inner, inner] = image
    shifted = slice(network.halo + network.stride, side + network.stride - network.halo)
    content, mine = network.encode(changed, style=look)
    wide = network.decode(content, mine, other)[:, :, shifted, shifted]
    assert torch.allclose(made(image), wide, atol=1e-4)


@pytest.mark.parametrize("preset", ["geossda", "paper"])
def test_discriminators_have_two_heads(preset):
    torch.manual_seed(0)
    judge = build_discriminator(preset, 3).eval()
    score, embedding = judge(images(5))
    assert score.shape == (5,) and embedding.shape[0] == 5
    assert torch.allclose(embedding.norm(dim=1), torch.ones(5), atol=1e-5)


def test_groups_cover_every_band_once():
    for count in range(3, 12):
        made = groups(count, 3)
        assert [band for group in made for band in group.fresh] == list(range(count))
        assert all(len(group.bands) == 3 for group in made)
    with pytest.raises(ModelError, match="the image has 2"):
        groups(2, 3)


def test_windows_of_an_image_with_its_look_are_the_whole(tmp_path):
    """The law of cut-invariance, on the model alone."""
    model = style_model_of(random_generator(), StyleCard("x", "0"), EXACT)
    whole = images(1, bands=4, side=192).numpy()
    own = model.measure(whole)
    other = model.measure(whole[:, ::-1] ** 2)
    made = model.translate(whole, own, other)
    halo = model.halo
    part = model.translate(whole[:, :, 64 - halo : 128 + halo, 64 - halo : 128 + halo], own, other)
    inner = part[:, :, halo:-halo, halo:-halo]
    # bfloat16 rounds in another order; less than one step of 8 bit.
    assert np.abs(inner - made[:, :, 64:128, 64:128]).max() < 1 / 255


def test_style_models_are_saved_and_loaded_without_running_code(tmp_path):
    network = random_generator()
    path = tmp_path / "style.safetensors"
    card = save(path, network.state_dict(), StyleCard("mine", "0", licence="CC0"))
    model = load_style_model(path, "cpu")
    assert model.card == card and model.key == card.sha256[:16]
    tensors, _ = load(path, StyleCard)
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    with pytest.raises(BandError, match="the image has 2"):
        model.require_bands(2)


def test_a_segmenter_is_no_style_model_and_the_reverse(tmp_path):
    from geossda.models.card import SegmenterCard
    from geossda.models.model_file import resolve
    from geossda.models.segmenter import load_segmenter

    with pytest.raises(ModelError, match="a segmenter model, a style model was expected"):
        load_style_model(resolve("default", SegmenterCard))
    path = tmp_path / "style.safetensors"
    save(path, build_generator("geossda", 3).state_dict(), StyleCard("mine", "0"))
    with pytest.raises(ModelError, match="a style model, a segmenter model was expected"):
        load_segmenter(path)


def test_the_bundled_style_model():
    model = load_style_model("default", "cpu")
    assert model.card.bands == 3 and model.card.licence and model.card.attribution
    from geossda.models.model_file import resolve

    assert resolve("default", StyleCard).stat().st_size < 10e6
