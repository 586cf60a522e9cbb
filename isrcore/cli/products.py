"""Where the products of a run go."""

from __future__ import annotations

import argparse
import glob
from pathlib import Path

from isrcore.atomic import UNFINISHED
from isrcore.cli.batch import Unit
from isrcore.cli.faults import CommandError
from isrcore.fits import FitsError, check_writable
from isrcore.paths import stem


def assign_products(units: list[Unit], arguments: argparse.Namespace) -> dict[Unit, Path]:
    """The path of every unit's product; makes the folder.

    What cannot be written becomes a problem of its unit. Raises `CommandError` when the folder cannot be
    made, or one file is named for several units.
    """
    output: Path = arguments.output
    if is_file(output):
        if len(units) > 1:
            problem = f"{str(output)!r} is the name of one file, there are {len(units)} units; name a folder"
            raise CommandError("cannot start", [problem])
        products = dict.fromkeys(units, output)
    else:
        _make_folder(output)
        ending = ".fits.fz" if arguments.compress else ".fits"
        products = {unit: output / f"{stem(unit.path)}_{unit.detector}{ending}" for unit in units}
    for product in products.values():
        # Of a run that was killed; nobody else writes this product.
        remove_unfinished(product)
    _check(products, arguments.overwrite)
    return products


def is_file(output: Path) -> bool:
    """Whether the output names a product rather than a folder."""
    return output.name.endswith((".fits", ".fits.fz")) and not output.is_dir()


def report_path(output: Path) -> Path:
    """The report: in the folder, or beside the one product."""
    return output.with_name(f"{stem(output)}_report.json") if is_file(output) else output / "isr_report.json"


def remove_unfinished(product: Path) -> None:
    """Remove what a process that died while it wrote a file has left behind."""
    for left in product.parent.glob(f".{glob.escape(product.name)}.*{UNFINISHED}"):
        left.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make the folder. Raises `CommandError` when that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        problem = f"folder {str(folder)!r} cannot be made: {fault.strerror}; choose another with -o"
        raise CommandError("cannot start", [problem]) from fault


def _check(products: dict[Unit, Path], overwrite: bool) -> None:
    """Add to units what stands in the way of their products."""
    owners: dict[Path, list[Unit]] = {}
    for unit, path in products.items():
        if unit.exposure is None:
            continue
        owners.setdefault(path, []).append(unit)
        try:
            check_writable(path, overwrite=overwrite)
        except FitsError as fault:
            unit.problems += (str(fault),)
    for path, units in owners.items():
        for unit in units if len(units) > 1 else ():
            inputs = " and ".join(str(other.path) for other in units)
            unit.problems += (f"{inputs} would become one product, {str(path)!r}; run them apart",)
