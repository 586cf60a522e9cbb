"""Checks of where a camera says its pixels are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise

import numpy as np

from isrcore.camera import Amplifier, Detector
from isrcore.geometry import Box, GeometryError, Section, flip
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, checks

_PARTS = ("box", "raw_box", "raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")


def _amplifiers(case: CameraCase) -> Iterator[tuple[str, Detector, Amplifier]]:
    """Every amplifier of every detector, and how messages name it."""
    for detector in case.camera.detectors:
        for amp in detector.amplifiers:
            yield f"amplifier {amp.name!r} of detector {detector.name!r}", detector, amp


@checks("all boxes lie inside the frame and no pixel belongs to two amplifiers")
def check_boxes(case: CameraCase) -> Iterator[Fault]:
    """Boxes inside raw frame and detector, not empty; amplifiers disjoint in both."""
    for where, detector, amp in _amplifiers(case):
        for name, shape in (("box", detector.shape), ("raw_box", detector.raw_shape)):
            box, whole = getattr(amp, name), Box.of_shape(shape)
            if not (box.area and whole.contains(box)):
                yield Fault(
                    f"{where} has {name} {box.to_section()} outside of {whole.to_section()}",
                    f"{name} = {box.to_section()!r}",
                    f"let {name} lie inside, or correct the detector's {name.replace('box', 'shape')}",
                )
        for problem in amp.problems():
            yield Fault(f"{where}: {problem}", _sections(amp), "correct the sections in the camera table")
    for detector in case.camera.detectors:
        yield from _overlaps(detector)


def _sections(amp: Amplifier) -> str:
    """The sections of an amplifier as a camera table has them."""
    boxes = ((name, getattr(amp, name)) for name in _PARTS)
    return ", ".join(f"{name} = {box.to_section()!r}" for name, box in boxes if box.area)


def _overlaps(detector: Detector) -> Iterator[Fault]:
    """Amplifiers that share pixels."""
    for one, other in combinations(detector.amplifiers, 2):
        for name in ("box", "raw_box"):
            common = getattr(one, name).intersect(getattr(other, name))
            if common.area:
                yield Fault(
                    f"amplifiers {one.name!r} and {other.name!r} of detector {detector.name!r} overlap: "
                    f"{common.area} pixels belong to both",
                    f"{name} of both holds {common.to_section()}",
                    f"let {name} of one end where that of the other begins",
                )


@checks("the amplifiers' boxes cover every assembled detector exactly once")
def check_tiling(case: CameraCase) -> Iterator[Fault]:
    """No pixel of an assembled detector without an amplifier."""
    for detector in case.camera.detectors:
        gap = first_gap([amp.box for amp in detector.amplifiers], Box.of_shape(detector.shape))
        if gap is not None:
            yield Fault(
                f"detector {detector.name!r} has a gap: pixels that belong to no amplifier",
                f"pixels {gap.to_section()}",
                f"let the boxes of {', '.join(map(repr, detector.amplifier_names))} tile the whole shape "
                f"{list(detector.shape)}, or correct shape",
            )


def first_gap(boxes: Iterable[Box], whole: Box) -> Box | None:
    """The first part of ``whole`` that no box covers, None when there is none.

    Looked for on the grid of the boxes' edges, so its cost does not depend on the number of pixels.
    """
    parts = [part.intersect(whole) for part in boxes]
    ys = sorted({whole.y0, whole.y1, *(y for part in parts for y in (part.y0, part.y1))})
    xs = sorted({whole.x0, whole.x1, *(x for part in parts for x in (part.x0, part.x1))})
    for y0, y1 in pairwise(ys):
        for x0, x1 in pairwise(xs):
            cell = Box(y0, y1, x0, x1)
            if not any(part.area and part.contains(cell) for part in parts):
                return cell
    return None


@checks("turning an amplifier's pixels twice changes nothing, and prescans lie where reading began")
def check_flips(case: CameraCase) -> Iterator[Fault]:
    """Flips are involutions and agree with readout corners and prescans."""
    for where, detector, amp in _amplifiers(case):
        yield from _flip_faults(where, amp)
        yield from _prescan_faults(where, amp)
        yield from _corner_faults(where, detector, amp)


def _flip_faults(where: str, amp: Amplifier) -> Iterator[Fault]:
    """Boxes and pixels that do not come back when they are flipped twice."""
    pixels, turn = np.arange(12).reshape(3, 4), (amp.flip_y, amp.flip_x)
    local = amp.raw_data_box.relative_to(amp.raw_box)
    twice = local.flip(amp.raw_box.shape, *turn).flip(amp.raw_box.shape, *turn)
    is_same = np.array_equal(flip(flip(pixels, *turn), *turn), pixels)
    moved = amp.gather()
    if not is_same or twice != local or moved.inverse().inverse() != moved:
        yield Fault(
            f"{where}: its pixels do not come back when they are flipped twice",
            f"flip_y = {amp.flip_y!r}, flip_x = {amp.flip_x!r}, raw_data_box = {amp.raw_data_box}",
            "let flip_y and flip_x be true or false",
        )


def _prescan_faults(where: str, amp: Amplifier) -> Iterator[Fault]:
    """A prescan is read before the data: assembled, it would lie on the side of the readout corner."""
    data, prescan = amp.raw_data_box, amp.prescan_box
    is_beside = prescan.area and (prescan.x1 <= data.x0 or prescan.x0 >= data.x1)
    if not is_beside:
        return
    lies_right, reads_right = (prescan.x0 >= data.x1) != amp.flip_x, amp.readout_corner.endswith("R")
    if lies_right != reads_right:
        yield Fault(
            f"{where} is flipped the wrong way: its prescan comes to lie on the "
            f"{'right' if lies_right else 'left'}, but it is read from corner {amp.readout_corner}",
            f"prescan_box = {prescan.to_section()!r}, raw_data_box = {data.to_section()!r}, "
            f"flip_x = {str(amp.flip_x).lower()}, readout_corner = {amp.readout_corner!r}",
            "correct flip_x or readout_corner: prescan pixels are read before the data, so they lie on the "
            "side of the corner; if these pixels are read after the data, call them overscan",
        )


def _corner_faults(where: str, detector: Detector, amp: Amplifier) -> Iterator[Fault]:
    """Amplifiers lie in the file as they were read (then corners tell the flips) or as on the detector."""
    first = detector.amplifiers[0]
    for axis, far in (("x", "R"), ("y", "U")):
        flips = {one.name: getattr(one, f"flip_{axis}") for one in detector.amplifiers}
        if not any(flips.values()):
            continue
        if (flips[first.name] == (far in first.readout_corner)) != (
            flips[amp.name] == (far in amp.readout_corner)
        ):
            yield Fault(
                f"{where} is flipped in {axis} and amplifier {first.name!r} is not by the same rule: "
                f"they do not lie in the file the same way round",
                "; ".join(
                    f"{one.name}: readout_corner = {one.readout_corner!r}, "
                    f"flip_{axis} = {str(flips[one.name]).lower()}"
                    for one in (first, amp)
                ),
                f"correct flip_{axis} or readout_corner of one: where pixels lie in the order they were "
                f"read, those with {far} in their corner are flipped and the others are not",
            )


@checks("every box survives being written as a FITS section and read again")
def check_sections(case: CameraCase) -> Iterator[Fault]:
    """Box to section text and back, both ways round."""
    for where, _, amp in _amplifiers(case):
        for name in _PARTS:
            box = getattr(amp, name)
            if not box.area:
                continue
            for turn in ((False, False), (amp.flip_y, amp.flip_x)):
                text = str(Section(box, *turn))
                found = _parsed(text)
                if found != Section(box, *turn):
                    yield Fault(
                        f"{where}: {name} is not what its section says",
                        f"{name} = {box} is written {text!r} and read as {found}",
                        "let boxes be whole numbers of pixels from 0 on",
                    )


def _parsed(text: str) -> Section | str:
    """The section, or why it is none."""
    try:
        return Section.parse(text)
    except GeometryError as fault:
        return str(fault)
