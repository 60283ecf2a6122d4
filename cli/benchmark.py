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
