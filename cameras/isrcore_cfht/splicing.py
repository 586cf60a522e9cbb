"""Files with one extension per amplifier, seen as the files per CCD that the observatory makes of them.

The observatory's program imsplice joins the two halves of a CCD "as if read from A amplifier". Here too:
every half is laid the way round its DETSEC says, relative to the CCD's, with the overscan of A to the left
of the data and that of B to the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
from astropy.io.fits import Header

from isrcore import Amplifier, Box, Detector, GeometryError, RawError, RawSource, Section
from isrcore_cfht.camera import CAMERA
from isrcore_cfht.mosaic import find_amplifier, mosaic_section

_AMPLIFIER = re.compile(r"amp\d\d")
# Cards of a half that hold for it alone: imsplice replaces each by one per amplifier, KEY + name.
_OWN_CARDS = ("GAIN", "RDNOISE", "MAXLIN")
_NO_LONGER_TRUE = ("BIASSEC", *_OWN_CARDS)


@attrs.frozen(eq=False)
class Half:
    """One amplifier's extension and how its columns lie in the raw frame of the CCD.

    ``data`` and ``overscan`` are its sections; ``is_reversed`` tells whether columns run the other way.
    """

    extension: Any
    detector: Detector
    amplifier: Amplifier
    data: Box
    overscan: Box
    is_reversed: bool

    def place(self, pixels: np.ndarray[Any, Any], frame: np.ndarray[Any, Any]) -> None:
        """Put the pixels into the CCD's frame. Rows are taken as they are, those above the data too."""
        amp, step = self.amplifier, -1 if self.is_reversed else 1
        for source, target in ((self.data, amp.raw_data_box), (self.overscan, amp.serial_overscan_box)):
            frame[:, target.x0 : target.x1] = pixels[:, source.x0 : source.x1][:, ::step]


@attrs.frozen(eq=False)
class SplicedSource(RawSource):
    """A file with one extension per amplifier as one with an extension per CCD."""

    halves: Mapping[str, tuple[Half, ...]] = attrs.field(factory=dict, repr=False)

    def read(self, extension: Any) -> np.ndarray[Any, Any]:
        """The joined raw frame of a CCD, uint16, (4644, 2112). Raises `RawError` as `RawSource.read`."""
        if extension.name not in self.halves or not self.has_pixels:
            return RawSource.read(self, extension)
        frame = np.empty(extension.shape, np.uint16)
        for half in self.halves[extension.name]:
            half.place(RawSource.read(self, half.extension), frame)
        return frame


def splice(source: RawSource) -> RawSource:
    """The source with its amplifiers joined to CCDs; itself when it has none of its own.

    A CCD is found by where DETSEC places its halves, not by their order. Raises `RawError` listing all
    extensions that fit no amplifier, have other sections than one, or whose other half is missing.
    """
    alone = [item for item in source.images if _AMPLIFIER.fullmatch(item.name.lower())]
    if not alone:
        return source
    problems: list[str] = []
    halves: dict[str, dict[str, Half]] = {}
    for extension in alone:
        for half in _collect(extension, problems):
            first = halves.setdefault(half.detector.name, {}).setdefault(half.amplifier.name, half)
            if first is not half:
                problems.append(f"{extension.label} is the same amplifier as {first.extension.label}")
    problems += _incomplete(halves)
    if problems:
        raise RawError(
            f"MegaCam file {str(source.path)!r} has amplifiers that cannot be joined to CCDs\n  "
            + "\n  ".join(problems)
        )
    pairs = {name: tuple(found[key] for key in sorted(found)) for name, found in sorted(halves.items())}
    joined = tuple(_joined_extension(pair) for pair in pairs.values())
    extensions = (source.extensions[0], *joined)
    return SplicedSource(source.path, extensions, source.has_pixels, source.starts, pairs)


def _incomplete(halves: Mapping[str, Mapping[str, Half]]) -> Iterator[str]:
    """CCDs of which only one half is there."""
    for name, found in sorted(halves.items()):
        missing = [key for key in CAMERA[name].amplifier_names if key not in found]
        if missing:
            there = ", ".join(repr(half.extension.label) for half in found.values())
            yield f"{name}: {there} is there, amplifier {missing[0]} is missing; fetch the whole file"


def _collect(extension: Any, problems: list[str]) -> Iterator[Half]:
    """The half in an extension; or nothing, with the reason in ``problems``."""
    try:
        yield _half(extension)
    except (GeometryError, KeyError, ValueError) as fault:
        problems.append(f"{extension.label}: {fault}")


def _half(extension: Any) -> Half:
    """The amplifier of an extension. Raises ValueError when its sections are not those of the table."""
    section, data, overscan = (Section.parse(extension.header[k]) for k in ("DETSEC", "DATASEC", "BIASSEC"))
    found = find_amplifier(section, CAMERA.detectors)
    if found is None:
        raise ValueError(f"DETSEC {section} is the place of no CCD")
    detector, amp = found
    whole = mosaic_section(detector)
    if section.flip_y != whole.flip_y:
        raise ValueError(f"DETSEC {section} has its rows in another order than {detector.name}, {whole}")
    widths = (data.box.width, overscan.box.width, *extension.shape)
    wanted = (amp.raw_data_box.width, amp.serial_overscan_box.width, *amp.raw_box.shape)
    if widths != wanted:
        raise ValueError(
            f"data and overscan columns and frame are {widths}, those of {detector.name} are {wanted}"
        )
    return Half(extension, detector, amp, data.box, overscan.box, section.flip_x != whole.flip_x)


def _joined_extension(halves: tuple[Half, ...]) -> Any:
    """The extension of the CCD: the first half's, with header and shape of the whole."""
    detector = halves[0].detector
    header = halves[0].extension.header.copy()
    for card in _NO_LONGER_TRUE:
        header.remove(card, ignore_missing=True)
    header.update(_cards(detector, halves))
    return attrs.evolve(
        halves[0].extension, name=detector.name, header=Header(header), shape=detector.raw_shape
    )


def _cards(detector: Detector, halves: tuple[Half, ...]) -> dict[str, Any]:
    """What imsplice writes: sections of the whole CCD, and a card per amplifier for what differs."""
    amps, rows = detector.amplifiers, detector.raw_shape[0]
    data = Box(0, detector.shape[0], amps[0].raw_data_box.x0, amps[-1].raw_data_box.x1)
    cards: dict[str, Any] = {
        "EXTNAME": detector.name,
        "EXTVER": detector.id,
        "AMPNAME": " + ".join(str(half.extension.header.get("AMPNAME", "")).strip() for half in halves),
        "DETSEC": str(mosaic_section(detector)),
        "DATASEC": data.to_section(),
    }
    for half in halves:
        amp, header = half.amplifier, half.extension.header
        serial = amp.serial_overscan_box
        cards[f"DETSEC{amp.name}"] = header["DETSEC"]
        cards[f"DSEC{amp.name}"] = amp.raw_data_box.to_section()
        cards[f"BSEC{amp.name}"] = Box(0, rows, serial.x0, serial.x1).to_section()
        cards |= {f"{key}{amp.name}": header[key] for key in _OWN_CARDS if key in header}
    for key in _OWN_CARDS:
        values = [half.extension.header[key] for half in halves if key in half.extension.header]
        if len(values) == len(halves):
            cards[key] = sum(values) / len(values)
    return cards
