"""Exposures in FITS files: written whole or not at all, complete enough to be read without anything else.

A product has a primary HDU without pixels (the exposure's header, facts as ``ISRF001 = 'flat-fielded'``,
camera and visit as ``ISR...`` cards), the images IMAGE, MASK and VARIANCE, and the tables ISR_HISTORY,
ISR_DETECTOR (one row per amplifier, boxes as y0, y1, x0, x1), ISR_CONFIG and ISR_PROVENANCE; where they are
known, ISR_POLYGON, a table for every part of the transmission and cards of the zero point (`fits_optics`).
Every HDU has CHECKSUM and DATASUM. A raw exposure whose mask and variance nobody changed has the IMAGE alone.
Texts that ASCII cannot hold are written with Python's backslash escapes.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.io.fits import Header
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from isrcore.atomic import UNFINISHED, replacing
from isrcore.camera import Amplifier, Detector
from isrcore.exposure import Exposure, HistoryEntry, VisitInfo
from isrcore.fits_cards import exact_card, make_card
from isrcore.fits_columns import make_table, make_texts, read_columns, read_rows, unescape
from isrcore.fits_compression import choose_compression, make_plane_hdu
from isrcore.fits_optics import (
    OPTICS_TABLES,
    ZERO_POINT_CARDS,
    optics_hdus,
    read_optics,
    zero_point_cards,
)
from isrcore.fits_parts import NewPart, Part, read_parts
from isrcore.fits_planes import BLOCK, stored_type
from isrcore.image import MaskedImage, MaskPlanes, Pixels
from isrcore.raw_headers import without_file_keywords

_LAYOUT = 1

_PLANE_NAME = re.compile(r"[A-Z0-9_-]+")
_VISIT_CARDS = {
    "exposure_id": "ISREXPID",
    "exposure_s": "ISREXPT",
    "dark_s": "ISRDARK",
    "date": "ISRDATE",
    "filter": "ISRFILT",
    "object_name": "ISROBJ",
    "observation_type": "ISROTYPE",
    "ra_deg": "ISRRA",
    "dec_deg": "ISRDEC",
    "airmass": "ISRAIRM",
}
_DETECTOR_CARDS = {
    "name": "DETNAME",
    "id": "DETID",
    "shape": "DETSHP",
    "raw_shape": "DETRAW",
    "serial": "DETSER",
    "offset_mm": "DETOFF",
    "reference_pixel": "DETREF",
    "yaw_deg": "DETYAW",
    "pixel_size_mm": "DETPIX",
}
_FACT = re.compile(r"ISRF\d{3}")
_OWN_CARDS = "|".join([*_VISIT_CARDS.values(), *ZERO_POINT_CARDS])
_OWN_KEYWORD = re.compile(rf"ISRLAYO|ISRCAM|ISRF\d{{3}}|{_OWN_CARDS}")


class FitsError(OSError):
    """A product that cannot be written, or read back as it was written."""


def check_writable(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a product that could not be written, before any time is spent on its pixels.

    Raises `FitsError` naming every reason: folder missing or not writable, a name for a gzip file, a product
    that is there already while ``overwrite`` is False.
    """
    faults = list(_obstacles(Path(path), overwrite))
    if faults:
        raise FitsError(f"cannot write product {str(path)!r}\n  " + "\n  ".join(faults))


