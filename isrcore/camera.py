"""Amplifiers, detectors and cameras: frozen descriptions of where pixels are and what they mean."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import attrs
from astropy.time import Time, TimeDelta

from isrcore.camera_toml import format_camera
from isrcore.geometry import Box, Gather, GeometryError, Section, are_disjoint

EMPTY = Box(0, 0, 0, 0)
READOUT_CORNERS = ("LL", "LR", "UL", "UR")


class CameraError(GeometryError):
    """A camera description that contradicts itself; the message lists every contradiction."""


class ReadableText(Protocol):
    """Anything with text to read: a path or a packaged resource."""

    def read_text(self) -> str:
        """The whole text."""
        ...


@attrs.frozen
class Amplifier:
    """One readout channel.

    ``box`` is its place in the assembled (trimmed) detector; ``raw_box`` all it wrote into the raw frame and
    ``raw_data_box``, ``serial_overscan_box``, ``parallel_overscan_box``, ``prescan_box`` parts of that, in
    raw coordinates. ``flip_y`` and ``flip_x`` turn the raw data the assembled way round. ``gain`` is in
    electron/adu, ``read_noise`` in electron, ``saturation`` and ``suspect_level`` in adu of the raw frame
    (pedestal included; NaN = no such level). ``readout_corner`` is a corner of ``box``.
    """

    name: str
    box: Box
    raw_box: Box
    raw_data_box: Box
    serial_overscan_box: Box = EMPTY
    parallel_overscan_box: Box = EMPTY
    prescan_box: Box = EMPTY
    flip_y: bool = False
    flip_x: bool = False
    gain: float = 1.0
    read_noise: float = 0.0
    saturation: float = math.nan
    suspect_level: float = math.nan
    readout_corner: str = "LL"
    linearity_type: str = "None"
    linearity_coeffs: tuple[float, ...] = ()

    def gather(self) -> Gather:
        """The move of this amplifier's data into the assembled detector."""
        return Gather(self.raw_data_box, self.box, self.flip_y, self.flip_x)

    def problems(self) -> Iterator[str]:
        """What contradicts itself, one sentence each."""
        if self.raw_data_box.shape != self.box.shape:
            data, box = self.raw_data_box.to_section(), self.box.to_section()
            yield f"data section {data} and box {box} differ in size"
        parts = (self.raw_data_box, self.serial_overscan_box, self.parallel_overscan_box, self.prescan_box)
        for part in parts:
            if not self.raw_box.contains(part):
                yield f"section {part.to_section()} lies outside the raw section {self.raw_box.to_section()}"
        if not are_disjoint(part for part in parts if part.area):
            yield "data, overscan and prescan sections overlap"
        if self.readout_corner not in READOUT_CORNERS:
            yield f"readout corner {self.readout_corner!r} is none of {', '.join(READOUT_CORNERS)}"


@attrs.frozen
class Detector:
    """One CCD: its amplifiers and, for mosaics, its place in the focal plane.

    ``shape`` is that of the assembled image, ``raw_shape`` that of the raw frame, both (ny, nx). The
    ``reference_pixel`` (x, y) sits at ``offset_mm`` (x, y) of the focal plane, turned by ``yaw_deg``. Raises
    `CameraError` listing every contradiction.
    """

    name: str
    id: int
    shape: tuple[int, int]
    raw_shape: tuple[int, int]
    amplifiers: tuple[Amplifier, ...]
    serial: str = ""
    offset_mm: tuple[float, float] = (0.0, 0.0)
    reference_pixel: tuple[float, float] = (0.0, 0.0)
    yaw_deg: float = 0.0
    pixel_size_mm: float = 0.0

    def __attrs_post_init__(self) -> None:
        """Refuse a layout that contradicts itself."""
        problems = list(self.problems())
        if problems:
            raise CameraError(f"detector {self.name!r} contradicts itself\n  " + "\n  ".join(problems))

    @classmethod
    def of_shape(
        cls,
        shape: tuple[int, int],
        *,
        gain: float = 1.0,
        read_noise: float = 0.0,
        saturation: float = math.nan,
    ) -> Detector:
        """A detector of one amplifier without overscan, for images nobody described."""
        box = Box.of_shape(shape)
        amp = Amplifier("0", box, box, box, gain=gain, read_noise=read_noise, saturation=saturation)
        return cls("unnamed", 0, shape, shape, (amp,))

    def __getitem__(self, name: str) -> Amplifier:
        """The amplifier of that name. Raises KeyError naming those there are."""
        for amp in self.amplifiers:
            if amp.name == name:
                return amp
        raise KeyError(f"detector {self.name!r} has no amplifier {name!r}, it has {self.amplifier_names}")

    @property
    def amplifier_names(self) -> tuple[str, ...]:
        """Names of the amplifiers, in order."""
        return tuple(amp.name for amp in self.amplifiers)

    def by_name(self) -> dict[str, Amplifier]:
        """The amplifiers by name, in order."""
        return {amp.name: amp for amp in self.amplifiers}

    def gathers(self) -> tuple[Gather, ...]:
        """The moves that assemble a raw frame into the trimmed image."""
        return tuple(amp.gather() for amp in self.amplifiers)

    def with_amplifiers(self, **changes: Mapping[str, Any]) -> Detector:
        """The detector with values of amplifiers replaced: ``with_amplifiers(A={"gain": 1.6})``."""
        new = tuple(attrs.evolve(amp, **changes.get(amp.name, {})) for amp in self.amplifiers)
        return attrs.evolve(self, amplifiers=new)

    def problems(self) -> Iterator[str]:
        """What contradicts itself, one sentence each."""
        for amp in self.amplifiers:
            yield from (f"amplifier {amp.name!r}: {problem}" for problem in amp.problems())
            if not Box.of_shape(self.raw_shape).contains(amp.raw_box):
                yield f"amplifier {amp.name!r}: raw section {amp.raw_box.to_section()} leaves the raw frame"
            if not Box.of_shape(self.shape).contains(amp.box):
                yield f"amplifier {amp.name!r}: box {amp.box.to_section()} leaves the detector"
        if len(set(self.amplifier_names)) < len(self.amplifiers):
            yield f"amplifier names repeat: {self.amplifier_names}"
        if not are_disjoint(amp.box for amp in self.amplifiers):
            yield "amplifiers overlap in the assembled detector"
        if not are_disjoint(amp.raw_data_box for amp in self.amplifiers):
            yield "amplifiers share raw data pixels"


