"""``isr calibrate``: the subcommand."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from isrcore import ConfigError, check_writable, expand_paths, hookimpl, write_exposure
from isrcore_calib import repositories
from isrcore_calib.correction import KINDS
from isrcore_calib.inputs import InputReader, Stack
from isrcore_calib.master import Master, MasterError, make_master
from isrcore_calib.places import folder_of, is_file, place

_ABOUT = """Make a master bias, dark or flat from raw frames. Every input is corrected (overscan, saturation,
assembly, variance; darks and flats also for bias, flats for dark if one is given), then the inputs are
averaged pixel by pixel without outliers. Pixels that are bad or saturated in an input do not enter; a pixel
with no input left is flagged BAD. The variance of a master is propagated from its inputs, and the image
NINPUTS says how many each pixel has.

Flats are divided by their own levels and the master by its mean. Darks are scaled to their mean dark time
when their times differ."""

_EXAMPLE = """example:
  isr calibrate bias bias*.fits -o masters/
  isr calibrate flat flat*.fits -o masters/ --bias masters/
  isr calibrate dark dark*.fits -o 'masters/dark_{detector}_300s.fits' --bias masters/

MASTER is a file, a folder (masters are named <kind>_<detector>.fits there) or a name with {detector} in it.

exit status:
  0    the masters were written
  1    one could not be made; the message says why
  2    nothing was done: wrong options or configuration
  130  interrupted
"""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
_COLUMNS = ("detector", "inputs", "left out", "level", "noise", "bad pixels", "master")


@hookimpl
def isr_commands(subcommands: Any) -> None:
    """Add ``calibrate``."""
    parser = subcommands.add_parser(
        "calibrate",
        help="make a master bias, dark or flat from raw frames",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=tuple(KINDS), help="what to make")
    parser.add_argument("files", nargs="+", metavar="FILE",
                        help="raw FITS files, or quoted patterns of them; or one repository")  # fmt: skip
    repositories.add_options(parser.add_argument_group("frames of a repository"))
    parser.add_argument("-o", "--output", metavar="MASTER",
                        help="where the masters go (default with a repository: into it)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace masters that are there already")
    for kind in ("bias", "dark"):
        parser.add_argument(f"--{kind}", metavar="MASTER", help=f"master {kind} to subtract from the inputs")
    parser.add_argument(
        "--detectors", type=_parse_detectors, metavar="A,B", help="names or numbers (default: all)"
    )
    parser.add_argument("-C", "--config-file", nargs="+", action="extend", default=[], metavar="FILE.toml",
                        help="configuration files, in order")  # fmt: skip
    parser.add_argument("-c", "--config", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help="single settings, such as doBias=false")  # fmt: skip
    parser.add_argument("--sigma", type=float, default=3.0, help="leave out values further away (default: 3)")
    parser.add_argument("--memory", type=parse_size, default="1GB", metavar="SIZE",
                        help="memory for inputs and combining; what does not fit goes to a temporary folder "
                        "beside the masters (default: 1GB)")  # fmt: skip
    parser.set_defaults(function=calibrate)


def _parse_detectors(text: str) -> list[Any]:
    """Names, and ids as numbers, from a list with commas."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    return [int(word) if word.isdecimal() else word for word in words]


