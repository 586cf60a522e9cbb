"""Reading MegaCam files: which are ours, which are refused and why, and what an exposure carries."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header

import isrcore_cfht.visit
from isrcore import RawError, RawSource
from isrcore_cfht import CAMERA, applyOverrides, isr_cameras, isr_read_raw, read_visit

PRIMARY = {
    "INSTRUME": "MegaPrime",
    "DETECTOR": "MegaCam",
    "EXPNUM": 1257365,
    "EXPTIME": 20.0,
    "DARKTIME": 20.5,
    "DATE-OBS": "2010-11-03",
    "UTC-OBS": "23:59:55.00",
    "FILTER": "i.MP9702",
    "OBJECT": "MM1842_3",
    "OBSTYPE": "OBJECT",
    "RADECSYS": "FK5",
    "RA_DEG": 280.5,
    "DEC_DEG": 59.5,
    "AIRMASS": 1.471,
}
EXTENSION = {"CCDNAME": "8341-7-5", "SATURATE": 65535, "GAINA": 1.54}


def write(path, names, shape=(2, 3), compress=False, primary=PRIMARY):
    """A file with one image per name: pixel values count the extensions from 1000."""
    hdus = [fits.PrimaryHDU(header=Header(list(primary.items())))]
    for number, name in enumerate(names):
        pixels = np.full(shape, 1000 + number, np.uint16)
        header = Header([*EXTENSION.items(), ("EXTNAME", name)])
        make = fits.CompImageHDU if compress else fits.ImageHDU
        hdus.append(make(pixels, header))
    fits.HDUList(hdus).writeto(path)
    return path


def read(path, detectors=None):
    return isr_read_raw(RawSource.open(path), detectors)


@pytest.fixture(scope="module", params=["fits", "fits.fz"])
def raw_file(request, tmp_path_factory):
    """Three full-size CCDs, plain and tile-compressed."""
    path = tmp_path_factory.mktemp("megacam") / f"1257365o.{request.param}"
    return write(path, ["ccd00", "ccd01", "ccd35"], CAMERA["ccd00"].raw_shape, request.param == "fits.fz")


def test_one_exposure_per_ccd(raw_file):
    exposures = list(read(raw_file))
    assert [exposure.detector.name for exposure in exposures] == ["ccd00", "ccd01", "ccd35"]
    for number, exposure in enumerate(exposures):
        assert exposure.image.dtype == np.uint16
        assert exposure.shape == (4644, 2112)
        assert (exposure.image == 1000 + number).all()
        assert exposure.camera == "MegaCam"
        assert exposure.visit == read_visit(PRIMARY)
        assert not exposure.facts


def test_header_is_that_of_file_and_extension(raw_file):
    (exposure,) = read(raw_file, ["ccd35"])
    assert exposure.header["FILTER"] == "i.MP9702"
    assert exposure.header["GAINA"] == 1.54
    assert exposure.source == f"{raw_file}[ccd35]"


@pytest.mark.parametrize("key", ["ccd35", 35])
def test_detector_by_name_or_number(raw_file, key):
    assert [exposure.detector.id for exposure in read(raw_file, [key])] == [35]


def test_only_the_ccds_asked_for_are_decoded(tmp_path):
    path = write(tmp_path / "1o.fits.fz", ["ccd00", "ccd01"], CAMERA["ccd00"].raw_shape, compress=True)
    with fits.open(path, disable_image_compression=True) as hdus:
        start, rows = hdus[2].fileinfo()["datLoc"], hdus[2].header["NAXIS2"]
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\x7f" * 8 * rows)
    (good,) = read(path, ["ccd00"])
    assert good.image[0, 0] == 1000
    with pytest.raises(RawError, match="ccd01"):
        list(read(path, ["ccd01"]))


@pytest.mark.parametrize("change", [{"INSTRUME": "EFOSC"}, {"DETECTOR": "EEV1"}, {"INSTRUME": "megacam"}])
def test_files_of_others_are_not_claimed(tmp_path, change):
    assert read(write(tmp_path / "1.fits", ["ccd00"], primary=PRIMARY | change)) is None


@pytest.mark.parametrize(
    ("cards", "kind", "option"),
    [
        ({"IMCMB_FT": "MASTER_DETREND_BIAS"}, "Elixir's master bias", "--bias"),
        ({"IMCMB_FT": "MASTER_DETREND_SKYFLAT"}, "Elixir's master flat", "--flat"),
        ({"OBSTYPE": "MASK"}, "a mask of bad pixels", "--defects"),
    ],
)
def test_calibrations_are_no_exposures_but_can_be_given(tmp_path, cards, kind, option):
    path = write(tmp_path / "c.fits", ["ccd00"], primary=PRIMARY | cards)
    with pytest.raises(RawError, match=f"is not an exposure, it is {kind}") as raised:
        read(path)
    assert f"{option} c.fits" in str(raised.value)


@pytest.mark.parametrize("name", ["ccd36", "CCD36"])
@pytest.mark.parametrize("key", ["ccd36", 36])
def test_the_later_ccds_are_read(tmp_path, name, key):
    path = write(tmp_path / "2o.fits.fz", ["ccd35", name], CAMERA["ccd36"].raw_shape, compress=True)
    assert [exposure.detector.name for exposure in read(path, [key])] == ["ccd36"]
    assert [exposure.detector.id for exposure in read(path)] == [35, 36]


def test_unknown_ccds_are_refused_naming_those_there(tmp_path):
    with pytest.raises(RawError, match=r"no detector 'ccd07', 'ccd99'; it has 'ccd00'"):
        read(write(tmp_path / "1o.fits", ["ccd00"]), ["ccd07", "ccd99"])


def test_binned_frames_are_refused(tmp_path):
    with pytest.raises(RawError, match="binned"):
        list(read(write(tmp_path / "1o.fits", ["ccd00"], shape=(2322, 1056))))


def test_names_in_upper_case_are_the_same(tmp_path):
    path = write(tmp_path / "1o.fits.fz", ["CCD03"], CAMERA["ccd03"].raw_shape, compress=True)
    assert [exposure.detector.name for exposure in read(path, ["ccd03"])] == ["ccd03"]


def test_ccd_number_in_extver_names_an_unnamed_extension(tmp_path):
    path = tmp_path / "1o.fits"
    pixels = np.full(CAMERA["ccd07"].raw_shape, 7, np.uint16)
    header = Header([*EXTENSION.items(), ("EXTVER", 7)])
    fits.HDUList(
        [fits.PrimaryHDU(header=Header(list(PRIMARY.items()))), fits.ImageHDU(pixels, header)]
    ).writeto(path)
    assert [exposure.detector.name for exposure in read(path)] == ["ccd07"]


def test_visit_in_words():
    visit = read_visit(PRIMARY)
    assert (visit.exposure_id, visit.exposure_s, visit.dark_s) == (1257365, 20.0, 20.5)
    assert (visit.filter, visit.object_name, visit.observation_type) == ("i.MP9702", "MM1842_3", "science")
    # The middle lies after midnight.
    assert visit.date.scale == "utc"
    assert visit.date.isot == "2010-11-04T00:00:05.000"
    # FK5 and ICRS differ by less than 0.1 arcsec.
    assert (visit.ra_deg, visit.dec_deg) == pytest.approx((280.5, 59.5), abs=3e-5)
    assert visit.airmass == 1.471


@pytest.mark.parametrize(
    ("word", "kind"),
    [("BIAS", "bias"), ("DARK", "dark"), ("FLAT", "flat"), ("FRINGE", "fringe"), ("FOCUS", "")],
)
def test_observation_types(word, kind):
    assert read_visit(PRIMARY | {"OBSTYPE": word}).observation_type == kind


def test_a_telescope_that_does_not_track_points_nowhere():
    assert np.isnan(read_visit(PRIMARY | {"RADECSYS": "GAPPT"}).ra_deg)


@pytest.mark.parametrize("key", [key for key in PRIMARY if key != "INSTRUME"])
def test_missing_cards_leave_the_rest_known(key):
    visit = read_visit({name: value for name, value in PRIMARY.items() if name != key})
    assert (visit.filter if key != "FILTER" else "i.MP9702") == "i.MP9702"
    assert visit.exposure_id == (0 if key == "EXPNUM" else 1257365)
    assert np.isnan(visit.exposure_s) == (key == "EXPTIME")
    assert (visit.date is None) == (key in ("DATE-OBS", "UTC-OBS"))


@pytest.mark.parametrize("change", [{"EXPTIME": "long"}, {"EXPNUM": "one"}, {"UTC-OBS": "noon"}])
def test_unreadable_cards_leave_the_rest_known(change):
    visit = read_visit(PRIMARY | change)
    assert np.isnan(visit.exposure_s) == ("EXPTIME" in change)
    assert visit.exposure_id == (0 if "EXPNUM" in change else 1257365)
    assert (visit.date is None) == ("UTC-OBS" in change)
    assert (visit.filter, visit.dark_s, visit.airmass) == ("i.MP9702", 20.5, 1.471)


@pytest.mark.parametrize("site", [{}, {"LONGITUD": None, "LATITUDE": ""}, {"LONGITUD": "-155.47"}])
def test_a_missing_site_asks_no_network(monkeypatch, site):
    def refuse(*args, **keywords):
        raise AssertionError("the network was asked for the site")

    monkeypatch.setattr("astropy.coordinates.EarthLocation.of_site", refuse)
    assert read_visit(PRIMARY | site).ra_deg == pytest.approx(280.5, abs=3e-5)


def test_an_exposure_beyond_all_calendars_has_no_date():
    visit = read_visit(PRIMARY | {"EXPTIME": 1e300})
    assert (visit.date, visit.exposure_s) == (None, 1e300)


def test_a_missing_translator_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "astro_metadata_translator", None)
    isrcore_cfht.visit._read.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r'pip install "isrcore\[cfht\]"'):
        read_visit(PRIMARY)


class Settings:
    """Whatever a config lets be set."""


@pytest.mark.parametrize("name", ["MegaCam", "EFOSC2"])
def test_overrides_touch_megacam_only(name):
    config, camera = Settings(), Settings()
    config.overscan, config.fringe, camera.name = Settings(), Settings(), name
    applyOverrides(config, camera)
    megacam = {"doDark": False, "doSuspect": False, "doAssembleIsrExposures": True, "doFringe": False}
    expected = megacam if name == "MegaCam" else {}
    assert {
        key: value for key, value in vars(config).items() if key not in ("overscan", "fringe")
    } == expected
    assert vars(config.overscan) == ({"fitType": "MEDIAN_PER_ROW"} if name == "MegaCam" else {})
    assert bool(vars(config.fringe)) == (name == "MegaCam")


def test_the_plugin_offers_its_camera():
    assert isr_cameras() == [CAMERA]
