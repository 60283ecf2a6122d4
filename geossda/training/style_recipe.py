"""Hyperparameters of a style run: each preset's, with the settings' in their place."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from geossda.config import TrainStyleConfig


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a style run.

    Attributes
    ----------
    views : int
        Patches of one image that share its style statistics, so that pooled ones are learned.
    optimizer : {"adam", "sgd"}
    lr : float
        Highest learning rate.
    contrast : {"infonce", "batch"}
        Form of the contrastive loss.
    temperature : float
        Temperature of the contrastive loss.
    reconstruction, adversarial, cycle, perceptual, contrastive : float
        Weights of the paper's losses.
    color, structure, photometric : float
        Weights of the others.
    """

    views: int
    optimizer: str
    lr: float
    contrast: str
    temperature: float
    reconstruction: float
    adversarial: float
    cycle: float
    perceptual: float
    contrastive: float
    color: float
    structure: float
    photometric: float

    @classmethod
    def of(cls, config: TrainStyleConfig) -> "Recipe":
        """Return the preset's hyperparameters, with those that the settings give."""
        given = {
            entry.name: getattr(config, entry.name)
            for entry in dataclasses.fields(cls)
            if getattr(config, entry.name, None) not in (None, "preset")
        }
        return dataclasses.replace(PRESETS[config.preset], **given)

    def total(self, terms: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of loss terms (Eq. 1 and 2)."""
        return torch.stack([getattr(self, name) * term for name, term in terms.items()]).sum()


PRESETS = {
    # Reconstruction is exact by construction, so L_rec is left out; L_per at the paper's weight
    # exceeds every other gradient (docs/decisions/0006).
    "geossda": Recipe(2, "adam", 1e-3, "infonce", 0.1, 0, 5, 50, 0.01, 1, 0, 5, 20),
    "daug": Recipe(2, "adam", 1e-3, "infonce", 0.1, 0, 5, 50, 0.01, 1, 20, 5, 0),
    "paper": Recipe(1, "sgd", 1e-2, "batch", 1.0, 50, 5, 50, 1, 1, 0, 0, 0),
}


def learning_rate(step: int, config: TrainStyleConfig, recipe: Recipe) -> float:
    """Return the learning rate of a step.

    SGD: polynomial decay of power 0.95 (the paper, Section IV-B, reads "polynomial decay of
    0.95"). Adam: constant, then linear to zero over the last half.

    Parameters
    ----------
    step : int
        Counted from 1.
    config : TrainStyleConfig
    recipe : Recipe
    """
    fraction = (step - 1) / config.steps
    if recipe.optimizer == "sgd":
        return recipe.lr * float((1 - fraction) ** 0.95)
    return recipe.lr * min(1.0, 2 * (1 - fraction))


def make_optimizer(
    parameters: Iterator[torch.nn.Parameter], recipe: Recipe
) -> torch.optim.Optimizer:
    """Return the optimizer of one network.

    Parameters
    ----------
    parameters : iterator of Parameter
    recipe : Recipe
    """
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=recipe.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
    return torch.optim.Adam(parameters, lr=recipe.lr, betas=(0.5, 0.99))
