"""``isr run``: raw frames in, corrected frames out."""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
from rich.progress import Progress, TaskID

from isrcore.cli.batch import Batch, Unit, owner
from isrcore.cli.digests import Digests
from isrcore.cli.faults import EXIT_STATUS, FAILED, OK, REFUSED, CommandError
from isrcore.cli.inputs import add_arguments
from isrcore.cli.jobs import run_jobs, start_server
from isrcore.cli.outcomes import Outcome, show_outcomes, write_report
from isrcore.cli.processing import Job, Processor, Setup
from isrcore.cli.products import assign_products, remove_unfinished, report_path
from isrcore.cli.terminal import make_progress
from isrcore.fits_compression import COMPRESSIONS
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
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="folder for the products, made if it is not there; for a single unit also a name in .fits",
    )
    group.add_argument("--overwrite", action="store_true", help="replace products that are there already")
    group.add_argument(
        "--compress",
        nargs="?",
        const="lossless",
        choices=tuple(COMPRESSIONS),
        metavar="METHOD",
        help="tile compression, names in .fits.fz: lossless (if METHOD is left out), or lossy16 and lossy4, "
        "which round image and variance to steps of a 16th or a 4th of the noise; masks never change. "
        "Write --compress=METHOD, or put --compress last",
    )
    group = parser.add_argument_group("speed")
    group.add_argument(
        "-j",
        "--jobs",
        type=_parse_count,
        default=1,
        metavar="N",
        help="processes that work on units at the same time (default: 1), each with less than 1 GB of memory",
    )
    group.add_argument(
        "--threads",
        type=_parse_count,
        default=1,
        metavar="N",
        help="threads for pixels in each process",
    )
    parser.set_defaults(function=run)


def _parse_count(text: str) -> int:
    """A positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number; give 1 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Plan all units, then process those that can be; report how each one ended, whatever happens."""
    if arguments.jobs > 1:
        _prepare_processes(arguments)
    batch = Batch(arguments)
    products = assign_products(batch.units, arguments)
    # Large files take a while: their digests are found while units are planned.
    with Digests(unit.path for unit in batch.in_order) as digests:
        return _run(batch, _Describer(products, digests))


def _run(batch: Batch, describe: _Describer) -> int:
    """Plan and process."""
    arguments = batch.arguments
    batch.plan_all(headers_only=True)
    refused = batch.refused()
    if refused:
        arguments.messages.print(refused, soft_wrap=True)
    outcomes = {unit: _refused(unit) for unit in batch.units if unit.problems}
    can_start = len(outcomes) < len(batch.units)
    try:
        _process(batch, describe, outcomes)
    finally:
        ordered = [outcomes.get(unit) or Outcome.of(unit, "not started") for unit in batch.units]
        # Of units that were refused all has been told.
        if can_start:
            show_outcomes(ordered, with_parts=arguments.verbose > 0)
        write_report(report_path(arguments.output), ordered)
    if all(outcome.status == "ok" for outcome in ordered):
        return OK
    return FAILED if can_start else REFUSED


def _prepare_processes(arguments: argparse.Namespace) -> None:
    """Begin to start processes while units are planned.

    Raises `CommandError` when they would find other plugins than this process has.
    """
    if arguments.registry.plugins != Registry.discover().plugins:
        problem = "--jobs needs installed plugins, and this registry was made by hand; leave --jobs out"
        raise CommandError("cannot start", [problem])
    start_server(["isrcore.cli.processing"])


def _refused(unit: Unit) -> Outcome:
    """The outcome of a unit that cannot be processed."""
    return Outcome.of(unit, "failed", reason="; ".join(unit.problems))


def _process(batch: Batch, describe: _Describer, outcomes: dict[Unit, Outcome]) -> None:
    """Process the units without problems; each one's outcome is kept as soon as it is known."""
    units = [unit for unit in batch.in_order if not unit.problems]
    many = batch.arguments.jobs > 1
    with make_progress(batch.arguments.messages) as progress:
        bar = progress.add_task("", total=len(units))
        teller = _Teller(progress, bar, describe.products, outcomes, tells_all=many)
        (_process_apart if many else _process_here)(batch, units, describe, teller)


def _process_here(batch: Batch, units: list[Unit], describe: _Describer, teller: _Teller) -> None:
    """Process units in this process, one after the other."""
    process = Processor(_setup(batch), batch.registry)
    for unit in units:
        teller.started(unit)
        teller.finished(unit, process(describe(unit)))


def _process_apart(batch: Batch, units: list[Unit], describe: _Describer, teller: _Teller) -> None:
    """Process units in other processes; those of a detector stay together, for its calibrations are large."""
    groups = [list(group) for _, group in groupby(units, key=owner)]
    count = min(batch.arguments.jobs, len(units))
    run_jobs(groups, describe, _setup(batch).make_processor, count, teller)


def _setup(batch: Batch) -> Setup:
    """What all jobs of the batch have in common."""
    arguments = batch.arguments
    return Setup(
        configs=batch.configs,
        files=batch.files,
        sources=batch.sources,
        threads=arguments.threads,
        compress=arguments.compress,
        overwrite=arguments.overwrite,
        traceback=arguments.traceback,
    )


@attrs.frozen
class _Describer:
    """Says of a unit what whoever processes it needs."""

    products: dict[Unit, Path]
    digests: Digests

    def __call__(self, unit: Unit) -> Job:
        """The unit as a job; waits for the digest of its file."""
        steps = unit.plan.steps if unit.plan else ()
        kinds = frozenset[str]().union(*(planned.spec.kinds for planned in steps))
        return Job(
            unit.label,
            unit.path,
            unit.detector,
            unit.camera,
            self.products[unit],
            tuple(sorted(kinds)),
            self.digests.of(unit.path),
        )


@attrs.frozen
class _Teller:
    """Keeps outcomes and tells of them; of those that went well only when ``tells_all``."""

    progress: Progress
    bar: TaskID
    products: dict[Unit, Path]
    outcomes: dict[Unit, Outcome]
    tells_all: bool

    def started(self, unit: Unit) -> None:
        """Show what is being done."""
        self.progress.update(self.bar, description=unit.label)

    def finished(self, unit: Unit, outcome: Outcome) -> None:
        """A unit ended, well or not."""
        self.outcomes[unit] = outcome
        if outcome.status == "failed":
            self.progress.console.print(f"{unit.label} failed: {outcome.reason}", soft_wrap=True)
        elif self.tells_all:
            self.progress.console.print(f"{unit.label} ok", soft_wrap=True)
        self.progress.advance(self.bar)

    def died(self, unit: Unit, reason: str) -> None:
        """The process that a unit was in is gone."""
        remove_unfinished(self.products[unit])
        self.finished(unit, Outcome.of(unit, "failed", reason=reason))
