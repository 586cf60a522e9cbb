"""Raw MegaCam files: one exposure per CCD, each from the extension of its name."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator

import attrs
from astropy.io.fits import Header

from isrcore import Exposure, RawError, RawSource, read_sections
from isrcore_cfht.camera import CAMERA
from isrcore_cfht.visit import read_visit

_log = logging.getLogger(__name__)

_CCD = re.compile(r"ccd\d\d")
_AMPLIFIER = re.compile(r"amp\d\d")
# Cards that the observatory's pipeline Elixir writes: what it corrected, and what kind of stack it made.
_ELIXIR_CARDS = ("IMRED_OP", "IMCMB_FT")


def is_megacam(source: RawSource) -> bool:
    """Whether the primary header is that of a MegaCam file of CFHT, raw or processed."""
    instrument = str(source.header.get("INSTRUME", "")).strip()
    # Early 2003 wrote "CFHT MegaPrime"; another telescope has a camera called MegaCam too.
    return instrument.endswith("MegaPrime") and str(source.header.get("DETECTOR")).strip() == "MegaCam"


def read_raw(source: RawSource, detectors: Iterable[str | int] | None = None) -> Iterator[Exposure]:
    """The raw exposures of a MegaCam file, in the order asked for; ``detectors`` None means all it has.

    Pixels are read when an exposure is taken from the iterator. The four CCDs ccd36 to ccd39 of later files
    are left out, because the camera table lacks them. Raises `RawError`, before any pixel is read, for a
    detector that is not there or not described, for Elixir's processed files and master calibrations, and
    for the first files of 2003, whose amplifiers have extensions of their own.
    """
    named = _with_ccd_names(source)
    wanted = None if detectors is None else list(detectors)
    _refuse_processed(source)
    _refuse_one_amplifier_per_extension(named)
    _refuse_undescribed(named, wanted)
    return read_sections(CAMERA, named, wanted, visit=read_visit)


def _with_ccd_names(source: RawSource) -> RawSource:
    """The source with its extensions named as the observatory names them, in lower case."""
    extensions = tuple(
        attrs.evolve(item, name=_ccd_name(item.name, item.header)) for item in source.extensions
    )
    return attrs.evolve(source, extensions=extensions)


def _ccd_name(name: str, header: Header) -> str:
    """EXTNAME, else from the CCD number in EXTVER: some compressors overwrite EXTNAME."""
    number = header.get("EXTVER")
    if not name and isinstance(number, int) and "CCDNAME" in header:
        return f"ccd{number:02d}"
    return name.lower()


def _refuse_processed(source: RawSource) -> None:
    """Raise `RawError` for a file that Elixir made, naming what it did."""
    headers = [extension.header for extension in source.extensions]
    made = {f"{card} = {header[card]!r}" for header in headers for card in _ELIXIR_CARDS if card in header}
    if made:
        raise RawError(
            f"MegaCam file {str(source.path)!r} is not raw, Elixir made it: {', '.join(sorted(made))}\n"
            "  correcting it again would be wrong; give the raw file, whose name ends in o, b, d or f"
        )


def _refuse_one_amplifier_per_extension(source: RawSource) -> None:
    """Raise `RawError` for a file of the time before the observatory joined the two halves of a CCD."""
    amplifiers = [item.name for item in source.extensions if _AMPLIFIER.fullmatch(item.name)]
    if amplifiers:
        raise RawError(
            f"MegaCam file {str(source.path)!r} has one extension per amplifier ({amplifiers[0]!r} to "
            f"{amplifiers[-1]!r}), as the first files of 2003 do, and cannot be read\n"
            "  join the halves of each CCD into extensions 'ccd00' to 'ccd35' as the observatory does"
        )


def _refuse_undescribed(source: RawSource, wanted: list[str | int] | None) -> None:
    """Raise `RawError` when a CCD is asked for that the file has but the camera table has not."""
    described = {detector.name for detector in CAMERA.detectors}
    extra = [item.name for item in source.images if _CCD.fullmatch(item.name) and item.name not in described]
    if wanted is None:
        if extra:
            _log.info("%s: left out %s, which the table of MegaCam lacks", source.path, ", ".join(extra))
        return
    refused = [name for name in extra if name in wanted or int(name[3:]) in wanted]
    if refused:
        raise RawError(
            f"MegaCam file {str(source.path)!r} has {', '.join(map(repr, refused))}, but the camera table "
            f"describes only 'ccd00' to 'ccd{len(described) - 1:02d}'\n  ask for those"
        )
