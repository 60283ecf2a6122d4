"""Errors that geossda raises on purpose.

::

    GeossdaError
    ├── InputError (ValueError)         an input or setting cannot be used
    │   ├── SettingError                a setting that does not exist, or a value not allowed
    │   ├── RasterError                 missing, unreadable or truncated raster
    │   ├── GeoreferenceError           no CRS or no transform where one is needed
    │   ├── EmptyRasterError            no valid pixel
    │   ├── BandError                   band counts or band numbers that do not fit
    │   ├── StyleError                  a style that cannot be read or applied
    │   ├── VectorError                 footprints that cannot be read
    │   └── ModelError                  weights or a card that cannot be used
    ├── OutputError (OSError)           the result cannot be written
    │   └── OutputExistsError           it exists, and --overwrite was not given
    ├── TrainingError (RuntimeError)    training cannot go on
    └── Cancelled                       the user asked to stop

Messages are one line: what came, what was expected, what to do.
"""

from geossda.urls import redact


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the singular for 1: ``3 bands``, ``1 band``.

    Parameters
    ----------
    number : int
    noun : str
        In the singular, of a plural in "s".
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class GeossdaError(Exception):
    """Base of every error geossda raises on purpose; one line, without secrets of URLs.

    Parameters
    ----------
    *parts : object
        The message, as of any exception.
    """

    def __init__(self, *parts: object) -> None:
        super().__init__(*(one_line(part) if isinstance(part, str) else part for part in parts))


def one_line(text: str) -> str:
    """Return a message without secrets of URLs, with line ends and control characters escaped.

    Names of files may hold both, and terminals obey the latter.

    Parameters
    ----------
    text : str
    """
    return "".join(
        char if char.isprintable() else repr(char)[1:-1] for char in redact(text.rstrip())
    )


class InputError(GeossdaError, ValueError):
    """An input or setting cannot be used."""


class SettingError(InputError):
    """A setting does not exist, or its value is not allowed."""


class RasterError(InputError):
    """A raster is missing, is not a raster, or cannot be read to its end."""


class GeoreferenceError(InputError):
    """A raster lacks the CRS or the transform that the task needs."""


class EmptyRasterError(InputError):
    """A raster has no valid pixel."""


class BandError(InputError):
    """Band counts or band numbers do not fit."""


class StyleError(InputError):
    """A style cannot be read, or does not fit the raster."""


class VectorError(InputError):
    """Footprints cannot be read."""


class ModelError(InputError):
    """Weights or their card cannot be used."""


class OutputError(GeossdaError, OSError):
    """The result cannot be written."""


class OutputExistsError(OutputError):
    """The output exists, and overwriting was not asked for."""


class TrainingError(GeossdaError, RuntimeError):
    """Training cannot go on."""


class Cancelled(GeossdaError):
    """The user asked to stop."""
