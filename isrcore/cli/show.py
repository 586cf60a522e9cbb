"""``isr show``: pictures of raw frames and products."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isrcore.cli.faults import EXIT_STATUS, FAILED, OK, CommandError, reason_of
from isrcore.cli.inputs import parse_detectors
from isrcore.cli.shown import Subject, find_subjects
from isrcore.cli.terminal import make_console
from isrcore.mosaics import draw_focal_plane
from isrcore.paths import expand_paths
from isrcore.pictures import SHOWN, STRETCHES, Picture, PictureStyle, draw_exposure
from isrcore.registry import Registry
from isrcore.task import TaskError
from isrcore.words import split_words

_ENDING = ".png"

_ABOUT = """Draw pictures (PNG) of raw frames and products, plain or compressed. Flagged pixels are half
covered with the colour of their mask plane; a legend names the planes and their share of the pixels. Pixels
that are not finite are magenta. Row 0 is the lowest, as astronomers draw images.

A file with several detectors, or the products of one exposure given together, becomes one picture of the
focal plane, x to the right and y up. There, and with --trim, raw frames are assembled and the median of each
amplifier's overscan is subtracted, for the eye only; otherwise a raw frame is shown as it was read out."""

_EXAMPLE = """example:
  isr show night/science1.fits
  isr show reduced/science1_*.fits -o science1.png --planes SAT,BAD
  isr show masters/flat_ccd00.fits --stretch linear --limits 0.9,1.1

"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "show",
        help="draw pictures of raw frames and products",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="FITS files, or quoted patterns of them")
    _add_content(parser)
    _add_look(parser)
    group = parser.add_argument_group("output")
    text = "a name in .png, or a folder that is there (default: the current one) for names like the files'"
    group.add_argument("-o", "--output", type=Path, default=Path(), metavar="OUT", help=text)
    group.add_argument("--overwrite", action="store_true", help="replace pictures that are there already")
    parser.set_defaults(function=show)


def _add_content(parser: argparse.ArgumentParser) -> None:
    """Options for what is drawn."""
    group = parser.add_argument_group("what to show")
    text = "names or numbers of detectors (default: all in the files)"
    group.add_argument("--detectors", type=parse_detectors, metavar="A,B", help=text)
    text = "image, variance, or the mask planes alone (default: image)"
    group.add_argument("--plane", choices=SHOWN, default="image", help=text)
    text = "mask planes to draw (default: all that are set but INTRP, DETECTED and DETECTED_NEGATIVE)"
    planes = group.add_mutually_exclusive_group()
    planes.add_argument("--planes", type=_parse_planes, metavar="A,B", help=text)
    planes.add_argument(
        "--no-mask", action="store_const", const=(), dest="planes", help="draw no mask planes"
    )
    group.add_argument("--trim", action="store_true", help="show raw frames assembled, without overscan")
    group.add_argument(
        "--raw-levels", action="store_true", help="keep the amplifiers' levels when raw frames are assembled"
    )


def _add_look(parser: argparse.ArgumentParser) -> None:
    """Options for how it is drawn."""
    group = parser.add_argument_group("how to show it")
    text = "black and white, in the unit of the image (default: chosen from the pixels); --limits=-5,90"
    group.add_argument("--limits", type=_parse_limits, metavar="LO,HI", help=text)
    text = "how brightness grows in between (default: asinh)"
    group.add_argument("--stretch", choices=STRETCHES, default="asinh", help=text)
    text = "longest side of the image in pixels (default: 1200)"
    group.add_argument("--size", type=_parse_size, default=1200, metavar="N", help=text)


def _parse_planes(text: str) -> tuple[str, ...]:
    """Names from a list with commas."""
    return tuple(split_words(text))


def _parse_limits(text: str) -> tuple[float, float]:
    """Two numbers, the smaller one first."""
    try:
        low, high = (float(word) for word in text.split(","))
        return PictureStyle(limits=(low, high)).limits or (low, high)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(
            f"{text!r} are no limits; give two numbers as in 200,5000"
        ) from fault


def _parse_size(text: str) -> int:
    """A number of pixels that shows something."""
    if not text.isdecimal() or not 16 <= int(text) <= 20_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give a number of pixels from 16 to 20000")
    return int(text)


def show(arguments: argparse.Namespace) -> int:
    """Draw every picture; what goes wrong with one is told and loses no other."""
    registry: Registry = arguments.registry
    subjects = find_subjects(registry, expand_paths(arguments.files), arguments.detectors)
    targets = _targets(subjects, arguments)
    style = PictureStyle(
        arguments.plane,
        arguments.planes,
        arguments.limits,
        arguments.stretch,
        arguments.size,
        is_trimmed=arguments.trim,
        keeps_levels=arguments.raw_levels,
    )
    status = OK
    for subject, target in zip(subjects, targets, strict=True):
        try:
            picture = _draw(registry, subject, style)
            _write(picture, target)
        except Exception as fault:  # a reader is anybody's code
            if arguments.traceback:
                arguments.messages.print_exception()
            arguments.messages.print(f"isr: {target}: {reason_of(fault)}", soft_wrap=True, style="bold red")
            status = FAILED
        else:
            height, width, _ = picture.pixels.shape
            told = f"wrote {target}: {_count(subject)}, {width} x {height} pixels, {picture.limits}"
            make_console().print(told, soft_wrap=True)
    return status


def _draw(registry: Registry, subject: Subject, style: PictureStyle) -> Picture:
    """The picture of one subject."""
    if len(subject.parts) == 1:
        return draw_exposure(next(subject.read(registry)), style)
    return draw_focal_plane(subject.detectors, subject.read(registry), style)


def _write(picture: Picture, target: Path) -> None:
    """Write a picture. Raises `TaskError` when that is impossible."""
    try:
        picture.write(target)
    except OSError as fault:
        raise TaskError(f"picture {str(target)!r} cannot be written: {fault.strerror}; free space") from fault


def _count(subject: Subject) -> str:
    """The detector, or how many."""
    parts = subject.parts
    return f"detector {parts[0].detector.name}" if len(parts) == 1 else f"{len(parts)} detectors"


def _targets(subjects: list[Subject], arguments: argparse.Namespace) -> list[Path]:
    """The path of every picture. Raises `CommandError` with all that stands in the way."""
    output: Path = arguments.output
    is_file = output.suffix.lower() == _ENDING and not output.is_dir()
    targets = [output if is_file else output / f"{subject.stem}{_ENDING}" for subject in subjects]
    problems = [*_output_problems(output, is_file, len(subjects))]
    problems += [] if problems else _target_problems(targets, arguments.overwrite)
    if problems:
        raise CommandError("cannot write pictures", problems)
    return targets


def _output_problems(output: Path, is_file: bool, count: int) -> Iterator[str]:
    """What is wrong with the place that pictures should go to."""
    folder = output.parent if is_file else output
    if not folder.is_dir():
        advice = "" if is_file or not output.suffix else f", or end the name of a picture in {_ENDING}"
        yield f"there is no folder {str(folder)!r}; make it first{advice}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"folder {str(folder)!r} is not writable; choose another with -o"
    if is_file and count > 1:
        yield f"{str(output)!r} is the name of one file, there are {count} pictures; name a folder"


def _target_problems(targets: list[Path], overwrite: bool) -> Iterator[str]:
    """Pictures that are there already, or would replace each other."""
    for target in dict.fromkeys(targets):
        if targets.count(target) > 1:
            yield f"{targets.count(target)} pictures would become {str(target)!r}; show them one at a time"
        elif target.is_dir():
            yield f"{str(target)!r} is a folder; choose another name with -o"
        elif target.exists() and not overwrite:
            yield f"{str(target)!r} exists; remove it, choose another name with -o, or allow --overwrite"
