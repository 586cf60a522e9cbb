"""Frames that Elixir processed: read with what was done to them, never corrected twice."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_standard
from isrcore import IsrTask, PlanError, RawSource, Registry, default_config
from isrcore_cfht import CAMERA, given_facts, isr_read_raw, mask_set_of
from tests.golden import DATA
from tests.test_cfht_reading import PRIMARY

REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
EXAMPLE = DATA / "spec/data/header_example_processed.json"
CARDS = {
    "CCDNAME": "8351-6-3",
    "GAINA": 1.5,
    "GAINB": 1.6,
    "RDNOISEA": 3,
    "RDNOISEB": 4,
    "SATURATE": 68779,
    "IMRED_DT": "FLIPS ver 3.0 - Elixir by CFHT",
    "IMRED_OP": "MASK_BP + OVERSCAN + BIAS + FLAT-FIELD",
    "IMRED_OV": "1DYMODEL_OVERSCAN",
    "IMRED_BS": "10Bm03.bias.0.36.00.fits[ccd07]",
    "IMRED_FF": "10Bm03.flat.r.36.01.fits[ccd07]",
    "IMRED_MK": "2003A.mask.0.36.02.fits[ccd07]",
    "FILTER": "r.MP9601",
}
DONE = {"overscan-subtracted", "bias-subtracted", "flat-fielded"}


def write(path, shape, compress=False, **changes):
    """A processed ccd07: stored integers -32568 to -32368 are 100 to 300 adu, stretched by 1.05."""
    stored = (np.arange(np.prod(shape)) % 201 - 32568).astype(np.int16).reshape(shape)
    make = fits.CompImageHDU if compress else fits.ImageHDU
    image = make(stored, Header([*(CARDS | changes).items(), ("EXTNAME", "ccd07")]))
    image.header["BSCALE"], image.header["BZERO"] = 1.05, 1.05 * 32668
    fits.HDUList([fits.PrimaryHDU(header=Header(list(PRIMARY.items()))), image]).writeto(path)
    return path


@pytest.fixture(scope="module", params=["p.fits", "p.fits.fz"])
def processed(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("megacam") / request.param
    return write(path, CAMERA["ccd07"].raw_shape, request.param.endswith("fz"))


@pytest.fixture(scope="module")
def task():
    return IsrTask(camera="MegaCam", registry=REGISTRY)


def read(path):
    return next(isr_read_raw(RawSource.open(path), None))


def test_it_states_what_was_done_and_by_whom(processed):
    exposure = read(processed)
    assert exposure.facts == DONE
    assert exposure.given == dict.fromkeys(DONE, "Elixir (IMRED_OP)")
    assert exposure.image.dtype == np.float32
    assert exposure.image[0, 0] == pytest.approx(105.0, rel=1e-6)
    told = [(entry.step, entry.plugin, entry.calibration) for entry in exposure.history]
    assert told == [
        ("overscan", "Elixir", "1DYMODEL_OVERSCAN"),
        ("bias", "Elixir", "10Bm03.bias.0.36.00.fits[ccd07]"),
        ("flat", "Elixir", "10Bm03.flat.r.36.01.fits[ccd07]"),
    ]


def test_planning_knows_that_pixels_are_floats(processed):
    (survey,) = isr_read_raw(RawSource.open(processed).without_pixels(), None)
    assert survey.image.dtype == read(processed).image.dtype == np.float32


def test_by_default_it_is_assembled_and_gets_a_variance(processed, task):
    exposure = read(processed)
    plan = task.plan(exposure)
    skipped = {planned.spec.name: planned.reason for planned in plan.skipped}
    for step, fact in (
        ("overscan", "overscan-subtracted"),
        ("bias", "bias-subtracted"),
        ("flat", "flat-fielded"),
    ):
        assert skipped[step] == f"{fact} already: Elixir (IMRED_OP)"
    assert "mask '2003A.mask.0.36.02' does not ship" in skipped["defects"]
    product = task.run(exposure).exposure
    assert product.shape == (4612, 2048)
    np.testing.assert_array_equal(product.image, exposure.image[:4612, 32:2080])
    # V = I/g + (RN/g)², with each amplifier's gain and read noise from the header.
    image = product.image[10].astype(float)
    expected = np.where(np.arange(2048) < 1024, image / 1.5 + (3 / 1.5) ** 2, image / 1.6 + (4 / 1.6) ** 2)
    np.testing.assert_allclose(product.variance[10], expected, rtol=1e-6)


def test_saturation_is_the_stretched_level_of_the_header(processed, task):
    exposure = read(processed)
    # What would be a pile-up in a raw frame.
    exposure.image[100, 100:200] = 66000
    assert [a.saturation for a in task.run(exposure).exposure.detector.amplifiers] == [68779.0, 68779.0]


def test_running_it_twice_is_refused(processed, task):
    product = task.run(read(processed)).exposure
    assert product.given == {}
    assert product.facts > DONE
    with pytest.raises(PlanError) as refused:
        task.run(product)
    for step in ("overscan", "assembly", "bias", "flat"):
        assert f"step '{step}' must not run twice" in str(refused.value)


@pytest.mark.parametrize(
    ("flag", "fact"), [("doFlat", "flat-fielded"), ("doOverscan", "overscan-subtracted")]
)
def test_who_asks_for_a_second_correction_is_refused(processed, flag, fact):
    config = default_config(REGISTRY, "MegaCam")
    setattr(config, flag, True)
    with pytest.raises(PlanError, match=f"must not run twice: the exposure is '{fact}' already"):
        IsrTask(config, camera="MegaCam", registry=REGISTRY).plan(read(processed))


@pytest.mark.parametrize("compress", [False, True])
def test_later_ones_are_assembled_too(tmp_path, task, compress):
    exposure = read(write(tmp_path / "p.fits", CAMERA["ccd07"].shape, compress))
    assert exposure.facts == DONE | {"assembled"}
    plan = task.plan(exposure)
    reasons = {planned.spec.name: planned.reason for planned in plan.skipped}
    assert reasons["assembly"] == "assembled already: Elixir (IMRED_OP)"
    product = task.run(exposure).exposure
    np.testing.assert_array_equal(product.image, exposure.image)
    assert np.isfinite(product.variance).all()


@pytest.mark.parametrize(
    ("cards", "facts"),
    [
        ({}, set()),
        ({"IMRED_OP": "MASK_BP"}, set()),
        ({"IMRED_OP": "MASK_BP + OVERSCAN + BIAS"}, {"overscan-subtracted", "bias-subtracted"}),
        ({"IMRED_OP": "DARK_CURRENT + FLAT-FIELD"}, {"dark-subtracted", "flat-fielded"}),
        ({"IMRED_OP": "BIAS", "IMCMB_FT": "DEFRINGE_SCIENCE"}, {"bias-subtracted", "fringe-subtracted"}),
        ({"IMCMB_FT": "MASTER_DETREND_FRINGE"}, set()),
    ],
)
def test_cards_and_facts(cards, facts):
    assert given_facts(Header(list(cards.items()))).keys() == facts


def test_an_unknown_operation_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        assert given_facts(Header({"IMRED_OP": "OVERSCAN + POLISH"})).keys() == {"overscan-subtracted"}
    assert "IMRED_OP names POLISH" in caplog.text


@pytest.mark.skipif(not EXAMPLE.exists(), reason=f"no {EXAMPLE}; set ISRCORE_TEST_DATA")
def test_a_processed_ccd_of_2006_that_was_trimmed_since():
    cards = json.loads(EXAMPLE.read_text())["cards"]
    single = [(card["keyword"], card["value"]) for card in cards if not isinstance(card["value"], list)]
    header = Header([(key, value) for key, value in single if len(key) <= 8])
    assert given_facts(header).keys() == DONE
    assert mask_set_of(header) == "2003A.mask.0.36.01"
    assert (header["ZNAXIS2"], header["ZNAXIS1"]) == CAMERA["ccd14"].shape
    assert CAMERA.filter(header["FILTER"]).name == "r.MP9601"
