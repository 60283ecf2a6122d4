"""The public API is documented in numpydoc's form."""

import pytest
from numpydoc.validate import validate

import geossda

# Left out: examples and see-also sections, which the README and docs/ hold; summary line
# placement; the error base, which has nothing to describe.
NOT_ASKED = {"EX01", "SA01", "ES01", "GL01", "SS06", "GL08"}
PUBLIC = [name for name in geossda.__all__ if not name.startswith("__")]


@pytest.mark.parametrize("name", PUBLIC)
def test_numpydoc(name):
    thing = getattr(geossda, name)
    found = validate(f"{thing.__module__}.{thing.__qualname__}")
    assert [error for error in found["errors"] if error[0] not in NOT_ASKED] == []
