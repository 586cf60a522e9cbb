"""When and how a frame was taken, from the cards that a camera file names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
from astropy.io.fits import Header
from astropy.time import Time, TimeDelta

from isrcore.camera_files.cards import CardValue, Condition, HeaderFault, parse_card, parse_conditions
from isrcore.camera_files.tables import Table
from isrcore.exposure import VisitInfo
from isrcore.raw_visits import read_date, visit_from_header

NUMBERS = ("exposure_s", "dark_s", "airmass")
ANGLES = ("ra_deg", "dec_deg")
TEXTS = ("filter", "object_name")
KINDS = ("science", "bias", "dark", "flat", "fringe", "arc")
MOMENTS = {"start": 0.5, "middle": 0.0, "end": -0.5}


@attrs.frozen
class DateValue:
    """The card with date or Julian date, the one with the time of day, and what moment they tell."""

    card: CardValue
    clock: str = ""
    moment: str = "start"
    is_mjd: bool = False

    def read(self, header: Header, exposure_s: float) -> Time | None:
        """The middle of the exposure (UTC), None for an optional date. Raises `HeaderFault`."""
        if self.card.find(header) is None:
            return None
        start = self._moment(header)
        if start is None:
            what = f"card {self.card.cards[0]} is {self.card.text(header)!r}"
            raise HeaderFault(
                f"{what}, no date and time that can be read; name the card of the time as clock"
            )
        length = 0.0 if math.isnan(exposure_s) else exposure_s
        middle = start + TimeDelta(MOMENTS[self.moment] * length, format="sec")
        middle.precision = 9
        return middle

    def _moment(self, header: Header) -> Time | None:
        if self.is_mjd:
            moment = Time(self.card.number(header), format="mjd", scale="utc")
            return Time(moment.isot, format="isot", scale="utc")
        cards = {"DATE-OBS": self.card.text(header)}
        if self.clock:
            cards["UT"] = str(header.get(self.clock, "")).strip()
        return read_date(Header(cards))


@attrs.frozen
class VisitTable:
    """Which card tells what of a visit; the first of ``kinds`` whose conditions hold tells what was taken.

    What the file does not name is read from the cards that most observatories write.
    """

    cards: Mapping[str, CardValue]
    date: DateValue | None = None
    kinds: tuple[tuple[str, tuple[Condition, ...]], ...] = ()

    def read(self, header: Header) -> VisitInfo:
        """The visit. Raises `HeaderFault` listing every card that is missing or of no use."""
        faults: list[str] = []
        found = {name: value for name in self.cards for value in self._read(name, header, faults)}
        visit = attrs.evolve(visit_from_header(header), **found)
        if "exposure_s" in found and "dark_s" not in found and "DARKTIME" not in header:
            visit = attrs.evolve(visit, dark_s=visit.exposure_s)
        if self.date is not None:
            try:
                visit = attrs.evolve(visit, date=self.date.read(header, visit.exposure_s))
            except (HeaderFault, ValueError) as fault:
                faults.append(f"raw.visit.date: {fault}")
        elif "exposure_s" in found:
            visit = attrs.evolve(visit, date=read_date(header, visit.exposure_s))
        if faults:
            raise HeaderFault("\n".join(faults))
        return attrs.evolve(visit, observation_type=self.kind(header)) if self.kinds else visit

    def kind(self, header: Header) -> str:
        """What was taken, empty when no rule holds."""
        for kind, conditions in self.kinds:
            if all(condition.holds(header) for condition in conditions):
                return kind
        return ""

    def _read(self, name: str, header: Header, faults: list[str]) -> list[Any]:
        """The value of a field, or none with the reason in ``faults``."""
        card = self.cards[name]
        try:
            if name == "exposure_id":
                number = card.number(header)
                return [0 if math.isnan(number) else int(number)]
            if name in ANGLES:
                return [_degrees(name, card, header)]
            return [card.text(header) if name in TEXTS else card.number(header)]
        except HeaderFault as fault:
            faults.append(f"raw.visit.{name}: {fault}")
            return []


def _degrees(name: str, card: CardValue, header: Header) -> float:
    """An angle in degrees: a number is one, ``12:34:56`` are hours of right ascension or degrees."""
    text = card.text(header)
    if ":" not in text and " " not in text:
        return card.number(header)
    from astropy.coordinates import Angle

    try:
        return float(Angle(text, unit="hourangle" if name == "ra_deg" else "deg").degree)
    except ValueError as fault:
        raise HeaderFault(f"card {card.cards[0]} is {text!r}, no angle: {fault}") from fault


def parse_visit(table: Table, kinds: list[Table]) -> VisitTable:
    """The tables ``raw.visit`` and ``raw.observation_types``."""
    table.knows("exposure_id", *NUMBERS, *ANGLES, *TEXTS, "date")
    cards = {
        name: parse_card(table.table(name), numbers=name in NUMBERS, texts=name in TEXTS)
        for name in ("exposure_id", *NUMBERS, *ANGLES, *TEXTS)
        if name in table
    }
    date = _parse_date(table.table("date")) if "date" in table else None
    table.close()
    return VisitTable(cards, date, tuple(_parse_kind(one) for one in kinds))


def _parse_date(table: Table) -> DateValue:
    """The table ``raw.visit.date``."""
    clock = table.take("clock", str, "").upper()
    moment = table.take("moment", str, "start")
    is_mjd = table.take("mjd", bool, False)
    if moment not in MOMENTS:
        table.complain("moment", f"is {moment!r}, it must be one of {', '.join(MOMENTS)}")
    return DateValue(parse_card(table), clock, moment, is_mjd)


def _parse_kind(table: Table) -> tuple[str, tuple[Condition, ...]]:
    """One table ``raw.observation_types``."""
    kind = table.take("type", str, ...)
    if kind not in (*KINDS, None):
        table.complain("type", f"is {kind!r}, it must be one of {', '.join(KINDS)}")
    conditions = parse_conditions(table.table("when"))
    table.close()
    return kind or "", conditions
