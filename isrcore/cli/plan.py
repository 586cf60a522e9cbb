"""``isr plan``: what ``isr run`` would do, and why."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from isrcore.cli.batch import Batch, Unit
from isrcore.cli.faults import EXIT_STATUS, FAILED, OK, REFUSED
from isrcore.cli.inputs import add_arguments
from isrcore.cli.terminal import make_console, make_table
from isrcore.registry import Registry

_COLUMNS = ("step", "state", "reason", "set by", "calibration", "segment")

_ABOUT = """Show what 'isr run' would do with the same arguments: every step in order, whether it runs or is
skipped and why, who set its switch, the calibration it reads, and the segment it runs in (steps of one
segment are one pass over memory). No pixel is changed and nothing is written."""

_EXAMPLE = """example:
  isr plan night/*.fits --bias masters/ --flat masters/ -c doDark=false

"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "plan",
        help="show every step of a run, and why",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, registry)
    parser.set_defaults(function=show_plans)


def show_plans(arguments: argparse.Namespace) -> int:
    """Print the plans of all units, those that are the same once."""
    batch = Batch(arguments)
    batch.plan_all()
    console = make_console()
    for units in _alike(batch.units):
        _show(console, units)
    refused = batch.refused()
    if not refused:
        return OK
    arguments.messages.print(refused, soft_wrap=True)
    return FAILED if any(unit.plan for unit in batch.units) else REFUSED


def _alike(units: list[Unit]) -> list[list[Unit]]:
    """Planned units, those of the same plan together."""
    groups: dict[Any, list[Unit]] = {}
    for unit in units:
        if unit.plan is not None:
            groups.setdefault(tuple(unit.plan.rows()), []).append(unit)
    return list(groups.values())


def _show(console: Console, units: list[Unit]) -> None:
    """One plan and whose it is."""
    count = f"{len(units)} exposures" if len(units) > 1 else "1 exposure"
    console.print(f"plan for {count}: {', '.join(unit.label for unit in units)}", soft_wrap=True)
    table = make_table(_COLUMNS, numbers=("segment",))
    for row in units[0].plan.rows() if units[0].plan else ():
        table.add_row(*row)
    console.print(table)
    considered = list(_considered(units[0]))
    if considered:
        console.print("calibrations of the repository")
        shown = make_table(("calibration", "candidate", "state", "reason"))
        for candidate in considered:
            shown.add_row(*candidate)
        console.print(shown)


def _considered(unit: Unit) -> Iterator[tuple[str, str, str, str]]:
    """Candidates for the calibrations that a unit's plan reads: the one that is used, and the others."""
    steps = unit.plan.steps if unit.plan else ()
    kinds = frozenset[str]().union(*(planned.spec.kinds for planned in steps))
    for search in unit.searches:
        if search.kind not in kinds:
            continue
        if search.chosen is not None:
            yield search.kind, str(search.chosen), "used", search.reason
        for name, why in search.rejected:
            yield search.kind, name, "refused", why
