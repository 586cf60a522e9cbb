"""Raw files as a camera file says its camera writes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isrcore.camera_files.cards import CardValue, HeaderFault
from isrcore.camera_files.geometry import LEVELS, DetectorTable
from isrcore.camera_files.layouts import Layout
from isrcore.camera_files.visits import ANGLES, MOMENTS, TEXTS
from isrcore.exposure import Exposure, VisitInfo
from isrcore.fits import FitsError
from isrcore.geometry import Box
from isrcore.image import Pixels
from isrcore.raw_writing import (
    Cards,
    RawImage,
    header_of_cards,
    raw_pixels,
    visit_cards,
    wcs_cards,
    write_images,
)

if TYPE_CHECKING:
    from isrcore.camera_files.plugin import FileCamera


def writer_of(camera: FileCamera) -> Callable[[Path, Iterable[Exposure]], None]:
    """A function that writes raw exposures of a camera.

    It raises `FitsError` when the camera's cards cannot tell what the exposures are: a kind of exposure
    without rule, say.
    """

    def write(path: Path, exposures: Iterable[Exposure]) -> None:
        tables = {table.name: table for table in camera.detectors}
        images = (
            image for one in exposures for image in _images(camera, tables[one.detector.name], one, path)
        )
        write_images(path, images)

    return write


def _images(camera: FileCamera, table: DetectorTable, exposure: Exposure, path: Path) -> Iterator[RawImage]:
    """The images of an exposure: one, or one for every amplifier, with the cards that say what they are."""
    told, layout = dict(_primary_cards(camera, exposure, path)), camera.layouts[table.name]
    if not table.hdus:
        hdu = table.hdu
        name = exposure.detector.name if hdu is None else hdu if isinstance(hdu, str) else ""
        cards = {**_detector_cards(table, exposure), **wcs_cards(exposure)}
        number = hdu if isinstance(hdu, int) else None
        yield RawImage(_in_file(raw_pixels(exposure), layout), name, number, told, cards)
        return
    for amp in table.amplifiers:
        hdu, box = table.hdus[amp.name], exposure.detector[amp.name].raw_box
        own = _amplifier_cards(table, exposure, amp.name)
        pixels = np.ascontiguousarray(raw_pixels(exposure)[box.slices])
        name, number = (hdu, None) if isinstance(hdu, str) else ("", hdu)
        yield RawImage(pixels, name, number, told, own)


def _in_file(frame: Pixels, layout: Layout) -> Pixels:
    """A raw frame as the one image of the file has it."""
    if not layout.moves:
        return frame
    image = np.zeros(next(iter(layout.shapes.values())), frame.dtype)
    for move in layout.moves:
        image[move.source.slices] = frame[move.target.slices]
    return image


def _primary_cards(camera: FileCamera, exposure: Exposure, path: Path) -> Cards:
    """Cards by which the file is recognised and the visit is read. Raises `FitsError` when they are not."""
    visit = exposure.visit
    fixed = {one.card: one.example() for one in (*camera.recognise, *camera.require)}
    cards: dict[str, Any] = {**visit_cards(visit), **dict(_visit_cards(camera, visit))}
    cards |= _kind_cards(camera, visit.observation_type)
    cards |= {key: value for key, value in fixed.items() if value is not None}
    header = header_of_cards(cards)
    try:
        read = camera.visit.read(header)
    except HeaderFault as fault:
        raise FitsError(f"cannot write raw file {str(path)!r}: {fault}") from fault
    if read.observation_type != visit.observation_type:
        raise FitsError(
            f"cannot write raw file {str(path)!r}: no cards say {visit.observation_type!r} in the way of "
            f"raw.observation_types of {str(camera.file.path)!r}; they would say {read.observation_type!r}"
        )
    return cards


def _visit_cards(camera: FileCamera, visit: VisitInfo) -> Iterator[tuple[str, Any]]:
    """The cards that the file names, with what reads as this visit."""
    for name, card in camera.visit.cards.items():
        value = getattr(visit, name)
        if isinstance(value, str):
            value = value or (card.ignore[0] if card.ignore else "")
        elif name not in (*ANGLES, *TEXTS) and math.isfinite(value):
            value = _unscaled(card, value)
        if value != "":
            yield card.cards[0], value
    date = camera.visit.date
    if date is not None and visit.date is not None:
        from astropy.time import TimeDelta

        half = visit.exposure_s if math.isfinite(visit.exposure_s) else 0.0
        moment = visit.date.utc - TimeDelta(MOMENTS[date.moment] * half, format="sec")
        moment.precision = 9
        day, _, clock = str(moment.isot).partition("T")
        if date.is_mjd:
            yield date.card.cards[0], float(moment.mjd)
        else:
            yield date.card.cards[0], day if date.clock else f"{day}T{clock}"
        if date.clock:
            yield date.clock, clock


def _unscaled(card: CardValue, value: float) -> float:
    """The number of a card that reads as a value."""
    plain = value / card.scale
    return 1 / plain if card.is_inverse and plain else plain


def _kind_cards(camera: FileCamera, kind: str) -> dict[str, Any]:
    """What the first rule for a kind of exposure wants to see."""
    rules = (conditions for name, conditions in camera.visit.kinds if name == kind)
    found = {one.card: one.example() for one in next(rules, ())}
    return {card: value for card, value in found.items() if value is not None}


def _detector_cards(table: DetectorTable, exposure: Exposure) -> Cards:
    """The cards of all amplifiers."""
    return {
        key: v for amp in table.amplifiers for key, v in _amplifier_cards(table, exposure, amp.name).items()
    }


def _amplifier_cards(table: DetectorTable, exposure: Exposure, name: str) -> Mapping[str, Any]:
    """The cards from which sections and levels of one amplifier are read."""
    amp = exposure.detector[name]
    declared = next(one for one in table.amplifiers if one.name == name)
    cards: dict[str, Any] = {}
    for key, value in declared.values.items():
        if not isinstance(value, CardValue):
            continue
        real = getattr(amp, key)
        if key in LEVELS:
            cards[value.cards[0]] = _unscaled(value, real)
        else:
            cards[value.cards[0]] = _section(key, real, amp, bool(table.hdus))
    return cards


def _section(key: str, box: Box, amp: Any, is_own: bool) -> str:
    """A section as its card has it, in an HDU of its own counted from there; of flipped data backwards."""
    if key != "box":
        moved = box.shift(-amp.raw_box.y0, -amp.raw_box.x0) if is_own else box
        return moved.to_section()
    from isrcore.geometry import Section

    return str(Section(box, amp.flip_y, amp.flip_x))
