"""MegaCam files: one exposure per CCD, raw or processed by Elixir, and Elixir's calibrations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np
from astropy.io.fits import Header

from isrcore import Defects, Exposure, MaskedImage, RawError, RawSource, read_sections
from isrcore_cfht.camera import CAMERA
from isrcore_cfht.elixir import given_facts, master_kind, with_history
from isrcore_cfht.masks import defects_from_mask
from isrcore_cfht.splicing import splice
from isrcore_cfht.visit import read_visit


def is_megacam(source: RawSource) -> bool:
    """Whether the primary header is that of a MegaCam file of CFHT, raw or processed."""
    instrument = str(source.header.get("INSTRUME", "")).strip()
    # Early 2003 wrote "CFHT MegaPrime"; another telescope has a camera called MegaCam too.
    return instrument.endswith("MegaPrime") and str(source.header.get("DETECTOR")).strip() == "MegaCam"


def read_raw(source: RawSource, detectors: Iterable[str | int] | None = None) -> Iterator[Exposure]:
    """The exposures of a MegaCam file, in the order asked for; ``detectors`` None means all it has.

    Pixels are read when an exposure is taken from the iterator. The halves of the first files, which have
    extensions of their own, are joined. What Elixir did to a processed file is in the exposure's ``given``
    facts and history. Raises `RawError`, before any pixel is read, for a detector that is not there and for
    calibrations and masks that Elixir made.
    """
    _refuse_calibrations(source)
    exposures = read_sections(CAMERA, by_ccd(source), detectors, visit=read_visit, given=given_facts)
    return (with_history(exposure) for exposure in exposures)


def read_calibration(source: RawSource, kind: str, detector: str) -> Any | None:
    """The calibration of a CCD from a file that Elixir made; None when the file is no calibration.

    A mask gives `Defects`; a master the `Exposure` of its raw-sized frame, float32 with variance 0, as none
    is stated. Raises `RawError` for a CCD that is not there and a calibration of another kind.
    """
    found = _kind_of(source)
    if not found:
        return None
    if found != kind:
        raise RawError(f"MegaCam file {str(source.path)!r} is {_article(found)}, it cannot be used as {kind}")
    (exposure,) = read_sections(CAMERA, by_ccd(source), [detector], visit=read_visit)
    if kind == "defects":
        return _defects(exposure)
    exposure.pixels = MaskedImage.from_image(exposure.image.astype(np.float32, copy=False))
    exposure.unit = "" if kind == "flat" else "adu"
    return exposure


def _defects(exposure: Exposure) -> Defects:
    """The bad pixels of a CCD's mask."""
    found = defects_from_mask(exposure.image, exposure.detector)
    cards = {key: exposure.header[key] for key in ("FILENAME", "REL_DATE") if key in exposure.header}
    return attrs.evolve(found, header=cards, detector_name=exposure.detector.name, source=exposure.source)


def by_ccd(source: RawSource) -> RawSource:
    """The source with an extension per CCD, named 'ccd00' to 'ccd39', however the file stores them."""
    return splice(_with_ccd_names(source))


def _with_ccd_names(source: RawSource) -> RawSource:
    """The source with its images named as the observatory names them, in lower case."""
    images = [item.index for item in source.images]
    extensions = tuple(
        attrs.evolve(item, name=_ccd_name(item.name, item.header)) if item.index in images else item
        for item in source.extensions
    )
    return attrs.evolve(source, extensions=extensions)


def _ccd_name(name: str, header: Header) -> str:
    """EXTNAME, else from the CCD number in EXTVER: some compressors overwrite EXTNAME."""
    number = header.get("EXTVER")
    if not name and isinstance(number, int) and "CCDNAME" in header:
        return f"ccd{number:02d}"
    return name.lower()


def _kind_of(source: RawSource) -> str:
    """Which calibration of Elixir's the file is; empty when it is none."""
    if str(source.header.get("OBSTYPE", "")).strip() == "MASK":
        return "defects"
    kinds = (master_kind(extension.header) for extension in source.extensions)
    return next(filter(None, kinds), "")


def _article(kind: str) -> str:
    """What a calibration is called."""
    return (
        "a mask of bad pixels (OBSTYPE MASK)" if kind == "defects" else f"Elixir's master {kind} (IMCMB_FT)"
    )


def _refuse_calibrations(source: RawSource) -> None:
    """Raise `RawError` for a file that is no exposure, naming what it is and what it is good for."""
    kind = _kind_of(source)
    if kind:
        raise RawError(
            f"MegaCam file {str(source.path)!r} is not an exposure, it is {_article(kind)}\n"
            f"  give it as a calibration: --{kind} {source.path.name}"
        )
