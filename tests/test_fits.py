"""Products: complete or absent, verified when read, refused with a reason."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import attrs
import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, DistortionLookupTable, Sip

import isrcore.fits
from isrcore.camera import Detector
from isrcore.exposure import Exposure, HistoryEntry, VisitInfo
from isrcore.fits import (
    FitsError,
    check_writable,
    read_config,
    read_exposure,
    read_extra,
    read_provenance,
    write_exposure,
)
from isrcore.fits_columns import read_columns
from isrcore.fits_compression import COMPRESSIONS
from isrcore.fits_planes import encode_sum
from isrcore.geometry import Box
from isrcore.image import MaskedImage, MaskPlanes

SHAPE = (5, 7)
NAMES = ["product.fits", "product.fits.fz"]


def exposure(value: float = 1.5) -> Exposure:
    image = np.full(SHAPE, value, np.float32)
    image.flat[:5] = np.nan, np.inf, -np.inf, 1e-45, -0.0
    mask = np.arange(35, dtype=np.int32).reshape(SHAPE)
    planes = MaskPlanes().with_planes(["CROSSTALK"])
    return Exposure(
        MaskedImage(image, mask, image * np.float32(2), planes),
        Detector.of_shape(SHAPE, gain=1.6),
        camera="twin",
        visit=VisitInfo(12, 20.0, date=Time("2010-11-03T04:38:04.123456789", scale="utc"), filter="r"),
        header=fits.Header({"OBJECT": "M 31", "GAIN": 1.6}),
        unit="electron",
        facts=frozenset({"flat-fielded", "assembled"}),
        history=(HistoryEntry("flat", "isrcore_standard", "1.0", 2, "flat.fits", "abc", 0.25),),
    )


def distorted_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crval, wcs.wcs.crpix = [280.57295812345678, 59.516694123456789], [1023.1234567, 2345.678901]
    wcs.wcs.cd = [[-5.1941234567e-5, 1.23456e-7], [1.2e-7, 5.194e-5]]
    terms = np.zeros((3, 3))
    terms[2, 0], terms[0, 2], terms[1, 1] = 1.23456789e-8, -3.2e-9, 7.7e-10
    wcs.sip = Sip(terms, -terms, None, None, wcs.wcs.crpix)
    return wcs


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_a_product_comes_back(tmp_path: Path, name: str) -> None:
    written = exposure()
    write_exposure(written, tmp_path / name)
    found = read_exposure(tmp_path / name)
    for plane in ("image", "mask", "variance"):
        assert getattr(found, plane).dtype == getattr(written, plane).dtype
        assert getattr(found, plane).tobytes() == getattr(written, plane).tobytes()
    assert found.planes == written.planes
    assert dict(found.header) == {"OBJECT": "M 31", "GAIN": 1.6}
    assert (found.unit, found.camera, found.facts) == ("electron", "twin", written.facts)
    assert found.history == written.history
    assert found.visit.date.isot == "2010-11-03T04:38:04.123456789"
    assert found.source == str(tmp_path / name)


def test_the_layout_is_as_documented(tmp_path: Path) -> None:
    write_exposure(exposure(), tmp_path / "p.fits", config_text="a = 1", provenance={"input": "x"})
    with fits.open(tmp_path / "p.fits", checksum=True) as hdus:
        planes = ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
        tables = ["ISR_HISTORY", "ISR_DETECTOR", "ISR_CONFIG", "ISR_PROVENANCE"]
        assert [hdu.name for hdu in hdus] == planes + tables
        assert [hdus[0].header[f"ISRF{n:03}"] for n in (1, 2)] == ["assembled", "flat-fielded"]
        assert (hdus["IMAGE"].header["BUNIT"], hdus["VARIANCE"].header["BUNIT"]) == ("electron", "electron2")
        assert hdus["MASK"].header["MP_DETECTED_NEGATIVE"] == 6
        assert hdus["ISR_DETECTOR"].data["raw_data_box"].tolist() == [[0, 5, 0, 7]]
        assert all("CHECKSUM" in hdu.header for hdu in hdus)


def test_a_raw_exposure_is_one_image(tmp_path: Path) -> None:
    image = np.arange(35, dtype=np.uint16).reshape(SHAPE)
    write_exposure(Exposure(MaskedImage.from_raw(image), Detector.of_shape(SHAPE)), tmp_path / "raw.fits")
    with fits.open(tmp_path / "raw.fits") as hdus:
        assert "MASK" not in hdus
        assert hdus["IMAGE"].data.dtype == np.uint16
    found = read_exposure(tmp_path / "raw.fits")
    np.testing.assert_array_equal(found.image, image)
    assert found.mask.strides == (0, 0)
    assert (found.variance == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_sky_positions_survive(tmp_path: Path, name: str) -> None:
    written = attrs.evolve(exposure(), wcs=distorted_wcs())
    write_exposure(written, tmp_path / name)
    x, y = np.meshgrid([-20.0, 0, 1000, 2048], [0, 2000, 4612.5])
    wanted = written.wcs.all_pix2world(x, y, 0)
    np.testing.assert_allclose(
        read_exposure(tmp_path / name).wcs.all_pix2world(x, y, 0), wanted, rtol=0, atol=1e-10
    )
    for plane in ("IMAGE", "MASK", "VARIANCE"):
        header = fits.getheader(tmp_path / name, plane)
        np.testing.assert_allclose(WCS(header).all_pix2world(x, y, 0), wanted, rtol=0, atol=1e-10)


def test_views_are_written_and_left_alone(tmp_path: Path) -> None:
    whole = exposure()
    turned = attrs.evolve(
        whole,
        pixels=MaskedImage(whole.image[::-1, ::-1], whole.mask[::-1, ::-1], whole.variance[::-1, ::-1]),
    )
    before = whole.image.tobytes()
    write_exposure(turned, tmp_path / "p.fits")
    assert whole.image.tobytes() == before
    assert read_exposure(tmp_path / "p.fits").image.tobytes() == turned.image.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_pixels_keep_their_bytes_while_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """astropy swaps bytes in place wherever it may; another thread would read nonsense."""
    may_swap: list[bool] = []
    write = isrcore.fits._write_hdu

    def watched(stream: Any, hdu: Any) -> None:
        if hdu.name in ("IMAGE", "MASK", "VARIANCE"):
            may_swap.append(hdu.data.flags.writeable)
        write(stream, hdu)

    monkeypatch.setattr(isrcore.fits, "_write_hdu", watched)
    write_exposure(exposure(), tmp_path / name)
    assert may_swap == [False, False, False]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flags", [512, 2**31])
def test_checksums_are_right_for_every_reader(tmp_path: Path, name: str, flags: int) -> None:
    path = tmp_path / name
    write_exposure(large_exposure(flags), path, config_text="a = 1", provenance={"b": "c"})
    # A wrong sum would be a warning, and that an error.
    with fits.open(path, checksum=True, disable_image_compression=True) as hdus:
        sums = [(hdu.verify_checksum(), hdu.verify_datasum()) for hdu in hdus]
    assert sums == [(1, 1)] * 8
    with fitsio.FITS(str(path)) as hdus:
        for hdu in hdus:
            hdu.verify_checksum()


def large_exposure(flags: int = 2**31) -> Exposure:
    """An exposure of many blocks whose planes do not fill the last one, in a view that is not contiguous.

    Each plane has an odd number of pixels; those of the mask are from 0 to below ``flags``, or any number.
    """
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 30, (401, 523)).astype(np.float32)
    lowest = 0 if flags < 2**31 else -flags
    mask = rng.integers(lowest, flags, image.shape, dtype=np.int64).astype(np.int32)
    whole = MaskedImage.from_image(image, mask, image * np.float32(3))
    pixels = whole.flip(True, False).window(Box(1, 400, 2, 521))
    return Exposure(pixels, Detector.of_shape(pixels.shape), history=(HistoryEntry("flat"),))


@pytest.mark.parametrize("flags", [512, 2**31])
def test_planes_are_written_as_astropy_would(tmp_path: Path, flags: int) -> None:
    written = large_exposure(flags)
    write_exposure(written, tmp_path / "p.fits")
    with fits.open(tmp_path / "p.fits") as hdus:
        hdus.writeto(tmp_path / "q.fits", checksum=False)
        for name in ("IMAGE", "MASK", "VARIANCE"):
            pixels = getattr(written, name.lower()).astype(hdus[name].data.dtype.newbyteorder("="))
            again = fits.ImageHDU(pixels, name=name)
            again.add_datasum()
            assert hdus[name].header["DATASUM"] == again.header["DATASUM"]
    assert (tmp_path / "p.fits").stat().st_size == (tmp_path / "q.fits").stat().st_size


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("planes", "pixel", "wanted"),
    [(0, 511, np.int16), (6, 2**15 - 1, np.int16), (0, 2**15, np.int32), (0, -1, np.int32), (7, 1, np.int32)],
)
def test_masks_are_as_narrow_as_planes_and_pixels_allow(
    tmp_path: Path, name: str, planes: int, pixel: int, wanted: type
) -> None:
    """A reader may test the bit of any plane, set or not, without an overflow."""
    written = exposure()
    written.mask[3, 3] = pixel
    added = MaskPlanes().with_planes(f"P{number}" for number in range(planes))
    written.pixels = attrs.evolve(written.pixels, planes=added)
    write_exposure(written, tmp_path / name)
    found = read_exposure(tmp_path / name)
    assert found.mask.dtype == np.int32
    np.testing.assert_array_equal(found.mask, written.mask)
    with fits.open(tmp_path / name) as hdus:
        stored = hdus["MASK"].data
        assert stored.dtype.newbyteorder("=") == wanted
        bit = 1 << max(added.bits.values())
        np.testing.assert_array_equal(stored & bit, written.mask & bit)


@pytest.mark.parametrize("name", NAMES)
def test_masks_that_were_stored_wider_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    written = large_exposure(flags=512)
    monkeypatch.setattr(isrcore.fits, "stored_type", lambda mask, planes: np.int32)
    write_exposure(written, tmp_path / name)
    with fits.open(tmp_path / name) as hdus:
        assert hdus["MASK"].data.dtype.newbyteorder("=") == np.int32
    np.testing.assert_array_equal(read_exposure(tmp_path / name).mask, written.mask)


def test_other_readers_find_the_tables(tmp_path: Path) -> None:
    written = exposure()
    two = HistoryEntry("a longer name \\ é", "p", "2.0", 3, seconds=float("inf"))
    write_exposure(attrs.evolve(written, history=(*written.history, two)), tmp_path / "p.fits")
    amplifier = written.detector.amplifiers[0]
    with fits.open(tmp_path / "p.fits") as astropy, fitsio.FITS(str(tmp_path / "p.fits")) as cfitsio:
        for file in (astropy["ISR_HISTORY"].data, cfitsio["ISR_HISTORY"].read()):
            assert [str(text).strip() for text in file["step"]] == ["flat", r"a longer name \\ \xe9"]
            assert file["segment"].tolist() == [2, 3]
            assert file["seconds"].tolist() == [0.25, float("inf")]
        for file in (astropy["ISR_DETECTOR"].data, cfitsio["ISR_DETECTOR"].read()):
            assert file["box"].tolist() == [list(attrs.astuple(amplifier.box))]
            assert file["flip_x"].tolist() == [amplifier.flip_x]
            assert file["gain"].tolist() == [1.6]


def test_texts_may_be_filled_up_with_blanks() -> None:
    """Which is how many programs write them."""
    table = fits.BinTableHDU.from_columns([fits.Column("name", "4A", array=np.array(["ab", "c"]))])
    assert read_columns(table.header, b"ab  c   ") == {"name": ["ab", "c"]}


def test_extra_images_may_be_views(tmp_path: Path) -> None:
    view = np.arange(401 * 523, dtype=np.int32).astype(np.int16).reshape(401, 523)[::-1, 2:521]
    write_exposure(exposure(), tmp_path / "p.fits", extra={"COUNTS": view})
    np.testing.assert_array_equal(read_extra(tmp_path / "p.fits", "COUNTS"), view)


def test_what_is_not_asked_for_is_not_verified(tmp_path: Path) -> None:
    path = tmp_path / "p.fits"
    counts = np.ones(SHAPE, np.int16)
    write_exposure(exposure(), path, config_text="a = 1", extra={"NINPUTS": counts})
    with fits.open(path) as hdus:
        place = hdus["NINPUTS"].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert read_exposure(path).shape == SHAPE
    assert read_config(path) == "a = 1"
    with pytest.raises(FitsError, match="damaged in HDU 'NINPUTS'"):
        read_extra(path, "NINPUTS")


@pytest.mark.parametrize("value", [0, 1, 2**32 - 1, 0x7F3A2B1C, *(1 << bit for bit in range(0, 32, 3))])
def test_sums_are_written_as_astropy_does(value: int) -> None:
    hdu = fits.PrimaryHDU()
    encoded = encode_sum(value)
    assert encoded == hdu._char_encode(np.uint32(value))
    assert encoded.isalnum()


def test_config_and_provenance_travel_along(tmp_path: Path) -> None:
    path = tmp_path / "p.fits"
    config = 'name = "é\\\\"\n\n[dark]\nscale = 1.0  \n'
    write_exposure(exposure(), path, config_text=config, provenance={"input é": "x" * 300, "empty": ""})
    assert read_config(path) == config
    assert read_provenance(path) == {"input é": "x" * 300, "empty": ""}


@pytest.mark.parametrize("text", ["x" * 80 + "&", "x" * 80 + " & ", "&", "'" * 90 + "&&"])
def test_texts_keep_what_readers_drop_at_the_end(tmp_path: Path, text: str) -> None:
    written = attrs.evolve(exposure(), visit=VisitInfo(object_name=text), history=(HistoryEntry(text),))
    write_exposure(written, tmp_path / "p.fits", provenance={text: text})
    found = read_exposure(tmp_path / "p.fits")
    assert (found.visit.object_name, found.history[0].step) == (text, text)
    assert read_provenance(tmp_path / "p.fits") == {text: text}


def test_a_product_without_them_has_none(tmp_path: Path) -> None:
    write_exposure(exposure(), tmp_path / "p.fits")
    assert read_config(tmp_path / "p.fits") == ""
    assert read_provenance(tmp_path / "p.fits") == {}


def test_compression_follows_the_name_unless_told(tmp_path: Path) -> None:
    write_exposure(exposure(), tmp_path / "a.fits", compress=True)
    write_exposure(exposure(), tmp_path / "b.fits.fz", compress=False)
    write_exposure(exposure(), tmp_path / "c.fits.fz")
    for name, wanted in (("a.fits", True), ("b.fits.fz", False), ("c.fits.fz", True)):
        with fits.open(tmp_path / name) as hdus:
            assert isinstance(hdus["IMAGE"], fits.CompImageHDU) is wanted


def test_compression_keeps_every_bit_of_noise(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(1000, 30, (200, 100)).astype(np.float32)
    pixels = MaskedImage.from_image(noise, variance=noise)
    write_exposure(Exposure(pixels, Detector.of_shape(noise.shape)), tmp_path / "p.fits.fz")
    found = read_exposure(tmp_path / "p.fits.fz")
    np.testing.assert_array_equal(found.image, noise)
    np.testing.assert_array_equal(found.variance, noise)


def test_the_header_keeps_all_kinds_of_cards(tmp_path: Path) -> None:
    header = fits.Header()
    header["HIERARCH ESO DET OUT1 CONAD"] = (1.1, "gain")
    header["LONG"] = "it's " * 60
    header["PRECISE"] = -1.2345678901234567e-10
    header["EMPTY"] = None
    header.add_comment("a comment")
    header.add_history("a history")
    written = attrs.evolve(exposure(), header=header)
    write_exposure(written, tmp_path / "p.fits")
    found = read_exposure(tmp_path / "p.fits").header
    assert [tuple(card) for card in found.cards] == [tuple(card) for card in header.cards]


def test_cards_of_the_file_itself_are_not_the_exposures(tmp_path: Path) -> None:
    header = fits.Header({"EXTNAME": "ccd05", "BZERO": 32768, "ISRF001": "assembled", "ISURATE": 1.0})
    write_exposure(attrs.evolve(exposure(), header=header, facts=frozenset()), tmp_path / "p.fits")
    found = read_exposure(tmp_path / "p.fits")
    assert dict(found.header) == {"ISURATE": 1.0}
    assert found.facts == frozenset()


def test_all_obstacles_are_named_before_writing(tmp_path: Path) -> None:
    (tmp_path / "there.fits").write_text("precious")
    for path, reasons in [
        (tmp_path / "there.fits", ["it exists"]),
        (tmp_path / "none" / "p.fits.gz", ["no folder", "end its name in .fits"]),
        (tmp_path, ["it is a folder"]),
    ]:
        with pytest.raises(FitsError) as failure:
            check_writable(path)
        assert all(reason in str(failure.value) for reason in reasons)
    with pytest.raises(FitsError, match="it exists"):
        write_exposure(exposure(), tmp_path / "there.fits")
    assert contents(tmp_path) == {"there.fits": b"precious"}
    check_writable(tmp_path / "there.fits", overwrite=True)


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FitsError, match="is not writable"):
        check_writable(tmp_path / "p.fits")


def test_overwriting_replaces_the_product(tmp_path: Path) -> None:
    write_exposure(exposure(1.0), tmp_path / "p.fits")
    write_exposure(exposure(2.0), tmp_path / "p.fits", overwrite=True)
    assert read_exposure(tmp_path / "p.fits").image[-1, -1] == 2.0
    assert len(contents(tmp_path)) == 1


def disk_full(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["os.fsync", "isrcore.fits_parts.NewPart.write", "pathlib.Path.replace"])
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    (tmp_path / "p.fits").write_text("precious")
    monkeypatch.setattr(where, disk_full)
    with pytest.raises(FitsError, match=r"p\.fits.*No space left on device"):
        write_exposure(exposure(), tmp_path / "p.fits", overwrite=True)
    assert contents(tmp_path) == {"p.fits": b"precious"}


@pytest.mark.parametrize("flags", [512, 2**31])
def test_room_is_reserved_for_all_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int
) -> None:
    reserved: list[int] = []

    def replacing(target: Path, size: int) -> Any:
        reserved.append(size)
        return isrcore.atomic.replacing(target, size)

    monkeypatch.setattr(isrcore.fits, "replacing", replacing)
    write_exposure(large_exposure(flags), tmp_path / "p.fits", config_text="a = 1", provenance={"b": "c"})
    assert reserved == [(tmp_path / "p.fits").stat().st_size]


def test_remarks_that_look_like_checksums_are_left_alone(tmp_path: Path) -> None:
    written = exposure()
    written.header["COMMENT"] = "DATASUM = CHECKSUM= 0"
    write_exposure(written, tmp_path / "p.fits")
    assert read_exposure(tmp_path / "p.fits").header["COMMENT"] == ["DATASUM = CHECKSUM= 0"]


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_exposure(exposure(), tmp_path / "p.fits")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace"])
def test_a_killed_writer_leaves_nothing_that_can_be_read(tmp_path: Path, moment: str) -> None:
    script = f"""
