"""What a product says of light and flux: the lit polygon, the curves of the transmission, the zero point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from isrcore.camera import Detector
from isrcore.exposure import Exposure
from isrcore.fits_cards import make_card
from isrcore.fits_columns import unescape
from isrcore.transmission import PARTS, SystemTransmission, TransmissionCurve
from isrcore.zero_point import ZeroPoint

_POLYGON = "ISR_POLYGON"
_CURVES = {part: f"ISR_TRANS_{part.upper()}" for part in PARTS}

#: The tables that may be in a product.
OPTICS_TABLES = frozenset({_POLYGON, *_CURVES.values()})

#: Cards of the zero point: nJy of a count, AB magnitude of a count (for people), who determined it.
ZERO_POINT_CARDS = ("ISRZPFLX", "ISRZPMAG", "ISRZPSRC")


def optics_hdus(exposure: Exposure) -> Iterator[fits.BinTableHDU]:
    """Tables of the polygon and of every curve; none for what is not known."""
    if exposure.valid_polygon is not None:
        columns = [
            fits.Column(name, "D", unit="pixel", array=values)
            for name, values in zip("xy", exposure.valid_polygon.T, strict=True)
        ]
        yield fits.BinTableHDU.from_columns(columns, name=_POLYGON)
    curves = exposure.transmission.curves if exposure.transmission else {}
    for part in filter(curves.__contains__, PARTS):
        hdu = fits.table_to_hdu(curves[part].to_table())
        hdu.name = _CURVES[part]
        yield hdu


def read_optics(primary: Header, tables: Mapping[str, Any], detector: Detector) -> dict[str, Any]:
    """Polygon, transmission and zero point of a product, from those of `OPTICS_TABLES` that it has."""
    found: dict[str, Any] = {"zero_point": _read_zero_point(primary)}
    if _POLYGON in tables:
        corners = tables[_POLYGON]
        found["valid_polygon"] = np.stack((corners["x"], corners["y"]), axis=1)
    curves = {
        part: TransmissionCurve.from_table(tables[name]) for part, name in _CURVES.items() if name in tables
    }
    if curves:
        found["transmission"] = SystemTransmission(detector, curves)
    return found


def zero_point_cards(zero_point: ZeroPoint | None) -> list[fits.Card]:
    """The cards of a zero point; none without one."""
    if zero_point is None:
        return []
    values = zero_point.flux_njy, zero_point.magnitude, zero_point.source
    return [make_card(keyword, value) for keyword, value in zip(ZERO_POINT_CARDS, values, strict=True)]


def _read_zero_point(header: Header) -> ZeroPoint | None:
    flux, _, source = ZERO_POINT_CARDS
    return ZeroPoint(float(header[flux]), unescape(header[source])) if flux in header else None
