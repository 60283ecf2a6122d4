"""The running average of a network's weights, which is what a training run keeps."""

import torch


@torch.no_grad()
def update_ema(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move the averaged weights, batch-norm statistics included, towards the network's."""
    own = network.state_dict()
    for name, kept in average.state_dict().items():
        if kept.is_floating_point():
            kept.lerp_(own[name], 1 - decay)
        else:
            kept.copy_(own[name])
