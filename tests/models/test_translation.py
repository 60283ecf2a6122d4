"""The compared translation methods: losses by hand, networks whose statistics are given."""

import numpy as np
import pytest
import torch

from geossda.models import translation_losses as losses
from geossda.models.card import StyleCard
from geossda.models.card_checks import checked_entries
from geossda.models.patch_discriminator import PatchDiscriminator
from geossda.models.presets import TRANSLATORS, build_discriminator, build_generator
from geossda.models.stargan_v2 import NOISE, STYLE
from geossda.models.style_graphs import unpacked_levels
from geossda.models.translation import InstanceNorm
from geossda.models.translation_graphs import ApplyTranslation, MeasureTranslation

PRESETS = sorted(TRANSLATORS)
TENSOR = torch.tensor


def random_network(preset, domains=2, bands=3):
    torch.manual_seed(0)
    network = build_generator(preset, bands, domains=domains, width=4)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    return network.eval().requires_grad_(False)


def target_code(network):
    code = torch.zeros(1, network.code_size)
    code[0, 1] = 1
    return code


def test_least_squares_by_hand():
    real, fake = [TENSOR([[1.0, 0.5]])], [TENSOR([[0.5, 0.0]])]
    # (0 + 1/4) / 2 and (1/4 + 0) / 2, averaged.
    assert losses.least_squares_discriminator(real, fake).item() == pytest.approx(0.125)
    twice = losses.least_squares_discriminator(real * 2, fake * 2)
    assert twice.item() == pytest.approx(0.25)
    assert losses.least_squares_generator(fake).item() == pytest.approx((0.25 + 1) / 2)


def test_distances_are_in_units_of_minus_one_to_one():
    one = torch.full((2, 3, 4, 4), 0.25)
    assert losses.distance(one, one + 0.5).item() == pytest.approx(1.0)


def test_wasserstein_and_its_penalty_by_hand():
    real, fake = TENSOR([3.0, 1.0]), TENSOR([1.0, 0.0])
    assert losses.wasserstein_discriminator(real, fake).item() == pytest.approx(0.5 - 2)
    weights = TENSOR([[[[6.0, 8.0]]]])  # a slope of 10 in 0..1, of 5 in -1..1

    def critic(images):
        return (images * weights).sum((1, 2, 3))

    image = torch.rand(2, 1, 1, 2)
    penalty = losses.gradient_penalty(critic, image, 1 - image, TENSOR([0.2, 0.7]))
    assert penalty.item() == pytest.approx(16)
    assert losses.r1_penalty(critic, image).item() == pytest.approx(12.5)

    def square(images):  # its slope in -1..1 is the value in 0..1
        return images.square().sum((1, 2, 3))

    image, other = TENSOR([[[[3.0]]]]), TENSOR([[[[1.0]]]])
    # A quarter of the way from the other image: 1.5.
    penalty = losses.gradient_penalty(square, image, other, TENSOR([0.25]))
    assert penalty.item() == pytest.approx(0.25)
    assert losses.r1_penalty(square, image).item() == pytest.approx(4.5)


def test_penalties_have_gradients_of_their_own():
    weight = TENSOR(2.0, requires_grad=True)
    losses.r1_penalty(
        lambda images: (weight * images).sum((1, 2, 3)), torch.ones(1, 1, 1, 1)
    ).backward()
    assert weight.grad.item() == pytest.approx(0.5)  # of (weight / 2)^2 / 2


def test_logistic_losses_by_hand():
    score = TENSOR([0.0, np.log(3.0)])
    softly = np.log(2), np.log(4)  # log(1 + e^x)
    less = np.log(2), np.log(4 / 3)  # log(1 + e^-x)
    assert losses.logistic_generator(score).item() == pytest.approx(np.mean(less))
    both = losses.logistic_discriminator(score, score).item()
    assert both == pytest.approx(np.mean(less) + np.mean(softly))


def test_a_label_is_not_normalised_away():
    """What follows from the one label of an image must not be a constant that is removed."""
    network = random_network("stargan")
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    code = target_code(network)
    for label in (code, code.flip(1)):
        own = MeasureTranslation(network)(image, torch.ones(1, 1, 96, 96), label)
        middle = ApplyTranslation(network)(image, own, label)[..., 40:56, 40:56]
        if label is code:
            first = middle
    assert (middle - first).abs().mean() > 0.01


def test_styles_of_starganv2_are_of_domains():
    network = random_network("starganv2", domains=3)
    patches = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    code = network.reference_code(patches, torch.ones(4, 1, 64, 64), torch.eye(3)[1:2])
    assert code.shape == (1, 3 + STYLE) and code[0, :3].tolist() == [0, 1, 0]
    each = network.encoder(patches, TENSOR([1, 1, 1, 1]))
    assert torch.allclose(code[0, 3:], each.mean(0), atol=1e-5)
    valid = torch.zeros(4, 1, 64, 64)
    valid[2] = 1  # the others have no valid pixel
    code = network.reference_code(patches, valid, torch.eye(3)[1:2])
    assert torch.allclose(code[0, 3:], each[2], atol=1e-5)
    noise = torch.randn(2, NOISE)
    mapped = network.mapping(noise, TENSOR([0, 2]))
    assert mapped.shape == (2, STYLE)
    assert not torch.allclose(mapped, network.mapping(noise, TENSOR([1, 1])))


