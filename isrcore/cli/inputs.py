"""Arguments that ``isr run`` and ``isr plan`` share."""

from __future__ import annotations

import argparse
from typing import Any

from isrcore.cli.data_ids import KEYS
from isrcore.registry import Registry
from isrcore.words import detector_keys


def add_arguments(parser: argparse.ArgumentParser, registry: Registry) -> None:
    """Raw files, an option for every kind of calibration that an installed step reads, and settings."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="raw FITS files, quoted patterns of them, or folders: then all files in them",
    )
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
    group.add_argument(
        "--policy",
        choices=("nearest", "before", "latest"),
        default="nearest",
        help="which valid calibration of a repository: the nearest in time (default), the nearest "
        "taken before the exposure, or the latest version",
    )
    _add_settings(parser)
    _add_choice(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Files and single values of the configuration."""
    group = parser.add_argument_group(
        "settings",
        "Later ones win: defaults, the camera's, the task's, then -C and -c in the order given.",
    )
    group.add_argument(
        "-C",
        "--configfile",
        nargs="+",
        action=_Override,
        dest="overrides",
        default=[],
        metavar="FILE.toml",
        help="configuration files",
    )
    group.add_argument(
        "-c",
        "--config",
        nargs="+",
        action=_Override,
        dest="overrides",
        default=[],
        metavar="KEY=VALUE",
        help="single settings, such as doDark=false or overscan.fitType=MEDIAN",
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    """Which units."""
    group = parser.add_argument_group("choice of units")
    group.add_argument(
        "--id",
        nargs="*",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only units that have all of these; values are separated by ^, numbers may be ranges "
        f"first..last or first..last:step, and --id may be repeated. Keys: {', '.join(KEYS)}",
    )
    group.add_argument(
        "--detectors",
        type=parse_detectors,
        metavar="A,B",
        help="names or numbers of detectors (default: all in the file)",
    )


class _Override(argparse.Action):
    """Keeps files and settings in the order in which they are given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Append (whether it is a file, text) for every word."""
        is_file = option_string in ("-C", "--configfile")
        kept = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*kept, *((is_file, word) for word in values)])


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


def parse_detectors(text: str) -> list[str | int]:
    """Names, and ids as numbers, from a list with commas."""
    keys = detector_keys(text)
    if not keys:
        raise argparse.ArgumentTypeError("name at least one detector, as in --detectors ccd00,ccd01")
    return keys
