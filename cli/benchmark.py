"""`geossda benchmark`."""

from typing import Literal

import click

from geossda.config import BenchmarkConfig, PaperBenchmarkConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result

RUN = click.option(
    "--run",
    required=True,
    metavar="DIR",
    help="Folder of results, table and plot; trainings that are there are not repeated.",
)


@click.group("benchmark")
def command() -> None:
    """Compare adaptation methods: the paper's Table I."""


@command.command("places")
@click.argument("folder", metavar="DIR")
@RUN
@click.option(
    "--form",
    type=click.Choice(["both", "one-to-others", "leave-one-out"]),
    default="both",
    show_default=True,
    help="Train on one place and test on the others, or train on all but one and test on that one.",
)
@config_options(BenchmarkConfig)
@progress_option
def places(
    folder: str,
    run: str,
    form: Literal["both", "one-to-others", "leave-one-out"],
    progress: Progress,
    config: BenchmarkConfig,
) -> None:
    """Compare methods on places with footprints.

    DIR holds one folder per place, with mosaic_*.tif and one vector file of footprints. The
    command can be stopped and started again.

    \b
    geossda benchmark places my_places --run runs/places
    geossda benchmark places my_places --run runs/places --rows none --rows ssda --seeds 1
    """
    from geossda import benchmark_places

    result = benchmark_places(folder, run, form=form, config=config, progress=progress)
    print_result(result.table)
    print_result(f"{result.folder}: {result.done} of {result.planned} trainings")


class ValuesInARow(click.Command):
    """A command without arguments, whose repeatable options take several values in a row.

    ``--sources a b --targets c`` is ``--sources a --sources b --targets c``: what the shell
    expands ``--sources */`` to.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse with the option inserted before each of its further values.

        Parameters
        ----------
        ctx, args
            As in :meth:`click.Command.parse_args`.
        """
        many = {
            name for each in self.params if getattr(each, "multiple", False) for name in each.opts
        }
        option, spread = "", list[str]()
        for index, word in enumerate(args):
            if word.startswith("-"):
                option = word if word in many else ""
            elif option and args[index - 1] != option:
                spread.append(option)
            spread.append(word)
        return super().parse_args(ctx, spread)


@command.command("transfer", cls=ValuesInARow)
@click.option(
    "--sources",
    required=True,
    multiple=True,
    metavar="DIR...",
    help="Places with footprints to train on: their folders, or folders that hold them.",
)
@click.option(
    "--targets",
    required=True,
    multiple=True,
    metavar="DIR...",
    help="Places whose imagery is adapted to; their footprints, where they have some, are "
    "measured on.",
)
@RUN
@config_options(BenchmarkConfig)
@progress_option
def transfer(
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    run: str,
    progress: Progress,
    config: BenchmarkConfig,
) -> None:
    """Compare methods from labelled places to others.

    A place is a folder with mosaic_*.tif and one vector file of footprints. Other rasters in
    it, and targets without footprints, are imagery without labels. The command can be stopped and
    started again.

    \b
    geossda benchmark transfer --sources aerial/*/ --targets satellite/*/ --run runs/transfer
    """
    from geossda import benchmark_transfer

    result = benchmark_transfer(sources, targets, run, config=config, progress=progress)
    print_result(result.table)
    print_result(f"{result.folder}: {result.done} of {result.planned} trainings")


@command.command("paper")
@click.option("--inria", required=True, metavar="DIR", help="The unpacked AerialImageDataset.")
@click.option(
    "--deepglobe", required=True, metavar="DIR", help="The four cities of SpaceNet 2, unpacked."
)
@RUN
@config_options(PaperBenchmarkConfig)
@progress_option
def paper(
    inria: str, deepglobe: str, run: str, progress: Progress, config: PaperBenchmarkConfig
) -> None:
    """Reproduce Table I: train on Inria, test on DeepGlobe.

    \b
    geossda benchmark paper --inria AerialImageDataset --deepglobe spacenet2 --run runs/paper
    """
    from geossda import benchmark_paper

    result = benchmark_paper(inria, deepglobe, run, config=config, progress=progress)
    print_result(result.table)
    print_result(f"{result.folder}: {result.done} of {result.planned} trainings")
