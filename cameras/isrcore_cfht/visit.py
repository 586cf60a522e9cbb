"""What a MegaCam header says about when and how the exposure was taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from isrcore import VisitInfo

_CARDS = (
    *("INSTRUME", "EXPNUM", "OBSTYPE", "OBJECT", "FILTER", "AIRMASS"),
    *("DATE-OBS", "UTC-OBS", "EXPTIME", "DARKTIME"),
    *("RADECSYS", "OBJRADEC", "RADESYS", "RA_DEG", "DEC_DEG", "LONGITUD", "LATITUDE"),
)
# Early files do not name the site. Without numbers for it the translator would ask the network.
_SITE = {"LONGITUD": -155.468876, "LATITUDE": 19.825252}
# What is asked of the translator, and a card without which it could only complain.
_PROPERTIES = {
    "exposure_id": "EXPNUM",
    "exposure_time": "EXPTIME",
    "dark_time": "DARKTIME",
    "datetime_begin": "DATE-OBS",
    "physical_filter": "FILTER",
    "object": "OBJECT",
    "observation_type": "OBSTYPE",
    "tracking_radec": "RA_DEG",
    "boresight_airmass": "AIRMASS",
}
_OBSERVATION_TYPES = ("science", "bias", "dark", "flat", "fringe")


def read_visit(header: Mapping[str, Any]) -> VisitInfo:
    """The visit of a raw MegaCam header, translated by astro-metadata-translator.

    The date is the middle of the exposure: DATE-OBS and UTC-OBS plus half of EXPTIME (UTCEND is later by the
    readout, and its date is not stated). Coordinates become ICRS; a telescope that does not follow the sky
    (RADECSYS GAPPT) has none. What the header lacks stays unknown. Raises ModuleNotFoundError, saying what
    to install, without astro-metadata-translator.
    """
    cards = {key: header[key] for key in _CARDS if key in header}
    cards |= {key: place for key, place in _SITE.items() if not isinstance(cards.get(key), float)}
    return _read(tuple(cards.items()))


@lru_cache(maxsize=256)
def _read(cards: tuple[tuple[str, Any], ...]) -> VisitInfo:
    """The visit of these cards. Translating takes long, and all CCDs of an exposure tell the same."""
    told = _translate(dict(cards))
    exposure_s = _number(told.exposure_time, "s")
    place = None if told.tracking_radec is None else told.tracking_radec.icrs
    kind = told.observation_type or ""
    return VisitInfo(
        exposure_id=told.exposure_id or 0,
        exposure_s=exposure_s,
        dark_s=_number(told.dark_time, "s"),
        date=_middle(told.datetime_begin, exposure_s),
        filter=(told.physical_filter or "").strip(),
        object_name=(told.object or "").strip(),
        observation_type=kind if kind in _OBSERVATION_TYPES else "",
        ra_deg=math.nan if place is None else float(place.ra.deg),
        dec_deg=math.nan if place is None else float(place.dec.deg),
        airmass=math.nan if told.boresight_airmass is None else float(told.boresight_airmass),
    )


def _translate(cards: dict[str, Any]) -> Any:
    """The translated properties needed here; others could make the translator use the network."""
    try:
        from astro_metadata_translator import ObservationInfo
        from astro_metadata_translator.translators import MegaPrimeTranslator
    except ModuleNotFoundError as fault:
        raise ModuleNotFoundError(
            'reading MegaCam headers needs astro-metadata-translator\n  pip install "isrcore[cfht]"',
            name=fault.name,
        ) from fault
    if "UTC-OBS" not in cards:
        cards.pop("DATE-OBS", None)  # The translator would take midnight for the time of day.
    known = {name for name, card in _PROPERTIES.items() if card in cards}
    return ObservationInfo(cards, translator_class=MegaPrimeTranslator, subset=known)


def _number(quantity: Any, unit: str) -> float:
    """The value in ``unit``, NaN when unknown."""
    return math.nan if quantity is None else float(quantity.to_value(unit))


def _middle(begin: Any, exposure_s: float) -> Any:
    """UTC half an exposure after ``begin``; ``begin`` itself when the exposure time is unknown.

    None for an exposure that lasts beyond all calendars.
    """
    from astropy.time import TimeDelta

    if begin is None:
        return None
    half = 0.0 if math.isnan(exposure_s) else exposure_s / 2
    try:
        return (begin + TimeDelta(half, format="sec")).utc
    except ValueError:
        return None
