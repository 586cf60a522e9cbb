"""Cards that give back the value they got."""

from __future__ import annotations

import math
from typing import Any

from astropy.io import fits

from isrcore.fits_columns import escape
from isrcore.fits_planes import CARD


def make_card(keyword: str, value: Any) -> fits.Card:
    """A card that gives back the value it got; what FITS has no number for becomes a text."""
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    return exact_card(fits.Card(keyword, escape(value) if isinstance(value, str) else value))


def exact_card(card: fits.Card) -> fits.Card:
    """The card, rewritten when astropy would cut its number to 20 characters."""
    # astropy takes its time to tell a value.
    told = card.value
    value = float(told) if isinstance(told, float) else 0.0
    if len(repr(value)) <= 20 or fits.Card.fromstring(str(card)).value == value:
        return card
    keyword = card.keyword if len(card.keyword) <= 8 else f"HIERARCH {card.keyword}"
    return fits.Card.fromstring(f"{keyword:8}= {repr(value).upper()} / {card.comment}"[:CARD].ljust(CARD))
