"""Files with one extension per amplifier become what the observatory makes of them, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header
from hypothesis import given, settings
from hypothesis import strategies as st

from isrcore import RawError, RawSource
from isrcore_cfht import CAMERA, SplicedSource, isr_read_raw, mosaic_section, splice
from tests.test_cfht_reading import PRIMARY

ROWS, COLUMNS = 4644, 1056
CCDS = ("ccd02", "ccd20")


def half_header(detector, amp, number, **changes):
    """The cards of one amplifier: its place runs from its readout corner, as the first files write it."""
    section = mosaic_section(detector, amp.box)
    ends = [(section.box.x0 + 1, section.box.x1), (section.box.y0 + 1, section.box.y1)]
    # A is read like the CCD, B from the other side.
    x = ends[0][::-1] if section.flip_x == (amp.name == "A") else ends[0]
    y = ends[1][::-1] if section.flip_y else ends[1]
    cards = {
        "EXTNAME": f"amp{number:02d}",
        "EXTVER": number,
        "AMPNAME": f"{detector.id:02d}{amp.name.lower()}",
        "CCDNAME": detector.serial,
        "DETSEC": f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]",
        "DATASEC": "[1:1024,1:4612]",
        "BIASSEC": "[1025:1056,1:4644]",
        "GAIN": amp.gain,
        "RDNOISE": amp.read_noise,
        "SATURATE": 65535,
    }
    return Header([(key, value) for key, value in (cards | changes).items() if value is not None])


def readout(seed):
    """Pixels in the order in which an amplifier is read: data columns, then overscan."""
    return np.random.default_rng(seed).integers(0, 60000, (ROWS, COLUMNS), dtype=np.uint16)


def write(path, ccds=CCDS, changes=None):
    """Two extensions per CCD in the order b, a; pixels are those of `readout` with the extension's number."""
    images = []
    for name in ccds:
        for amp in reversed(CAMERA[name].amplifiers):
            number = len(images)
            header = half_header(CAMERA[name], amp, number, **(changes or {}).get(number, {}))
            images.append(fits.ImageHDU(readout(number), header))
    primary = fits.PrimaryHDU(header=Header([*PRIMARY.items(), ("NEXTEND", len(images))]))
    fits.HDUList([primary, *images]).writeto(path)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("megacam") / "675258o.fits")


def expected_frame(a, b):
    """A as it was read, overscan first; B the other way round, overscan last."""
    return np.hstack([a[:, 1024:], a[:, :1024], b[:, 1023::-1], b[:, :1023:-1]])


def test_a_ccd_is_put_together_as_if_read_from_a(path):
    exposures = list(isr_read_raw(RawSource.open(path), None))
    assert [exposure.detector.name for exposure in exposures] == list(CCDS)
    for first, exposure in zip((0, 2), exposures, strict=True):
        assert exposure.image.dtype == np.uint16
        assert exposure.shape == (4644, 2112)
        np.testing.assert_array_equal(exposure.image, expected_frame(readout(first + 1), readout(first)))


def test_overscans_are_where_the_camera_table_says(path):
    (exposure,) = isr_read_raw(RawSource.open(path), ["ccd20"])
    for amp, number in zip(exposure.detector.amplifiers, (3, 2), strict=True):
        box = amp.serial_overscan_box
        assert (
            np.sort(exposure.image[box.slices], None).tolist()
            == np.sort(readout(number)[box.y0 : box.y1, 1024:], None).tolist()
        )


def test_the_header_is_that_of_a_joined_ccd(path):
    (exposure,) = isr_read_raw(RawSource.open(path), ["ccd02"])
    header, amps = exposure.header, exposure.detector.amplifiers
    assert [header[f"GAIN{amp.name}"] for amp in amps] == [amp.gain for amp in amps]
    assert [header[f"RDNOISE{amp.name}"] for amp in amps] == [amp.read_noise for amp in amps]
    assert header["GAIN"] == sum(amp.gain for amp in amps) / 2
    assert (header["DETSEC"], header["DATASEC"]) == ("[8394:6347,19353:14742]", "[33:2080,1:4612]")
    assert (header["DETSECA"], header["DETSECB"]) == ("[8394:7371,19353:14742]", "[6347:7370,19353:14742]")
    assert (header["BSECA"], header["BSECB"]) == ("[1:32,1:4644]", "[2081:2112,1:4644]")
    assert header["AMPNAME"] == "02a + 02b"
    assert "BIASSEC" not in header
    assert exposure.source.endswith("[ccd02]")


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(1, 5)))
def test_the_order_of_the_extensions_does_not_matter(path, order):
    source = RawSource.open(path)
    shuffled = RawSource(
        source.path, (source.extensions[0], *(source.extensions[n] for n in order)), has_pixels=False
    )
    joined = splice(shuffled)
    assert [item.name for item in joined.images] == sorted(CCDS)
    for name in CCDS:
        halves = {half.amplifier.name: half.extension.name for half in joined.halves[name]}
        first = 2 * CCDS.index(name)
        assert halves == {"B": f"amp{first:02d}", "A": f"amp{first + 1:02d}"}


def test_one_ccd_reads_its_two_extensions_only(path, monkeypatch):
    read = []
    original = RawSource._read_array
    monkeypatch.setattr(
        RawSource,
        "_read_array",
        lambda self, extension: read.append(extension.index) or original(self, extension),
    )
    list(isr_read_raw(RawSource.open(path), ["ccd20"]))
    assert sorted(read) == [3, 4]


def test_planning_reads_no_pixels(path, monkeypatch):
    monkeypatch.setattr(RawSource, "_read_array", None)
    first, _ = isr_read_raw(RawSource.open(path).without_pixels(), None)
    assert first.image.strides == (0, 0)
    assert first.shape == (4644, 2112)


def test_files_with_joined_ccds_stay_as_they_are(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 3), np.uint16), name="ccd00")]).writeto(
        tmp_path / "o.fits"
    )
    source = RawSource.open(tmp_path / "o.fits")
    assert splice(source) is source
    assert not isinstance(splice(source), SplicedSource)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        (
            {0: {"DETSEC": "[1:1024,1:4612]"}},
            [
                "amp00: DETSEC [1:1024,1:4612] is the place of no CCD",
                "ccd02: 'amp01' is there, amplifier B is",
            ],
        ),
        ({1: {"DETSEC": None}}, ["amp01", "DETSEC"]),
        ({1: {"DETSEC": "8394"}}, ["amp01: '8394' is not a FITS section"]),
        ({2: {"DATASEC": "[1:1000,1:4612]"}}, ["amp02: data and overscan columns and frame are (1000, 32,"]),
        ({0: {"DETSEC": "[6347:7370,14742:19353]"}}, ["amp00: DETSEC", "rows in another order than ccd02"]),
        (
            {1: {"DETSEC": "[6347:7370,19353:14742]"}},
            ["amp01 is the same amplifier as amp00", "ccd02: 'amp00' is there, amplifier A is missing"],
        ),
    ],
)
def test_what_cannot_be_joined_is_told(tmp_path, changes, faults):
    with pytest.raises(RawError) as raised:
        isr_read_raw(RawSource.open(write(tmp_path / "675258o.fits", changes=changes)), None)
    for fault in faults:
        assert fault in str(raised.value)
