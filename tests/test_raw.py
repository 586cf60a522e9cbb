"""Raw files: what is read, what is refused and why."""

from __future__ import annotations

import gzip
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from isrcore.camera import Camera, Detector
from isrcore.exposure import VisitInfo
from isrcore.raw import (
    RawError,
    RawSource,
    find_extensions,
    read_sections,
)
from isrcore.raw_headers import merge_headers
from isrcore.raw_listing import list_source
from isrcore.raw_visits import parse_observation_type, read_date, visit_from_header

SHAPE = (6, 8)


def detector(name: str, number: int, shape: tuple[int, int] = SHAPE) -> Detector:
    plain = Detector.of_shape(shape)
    return Detector(name, number, shape, shape, plain.amplifiers)


CAMERA = Camera("twin", (detector("ccd00", 0), detector("ccd01", 1), detector("ccd02", 2)))


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, SHAPE, dtype=np.uint16)


def primary() -> fits.PrimaryHDU:
    cards = {"OBJECT": "M 31", "EXPTIME": 20.0, "DATE-OBS": "2010-11-03", "UTC-OBS": "4:37:54.31"}
    return fits.PrimaryHDU(header=fits.Header({**cards, "OBSTYPE": "OBJECT", "FILTER": "r", "GAIN": 1.0}))


def mosaic(path: Path, *, compressed: bool = False) -> Path:
    """Two detectors; the second has a WCS and its own GAIN."""
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    options = {"compression_type": "RICE_1"} if compressed else {}
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [10, 20], [-1e-4, 1e-4]
    hdus = [kind(pixels(0), **options), kind(pixels(1), wcs.to_header(), **options)]
    for number, hdu in enumerate(hdus):
        hdu.header["EXTNAME"] = f"ccd{number:02}"
    hdus[1].header["GAIN"] = 1.6
    fits.HDUList([primary(), *hdus]).writeto(path)
    return path


