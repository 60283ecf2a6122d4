"""The `geossda` command."""

import atexit
import dataclasses
import importlib
import json
import logging
import os
import re
import signal
import sys
import warnings
from itertools import pairwise
from typing import Any

import click

from geossda._version import __version__
from geossda.config import unknown_setting
from geossda.errors import Cancelled, GeossdaError, SettingError, one_line

from .progress import print_error, use_plain_characters

COMMANDS = {
    "align": "geossda_cli.align",
    "benchmark": "geossda_cli.benchmark",
    "demo": "geossda_cli.demo",
    "describe": "geossda_cli.describe",
    "evaluate": "geossda_cli.evaluate",
    "evaluate-style": "geossda_cli.evaluate_style",
    "export": "geossda_cli.export",
    "harmonize": "geossda_cli.harmonize",
    "info": "geossda_cli.info",
    "matrix": "geossda_cli.matrix",
    "models": "geossda_cli.models",
    "polygonize": "geossda_cli.polygonize",
    "report": "geossda_cli.report",
    "scenes": "geossda_cli.scenes",
    "segment": "geossda_cli.segment",
    "style": "geossda_cli.style",
    "train-segmenter": "geossda_cli.train_segmenter",
    "train-style": "geossda_cli.train_style",
}
SUMMARIES = {
    "align": "Shift footprints to where the imagery shows the buildings.",
    "benchmark": "Compare adaptation methods: the paper's Table I.",
    "demo": "Render a small town and run all steps on it, offline.",
    "describe": "Print the parameters of all commands as JSON.",
    "evaluate": "Compare detected buildings with true ones.",
    "evaluate-style": "Measure how well methods match images to each other's styles.",
    "export": "Write the ONNX file of a model, which runs anywhere.",
    "harmonize": "Match the colours of rasters to a reference.",
    "info": "Show metadata of a raster, model, style or vector file.",
    "matrix": "Render every image in the style of every other.",
    "models": "Show the models that are bundled or were downloaded.",
    "polygonize": "Convert a mask or probabilities to footprints.",
    "report": "Write an HTML report on a harmonized raster.",
    "scenes": "Detect the scenes of a mosaic and write their outlines.",
    "segment": "Detect buildings and write their footprints.",
    "style": "Compute the style statistics of references and save them.",
    "train-segmenter": "Train a building model on rasters with footprints.",
    "train-style": "Train a style model on rasters without labels.",
}


# How libraries in C and C++ say it.
_NO_MEMORY = re.compile(
    "(?i)can(no|')t allocate memory|bad_alloc|out of memory|can't start new thread"
)


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called: --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command, imported.

        Parameters
        ----------
        ctx : click.Context
        cmd_name : str

        Raises
        ------
        TypeError
            The module of the command holds no click command.
        """
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(SUMMARIES.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geossda")
def cli() -> None:
    """Harmonize satellite and aerial mosaics, and map their buildings."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit: 0, 1 for a known failure, 2 for wrong usage, 130 if stopped.

    Failures are one line on standard error, or one JSON object with ``--progress json``.
    """
    warnings.simplefilter("ignore")
    # What GDAL only logs would be printed where no handler is; what matters is raised or warned of.
    for name in ("rasterio", "pyogrio"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    sys.excepthook, sys.unraisablehook = _print_uncaught, _print_unraisable
    # The hub's client reports every attempt; that it cannot be reached is one line of ours.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    # NumPy multiplies small matrices only. Threads of its own gain nothing there, and where the
    # cores are busy they wait for each other, for seconds.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _interrupt)
    use_plain_characters()
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--progress=json" in arguments or ("--progress", "json") in pairwise(arguments)
    try:
        code = cli.main(args=arguments, prog_name="geossda", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        code = _fail(usage_message(error), error, error.exit_code, as_json)
    except BrokenPipeError:
        code = 1
    except (KeyboardInterrupt, click.Abort, Cancelled) as error:
        code = _fail("stopped; nothing was left half-written", error, 130, as_json)
    except GeossdaError as error:
        code = _fail(str(error), error, 2 if isinstance(error, SettingError) else 1, as_json)
    except (MemoryError, RuntimeError, OSError) as error:
        if not (isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))):
            raise
        code = _fail(
            "out of memory: lower --tile or --batch, or close other programs", error, 1, as_json
        )
    sys.exit(code if isinstance(code, int) else 0)


def _print_uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    """Print an error that ends the program, and not one that rasterio has dropped already.

    A message of GDAL's in another encoding than UTF-8, as of a damaged file, cannot be logged by
    rasterio, which reports that by both hooks and goes on.
    """
    if traceback is not None or not isinstance(error, UnicodeDecodeError):
        sys.__excepthook__(kind, error, traceback)


def _print_unraisable(dropped: "sys.UnraisableHookArgs") -> None:
    """Print an error that could not be raised, but for those of logging what GDAL says."""
    of_logging = "log_error" in str(dropped.object)
    if not (of_logging and isinstance(dropped.exc_value, UnicodeDecodeError)):
        sys.__unraisablehook__(dropped)


def usage_message(error: click.ClickException) -> str:
    """Return click's message in one line, with where to read more."""
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context is not None:
        kind = getattr(context.command.callback, "config_kind", None)
        if kind is not None:
            options = [param.name for param in context.command.params if param.name]
            name = error.option_name.lstrip("-").replace("-", "_")
            fields = [entry.name for entry in dataclasses.fields(kind)]
            return unknown_setting(name, fields, options)
    text = " ".join(error.format_message().split()).rstrip(".")
    return text if context is None else f"{text}; see {context.command_path} --help"


def _fail(text: str, error: BaseException, code: int, as_json: bool) -> int:
    """Print a failure, with what was noted on the error (how to go on), and return its code."""
    notes = [*getattr(error, "__notes__", ()), *getattr(error.__cause__, "__notes__", ())]
    text = one_line("; ".join([text, *dict.fromkeys(notes)]))
    if as_json:
        text = json.dumps({"event": "error", "text": text, "code": code})
    print_error(text if as_json else f"geossda: {text}")
    return code


def entry() -> None:
    """Run as a program: :func:`main`, and leave at once.

    Outputs are complete by then, or gone. Freeing all memory piece by piece takes a tenth of a
    short run; threads that read, compute or compile are not waited for, which would take a second
    Ctrl-C where the program was stopped.
    """
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code != 130:
            atexit._run_exitfuncs()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except OSError:  # as a full disk, or a program that reads no more
                code = code or 1
        os._exit(code)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    entry()
