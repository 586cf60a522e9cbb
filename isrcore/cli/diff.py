"""``isr diff``: why two products differ."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isrcore.cli.faults import FAILED, OK, CommandError
from isrcore.cli.terminal import make_console
from isrcore.exposure import Exposure
from isrcore.fits import FitsError, read_exposure
from isrcore.geometry import Box
from isrcore.origins import AS_IT_WAS, Input, Origins, differing
from isrcore.registry import Registry

_ABOUT = """Compare two products: what went into them, how they were configured, and their pixels. Masters
that differ are followed to their own inputs."""

_EXAMPLE = """example:
  isr diff products/science1_sim0.fits again/science1_sim0.fits

exit status:
  0    pixels, flags and variances are the same to the bit
  1    they differ
  2    they cannot be compared
"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "diff",
        help="explain why two products differ",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("one", "other"):
        parser.add_argument(name, type=Path, metavar="PRODUCT", help="a product or master")
    parser.set_defaults(function=compare)


def compare(arguments: argparse.Namespace) -> int:
    """Print what differs. Raises `CommandError` for what cannot be compared."""
    one, other = (_read(path) for path in (arguments.one, arguments.other))
    console = make_console()
    pixels = list(pixel_differences(one[1], other[1]))
    for title, lines in (
        ("inputs", list(input_differences(one[0], other[0]))),
        ("configuration", list(config_differences(one[0], other[0]))),
        ("made by", list(maker_differences(*one, *other))),
        ("pixels", pixels),
    ):
        console.print(f"{title}:" + ("" if lines else " the same"))
        for line in lines:
            console.print(f"  {line}", soft_wrap=True)
    return FAILED if pixels else OK


def _read(path: Path) -> tuple[Origins, Exposure]:
    try:
        return Origins.read(path), read_exposure(path)
    except (FitsError, OSError) as fault:
        raise CommandError("cannot compare", [str(fault)]) from fault


def input_differences(one: Origins, other: Origins, depth: str = "") -> Iterator[str]:
    """Inputs that are not the same, by digest; masters that differ are looked into."""
    mine, theirs = (_by_kind(origins) for origins in (one, other))
    for kind in [*mine, *(kind for kind in theirs if kind not in mine)]:
        ours, others = mine.get(kind, []), theirs.get(kind, [])
        if _identities(ours) == _identities(others):
            continue
        yield f"{depth}{kind}: {_names(ours)} here, {_names(others)} there"
        if len(ours) == len(others) == 1 and kind != "raw":
            yield from _inside(ours[0], one.path, others[0], other.path, f"{depth}  ")


def _by_kind(origins: Origins) -> dict[str, list[Input]]:
    found: dict[str, list[Input]] = {}
    for one in origins.inputs:
        found.setdefault(one.kind, []).append(one)
    return found


def _identities(inputs: list[Input]) -> list[str]:
    """What inputs are, whatever they are called."""
    return sorted(one.digest or one.path for one in inputs)


def _names(inputs: list[Input]) -> str:
    names = (f"{one.path} [{one.digest[:12]}]" if one.digest else one.path for one in inputs)
    return ", ".join(names) or "none"


def _inside(one: Input, product: Path, other: Input, its_product: Path, depth: str) -> Iterator[str]:
    """Why two masters differ, where both are still what they were."""
    found = one.find(product), other.find(its_product)
    for given, located in zip((one, other), found, strict=True):
        if located.state != AS_IT_WAS:
            yield f"{depth}{given.path} is no longer what it was: its own inputs cannot be told"
            return
    try:
        origins = [Origins.read(located.path) for located in found if located.path is not None]
    except FitsError:
        return
    yield from input_differences(origins[0], origins[1], depth)
    yield from (f"{depth}{line}" for line in config_differences(origins[0], origins[1]))


def config_differences(one: Origins, other: Origins) -> Iterator[str]:
    """Settings that differ, and who set them."""
    for name, mine, theirs in differing(one.config, other.config):
        yield f"{name}: {_setting(one, name, mine)} here, {_setting(other, name, theirs)} there"


def _setting(origins: Origins, name: str, value: Any) -> str:
    return origins.settings.get(name, "not known" if value is None else f"{value!r} (default)")


def maker_differences(one: Origins, mine: Exposure, other: Origins, theirs: Exposure) -> Iterator[str]:
    """Versions and other notes, and the steps that only one had."""
    if one.version != other.version:
        yield f"isrcore {one.version} here, {other.version} there"
    for name, text, its in differing(one.notes, other.notes):
        yield f"{name}: {text} here, {its} there"
    for step, by, its in differing(_steps(mine), _steps(theirs)):
        yield f"step {step!r}: {by or 'not done'} here, {its or 'not done'} there"


def _steps(exposure: Exposure) -> dict[str, str]:
    return {entry.step: f"{entry.plugin} {entry.version}" for entry in exposure.history}


def pixel_differences(one: Exposure, other: Exposure) -> Iterator[str]:
    """How many pixels differ in every plane, by how much at most and where."""
    if one.shape != other.shape:
        yield f"shape: {one.shape} here, {other.shape} there"
        return
    if one.unit != other.unit:
        yield f"unit: {one.unit or 'none'} here, {other.unit or 'none'} there"
    for name in ("image", "variance"):
        yield from _plane(name, getattr(one, name), getattr(other, name), one)
    for plane in sorted({*one.pixels.planes.bits, *other.pixels.planes.bits}):
        count = int(np.count_nonzero(_flags(one, plane) != _flags(other, plane)))
        if count:
            yield f"flag {plane}: {count} pixels"


def _flags(exposure: Exposure, plane: str) -> Any:
    """Which pixels have a flag; none where the exposure does not know it."""
    known = plane in exposure.pixels.planes.bits
    return exposure.pixels.flagged(plane) if known else np.zeros(exposure.shape, np.bool_)


def _plane(name: str, mine: Any, theirs: Any, exposure: Exposure) -> Iterator[str]:
    """One plane, compared to the bit: NaN equals the same NaN, and -0.0 is not 0.0."""
    different = mine.view(np.int32) != theirs.view(np.int32)
    if not different.any():
        return
    with np.errstate(invalid="ignore"):
        gap = np.abs(mine - theirs)
    gap[~different] = 0
    worst = np.unravel_index(int(np.argmax(np.nan_to_num(gap, nan=np.inf))), gap.shape)
    y, x = map(int, worst)
    pixel = Box(y, y + 1, x, x + 1)
    owners = (f", amplifier {amp.name}" for amp in exposure.detector.amplifiers if amp.box.contains(pixel))
    yield (
        f"{name}: {int(different.sum())} of {mine.size} pixels; most at (x {x}, y {y}{next(owners, '')}): "
        f"{mine[worst]!s} here, {theirs[worst]!s} there"
    )