import os, pathlib, signal, sys
import numpy as np
from isrcore.camera import Detector
from isrcore.exposure import Exposure
from isrcore.fits import write_exposure
from isrcore.image import MaskedImage
{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
pixels = MaskedImage.from_image(np.ones((5, 7), np.float32))
write_exposure(Exposure(pixels, Detector.of_shape((5, 7))), sys.argv[1])
"""
    target = tmp_path / "p.fits"
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not target.exists()
    assert len(contents(tmp_path)) == 1
    for left in tmp_path.iterdir():
        with pytest.raises(FitsError, match="interrupted write"):
            read_exposure(left)
    write_exposure(exposure(), target)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_exposure(exposure(), path)
    content = path.read_bytes()
    for length in (0, 100, *range(1000, len(content), 2500), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FitsError, match=name):
            read_exposure(path)


def test_a_product_without_its_last_tables_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "p.fits"
    write_exposure(exposure(), path, config_text="a = 1")
    with fits.open(path) as hdus:
        end = hdus["ISR_CONFIG"].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[:end])
    for read in (read_exposure, read_config):
        with pytest.raises(FitsError, match="incomplete: 5 of 6 extensions"):
            read(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hdu", ["IMAGE", "MASK", "VARIANCE", "ISR_HISTORY", "ISR_DETECTOR"])
def test_a_changed_bit_is_found_and_its_place_named(tmp_path: Path, name: str, hdu: str) -> None:
    path = tmp_path / name
    write_exposure(exposure(), path)
    with fits.open(path, disable_image_compression=True) as hdus:
        place = hdus[hdu].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[place + 3] ^= 4
    path.write_bytes(content)
    with pytest.raises(FitsError, match=f"damaged in HDU '{hdu}'"):
        read_exposure(path)


def test_a_changed_header_is_found(tmp_path: Path) -> None:
    path = tmp_path / "p.fits"
    write_exposure(exposure(), path)
    path.write_bytes(path.read_bytes().replace(b"'M 31    '", b"'M 33    '"))
    with pytest.raises(FitsError, match="damaged in HDU 'PRIMARY'"):
        read_exposure(path)


def test_what_is_no_product_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "other.fits")
    with pytest.raises(FitsError, match="is no product of this version: ISRLAYO is None"):
        read_exposure(tmp_path / "other.fits")
    with pytest.raises(FitsError, match="does not exist"):
        read_exposure(tmp_path / "none.fits")


def test_mask_planes_need_names_that_fit_a_card(tmp_path: Path) -> None:
    odd = exposure()
    odd.pixels = attrs.evolve(odd.pixels, planes=MaskPlanes().with_planes(["lower"]))
    with pytest.raises(FitsError, match="mask plane 'lower' is no FITS keyword"):
        write_exposure(odd, tmp_path / "p.fits")
    assert contents(tmp_path) == {}


def test_distortion_tables_are_refused(tmp_path: Path) -> None:
    odd = attrs.evolve(exposure(), wcs=distorted_wcs())
    odd.wcs.cpdis1 = DistortionLookupTable(np.zeros((2, 2), np.float32), (1, 1), (1, 1), (1, 1))
    with pytest.raises(FitsError, match="distortion tables"):
        write_exposure(odd, tmp_path / "p.fits")
    assert contents(tmp_path) == {}


def test_the_digest_follows_the_pixels(tmp_path: Path) -> None:
    digests = []
    for number, value in enumerate((1.0, 1.0, 2.0)):
        write_exposure(exposure(value), tmp_path / f"{number}.fits.fz")
        digests.append(read_exposure(tmp_path / f"{number}.fits.fz").digest)
    assert digests[0] == digests[1] != digests[2]


NOISE = 30.0


def noisy() -> Exposure:
    """Sky with its noise; NaN, infinity, saturated rows, all kinds of flags and a variance that varies."""
    rng = np.random.default_rng(5)
    image = rng.normal(1000, NOISE, (200, 301)).astype(np.float32)
    variance = image / np.float32(1.6) + np.float32(9)
    image[3, 4], image[100, 5], image[70:73] = np.nan, np.inf, 105_000
    mask = rng.integers(-(2**31), 2**31, image.shape, dtype=np.int64).astype(np.int32)
    return Exposure(MaskedImage.from_image(image, mask, variance), Detector.of_shape(image.shape))


@pytest.mark.parametrize(("name", "steps"), [("lossy16", 16), ("lossy4", 4)])
def test_rounding_stays_within_its_step_and_says_so(tmp_path: Path, name: str, steps: int) -> None:
    written = noisy()
    write_exposure(written, tmp_path / "p.fits.fz", compress=name)
    found = read_exposure(tmp_path / "p.fits.fz")
    np.testing.assert_array_equal(found.mask, written.mask)
    for plane, noise in (("image", NOISE), ("variance", NOISE / 1.6)):
        before, after = getattr(written, plane), getattr(found, plane)
        assert after.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(after), ~np.isfinite(before))
        good = np.isfinite(before)
        # Half a step, where the noise, measured tile by tile, is known to a tenth.
        assert 0.3 < np.abs(after - before)[good].max() / (noise / steps) < 0.55
        assert abs(np.mean(after[good] - before[good])) < 0.02 * noise / steps
    with fits.open(tmp_path / "p.fits.fz") as hdus:
        assert [hdus[plane].header.get("ISRLOSSY") for plane in ("IMAGE", "MASK", "VARIANCE")] == [
            steps, None, steps,
        ]  # fmt: skip
    with fits.open(tmp_path / "p.fits.fz", disable_image_compression=True) as hdus:
        assert hdus["IMAGE"].header["ZQUANTIZ"] == "SUBTRACTIVE_DITHER_2"


def test_the_same_pixels_are_rounded_the_same_and_told_from_the_true_ones(tmp_path: Path) -> None:
    digests = {}
    for name, compress in (("a", "lossy16"), ("b", "lossy16"), ("c", "lossy4"), ("d", "lossless")):
        write_exposure(noisy(), tmp_path / f"{name}.fits.fz", compress=compress)
        digests[name] = read_exposure(tmp_path / f"{name}.fits.fz").digest
    assert digests["a"] == digests["b"]
    assert len(set(digests.values())) == 3


def test_a_compression_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no compression 'zip'; choose one of 'none', 'lossless'"):
        write_exposure(exposure(), tmp_path / "p.fits", compress="zip")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_cfitsio_finds_the_same_pixels(tmp_path: Path, compress: str) -> None:
    path = tmp_path / "p.fits.fz"
    write_exposure(noisy(), path, compress=compress)
    found = read_exposure(path)
    with fitsio.FITS(str(path)) as hdus:
        for plane in ("image", "mask", "variance"):
            np.testing.assert_array_equal(hdus[plane.upper()].read(), getattr(found, plane))


@pytest.mark.skipif(shutil.which("funpack") is None, reason="needs funpack: install libcfitsio-bin")
@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_funpack_restores_the_same_pixels(tmp_path: Path, compress: str) -> None:
    path, unpacked = tmp_path / "p.fits.fz", tmp_path / "unpacked.fits"
    write_exposure(noisy(), path, compress=compress, config_text="a = 1")
    subprocess.run(["funpack", "-O", str(unpacked), str(path)], check=True, capture_output=True)
    found = read_exposure(path)
    with fits.open(unpacked, checksum=True) as hdus:
        assert "ISR_CONFIG" in hdus
        for plane in ("image", "mask", "variance"):
            assert type(hdus[plane.upper()]) is fits.ImageHDU
            np.testing.assert_array_equal(hdus[plane.upper()].data, getattr(found, plane))
