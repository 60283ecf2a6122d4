"""The mechanical part of the style: what docstrings say, and words the code does without.

Faults that were there before the check are counted in words_allowed.json, by file and rule. The
counts may only fall: `python tests/package/test_words.py` writes them anew.
"""

import ast
import inspect
import io
import json
import re
import tokenize
from collections import Counter
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

# The code is read and not run.
pytestmark = pytest.mark.no_cover

REPO = Path(__file__).parents[2]
ALLOWED = Path(__file__).with_name("words_allowed.json")
FILES = sorted(
    path for folder in ("geossda", "cli", "qgis_plugin") for path in (REPO / folder).rglob("*.py")
)
# What the summary of a function begins with: an imperative that says what comes back or changes.
IMPERATIVES = set(
    """
    Add Append Apply Arrange Ask Average Balance Begin Bend Blend Blur Build Burn Cancel Catch
    Change Check Choose Combine Compare Compress Compute Concatenate Convert Copy Count Crop
    Cut Degrade Delete Describe Detect Divide Download Draw Drop Encode Estimate Expand Export
    Expose Extend Fill Find Fit Format Harmonize Hash Hold Ignore Insert Integrate Intersect
    Invert Join
    Keep Kill Label Lay Leave Load Locate Lower Make Map Match Measure Merge Mix Move Name
    Open Paint Parse Pass Place Plan Plant Pool Predict Prepare Print Raise Rasterize Read
    Register Regularize Release Remove Render Replace Report Reproduce Resolve Restore Return Round
    Run Sample Save Scale Scatter Score Select Send Separate Set Sharpen Shear Shift Show
    Solve Sort Split Stack Start Stop Store Straighten Stretch Style Sum Support Take Trace
    Train Transform Translate Try Turn Update Validate Wait Warn Warp Weight Widen Write Yield
    """.split()
)
# Names that say nothing of the value they stand for.
EMPTY_NAMES = {"told", "found", "made", "some", "here", "every", "look", "looks"}
# Words of no field, and the field's own words for them.
DIALECT = {
    r"\bcrews?\b": "pool",
    r"\bparted\b": "separated",
    r"\blessons?\b": "pseudo-labels",
    r"\bjudges?\b": "discriminator",
    r"\b(is|are|be|was) told\b": "is passed, is reported",
    r"\bpassed over\b": "ignored",
    r"\bnobody\b": "nothing, no caller",
    r"\bgives? way\b": "loses the overlap",
    r"\bmade[- ]up\b": "synthetic",
    r"\bthe house\b(?= (rules?|style|laws?))": "the project",
}
# Kinds of tokens that hold sentences; f-strings are tokens of their own from Python 3.12 on.
PROSE = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
OURS = re.compile(r"^[A-Z]\w*Error$")


def name_of(path):
    return path.relative_to(REPO).as_posix()


def functions(tree, public=True):
    """Every function of a module or class, those in functions left out: (node, public, method)."""
    for node in tree.body:
        shown = public and not node.name.startswith("_") if hasattr(node, "name") else public
        if isinstance(node, ast.ClassDef):
            yield from functions(node, shown)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, shown, isinstance(tree, ast.ClassDef)


def decorators(node):
    called = [getattr(each, "func", each) for each in node.decorator_list]
    return {getattr(each, "id", getattr(each, "attr", "")) for each in called}


def parameters(node):
    arguments = node.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names = [argument.arg for argument in listed if argument.arg not in ("self", "cls")]
    return [name for name in names if not name.startswith("_")]


def raised(node):
    """Errors of ours that a function's own statements raise."""
    names = set()
    pending = list(node.body)
    while pending:
        inner = pending.pop()
        if isinstance(inner, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call):
            names.add(getattr(inner.exc.func, "id", ""))
        pending += ast.iter_child_nodes(inner)
    return {name for name in names if OURS.match(name) and name.endswith("Error")}


def faults_of_docstring(node, public, method):
    text = ast.get_docstring(node)
    if text is None:
        return
    first = re.match(r"[\w-]*", text).group()
    if not decorators(node) & {"property", "cached_property", "setter"} and (
        first not in IMPERATIVES
    ):
        yield "verb", f"{node.name}: begins with {first!r}"
    wanted = parameters(node)
    if not public or decorators(node) & {"property", "overload", "command", "group"}:
        return
    sections = NumpyDocString(inspect.cleandoc(text))
    listed = {
        name.strip().lstrip("*")
        for entry in sections["Parameters"]
        for name in entry.name.split(",")
    }
    # Methods of few parameters mostly do what a protocol describes.
    if len(wanted) >= (3 if method else 2) and set(wanted) - listed:
        yield "parameters", f"{node.name}: {', '.join(sorted(set(wanted) - listed))} undescribed"
    described = " ".join(f"{entry.name} {entry.type}" for entry in sections["Raises"])
    if missing := {name for name in raised(node) if name not in described}:
        yield "raises", f"{node.name}: {', '.join(sorted(missing))} undescribed"


def faults(source):
    """(rule, fault) of a module."""
    tree = ast.parse(source)
    for function in functions(tree):
        yield from faults_of_docstring(*function)
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        elif isinstance(node, ast.arg):
            names = [node.arg]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        for name in names:
            if name in EMPTY_NAMES:
                yield "names", f"line {node.lineno}: {name}"
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (
            tokenize.COMMENT,
            tokenize.STRING,
            getattr(tokenize, "FSTRING_MIDDLE", -1),
        ):
            for pattern, better in DIALECT.items():
                for match in re.finditer(pattern, token.string):
                    yield "words", f"line {token.start[0]}: {match.group()!r} (write: {better})"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_docstrings_names_and_words(path):
    by_rule = {}
    for rule, fault in faults(path.read_text(encoding="utf-8")):
        by_rule.setdefault(rule, []).append(fault)
    allowed = json.loads(ALLOWED.read_text()).get(name_of(path), {})
    new = {rule: each for rule, each in by_rule.items() if len(each) > allowed.get(rule, 0)}
    assert not new


def test_what_is_allowed_exists():
    allowed = json.loads(ALLOWED.read_text())
    assert set(allowed) <= {name_of(path) for path in FILES}
    assert all(count > 0 for rules in allowed.values() for count in rules.values())


def test_the_check_finds_what_it_should():
    source = '''
"""A module."""

class Thing:
    """A thing."""

    @property
    def size(self):
        """Size in pixels."""

    def good(self, one, other):
        """Return their sum.

        Parameters
        ----------
        one, other : int

        Raises
        ------
        InputError
            They are no numbers.
        """
        raise InputError("no")

    def bad(self, one, other, third):
        """Give what nobody wants."""
        found = one  # is told of the lesson
        raise BandError("no")

def _private(one, other):
    """Compute their product."""
'''
    assert Counter(rule for rule, _ in faults(source)) == {
        "verb": 1, "parameters": 1, "raises": 1, "names": 1, "words": 3,
    }  # fmt: skip


if __name__ == "__main__":
    counts = {
        name_of(path): dict(sorted(rules.items()))
        for path in FILES
        if (rules := Counter(rule for rule, _ in faults(path.read_text(encoding="utf-8"))))
    }
    ALLOWED.write_text(json.dumps(counts, indent=1) + "\n")
