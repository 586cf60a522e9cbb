"""The documented task of MegaCam: its page's arguments, and the same result as the general task."""

from __future__ import annotations

import inspect
import pickle

import attrs
import numpy as np
import pytest
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_standard
from isrcore import (
    Exposure,
    IsrTask,
    LinearityCurve,
    Linearizer,
    MaskedImage,
    Registry,
    VisitInfo,
    default_config,
)
from isrcore.testing.contracts import check_same
from isrcore_cfht import CAMERA, CfhtIsrTask, MegaCamError

REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
CARDS = {"GAINA": 1.5, "GAINB": 1.6, "RDNOISEA": 3, "RDNOISEB": 4, "SATURATE": 65535}
PAGE = ("ccdExposure", "bias", "linearizer", "dark", "flat", "defects", "fringes", "bfKernel", "kwds")


def raw(name="ccd12"):
    image = np.random.default_rng(1).normal(1700, 10, CAMERA[name].raw_shape).astype(np.uint16)
    pixels = MaskedImage.from_raw(image)
    return Exposure(pixels, CAMERA[name], "MegaCam", VisitInfo(), Header(list(CARDS.items())))


def frame(value):
    """A master of the raw size, as Elixir's are."""
    pixels = MaskedImage.from_image(np.full(CAMERA["ccd12"].raw_shape, value, np.float32))
    return Exposure(pixels, CAMERA["ccd12"], "MegaCam")


def test_the_arguments_are_those_of_the_page():
    parameters = list(inspect.signature(CfhtIsrTask.run).parameters.values())[1:]
    assert tuple(parameter.name for parameter in parameters) == PAGE
    assert all(parameter.default is None for parameter in parameters[1:-1])


def test_it_does_what_the_general_task_does():
    masters = {"bias": frame(8.0), "flat": frame(1.25)}
    mine = CfhtIsrTask(registry=REGISTRY).run(raw(), dark=None, linearizer=None, **masters)
    general = IsrTask(camera="MegaCam", registry=REGISTRY).run(raw(), **masters)
    check_same(mine.exposure.pixels, general.exposure.pixels)
    assert mine.exposure.facts == general.exposure.facts
    assert {"bias-subtracted", "flat-fielded"} <= mine.exposure.facts


def test_megacam_is_proportional_and_the_plan_says_so():
    task = CfhtIsrTask(registry=REGISTRY)
    plan = task.plan(raw(), bias=frame(8.0), flat=frame(1.25))
    skipped = {planned.spec.name: planned.reason for planned in plan.skipped}
    assert skipped["linearity"] == "every amplifier of the detector has linearity type 'None'"
    assert not task.doLinearize(CAMERA["ccd12"])


def test_a_linearizer_is_used_where_one_is_given():
    curves = {"A": LinearityCurve(), "B": LinearityCurve("Squared", (1e-3,))}
    masters, linearizer = {"bias": frame(8.0), "flat": frame(1.25)}, Linearizer(curves, detector_name="ccd12")
    task = CfhtIsrTask(registry=REGISTRY)
    bent = task.run(raw(), linearizer=linearizer, **masters).exposure
    plain = task.run(raw(), **masters).exposure
    # Flagged pixels are interpolated.
    good, counts = plain.mask == 0, plain.image * 1.25
    expected = counts.copy()
    expected[:, 1024:] += 1e-3 * counts[:, 1024:] ** 2
    np.testing.assert_allclose((bent.image * 1.25)[good], expected[good], rtol=1e-6)
    assert "linearized" in bent.facts - plain.facts


def test_masters_may_be_given_by_position():
    config = default_config(REGISTRY, "MegaCam")
    config.doFlat = False
    product = CfhtIsrTask(config, registry=REGISTRY).run(raw(), frame(8.0)).exposure
    assert "bias-subtracted" in product.facts


def test_the_camera_is_megacam_whatever_the_config():
    task = CfhtIsrTask(registry=REGISTRY)
    assert task.camera == "MegaCam"
    assert not task.config.doDark
    assert task.config.doAssembleIsrExposures


def test_no_brighter_fatter_kernel_is_accepted():
    with pytest.raises(ValueError, match="does not correct the brighter-fatter effect"):
        CfhtIsrTask(registry=REGISTRY).run(raw(), bfKernel=np.ones((3, 3)))


def test_amplifiers_of_other_cameras_are_refused():
    exposure = raw()
    amps = tuple(attrs.evolve(amp, name=f"C{amp.name}") for amp in exposure.detector.amplifiers)
    exposure.detector = attrs.evolve(exposure.detector, amplifiers=amps)
    with pytest.raises(MegaCamError, match="has amplifiers 'CA', 'CB'; those of MegaCam are 'A' and 'B'"):
        CfhtIsrTask(registry=REGISTRY).run(exposure)
    assert issubclass(MegaCamError, ValueError)


def test_unknown_inputs_are_refused():
    with pytest.raises(TypeError, match="no step reads input 'weather'"):
        CfhtIsrTask(registry=REGISTRY).run(raw(), weather=1)


def test_it_can_be_sent_to_another_process():
    task = pickle.loads(pickle.dumps(CfhtIsrTask()))
    assert type(task) is CfhtIsrTask
    assert task.camera == "MegaCam"
