"""When and how a raw frame was taken, from the cards most observatories write."""

from __future__ import annotations

import math
import re

from astropy.io.fits import Header
from astropy.time import Time, TimeDelta

from isrcore.exposure import VisitInfo

# A word in OBSTYPE or IMAGETYP, and what it means; the first that is found counts ("twilight" holds "light").
_OBSERVATION_TYPES = {
    "bias": "bias",
    "zero": "bias",
    "dark": "dark",
    "fringe": "fringe",
    "flat": "flat",
    "twilight": "flat",
    "object": "science",
    "science": "science",
    "light": "science",
}
_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2}(?:\.\d*)?)")


def visit_from_header(header: Header) -> VisitInfo:
    """Visit from the cards most observatories write; what is missing stays unknown.

    EXPNUM or OBSNUM, EXPTIME, DARKTIME (else EXPTIME), DATE-OBS with UTC-OBS, TIME-OBS or UT, FILTER, OBJECT,
    OBSTYPE or IMAGETYP, AIRMASS, RA and DEC where they are numbers (degrees).
    """
    number = read_number(header, "EXPNUM", "OBSNUM")
    exposure_s = read_number(header, "EXPTIME")
    return VisitInfo(
        exposure_id=0 if math.isnan(number) else int(number),
        exposure_s=exposure_s,
        dark_s=read_number(header, "DARKTIME", "EXPTIME"),
        date=read_date(header, exposure_s),
        filter=read_text(header, "FILTER"),
        object_name=read_text(header, "OBJECT"),
        observation_type=parse_observation_type(read_text(header, "OBSTYPE", "IMAGETYP")),
        ra_deg=read_number(header, "RA"),
        dec_deg=read_number(header, "DEC"),
        airmass=read_number(header, "AIRMASS"),
    )


def read_number(header: Header, *keywords: str) -> float:
    """The first of these cards that holds a finite number, NaN when none does."""
    for keyword in keywords:
        value = header.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return math.nan


def read_text(header: Header, *keywords: str) -> str:
    """The first of these cards that holds a text, without outer blanks; empty when none does."""
    texts = (header.get(keyword) for keyword in keywords)
    return next((text.strip() for text in texts if isinstance(text, str) and text.strip()), "")


def read_date(header: Header, exposure_s: float = math.nan) -> Time | None:
    """Middle of the exposure (UTC): the start in DATE-OBS plus half of ``exposure_s``.

    The time of day comes from DATE-OBS itself, else from UTC-OBS, TIME-OBS or UT. None when either part is
    missing or cannot be read: a date without a time of day would be half a day wrong.
    """
    day, _, clock = read_text(header, "DATE-OBS").rstrip("Z").partition("T")
    found = _CLOCK.fullmatch(clock or read_text(header, "UTC-OBS", "TIME-OBS", "UT"))
    if not found:
        return None
    hours, minutes, seconds = found.groups()
    try:
        start = Time(
            f"{day}T{int(hours):02}:{int(minutes):02}:{seconds.zfill(2)}", format="isot", scale="utc"
        )
        start.precision = 9
        return start if math.isnan(exposure_s) else start + TimeDelta(exposure_s / 2, format="sec")
    except ValueError:  # also of an exposure that lasts beyond all calendars
        return None


def parse_observation_type(text: str) -> str:
    """One of science, bias, dark, flat or fringe from an observatory's word; empty when it is none."""
    word = text.lower()
    return next((meaning for part, meaning in _OBSERVATION_TYPES.items() if part in word), "")
