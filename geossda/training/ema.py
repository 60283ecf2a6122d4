"""The exponential moving average (EMA) of a network's weights, which a training run keeps."""

import torch


@torch.no_grad()
def update_ema(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move the averaged weights, batch-norm statistics included, towards the network's.

    Parameters
    ----------
    average, network : torch.nn.Module
        Of one architecture; `average` is changed in place.
    decay : float
        Part of the average that is kept, in 0..1.
    """
    current = network.state_dict()
    for name, averaged in average.state_dict().items():
        if averaged.is_floating_point():
            averaged.lerp_(current[name], 1 - decay)
        else:
            averaged.copy_(current[name])