@attrs.frozen
class Filter:
    """One piece of glass.

    ``name`` is what headers call it, ``short_name`` what people do, ``aliases`` are further names it has had.
    ``band`` is the part of the spectrum that filters of one kind share, ``wavelength_nm`` the effective
    wavelength or, where none is known, the centre of the passband; NaN when neither is.
    """

    name: str
    short_name: str = ""
    band: str = ""
    wavelength_nm: float = math.nan
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Everything the filter is called."""
        return frozenset({self.name, self.short_name or self.name, *self.aliases})


@attrs.frozen
class Camera:
    """A named set of detectors. ``detectors`` are in order of id; names and ids are unique.

    No two ``filters`` share a name. ``field_to_mm`` says how far from the axis of the focal plane, in mm, a
    field angle in radian falls: the coefficients of a polynomial from the first power on; empty when unknown.
    ``longitude_deg`` of the telescope, east positive, says when a night begins; NaN when unknown.
    """

    name: str
    detectors: tuple[Detector, ...]
    description: str = ""
    filters: tuple[Filter, ...] = ()
    field_to_mm: tuple[float, ...] = ()
    longitude_deg: float = math.nan

    def __attrs_post_init__(self) -> None:
        """Refuse two detectors of one name or id, and filters that share a name."""
        for what in ("name", "id"):
            values = [getattr(detector, what) for detector in self.detectors]
            if len(set(values)) < len(values):
                raise CameraError(f"camera {self.name!r} has two detectors of one {what}: {values}")
        names = [name for one in self.filters for name in one.names]
        if shared := sorted({name for name in names if names.count(name) > 1}):
            raise CameraError(f"camera {self.name!r} has two filters of one name: {', '.join(shared)}")

    def __getitem__(self, key: str | int) -> Detector:
        """The detector of that name or id. Raises KeyError naming those there are."""
        for detector in self.detectors:
            if key in (detector.name, detector.id):
                return detector
        names = ", ".join(detector.name for detector in self.detectors)
        raise KeyError(f"camera {self.name!r} has no detector {key!r}; it has {names}")

    def night(self, date: Time) -> str:
        """The night of a moment: the date of the evening, as in 2022-01-26, by the telescope's own Sun.

        A night lasts from noon to noon of local mean time, of Greenwich where the longitude is not known.
        """
        longitude = 0.0 if math.isnan(self.longitude_deg) else self.longitude_deg
        local = date.utc + TimeDelta((longitude / 15 - 12) * 3600, format="sec")
        return str(local.isot)[:10]

    def filter(self, name: str) -> Filter:
        """The filter of that name, short name or alias. Raises KeyError naming those there are."""
        for one in self.filters:
            if name.strip() in one.names:
                return one
        known = ", ".join(one.name for one in self.filters) or "none"
        raise KeyError(f"camera {self.name!r} has no filter {name!r}; it has {known}")

    @classmethod
    def from_toml(cls, source: ReadableText) -> Camera:
        """Read a camera table.

        Top level: ``name``, ``description``, ``field_to_mm``, ``longitude_deg``; ``[detector]`` values shared
        by all detectors with ``[detector.amplifiers.NAME]`` sections; ``[[detectors]]`` one table each,
        overriding what differs; ``[[filters]]`` one table each. Sections are FITS strings
        (``"[33:1056,1:4612]"``). Raises `CameraError` naming detector or filter and key.
        """
        table = tomllib.loads(source.read_text())
        shared = table.get("detector", {})
        return cls(
            table["name"],
            tuple(_read_detector(_merge(shared, own)) for own in table["detectors"]),
            table.get("description", ""),
            tuple(_read_filter(own) for own in table.get("filters", ())),
            tuple(table.get("field_to_mm", ())),
            float(table.get("longitude_deg", math.nan)),
        )

    def to_toml(self) -> str:
        """The camera table that `from_toml` makes an equal camera of."""
        return format_camera(self)


def _merge(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables merged, ``own`` winning."""
    merged = dict(shared)
    for key, value in own.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _read_detector(table: dict[str, Any]) -> Detector:
    """A detector from its merged table."""
    values = dict(table)
    try:
        amplifiers = tuple(_read_amplifier(name, amp) for name, amp in values.pop("amplifiers").items())
        pairs: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Detector(amplifiers=amplifiers, **pairs)
    except (KeyError, TypeError, ValueError) as fault:
        raise CameraError(f"camera table, detector {table.get('name', '?')!r}: {fault}") from fault


def _read_filter(table: Mapping[str, Any]) -> Filter:
    """A filter from its table."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    try:
        return Filter(**values)
    except TypeError as fault:
        raise CameraError(f"camera table, filter {table.get('name', '?')!r}: {fault}") from fault


def _read_amplifier(name: str, table: Mapping[str, Any]) -> Amplifier:
    """An amplifier from its table; every key that ends in ``box`` is a FITS section."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        values[key] = Section.parse(value).box if key.endswith("box") else value
        if isinstance(value, list):
            values[key] = tuple(value)
    return Amplifier(name=name, **values)