def test_classes_by_hand():
    logits, domains = TENSOR([[0.0, 0.0], [np.log(3.0), 0.0]]), TENSOR([1, 0])
    expected = (np.log(2) + np.log(4 / 3)) / 2
    assert losses.classification(logits, domains).item() == pytest.approx(expected)


def test_a_new_standardgan_has_one_style_and_mixes_them_linearly():
    network = build_generator("standardgan", 3, domains=3, width=4)
    image = torch.rand(1, 3, 32, 32)
    codes = torch.eye(3)
    first, second = (network.translate(image, code[None]) for code in codes[:2])
    assert torch.equal(first, second)
    with torch.no_grad():
        network.styles.copy_(torch.randn_like(network.styles))
        mean = network.styles.mean(0, keepdim=True)
        standard = network.translate(image, torch.full((1, 3), 1 / 3))
        network.styles[1] = mean[0]
        assert torch.allclose(standard, network.translate(image, codes[1:2]), atol=1e-5)
        assert not torch.allclose(standard, network.translate(image, codes[:1]), atol=1e-3)


def test_instance_norm_by_hand():
    x = TENSOR([[[[1.0, 3.0]]], [[[5.0, 7.0]]]])  # two patches of one channel
    norm = InstanceNorm(1)  # of one image: mean 4, variance (9 + 1 + 1 + 9) / 4
    out = norm(x)
    assert out.flatten().tolist() == pytest.approx(
        [-3 / 5**0.5, -1 / 5**0.5, 1 / 5**0.5, 3 / 5**0.5]
    )
    again = InstanceNorm(1, given=tuple(norm.used))
    assert torch.allclose(again(x[:1]), out[:1])
    each = InstanceNorm(2)(x)
    assert each.flatten().tolist() == pytest.approx([-1, 1, -1, 1], abs=1e-4)
    # The second pixel of each patch does not count: values 1 and 5, mean 3, deviation 2.
    masked = InstanceNorm(1, TENSOR([[[[1.0, 0.0]]], [[[1.0, 0.0]]]]))
    assert masked(x)[:, 0, 0, 0].tolist() == pytest.approx([-1, 1], abs=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_given_statistics_make_windows_those_of_the_whole(preset):
    """The image measured as a whole; a window with its halo has the same pixels."""
    network = random_network(preset)
    image = torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(1))
    code = target_code(network)
    own = MeasureTranslation(network)(image, torch.ones(1, 1, 96, 160), code)
    apply = ApplyTranslation(network)
    whole = apply(image, own, code)
    assert whole.shape == image.shape and whole.isfinite().all()
    assert preset == "starganv2" or (whole.min() >= 0 and whole.max() <= 1)
    left = 64 + network.halo
    window = apply(image[..., :left], own, code)[..., :64]
    assert torch.allclose(window, whole[..., :64], atol=1e-4)
    assert not torch.allclose(apply(image[..., :64], own, code), whole[..., :64], atol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_patches_are_translated_each_by_its_own_statistics(preset):
    network = random_network(preset)
    patches = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    code = target_code(network)
    together = network.translate(patches, code)
    apart = torch.cat([network.translate(patch[None], code) for patch in patches])
    assert torch.allclose(together, apart, atol=1e-5)
    levels = InstanceNorm(3)
    network(patches, code, levels)
    assert [m.mean.shape[1] for m in levels.used] == network.level_channels
    packed = torch.zeros(1, 2 * sum(network.level_channels))
    assert len(unpacked_levels(packed, network.level_channels)) == len(levels.used)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_target_changes_what_comes_out(preset):
    network = random_network(preset)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    code = target_code(network)
    assert not torch.allclose(
        network.translate(image, code), network.translate(image, code.flip(1))
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("bands", [1, 4])
def test_any_number_of_bands(preset, bands):
    network = random_network(preset, bands=bands)
    image = torch.rand(1, bands, 32, 32)
    assert network.translate(image, target_code(network)).shape == image.shape
    assert isinstance(build_discriminator(preset, bands, 2, 4), torch.nn.Module)


def test_patch_discriminators_score_places():
    scores = PatchDiscriminator(3, 4)(torch.rand(2, 3, 64, 64))
    assert scores.shape == (2, 1, 6, 6)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"preset": "cyclegan"}, "preset cyclegan needs domains"),
        ({"preset": "cyclegan", "domains": ["a"]}, "which preset cyclegan cannot have"),
        ({"preset": "cyclegan", "domains": ["a", "b", "c"]}, "which preset cyclegan cannot have"),
        ({"preset": "cyclegan", "domains": ["a", "a"]}, "which preset cyclegan cannot have"),
        ({"preset": "cyclegan", "domains": ["a", "b"], "width": 1000}, "width is 1000"),
    ],
)
def test_cards_of_domains_are_checked(entries, message):
    with pytest.raises(ValueError, match=message):
        checked_entries({"name": "x", "version": "0", "kind": "style", **entries}, StyleCard)


def test_losses_have_gradients_of_finite_size():
    network = build_generator("cyclegan", 3, domains=2, width=4)
    image = torch.rand(2, 3, 32, 32)
    losses.distance(network.translate(image, target_code(network)), image).backward()
    used = [p for p in network.to_domain[1].parameters() if p.grad is not None]
    assert used and all(np.isfinite(p.grad.numpy()).all() for p in used)
