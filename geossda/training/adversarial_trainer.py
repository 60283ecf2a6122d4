"""What every adversarial run has: two networks, their optimizers, the average, the progress."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.config import TrainStyleConfig
from geossda.models.card import StyleCard
from geossda.models.generator import Generator
from geossda.models.model_file import name_and_hash
from geossda.models.presets import build_discriminator
from geossda.models.style_model import initial_generator
from geossda.models.translation import Translator
from geossda.training.ema import update_ema


class AdversarialTrainer(ABC):
    """Networks, optimizers and progress of a run, with one step of both networks.

    Parameters
    ----------
    config : TrainStyleConfig
    device : torch.device
    domains : int
        Number of declared domains.

    Attributes
    ----------
    generator, discriminator : torch.nn.Module
    average : torch.nn.Module
        The EMA of the generator, which is the result.
    optimizers : list of torch.optim.Optimizer
        The generator's first.
    initial : str
        Name and hash of the model that the run was initialised from, or "".
    steps : int
        Steps done.
    losses : dict of str to float
        Loss terms of the last step.
    best_score : float
        Lowest validation score so far.
    """

    def __init__(self, config: TrainStyleConfig, device: torch.device, domains: int = 0) -> None:
        self.config, self.device = config, device
        self.steps, self.best_score = 0, math.inf
        self.losses: dict[str, float] = {}
        # Sum and number of each loss term since the last line of the log.
        self._loss_sums: dict[str, tuple[float, int]] = {}
        torch.manual_seed(config.seed)
        self.generator: Generator | Translator = initial_generator(config, domains)
        # Read before training, since the file may be gone when it ends.
        self.initial = name_and_hash(config.init_from, StyleCard) if config.init_from else ""
        self.generator.to(device)
        self.discriminator = build_discriminator(
            config.preset, config.bands, domains, config.width
        ).to(device)
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)
        self.average: Generator | Translator = copy.deepcopy(self.generator)
        self.average.eval().requires_grad_(False)
        self.optimizers = self.make_optimizers()

    @abstractmethod
    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers, the generator's first."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """Samples of a step."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """Learning rate of the last step."""

    @abstractmethod
    def update(self, samples: NDArray[np.uint8], domains: Sequence[int]) -> dict[str, float]:
        """Take one step of the networks; return its loss terms.

        Parameters
        ----------
        samples, domains
            As :meth:`step` takes them.
        """

    def step(self, samples: NDArray[np.uint8], domains: Sequence[int] = ()) -> None:
        """Take one step of the generator, and of the discriminator where it is its turn.

        Parameters
        ----------
        samples : (samples, views, bands, side, side) uint8 array
        domains : sequence of int
            The domain of each sample, where they are declared.
        """
        self.steps += 1
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * group.get("lr_factor", 1.0)
        self.losses = self.update(samples, domains)
        decay = min(self.config.ema, self.steps / (self.steps + 10))
        update_ema(self.average, self.generator, decay)
        for name, value in self.losses.items():
            total, count = self._loss_sums.get(name, (0.0, 0))
            self._loss_sums[name] = (total + value, count + 1)

    def mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss term since this was last called."""
        means = {name: total / count for name, (total, count) in self._loss_sums.items()}
        self._loss_sums = {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """Return the checkpoint."""
        return {
            "step": self.steps,
            "best_score": self.best_score,
            "loss_sums": self._loss_sums,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Restore a checkpoint."""
        self.generator.load_state_dict(checkpoint["generator"])
        self.discriminator.load_state_dict(checkpoint["discriminator"])
        self.average.load_state_dict(checkpoint["average"])
        for optimizer, state in zip(self.optimizers, checkpoint["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.steps, self.best_score = checkpoint["step"], checkpoint["best_score"]
        self._loss_sums = checkpoint["loss_sums"]

    def random(self) -> torch.Generator:
        """Return random numbers that depend on the seed and the step, so that runs can resume."""
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.steps)
