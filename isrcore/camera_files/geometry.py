"""Detectors whose sections and levels are numbers of the file or cards of a header."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from astropy.io.fits import Header

from isrcore.camera import EMPTY, Amplifier, CameraError, Detector
from isrcore.camera_files.cards import CardValue, HeaderFault, is_card, parse_card
from isrcore.camera_files.layouts import PARTS, Layout, Move, lay_apart, lay_side_by_side
from isrcore.camera_files.tables import Table
from isrcore.geometry import Box, GeometryError, Section

SECTIONS = ("box", "raw_box", "raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")
LEVELS = ("gain", "read_noise", "saturation", "suspect_level")
_OTHERS = {"flip_y": bool, "flip_x": bool, "readout_corner": str, "linearity_type": str}
_DETECTOR = {"serial": str, "yaw_deg": float, "pixel_size_mm": float}
_PAIRS = ("shape", "raw_shape", "offset_mm", "reference_pixel")

#: An HDU by number or name.
Hdu = int | str


class UnknownGeometryError(ValueError):
    """Sections that only a file can tell."""


@attrs.frozen
class Sight:
    """What a file shows of one detector: the header and the shape of the image of each amplifier."""

    headers: Mapping[str, Header]
    shapes: Mapping[str, tuple[int, int]]


@attrs.frozen
class AmplifierTable:
    """An amplifier as the file has it; ``values`` are fields of `Amplifier`, some of them cards."""

    name: str
    values: Mapping[str, Any]
    place: str


@attrs.frozen
class DetectorTable:
    """A detector as the file has it.

    ``hdu`` is the HDU of its raw frame, None for the one of its name; ``hdus`` those of amplifiers that have
    one each. ``binning`` divides places that cards give in unbinned pixels.
    """

    name: str
    values: Mapping[str, Any]
    amplifiers: tuple[AmplifierTable, ...]
    hdu: Hdu | None = None
    hdus: Mapping[str, Hdu] = attrs.field(factory=dict)
    binning: CardValue | None = None

    @property
    def has_cards(self) -> bool:
        """Whether files differ: then each gets a detector of its own."""
        return any(isinstance(value, CardValue) for amp in self.amplifiers for value in amp.values.values())

    def nominal(self) -> Layout:
        """The detector without a file; of shape (0, 0) when only files know it. Raises `CameraError`."""
        try:
            return self.layout(None)
        except UnknownGeometryError:
            amps = tuple(self._unknown(amp) for amp in self.amplifiers)
            own = {key: value for key, value in self.values.items() if key not in ("shape", "raw_shape")}
            return Layout(Detector(shape=(0, 0), raw_shape=(0, 0), amplifiers=amps, **own))

    def _unknown(self, amp: AmplifierTable) -> Amplifier:
        """An amplifier without places."""
        others = _resolve(amp, None, [key for key in amp.values if key not in SECTIONS])
        return Amplifier(amp.name, EMPTY, EMPTY, EMPTY, **others)

    def layout(self, sight: Sight | None) -> Layout:
        """The detector of a file, or None for one without. Raises `CameraError` or `HeaderFault`."""
        found, faults = dict[str, dict[str, Any]](), list[str]()
        for amp in self.amplifiers:
            try:
                found[amp.name] = _resolve(amp, None if sight is None else sight.headers[amp.name])
            except (HeaderFault, GeometryError) as fault:
                faults.append(f"amplifier {amp.name!r}: {fault}")
        if faults:
            raise HeaderFault("\n".join(faults))
        seen = self._complete_raw_boxes(found, sight)
        self._place_boxes(found, sight)
        raw_shape, moves, shapes = self._lay(found, seen)
        amplifiers = tuple(_amplifier(name, values) for name, values in found.items())
        shape = self.values.get("shape", _extent(amp.box for amp in amplifiers))
        own = {key: value for key, value in self.values.items() if key not in ("shape", "raw_shape")}
        return Layout(Detector(amplifiers=amplifiers, shape=shape, raw_shape=raw_shape, **own), moves, shapes)

    def _lay(
        self, found: dict[str, dict[str, Any]], seen: tuple[int, int]
    ) -> tuple[tuple[int, int], tuple[Move, ...], dict[str, tuple[int, int]]]:
        """The raw frame made of the images in the file; as it is where raw sections are told."""
        if self.hdus:
            return lay_side_by_side(found)
        is_told = any("raw_box" in amp.values for amp in self.amplifiers)
        return (seen, (), {}) if is_told else lay_apart(found, seen)

    def _complete_raw_boxes(self, found: dict[str, dict[str, Any]], sight: Sight | None) -> tuple[int, int]:
        """Find out what each amplifier wrote; the shape of the image in the file."""
        told = self.values.get("raw_shape")
        for name, values in found.items():
            shape = told if sight is None else sight.shapes[name]
            values["raw_box"] = _whole(values, shape, self.hdus or len(found) == 1)
            if self.hdus and shape is not None and shape != values["raw_box"].box.shape:
                raise CameraError(
                    f"amplifier {name!r}: image has shape {shape}, raw_box {values['raw_box'].box.shape}"
                )
        if told is None and sight is not None and self.has_cards:
            return next(iter(sight.shapes.values()))
        return told or _extent(values["raw_box"].box for values in found.values())

    def _place_boxes(self, found: dict[str, dict[str, Any]], sight: Sight | None) -> None:
        """Complete boxes: those of cards counted from the detector's own corner, in binned pixels."""
        by_card = {amp.name for amp in self.amplifiers if isinstance(amp.values.get("box"), CardValue)}
        if by_card and self.binning is not None and sight is not None:
            for name in by_card:
                found[name]["box"] = _binned(found[name]["box"], self.binning, sight.headers[name])
        if by_card:
            corner_y = min(found[name]["box"].box.y0 for name in found)
            corner_x = min(found[name]["box"].box.x0 for name in found)
            for name in by_card:
                section = found[name]["box"]
                found[name]["box"] = attrs.evolve(section, box=section.box.shift(-corner_y, -corner_x))
        for name, values in found.items():
            if "box" not in values:
                if len(found) > 1:
                    raise CameraError(f"amplifier {name!r}: box is missing")
                values["box"] = Section(Box.of_shape(values["raw_data_box"].box.shape))


