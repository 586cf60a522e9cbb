"""Law: what is written as a raw file is what is read from it: pixels, visit, detectors, WCS."""

from __future__ import annotations

import math
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time, TimeDelta
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_cfht
import isrcore_eso
import isrcore_simulated
from isrcore import (
    Camera,
    Detector,
    Exposure,
    FitsError,
    MaskedImage,
    Registry,
    RegistryError,
    VisitInfo,
    hookimpl,
    pointing_cards,
    read_sections,
    wcs_cards,
    write_sections,
)
from isrcore.testing import strategies

TEXTS = st.text("abcdefghijklmnopqrstuvwxyz.ABC0123456789 _-+'", max_size=20).map(str.strip)
START = Time("2003-05-01T00:00:00", scale="utc", precision=9)


@st.composite
def visits(draw: st.DrawFn) -> VisitInfo:
    """Visits in which any value may be unknown; a date needs to be known to the nanosecond only."""

    def maybe(values: st.SearchStrategy[Any], unknown: Any) -> Any:
        return draw(st.just(unknown) | values)

    seconds = draw(st.floats(0, 5000, width=32))
    return VisitInfo(
        exposure_id=maybe(st.integers(1, 2**31 - 1), 0),
        exposure_s=seconds,
        dark_s=draw(st.floats(0, 5000)),
        date=maybe(st.floats(0, 5e8).map(lambda s: START + TimeDelta(s, format="sec")), None),
        filter=maybe(TEXTS, ""),
        object_name=maybe(TEXTS, ""),
        observation_type=draw(st.sampled_from(["", "science", "bias", "dark", "flat", "fringe"])),
        ra_deg=maybe(st.floats(0, 359.999), math.nan),
        dec_deg=maybe(st.floats(-89.9, 89.9), math.nan),
        airmass=maybe(st.floats(1, 10), math.nan),
    )


def raw_frame(detector: Detector, visit: VisitInfo, camera: str, seed: int = 0) -> Exposure:
    pixels = np.random.default_rng(seed).integers(0, 65536, detector.raw_shape).astype(np.uint16)
    return Exposure(MaskedImage.from_raw(pixels), detector, camera, visit)


def assert_same_visit(found: VisitInfo, wanted: VisitInfo) -> None:
    dates = found.date, wanted.date
    assert (dates[0] is None) == (dates[1] is None)
    if dates[0] is not None:
        # The start is written in nanoseconds.
        assert abs((dates[0] - dates[1]).to_value("s")) < 2e-9
    np.testing.assert_equal(*(attrs.asdict(attrs.evolve(visit, date=None)) for visit in (found, wanted)))


def plugin_of(camera: Camera) -> Any:
    """A camera that stores an extension per detector and leaves writing to the core."""
    read = hookimpl(
        lambda source, detectors: (
            read_sections(camera, source, detectors) if source.header["INSTRUME"] == camera.name else None
        ),
        specname="isr_read_raw",
    )
    return SimpleNamespace(cameras=hookimpl(lambda: [camera], specname="isr_cameras"), read=read)


@given(
    camera=strategies.cameras(),
    visit=visits(),
    suffix=st.sampled_from([".fits", ".fits.fz"]),
    seed=st.integers(0),
)
@settings(max_examples=20)
def test_any_camera_reads_what_was_written_for_it(
    camera: Camera, visit: VisitInfo, suffix: str, seed: int
) -> None:
    registry = Registry({"any": plugin_of(camera)})
    written = [raw_frame(one, visit, camera.name, seed + one.id) for one in camera.detectors]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"raw{suffix}"
        registry.write_raw(path, camera, iter(written))
        found = list(registry.read_raw(path))
    assert [one.detector for one in found] == list(camera.detectors)
    for one, other in zip(found, written, strict=True):
        assert one.pixels.is_raw
        np.testing.assert_array_equal(one.image, other.image)
        assert_same_visit(one.visit, visit)


KNOWN = {"cfht": isrcore_cfht, "eso": isrcore_eso, "simulated": isrcore_simulated}
REGISTRY = Registry(KNOWN)


