"""What the training runs of translators share: domains, optimizers, a step."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.config import TrainStyleConfig
from geossda.devices import mixed_precision
from geossda.errors import InputError, counted
from geossda.models.translation import Translator
from geossda.training.adversarial_trainer import AdversarialTrainer


class TranslationTrainer(AdversarialTrainer):
    """A run of a method that translates between declared domains.

    Parameters
    ----------
    config : TrainStyleConfig
    device : torch.device
    domains : int

    Raises
    ------
    InputError
        The method cannot have so many domains, or the batch is smaller.
    """

    most_domains: int | None = None
    lr: float
    betas: tuple[float, float] = (0.5, 0.999)
    generator: Translator

    def __init__(self, config: TrainStyleConfig, device: torch.device, domains: int) -> None:
        self.check_domains(domains, config)
        self.domains = domains
        super().__init__(config, device, domains)

    @classmethod
    def check_domains(cls, domains: int, config: TrainStyleConfig) -> None:
        """Raise InputError if the method cannot have so many domains, or not with this batch.

        Parameters
        ----------
        domains : int
        config : TrainStyleConfig

        Raises
        ------
        InputError
            The message says what the method needs.
        """
        if domains < 2 or domains > (cls.most_domains or domains):
            wanted = "two" if cls.most_domains == 2 else "two or more"
            raise InputError(
                f"preset {config.preset} translates between {wanted} domains, the rasters are of "
                f"{domains}: give {wanted} folders, each with the rasters of one domain"
            )
        if config.batch < domains:
            raise InputError(
                f"batch {config.batch} has no patch of each of {counted(domains, 'domain')}: give "
                f"--batch {domains + domains % 2}"
            )

    @property
    def samples(self) -> int:
        """Patches of a step."""
        return self.config.batch

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step: constant, then linear to zero over the last half."""
        initial = self.lr if self.config.lr is None else self.config.lr
        return initial * min(1.0, 2 * (1 - (self.steps - 1) / self.config.steps))

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return Adam for both networks."""
        return [
            torch.optim.Adam(network.parameters(), self.lr, self.betas)
            for network in (self.generator, self.discriminator)
        ]

    def update(self, samples: NDArray[np.uint8], domains: Sequence[int]) -> dict[str, float]:
        """Take one step of both networks on the first view of each sample.

        Parameters
        ----------
        samples : (patches, 2, bands, side, side) uint8 array
        domains : sequence of int
            The domain of each patch.
        """
        patches = torch.from_numpy(np.ascontiguousarray(samples[:, 0])).to(self.device)
        real = (patches.float() / 255).contiguous(memory_format=torch.channels_last)
        with mixed_precision(self.device):
            terms = self.losses_of(real, torch.tensor(domains, device=self.device))
        return {name: float(term.detach()) for name, term in terms.items()}

    @abstractmethod
    def losses_of(self, real: torch.Tensor, domains: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take one step of both networks; return its loss terms, unweighted.

        Parameters
        ----------
        real : (patches, bands, side, side) float tensor, 0..1
        domains : (patches,) int tensor
        """

    def other_domains(self, domains: torch.Tensor) -> torch.Tensor:
        """Return a random domain for each patch that is not its own.

        Parameters
        ----------
        domains : (patches,) int tensor
        """
        steps = torch.randint(1, self.domains, domains.shape, generator=self.random())
        return (domains + steps.to(domains.device)) % self.domains

    def descend(self, which: int, loss: torch.Tensor) -> None:
        """Take a step of one optimizer.

        Parameters
        ----------
        which : int
            0 for the generator, 1 for the discriminator.
        loss : scalar tensor
        """
        self.optimizers[which].zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[which].step()
