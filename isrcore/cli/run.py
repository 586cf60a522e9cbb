"""``isr run``: raw frames in, corrected frames out."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import logging
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from isrcore.cli.batch import Batch, Unit
from isrcore.cli.faults import EXIT_STATUS, FAILED, OK, REFUSED, reason_of
from isrcore.cli.inputs import add_arguments
from isrcore.cli.outcomes import Outcome, show_outcomes, write_report
from isrcore.cli.products import assign_products, report_path
from isrcore.cli.terminal import make_progress
from isrcore.exposure import Exposure
from isrcore.fits import write_exposure
from isrcore.registry import Registry

_log = logging.getLogger(__name__)

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
    group.add_argument("--compress", action="store_true", help="lossless tile compression, names in .fits.fz")
    group.add_argument(
        "--threads", type=_parse_threads, default=1, metavar="N", help="threads for pixel operations"
    )
    parser.set_defaults(function=run)


def _parse_threads(text: str) -> int:
    """A positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads; give 1 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Plan all units, then process those that can be; report how each one ended, whatever happens."""
    batch = Batch(arguments)
    products = assign_products(batch.units, arguments)
    batch.plan_all()
    refused = batch.refused()
    if refused:
        arguments.messages.print(refused, soft_wrap=True)
    outcomes = {unit: _refused(unit) for unit in batch.units if unit.problems}
    can_start = len(outcomes) < len(batch.units)
    try:
        _process(batch, products, outcomes)
    finally:
        ordered = [outcomes.get(unit) or Outcome.of(unit, "not started") for unit in batch.units]
        # Of units that were refused all has been told.
        if can_start:
            show_outcomes(ordered)
        write_report(report_path(arguments.output), ordered)
    if all(outcome.status == "ok" for outcome in ordered):
        return OK
    return FAILED if can_start else REFUSED


def _refused(unit: Unit) -> Outcome:
    """The outcome of a unit that cannot be processed."""
    return Outcome.of(unit, "failed", reason="; ".join(unit.problems))


def _process(batch: Batch, products: dict[Unit, Path], outcomes: dict[Unit, Outcome]) -> None:
    """Process the units without problems; each one's outcome is kept as soon as it is known."""
    units = [unit for unit in batch.in_order if not unit.problems]
    with make_progress(batch.arguments.messages) as progress:
        bar = progress.add_task("", total=len(units))
        for unit in units:
            progress.update(bar, description=unit.label)
            outcomes[unit] = _process_one(batch, unit, products[unit])
            if outcomes[unit].status == "failed":
                progress.console.print(f"{unit.label} failed: {outcomes[unit].reason}", soft_wrap=True)
            progress.advance(bar)


def _process_one(batch: Batch, unit: Unit, product: Path) -> Outcome:
    """Process one unit; whatever goes wrong is its own outcome."""
    started = time.perf_counter()
    try:
        exposure = _correct(batch, unit, product)
    except Exception as fault:
        if batch.arguments.traceback:
            _log.error("%s failed", unit.label, exc_info=fault)
        return Outcome.of(unit, "failed", reason=reason_of(fault), seconds=time.perf_counter() - started)
    flagged = np.count_nonzero(exposure.mask) / exposure.mask.size
    steps = tuple(entry.step for entry in exposure.history)
    seconds = time.perf_counter() - started
    _log.info("%s: wrote %s", unit.label, product)
    return Outcome.of(unit, "ok", product=product, steps=steps, flagged=flagged, seconds=seconds)


def _correct(batch: Batch, unit: Unit, product: Path) -> Exposure:
    """Read, correct and write one unit."""
    inputs, _ = batch.calibrations(unit)
    task = batch.task(unit)
    exposure: Exposure = task.run(batch.read(unit), **inputs).exposure
    write_exposure(
        exposure,
        product,
        compress=batch.arguments.compress or None,
        overwrite=batch.arguments.overwrite,
        config_text=task.config.to_toml(),
        provenance=dict(_provenance(batch, unit, {kind: inputs[kind] for kind in _kinds_read(unit)})),
    )
    return exposure


def _kinds_read(unit: Unit) -> list[str]:
    """The kinds of calibration that the unit's plan reads."""
    steps = unit.plan.steps if unit.plan else ()
    return sorted(frozenset[str]().union(*(planned.spec.calibrations for planned in steps)))


def _provenance(batch: Batch, unit: Unit, inputs: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Names and digests of all that goes into a product."""
    yield "isrcore", importlib.metadata.version("isrcore")
    yield "input", str(unit.path)
    yield "input sha256", sha256_of(unit.path)
    for kind, value in inputs.items():
        file = batch.file_of(kind, unit)
        yield kind, str(file) if file else f"ships with camera {unit.camera!r}"
        digest = getattr(value, "digest", "") or (sha256_of(file) if file else "")
        if digest:
            yield f"{kind} digest", digest


@cache
def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as ``sha256sum`` prints it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
