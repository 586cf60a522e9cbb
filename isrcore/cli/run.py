"""``isr run``: raw frames in, corrected frames out."""

from __future__ import annotations

import argparse
from typing import Any

from isrcore.cli.batch import Batch
from isrcore.cli.faults import EXIT_STATUS, FAILED, OK, REFUSED
from isrcore.cli.inputs import add_arguments
from isrcore.cli.run_options import add_run_options
from isrcore.cli.showing import show
from isrcore.cli.task_runner import TaskRunner
from isrcore.cli.terminal import make_console
from isrcore.isr import IsrTask
from isrcore.registry import Registry

_ABOUT = """Remove the instrument signature from raw frames: overscan, bias, dark, flat and what else the
installed plugins offer and the configuration asks for ('isr plan' shows it). Every detector of every file
is one unit and becomes one product, OUT/<file>_<detector>.fits, with image, mask and variance, the history
of its steps, its configuration and the names and digests of all it was made from.

All units are planned before the first pixel is touched, so what is missing is told at once. A unit that
fails loses no other. OUT/isr_report.json says how each one ended."""

_EXAMPLE = """example:
  isr run night/*.fits --bias masters/ --flat masters/flat_*.fits -o reduced
  isr run one.fits -o one_corrected.fits -c doBias=false doFlat=false

"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "run",
        help="remove the instrument signature from raw frames",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, registry)
    add_run_options(parser)
    parser.set_defaults(function=run, doraise=False)


def run(arguments: argparse.Namespace) -> int:
    """Run every unit, or only show what is asked for; the exit status."""
    shown = arguments.show
    if shown:
        make_console().print("\n".join(show(Batch(arguments), shown)), soft_wrap=True)
    if shown and "run" not in shown:
        return OK
    runner = TaskRunner(IsrTask, arguments)
    outcomes = runner.run()
    if all(outcome.status in ("ok", "skipped") for outcome in outcomes):
        return OK
    return FAILED if runner.can_start else REFUSED
