"""``isr calibrate``: the subcommand."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from isrcore import ConfigError, check_writable, detector_keys, expand_paths, hookimpl, usual_threads
from isrcore_calib import crosstalk, defects, frames, gain, repositories
from isrcore_calib.bad_pixels import Bounds
from isrcore_calib.compare_command import add_compare
from isrcore_calib.faults import MasterError
from isrcore_calib.inputs import InputReader
from isrcore_calib.kinds import KINDS, MASTERS
from isrcore_calib.places import folder_of, is_file, place
from isrcore_calib.rules import METHODS
from isrcore_calib.sky import SkyOptions
from isrcore_calib.table import Rows, show

_ABOUT = """Make calibrations from raw frames: master biases, darks, flats and fringe frames, tables of
defects and crosstalk coefficients for every detector, and a table of gain and read noise for all.

Every input is corrected as far as makes sense for its kind (overscan, saturation, assembly, variance; with
the masters given, bias, dark and flat). Those of a master are combined pixel by pixel without outliers; bad
and saturated pixels do not enter, and a pixel with no input left is flagged BAD. The variance of a master is
propagated from its inputs; the image NINPUTS says how many each pixel has.

Flats are divided by the level of their exposure over all detectors, and the masters by their mean over all
detectors. Darks are scaled to their mean dark time when their times differ. Fringe frames are made from
dithered science frames: stars are masked, the sky is subtracted, what is left is divided by its level.

Defects are found in flats (dead and low pixels and columns) and darks (hot ones); crosstalk from bright
sources of science frames; gain and read noise from pairs of flats and biases. What a frame is of is told by
its header."""

_EXAMPLE = """example:
  isr calibrate bias bias*.fits -o masters/
  isr calibrate flat flat*.fits -o masters/ --bias masters/
  isr calibrate dark dark*.fits -o 'masters/dark_{detector}_300s.fits' --bias masters/
  isr calibrate fringe science*.fits -o masters/ --bias masters/ --flat masters/
  isr calibrate defects flat*.fits dark*.fits -o masters/
  isr calibrate gain flat*.fits bias*.fits -o masters/

MASTER is a file, a folder or a name with {detector} in it. In a folder masters are <kind>_<detector>.fits,
tables defects/<detector>.ecsv, crosstalk/<detector>.ecsv and gain.ecsv.

exit status:
  0    the calibrations were written
  1    one could not be made; the message says why
  2    nothing was done: wrong options or configuration
  130  interrupted
"""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)


@hookimpl
def isr_commands(subcommands: Any) -> None:
    """Add ``calibrate`` and ``compare-calibs``."""
    parser = subcommands.add_parser(
        "calibrate",
        help="make master frames and other calibrations from raw frames",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=tuple(KINDS), help="what to make")
    parser.add_argument("files", nargs="+", metavar="FILE",
                        help="raw FITS files, or quoted patterns of them; or one repository")  # fmt: skip
    repositories.add_options(parser.add_argument_group("frames of a repository"))
    _add_options(parser)
    _add_combining(parser.add_argument_group("combining"))
    _add_sky(parser.add_argument_group("fringes"))
    _add_bounds(parser.add_argument_group("defects", "How far off is bad."))
    parser.add_argument_group("crosstalk").add_argument(
        "--bright", type=float, default=5000.0, metavar="ADU",
        help="look at what pixels so far above the sky leave in other amplifiers (default: 5000)",
    )  # fmt: skip
    parser.set_defaults(function=calibrate)
    add_compare(subcommands)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Where masters go, and how inputs are corrected."""
    parser.add_argument("-o", "--output", metavar="MASTER",
                        help="where the masters go (default with a repository: into it)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace masters that are there already")
    verbs = {"bias": "subtract from", "dark": "subtract from", "flat": "divide"}
    for kind in MASTERS:
        parser.add_argument(f"--{kind}", metavar="MASTER", help=f"master {kind} to {verbs[kind]} the inputs")
    parser.add_argument(
        "--detectors", type=detector_keys, metavar="A,B", help="names or numbers (default: all)"
    )
    parser.add_argument("-C", "--config-file", nargs="+", action="extend", default=[], metavar="FILE.toml",
                        help="configuration files, in order")  # fmt: skip
    parser.add_argument("-c", "--config", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help="single settings, such as doBias=false")  # fmt: skip


def _add_combining(group: Any) -> None:
    """How inputs are combined."""
    group.add_argument("--combine", choices=METHODS, default="clipped",
                       help="mean, median, or mean of what is not clipped (default: clipped)")  # fmt: skip
    group.add_argument("--sigma", type=float, default=3.0, help="leave out values further away (default: 3)")
    group.add_argument("--weighted", action="store_true",
                       help="let frames count by the inverse of their typical variance")  # fmt: skip
    group.add_argument(
        "--normalize", choices=(frames.FOCAL_PLANE, frames.DETECTOR), default=frames.FOCAL_PLANE,
        help="make the mean of flats 1 over all detectors, or in each (default: focal-plane)",
    )  # fmt: skip
    group.add_argument("--memory", type=parse_size, default="1GB", metavar="SIZE",
                       help="memory of the process; inputs that do not fit go to a temporary folder beside "
                       "the masters (default: 1GB)")  # fmt: skip
    group.add_argument("--threads", type=_parse_count, default=usual_threads(), metavar="N",
                       help="threads that combine (default: as many as 'isr run' uses)")  # fmt: skip


