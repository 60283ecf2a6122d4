"""Random photometric changes."""

import torch

from geossda.models.style_losses import photometric
from geossda.training.photometric_changes import apply_changes, random_changes


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def neutral(images, bands):
    one, zero = torch.ones((images, 1, 1, 1)), torch.zeros((images, 1, 1, 1))
    tint = torch.zeros((images, bands, 1, 1))
    return one, zero, torch.ones((images, bands, 1, 1)), one, zero, tint, tint


def test_a_change_that_changes_nothing():
    patches = torch.rand((4, 3, 8, 8), generator=seeded()).clamp(0.01, 1)
    assert torch.allclose(apply_changes(patches, neutral(2, 3)), patches, atol=1e-6)


def test_a_gain_by_hand():
    gamma, curve, gain, *rest = neutral(1, 2)
    patches = torch.full((1, 2, 4, 4), 0.25)
    factors = torch.tensor([2.0, 8.0]).reshape(1, 2, 1, 1)
    changed = apply_changes(patches, (2 * gamma, curve, gain * factors, *rest))
    assert torch.allclose(changed[0, :, 0, 0], torch.tensor([0.125, 0.5]))


def test_patches_of_an_image_share_its_change_and_images_differ():
    patches = torch.rand((1, 5, 8, 8), generator=seeded()).repeat(6, 1, 1, 1)
    changed = apply_changes(patches, random_changes(patches[::2], seeded()))
    assert torch.equal(changed[0::2], changed[1::2])
    assert not torch.allclose(changed[0], changed[2], atol=0.01)
    assert changed.min() >= 0 and changed.max() <= 1
    again = apply_changes(patches, random_changes(patches[::2], seeded()))
    assert torch.equal(changed, again)


def test_pixels_beyond_the_range_are_left_out_of_the_loss():
    truth = torch.tensor([0.0, 1.0, 0.5, 0.25]).reshape(1, 1, 2, 2)
    found = torch.tensor([0.9, 0.1, 0.6, 0.05]).reshape(1, 1, 2, 2)
    assert torch.isclose(photometric(found, truth), torch.tensor(0.15))
    assert photometric(found, torch.ones_like(truth)) == 0
