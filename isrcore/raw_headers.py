"""Headers of raw FITS files: merged, without what describes the file, and the WCS in them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import suppress
from copy import copy

from astropy.io.fits import Card, Header, VerifyError
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

_log = logging.getLogger(__name__)

# Keywords that describe the file or the extension, not the exposure.
FILE_KEYWORDS = frozenset(
    {"SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "NEXTEND", "PCOUNT", "GCOUNT", "GROUPS", "INHERIT"}
    | {"BSCALE", "BZERO", "BLANK", "EXTNAME", "EXTVER", "EXTLEVEL"}
    | {"CHECKSUM", "DATASUM", "ZHECKSUM", "ZDATASUM"}
)

# Keywords of cards without a value, which come in any number.
_REMARKS = frozenset({"", "COMMENT", "HISTORY"})


def merge_headers(primary: Header, extension: Header) -> Header:
    """The cards of both that say something about the exposure; where they differ the extension wins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        for card in primary.cards if extension is not primary else ():
            # A card keeps what was read in it, and copies have it: forty extensions read it once.
            if card.keyword in extension:
                with suppress(VerifyError):
                    _ = card.value, card.comment
        merged = without_file_keywords(primary)
        return merged if extension is primary else extended(merged, without_file_keywords(extension))


def extended(header: Header, more: Header) -> Header:
    """What ``header.extend(more, update=True)`` makes of a header, with all that is new put in at once.

    `Header.append` looks through the whole header for every card. Both headers are used up.
    """
    if any(card.is_blank for card in (*header.cards[-1:], *more.cards)):
        # New cards take the place of blank ones, one by one.
        header.extend(more, update=True)
        return header
    new = list(_update(header, more))
    cards = list(header.cards)
    end = next((n for n in range(len(cards), 0, -1) if cards[n - 1].keyword not in _REMARKS), 0)
    remarks = [card for card in new if card.keyword in _REMARKS]
    values = [card for card in new if card.keyword not in _REMARKS]
    return Header([*cards[:end], *values, *cards[end:], *remarks])


def _update(header: Header, more: Header) -> Iterator[Card]:
    """Give cards of a header the values of others; the cards that it does not have."""
    remarks = {keyword: list(header[keyword]) for keyword in _REMARKS if keyword in header}
    for card in more.cards:
        keyword = card.keyword
        if keyword in _REMARKS:
            if card.value not in remarks.get(keyword, ()):
                yield card
        elif keyword in header:
            header[keyword] = card.value, card.comment
        else:
            yield card


def without_file_keywords(header: Header) -> Header:
    """A copy without the cards that describe the file."""
    # Only tables have columns, whose cards are many.
    plain = header.copy(strip=True) if "TFIELDS" in header else header
    axes = {f"NAXIS{number + 1}" for number in range(plain.get("NAXIS", 0))}
    kept = []
    for card in plain.cards:
        keyword = card.keyword.upper()
        if keyword in axes:
            axes.remove(keyword)
        elif keyword not in FILE_KEYWORDS:
            kept.append(copy(card))
    return Header(kept)


def celestial_wcs(header: Header) -> WCS | None:
    """The WCS of a header, None unless it has two celestial axes.

    Obsolete cards are neither reported nor rewritten: they do not move a position.
    """
    if "CTYPE1" not in header:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            wcs = WCS(header, fix=False, naxis=2)
        except Exception as fault:  # wcslib raises many kinds; a raw frame is useful without a WCS
            _log.warning("header holds no usable WCS: %s", fault)
            return None
    return wcs if wcs.has_celestial and wcs.naxis == 2 else None