def _add_sky(group: Any) -> None:
    """How sky and sources are told apart from fringes."""
    usual = SkyOptions()
    group.add_argument("--box", type=_parse_count, default=usual.box, metavar="PIXELS",
                       help="size of boxes whose medians are the sky, larger than fringes are wide "
                       f"(default: {usual.box})")  # fmt: skip
    group.add_argument("--source-sigma", type=float, default=usual.num_sigma, metavar="SIGMA",
                       help="mask what is brighter in smoothed frames "
                       f"(default: {usual.num_sigma:g})")  # fmt: skip


def _add_bounds(group: Any) -> None:
    """What is a defect."""
    usual = Bounds()
    group.add_argument("--response", type=float, default=usual.response, metavar="FRACTION",
                       help="pixels of flats that differ by more from those around them "
                       f"(default: {usual.response:g})")  # fmt: skip
    group.add_argument("--column", type=float, default=usual.column, metavar="FRACTION",
                       help="columns of flats, 16 pixels or longer, whose median differs by more "
                       f"(default: {usual.column:g})")  # fmt: skip
    group.add_argument("--hot", type=float, default=usual.rate, metavar="RATE",
                       help=f"pixels of darks with more, electron/s (default: {usual.rate:g})")  # fmt: skip


def _parse_count(text: str) -> int:
    """A positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number; give 1 or more")
    return int(text)


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
    # A repository knows its camera, also one that a file describes.
    arguments.registry = getattr(repository, "plugins", arguments.registry)
    return repositories.make_in(repository, arguments, make_calibrations)


def make_calibrations(arguments: argparse.Namespace, files: list[Path]) -> int:
    """Correct the inputs, combine them, write a master for every detector. Nothing is written on an error.

    ``arguments`` are those of `isr_commands` except ``files``. Returns the exit status.
    """
    check_arguments(arguments)
    folder = folder_of(arguments.output, arguments.kind)
    with tempfile.TemporaryDirectory(prefix=".isr-calibrate-", suffix=".part", dir=folder) as temporary:
        reader = InputReader(arguments, Path(temporary), _check_place)
        for path in _with_progress(arguments, files):
            reader.read(path)
        columns, make = _MAKERS[arguments.kind]
        rows = make(arguments, reader, Path(temporary))
    show(columns, rows)
    return 0


#: How each kind is made of corrected inputs, and the columns of what is told of it.
_MAKERS: dict[str, tuple[tuple[str, ...], Callable[[argparse.Namespace, InputReader, Path], Rows]]] = {
    **dict.fromkeys(("bias", "dark", "flat", "fringe"), (frames.COLUMNS, frames.make_frames)),
    "defects": (defects.COLUMNS, defects.make_defects),
    "crosstalk": (crosstalk.COLUMNS, crosstalk.make_crosstalk),
    "gain": (gain.COLUMNS, gain.make_gains),
}


def _with_progress(arguments: argparse.Namespace, paths: list[Path]) -> Iterable[Path]:
    """The paths; on a terminal with a bar that grows."""
    console: Console = arguments.messages
    is_hidden = not console.is_terminal
    return track(paths, f"{arguments.kind} frames", console=console, transient=True, disable=is_hidden)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse options that would have no effect, and nonsense. Raises ConfigError listing all."""
    faults = list(_faults(arguments))
    if faults:
        raise ConfigError("\n  ".join(["cannot start", *faults]))


def _faults(arguments: argparse.Namespace) -> Iterator[str]:
    kind = KINDS[arguments.kind]
    for given in MASTERS:
        if getattr(arguments, given) and given not in kind.masters:
            yield f"--{given}: a master {kind.name} is not corrected with a {given}; leave it out"
    if arguments.output is None:
        yield "say where the masters go: -o MASTER"
    for option in ("response", "column", "hot", "source_sigma", "bright"):
        if not getattr(arguments, option) > 0:
            yield f"--{option.replace('_', '-')} {getattr(arguments, option)}: it must be more than 0"
    if not arguments.sigma > 0:
        yield f"--sigma {arguments.sigma}: it must be more than 0"
    if arguments.weighted and arguments.combine == "median":
        yield "--weighted: a median has no weights; leave it out, or combine by mean or clipped"
    if arguments.normalize != frames.FOCAL_PLANE and kind.name != "flat":
        yield f"--normalize: only flats are normalised, not {kind.name}; leave it out"


def _check_place(arguments: argparse.Namespace, detector: str, others: Iterable[str]) -> None:
    """Refuse a master that could not be written, before its inputs are corrected."""
    target = place(arguments.output, arguments.kind, detector)
    names = ", ".join([*others, detector])
    is_joint = KINDS[arguments.kind].output == "joint"
    if names != detector and is_file(arguments.output) and not is_joint:
        raise MasterError(
            f"{arguments.output!r} is one file, but there are detectors {names}"
            "\n  name a folder, put {detector} into the name, or choose one with --detectors"
        )
    check_writable(target, overwrite=arguments.overwrite)
