"""The folder a training run lives in.

``config.json`` (resolved settings), ``stats.jsonl`` (one line every few steps) and ``last.pt``
(the checkpoint; tensors and numbers only, so that loading it runs no code).
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

from geossda.errors import TrainingError
from geossda.staging import atomic_write


class RunDirectory:
    """Settings, figures and checkpoint of one training run.

    Parameters
    ----------
    path : path
        Created if missing.
    settings : dict
        What defines the run. A folder made with other settings is refused.

    Attributes
    ----------
    settings : dict
        As they are in ``config.json``.

    Raises
    ------
    TrainingError
        The folder holds a run with other settings.
    """

    def __init__(self, path: str | os.PathLike[str], settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(settings))
        config = self.path / "config.json"
        if config.exists() and (self.path / "last.pt").exists():
            earlier = json.loads(config.read_text())
            changed = [key for key in settings if earlier.get(key) != settings[key]]
            if changed:
                key = changed[0]
                raise TrainingError(
                    f"run {self.path} was begun with {key}={earlier.get(key)!r}, now "
                    f"{key}={settings[key]!r}: choose another --run folder or the same settings"
                )
        self.settings: dict[str, Any] = settings
        with atomic_write(config) as part:
            part.write_text(json.dumps(settings, indent=2) + "\n")

    def load(self) -> dict[str, Any] | None:
        """Give the last checkpoint, or None at the start."""
        checkpoint, stats = self.path / "last.pt", self.path / "stats.jsonl"
        if not checkpoint.exists():
            stats.unlink(missing_ok=True)
            return None
        loaded: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location="cpu")
        # A run killed after a line was logged but before its checkpoint would log it twice.
        if stats.exists():
            lines = [line for line in stats.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["step"] <= loaded["step"]]
            stats.write_text("".join(line + "\n" for line in kept))
        return loaded

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        with atomic_write(self.path / "last.pt") as part:
            torch.save(checkpoint, part)

    def log(self, **figures: float) -> None:
        """Append a line to stats.jsonl."""
        with (self.path / "stats.jsonl").open("a") as file:
            file.write(json.dumps(figures) + "\n")
