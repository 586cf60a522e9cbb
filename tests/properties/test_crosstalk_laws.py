"""Laws of crosstalk: it is put in and taken out, and nothing depends on names, order, sides or threads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Crosstalk,
    CrosstalkMatrix,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Readout,
    Registry,
    Simulation,
    Tiled,
    simulate,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.crosstalk import LARGEST, crosstalks
from isrcore.testing.mirror import Mirror
from isrcore_standard import crosstalk_bands
from tests.effects.crosstalk import add_crosstalk
from tests.golden_exposures import ASSEMBLED, make_task

REGISTRY = Registry({"standard": isrcore_standard})
SETTINGS = st.fixed_dictionaries(
    {
        "crosstalkBackgroundMethod": st.sampled_from(["None", "AMP", "DETECTOR"]),
        "doSubtrahendMasking": st.booleans(),
        # Most corrections of bright pixels, those of the brightest, and none; sources all.
        "minPixelToMask": st.sampled_from([1.0, 50.0, 1000.0]),
    }
)


def crosstalk_task(*flags: str, **settings: Any) -> IsrTask:
    """A task that corrects crosstalk, and what else ``flags`` say."""
    return make_task(
        "doCrosstalk", *flags, **{f"crosstalk__{name}": value for name, value in settings.items()}
    )


def corrected(exposure: Exposure, crosstalk: Any, threads: int = 1, **settings: Any) -> Exposure:
    config = crosstalk_task(**settings).config
    task = IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))
    result: Exposure = task.run(exposure, crosstalk=crosstalk).exposure
    return result


@contextmanager
def bands_of(pixels: int) -> Any:
    """Make bands of about so many pixels of every amplifier."""
    before = crosstalk_bands._BAND, crosstalk_bands._LEAST
    crosstalk_bands._BAND, crosstalk_bands._LEAST = 0, pixels
    try:
        yield
    finally:
        crosstalk_bands._BAND, crosstalk_bands._LEAST = before


@st.composite
def scenes(draw: st.DrawFn, brightest: float = 3e4) -> tuple[Exposure, Crosstalk]:
    """An assembled exposure of amplifiers of one shape, with some bright pixels, and coefficients."""
    detector = draw(strategies.detectors(is_even=True))
    exposure, rng = draw(strategies.exposures(detector)), draw(strategies.generators())
    exposure.image[rng.random(exposure.shape) < 0.05] = brightest
    return exposure, draw(crosstalks(detector))


def matrix_of(crosstalk: Crosstalk, detector: Detector) -> CrosstalkMatrix:
    return crosstalk.for_detector(detector).matrix


def dicts(detector: Detector) -> list[dict[str, Any]]:
    """The amplifiers as the independent model describes them."""
    boxes = [amp.box for amp in detector.amplifiers]
    corners = [amp.readout_corner for amp in detector.amplifiers]
    return [{"box": attrs.astuple(box), "corner": corner} for box, corner in zip(boxes, corners, strict=True)]


def partners(detector: Detector, y: int, x: int) -> tuple[int, dict[int, tuple[int, int]]]:
    """The amplifier of a pixel, and by amplifier the pixel that is read at the same moment."""
    owner = next(i for i, a in enumerate(detector.amplifiers) if a.box.contains(Box(y, y + 1, x, x + 1)))
    amp = detector.amplifiers[owner]
    dy = amp.box.y1 - 1 - y if amp.readout_corner[0] == "U" else y - amp.box.y0
    dx = amp.box.x1 - 1 - x if amp.readout_corner[1] == "R" else x - amp.box.x0
    found = {}
    for i, other in enumerate(detector.amplifiers):
        row = other.box.y1 - 1 - dy if other.readout_corner[0] == "U" else other.box.y0 + dy
        column = other.box.x1 - 1 - dx if other.readout_corner[1] == "R" else other.box.x0 + dx
        found[i] = row, column
    return owner, found


# Every pixel of a correction is a float32 sum of at most eight products: ten roundings of its largest term.
ROUNDING = 10 * 2.0**-24


@given(scenes(), st.integers(1, 60))
def test_what_is_subtracted_is_what_the_independent_model_adds(scene, pixels):
    exposure, crosstalk = scene
    matrix = matrix_of(crosstalk, exposure.detector)
    with bands_of(pixels):
        found = corrected(exposure, crosstalk)
    # Added to the uncorrected image it is what the correction subtracts: that takes it for the true signal.
    twice = add_crosstalk(exposure.image, dicts(exposure.detector), matrix.linear, matrix.quadratic)
    expected = 2 * exposure.image.astype(np.float64) - twice
    largest = np.abs(exposure.image).max() * (1 + len(exposure.detector.amplifiers) * LARGEST)
    np.testing.assert_allclose(found.image, expected, rtol=0, atol=largest * ROUNDING)


@given(scenes())
def test_crosstalk_of_the_independent_model_is_removed_to_second_order(scene):
    exposure, crosstalk = scene
    matrix = matrix_of(crosstalk, exposure.detector)
    assume(matrix.is_coupled.any())
    disturbed = add_crosstalk(exposure.image, dicts(exposure.detector), matrix.linear, matrix.quadratic)
    pixels = attrs.evolve(exposure.pixels, image=disturbed.astype(np.float32))
    found = corrected(attrs.evolve(exposure.share(), pixels=pixels), crosstalk)
    left, without = (np.abs(image - exposure.image.astype(float)).max() for image in (found.image, disturbed))
    # The sources that are subtracted are disturbed themselves: by the sum of the coefficients, at most.
    strength = np.abs(matrix.linear) + 2 * np.abs(matrix.quadratic) * np.abs(disturbed).max()
    limit = strength.sum(axis=1).max() * np.abs(disturbed - exposure.image).max()
    rounding = np.abs(disturbed).max() * ROUNDING
    assert left <= limit + rounding
    assert without >= 10 * left - 20 * rounding or strength.sum(axis=1).max() > 0.1 / 1.1


def put_in(exposure: Exposure, crosstalk: Crosstalk, **settings: Any) -> Exposure:
    """The exposure with crosstalk, by the step itself."""
    copy = exposure.clone()
    task = crosstalk_task(**settings)
    _, calibrations = task.prepared(copy.share(), {"crosstalk": crosstalk})
    simulation = Simulation.start(copy, calibrations, None, 0)
    simulation.facts = exposure.facts
    task._step("crosstalk").simulate(simulation)
    return copy


@given(scenes(), SETTINGS, st.integers(1, 60))
def test_correcting_takes_out_what_simulating_put_in(scene, settings, pixels):
    exposure, crosstalk = scene
    with bands_of(pixels):
        disturbed = put_in(exposure, crosstalk, **settings)
        found = corrected(disturbed, crosstalk, **settings)
    error = np.abs(found.image.astype(np.float64) - exposure.image)
    # Two roundings of what was made in between; where that goes round in circles, also one of its sources'.
    place = np.spacing(np.abs(disturbed.image)) + LARGEST * 4 * np.spacing(np.abs(disturbed.image).max())
    assert (error <= 2 * place).all()
    change = np.abs(disturbed.image - exposure.image).max()
    assert change == 0 or change >= 10 * error.max() - 20 * place.max()


@given(st.data(), SETTINGS)
def test_a_simulated_raw_frame_is_corrected_to_the_truth(data, settings):
    detector = data.draw(strategies.detectors(has_overscan=True, is_even=True))
    truth, crosstalk = data.draw(strategies.exposures(detector)), data.draw(crosstalks(detector))
    truth.image[0, 0] = 20000.0
    settings = {**settings, "beforeAssembly": data.draw(st.booleans())}
    task = crosstalk_task("doConvertIntToFloat", "doOverscan", "doAssembleCcd", **settings)
    quiet = Readout(level=2000.0, has_noise=False)
    raw = simulate(task, truth, quiet, crosstalk=crosstalk).exposure
    found = task.run(raw, crosstalk=crosstalk).exposure
    # Half an adu of the converter, of every source too, and of what levels there are.
    assert np.abs(found.image - truth.image).max() <= 0.5 + 4 * LARGEST


@given(scenes(), SETTINGS, st.builds(Mirror, st.booleans(), st.booleans(), st.booleans()))
def test_a_mirrored_frame_gives_the_mirrored_result(scene, settings, mirror):
    exposure, crosstalk = scene
    plain, mirrored = (corrected(e, crosstalk, **settings) for e in (exposure, mirror.exposure(exposure)))
    check_same(mirror.pixels(plain.pixels), mirrored.pixels)


@given(scenes(), SETTINGS, st.data())
def test_order_and_names_of_amplifiers_do_not_matter(scene, settings, data):
    exposure, crosstalk = scene
    settings["doSubtrahendMasking"] = False
    order = data.draw(st.permutations(exposure.detector.amplifiers))
    names = dict(zip(exposure.detector.amplifier_names, ["new", "other", "A", "zz"], strict=False))
    renamed = tuple(attrs.evolve(amp, name=names[amp.name]) for amp in order)
    other = attrs.evolve(exposure.share(), detector=attrs.evolve(exposure.detector, amplifiers=renamed))
    new = [names[name] for name in crosstalk.matrix.affected]
    first = corrected(exposure, crosstalk, **settings)
    second = corrected(
        other,
        attrs.evolve(crosstalk, matrix=attrs.evolve(crosstalk.matrix, affected=new, sources=new)),
        **settings,
    )
    np.testing.assert_array_equal(first.mask, second.mask)
    # Sources are added up in the order of the detector's amplifiers.
    for name in ("image", "variance"):
        one, two = getattr(first, name), getattr(second, name)
        np.testing.assert_allclose(one, two, rtol=2 * ROUNDING, atol=np.abs(one).max() * LARGEST * ROUNDING)


@given(scenes(), SETTINGS, st.integers(1, 60), st.integers(1, 3))
def test_bands_and_threads_change_nothing(scene, settings, pixels, threads):
    exposure, crosstalk = scene
    whole = corrected(exposure, crosstalk, **settings)
    with bands_of(pixels):
        banded = corrected(exposure, crosstalk, threads, **settings)
    check_same(whole.pixels, banded.pixels)


@given(scenes(), SETTINGS)
def test_zero_coefficients_change_nothing(scene, settings):
    exposure, crosstalk = scene
    names = crosstalk.matrix.affected
    nothing = Crosstalk(CrosstalkMatrix(names, names, np.zeros((len(names), len(names)))))
    settings["minPixelToMask"] = 1.0
    exposure.image[0, 0] = np.nan
    product = corrected(exposure, nothing, **settings)
    check_same(exposure.pixels.with_planes(product.planes), product.pixels)


@given(scenes(), st.integers(1, 6))
def test_corrections_grow_like_the_coefficients(scene, halvings):
    exposure, crosstalk = scene
    matrix, share = crosstalk.matrix, 2.0**-halvings
    small = attrs.evolve(matrix, linear=matrix.linear * share, quadratic=matrix.quadratic * share)
    whole, part = (
        exposure.image.astype(float) - corrected(exposure, attrs.evolve(crosstalk, matrix=m)).image
        for m in (matrix, small)
    )
    # Linear in the coefficients, the quadratic terms' too: only the roundings of the images are left.
    np.testing.assert_allclose(part, whole * share, rtol=0, atol=2 * np.abs(exposure.image).max() * ROUNDING)


@given(scenes(), st.data())
def test_a_pixel_disturbs_its_partners_only(scene, data):
    exposure, crosstalk = scene
    detector = exposure.detector
    matrix = matrix_of(crosstalk, detector)
    y, x = (data.draw(st.integers(0, side - 1)) for side in detector.shape)
    other = exposure.clone()
    other.image[y, x] += 5000.0
    other.variance[y, x] += 100.0
    settings = {"minPixelToMask": 60000.0}
    first, second = (corrected(e, crosstalk, **settings) for e in (exposure, other))
    owner, found = partners(detector, y, x)
    allowed = {place for i, place in found.items() if matrix.is_coupled[i, owner]} | {(y, x)}
    changed = (first.image != second.image) | (first.variance != second.variance)
    assert set(map(tuple, np.argwhere(changed).tolist())) <= allowed
    assert second.image[y, x] - first.image[y, x] == pytest.approx(5000, rel=1e-5)


@given(scenes(), st.data())
def test_what_bright_pixels_disturb_is_flagged_and_nothing_else(scene, data):
    exposure, crosstalk = scene
    detector = exposure.detector
    matrix = matrix_of(crosstalk, detector)
    product = corrected(exposure, crosstalk, minPixelToMask=20000.0)
    threshold = (
        20000.0 + np.median(exposure.image[exposure.mask & 1 == 0])
        if (exposure.mask & 1 == 0).any()
        else np.nan
    )
    expected = np.zeros(detector.shape, bool)
    for y, x in np.argwhere(exposure.image >= threshold):
        owner, found = partners(detector, y, x)
        for i, place in found.items():
            expected[place] |= matrix.is_coupled[i, owner]
    np.testing.assert_array_equal(product.pixels.flagged("CROSSTALK"), expected)
    assert product.measured["crosstalk"][detector.name].count == expected.sum()
    # No other flag changes, those of sources do not travel.
    np.testing.assert_array_equal(product.mask & ~np.int32(product.planes.value("CROSSTALK")), exposure.mask)


@given(scenes(), st.data())
def test_pixels_that_are_no_numbers_disturb_nobody(scene, data):
    exposure, crosstalk = scene
    y, x = (data.draw(st.integers(0, side - 1)) for side in exposure.shape)
    value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    plane = data.draw(st.sampled_from(["image", "variance"]))
    zero, spoiled = exposure.clone(), exposure.clone()
    getattr(zero, plane)[y, x], getattr(spoiled, plane)[y, x] = 0.0, value
    first, second = (corrected(e, crosstalk, minPixelToMask=1e5) for e in (zero, spoiled))
    for name in ("image", "variance", "mask"):
        one, two = getattr(first, name).copy(), getattr(second, name).copy()
        if name == plane:
            np.testing.assert_equal(two[y, x], np.float32(value))
        one[y, x] = two[y, x] = 0
        # A variance says more about a signal of zero than about none, where there are quadratic terms.
        if not (name == "variance" and plane == "image"):
            np.testing.assert_array_equal(one, two)


@given(scenes(), st.sampled_from(["AMP", "DETECTOR"]), st.data())
def test_bad_pixels_do_not_change_levels(scene, method, data):
    exposure, crosstalk = scene
    rng = data.draw(strategies.generators())
    other = exposure.clone()
    bad = exposure.pixels.flagged("BAD")
    other.image[bad] = rng.uniform(-1e4, 1e4, bad.sum())
    settings = {"crosstalkBackgroundMethod": method}
    first, second = (
        corrected(e, crosstalk, **settings).measured["crosstalk"]["ccd0"] for e in (exposure, other)
    )
    assert first.levels == second.levels or all(map(np.isnan, first.levels.values()))


@given(scenes(), st.floats(-500, 500, width=32))
def test_a_level_common_to_all_disturbs_nobody_with_backgrounds(scene, offset):
    exposure, crosstalk = scene
    matrix = crosstalk.matrix
    linear = attrs.evolve(crosstalk, matrix=attrs.evolve(matrix, quadratic=np.zeros_like(matrix.linear)))
    lifted = exposure.clone()
    lifted.image[...] += np.float32(offset)
    first, second = (
        corrected(e, linear, crosstalkBackgroundMethod="AMP").image.astype(float) - e.image
        for e in (exposure, lifted)
    )
    assume(np.isfinite(first).all())
    np.testing.assert_allclose(first, second, rtol=0, atol=4 * 4e4 * ROUNDING)


@given(st.data(), SETTINGS)
def test_before_and_after_assembly_agree(data, settings):
    detector = data.draw(strategies.detectors(has_overscan=True, is_even=True))
    raw, crosstalk = data.draw(strategies.raw_exposures(detector)), data.draw(crosstalks(detector))
    flags = ("doConvertIntToFloat", "doOverscan", "doAssembleCcd")
    settings["doSubtrahendMasking"] = False
    first, second = (
        crosstalk_task(*flags, beforeAssembly=is_before, **settings).run(raw, crosstalk=crosstalk).exposure
        for is_before in (True, False)
    )
    check_same(first.pixels, second.pixels)


def four_quadrants() -> Detector:
    """2 x 3 pixels each, every one read out at its own corner."""
    places = {"LL": (0, 0), "LR": (0, 3), "UL": (2, 0), "UR": (2, 3)}
    boxes = {corner: Box.from_corner(x, y, 3, 2) for corner, (y, x) in places.items()}
    amps = (Amplifier(c, box, box, box, readout_corner=c) for c, box in boxes.items())
    return Detector("ccd0", 0, (4, 6), (4, 6), tuple(amps))


def test_example_a_star_in_one_quadrant():
    image = np.zeros((4, 6), np.float32)
    image[0, 1] = 51200.0
    pixels = MaskedImage.from_image(image, variance=np.full((4, 6), 9, np.float32))
    exposure = Exposure(pixels, four_quadrants(), facts=ASSEMBLED)
    # Powers of two: no rounding.
    linear = {"LR": {"LL": 2.0**-10}, "UR": {"LL": -(2.0**-9)}}
    product = corrected(exposure, linear)
    # One row and two columns from each quadrant's own corner.
    assert product.image.tolist() == [
        [0, 51200, 0, 0, -50, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 100, 0],
    ]
    assert np.argwhere(product.pixels.flagged("CROSSTALK")).tolist() == [[0, 4], [3, 4]]
    np.testing.assert_allclose(product.variance[:2], [[9] * 3 + [9 + 9 * 2.0**-20] * 3] * 2, rtol=1e-7)
    assert product.variance[0, 0] == product.variance[2, 0] == 9


def test_example_two_amplifiers():
    """Of the specification: A reduced by 50 at the mirrored positions."""
    data = Box(0, 1, 0, 3), Box(0, 1, 3, 6)
    amps = (
        Amplifier("A", data[0], data[0], data[0]),
        Amplifier("B", data[1], data[1], data[1], readout_corner="LR"),
    )
    image = np.float32([[0, 0, 0, 0, 50000, 50000]])
    exposure = Exposure(
        MaskedImage.from_image(image), Detector("two", 0, (1, 6), (1, 6), amps), facts=ASSEMBLED
    )
    product = corrected(exposure, np.array([[0, 1e-3], [0, 0]]))
    # 1e-3 is no float32 number.
    np.testing.assert_allclose(product.image, [[-50, -50, 0, 0, 50000, 50000]], rtol=1e-7)
