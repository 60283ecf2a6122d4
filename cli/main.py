"""The `geossda` command."""

import importlib
import os
import signal
import sys
import warnings
from typing import Any

import click

from geossda._version import __version__
from geossda.errors import Cancelled, GeossdaError

COMMANDS = {
    "benchmark": "geossda_cli.benchmark",
    "demo": "geossda_cli.demo",
    "describe": "geossda_cli.describe",
    "evaluate": "geossda_cli.evaluate",
    "evaluate-style": "geossda_cli.evaluate_style",
    "harmonize": "geossda_cli.harmonize",
    "info": "geossda_cli.info",
    "matrix": "geossda_cli.matrix",
    "polygonize": "geossda_cli.polygonize",
    "report": "geossda_cli.report",
    "scenes": "geossda_cli.scenes",
    "segment": "geossda_cli.segment",
    "style": "geossda_cli.style",
    "train-segmenter": "geossda_cli.train_segmenter",
    "train-style": "geossda_cli.train_style",
}
SUMMARIES = {
    "benchmark": "Compare adaptation methods: the paper's Table I.",
    "demo": "Render a small town and run the whole job on it.",
    "describe": "Tell what the verbs ask for, as JSON for other interfaces.",
    "evaluate": "Compare buildings found with true ones.",
    "evaluate-style": "Measure how well methods bring images to each other's looks.",
    "harmonize": "Give rasters the colours of a reference.",
    "info": "Tell what a raster, model, style or vector file is.",
    "matrix": "Paint images in each other's looks.",
    "polygonize": "Turn a mask or probabilities into footprints.",
    "report": "Show on a page what harmonizing did to a raster.",
    "scenes": "Find the scenes a mosaic was made of.",
    "segment": "Find buildings and write their footprints.",
    "style": "Measure references and save their style.",
    "train-segmenter": "Train a segmenter on rasters with footprints.",
    "train-style": "Train a style model on rasters without labels.",
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is called, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{cmd_name} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(SUMMARIES.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geossda")
def cli() -> None:
    """Make satellite and aerial mosaics look alike, and get buildings out of them."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; known failures become one line and exit code 1, usage 2."""
    warnings.simplefilter("ignore")
    # It tells of every try to reach it; that it cannot be reached is one line of ours.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = cli.main(args=arguments, prog_name="geossda", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort, Cancelled) as error:
        _tell("stopped; nothing was left half-written", error)
        code = 130
    except GeossdaError as error:
        _tell(str(error), error)
        code = 1
    except MemoryError as error:
        _tell("out of memory: lower --tile or --batch, or close other programs", error)
        code = 1
    except BrokenPipeError:
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _tell(text: str, error: BaseException) -> None:
    """Print one line, with what was noted on the error: how to go on."""
    notes = [*getattr(error, "__notes__", ()), *getattr(error.__cause__, "__notes__", ())]
    click.echo("; ".join([f"geossda: {text}", *dict.fromkeys(notes)]), err=True)


def entry() -> None:
    """Run as a program: :func:`main`, and leave at once if stopped.

    Threads that were reading or computing when the stop came may still be at it; waiting for them
    is what a second Ctrl-C would be needed for.
    """
    try:
        main()
    except SystemExit as end:
        if end.code == 130:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(130)
        raise


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    entry()
