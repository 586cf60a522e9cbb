"""Laws of calibrations smaller than the detector: inside as on one of their size, outside no change."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Box, Detector, VisitInfo
from isrcore.testing import strategies
from tests.assembled import FACTS, assembled
from tests.golden_exposures import make_task

#: The switch of every step that reads a frame, and settings by which its factor is not one.
STEPS = {
    "bias": ("doBias", {}),
    "dark": ("doDark", {}),
    "flat": ("doFlat", {}),
    "illumMaskedImage": ("doIlluminationCorrection", {"illumination__filters": ["r"]}),
    "strayLightData": ("doStrayLight", {"strayLight__filters": ["r"]}),
}
SETTINGS = {
    "flat": [
        {"flat__scalingType": "USER", "flat__userScale": 1.7},
        {"flat__scalingType": "MEAN"},
        {"flat__scalingType": "MEDIAN"},
    ],
    "illumMaskedImage": [{"illumination__scale": 1.7}],
    "strayLightData": [{"strayLight__scaling": "exposure time"}, {"strayLight__scaling": "fit"}],
}


def cut(exposure, margin, detector):
    """The inside of an exposure, as one of a smaller detector."""
    ny, nx = exposure.shape
    pixels = exposure.pixels.window(Box(margin, ny - margin, margin, nx - margin)).copy()
    return attrs.evolve(exposure.share(), pixels=pixels, detector=detector)


@pytest.mark.parametrize(
    ("kind", "settings"), [(kind, given) for kind in STEPS for given in SETTINGS.get(kind, [{}])]
)
@given(data=st.data(), margin=st.integers(1, 3))
def test_a_smaller_frame_acts_on_what_it_covers_and_changes_nothing_else(kind, settings, data, margin):
    shape = tuple(data.draw(st.integers(2 * margin + 2, 14)) for _ in range(2))
    whole, small = Detector.of_shape(shape), Detector.of_shape(tuple(n - 2 * margin for n in shape))
    visit = VisitInfo(exposure_s=3.0, dark_s=3.0, filter="r")
    exposure = attrs.evolve(data.draw(strategies.exposures(whole)), visit=visit, facts=FACTS)
    frame = data.draw(strategies.frames(small, kind))
    flag, fixed = STEPS[kind]
    task = make_task(flag, doTrimToMatchCalib=True, **fixed, **settings)
    product = task.run(exposure, **{kind: frame}).exposure
    inside = task.run(cut(exposure, margin, small), **{kind: frame}).exposure
    border = np.ones(shape, bool)
    border[margin:-margin, margin:-margin] = False
    for plane in ("image", "variance"):
        found = getattr(product, plane)
        np.testing.assert_array_equal(found[~border].reshape(small.shape), getattr(inside, plane))
        # To multiply by a scale and divide by it takes two roundings, of a variance four.
        rtol = 0 if kind in ("bias", "dark", "strayLightData") else 2.4e-7
        np.testing.assert_allclose(found[border], getattr(exposure, plane)[border], rtol=rtol)
    np.testing.assert_array_equal(product.pixels.flagged("EDGE")[border], True)


def test_example_a_flat_without_its_border():
    exposure = assembled(Detector.of_shape((3, 3)), 8.0)
    flat = assembled(Detector.of_shape((1, 1)), 4.0, unit="")
    product = make_task("doFlat", flat__scalingType="MEAN", doTrimToMatchCalib=True).run(exposure, flat=flat)
    assert product.exposure.image.tolist() == [[8, 8, 8], [8, 8, 8], [8, 8, 8]]
    product = make_task("doFlat", doTrimToMatchCalib=True).run(exposure, flat=flat).exposure
    assert product.image.tolist() == [[8, 8, 8], [8, 2, 8], [8, 8, 8]]
    edge = product.planes.value("EDGE")
    assert product.mask.tolist() == [[edge, edge, edge], [edge, 0, edge], [edge, edge, edge]]
