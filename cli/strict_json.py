"""JSON that every parser reads: it has no word for numbers that are not finite."""

import json
import math
from collections.abc import Callable
from typing import Any


def strict_json(value: Any, not_finite: Callable[[float], str | None] = lambda _: None) -> str:
    """Return a value as JSON.

    Parameters
    ----------
    value : dict, list, tuple, str, number, bool or None
    not_finite : callable
        What stands for a number that is not finite; null by default.
    """

    def finite(each: Any) -> Any:
        if isinstance(each, dict):
            return {name: finite(inner) for name, inner in each.items()}
        if isinstance(each, list | tuple):
            return [finite(inner) for inner in each]
        if isinstance(each, float) and not math.isfinite(each):
            return not_finite(each)
        return each

    return json.dumps(finite(value), indent=2, allow_nan=False)
