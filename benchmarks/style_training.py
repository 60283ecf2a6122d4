"""Steps a second and memory of training a style model, both presets side by side.

    python benchmarks/style_training.py [--patch 256] [--steps 5] [--vgg FILE]

Each preset in a process of its own, on noise: reading takes no part in it.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

PRESETS = ("geossda", "paper")


def measure(preset: str, patch: int, batch: int, steps: int, vgg: str) -> dict[str, float]:
    """Time one preset in this process."""
    import numpy as np
    import torch

    from geossda.config import TrainStyleConfig
    from geossda.devices import choose
    from geossda.training.style_recipe import Recipe
    from geossda.training.style_step import StyleTrainer

    weight = None if vgg else 0.0
    config = TrainStyleConfig(
        preset=preset,  # type: ignore[arg-type]
        patch=patch, batch=batch, perceptual=weight, vgg=vgg or "imagenet",
    )  # fmt: skip
    recipe, device = Recipe.of(config), choose("auto")
    trainer = StyleTrainer(config, recipe, device)
    shape = (2 * batch // recipe.views, 4, 3, patch, patch)  # two views of two places each
    samples = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        trainer.step(samples)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    return {"seconds": statistics.median(seconds[1:]), "MB": memory}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--vgg", default="", help="without it, L_per is left out")
    parser.add_argument("--only", choices=PRESETS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        result = measure(given.only, given.patch, given.batch, given.steps, given.vgg)
        print(json.dumps(result))
        return
    found = {}
    for preset in PRESETS:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", preset]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[preset] = json.loads(told)
        row = found[preset]
        print(f"{preset:8} {1 / row['seconds']:6.2f} steps/s {row['MB']:8.0f} MB", flush=True)
    ratio = found["paper"]["seconds"] / found["geossda"]["seconds"]
    print(f"paper / geossda: {ratio:.1f} times the time")


if __name__ == "__main__":
    main()
