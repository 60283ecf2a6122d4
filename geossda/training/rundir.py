"""The folder of a training run.

``config.json`` holds the resolved settings, ``stats.jsonl`` a line of figures every few steps, and
``last.pt`` the last checkpoint (tensors and numbers only, so that loading it runs no code).
"""

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from geossda.errors import OutputError, TrainingError
from geossda.staging import atomic_write


def run_folder(output: str | os.PathLike[str], run: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a training run: the one given, or ``<stem>_run`` beside the output.

    Parameters
    ----------
    output : path
        The model to write.
    run : path, optional
        The folder that was asked for.
    """
    output = Path(output)
    return output.with_name(f"{output.stem}_run") if run is None else Path(run)


@contextlib.contextmanager
def removed_unless_saved(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Remove a run folder that the block creates and leaves early, without a checkpoint.

    Parameters
    ----------
    folder : path
    """
    folder = Path(folder)
    existed = folder.exists()
    try:
        yield
    except BaseException:
        if not existed and not (folder / "last.pt").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


class RunDirectory:
    """Settings, figures and checkpoint of one training run.

    Parameters
    ----------
    path : path
        The folder, which is created if it is missing.
    settings : dict
        What defines the run, of values that JSON can hold. A folder with a checkpoint of other
        settings is refused.

    Attributes
    ----------
    settings : dict
        The settings as JSON returns them.

    Raises
    ------
    TrainingError
        The folder holds a run with other settings, or its settings cannot be read.
    OutputError
        The folder cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], settings: dict[str, Any]) -> None:
        self.path = Path(path)
        self._config, self._checkpoint = self.path / "config.json", self.path / "last.pt"
        self._stats = self.path / "stats.jsonl"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot create the run folder {self.path}: {error.strerror or error}"
            ) from error
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        if self._config.exists() and self._checkpoint.exists():
            self._check_settings()
        with atomic_write(self._config) as part:
            part.write_text(json.dumps(self.settings, indent=2) + "\n")

    def resume(self, restore: Callable[[dict[str, Any]], None]) -> bool:
        """Restore the last checkpoint, if there is one, and drop figures of later steps.

        Parameters
        ----------
        restore : callable
            ``restore(checkpoint)`` takes what :meth:`save` was given.

        Returns
        -------
        bool
            Whether there was one.

        Raises
        ------
        TrainingError
            The checkpoint is damaged or of another version.
        """
        if not self._checkpoint.exists():
            self._stats.unlink(missing_ok=True)
            return False
        try:
            # torch.load does not check the checksums of the archive.
            with zipfile.ZipFile(self._checkpoint) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
            checkpoint: Any = torch.load(self._checkpoint, weights_only=True, map_location="cpu")
            if not isinstance(checkpoint, dict) or not isinstance(checkpoint["step"], int):
                raise TypeError("it holds no step")
            restore(checkpoint)
        except Exception as error:  # whatever the parsers and networks make of foreign bytes
            reason = (str(error) or type(error).__name__).splitlines()[0][:100]
            raise TrainingError(
                f"the checkpoint {self._checkpoint} is damaged or of another version ({reason}): "
                "delete it to start again, or choose another --run folder"
            ) from error
        self._drop_figures_after(checkpoint["step"])
        return True

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Replace the checkpoint."""
        with atomic_write(self._checkpoint) as part, part.open("wb") as file:
            torch.save(checkpoint, file)
            # On disk before it takes its predecessor's name: a power cut leaves one of the two.
            file.flush()
            os.fsync(file.fileno())

    def log(self, **figures: float) -> None:
        """Append a line to ``stats.jsonl``.

        Parameters
        ----------
        **figures : float
            Figures of a step, by name.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        try:
            with self._stats.open("a") as file:
                file.write(json.dumps(figures) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._stats}: {error.strerror or error}") from error

    def _check_settings(self) -> None:
        """Raise TrainingError unless the folder's run has these settings."""
        try:
            earlier = json.loads(self._config.read_text(encoding="utf-8"))
            if not isinstance(earlier, dict):
                raise ValueError("it holds no settings")
        except (OSError, ValueError, RecursionError) as error:
            raise TrainingError(
                f"{self._config} cannot be read ({error}), so the settings of the run are unknown: "
                "choose another --run folder, or delete this one to start again"
            ) from error
        for key, value in self.settings.items():
            if earlier.get(key) != value:
                raise TrainingError(
                    f"run {self.path} was begun with {key}={_short(earlier.get(key))}, now "
                    f"{key}={_short(value)}: choose another --run folder or the same settings"
                )

    def _drop_figures_after(self, step: int) -> None:
        """Remove figures of steps that will be taken again, and lines that are not whole."""
        if not self._stats.exists():
            return
        try:
            lines = self._stats.read_text(encoding="utf-8", errors="replace").splitlines()
            with atomic_write(self._stats) as part:
                part.write_text("".join(f"{line}\n" for line in lines if _step_of(line) <= step))
        except OSError as error:
            raise OutputError(f"cannot write {self._stats}: {error.strerror or error}") from error


def _step_of(line: str) -> float:
    """Return the step of a line of figures, infinity if it is not one."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return float("inf")
    return step if isinstance(step, int) else float("inf")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
