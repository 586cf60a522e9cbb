"""What the headers of ESO's instruments say about an exposure."""

from __future__ import annotations

import math

import attrs
from astropy.io.fits import Header

from isrcore import VisitInfo, visit_from_header

# Where ESO writes what other observatories have in a standard card.
_CARDS = {
    "EXPNUM": "ESO DET EXP NO",
    "DARKTIME": "ESO DET WIN1 DKTM",
    "FILTER": "ESO INS FILT1 NAME",
    "OBSTYPE": "ESO DPR TYPE",
}
_AIRMASS = ("ESO TEL AIRM START", "ESO TEL AIRM END")


def translate_visit(header: Header) -> VisitInfo:
    """Visit from the standard cards and ESO's hierarchical ones.

    The exposure id is the detector's running number, the dark time the detector's own count, the airmass
    the mean of start and end. EFOSC2's biases are labelled ``DARK``: they are told by lasting zero seconds.
    Unknown values stay NaN or empty.
    """
    plain = header.copy()
    plain.update({card: header[source] for card, source in _CARDS.items() if source in header})
    if all(card in header for card in _AIRMASS):
        plain["AIRMASS"] = math.fsum(header[card] for card in _AIRMASS) / len(_AIRMASS)
    visit = visit_from_header(plain)
    is_bias = visit.observation_type == "dark" and visit.exposure_s == 0
    return attrs.evolve(visit, observation_type="bias") if is_bias else visit