@pytest.mark.parametrize("name", ["EFOSC2", "simulated"])
@given(visit=visits())
@settings(max_examples=8)
def test_small_cameras_read_their_own_files(name: str, visit: VisitInfo) -> None:
    camera = REGISTRY.camera(name)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "raw.fits.fz"
        written = [raw_frame(one, visit, name) for one in camera.detectors]
        REGISTRY.write_raw(path, camera, written)
        found = list(REGISTRY.read_raw(path))
    for one, other in zip(found, written, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        wanted = visit
        if name == "EFOSC2" and visit.observation_type == "dark" and visit.exposure_s == 0:
            wanted = attrs.evolve(visit, observation_type="bias")
        assert_same_visit(one.visit, wanted)


VISIT = VisitInfo(
    7, 12.5, 12.25, Time("2020-01-02T03:04:05.5", scale="utc"), "r", "field", "science", 150.125, 2.5, 1.25
)


def test_a_plain_example(tmp_path: Path) -> None:
    camera = Camera("toy", (attrs.evolve(Detector.of_shape((3, 4)), name="left"),))
    exposure = raw_frame(camera["left"], VISIT, "toy")
    path = tmp_path / "toy.fits"
    Registry({"toy": plugin_of(camera)}).write_raw(path, camera, [exposure])
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name.lower() for hdu in hdus] == ["primary", "left"]
        header = hdus[0].header
        assert (header["INSTRUME"], header["NEXTEND"], header["EXPNUM"]) == ("toy", 1, 7)
        # Half of 12.5 s before the middle.
        assert header["DATE-OBS"] == "2020-01-02T03:03:59.25"
        assert [hdu.verify_checksum() for hdu in hdus] == [1, 1]
        np.testing.assert_array_equal(hdus[1].data, exposure.image)


def test_another_reader_sees_the_same_pixels(tmp_path: Path) -> None:
    fitsio = pytest.importorskip("fitsio")
    camera = REGISTRY.camera("simulated")
    written = [raw_frame(one, VISIT, "simulated") for one in camera.detectors]
    REGISTRY.write_raw(tmp_path / "raw.fits.fz", camera, written)
    with fitsio.FITS(tmp_path / "raw.fits.fz") as hdus:
        for hdu, exposure in zip(hdus[1:], written, strict=True):
            np.testing.assert_array_equal(hdu.read(), exposure.image)


def test_equal_frames_make_equal_files(tmp_path: Path) -> None:
    camera = REGISTRY.camera("simulated")
    written = [raw_frame(one, VISIT, "simulated") for one in camera.detectors]
    for name in ("one.fits.fz", "two.fits.fz"):
        REGISTRY.write_raw(tmp_path / name, camera, written)
    assert (tmp_path / "one.fits.fz").read_bytes() == (tmp_path / "two.fits.fz").read_bytes()


def test_no_file_says_when_it_was_written(tmp_path: Path) -> None:
    camera = REGISTRY.camera("simulated")
    dateless = attrs.evolve(VISIT, date=None)
    REGISTRY.write_raw(tmp_path / "raw.fits.fz", camera, [raw_frame(camera["sim0"], dateless, "simulated")])
    assert not re.search(rb"\d{4}-\d\d-\d\dT", (tmp_path / "raw.fits.fz").read_bytes())


