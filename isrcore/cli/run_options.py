"""Options of a run besides its inputs: where products go, how fast, what is kept of it, what is shown."""

from __future__ import annotations

import argparse
from pathlib import Path

from isrcore.fits_compression import COMPRESSIONS
from isrcore.kernels.bands import MOST_THREADS, usual_threads

#: What --show can show.
SHOWN = "config[=PATTERN], history=PATTERN, tasks, data, run"


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add all groups of options."""
    _add_output(parser)
    _add_speed(parser)
    _add_record(parser)
    group = parser.add_argument_group("instead of running")
    group.add_argument(
        "--show",
        nargs="+",
        action="extend",
        default=[],
        metavar="WHAT",
        help=f"print {SHOWN}; with 'run' among them the run follows, else nothing is processed",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Where products go."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="folder for the products, made if it is not there; for a single unit also a name in .fits "
        "(default with a repository: the repository)",
    )
    group.add_argument("--overwrite", action="store_true", help="replace products that are there already")
    group.add_argument(
        "--force",
        action="store_true",
        help="in a repository: also do what is finished, made of the same inputs with the same configuration "
        "and versions",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="only show what would be done, and what is finished"
    )
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


def _add_speed(parser: argparse.ArgumentParser) -> None:
    """How units are shared among processes."""
    group = parser.add_argument_group("speed")
    group.add_argument(
        "-j",
        "--jobs",
        type=parse_count,
        default=1,
        metavar="N",
        help="processes that work on units at the same time (default: 1), each with less than 1 GB of memory",
    )
    group.add_argument(
        "--threads",
        type=parse_count,
        metavar="N",
        help="threads for pixels in each process (default: one with several --jobs, else one for each core, "
        f"at most {MOST_THREADS})",
    )
    group.add_argument(
        "-t",
        "--timeout",
        type=_parse_seconds,
        metavar="SECONDS",
        help="a unit that takes longer fails, and the others go on (default: no limit)",
    )


def _add_record(parser: argparse.ArgumentParser) -> None:
    """What is kept of a run, and what happens when the output folder holds something else."""
    group = parser.add_argument_group(
        "record",
        "An output folder keeps the configuration, the schemas and the package versions of what is in it, "
        "and the metadata of every unit, in its folder record. A run with others is refused.",
    )
    group.add_argument(
        "--clobber-config",
        action="store_true",
        help="replace the configuration and the schemas that are kept, with a backup as file~1, file~2 ...",
    )
    group.add_argument("--no-backup-config", action="store_true", help="replace them without a backup")
    group.add_argument(
        "--clobber-versions", action="store_true", help="replace the package versions that are kept"
    )
    group.add_argument("--no-versions", action="store_true", help="neither keep nor compare package versions")


def threads_of(arguments: argparse.Namespace) -> int:
    """How many threads each process uses for pixels: those asked for, else as the help says."""
    if arguments.threads is not None:
        return int(arguments.threads)
    # Processes share the cores already.
    return 1 if arguments.jobs > 1 else usual_threads()


def parse_count(text: str) -> int:
    """A positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number; give 1 or more")
    return int(text)


def _parse_seconds(text: str) -> float:
    """A positive number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return seconds
