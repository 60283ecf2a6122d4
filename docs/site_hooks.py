"""Add to the site what stands elsewhere: README and the like, settings, the command line."""

import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import geossda
from geossda import config as configs
from geossda_cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
# Page of the site: the file that it is made from.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "cards/segmenter.md": "geossda/weights/segmenter.md",
    "cards/style.md": "geossda/weights/style.md",
}
# A link in those files, or from docs/ to them: the link on the site.
LINKS = {
    "](docs/": "](",
    "](CONTRIBUTING.md": "](contributing.md",
    "](../../CONTRIBUTING.md": "](../contributing.md",
    "](CHANGELOG.md": "](changelog.md",
    "](geossda/weights/": "](cards/",
    "](../geossda/weights/": "](cards/",
}
SETTINGS = re.compile(r"<!-- settings: (\w+) -->")
COMMANDS = "<!-- commands -->"
RESULTS = "<!-- results -->"
OPTION = re.compile(r"(?P<names>-[\w-]+(?:(?:, | / )-[\w-]+)*)\s*(?P<values>.*)")
ROLE = re.compile(r":(?:mod|func|class|meth|attr|data):(?=<code>)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the site's files with the pages made from files outside docs/."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    citation = str(ROOT / "CITATION.cff")
    files.append(File.generated(config, "CITATION.cff", abs_src_path=citation))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with the links of the site and what is generated.

    ``<!-- settings: Config -->`` stands for a table, ``<!-- commands -->`` and
    ``<!-- results -->`` for a list.
    """
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    for link, target in LINKS.items():
        markdown = markdown.replace(link, target)
    markdown = SETTINGS.sub(lambda match: settings_table(match[1]), markdown)
    if RESULTS in markdown:
        classes = (f"::: {name}\n    options:\n      members: true" for name in results())
        markdown = markdown.replace(RESULTS, "\n\n".join(classes))
    if COMMANDS in markdown:
        context = click.Context(cli, info_name="geossda", **cli.context_settings)
        markdown = markdown.replace(COMMANDS, "\n".join(command_help(cli, context)))
    return markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page without the Sphinx roles of docstrings, which Markdown does not know."""
    return ROLE.sub("", html)


def settings_table(name: str) -> str:
    """Return a Markdown table of a config's fields: type, default, limits and help."""
    config = getattr(configs, name)
    hints = typing.get_type_hints(config)
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for entry in fields(config):
        default = "" if entry.default in (None, (), "") else f"`{entry.default!r}`"
        text = cell(entry.metadata["help"]) + limits(entry.metadata)
        rows.append(f"| `{entry.name}` | {type_text(hints[entry.name])} | {default} | {text} |")
    return "\n".join(rows)


def results() -> list[str]:
    """Return the full names of the classes that the public functions return."""
    functions = filter(inspect.isfunction, (getattr(geossda, name) for name in geossda.__all__))
    returned = [inspect.signature(function).return_annotation for function in functions]
    classes = {part for hint in returned for part in (hint, *typing.get_args(hint))}
    return sorted(
        f"{part.__module__}.{part.__qualname__}"
        for part in classes
        if getattr(part, "__module__", "").startswith("geossda")
    )


def limits(metadata: typing.Mapping[str, Any]) -> str:
    """Return the limits of a field in words, or nothing where it has none."""
    low, high = metadata["low"], metadata["high"]
    if low is None and high is None:
        return ""
    if high is None:
        return f" At least {low}."
    return f" At most {high}." if low is None else f" From {low} to {high}."


def type_text(hint: Any) -> str:
    """Return a type in the words of NumPy docstrings: ``float, optional``, the allowed values."""
    parts = [part for part in typing.get_args(hint) if part is not types.NoneType]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return ", ".join([*map(type_text, parts), "optional"])
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{part!r}`" for part in parts)
    if typing.get_origin(hint) is tuple:
        if ... in parts:
            return f"tuple of {type_text(parts[0])}"
        return f"tuple of {len(parts)} {type_text(parts[0])}"
    return getattr(hint, "__name__", str(hint))


def command_help(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the Markdown lines of a command's help, then those of its subcommands."""
    if context.parent is not None:
        depth = len(context.command_path.split())
        yield f"{'#' * min(depth, 4)} {context.command_path}"
        yield from ["", *help_text(command), "", "```text", command.get_usage(context), "```", ""]
        records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
        yield from ["| option | meaning |", "|---|---|"]
        for option, text in filter(None, records):
            match = OPTION.match(option)
            if match:  # not an argument, which the usage line shows
                values = f" `{match['values']}`" if match["values"] else ""
                yield f"| `{match['names']}`{values} | {cell(text)} |"
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            if subcommand is not None:
                below = type(context)(subcommand, info_name=name, parent=context)
                yield from command_help(subcommand, below)


def help_text(command: click.Command) -> Iterator[str]:
    """Yield the lines of a command's help, with the examples, which click marks, as code."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        mark, _, example = paragraph.partition("\n")
        yield from ["```sh", example, "```"] if mark == "\b" else [paragraph]
        yield ""


def cell(text: str) -> str:
    """Return text for a cell of a Markdown table."""
    return " ".join(text.replace("|", r"\|").split())
