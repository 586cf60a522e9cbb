"""Where the products of a run go."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from isrcore.atomic import remove_unfinished
from isrcore.cli.batch import Unit
from isrcore.cli.faults import CommandError
from isrcore.data_repository import DataRepository
from isrcore.fits import FitsError, check_writable
from isrcore.paths import stem

# Seconds without a change after which nobody is writing a file any more.
_ABANDONED_S = 60.0


def assign_products(
    units: list[Unit], arguments: argparse.Namespace, repository: DataRepository | None = None
) -> dict[Unit, Path]:
    """The path of every unit's product; makes the folders. Without -o that is in the repository.

    What cannot be written becomes a problem of its unit. Raises `CommandError` when a folder cannot be made,
    or one file is named for several units.
    """
    products = _places(units, arguments, repository)
    # What is in a repository is replaced unless it is finished: nobody else writes there.
    overwrite = arguments.overwrite or arguments.output is None
    if not arguments.dry_run:
        for folder in _folders(products, arguments.output):
            _make_folder(folder)
        root = arguments.output or cast(DataRepository, repository).root
        for file in (*products.values(), report_path(root)):
            # Of a run that was killed; in a repository another run may be writing this file now.
            remove_unfinished(file, 0.0 if arguments.output else _ABANDONED_S)
        _check(products, overwrite)
    return products


def _folders(products: dict[Unit, Path], output: Path | None) -> list[Path]:
    """The folders to make: those in a repository, or the one that is named, also when nothing goes there."""
    if output is None:
        return sorted({product.parent for product in products.values()})
    return [] if is_file(output) else [output]


def _places(
    units: list[Unit], arguments: argparse.Namespace, repository: DataRepository | None
) -> dict[Unit, Path]:
    """The path of every unit's product. Raises `CommandError` as `assign_products`."""
    output: Path | None = arguments.output
    ending = ".fits.fz" if arguments.compress else ".fits"
    if output is None and repository is None:
        raise CommandError("cannot start", ["say where products go: -o OUT"])
    if output is None:
        framed = {unit: unit.frame for unit in units if unit.frame is not None}
        place = cast(DataRepository, repository).product_path
        return {unit: place(frame.exposure, frame.detector, ending) for unit, frame in framed.items()}
    if not is_file(output):
        return {unit: output / f"{unit.name}_{unit.detector}{ending}" for unit in units}
    if len(units) > 1:
        problem = f"{str(output)!r} is the name of one file, there are {len(units)} units; name a folder"
        raise CommandError("cannot start", [problem])
    return dict.fromkeys(units, output)


def is_file(output: Path) -> bool:
    """Whether the output names a product rather than a folder."""
    return output.name.endswith((".fits", ".fits.fz")) and not output.is_dir()


def report_path(output: Path) -> Path:
    """The report: in the folder, or beside the one product."""
    return output.with_name(f"{stem(output)}_report.json") if is_file(output) else output / "isr_report.json"


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