def write_exposure(
    exposure: Exposure,
    path: str | Path,
    *,
    compress: bool | str | None = None,
    overwrite: bool = False,
    config_text: str = "",
    provenance: Mapping[str, str] | None = None,
    extra: Mapping[str, npt.NDArray[Any]] | None = None,
) -> None:
    """Write an exposure as a product that exists complete or not at all.

    ``compress`` says how images are tile-compressed: "none" (False), "lossless" (True), "lossy16" or
    "lossy4", which round floats to steps of a 16th or a 4th of the noise and leave masks alone; None: without
    loss when the name ends in ``.fz``. ``config_text`` and ``provenance`` travel along for `read_config` and
    `read_provenance`; ``extra`` images, numbers of the exposure's shape by the name of their HDU, for
    `read_extra`. ``measured``, ``source`` and
    ``digest`` are not written, nor header cards that describe a file rather than an exposure. Raises
    `FitsError`; then a product that was there before is untouched. ValueError: no such compression.
    """
    target = Path(path)
    check_writable(target, overwrite=overwrite)
    compression = choose_compression(compress, target.suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            hdus = [*_image_hdus(exposure, compression), *_tables(exposure)]
            hdus += _texts(config_text, provenance or {})
            hdus += _extra_hdus(extra or {}, {hdu.name for hdu in hdus}, compression)
            hdus[0].header["NEXTEND"] = (len(hdus) - 1, "number of extensions")
            with replacing(target, sum(hdu.size for hdu in hdus if isinstance(hdu, NewPart))) as stream:
                for hdu in hdus:
                    _write_hdu(stream, hdu)
        except (OSError, ValueError, fits.VerifyError) as fault:
            raise FitsError(
                f"cannot write product {str(target)!r}: {fault}\n  nothing was left behind; free space or "
                "correct what is named, then run again"
            ) from fault


def read_exposure(path: str | Path) -> Exposure:
    """The exposure of a product, after its checksums were verified.

    ``source`` is the path and ``digest`` the DATASUMs of the uncompressed planes: the same pixels have the
    same digest however they are stored. Raises `FitsError` when the file is no product, incomplete or
    damaged.
    """
    with _open_product(path) as parts:
        return _to_exposure(path, parts, {part.name: part.read_plane() for part in _planes_of(parts)})


def survey_exposure(path: str | Path) -> Exposure:
    """As `read_exposure` from the headers and tables alone, with zeros for pixels that take no memory.

    Damage to pixels is not found.
    """
    with _open_product(path) as parts:
        return _to_exposure(path, parts, {part.name: _survey_plane(part) for part in _planes_of(parts)})


def _to_exposure(path: str | Path, parts: Mapping[str, Part], planes: dict[str, Pixels | None]) -> Exposure:
    """The exposure of a product whose pixels were read."""
    data = {name: parts[name].read() for name in ("PRIMARY", "ISR_HISTORY", "ISR_DETECTOR")}
    light = {name: part.read_table() for name, part in parts.items() if name in OPTICS_TABLES}
    _verify(path, {**data, **light, **planes})
    primary, image = parts["PRIMARY"].header, parts["IMAGE"].header
    history = read_rows(parts["ISR_HISTORY"].header, data["ISR_HISTORY"] or b"", HistoryEntry)
    detector = _read_detector(parts["ISR_DETECTOR"].header, data["ISR_DETECTOR"] or b"")
    return Exposure(
        _join_planes(parts, [plane for plane in planes.values() if plane is not None]),
        detector,
        camera=unescape(primary["ISRCAM"]),
        visit=_read_visit(primary),
        header=_without_own_cards(primary),
        wcs=WCS(image, fix=False) if "WCSAXES" in image else None,
        unit=image["BUNIT"],
        facts=frozenset(unescape(primary[card]) for card in primary if _FACT.fullmatch(card)),
        history=tuple(HistoryEntry(**row) for row in history),
        source=str(path),
        digest="-".join(_datasum(part) for part in _planes_of(parts)),
        **read_optics(primary, light, detector),
    )


def read_config(path: str | Path) -> str:
    """The configuration text a product was written with, empty when there was none. Raises `FitsError`."""
    with _open_product(path) as parts:
        (lines,) = _read_texts(path, parts, "ISR_CONFIG", "line")
        return "\n".join(lines)


def read_provenance(path: str | Path) -> dict[str, str]:
    """The provenance a product was written with. Raises `FitsError`."""
    with _open_product(path) as parts:
        keys, values = _read_texts(path, parts, "ISR_PROVENANCE", "key", "value")
        return dict(zip(keys, values, strict=True))


def read_extra(path: str | Path, name: str) -> npt.NDArray[Any]:
    """An extra image a product was written with. Raises `FitsError`, also when there is none of that name."""
    with _open_product(path) as parts:
        if name not in parts:
            raise FitsError(f"product {str(path)!r} has no image {name!r}; it has {', '.join(parts)}")
        image = parts[name].read_image()
        _verify(path, {name: image})
        return np.asarray(image)


def _obstacles(target: Path, overwrite: bool) -> Iterator[str]:
    """Why the product could not be written, one sentence each."""
    folder = target.parent
    if not folder.is_dir():
        yield f"there is no folder {str(folder)!r}; make it first"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"folder {str(folder)!r} is not writable; choose another or change its permissions"
    if target.is_dir():
        yield "it is a folder; add the name of a file"
    elif target.exists() and not overwrite:
        yield "it exists; remove it, choose another name or allow overwriting"
    if target.suffix in (".gz", UNFINISHED):
        yield f"products are plain or tile-compressed: end its name in .fits or .fits.fz, not {target.suffix}"


def _write_hdu(stream: IO[bytes], hdu: Any) -> None:
    """Write an HDU with its checksums."""
    if isinstance(hdu, NewPart):
        hdu.write(stream)
        return
    written = io.BytesIO()
    hdus = fits.HDUList([fits.PrimaryHDU(), hdu])
    hdus.writeto(written, checksum=True, output_verify="silentfix+exception")
    stream.write(written.getbuffer()[BLOCK:])


def _image_hdus(exposure: Exposure, compression: str) -> Iterator[Any]:
    """The primary HDU and the planes."""
    yield _make_primary(exposure)
    pixels, position = exposure.pixels.read_only(), _wcs_header(exposure.wcs)
    image, mask, variance = position.copy(), position.copy(), position.copy()
    image["BUNIT"], variance["BUNIT"] = exposure.unit, exposure.unit and f"{exposure.unit}2"
    is_plain = _is_untouched(pixels)
    (image if is_plain else mask).extend(_bit_cards(pixels))
    yield make_plane_hdu("IMAGE", pixels.image, image, compression)
    if not is_plain:
        yield make_plane_hdu("MASK", pixels.mask, mask, compression, stored_type(pixels.mask, pixels.planes))
        yield make_plane_hdu("VARIANCE", pixels.variance, variance, compression)


def _make_primary(exposure: Exposure) -> NewPart:
    """The primary HDU. Raises VerifyError for a card that FITS cannot hold."""
    hdu = fits.PrimaryHDU(header=_primary_header(exposure))
    hdu.verify("silentfix+exception")
    hdu.header.set("EXTEND", True, after="NAXIS")
    return NewPart("PRIMARY", hdu.header, np.zeros(0, np.int32))


def _is_untouched(pixels: MaskedImage) -> bool:
    """Whether mask and variance are still the constants of `MaskedImage.from_raw`."""
    constant = pixels.mask.strides == (0, 0) and pixels.variance.strides == (0, 0)
    return pixels.is_raw and constant and pixels.mask[0, 0] == 0 and pixels.variance[0, 0] == 1


def _bit_cards(pixels: MaskedImage) -> list[fits.Card]:
    """The bits of the mask planes. Raises `FitsError` for a name that is no FITS keyword."""
    wrong = [name for name in pixels.planes if not _PLANE_NAME.fullmatch(name)]
    if wrong:
        raise FitsError(f"mask plane {wrong[0]!r} is no FITS keyword; name it with A-Z, 0-9, '-' and '_'")
    return [make_card(f"MP_{name}", pixels.planes.bits[name]) for name in pixels.planes]


def _primary_header(exposure: Exposure) -> Header:
    """The exposure's header and the cards that hold what is not pixels."""
    cards = [exact_card(card) for card in _without_own_cards(exposure.header).cards]
    header = Header([*cards, make_card("ISRLAYO", _LAYOUT), make_card("ISRCAM", exposure.camera)])
    facts = enumerate(sorted(exposure.facts), 1)
    header.extend(make_card(f"ISRF{number:03}", fact) for number, fact in facts)
    for name, keyword in _VISIT_CARDS.items():
        value = getattr(exposure.visit, name)
        if isinstance(value, Time):
            value = _to_text(value)
        if value is not None and value == value:
            header.append(make_card(keyword, value))
    header.extend(zero_point_cards(exposure.zero_point))
    return header


def _without_own_cards(header: Header) -> Header:
    """The cards that belong to the exposure's header."""
    own = without_file_keywords(header)
    for keyword in {keyword for keyword in own if _OWN_KEYWORD.fullmatch(keyword)}:
        del own[keyword]
    return own


def _wcs_header(wcs: WCS | None) -> Header:
    """The WCS as cards, with SIP distortion. Raises `FitsError` for distortion tables, which are none."""
    if wcs is None:
        return Header()
    if any(table is not None for table in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
        raise FitsError("its WCS has distortion tables, which a product cannot hold; convert them to SIP")
    return wcs.to_header(relax=True)


def _to_text(date: Time) -> str:
    """A date as UTC to the nanosecond."""
    with warnings.catch_warnings():
        # Dates beyond the table of leap seconds are as good as they get.
        warnings.simplefilter("ignore")
        utc = Time(date.utc, precision=9)
        return str(utc.isot)


def _tables(exposure: Exposure) -> Iterator[Any]:
    """History and detector, and what is known of light and flux."""
    yield make_table("ISR_HISTORY", HistoryEntry, exposure.history)
    table = make_table("ISR_DETECTOR", Amplifier, exposure.detector.amplifiers)
    for name, keyword in _DETECTOR_CARDS.items():
        value = getattr(exposure.detector, name)
        if isinstance(value, tuple):
            table.header.extend([make_card(f"{keyword}{axis}", part) for axis, part in enumerate(value)])
        else:
            table.header.append(make_card(keyword, value))
    yield table
    yield from optics_hdus(exposure)


def _texts(config_text: str, provenance: Mapping[str, str]) -> Iterator[NewPart]:
    """Tables of the configuration, line by line, and of the provenance; none for what is empty."""
    tables = {
        "ISR_CONFIG": {"line": config_text.split("\n") if config_text else []},
        "ISR_PROVENANCE": {"key": list(provenance), "value": list(provenance.values())},
    }
    for name, columns in tables.items():
        if any(columns.values()):
            yield make_texts(name, columns)


def _extra_hdus(extra: Mapping[str, npt.NDArray[Any]], taken: set[str], compression: str) -> Iterator[Any]:
    """Images beyond the exposure's own. Raises `FitsError` for a name that means something else."""
    for name, image in extra.items():
        if name in taken or name == "PRIMARY" or not _PLANE_NAME.fullmatch(name):
            raise FitsError(f"extra image {name!r} cannot have that name; choose another one in capitals")
        yield make_plane_hdu(name, image, Header(), compression)


def _read_texts(path: str | Path, parts: Mapping[str, Part], name: str, *columns: str) -> list[list[str]]:
    """Columns of a table of texts, empty when it is not there."""
    if name not in parts:
        return [[] for _ in columns]
    data = parts[name].read()
    _verify(path, {name: data})
    found = read_columns(parts[name].header, data or b"")
    return [[unescape(text) for text in found[column]] for column in columns]


@contextmanager
def _open_product(path: str | Path) -> Iterator[dict[str, Part]]:
    """The HDUs of a complete product by name.

    Whatever goes wrong with the file while it is open is raised as `FitsError`.
    """
    if Path(path).suffix == UNFINISHED:
        raise FitsError(f"{str(path)!r} is what an interrupted write left behind; remove it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            with Path(path).open("rb") as stream:
                parts = list(read_parts(stream))
                _check_complete(path, parts)
                yield {part.name: part for part in parts}
        except FitsError:
            raise
        except FileNotFoundError as fault:
            raise FitsError(f"product {str(path)!r} does not exist; check the path") from fault
        except Exception as fault:  # astropy raises many kinds for damaged files, none of them documented
            raise FitsError(f"product {str(path)!r} cannot be read: {fault}\n  make it again") from fault


def _check_complete(path: str | Path, parts: list[Part]) -> None:
    """Refuse a file of another origin or without its end. Raises `FitsError`."""
    layout = parts[0].header.get("ISRLAYO") if parts else None
    if layout != _LAYOUT:
        raise FitsError(f"{str(path)!r} is no product of this version: ISRLAYO is {layout}, not {_LAYOUT}")
    promised, length = parts[-1].end, os.stat(path).st_size
    extensions = parts[0].header.get("NEXTEND")
    if length != promised or len(parts) - 1 != extensions:
        raise FitsError(
            f"product {str(path)!r} is incomplete: {len(parts) - 1} of {extensions} extensions, {length} of "
            f"{promised} bytes\n  make it again"
        )


def _verify(path: str | Path, found: Mapping[str, Any]) -> None:
    """Raise `FitsError` naming the HDUs of which nothing was found, as their checksum is wrong or missing."""
    damaged = sorted(name for name, content in found.items() if content is None)
    if damaged:
        names = ", ".join(map(repr, damaged))
        raise FitsError(f"product {str(path)!r} is damaged in HDU {names}: wrong checksum\n  make it again")


def _planes_of(parts: Mapping[str, Part]) -> list[Part]:
    """The HDUs of the planes that are there."""
    return [parts[name] for name in ("IMAGE", "MASK", "VARIANCE") if name in parts]


def _datasum(part: Part) -> str:
    """The sum of a plane's pixels; of rounded ones, whose sum nobody knows, that of the compressed bytes."""
    return str(part.header["ZDATASUM" if "ZDATASUM" in part.header else "DATASUM"])


def _join_planes(parts: Mapping[str, Part], arrays: list[Pixels]) -> MaskedImage:
    """Image, mask and variance, and the names of the mask's bits."""
    cards = (parts["MASK"] if "MASK" in parts else parts["IMAGE"]).header["MP_*"]
    planes = MaskPlanes({keyword.removeprefix("MP_"): int(bit) for keyword, bit in cards.items()})
    if len(arrays) == 1:
        return MaskedImage.from_raw(arrays[0], planes)
    image, mask, variance = arrays
    return MaskedImage(image, mask, variance, planes)


def _survey_plane(part: Part) -> Pixels:
    """Zeros for the pixels of a plane."""
    bits = part.header["ZBITPIX" if part.is_compressed else "BITPIX"]
    integers = np.uint16 if "BZERO" in part.header else np.int32
    return np.broadcast_to((np.float32 if bits < 0 else integers)(0), part.shape)


def _read_visit(header: Header) -> VisitInfo:
    """The visit; cards that are not there were NaN, None or empty."""
    values = {
        field.name: _PARSERS[str(field.type)](header[_VISIT_CARDS[field.name]])
        for field in attrs.fields(VisitInfo)
        if _VISIT_CARDS[field.name] in header
    }
    return VisitInfo(**values)


def _to_date(text: str) -> Time:
    """A date that was written as UTC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Time(text, format="isot", scale="utc", precision=9)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "str": unescape,
    "int": int,
    "float": float,
    "Time | None": _to_date,
    "tuple[int, int]": int,
    "tuple[float, float]": float,
}


def _read_detector(header: Header, data: bytes) -> Detector:
    """The detector with its amplifiers, from header and data of their table."""
    rows = read_rows(header, data, Amplifier)
    values: dict[str, Any] = {"amplifiers": tuple(Amplifier(**row) for row in rows)}
    for name, keyword in _DETECTOR_CARDS.items():
        parse = _PARSERS[str(getattr(attrs.fields(Detector), name).type)]
        if keyword in header:
            values[name] = parse(header[keyword])
        else:
            values[name] = tuple(parse(header[f"{keyword}{axis}"]) for axis in range(2))
    return Detector(**values)
