"""Documentation: docstrings follow numpydoc, commands exist, and the pages to run do run."""

import doctest
import re
import shlex
import shutil

import click
import pytest
from click.testing import CliRunner
from conftest import REPO
from numpydoc.validate import validate
from test_architecture import MAY_IMPORT

import geossda
from geossda_cli.main import cli

# Not required: examples and see-also sections, which the README and docs/ have; the position of
# the summary line; a docstring section for the error base.
NOT_REQUIRED = {"EX01", "SA01", "ES01", "GL01", "SS06", "GL08"}
PUBLIC = [name for name in geossda.__all__ if not name.startswith("__")]
PAGES = sorted([REPO / "README.md", REPO / "CONTRIBUTING.md", *(REPO / "docs").rglob("*.md")])
# What decision records call by its former name, or reject.
CURRENT = [page for page in PAGES if "decisions" not in page.parts]
EXECUTED = [REPO / "README.md", REPO / "docs" / "tutorials" / "first_mosaic.md"]
FENCE = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"`(--[a-z][\w-]*)")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
# Options of other programs and of benchmarks/ that prose names.
FOREIGN = {"--extra-index-url", "--repeats"}


def page_name(page):
    return page.relative_to(REPO).as_posix()


def blocks(page, *languages):
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for language, text in found if language in languages]


def commands(text):
    """The arguments of every geossda command in a block of shell."""
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["geossda"]]


def resolve(arguments):
    """The command that arguments name, its context and the arguments left for it."""
    command, context = cli, click.Context(cli, **cli.context_settings)
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        context = click.Context(command, context, name)
    return command, context, arguments


def options_of(command, context):
    names = {name for option in command.params for name in option.opts + option.secondary_opts}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            names |= options_of(below, click.Context(below, context))
    return names


@pytest.mark.parametrize("name", PUBLIC)
def test_numpydoc(name):
    thing = getattr(geossda, name)
    found = validate(f"{thing.__module__}.{thing.__qualname__}")
    assert [error for error in found["errors"] if error[0] not in NOT_REQUIRED] == []


@pytest.mark.parametrize("page", CURRENT, ids=page_name)
def test_commands_and_options_exist(page):
    for _, text in blocks(page, "sh"):
        for arguments in commands(text):
            command, context, left = resolve(arguments)
            # Unknown options, and values that are missing, raise a usage error.
            command.make_parser(context).parse_args(left)
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    known = options_of(cli, click.Context(cli)) | FOREIGN | {"--help", "--version"}
    assert set(OPTION.findall(prose)) - known == set()


def test_contributing_has_the_import_table_that_is_enforced():
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \| .* \|(.*)\|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == list(MAY_IMPORT)
    for place, (name, imports) in enumerate(rows):
        if "all above but" in imports:
            written = set(list(MAY_IMPORT)[:place]) - set(re.findall(r"`(\w+)`", imports))
        else:
            written = set(filter(None, imports.strip().split(", ")))
        assert written == MAY_IMPORT[name], name


class NearlyEqual(doctest.OutputChecker):
    """Compares text exactly and numbers within a quarter, since processors round differently."""

    def check_output(self, want, got, flags):
        """Whether output is as expected; a line of dots stands for any lines."""
        lines = iter(got.splitlines())
        skipping = False
        for line in want.splitlines():
            if line == "...":
                skipping = True
            elif not any(same(line, other) for other in (lines if skipping else [next(lines, "")])):
                return False
            else:
                skipping = False
        return skipping or next(lines, None) is None


def same(want, got):
    """Whether two lines agree, numbers within a quarter or 0.1."""
    if NUMBER.sub("#", want).split() != NUMBER.sub("#", got).split():
        return False
    numbers = zip(NUMBER.findall(want), NUMBER.findall(got), strict=True)
    pairs = [tuple(float(text.replace(",", "")) for text in pair) for pair in numbers]
    return all(abs(a - b) <= max(0.1, 0.25 * abs(a)) for a, b in pairs)


def test_comparison_of_output():
    check = NearlyEqual().check_output
    assert check("a 1.00 b\n", "a  1.1  b\n", 0)
    assert not check("a 1.00 b\n", "a 1.5 b\n", 0)
    assert not check("a 1 b\n", "a 1 c\n", 0)
    assert not check("a\n", "a\nb\n", 0)
    assert not check("a\nb\n", "a\n", 0)
    assert check("...\nb 100\n...\n", "a\nb 120\nc\n", 0)
    assert not check("...\nb\n", "a\nb\nc\n", 0)
    assert not check("...\nd\n...\n", "a\nb\nc\n", 0)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The folder that the demo of the pages writes; it takes a while, so it runs once."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    run(["demo", "--output", str(folder), "--size", "512"])
    return folder


def run(arguments):
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED, ids=page_name)
def test_page_runs(page, rendered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(NearlyEqual(), verbose=False)
    names, output = {}, ""
    for number, (language, text) in enumerate(blocks(page, "sh", "text", "pycon")):
        if language == "text":
            assert NearlyEqual().check_output(text, output, 0), f"{text}\n!=\n{output}"
        elif language == "pycon":
            test = doctest.DocTestParser().get_doctest(text, names, f"block {number}", None, 0)
            shown = []
            runner.run(test, out=shown.append, clear_globs=False)
            names = test.globs
            assert not shown, "".join(shown)
        for arguments in commands(text) if language == "sh" else []:
            if arguments[0] == "demo":
                options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
                assert options.pop("--size") == "512"
                shutil.copytree(rendered, options.pop("--output", "demo"))
                assert not options
            else:
                output = run(arguments)
