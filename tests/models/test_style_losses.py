"""The losses of SS(DA)², against values worked out by hand."""

import math

import pytest
import torch
from conftest import REPO
from safetensors.torch import save_file

from geossda.errors import ModelError
from geossda.models import style_losses as losses
from geossda.models.perceptual import Perceptual, triplets

VGG = REPO.parent / "shared" / "weights" / "vgg16_relu3_3_caffe.safetensors"


def unit(*angles):
    """Vectors in the plane at these angles in degrees."""
    turned = torch.tensor(angles, dtype=torch.float64).deg2rad()
    return torch.stack([turned.cos(), turned.sin()], 1)


def test_reconstruction_is_smooth_l1():
    """Eq. 3 and 8: half the square below 1, the difference less a half above."""
    found = torch.tensor([[[[0.5, 3.0]]]])
    image = torch.tensor([[[[0.1, 0.0]]]])
    assert losses.reconstruction(found, image).item() == pytest.approx((0.08 + 2.5) / 2)


def test_adversarial_losses_are_least_squares_with_real_0_and_generated_1():
    """Eq. 5: mean(.1², .3²) + mean(.2²) + mean((.9-1)², (.5-1)²); Eq. 6: the score's squares."""
    real = (torch.tensor([0.1, 0.3]), torch.tensor([0.2]))
    fake = (torch.tensor([0.9, 0.5]),)
    assert losses.adversarial_discriminator(real, fake).item() == pytest.approx(0.05 + 0.04 + 0.13)
    assert losses.adversarial_generator(fake).item() == pytest.approx((0.81 + 0.25) / 2)


def test_perceptual_is_the_mean_square_of_features():
    """Eq. 9, one term."""
    found, wanted = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert losses.perceptual(found, wanted).item() == pytest.approx(2.5)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_contrastive_batch_is_one_softmax_over_all_pairs(temperature):
    """Eq. 10: cosines 1 and 0.5 of the positive pairs, 0 and -1 of the negative ones."""
    anchor, positive, negative = unit(0, 0), unit(0, 60), unit(90, 180)
    alike, unlike = [1.0, 0.5], [0.0, -1.0]
    total = sum(math.exp(s / temperature) for s in alike + unlike)
    expected = -sum(math.log(math.exp(s / temperature) / total) for s in alike) / 2
    found = losses.contrastive_batch(anchor, positive, negative, temperature)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_contrastive_infonce_is_each_anchor_against_all_candidates(temperature):
    anchor, positive, negative = unit(0, 90), unit(10, 60), unit(90, 200)
    expected = 0.0
    for index, (angle, own) in enumerate([(0, 10), (90, 60)]):
        del index
        others = [math.cos(math.radians(angle - c)) / temperature for c in (10, 60, 90, 200)]
        mine = math.cos(math.radians(angle - own)) / temperature
        expected -= math.log(math.exp(mine) / sum(map(math.exp, others))) / 2
    found = losses.contrastive_infonce(anchor, positive, negative, temperature)
    assert found.item() == pytest.approx(expected)


def test_another_view_of_the_same_image_is_no_negative():
    """Four patches of two images: a patch's neighbour is left out of its denominator."""
    anchor, positive = unit(0, 10, 100, 120), unit(10, 0, 120, 100)
    negative = unit(200, 210, 220, 230)
    candidates = (10, 0, 120, 100, 200, 210, 220, 230)
    expected = 0.0
    for row, angle in enumerate((0, 10, 100, 120)):
        neighbour = row ^ 1
        logits = {c: math.cos(math.radians(angle - a)) for c, a in enumerate(candidates)}
        total = sum(math.exp(s) for c, s in logits.items() if c != neighbour)
        expected -= math.log(math.exp(logits[row]) / total) / 4
    found = losses.contrastive_infonce(anchor, positive, negative, 1.0, views=2)
    assert found.item() == pytest.approx(expected)


def test_sliced_wasserstein_is_the_mean_shift_of_sorted_projections():
    """Two bands, the second shifted by 3: along (1, 0) nothing, (0, 1) 3, (.6, .8) 2.4."""
    first = torch.rand((1, 2, 50), generator=torch.Generator().manual_seed(1))
    second = first[:, :, torch.randperm(50)] + torch.tensor([0.0, 3.0])[None, :, None]
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = losses.sliced_wasserstein(first, second, directions)
    assert found.item() == pytest.approx((0 + 3 + 2.4) / 3, abs=1e-5)


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (1, [(0, 0, 0)]),
        (2, [(0, 1, 1)]),
        (3, [(0, 1, 2)]),
        (5, [(0, 1, 2), (1, 2, 3), (2, 3, 4)]),
    ],
)
def test_bands_go_through_vgg_by_threes(bands, expected):
    assert triplets(bands) == expected


@pytest.mark.skipif(not VGG.exists(), reason="needs shared/weights")
def test_vgg_of_caffe_gives_what_the_network_gives_by_its_own_rules():
    """BGR, 0 to 255, less the means; our class takes RGB in 0..1 and scales the result."""
    from safetensors.torch import load_file

    image = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    state = load_file(VGG)
    x = (image * 255).flip(1) - torch.tensor([103.939, 116.779, 123.68])[None, :, None, None]
    for layer in (0, 2, None, 5, 7, None, 10, 12, 14):
        if layer is None:
            x = torch.nn.functional.max_pool2d(x, 2)
            continue
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        x = torch.relu(torch.nn.functional.conv2d(x, weight, bias, padding=1))
    found = Perceptual(str(VGG), pool=1)(image)
    assert found.shape == (2, 256, 8, 8)
    assert torch.allclose(found, x / (255 * 0.226), rtol=1e-3, atol=1e-3)
    # Four bands are two triplets.
    assert Perceptual(str(VGG))(torch.rand(1, 4, 64, 64)).shape == (2, 256, 4, 4)


def test_missing_or_foreign_weights_of_vgg_are_said(tmp_path):
    with pytest.raises(ModelError, match="--perceptual 0"):
        Perceptual(str(tmp_path / "none.safetensors"))
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="lacks tensors"):
        Perceptual(str(tmp_path / "other.safetensors"))
