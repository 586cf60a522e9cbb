"""Raw frames into files as cameras write them: one extension per detector, complete or not there at all.

A camera's plugin needs only `write_sections` with the cards of its own headers; `visit_cards` and
`pointing_cards` make those that most observatories have.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.time import Time, TimeDelta
from astropy.utils.exceptions import AstropyWarning

from isrcore.atomic import replacing
from isrcore.camera import Detector
from isrcore.exposure import Exposure, VisitInfo
from isrcore.fits import FitsError, check_writable
from isrcore.fits_cards import exact_card
from isrcore.fits_planes import BLOCK
from isrcore.image import Pixels

#: The value of a card, or value and comment, by keyword.
Cards = Mapping[str, Any]
CardsOf = Callable[[Exposure], Cards]
RawWriter = Callable[[Path, Iterable[Exposure]], None]

# Rows per compressed tile: one tile per row would spend its time in calls.
_TILE_ROWS = 64

_OBSERVATION_TYPES = {"science": "OBJECT", "bias": "BIAS", "dark": "DARK", "flat": "FLAT", "fringe": "FRINGE"}


def write_sections(
    path: str | Path,
    exposures: Iterable[Exposure],
    *,
    primary: CardsOf,
    extension: CardsOf | None = None,
) -> None:
    """Write raw exposures, each to an extension of its detector's name; `read_sections` reads them back.

    ``primary`` makes the cards of the primary header from the first exposure, ``extension`` those of an
    extension (default: the exposure's WCS); a value may be a pair of value and comment. Exposures are taken
    one after the other and let go. Images are compressed without loss when the name ends in ``.fz``. A
    file of that name is replaced (`Registry.write_raw` refuses that); on `FitsError` it is untouched.
    """
    left = iter(exposures)
    first = next(left, None)
    head = {} if first is None else primary(first)
    rest = left if first is None else chain([first], left)
    images = (
        RawImage(raw_pixels(one), one.detector.name, None, head, (extension or wcs_cards)(one))
        for one in rest
    )
    write_images(path, images)


@attrs.frozen(eq=False)
class RawImage:
    """An image of a raw file: its pixels, EXTNAME, and the number of its HDU, None for the next one.

    ``primary`` are cards of the primary header, of which those of the first image count; ``cards`` are its
    own.
    """

    pixels: Pixels
    name: str
    number: int | None
    primary: Cards
    cards: Cards


def raw_pixels(exposure: Exposure) -> Pixels:
    """The pixels of a raw exposure. Raises ValueError for others."""
    if not exposure.pixels.is_raw:
        raise ValueError(f"{exposure.label} is not raw: its pixels are {exposure.image.dtype}")
    return exposure.image


def write_images(path: str | Path, images: Iterable[RawImage]) -> None:
    """Write images one after the other, each in the HDU of its number, else the next; see `write_sections`.

    Numbers rise; HDUs between them are empty. Number 0 is the primary HDU, or if images are
    compressed the next one.
    """
    target = Path(path)
    check_writable(target, overwrite=True)
    left = iter(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            first = next(left, None)
            if first is None:
                raise ValueError("there is no exposure to write")
            with replacing(target) as stream:
                _write_all(stream, first, left, target.suffix == ".fz")
        except (OSError, ValueError, fits.VerifyError) as fault:
            raise FitsError(
                f"cannot write raw file {str(target)!r}: {fault}\n  nothing was left behind"
            ) from fault


def _write_all(stream: IO[bytes], first: RawImage, left: Iterator[RawImage], compress: bool) -> None:
    """Write the primary HDU and all images."""
    head, count = header_of_cards(first.primary), 0
    images: Iterator[RawImage] = chain([first], left)
    alone = None
    if first.number == 0 and compress:
        # As compressors do it: the primary HDU holds no compressed image.
        images = chain([attrs.evolve(first, number=None)], left)
    elif first.number == 0:
        alone = first
        head.extend(header_of_cards(first.cards), update=True)
        next(images)
    _write_primary(stream, head, count, alone)
    for image in images:
        number = count + 1 if image.number is None else image.number
        if number <= count:
            raise ValueError(f"HDU {number} comes after HDU {count}; HDUs are written in their order")
        # A primary HDU without pixels and without cards of its own takes one block.
        while count + 1 < number:
            stream.write(_bytes_of(fits.PrimaryHDU(), fits.ImageHDU())[BLOCK:])
            count += 1
        stream.write(_bytes_of(fits.PrimaryHDU(), _image_hdu(image, compress))[BLOCK:])
        count += 1
    # How many there are is known now, and the block has room for the number.
    if count:
        stream.seek(0)
        _write_primary(stream, head, count, alone)


def header_of_cards(cards: Cards) -> Header:
    """A header with these cards, numbers in full; what FITS has no number for is left out."""
    header = Header()
    for keyword, told in cards.items():
        value, comment = told if isinstance(told, tuple) else (told, "")
        if isinstance(value, float) and not math.isfinite(value):
            continue
        header.append(exact_card(fits.Card(keyword, value, comment)))
    return header


def _write_primary(stream: IO[bytes], header: Header, number: int, image: RawImage | None) -> None:
    """The primary HDU, with the pixels of an image if it has one."""
    first = Header([("NEXTEND", number, "Number of extensions")])
    first.extend(header)
    hdu = fits.PrimaryHDU(None if image is None else image.pixels, header=first)
    # An extension after it, which is not written, makes astropy announce extensions.
    stream.write(_bytes_of(hdu, fits.ImageHDU())[:-BLOCK])


def _bytes_of(*hdus: Any) -> memoryview:
    """HDUs as they are in a file, with checksums; equal ones have equal bytes.

    Through memory: astropy reads what else is in a stream it may read from, and signs a compressed image only
    when it sees a table, with the time of day if nothing else is said.
    """
    plain, signed = io.BytesIO(), io.BytesIO()
    fits.HDUList(list(hdus)).writeto(plain)
    plain.seek(0)
    options = {"disable_image_compression": True, "do_not_scale_image_data": True}
    with fits.open(plain, memmap=False, **options) as packed:
        for hdu in packed:
            hdu.add_checksum(when="of this HDU")
        packed.writeto(signed)
    return signed.getbuffer()


def _image_hdu(image: RawImage, compress: bool) -> Any:
    """The extension of an image."""
    header = header_of_cards({**({"EXTNAME": image.name} if image.name else {}), **image.cards})
    if not compress:
        return fits.ImageHDU(image.pixels, header)
    rows, columns = image.pixels.shape
    tile = (min(_TILE_ROWS, rows), columns)
    return fits.CompImageHDU(image.pixels, header, compression_type="RICE_1", tile_shape=tile)


def visit_cards(visit: VisitInfo) -> Cards:
    """The cards from which `visit_from_header` reads a visit; what is unknown has none."""
    known = {
        "EXPNUM": (visit.exposure_id, "Number of the exposure"),
        "OBSTYPE": (_OBSERVATION_TYPES.get(visit.observation_type, ""), "Kind of exposure"),
        "OBJECT": (visit.object_name, "Target"),
        "EXPTIME": (visit.exposure_s, "Integration time (seconds)"),
        "DARKTIME": (visit.dark_s, "Dark current time (seconds)"),
        "FILTER": (visit.filter, "Filter"),
        "DATE-OBS": (start_of(visit), "Start of the exposure (UTC)"),
        "RA": (visit.ra_deg, "Right ascension of the pointing (degrees, ICRS)"),
        "DEC": (visit.dec_deg, "Declination of the pointing (degrees, ICRS)"),
        "AIRMASS": (visit.airmass, "Airmass"),
    }
    return {keyword: told for keyword, told in known.items() if told[0] != ""}


def start_of(visit: VisitInfo) -> str:
    """When the exposure began (UTC), as ``2020-01-02T03:04:05.25``; empty when that is not known."""
    if visit.date is None:
        return ""
    half = 0.0 if math.isnan(visit.exposure_s) else visit.exposure_s / 2
    start = Time(visit.date.utc - TimeDelta(half, format="sec"), precision=9)
    return str(start.isot).rstrip("0").rstrip(".")


def wcs_cards(exposure: Exposure) -> Cards:
    """The exposure's WCS, none when it has none."""
    if exposure.wcs is None:
        return {}
    header = exposure.wcs.to_header(relax=True)
    return {card.keyword: (card.value, card.comment) for card in header.cards}


def pointing_cards(detector: Detector, visit: VisitInfo, arcsec_per_pixel: float) -> Cards:
    """A WCS of raw pixels as the first amplifier reads them, from the detector's place in the focal plane.

    A tangent projection at the pointing (``visit.ra_deg``, ``dec_deg``), which sees the focal plane's origin;
    its y points north and its x west. No cards when the pointing is unknown.
    """
    if not (math.isfinite(visit.ra_deg) and math.isfinite(visit.dec_deg)):
        return {}
    turn = math.radians(detector.yaw_deg)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shift = np.asarray(detector.offset_mm) / (detector.pixel_size_mm or math.inf)
    origin = np.asarray(detector.reference_pixel) - rotation.T @ shift
    # Quarter turns have no cosine of 6e-17.
    rotation = np.round(rotation, 15)
    scale = np.diag([-arcsec_per_pixel / 3600, arcsec_per_pixel / 3600]) @ rotation + 0.0
    crpix, signs = _in_raw_frame(detector, origin)
    matrix = scale * signs
    return {
        "CTYPE1": ("RA---TAN", "WCS Coordinate type"),
        "CTYPE2": ("DEC--TAN", "WCS Coordinate type"),
        "CRVAL1": (visit.ra_deg, "WCS Ref value (RA in decimal degrees)"),
        "CRVAL2": (visit.dec_deg, "WCS Ref value (DEC in decimal degrees)"),
        **{f"CRPIX{i + 1}": (float(crpix[i]), "WCS Coordinate reference pixel") for i in range(2)},
        **{
            f"CD{i + 1}_{j + 1}": (float(matrix[i, j]), "WCS Coordinate scale matrix")
            for i in range(2)
            for j in range(2)
        },
        "RADESYS": ("ICRS", "Coordinate system"),
    }


def _in_raw_frame(detector: Detector, pixel: Any) -> tuple[Any, Any]:
    """Where an assembled pixel (x, y from 0) is in the raw frame (x, y from 1), and the signs of the axes."""
    move = detector.amplifiers[0].gather()
    raw, box = move.raw_box, move.box
    signs = np.array([-1 if move.flip_x else 1, -1 if move.flip_y else 1])
    first = np.array([raw.x1 if move.flip_x else raw.x0 + 1, raw.y1 if move.flip_y else raw.y0 + 1])
    return first + signs * (np.asarray(pixel) - np.array([box.x0, box.y0])), signs


def default_writer(camera: str) -> RawWriter:
    """How raw files of a camera whose plugin writes none are written: INSTRUME is the camera's name."""

    def write(path: Path, exposures: Iterable[Exposure]) -> None:
        write_sections(path, exposures, primary=lambda one: {"INSTRUME": camera, **visit_cards(one.visit)})

    return write