def parse_size(text: str) -> int:
    """A number of bytes from a text like 500MB or 1.5GB (powers of 1000)."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 500MB or 2GB")
    return int(float(found[1]) * 1000 ** " kmgt".index(found[2].lower() or " "))


def calibrate(arguments: argparse.Namespace) -> int:
    """Make what the command line asks for from the files it names, or from the frames of a repository."""
    repository = arguments.registry.open_repository(arguments.files[0])
    if repository is None or len(arguments.files) > 1:
        return make_calibrations(arguments, expand_paths(arguments.files))
    return repositories.make_in(repository, arguments, make_calibrations)


def make_calibrations(arguments: argparse.Namespace, files: list[Path]) -> int:
    """Correct the inputs, combine them, write a master for every detector. Nothing is written on an error.

    ``arguments`` are those of `isr_commands` except ``files``. Returns the exit status.
    """
    _check_arguments(arguments)
    folder = folder_of(arguments.output)
    with tempfile.TemporaryDirectory(prefix=".isr-calibrate-", dir=folder) as temporary:
        reader = InputReader(arguments, Path(temporary), _check_place)
        for path in _with_progress(arguments, files):
            reader.read(path)
        rows = [_make_one(arguments, reader, stack) for _, stack in sorted(reader.stacks.items())]
    _show(rows)
    return 0


def _with_progress(arguments: argparse.Namespace, paths: list[Path]) -> Iterable[Path]:
    """The paths; on a terminal with a bar that grows."""
    console: Console = arguments.messages
    is_hidden = not console.is_terminal
    return track(paths, f"{arguments.kind} frames", console=console, transient=True, disable=is_hidden)


def _check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect, and nonsense."""
    kind = arguments.kind
    faults = [
        f"--{given}: a master {kind} is not corrected with a {given}; leave it out"
        for given in ("bias", "dark")
        if getattr(arguments, given) and given not in KINDS[kind]
    ]
    if arguments.output is None:
        faults.append("say where the masters go: -o MASTER")
    if not arguments.sigma > 0:
        faults.append(f"--sigma {arguments.sigma}: it must be more than 0")
    if faults:
        raise ConfigError("\n  ".join(["cannot start", *faults]))


def _check_place(arguments: argparse.Namespace, detector: str, others: Iterable[str]) -> None:
    """Refuse a master that could not be written, before its inputs are corrected."""
    names = ", ".join([*others, detector])
    if names != detector and is_file(arguments.output):
        raise MasterError(
            f"{arguments.output!r} is one file, but there are detectors {names}"
            "\n  name a folder, put {detector} into the name, or choose one with --detectors"
        )
    check_writable(place(arguments.output, arguments.kind, detector), overwrite=arguments.overwrite)


def _make_one(arguments: argparse.Namespace, reader: InputReader, stack: Stack) -> tuple[str, ...]:
    """Combine and write one detector's master; its line of the table."""
    master = make_master(
        arguments.kind,
        stack.inputs,
        reader.camera,
        stack.detector,
        num_sigma=arguments.sigma,
        memory=arguments.memory // 2,
    )
    path = place(arguments.output, arguments.kind, stack.detector.name)
    write_exposure(
        master.exposure,
        path,
        overwrite=arguments.overwrite,
        config_text=reader.config.to_toml(),
        provenance=dict(_provenance(arguments, master)),
        extra={"NINPUTS": master.number},
    )
    return _row(master, path)


def _provenance(arguments: argparse.Namespace, master: Master) -> Iterator[tuple[str, str]]:
    """All that went into a master."""
    yield "isrcore", importlib.metadata.version("isrcore")
    yield "sigma", repr(arguments.sigma)
    for kind in KINDS[arguments.kind]:
        if getattr(arguments, kind):
            yield kind, str(place(getattr(arguments, kind), kind, master.exposure.detector.name))
    for number, one in enumerate(master.inputs, 1):
        yield f"input {number}", one.path
        yield f"input {number} sha256", one.digest


def _row(master: Master, path: Path) -> tuple[str, ...]:
    """What the table says of a master."""
    exposure, good = master.exposure, master.number > 0
    level = np.median(exposure.image[good]) if good.any() else np.nan
    noise = np.median(np.sqrt(exposure.variance[good])) if good.any() else np.nan
    left_out, bad = f"{master.clipped_fraction:.3%}", str(np.count_nonzero(~good))
    about = exposure.detector.name, str(len(master.inputs)), left_out, f"{level:.4g}", f"{noise:.4g}"
    return (*about, bad, str(path))


def _show(rows: list[tuple[str, ...]]) -> None:
    """Print the table."""
    width = None if sys.stdout.isatty() else 10_000
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(
            column, overflow="fold", justify="left" if column in ("detector", "master") else "right"
        )
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False, emoji=False, width=width).print(table)
