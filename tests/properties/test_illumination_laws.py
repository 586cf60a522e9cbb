"""Laws of the illumination correction: it returns the sky, pixel by pixel, in the filters it is for."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Detector, MaskedImage, Readout, VisitInfo, simulate, stepspecs
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same, ulps
from isrcore.testing.mirror import with_other_amplifiers
from tests.assembled import assembled, rms
from tests.effects.illumination import put_in_illumination, scattered_light
from tests.golden_exposures import make_task

#: Facts of all arithmetic but the illumination's own.
EARLIER = stepspecs.ARITHMETIC - {"illumination-corrected", "amplifier-offsets-subtracted"}
IN_R = VisitInfo(exposure_s=30.0, filter="r")


def task_of(*flags, **settings):
    return make_task(*flags, illumination__filters=["r"], **settings)


@given(st.data(), st.floats(0.2, 5))
def test_the_sky_comes_back(data, scale):
    detector = data.draw(strategies.detectors())
    sky = 8000 * np.exp(data.draw(strategies.generators()).uniform(-3, 1, detector.shape))
    scattered = scattered_light(detector.shape, amount=0.3)
    seen = assembled(detector, put_in_illumination(sky, detector.amplifiers, scattered), visit=IN_R)
    frame = assembled(detector, scale / (1 + scattered), unit="")
    task = task_of("doIlluminationCorrection", illumination__scale=scale)
    product = task.run(seen, illumMaskedImage=frame).exposure
    # Roundings to float32 of what was seen, of the frame, of the scale, of I·s and of the quotient.
    assert ulps(product.image, sky, sky).max() <= 4
    assert rms(seen.image - sky) > 10 * rms(product.image - sky)


@given(st.data())
def test_simulated_frames_are_corrected(data):
    detector = data.draw(strategies.detectors())
    rng = data.draw(strategies.generators())
    truth = assembled(detector, rng.uniform(6000, 9000, detector.shape), visit=IN_R)
    frame = assembled(detector, rng.uniform(0.7, 1.3, detector.shape), unit="")
    flags = "doConvertIntToFloat", "doAssembleCcd"
    task = task_of(*flags, "doIlluminationCorrection", illumination__scale=1.1)
    raw = simulate(task, truth, Readout(has_noise=False), illumMaskedImage=frame).exposure
    product, bare = task.run(raw, illumMaskedImage=frame).exposure, task_of(*flags).run(raw).exposure
    # Half an adu of the converter, and some float32 places of at most 2^15 adu.
    error = abs(product.image - truth.image) * frame.image / 1.1
    assert error.max() <= 0.5 + 8 * np.spacing(np.float32(2**15))
    assert rms(bare.image - truth.image) > 10 * rms(product.image - truth.image)


@given(st.data())
def test_a_pixel_depends_on_itself_alone(data):
    detector = data.draw(strategies.detectors())
    exposure = attrs.evolve(data.draw(strategies.exposures(detector)), visit=IN_R)
    frame = data.draw(strategies.frames(detector, "illumMaskedImage"))
    place = tuple(data.draw(st.integers(0, n - 1)) for n in detector.shape)
    task = task_of("doIlluminationCorrection")
    first = task.run(exposure, illumMaskedImage=frame).exposure
    exposure.image[place] += 1000
    second = task.run(exposure, illumMaskedImage=frame).exposure
    assert np.argwhere(first.image != second.image).tolist() == [list(place)]


@given(st.data())
def test_names_and_order_of_amplifiers_do_not_matter(data):
    detector = data.draw(strategies.detectors())
    exposure = attrs.evolve(data.draw(strategies.exposures(detector)), visit=IN_R)
    frame = data.draw(strategies.frames(detector, "illumMaskedImage"))
    task, other = task_of("doIlluminationCorrection"), with_other_amplifiers(detector)
    product = task.run(exposure, illumMaskedImage=frame).exposure
    renamed = task.run(attrs.evolve(exposure, detector=other), illumMaskedImage=frame).exposure
    check_same(product.pixels, renamed.pixels)


@given(st.data())
def test_it_is_the_flat_rule(data):
    """Division by a frame of a scale is one operation, whatever the frame is called."""
    detector = data.draw(strategies.detectors())
    exposure = attrs.evolve(data.draw(strategies.exposures(detector)), visit=IN_R)
    frame = data.draw(strategies.frames(detector, "illumMaskedImage"))
    ours = task_of("doIlluminationCorrection", illumination__scale=1.7)
    flat = make_task("doFlat", flat__userScale=1.7)
    one = ours.run(exposure, illumMaskedImage=frame).exposure
    other = flat.run(exposure, flat=frame).exposure
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(one, plane), getattr(other, plane))


@pytest.mark.parametrize(
    "spec", [s for s in stepspecs.STANDARD.values() if s.provides <= EARLIER], ids=lambda spec: spec.name
)
def test_it_divides_what_all_others_have_left(spec):
    """Also when only the two of them are on: what is subtracted afterwards would be wrong by the frame."""
    assert spec.provides <= stepspecs.ILLUMINATION.after | stepspecs.ILLUMINATION.requires


@pytest.mark.parametrize(
    ("filters", "name", "reason"),
    [
        ([], "r", "filter 'r' is not in illumination.filters (which is empty)"),
        (["g", "i"], "r", "filter 'r' is not in illumination.filters (g, i)"),
        (["g"], "", "the exposure names no filter, so that it cannot be in illumination.filters (g)"),
    ],
)
def test_other_filters_are_skipped_with_a_reason(filters, name, reason):
    exposure = assembled(Detector.of_shape((1, 2)), 8.0, visit=VisitInfo(filter=name))
    frame = assembled(exposure.detector, 2.0, unit="")
    task = make_task("doIlluminationCorrection", illumination__filters=filters)
    skipped = {planned.spec.name: planned.reason for planned in task.plan(exposure).skipped}
    assert skipped["illumination"] == reason
    product = task.run(exposure, illumMaskedImage=frame).exposure
    assert (product.image == 8).all()
    assert "illumination-corrected" not in product.facts


def test_example_a_frame_of_two_and_a_half():
    exposure = assembled(Detector.of_shape((1, 2)), [[10, 6]], variance=2.0, visit=IN_R)
    frame = MaskedImage.from_image(np.float32([[2, 0.5]]), np.int32([[0, 1]]), np.float32([[1, 0]]))
    task = task_of("doIlluminationCorrection")
    product = task.run(exposure, illumMaskedImage=frame).exposure
    assert product.image.tolist() == [[5, 12]]
    # (V + Q²W)/F²
    assert product.variance.tolist() == [[(2 + 25) / 4, 8]]
    assert product.mask.tolist() == [[0, 1]]
    assert "illumination-corrected" in product.facts