@given(detector=strategies.detectors(), yaw=st.sampled_from([0.0, 90.0, 180.0, 33.0]))
def test_raw_pixels_of_the_first_amplifier_are_where_their_assembled_ones_are(
    detector: Detector, yaw: float
) -> None:
    place = {"offset_mm": (3.0, -2.0), "reference_pixel": (4.5, 2.0), "yaw_deg": yaw, "pixel_size_mm": 0.01}
    assembled = attrs.evolve(Detector.of_shape(detector.shape), **place)
    ours, plain = (
        WCS({key: value for key, (value, _) in pointing_cards(one, VISIT, 0.3).items()})
        for one in (attrs.evolve(detector, **place), assembled)
    )
    amp = detector.amplifiers[0]
    y, x = np.indices(detector.shape)
    pixels = amp.gather().inverse()
    raw_y, raw_x = (np.zeros(detector.raw_shape) for _ in range(2))
    raw_y[amp.raw_data_box.slices], raw_x[amp.raw_data_box.slices] = pixels.read(y), pixels.read(x)
    rows, columns = np.mgrid[amp.raw_data_box.slices]
    found = ours.pixel_to_world_values(columns, rows)
    wanted = plain.pixel_to_world_values(raw_x[amp.raw_data_box.slices], raw_y[amp.raw_data_box.slices])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def test_the_position_is_that_of_the_focal_plane(tmp_path: Path) -> None:
    camera = REGISTRY.camera("simulated")
    REGISTRY.write_raw(
        tmp_path / "raw.fits", camera, [raw_frame(one, VISIT, "simulated") for one in camera.detectors]
    )
    left, right = (one.wcs for one in REGISTRY.read_raw(tmp_path / "raw.fits"))
    # The reference pixel (47.5, 39.5), as the first amplifier reads it: 4 columns of prescan before it. It is
    # 0.8 mm of 0.015 mm pixels from the axis, at 0.2 arcsec per pixel, and x points west.
    shift = 0.8 / 0.015 * 0.2 / 3600 / math.cos(math.radians(VISIT.dec_deg))
    for wcs, sign in ((left, 1), (right, -1)):
        ra, dec = wcs.pixel_to_world_values(47.5 + 4, 39.5)
        assert ra == pytest.approx(VISIT.ra_deg + sign * shift, abs=1e-7)
        assert dec == pytest.approx(VISIT.dec_deg, abs=1e-6)


def test_a_wcs_that_is_there_is_kept(tmp_path: Path) -> None:
    camera = REGISTRY.camera("simulated")
    exposure = raw_frame(camera["sim1"], VISIT, "simulated")
    REGISTRY.write_raw(tmp_path / "one.fits", camera, [exposure])
    read = next(REGISTRY.read_raw(tmp_path / "one.fits"))
    read.wcs.wcs.crval = [10.0, -30.0]
    REGISTRY.write_raw(tmp_path / "two.fits", camera, [read])
    again = next(REGISTRY.read_raw(tmp_path / "two.fits"))
    np.testing.assert_allclose(
        again.wcs.pixel_to_world_values([1, 90], [2, 60]),
        read.wcs.pixel_to_world_values([1, 90], [2, 60]),
        rtol=1e-12,
    )
    assert wcs_cards(exposure) == {}


def test_exposures_are_taken_one_after_the_other(tmp_path: Path) -> None:
    camera = REGISTRY.camera("simulated")
    alive: list[int] = []

    def frames() -> Any:
        for detector in camera.detectors:
            alive.append((tmp_path / "raw.fits").exists())
            yield raw_frame(detector, VISIT, "simulated")

    REGISTRY.write_raw(tmp_path / "raw.fits", camera, frames())
    # Nobody sees the file before the last one is in it.
    assert alive == [False, False]
    assert [path.name for path in tmp_path.iterdir()] == ["raw.fits"]


@pytest.mark.parametrize("fault", ["a file that is there", "a float image", "no exposure"])
def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path, fault: str) -> None:
    camera, path = REGISTRY.camera("simulated"), tmp_path / "raw.fits"
    exposures = [raw_frame(camera["sim0"], VISIT, "simulated")]
    if fault == "a file that is there":
        path.write_text("mine")
    elif fault == "a float image":
        bad = attrs.evolve(exposures[0], pixels=MaskedImage.from_image(np.zeros((2, 2), np.float32)))
        exposures.append(bad)
    else:
        exposures = []
    told = {"a file that is there": "it exists", "a float image": "is not raw", "no exposure": "no exposure"}
    with pytest.raises(FitsError, match=told[fault]):
        REGISTRY.write_raw(path, camera, exposures)
    kept = [path] if fault == "a file that is there" else []
    assert list(tmp_path.iterdir()) == kept
    assert not kept or path.read_text() == "mine"


def test_two_writers_for_one_camera_are_refused_by_name(tmp_path: Path) -> None:
    other = SimpleNamespace(writer=hookimpl(lambda camera: write_sections, specname="isr_raw_writer"))
    registry = Registry({**KNOWN, "other": other})
    with pytest.raises(RegistryError, match="'other' and 'simulated' both write"):
        registry.write_raw(tmp_path / "raw.fits", registry.camera("simulated"), [])
    assert list(tmp_path.iterdir()) == []
