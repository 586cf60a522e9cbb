"""Raw MegaCam files as the observatory writes them: headers, sections and levels of every CCD."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
from astropy import units
from astropy.coordinates import Angle
from astropy.time import Time

from isrcore import (
    Amplifier,
    Box,
    Detector,
    Exposure,
    VisitInfo,
    pointing_cards,
    visit_cards,
    wcs_cards,
    write_sections,
)
from isrcore_cfht.mosaic import mosaic_section

_ARCSEC_PER_PIXEL = 0.185
# Columns and rows of the mosaic.
_MOSAIC = (23219, 19354)
_UNKNOWN_POSITION = "GAPPT"


def write_raw(path: Path, exposures: Iterable[Exposure]) -> None:
    """Write raw exposures of MegaCam, one extension per CCD, with the cards that its raw files have.

    Gains and read noises are those of each exposure's detector, SATURATE the lowest saturation level of its
    amplifiers. The WCS is the exposure's, else that of the CCD's place in the focal plane. A file of that
    name is replaced. Raises `FitsError`.
    """
    write_sections(path, exposures, primary=_primary_cards, extension=_extension_cards)


def _primary_cards(exposure: Exposure) -> dict[str, Any]:
    """What holds for all CCDs."""
    return {
        "DETECTOR": "MegaCam",
        "DETSIZE": (f"[1:{_MOSAIC[0]},1:{_MOSAIC[1]}]", "Total data pixels in full mosaic"),
        "RASTER": ("FULL", "Active raster description"),
        "CCDSUM": ("1 1", "Binning factors"),
        "CCDBIN1": (1, "Binning factor along first axis"),
        "CCDBIN2": (1, "Binning factor along second axis"),
        "PIXSIZE1": (13.5, "Pixel size for axis 1 (microns)"),
        "PIXSIZE2": (13.5, "Pixel size for axis 2 (microns)"),
        "PIXSCAL1": (_ARCSEC_PER_PIXEL, "Pixel scale for axis 1 (arcsec/pixel)"),
        "PIXSCAL2": (_ARCSEC_PER_PIXEL, "Pixel scale for axis 2 (arcsec/pixel)"),
        "ORIGIN": ("SIMULATED", "Not taken at the telescope"),
        "TELESCOP": ("CFHT 3.6m", "Hawaii Big Island, Mauna Kea"),
        "INSTRUME": "MegaPrime",
        "LATITUDE": (19.825252, "Latitude (degrees N)"),
        "LONGITUD": (-155.468876, "Longitude (degrees E)"),
        "RUNID": ("SIM", "Run ID"),
        **_levels(exposure.detector, "SATURATE", "MAXLIN"),
        **_visit_cards(exposure.visit),
    }


def _extension_cards(exposure: Exposure) -> dict[str, Any]:
    """What holds for one CCD; like the observatory's, its header needs no other one."""
    detector = exposure.detector
    position = wcs_cards(exposure) or pointing_cards(detector, exposure.visit, _ARCSEC_PER_PIXEL)
    return {
        "EXTVER": (detector.id, "Matches the CCD number in the mosaic"),
        "INHERIT": (False, "No need to inherit global headers"),
        "DETECTOR": "MegaCam",
        "AMPLIST": (" ".join(detector.amplifier_names), "List of amplifiers for this CCD"),
        "CCDSIZE": (Box.of_shape(detector.shape).to_section(), "Detector imaging area size"),
        "CCDNAME": (_ccd_name(detector.serial), "Name of the CCD (manufacturer reference)"),
        "CCDBIN1": (1, "Binning factor along first axis"),
        "CCDBIN2": (1, "Binning factor along second axis"),
        **_section_cards(detector),
        **_levels(detector, "SATURATE", "MAXLIN", "MAXLINA", "MAXLINB"),
        **_amplifier_levels(detector),
        **_visit_cards(exposure.visit),
        **{key: told for key, told in position.items() if key != "RADESYS"},
    }


def _visit_cards(visit: VisitInfo) -> dict[str, Any]:
    """When and how, in the observatory's keywords."""
    cards = dict(visit_cards(visit))
    for keyword in ("RA", "DEC"):
        cards.pop(keyword)
    if "OBSTYPE" in cards:
        cards["EXPTYPE"] = cards["OBSTYPE"]
    if "DATE-OBS" in cards:
        day, _, clock = cards["DATE-OBS"][0].partition("T")
        cards["DATE-OBS"] = (day, "Date at start of observation (UTC)")
        cards["UTC-OBS"] = (clock, "Time at start of observation (UTC)")
        cards["MJD-OBS"] = (_mjd(f"{day}T{clock}"), "Modified Julian Date at start of observation")
    return {**cards, **_position_cards(visit)}


