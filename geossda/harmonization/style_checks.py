"""Checks of entries of a style file: types, lengths and finiteness."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
          "float16", "float32", "float64")  # fmt: skip
# The largest float32: beyond it, squares and products of values are no numbers.
MAX_VALUE = 3.4e38
MAX_NAME_CHARS = 10_000
MAX_BANDS = 4096


def require(holds: bool | np.bool_, message: str) -> None:
    """Check a condition of a style file.

    Parameters
    ----------
    holds : bool
        The condition.
    message : str
        What is wrong without it; names the entry.

    Raises
    ------
    ValueError
        It does not hold.
    """
    if not holds:
        raise ValueError(message)


def identity(entries: Mapping[str, Any]) -> tuple[str, str, tuple[float, float], int]:
    """Return name, data type, working range and number of bands of a style.

    Parameters
    ----------
    entries : dict
        Of a style file.

    Raises
    ------
    ValueError, KeyError
        An entry is missing or wrong. The message names it.
    """
    bands = len(numbers(entries, "mean", (None,)))
    enough = 1 <= bands <= MAX_BANDS
    require(enough, f"mean has {bands} values, 1 to {MAX_BANDS} were expected")
    low, high = numbers(entries, "working_range", (2,)).tolist()
    require(low < high, f"working_range is {low:g} to {high:g}")
    name, dtype = _text(entries, "name"), _text(entries, "dtype")
    require(dtype in DTYPES, f"dtype is {dtype[:40]!r}")
    if np.dtype(dtype).kind in "iu":
        lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
        # Means and ends of histograms may lie within a bin beyond the type's ends.
        room = 0.01 * (float(highest) - float(lowest))
        for entry, values in (("working_range", (low, high)), ("mean", entries["mean"])):
            fits = min(values) >= lowest - room and max(values) <= highest + room
            require(fits, f"{entry} lies beyond what {dtype} can hold")
    return name, dtype, (low, high), bands


def numbers(
    entries: Mapping[str, Any], name: str, shape: tuple[int | None, ...], low: float = -MAX_VALUE
) -> NDArray[np.float64]:
    """Return an entry as an array.

    Parameters
    ----------
    entries : dict
        Of a style file.
    name : str
    shape : tuple of int or None
        None for an axis of any length.
    low : float
        The lowest number allowed.

    Raises
    ------
    ValueError, KeyError
        The entry is missing, of another shape, or holds numbers out of range.
    """
    given = entries[name]
    try:
        values = np.array(given)
    except ValueError:  # lists of unequal lengths
        values = np.array(None)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name} does not hold numbers in equal rows")
    wanted = tuple(values.shape[axis] if size is None else size
                   for axis, size in enumerate(shape[: values.ndim]))  # fmt: skip
    if values.ndim != len(shape) or values.shape != wanted:
        came, expected = (
            f"({', '.join(str(size or 'n') for size in sizes)})" for sizes in (values.shape, shape)
        )
        raise ValueError(f"{name} has the shape {came}, {expected} was expected")
    values = values.astype(np.float64)
    # Compared so that NaN is outside.
    if not ((values >= low) & (values <= MAX_VALUE)).all():
        raise ValueError(f"{name} holds values that are not finite or out of range")
    return values


def _text(entries: Mapping[str, Any], name: str) -> str:
    """Return an entry that is a text of reasonable length."""
    value = entries[name]
    fits = isinstance(value, str) and len(value) <= MAX_NAME_CHARS and "\0" not in value
    require(fits, f"{name} is not a text of at most {MAX_NAME_CHARS} characters")
    return str(value)