def gzipped(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


@pytest.fixture(params=["plain", "compressed", "gzip"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = mosaic(tmp_path / "night.fits", compressed=request.param == "compressed")
    return gzipped(path) if request.param == "gzip" else path


def test_a_file_lists_its_extensions(file: Path) -> None:
    source = RawSource.open(file)
    assert [(e.index, e.name, e.shape) for e in source.extensions] == [
        (0, "", ()),
        (1, "ccd00", SHAPE),
        (2, "ccd01", SHAPE),
    ]
    assert source.header["OBJECT"] == "M 31"
    assert source.extensions[2].header["GAIN"] == 1.6
    assert source.extensions[2].header["XTENSION"] == "IMAGE"


def test_pixels_are_those_written(file: Path) -> None:
    source = RawSource.open(file)
    for seed, extension in enumerate(source.images):
        array = source.read(extension)
        assert array.dtype == np.uint16
        memory = array if array.base is None else array.base
        assert isinstance(memory, np.ndarray)
        assert memory.flags.owndata
        np.testing.assert_array_equal(array, pixels(seed))


def test_read_pixels_survive_the_replacement_of_the_file(tmp_path: Path) -> None:
    path = mosaic(tmp_path / "night.fits")
    source = RawSource.open(path)
    array = source.read(source["ccd00"])
    path.write_bytes(b"\0" * path.stat().st_size)
    np.testing.assert_array_equal(array, pixels(0))


@pytest.mark.parametrize("left", [2880, 3000, 5760, 6000])
def test_a_file_that_was_cut_off_after_it_was_opened_is_told(tmp_path: Path, left: int) -> None:
    path = mosaic(tmp_path / "night.fits")
    source = RawSource.open(path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(RawError, match="fetch the file again"):
        source.read(source["ccd01"])


def test_exposures_of_all_detectors_in_the_file(file: Path) -> None:
    first, second = read_sections(CAMERA, RawSource.open(file))
    assert (first.detector.name, second.detector.name) == ("ccd00", "ccd01")
    assert first.pixels.is_raw
    assert first.camera == "twin"
    assert second.source == f"{file}[ccd01]"
    assert (first.header["GAIN"], second.header["GAIN"]) == (1.0, 1.6)
    assert not {"BZERO", "NAXIS1", "XTENSION", "EXTNAME", "ZIMAGE"} & set(second.header)
    assert first.wcs is None
    assert second.wcs is not None
    assert second.wcs.pixel_to_world_values(-1, -1) == pytest.approx((10, 20))
    assert second.visit.exposure_s == 20.0


@pytest.mark.parametrize(
    ("asked", "got"), [(["ccd01"], [1]), ([1, 0], [1, 0]), ([], []), (["ccd00", 1], [0, 1])]
)
def test_detectors_are_chosen_by_name_or_id(file: Path, asked: list[str | int], got: list[int]) -> None:
    assert [e.detector.id for e in read_sections(CAMERA, RawSource.open(file), asked)] == got


def test_missing_detectors_are_all_named_before_reading(file: Path) -> None:
    with pytest.raises(RawError, match="has no detector 'ccd02', 9; it has 'ccd00', 'ccd01'"):
        read_sections(CAMERA, RawSource.open(file), ["ccd00", "ccd02", 9])


def test_a_camera_without_any_detector_in_the_file(file: Path) -> None:
    with pytest.raises(RawError, match="no detector of 'other'; it has none"):
        find_extensions(Camera("other", (detector("x", 0), detector("y", 1))), RawSource.open(file))


def test_a_camera_of_one_detector_takes_the_only_image(tmp_path: Path) -> None:
    path = tmp_path / "single.fits"
    fits.PrimaryHDU(pixels()).writeto(path)
    (exposure,) = read_sections(Camera("one", (detector("chip", 7),)), RawSource.open(path), [7])
    assert exposure.source == f"{path}[0]"
    np.testing.assert_array_equal(exposure.image, pixels())


def test_another_shape_is_explained(file: Path) -> None:
    camera = Camera("twin", (detector("ccd00", 0, (6, 9)),))
    with pytest.raises(RawError, match=r"shape \(6, 8\), the raw frame of detector 'ccd00'.*\(6, 9\)"):
        next(read_sections(camera, RawSource.open(file)))


def test_the_visit_reader_can_be_replaced(file: Path) -> None:
    exposures = read_sections(
        CAMERA, RawSource.open(file), visit=lambda h: VisitInfo(filter=h["FILTER"] + "!")
    )
    assert [exposure.visit.filter for exposure in exposures] == ["r!", "r!"]


def test_the_image_name_wins_over_the_compressors(tmp_path: Path) -> None:
    """Some MegaCam files hold EXTNAME twice, the compressor's first."""
    path = mosaic(tmp_path / "night.fits.fz", compressed=True)
    with fits.open(path, disable_image_compression=True) as hdus:
        place, cards = hdus[1].fileinfo(), list(hdus[1].header.cards)
    cards.insert(8, fits.Card("EXTNAME", "COMPRESSED_IMAGE"))
    text = fits.Header(cards).tostring().encode()
    content = path.read_bytes()
    path.write_bytes(content[: place["hdrLoc"]] + text + content[place["datLoc"] :])
    source = RawSource.open(path)
    assert source.extensions[1].name == "ccd00"
    np.testing.assert_array_equal(source.read(source["ccd00"]), pixels(0))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32, np.int64])
def test_integers_that_fit_become_uint16(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.arange(48).reshape(SHAPE).astype(dtype)).writeto(path)
    source = RawSource.open(path)
    array = source.read(source.images[0])
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array.ravel(), np.arange(48))


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_that_do_not_fit_are_refused(tmp_path: Path, value: int) -> None:
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.full(SHAPE, value, np.int32)).writeto(path)
    source = RawSource.open(path)
    with pytest.raises(RawError, match=f"int32 values from {value} to {value}"):
        source.read(source.images[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_become_float32(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.linspace(-1, 1, 48).reshape(SHAPE).astype(dtype)).writeto(path)
    source = RawSource.open(path)
    assert source.read(source.images[0]).dtype == np.float32


@pytest.mark.parametrize("compressed", [False, True])
def test_truncation_is_found_when_opening(tmp_path: Path, compressed: bool) -> None:
    path = mosaic(tmp_path / "night.fits", compressed=compressed)
    content = path.read_bytes()
    with fits.open(path, disable_image_compression=True) as hdus:
        second, third = hdus[1].fileinfo(), hdus[2].fileinfo()
    for length in (
        100,
        second["datLoc"] + 50,
        third["hdrLoc"] + 2880 // 2,
        third["datLoc"],
        third["datLoc"] + 50,
    ):
        path.write_bytes(content[:length])
        with pytest.raises(RawError, match=r"truncated|damaged"):
            RawSource.open(path)


def test_truncated_gzip_is_found_when_opening(tmp_path: Path) -> None:
    path = gzipped(mosaic(tmp_path / "night.fits"))
    content = path.read_bytes()
    for length in (20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(RawError, match=r"truncated|damaged"):
            RawSource.open(path)


def test_missing_padding_is_no_fault(tmp_path: Path) -> None:
    path = mosaic(tmp_path / "night.fits")
    path.write_bytes(path.read_bytes()[:-2000])
    source = RawSource.open(path)
    np.testing.assert_array_equal(source.read(source["ccd01"]), pixels(1))


def test_damage_in_one_extension_leaves_the_others(tmp_path: Path) -> None:
    path = mosaic(tmp_path / "night.fits.fz", compressed=True)
    with fits.open(path, disable_image_compression=True) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\x7f" * 64)
    source = RawSource.open(path)
    with pytest.raises(RawError, match="extension 'ccd00': pixels cannot be decoded"):
        source.read(source["ccd00"])
    np.testing.assert_array_equal(source.read(source["ccd01"]), pixels(1))


def test_names_in_capitals_are_found(tmp_path: Path) -> None:
    path = tmp_path / "night.fits"
    fits.HDUList([primary(), fits.ImageHDU(pixels(), name="ccd00")]).writeto(path)
    (exposure,) = read_sections(CAMERA, RawSource.open(path))
    assert (exposure.detector.name, exposure.source) == ("ccd00", f"{path}[CCD00]")


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "night.fits"
    fits.HDUList([primary(), *(fits.ImageHDU(pixels(), name="ccd00") for _ in range(2))]).writeto(path)
    with pytest.raises(RawError, match="2 extensions 'ccd00'"):
        read_sections(CAMERA, RawSource.open(path))


def test_what_is_no_fits_file_is_named(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello world")
    (tmp_path / "empty.fits").touch()
    for path, reason in [
        (text, "is no FITS file"),
        (tmp_path / "empty.fits", "is no FITS file"),
        (tmp_path, "is a folder"),
        (tmp_path / "none.fits", "does not exist"),
    ]:
        with pytest.raises(RawError, match=reason):
            RawSource.open(path)


def test_an_extension_without_image_cannot_be_read(file: Path) -> None:
    source = RawSource.open(file)
    with pytest.raises(RawError, match="extension '0': holds no image"):
        source.read(source.extensions[0])
    with pytest.raises(RawError, match="no extension 'ccd77'; it has '0', 'ccd00', 'ccd01'"):
        source["ccd77"]


def test_missing_extensions_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = mosaic(tmp_path / "night.fits")
    fits.setval(path, "NEXTEND", value=36)
    RawSource.open(path)
    assert "has 2 extensions, its header says NEXTEND = 36" in caplog.text


def test_the_extension_wins_when_headers_are_merged() -> None:
    first = fits.Header([("A", 1), ("B", 2), ("HISTORY", "one"), ("NEXTEND", 2)])
    second = fits.Header([("B", 3), ("HISTORY", "two"), ("EXTNAME", "x")])
    merged = merge_headers(first, second)
    assert (merged["A"], merged["B"], list(merged["HISTORY"])) == (1, 3, ["one", "two"])
    assert not {"NEXTEND", "EXTNAME"} & set(merged)
    assert first["B"] == 2


@pytest.mark.parametrize(
    ("cards", "middle"),
    [
        ({"DATE-OBS": "2010-11-03", "UTC-OBS": "4:37:54.31"}, "2010-11-03T04:38:04.310000000"),
        ({"DATE-OBS": "2010-11-03", "TIME-OBS": "23:59:55"}, "2010-11-04T00:00:05.000000000"),
        ({"DATE-OBS": "2022-01-26T19:02:38.210", "UTC-OBS": "1:0:0"}, "2022-01-26T19:02:48.210000000"),
        ({"DATE-OBS": "2022-01-26T19:02:38Z"}, "2022-01-26T19:02:48.000000000"),
    ],
)
def test_the_date_is_the_middle_of_the_exposure(cards: dict[str, str], middle: str) -> None:
    date = read_date(fits.Header(cards), 20.0)
    assert date is not None
    assert (date.isot, date.scale) == (middle, "utc")


@pytest.mark.parametrize(
    "cards", [{}, {"DATE-OBS": "2010-11-03"}, {"DATE-OBS": "03/11/10", "UT": "1:2:3"}, {"UTC-OBS": "1:2:3"}]
)
def test_an_incomplete_date_is_unknown(cards: dict[str, str]) -> None:
    assert read_date(fits.Header(cards), 20.0) is None


def test_an_exposure_beyond_all_calendars_has_no_date() -> None:
    header = fits.Header({"DATE-OBS": "2020-01-02T03:04:05", "EXPTIME": 1e300})
    assert visit_from_header(header).date is None


def test_a_header_without_cards_says_nothing() -> None:
    visit = visit_from_header(fits.Header())
    assert math.isnan(visit.dark_s)
    assert math.isnan(visit.ra_deg)
    assert (visit.exposure_id, visit.filter, visit.observation_type, visit.date) == (0, "", "", None)


def test_standard_cards_make_the_visit() -> None:
    cards = {
        "EXPTIME": 30,
        "RA": 10.5,
        "DEC": "+41:16:09",
        "IMAGETYP": "Dark Frame",
        "EXPNUM": 12,
        "AIRMASS": 1.2,
    }
    visit = visit_from_header(fits.Header(cards))
    assert (visit.exposure_id, visit.exposure_s, visit.dark_s, visit.ra_deg) == (12, 30.0, 30.0, 10.5)
    assert math.isnan(visit.dec_deg)
    assert (visit.observation_type, visit.airmass) == ("dark", 1.2)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("OBJECT", "science"),
        ("Light Frame", "science"),
        ("zero", "bias"),
        ("BIAS", "bias"),
        ("SKYFLAT", "flat"),
        ("FLAT,SKY", "flat"),
        ("twilight", "flat"),
        ("FRINGE", "fringe"),
        ("focus", ""),
        ("", ""),
    ],
)
def test_observation_types(word: str, meaning: str) -> None:
    assert parse_observation_type(word) == meaning


_seen: list[str] = []


def read_counted(header: fits.Header) -> VisitInfo:
    _seen.append(header["OBJECT"])
    return VisitInfo(object_name=f"{header['OBJECT']} {header.get('GAIN')}")


def test_whoever_gets_the_source_of_a_plan_reads_no_visit_again(file: Path) -> None:
    """Translating the headers of some cameras takes as long as starting Python."""
    _seen.clear()
    source = RawSource.open(file)
    list(read_sections(CAMERA, source.without_pixels(), visit=read_counted))
    assert len(_seen) == 2
    sent = pickle.loads(pickle.dumps(source))
    found = list(read_sections(CAMERA, sent, visit=read_counted))
    assert len(_seen) == 2
    assert [one.visit.object_name for one in found] == ["M 31 1.0", "M 31 1.6"]


def test_visits_of_one_reader_are_not_anothers(file: Path) -> None:
    source = RawSource.open(file)
    list(read_sections(CAMERA, source, visit=read_counted))
    names = iter("abcd")
    for wanted in ("ab", "cd"):
        found = read_sections(CAMERA, source, visit=lambda _: VisitInfo(object_name=next(names)))
        assert "".join(one.visit.object_name for one in found) == wanted
    assert next(read_sections(CAMERA, source)).visit.object_name == "M 31"


def test_a_list_of_detectors_takes_one_visit(tmp_path: Path) -> None:
    asked = []

    def read_once(header: fits.Header) -> VisitInfo:
        asked.append(header["OBJECT"])
        return VisitInfo(exposure_s=len(asked))

    found = list(read_sections(CAMERA, list_source(mosaic(tmp_path / "file.fits")), visit=read_once))
    assert [one.visit.exposure_s for one in found] == [1, 1]
    assert len(asked) == 1