def _mjd(start: str) -> float:
    """The modified Julian date, to 0.01 s."""
    return round(float(Time(start, scale="utc").mjd), 7)


def _position_cards(visit: VisitInfo) -> dict[str, Any]:
    """The telescope's position; one that does not follow the sky has none."""
    if not (math.isfinite(visit.ra_deg) and math.isfinite(visit.dec_deg)):
        return {"RADECSYS": (_UNKNOWN_POSITION, "Coordinate system for equinox (FK4/FK5/GAPPT)")}
    right_ascension, declination = Angle(visit.ra_deg, units.deg), Angle(visit.dec_deg, units.deg)
    return {
        "RADECSYS": ("ICRS", "Coordinate system"),
        "EQUINOX": (2000.0, "Equinox of coordinates"),
        "RA": (right_ascension.to_string(units.hourangle, sep=":", precision=3), "Telescope right ascension"),
        "DEC": (declination.to_string(units.deg, sep=":", precision=2), "Telescope declination"),
        "RA_DEG": (visit.ra_deg, "Telescope right ascension in degrees"),
        "DEC_DEG": (visit.dec_deg, "Telescope declination in degrees"),
    }


def _section_cards(detector: Detector) -> dict[str, Any]:
    """Where the amplifiers' pixels are, in the raw frame, in the trimmed one and in the mosaic."""
    data = [amp.raw_data_box for amp in detector.amplifiers]
    whole = Box(data[0].y0, data[0].y1, min(box.x0 for box in data), max(box.x1 for box in data))
    cards: dict[str, Any] = {
        "DATASEC": (whole.to_section(), "Imaging area of the entire CCD in raw frame"),
        "BIASSEC": ("[0:0,0:0]", "Dual amplifiers readout - see BSECA & BSECB"),
        "DETSEC": (str(mosaic_section(detector)), "Mosaic area of the entire readout"),
    }
    for amp in detector.amplifiers:
        cards |= _amplifier_sections(detector, amp)
    return cards


def _amplifier_sections(detector: Detector, amp: Amplifier) -> dict[str, Any]:
    """The sections of one amplifier; the observatory's overscan sections go beside its rows too."""
    data, overscan, name = amp.raw_data_box, amp.serial_overscan_box, amp.name
    mosaic = mosaic_section(detector, amp.box)
    if amp.readout_corner.endswith("R"):
        mosaic = attrs.evolve(mosaic, flip_x=not mosaic.flip_x)
    rows = Box(data.y0, data.y1, amp.raw_box.x0, amp.raw_box.x1)
    columns = Box(amp.raw_box.y0, amp.raw_box.y1, overscan.x0, overscan.x1)
    return {
        f"DETSEC{name}": (str(mosaic), f"Mosaic area of the {name} readout"),
        f"ASEC{name}": (rows.to_section(), f"Section by {name} amplifier in raw frame"),
        f"DSEC{name}": (data.to_section(), f"Image area of {name} amplifier in raw frame"),
        f"TSEC{name}": (data.to_section(), f"Trim section of {name} amplifier = DSEC{name}"),
        f"BSEC{name}": (columns.to_section(), f"Overscan of {name} amplifier in raw frame"),
        f"CSEC{name}": (amp.box.to_section(), f"Section in full CCD after BSEC{name} cut out"),
    }


def _levels(detector: Detector, *keywords: str) -> dict[str, Any]:
    """The saturation level as the cards that hold it."""
    level = min(amp.saturation for amp in detector.amplifiers)
    return {keyword: (round(level), "Saturation value (ADU)") for keyword in keywords if math.isfinite(level)}


def _amplifier_levels(detector: Detector) -> dict[str, Any]:
    """Gains and read noises, and their means."""
    amplifiers = detector.amplifiers
    cards: dict[str, Any] = {
        "GAIN": (sum(amp.gain for amp in amplifiers) / len(amplifiers), "Converting gain (e-/ADU), average"),
        "RDNOISE": (
            sum(amp.read_noise for amp in amplifiers) / len(amplifiers),
            "Read noise (electrons), average",
        ),
    }
    for amp in amplifiers:
        cards[f"GAIN{amp.name}"] = (amp.gain, f"Converting gain of {amp.name} amplifier (e-/ADU)")
        cards[f"RDNOISE{amp.name}"] = (amp.read_noise, f"Read noise (electrons) {amp.name} amplifier")
    return cards


def _ccd_name(serial: str) -> str:
    """The serial number as the manufacturer writes it: 8341-17-5 for 8341175."""
    return "-".join((serial[:4], serial[4:-1], serial[-1])) if len(serial) > 5 else serial
