"""Checks of a style read from a file: types, lengths, order and finiteness of its entries."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from geossda.config import Structure

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
          "float16", "float32", "float64")  # fmt: skip
# The largest float32: beyond it, squares and products of values are no numbers.
MAX_VALUE = 3.4e38
MAX_NAME_CHARS = 10_000
MAX_BANDS = 4096
MAX_SAMPLE = 65536


def checked_entries(entries: Mapping[str, Any], levels: int) -> dict[str, Any]:
    """Return a style's entries in the types of its fields.

    Parameters
    ----------
    entries : dict
        What was parsed from JSON, without the name of the format.
    levels : int
        Number of quantiles of a band.

    Raises
    ------
    ValueError, TypeError, KeyError
        An entry is missing, of the wrong type or length, out of order or not finite. The message
        names it.
    """
    mean = _numbers(entries, "mean", (None,))
    bands = len(mean)
    if not 1 <= bands <= MAX_BANDS:
        raise ValueError(f"mean has {bands} values, 1 to {MAX_BANDS} were expected")
    quantiles = _numbers(entries, "quantiles", (bands, levels))
    if (np.diff(quantiles, axis=1) < 0).any():
        raise ValueError("quantiles fall")
    low, high = _numbers(entries, "working_range", (2,)).tolist()
    if low >= high:
        raise ValueError(f"working_range is {low:g} to {high:g}")
    checked = {
        **entries,
        "name": _text(entries, "name"),
        "dtype": _text(entries, "dtype"),
        "working_range": (low, high),
        "quantiles": quantiles,
        "mean": mean,
        "std": _numbers(entries, "std", (bands,), low=0),
        "lab_mean": _optional(entries, "lab_mean", (3,)),
        "lab_std": _optional(entries, "lab_std", (3,), low=0),
        "covariance": _optional(entries, "covariance", (bands, bands)),
        "features": _features(entries.get("features", {})),
        "colors": _colors(entries.get("colors", []), bands),
        "sample": _optional(entries, "sample", (bands, None)),
    }
    if checked["dtype"] not in DTYPES:
        raise ValueError(f"dtype is {checked['dtype'][:40]!r}")
    if (checked["lab_mean"] is None) != (checked["lab_std"] is None):
        raise ValueError("lab_mean and lab_std do not come together")
    if (covariance := checked["covariance"]) is not None:
        variances = covariance.diagonal()
        if (variances < 0).any():
            raise ValueError("covariance has negative variances")
        if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-9 * variances.max()):
            raise ValueError("covariance is not symmetric")
    if checked["sample"] is not None and not 1 <= checked["sample"].shape[1] <= MAX_SAMPLE:
        raise ValueError(f"sample does not have 1 to {MAX_SAMPLE} pixels")
    pixels = entries["pixels"]
    if isinstance(pixels, bool) or not isinstance(pixels, int) or not 1 <= pixels < 2**63:
        raise ValueError("pixels is not a whole number above 0")
    return checked


def _text(entries: Mapping[str, Any], name: str) -> str:
    value = entries[name]
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS or "\0" in value:
        raise ValueError(f"{name} is not a text of at most {MAX_NAME_CHARS} characters")
    return value


def _optional(
    entries: Mapping[str, Any], name: str, shape: tuple[int | None, ...], low: float = -MAX_VALUE
) -> NDArray[np.float64] | None:
    return None if entries.get(name) is None else _numbers(entries, name, shape, low)


def _numbers(
    entries: Mapping[str, Any], name: str, shape: tuple[int | None, ...], low: float = -MAX_VALUE
) -> NDArray[np.float64]:
    """Return an entry as an array; raise ValueError unless it has the shape and is in range."""
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
        raise ValueError(f"{name} has {' x '.join(map(str, values.shape))} values")
    values = values.astype(np.float64)
    # Compared so that NaN is outside.
    if not ((values >= low) & (values <= MAX_VALUE)).all():
        raise ValueError(f"{name} holds values that are not finite or out of range")
    return values


def _features(entries: Any) -> dict[str, dict[str, Any]]:
    """Return features; raise ValueError unless they are lists of means and deviations."""
    if not isinstance(entries, dict):
        raise ValueError("features is not an object")
    for structures in entries.values():
        if not isinstance(structures, dict) or not set(structures) <= set(get_args(Structure)):
            raise ValueError("features are of unknown structures")
        for groups in structures.values():
            for group in _lists(groups):
                for level in _lists(group):
                    if len(_lists(level)) != 2:
                        raise ValueError("features have levels that are not two lists")
                    means = _numbers({"features": level[0]}, "features", (None,))
                    _numbers({"features": level[1]}, "features", (len(means),), low=0)
    return entries


def _lists(entries: Any) -> Sequence[Any]:
    if not isinstance(entries, list) or not entries:
        raise ValueError("features are not lists in lists")
    return entries


def _colors(entries: Any, bands: int) -> tuple[str | None, ...]:
    if not isinstance(entries, list) or len(entries) not in (0, bands):
        raise ValueError("colors is not a list of one entry for each band")
    if not all(color is None or isinstance(color, str) for color in entries):
        raise ValueError("colors are not texts")
    return tuple(entries)
