"""Fringes of MegaCam: for which filters, before the flat, and with frames that Elixir made."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_standard
from isrcore import Exposure, IsrTask, MaskedImage, RawSource, Registry, VisitInfo, default_config
from isrcore_cfht import CAMERA

REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
FACTS = frozenset({"assembled", "converted", "levels-known"})
LEVELS = [("GAINA", 1.5), ("GAINB", 1.6), ("RDNOISEA", 3), ("RDNOISEB", 4), ("SATURATE", 65535)]


def small(image, **values):
    """A corner of a CCD as an assembled exposure of MegaCam."""
    pixels = MaskedImage.from_image(np.asarray(image, np.float32))
    detector = attrs.evolve(CAMERA["ccd12"], shape=pixels.shape, raw_shape=pixels.shape, amplifiers=())
    return Exposure(pixels, detector, "MegaCam", **{"header": Header(LEVELS), "facts": FACTS, **values})


def task(**settings):
    config = default_config(REGISTRY, "MegaCam")
    for flag in (spec.flag for spec in REGISTRY.specs.values() if spec.flag):
        config.set(flag, flag in settings)
    config.expectWcs = False
    for name, value in settings.items():
        config.set(name.replace("__", "."), value)
    return IsrTask(config, camera="MegaCam", registry=REGISTRY)


def test_defaults_are_those_of_the_observatory():
    """Behaviour §7.2."""
    config = default_config(REGISTRY, "MegaCam")
    assert not config.doFringe
    assert config.fringe.filters == ["i", "i2", "z"]
    assert (config.fringe.small, config.fringe.large) == (1, 50)
    assert (config.fringe.pedestal, config.fringe.afterFlat) == (True, False)


LISTED = ("i.MP9701", "i.MP9702", "i2", "z.MP9801", "i")
OTHERS = ("i.MP9703", "z.MP9901", "r.MP9601", "")


@pytest.mark.parametrize("name", [*LISTED, *OTHERS])
def test_fringes_are_for_filters_by_any_of_their_names(name):
    science = small(np.ones((120, 110)), visit=VisitInfo(filter=name))
    plan = task(doFringe=True).plan(science, fringes=small(np.ones((120, 110))))
    assert ("fringe" in [planned.spec.name for planned in plan.steps]) == (name in LISTED)
    if name in OTHERS:
        (reason,) = [planned.reason for planned in plan.skipped if planned.spec.name == "fringe"]
        assert "fringe.filters (i, i2, z)" in reason


def test_a_raw_frame_loses_its_fringes_before_the_flat_divides_them():
    rng, shape = np.random.default_rng(3), (300, 260)
    y, x = np.mgrid[: shape[0], : shape[1]]
    pattern = 5 + np.sin(x / 9) * np.cos(y / 11) + 0.05 * rng.normal(size=shape)
    flat = rng.uniform(0.8, 1.2, shape)
    science = small(1000 * flat + 50 * (pattern - 5), visit=VisitInfo(filter="i.MP9702"))
    inputs = {"fringes": small(pattern), "flat": small(flat, unit="")}
    chain = task(doFringe=True, doFlat=True, fringe__large=20)
    names = [planned.spec.name for planned in chain.plan(science, **inputs).steps]
    assert names.index("fringe") < names.index("flat")
    product = chain.run(science, **inputs).exposure
    assert product.measured["fringe"]["ccd12"].amplitudes[0] == pytest.approx(50, rel=0.1)
    # The level of the sky stays: fringes are counted from the pedestal of their frame.
    assert np.median(product.image) == pytest.approx(1000, rel=0.01)


def test_elixirs_master_fringes_are_fringe_frames(tmp_path):
    detector = CAMERA["ccd12"]
    cards = {"INSTRUME": "MegaPrime", "DETECTOR": "MegaCam", "OBSTYPE": "FRINGE", "FILTER": "i.MP9702"}
    cards |= {"IMCMB_FT": "MASTER_DETREND_FRINGE", "EXPNUM": 1}
    primary, extension = (
        fits.PrimaryHDU(),
        fits.ImageHDU(np.full(detector.raw_shape, 3, np.int16), name="ccd12"),
    )
    primary.header.update(cards)
    extension.header.update(cards)
    path = tmp_path / "05Am01.fringe.i.36.01.fits"
    fits.HDUList([primary, extension]).writeto(path)
    frame = REGISTRY.read_calibration(RawSource.open(path), "fringes", "ccd12")
    assert (frame.shape, frame.unit, frame.image[7, 7]) == (detector.raw_shape, "adu", 3.0)
    science = Exposure(
        MaskedImage.from_image(np.ones(detector.shape, np.float32)),
        detector,
        "MegaCam",
        VisitInfo(filter="i2"),
        Header(LEVELS),
        facts=FACTS,
    )
    plan = task(doFringe=True, doAssembleIsrExposures=True).plan(science, fringes=frame)
    assert "fringe" in [planned.spec.name for planned in plan.steps]
