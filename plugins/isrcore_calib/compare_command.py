"""``isr compare-calibs``: the subcommand."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import attrs

from isrcore import ConfigError, Defects, read_exposure
from isrcore_calib.comparison import ComparisonBounds, Finding, compare_defects, compare_masters
from isrcore_calib.faults import MasterError
from isrcore_calib.table import show

_ABOUT = """Compare new calibrations with those before: masters (bias, dark, flat, fringe) amplifier by
amplifier, and tables of defects. The median difference is told in the unit of the frames, in sigmas of a
pixel as the variances say, and relative to the old level where there is one; the scatter of the differences
relative to that expected; and how many pixels became bad, or good again."""

_EXAMPLE = """example:
  isr compare-calibs masters/bias_sim0.fits january/bias_sim0.fits
  isr compare-calibs masters january --bound relative=0.01 scatter=2

Of folders the masters of equal names are compared; of folders without masters the tables of defects.

exit status:
  0    nothing differs by more than the bounds
  1    something does, or could not be compared; the message says what
  2    nothing was done: wrong options
"""

COLUMNS = (
    "detector",
    "amplifier",
    "difference",
    "sigma",
    "relative",
    "scatter",
    "new bad",
    "no longer",
    "verdict",
)


def add_compare(subcommands: Any) -> None:
    """Add ``compare-calibs``."""
    parser = subcommands.add_parser(
        "compare-calibs",
        help="compare new calibrations with those before",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("new", type=Path, metavar="NEW", help="a master, a table of defects, or a folder")
    parser.add_argument("old", type=Path, metavar="OLD", help="the one before")
    told = ", ".join(f"{key}={value:g}" for key, value in attrs.asdict(ComparisonBounds()).items())
    parser.add_argument("--bound", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                        help="differences that may be, by default " + told + ": median difference in sigmas "
                        "of a pixel and relative (both must be exceeded, where there is a level), scatter "
                        "over the expected one, fraction of pixels bad in one only")  # fmt: skip
    parser.set_defaults(function=compare)


def parse_bounds(words: list[str]) -> ComparisonBounds:
    """Bounds from words like relative=0.01. Raises ConfigError listing all that is wrong."""
    known, found, faults = attrs.fields_dict(ComparisonBounds), dict[str, float](), []
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if name not in known or not value >= 0:
            faults.append(f"--bound {word}: write NAME=VALUE with one of {', '.join(known)} and 0 or more")
        found[name] = value
    if faults:
        raise ConfigError("\n  ".join(["cannot start", *faults]))
    return ComparisonBounds(**found)


def compare(arguments: argparse.Namespace) -> int:
    """Compare, tell, and return the exit status."""
    bounds = parse_bounds(arguments.bound)
    pairs = pairs_of(arguments.new, arguments.old)
    findings = [one for new, old in pairs for one in compare_files(new, old, bounds)]
    show(COLUMNS, [_row(one) for one in findings])
    return int(any(one.beyond for one in findings))


def pairs_of(new: Path, old: Path) -> list[tuple[Path, Path]]:
    """Files to compare. Raises `MasterError` naming those that are in one folder only."""
    missing = [str(path) for path in (new, old) if not path.exists()]
    if missing or new.is_dir() != old.is_dir():
        what = f"{', '.join(missing)}: not there" if missing else "one is a folder, the other is not"
        raise MasterError(f"cannot compare {str(new)!r} with {str(old)!r}\n  {what}")
    if not new.is_dir():
        return [(new, old)]
    here, there = (_names(folder) for folder in (new, old))
    if here != there or not here:
        odd = ", ".join(sorted(here ^ there)) or "nothing to compare"
        raise MasterError(f"{str(new)!r} and {str(old)!r} do not hold the same calibrations: {odd}")
    return [(new / name, old / name) for name in sorted(here)]


def _names(folder: Path) -> set[str]:
    """The masters in a folder; of one without masters the tables."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    masters = {name for name in names if name.endswith(_FRAMES)}
    return masters or {name for name in names if name.endswith(".ecsv")}


_FRAMES = (".fits", ".fits.fz")


def compare_files(new: Path, old: Path, bounds: ComparisonBounds) -> tuple[Finding, ...]:
    """Compare two masters, or two tables of defects. Raises `MasterError` and what their readers raise."""
    if new.name.endswith(_FRAMES) and old.name.endswith(_FRAMES):
        return compare_masters(read_exposure(new), read_exposure(old), bounds)
    if new.suffix == old.suffix == ".ecsv":
        return compare_defects(Defects.read(new), Defects.read(old), None, bounds)
    raise MasterError(f"{str(new)!r} and {str(old)!r} are not two masters, nor two tables of defects (.ecsv)")


def _row(one: Finding) -> tuple[str, ...]:
    """A line of the table."""
    relative = f"{one.relative:+.2%}" if one.relative == one.relative else "-"
    numbers = (f"{value:.4g}" for value in (one.difference, one.in_noise))
    counts = (str(one.appeared), str(one.gone))
    verdict = "; ".join(one.beyond) or "as before"
    return (one.detector, one.amplifier or "-", *numbers, relative, f"{one.scatter:.3g}", *counts, verdict)