def _whole(values: Mapping[str, Any], shape: tuple[int, int] | None, is_alone: Any) -> Section:
    """All that an amplifier wrote: as told, else its whole image, else the least around its parts."""
    if "raw_box" in values:
        whole: Section = values["raw_box"]
        return whole
    if is_alone and shape is not None:
        return Section(Box.of_shape(shape))
    parts = [values[key].box for key in PARTS if key in values]
    low_y, low_x = min(part.y0 for part in parts), min(part.x0 for part in parts)
    if is_alone:
        low_y = low_x = 0
    return Section(Box(low_y, max(part.y1 for part in parts), low_x, max(part.x1 for part in parts)))


def _extent(boxes: Any) -> tuple[int, int]:
    """The shape of the least frame around boxes."""
    every = list(boxes)
    return max(box.y1 for box in every), max(box.x1 for box in every)


def _binned(section: Section, binning: CardValue, header: Header) -> Section:
    """A section in unbinned pixels as one in binned ones; the card has the factors of columns and rows."""
    words = binning.text(header).replace(",", " ").replace("x", " ").split()
    factors = [int(word) for word in words if word.isdecimal()]
    if len(factors) not in (1, 2) or min(factors) < 1:
        raise HeaderFault(f"card {binning.cards[0]} is {binning.text(header)!r}, no binning like '2 2'")
    x, y = factors[0], factors[-1]
    box = section.box
    return attrs.evolve(section, box=Box(box.y0 // y, box.y1 // y, box.x0 // x, box.x1 // x))


def _resolve(amp: AmplifierTable, header: Header | None, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Values with cards read, sections parsed. Raises `HeaderFault` with all that is wrong."""
    resolved, faults = dict[str, Any](), list[str]()
    for key in amp.values if keys is None else keys:
        try:
            resolved[key] = _value(key, amp.values[key], header)
        except (HeaderFault, GeometryError) as fault:
            faults.append(f"{key}: {fault}")
    if faults:
        raise HeaderFault("; ".join(faults))
    return resolved


def _value(key: str, value: Any, header: Header | None) -> Any:
    if isinstance(value, CardValue) and header is None:
        if key not in SECTIONS:
            return math.nan if value.nominal is None else float(value.nominal)
        if value.nominal is None:
            raise UnknownGeometryError(key)
        return Section.parse(value.nominal)
    if isinstance(value, CardValue):
        # Some headers pad the numbers of sections with blanks, some put blanks before the bracket.
        return Section.parse(value.text(header).replace(" ", "")) if key in SECTIONS else value.number(header)
    return Section.parse(value) if key in SECTIONS else value


def _amplifier(name: str, values: Mapping[str, Any]) -> Amplifier:
    """An amplifier; data that run one way in the raw frame and another in the detector are flipped."""
    box, data = values["box"], values["raw_data_box"]
    flips = {"flip_y": box.flip_y != data.flip_y, "flip_x": box.flip_x != data.flip_x}
    plain = {key: value.box if key in SECTIONS else value for key, value in values.items()}
    return Amplifier(name=name, **{**flips, **plain})


def parse_detector(table: Table, hdus: Mapping[str, Any], binning: CardValue | None) -> DetectorTable:
    """A detector from its merged table and the HDUs that the file names."""
    table.knows(*_DETECTOR, *_PAIRS)
    name = table.take("name", str, ...) or "?"
    values: dict[str, Any] = {"name": name, "id": table.take("id", int, 0)}
    values |= {key: table.take(key, kind) for key, kind in _DETECTOR.items() if key in table}
    values |= {key: _pair(table, key) for key in _PAIRS if key in table}
    inner = table.table("amplifiers")
    amplifiers = tuple(_parse_amplifier(inner.table(key), key) for key in inner.values)
    if not amplifiers:
        table.complain("amplifiers", "there is none; write [detectors.amplifiers.NAME]")
    table.close()
    told = hdus.get(name)
    own = told if isinstance(told, Mapping) else {}
    read = DetectorTable(name, values, amplifiers, None if own else told, own, binning)
    if own and set(own) != {amp.name for amp in amplifiers}:
        table.problems.append(f"raw.hdus.{name}: name an HDU for each of its amplifiers and no other")
    if own and "raw_shape" in values:
        table.complain("raw_shape", "follows from the HDUs of the amplifiers; leave it out")
    return read


def _pair(table: Table, key: str) -> tuple[Any, ...]:
    """Two numbers; two whole and positive ones for a shape."""
    value = table.take(key, list, [0, 0])
    kind: Any = int if key.endswith("shape") else int | float
    if len(value) != 2 or not all(isinstance(one, kind) and not isinstance(one, bool) for one in value):
        table.complain(key, f"is {value!r}, it must be two numbers")
        return (0, 0)
    return tuple(value)


def _parse_amplifier(table: Table, name: str) -> AmplifierTable:
    """An amplifier from its table."""
    table.knows(*SECTIONS, *LEVELS, *_OTHERS, "linearity_coeffs")
    values: dict[str, Any] = {}
    for key in (*SECTIONS, *LEVELS):
        if key in table:
            values[key] = _parse_value(table, key)
    values |= {key: table.take(key, kind) for key, kind in _OTHERS.items() if key in table}
    if "linearity_coeffs" in table:
        values["linearity_coeffs"] = tuple(table.take("linearity_coeffs", list, []))
    if "raw_data_box" not in table:
        table.complain("raw_data_box", "is missing")
    table.close()
    return AmplifierTable(name, {k: v for k, v in values.items() if v is not None}, table.place)


def _parse_value(table: Table, key: str) -> Any:
    """A section or a number, or the card that has it."""
    is_section = key in SECTIONS
    if is_card(table.take_any(key)):
        card = parse_card(table.table(key), numbers=not is_section, nominal=None)
        inner = Table({"nominal": card.nominal} if card.nominal is not None else {}, table.named(key), [])
        inner.take("nominal", str if is_section else float)
        table.problems.extend(inner.problems)
        if is_section and isinstance(card.nominal, str):
            _check_section(table, key, card.nominal)
        return card
    value = table.take(key, str if is_section else float)
    if is_section and value is not None:
        _check_section(table, key, value)
    return value


def _check_section(table: Table, key: str, text: str) -> None:
    """Complain of a text that is no section."""
    try:
        Section.parse(text)
    except GeometryError as fault:
        table.complain(key, str(fault))
