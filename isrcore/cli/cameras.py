"""``isr cameras``: what the installed plugins know."""

from __future__ import annotations

import argparse
import math
from typing import Any

from isrcore.camera import Amplifier, Camera
from isrcore.cli.faults import EXIT_STATUS, OK
from isrcore.cli.terminal import make_console, make_table
from isrcore.registry import Registry

_ABOUT = """List the cameras of the installed plugins and of camera files; with a name, the detectors of that
camera and their amplifiers: where each one's pixels are (FITS sections of the assembled image and of the raw
frame), gain, read noise and saturation as the camera's table has them."""

_EXAMPLE = """example:
  isr cameras
  isr cameras MegaCam

"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "cameras",
        help="list cameras, detectors and amplifiers",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the detectors of this camera")
    parser.set_defaults(function=show_cameras)


def show_cameras(arguments: argparse.Namespace) -> int:
    """Print all cameras, or one with its detectors. Raises `RegistryError` for an unknown name."""
    registry: Registry = arguments.registry
    if arguments.name:
        _show_detectors(registry.camera(arguments.name))
    else:
        _show_all(registry)
    return OK


def _show_all(registry: Registry) -> None:
    """A line per camera."""
    owners = registry.camera_owners
    table = make_table(
        ("camera", "plugin", "detectors", "amplifiers", "shape", "description"),
        numbers=("detectors", "amplifiers"),
    )
    for name, camera in registry.cameras.items():
        amplifiers = sum(len(detector.amplifiers) for detector in camera.detectors)
        shapes = sorted({_shape(detector.shape) for detector in camera.detectors})
        count = str(len(camera.detectors))
        table.add_row(name, owners[name], count, str(amplifiers), ", ".join(shapes), camera.description)
    make_console().print(table)


def _show_detectors(camera: Camera) -> None:
    """A line per amplifier."""
    console = make_console()
    console.print(f"{camera.name}: {camera.description or 'no description'}", soft_wrap=True)
    columns = ("detector", "id", "shape", "raw shape", "amplifier", "box", "raw data", "overscan")
    levels = ("gain", "read noise", "saturation")
    table = make_table((*columns, *levels), numbers=("id", *levels))
    for detector in camera.detectors:
        about = detector.name, str(detector.id), _shape(detector.shape), _shape(detector.raw_shape)
        for amp in detector.amplifiers:
            table.add_row(*about, *_amplifier_cells(amp))
            about = "", "", "", ""
    console.print(table)
    console.print(
        "shapes are rows x columns; gain in electron/adu, read noise in electron, saturation in adu"
    )


def _amplifier_cells(amp: Amplifier) -> tuple[str, ...]:
    """What the table says of an amplifier."""
    overscan = amp.serial_overscan_box if amp.serial_overscan_box.area else amp.parallel_overscan_box
    section = overscan.to_section() if overscan.area else "none"
    boxes = amp.box, amp.raw_data_box
    sections = (str(box.to_section()) if box.area else "by header" for box in boxes)
    levels = (_level(level) for level in (amp.gain, amp.read_noise, amp.saturation))
    return (amp.name, *sections, str(section), *levels)


def _level(level: float) -> str:
    """A level, if it is known without a file."""
    return "unknown" if math.isnan(level) else f"{level:g}"


def _shape(shape: tuple[int, int]) -> str:
    """Rows x columns."""
    return f"{shape[0]} x {shape[1]}" if any(shape) else "by header"
