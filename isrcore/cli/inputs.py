"""Arguments that ``isr run`` and ``isr plan`` share."""

from __future__ import annotations

import argparse
from typing import Any

from isrcore.registry import Registry


def add_arguments(parser: argparse.ArgumentParser, registry: Registry) -> None:
    """Raw files, an option for every kind of calibration that an installed step reads, and settings."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="raw FITS files, or quoted patterns of them")
    group = parser.add_argument_group(
        "calibrations",
        "Each option takes a file, or a folder, pattern or list with one for every detector (of fringe "
        "frames also several); the right one is chosen by the detector's name. Giving one switches its "
        "step on. Tables, as of defects (.fits, .ecsv, text), are named after their detector in a folder. A "
        "file of the observatory's own that the camera's plugin knows serves all detectors in it.",
    )
    for kind, flags in calibration_flags(registry).items():
        text = f"{kind} for {', '.join(flags)}" if flags else f"{kind} to use"
        option = f"--{option_name(kind)}"
        group.add_argument(
            option, dest=kind, nargs="+", action="extend", default=[], metavar="PATH", help=text
        )
    group = parser.add_argument_group(
        "settings", "Later ones win: defaults, the camera's, -C files, calibration options, -c."
    )
    group.add_argument(
        "-C",
        "--config-file",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE.toml",
        help="configuration files, in order",
    )
    group.add_argument(
        "-c",
        "--config",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="single settings, such as doDark=false or overscan.fitType=MEDIAN",
    )
    group.add_argument(
        "--detectors",
        type=parse_detectors,
        metavar="A,B",
        help="names or numbers of detectors (default: all in the file)",
    )


def option_name(kind: str) -> str:
    """What the option for a kind of calibration is called: "bf-kernel" for bfKernel."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind)


def calibration_flags(registry: Registry) -> dict[str, tuple[str, ...]]:
    """Every kind of calibration that a step reads, with the switches of those steps."""
    specs = registry.specs.values()
    kinds = sorted(frozenset[str]().union(*(spec.kinds for spec in specs)))
    return {
        kind: tuple(sorted(spec.flag for spec in specs if kind in spec.kinds and spec.flag is not None))
        for kind in kinds
    }


def parse_detectors(text: str) -> list[Any]:
    """Names, and ids as numbers, from a list with commas."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError("name at least one detector, as in --detectors ccd00,ccd01")
    return [int(word) if word.isdecimal() else word for word in words]
