"""Law: writing an exposure and reading it back is identity, whoever reads."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isrcore.camera import Amplifier, Detector
from isrcore.exposure import Exposure, HistoryEntry, VisitInfo
from isrcore.fits import read_config, read_exposure, read_provenance, write_exposure
from isrcore.fits_cards import make_card
from isrcore.fits_columns import unescape
from isrcore.geometry import Box
from isrcore.image import MaskedImage, MaskPlanes
from isrcore.testing import optics

TEXTS = st.text(max_size=90)
NUMBERS = st.floats()
FLOATS32 = st.floats(width=32)
# astropy takes a slash after a quote for the beginning of a comment; in headers of others it stays as it is.
CARD_TEXTS = (
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150)
    .map(str.rstrip)
    .filter(lambda text: "/" not in text.replace(" ", "").partition("'")[2])
)
CARD_VALUES = (
    CARD_TEXTS
    | st.integers(-(2**62), 2**62)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
)
KEYWORDS = st.from_regex(r"[A-HJ-Z][A-Z0-9_-]{0,7}|[A-Z]{9,12} [A-Z]{2,4}", fullmatch=True).filter(
    lambda word: (
        word.rstrip("0123456789") not in {"END", "NAXIS", "BITPIX", "SIMPLE", "BZERO", "BLANK", "GROUPS"}
    )
)
DATES = st.builds(
    lambda day, fraction: Time(day, fraction, format="jd", scale="utc"),
    st.integers(2450000, 2460000),
    st.floats(-0.5, 0.5),
)
VISITS = st.builds(
    VisitInfo,
    st.integers(0, 2**62),
    NUMBERS,
    NUMBERS,
    st.none() | DATES,
    TEXTS,
    TEXTS,
    TEXTS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
)
HISTORY = st.builds(HistoryEntry, TEXTS, TEXTS, TEXTS, st.integers(0, 99), TEXTS, TEXTS, NUMBERS)


@st.composite
def headers(draw: st.DrawFn) -> fits.Header:
    header = fits.Header()
    for keyword, value in draw(st.dictionaries(KEYWORDS, CARD_VALUES, max_size=6)).items():
        header[keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"] = value
    for text in draw(st.lists(CARD_TEXTS.filter(bool), max_size=2)):
        header.add_comment(text)
        header.add_history(text)
    return header


@st.composite
def detectors(draw: st.DrawFn, shape: tuple[int, int]) -> Detector:
    box = Box.of_shape(shape)
    numbers = draw(st.lists(NUMBERS, max_size=4).map(tuple))
    amplifier = Amplifier(
        draw(TEXTS),
        box,
        box,
        box,
        gain=draw(NUMBERS),
        saturation=draw(NUMBERS),
        flip_x=draw(st.booleans()),
        linearity_coeffs=numbers,
        readout_corner="UR",
    )
    name, serial, offset, yaw = draw(st.tuples(TEXTS, TEXTS, st.tuples(NUMBERS, NUMBERS), NUMBERS))
    return Detector(name, draw(st.integers(0, 99)), shape, shape, (amplifier,), serial, offset, yaw_deg=yaw)


@st.composite
def exposures(draw: st.DrawFn) -> Exposure:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    image = draw(arrays.arrays(np.float32, shape, elements=FLOATS32) | arrays.arrays(np.uint16, shape))
    variance = draw(arrays.arrays(np.float32, shape, elements=FLOATS32))
    names = draw(st.sets(st.from_regex(r"[A-Z_]{1,20}", fullmatch=True), max_size=3))
    planes = MaskPlanes().with_planes(names)
    flags = draw(st.sampled_from([st.integers(0, planes.value(*planes)), st.integers(-(2**31), 2**31 - 1)]))
    pixels = MaskedImage(image, draw(arrays.arrays(np.int32, shape, elements=flags)), variance, planes)
    if pixels.is_raw and draw(st.booleans()):
        pixels = MaskedImage.from_raw(image, planes)
    detector = draw(detectors(shape))
    return Exposure(
        pixels,
        detector,
        draw(TEXTS),
        draw(VISITS),
        draw(headers()),
        unit=draw(st.sampled_from(["adu", "electron"])),
        facts=draw(st.frozensets(TEXTS, max_size=3)),
        history=tuple(draw(st.lists(HISTORY, max_size=3))),
        valid_polygon=draw(st.none() | optics.polygons()),
        transmission=draw(st.none() | optics.transmissions(detector)),
        zero_point=draw(st.none() | optics.zero_points()),
    )


def plain(value: Any) -> Any:
    """A value that equals another exactly when both are the same; NaN is NaN."""
    if attrs.has(type(value)):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, float):
        return "nan" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, Time):
        return round((value.utc - Time("2000-01-01", scale="utc")).sec * 1e6)
    if isinstance(value, fits.Header):
        return [(card.keyword, plain(card.value), card.comment) for card in value.cards]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value


@pytest.mark.parametrize("text", ["'/", "a' / b", "''/'/&  ", "\\'/"])
def test_a_slash_after_a_quote_begins_no_comment(text: str) -> None:
    card = make_card("OBJECT", text)
    assert unescape(fits.Card.fromstring(str(card)).value) == text


@pytest.mark.parametrize("name", ["product.fits", "product.fits.fz"])
@given(
    exposure=exposures(), config=st.text(max_size=60), provenance=st.dictionaries(TEXTS, TEXTS, max_size=3)
)
@settings(max_examples=20, deadline=None)
def test_writing_and_reading_is_identity(
    name: str, exposure: Exposure, config: str, provenance: dict[str, str]
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_exposure(exposure, path, config_text=config, provenance=provenance)
        found = read_exposure(path)
        for field in attrs.fields(Exposure):
            if field.name not in ("source", "digest", "measured"):
                assert plain(getattr(found, field.name)) == plain(getattr(exposure, field.name)), field.name
        assert (read_config(path), read_provenance(path)) == (config, provenance)
        assert [file.name for file in Path(folder).iterdir()] == [name]


@pytest.mark.parametrize("name", ["product.fits", "product.fits.fz"])
@given(exposure=exposures())
@settings(max_examples=15, deadline=None)
def test_every_reader_finds_the_same_pixels(name: str, exposure: Exposure) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        write_exposure(exposure, path)
        with fits.open(path, memmap=False) as astropy, fitsio.FITS(str(path)) as cfitsio:
            for plane in ("image", "mask", "variance"):
                if plane.upper() in astropy:
                    wanted = getattr(exposure, plane)
                    for array in (astropy[plane].data, cfitsio[plane].read()):
                        assert array.astype(wanted.dtype).tobytes() == wanted.tobytes()


@given(exposure=exposures())
@settings(max_examples=10, deadline=None)
def test_the_digest_tells_pixels_not_files(exposure: Exposure) -> None:
    with TemporaryDirectory() as folder:
        paths = Path(folder, "product.fits"), Path(folder, "product.fits.fz")
        for path in paths:
            write_exposure(exposure, path)
        first, second = (read_exposure(path).digest for path in paths)
        assert first == second
