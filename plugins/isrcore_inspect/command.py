"""``isr inspect``: look at raw files that no camera describes, and propose a camera file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from isrcore import CameraFile, expand_paths, hookimpl, load_camera_file
from isrcore_inspect.frames import Frame, read_frames, usable
from isrcore_inspect.geometry import CONTRADICTS, Finding, find_image
from isrcore_inspect.levels import find_levels, rows_of
from isrcore_inspect.proposal import Group, write_proposal

OK, FAILED, REFUSED = 0, 1, 2

# Frames of one kind whose pixels are looked at: two flats make a gain.
_FRAMES = 2

_ABOUT = """Look at raw files that no installed camera knows, at headers and pixels, and propose a camera file
(TOML) for --camera: where the data and the overscan are, how many amplifiers there are, gain and read noise,
and what the headers call things. Give files of different kinds together: a bias, a flat, a science frame.

The file is printed, what was found is told in a table on stderr. Every line of the file says whether it is
certain or to be checked; where header and pixels contradict each other, the pixels count."""

_EXAMPLE = """example:
  isr inspect bias1.fits flat1.fits science1.fits -o mycam.toml
  isr run science1.fits --camera mycam.toml -o reduced

exit status:
  0    a camera file is proposed
  1    nothing can be proposed: no file holds an image that tells anything
  2    nothing was done: wrong options, or the output is there already
"""


@hookimpl
def isr_commands(subcommands: Any) -> None:
    """Add ``isr inspect``."""
    parser = subcommands.add_parser(
        "inspect",
        help="propose a camera file for raw files that no camera knows",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="raw FITS files, or quoted patterns of them")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="NAME.toml",
        help="write the camera file there; it must not exist",
    )
    parser.set_defaults(function=inspect)


def inspect(arguments: argparse.Namespace) -> int:
    """Look, tell, propose."""
    output = arguments.output
    if output is not None and output.exists():
        arguments.messages.print(
            f"isr: {str(output)!r} is there already; remove it or choose another name", soft_wrap=True
        )
        return REFUSED
    problems: list[str] = []
    groups = [
        _look(frames, problems)
        for frames in _grouped(read_frames(expand_paths(arguments.files), problems), problems)
    ]
    found = [group for group in groups if group is not None]
    _complain(arguments, problems)
    if not found:
        return FAILED
    text = write_proposal(found)
    findings = [one.at(group.label if len(found) > 1 else "") for group in found for one in group.findings]
    # What does not load is no proposal.
    load_camera_file(CameraFile(Path("proposal.toml"), text))
    _tell(arguments, findings)
    if output is None:
        print(text, end="")
    else:
        with output.open("x", encoding="utf-8") as stream:
            stream.write(text)
        arguments.messages.print(f"wrote {output}", soft_wrap=True)
    return OK


def _grouped(frames: Sequence[Frame], problems: list[str]) -> list[list[Frame]]:
    """Frames by HDU, in the order of the first file; those of another shape are told of."""
    groups: dict[tuple[int, str], list[Frame]] = {}
    for frame in frames:
        group = groups.setdefault((frame.index, frame.name), [])
        if group and group[0].shape != frame.shape:
            problems.append(
                f"{frame.label}: image has shape {frame.shape}, that of {group[0].label} has "
                f"{group[0].shape}; it is left out: inspect files of one read-out mode together"
            )
        else:
            group.append(frame)
    return list(groups.values())


def _look(frames: Sequence[Frame], problems: list[str]) -> Group | None:
    """What is found in one HDU; None when none of its frames tells anything. Pixels are not kept."""
    pixels = usable(_chosen(frames), problems)
    if not pixels:
        return None
    found, findings = find_image(pixels), list[Finding]()
    is_alone = len(found.amplifiers) == 1
    levels = {amp.name: find_levels(amp, pixels, is_alone, findings) for amp in found.amplifiers}
    return Group(frames, found, levels, (*found.findings, *findings))


def _chosen(frames: Sequence[Frame]) -> list[Frame]:
    """Some frames of every kind: more of them tell no more."""
    kinds = dict.fromkeys(frame.kind for frame in frames)
    return [one for kind in kinds for one in [f for f in frames if f.kind == kind][:_FRAMES]]


def _complain(arguments: argparse.Namespace, problems: Sequence[str]) -> None:
    """Tell of files that cannot be used."""
    for problem in problems:
        arguments.messages.print(f"isr: {problem}", soft_wrap=True, style="bold red")


def _tell(arguments: argparse.Namespace, findings: Sequence[Finding]) -> None:
    """What was found, as a table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("verdict", "what", "found", "header"):
        table.add_column(column, overflow="fold")
    for row in rows_of(findings):
        table.add_row(*row, style="bold red" if row[0] == CONTRADICTS else None)
    arguments.messages.print(table)
