"""Crosstalk: where coefficients come from, when it is corrected, other detectors, and a real matrix."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import attrs
import numpy as np
import pytest

import isrcore_calib
import isrcore_simulated
import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Camera,
    ConfigError,
    Crosstalk,
    CrosstalkMatrix,
    Defects,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PlanError,
    Registry,
    Simulation,
    StepError,
    default_config,
    hookimpl,
    read_exposure,
    simulate,
    statistics,
)
from isrcore.crosstalk import ROW_SOURCE
from tests.effects.crosstalk import add_crosstalk
from tests.golden import DATA
from tests.golden_exposures import ASSEMBLED, make_task
from tests.test_cli import NO_MASTERS, write_raw

PLUGINS = {"calib": isrcore_calib, "simulated": isrcore_simulated, "standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)
REAL = DATA / "data/meerlicht_crosstalk_20180620.txt"
# A power of two, so that nothing is rounded.
SHARE = 2.0**-10


def pair(of="ccd0", shape=(2, 3), **changes):
    """Two amplifiers side by side; the second is read from the right, and stored as it is read."""
    ny, nx = shape
    left, right = Box(0, ny, 0, nx), Box(0, ny, nx, 2 * nx)
    a = Amplifier("A", left, left, left, read_noise=2.0)
    b = Amplifier("B", right, right, right, flip_x=True, readout_corner="LR", read_noise=2.0)
    return Detector(of, 0, (ny, 2 * nx), (ny, 2 * nx), (a, attrs.evolve(b, **changes)))


def exposure_of(detector, *, level=0.0, facts=ASSEMBLED, **pixels):
    """An image of one level, in which single pixels (``A1_2``: amplifier, row, column read) are others."""
    image = np.full(detector.shape, level, np.float32)
    for place, value in pixels.items():
        amp, y, x = place[0], int(place[1]), int(place[3])
        box = detector[amp].box
        is_right = (detector[amp].readout_corner[1] == "R") != (
            "assembled" not in facts and detector[amp].flip_x
        )
        image[box.slices][y, box.width - 1 - x if is_right else x] = value
    variance = np.full(detector.shape, 4, np.float32)
    return Exposure(MaskedImage.from_image(image, variance=variance), detector, facts=facts)


def corrected(exposure, crosstalk=None, **inputs):
    settings = {f"crosstalk__{name}": inputs.pop(name) for name in list(inputs) if name != "crosstalkSources"}
    return make_task("doCrosstalk", **settings).run(exposure, crosstalk=crosstalk, **inputs).exposure


AB = np.array([[0, SHARE], [0, 0]])


@pytest.mark.parametrize(
    "given",
    [
        AB,
        {"A": {"B": SHARE}},
        {"A": {"A": 0, "B": SHARE}, "B": {}},
        Crosstalk(CrosstalkMatrix(["A", "B"], ["A", "B"], AB)),
        Crosstalk(CrosstalkMatrix.from_rows(["A", "B"], ["A", "B"], AB.T, orientation=ROW_SOURCE)),
        Crosstalk(CrosstalkMatrix(["B", "A"], ["B", "A"], AB.T)),
    ],
)
def test_coefficients_come_in_several_forms(given):
    """Arrays and mappings as documented: row, or first key, is the affected amplifier."""
    product = corrected(exposure_of(pair(), B0_0=1024.0), given)
    assert product.image.tolist() == [[-1, 0, 0, 0, 0, 1024], [0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("given", [1.0, "coefficients", [[0, 1e-3], [0, 0]], {"A": 1e-3}])
def test_anything_else_is_a_type_error(given):
    with pytest.raises(TypeError, match="crosstalk coefficients"):
        corrected(exposure_of(pair()), given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((3, 3)), "linear has shape (3, 3), the amplifiers make it (2, 2)"),
        (np.eye(2), "amplifier 'A' disturbs itself: the diagonal must be zero"),
        ({"A": {"C": 1e-3}}, "the detector has no amplifier 'C', it has A, B"),
        (Crosstalk(CrosstalkMatrix(["X"], ["X"], [[0]])), "coefficients are X, those of the detector A, B"),
        (
            Crosstalk(CrosstalkMatrix(["A", "B"], ["A", "B"], AB), detector_name="ccd7"),
            "they are of detector 'ccd7', not of 'ccd0'",
        ),
        (None, "none was given"),
    ],
)
def test_coefficients_that_do_not_fit_stop_the_plan(given, told):
    with pytest.raises(PlanError) as caught:
        corrected(exposure_of(pair()), given)
    assert told in str(caught.value)
    assert "step 'crosstalk' needs calibration 'crosstalk'" in str(caught.value)


def test_coefficients_of_the_config():
    settings = {"useConfigCoefficients": True, "crosstalkValues": [0, SHARE, 0, 0], "crosstalkShape": [2, 2]}
    product = corrected(exposure_of(pair(), B0_0=1024.0), **settings)
    assert product.image[0, 0] == -1
    # They are taken whatever was given.
    assert corrected(exposure_of(pair(), B0_0=1024.0), 2 * AB, **settings).image[0, 0] == -1
    with pytest.raises(ConfigError, match=r"crosstalkShape \[2, 2\] does not hold 1 crosstalkValues"):
        corrected(exposure_of(pair()), **{**settings, "crosstalkValues": [0.0]})
    with pytest.raises(PlanError, match="amplifiers make it"):
        corrected(exposure_of(pair()), **{**settings, "crosstalkShape": [4]})


def test_coefficients_ship_with_a_camera():
    shipped = {"crosstalk": {"ccd0": Crosstalk(CrosstalkMatrix(["A", "B"], ["A", "B"], AB))}}
    camera = Camera("mycam", (pair(), attrs.evolve(pair("ccd1"), id=1)))
    plugin = SimpleNamespace(
        cameras=hookimpl(lambda: [camera], specname="isr_cameras"),
        curated=hookimpl(lambda camera: shipped, specname="isr_curated_calibrations"),
    )
    registry = Registry({"mycam": plugin, "standard": isrcore_standard})
    config = default_config(registry, "mycam")
    for spec in registry.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.flag == "doCrosstalk")
    config.expectWcs = False
    task = IsrTask(config, camera="mycam", registry=registry)
    exposure = attrs.evolve(exposure_of(pair(), B0_0=1024.0), camera="mycam")
    assert task.run(exposure).exposure.image[0, 0] == -1
    # What is given wins; other detectors have none.
    assert task.run(exposure, crosstalk=2 * AB).exposure.image[0, 0] == -2
    with pytest.raises(PlanError, match="needs calibration 'crosstalk', none was given"):
        task.run(attrs.evolve(exposure, detector=camera["ccd1"]))


def test_a_table_is_given_on_the_command_line(tmp_path, isr):
    raw = write_raw(tmp_path / "raw.fits", 500)
    table = tmp_path / "sim0.toml"
    Crosstalk(CrosstalkMatrix(["A", "B"], ["A", "B"], AB), detector_name="sim0").write(table)
    words = ["run", raw, "--detectors", "sim0", "--crosstalk", table, *NO_MASTERS, "-o", tmp_path]
    assert isr(*words)[0] == 0
    product = read_exposure(tmp_path / "raw_sim0.fits")
    assert "crosstalk-corrected" in product.facts
    assert product.image[0, 0] == np.float32(500 - 500 * SHARE)
    assert product.image[0, -1] == 500


def test_amplifiers_of_different_shape_exchange_nothing():
    wide = Box(0, 2, 3, 7)
    b = {"box": wide, "raw_box": wide, "raw_data_box": wide}
    a = attrs.evolve(pair().amplifiers[0])
    detector = Detector("ccd0", 0, (2, 7), (2, 7), (a, attrs.evolve(pair().amplifiers[1], **b)))
    exposure = exposure_of(detector, level=1024.0)
    with pytest.raises(PlanError) as caught:
        corrected(exposure, AB)
    assert "amplifier 'A' has shape (2, 3), its source 'B' of detector 'ccd0' (2, 4)" in str(caught.value)
    assert (corrected(exposure, 0 * AB).image == 1024).all()


def places(plan):
    return [planned.spec.name for planned in plan.steps]


CHAIN = (
    "doConvertIntToFloat", "doSaturation", "doOverscan", "doAssembleCcd", "doVariance", "doFlat",
    "doApplyGains", "doCrosstalk", "doNanMasking",
)  # fmt: skip


def with_overscan():
    """A pair with a column of overscan between the amplifiers and their edges."""
    a, b = pair().amplifiers
    a = attrs.evolve(a, raw_box=Box(0, 2, 0, 4), serial_overscan_box=Box(0, 2, 3, 4), saturation=3e4)
    data = Box(0, 2, 4, 7)
    b = attrs.evolve(b, raw_box=Box(0, 2, 4, 8), raw_data_box=data, serial_overscan_box=Box(0, 2, 7, 8))
    return Detector("ccd0", 0, (2, 6), (2, 8), (a, b))


def test_crosstalk_comes_after_assembly_or_before():
    raw = Exposure(MaskedImage.from_raw(np.zeros((2, 8), np.uint16)), with_overscan())
    flags = [flag for flag in CHAIN if flag != "doFlat"]
    after = places(make_task(*flags).plan(raw, crosstalk=AB))
    before = places(make_task(*flags, crosstalk__beforeAssembly=True).plan(raw, crosstalk=AB))
    assert after.index("assembly") < after.index("variance") < after.index("crosstalk") < after.index("gains")
    assert before.index("overscan") < before.index("crosstalk") < before.index("assembly")
    assert before.index("saturation") < before.index("crosstalk")
    # Also when amplifiers are only turned.
    turned = make_task(*flags, crosstalk__beforeAssembly=True, assembly__doTrim=False, doNanMasking=False)
    names = places(turned.plan(raw, crosstalk=AB))
    assert names.index("crosstalk") < names.index("assembly")


def test_it_is_too_late_for_the_raw_frame_once_it_is_assembled():
    with pytest.raises(
        PlanError, match="step 'crosstalk' comes too late: the exposure is 'assembled' already"
    ):
        corrected(exposure_of(pair()), AB, beforeAssembly=True)


@pytest.mark.parametrize("is_before", [True, False])
def test_switched_off_it_is_skipped_wherever_it_would_be(is_before):
    """Fault 29: the original's stand-in for "nothing" broke after assembly."""
    raw = Exposure(MaskedImage.from_raw(np.full((2, 8), 9, np.uint16)), with_overscan())
    task = make_task("doConvertIntToFloat", "doAssembleCcd", crosstalk__beforeAssembly=is_before)
    assert "doCrosstalk = false" in str(task.plan(raw, crosstalk=AB))
    assert (task.run(raw, crosstalk=AB).exposure.image == 9).all()


def test_raw_data_are_turned_as_they_were_read():
    """B is stored as it is read: the first pixel is at its left, though its corner is the lower right."""
    facts = ASSEMBLED - {"assembled"}
    product = corrected(exposure_of(pair(), facts=facts, B0_0=1024.0), AB, beforeAssembly=True)
    assert product.image.tolist() == [[-1, 0, 0, 1024, 0, 0], [0, 0, 0, 0, 0, 0]]
    turned = corrected(exposure_of(pair(flip_x=False), facts=facts, B0_0=1024.0), AB, beforeAssembly=True)
    assert turned.image.tolist() == [[-1, 0, 0, 0, 0, 1024], [0, 0, 0, 0, 0, 0]]


def test_a_pixel_is_bright_from_the_level_on():
    """The median is 100; the level is reached exactly, and missed by the last place of a float32 number."""
    level = np.float32(100 + 400)
    exposure = exposure_of(pair(), level=100.0, B0_0=level, B1_1=np.nextafter(level, np.float32(0)))
    product = corrected(exposure, AB, minPixelToMask=400.0)
    assert np.argwhere(product.pixels.flagged("CROSSTALK")).tolist() == [[0, 0]]
    assert product.measured["crosstalk"]["ccd0"].count == 1


def test_in_large_frames_a_pixel_in_doubt_is_settled_by_the_median():
    """There the level is at first only known within bounds."""
    exposure = exposure_of(pair(shape=(200, 100)))
    exposure.image[...] = np.random.default_rng(1).normal(1000, 30, exposure.shape)
    exposure.image[:100, 199] = exposure.image[100:, 199] = 9000
    exact = statistics.median(exposure.image) + 5000
    # No float32 number: the next larger one is bright, the next smaller one is not.
    assert float(np.float32(exact)) < exact
    level = np.nextafter(np.float32(exact), np.float32(np.inf))
    exposure.image[0, 199], exposure.image[150, 199] = level, np.nextafter(level, np.float32(0))
    assert statistics.median(exposure.image) + 5000 == exact
    flagged = corrected(exposure, AB, minPixelToMask=5000.0).pixels.flagged("CROSSTALK")
    assert flagged[:, 0].sum() == 199
    assert flagged[0, 0]
    assert not flagged[150, 0]
    assert not flagged[:, 1:].any()


def test_the_plane_has_a_name_of_its_own():
    product = corrected(exposure_of(pair(), B0_0=5e4), AB, crosstalkMaskPlane="GHOST")
    assert np.argwhere(product.pixels.flagged("GHOST")).tolist() == [[0, 0]]
    assert "CROSSTALK" not in product.planes.bits


def test_pixels_may_be_flagged_by_what_is_subtracted():
    settings = {"doSubtrahendMasking": True, "minPixelToMask": 1.0}
    exposure = exposure_of(pair(), B0_0=1024.0, B0_1=1023.0, B1_2=-1024.0)
    product = corrected(exposure, AB, **settings)
    assert np.argwhere(product.pixels.flagged("CROSSTALK")).tolist() == [[0, 0], [1, 2]]


def test_quadratic_terms():
    matrix = CrosstalkMatrix(["A", "B"], ["A", "B"], AB, [[0, 2.0**-20], [0, 0]])
    product = corrected(exposure_of(pair(), B0_0=1024.0), Crosstalk(matrix))
    assert product.image[0, 0] == -2
    # The slope is 2^-10 + 2 · 2^-20 · 1024.
    assert product.variance[0, 0] == np.float32(4 + 4 * (3 * 2.0**-10) ** 2)


def test_levels_disturb_nobody():
    exposure = exposure_of(pair(), level=512.0, B0_0=1536.0)
    exposure.image[:, 3:] += np.float32(1024)
    plain, amp, detector = (
        corrected(exposure, AB, crosstalkBackgroundMethod=method).image[:, 0]
        for method in ("None", "AMP", "DETECTOR")
    )
    assert plain.tolist() == [509.5, 510.5]
    assert amp.tolist() == [511, 512]
    # The median of all is (512 + 1536) / 2.
    assert detector.tolist() == [510.5, 511.5]


def test_amplifiers_that_are_bad_as_a_whole_are_no_sources():
    """Nobody subtracts their offset."""
    exposure = exposure_of(pair(), level=1024.0, facts=frozenset({"converted"}))
    task = make_task("doAssembleCcd", "doCrosstalk")
    product = task.run(exposure, crosstalk=AB + AB.T, defects=Defects([Box(0, 2, 3, 6)])).exposure
    assert product.image[0].tolist() == [1024] * 3 + [1023] * 3
    assert math.isnan(product.measured["crosstalk"]["ccd0"].levels["B"])


def test_the_given_exposure_is_not_changed():
    exposure = exposure_of(pair(), B0_0=1024.0)
    before = exposure.clone()
    corrected(exposure, AB)
    np.testing.assert_array_equal(exposure.image, before.image)
    np.testing.assert_array_equal(exposure.variance, before.variance)


FROM_CCD1 = Crosstalk(
    CrosstalkMatrix(["A", "B"], ["A", "B"], AB),
    {"ccd1": CrosstalkMatrix(["A", "B"], ["B", "A"], [[0, 0], [2 * SHARE, 0]])},
)


def test_other_detectors_disturb_too():
    """B gets twice the share of the other detector's B, whose pixels keep their places from the corner."""
    own, other = exposure_of(pair(), B0_0=1024.0), exposure_of(pair("ccd1", flip_x=False), B1_2=5e4)
    product = corrected(own, FROM_CCD1, crosstalkSources={"ccd1": other, "ccd2": "nobody asks for it"})
    assert product.image.tolist() == [[-1, 0, 0, 0, 0, 1024], [0, 0, 0, -2 * 5e4 * SHARE, 0, 0]]
    assert np.argwhere(product.pixels.flagged("CROSSTALK")).tolist() == [[1, 3]]
    assert product.variance[1, 5] == np.float32(4 + 4 * (2 * SHARE) ** 2)
    assert set(product.measured["crosstalk"]["ccd0"].levels) == {"A", "B", "ccd1 B", "ccd1 A"}


def test_without_exposures_of_others_their_crosstalk_stays(caplog):
    with caplog.at_level(logging.WARNING):
        product = corrected(exposure_of(pair(), B0_0=1024.0), FROM_CCD1)
    assert product.image[0, 0] == -1
    assert "no crosstalkSources were given: crosstalk from ccd1 is left in" in caplog.text


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ({}, "must have the exposure of detector 'ccd1': it is not among them"),
        ({"ccd1": 1}, "must have the exposure of detector 'ccd1': it is a 'int'"),
        ({"ccd1": exposure_of(pair())}, "crosstalk source 'ccd1' is of detector 'ccd0'"),
        (
            {"ccd1": exposure_of(pair("ccd1"), facts=frozenset({"converted", "flat-fielded"}))},
            "is 'flat-fielded', which the exposure is not by then: correct it no further",
        ),
        (
            {"ccd1": exposure_of(pair("ccd1"), facts=frozenset({"converted"}))},
            "is not 'assembled', as the exposure is by then: correct it as far, doCrosstalk = false",
        ),
        (
            {"ccd1": attrs.evolve(exposure_of(pair("ccd1")), unit="electron")},
            "is in 'electron'; it must be float pixels in 'adu'",
        ),
        (
            {"ccd1": Exposure(MaskedImage.from_raw(np.zeros((2, 6), np.uint16)), pair("ccd1"))},
            "is raw integers; it must be float pixels in 'adu'",
        ),
        ({"ccd1": exposure_of(pair("ccd1", (2, 4)))}, "its source 'B' of detector 'ccd1' (2, 4)"),
        (
            {"ccd1": exposure_of(pair("ccd1", name="C"))},
            "source amplifiers of the crosstalk coefficients are",
        ),
        (
            {"ccd1": attrs.evolve(exposure_of(pair("ccd1")), detector=pair("ccd1", (2, 4)))},
            "crosstalk source 'ccd1' has shape (2, 6), its detector (2, 8)",
        ),
    ],
)
def test_exposures_of_others_must_be_corrected_exactly_as_far(sources, told):
    with pytest.raises(PlanError) as caught:
        corrected(exposure_of(pair()), FROM_CCD1, crosstalkSources=sources)
    assert told in str(caught.value)


def test_exposures_of_others_come_by_detector():
    with pytest.raises(PlanError, match="crosstalkSources is a 'Exposure'; give exposures by the names"):
        corrected(exposure_of(pair()), FROM_CCD1, crosstalkSources=exposure_of(pair("ccd1")))


def test_how_far_is_what_holds_when_its_turn_comes():
    """On a raw frame, after the overscan: so the sources must have theirs subtracted, and nothing more."""
    detector = with_overscan()
    raw = Exposure(MaskedImage.from_raw(np.full((2, 8), 1024, np.uint16)), detector)
    flags = ("doConvertIntToFloat", "doOverscan")
    other = attrs.evolve(raw, detector=attrs.evolve(detector, name="ccd1"))
    source = make_task(*flags).run(other).exposure
    task = make_task(*flags, "doCrosstalk", "doAssembleCcd", crosstalk__beforeAssembly=True)
    product = task.run(raw, crosstalk=FROM_CCD1, crosstalkSources={"ccd1": source}).exposure
    assert (product.image == 0).all()
    with pytest.raises(PlanError, match="is not 'overscan-subtracted', as the exposure is by then"):
        task.run(raw, crosstalk=FROM_CCD1, crosstalkSources={"ccd1": make_task(flags[0]).run(other).exposure})


def test_coefficients_too_large_to_be_undone_cannot_be_simulated():
    large = np.array([[0, 1.5], [1.5, 0]])
    with pytest.raises(StepError, match="crosstalk cannot be put in, the coefficients are too large"):
        simulate(
            make_task("doConvertIntToFloat", "doAssembleCcd", "doCrosstalk"),
            exposure_of(pair(), level=10.0),
            crosstalk=large,
        )


def halves():
    """Two rows of eight amplifiers, each read towards the edge of the detector."""
    amps = []
    for i in range(16):
        row, column = divmod(i, 8)
        box = Box.from_corner(column * 6, row * 5, 6, 5)
        amps.append(Amplifier(f"C{row}{column}", box, box, box, readout_corner=("LL", "UL")[row]))
    return Detector("real", 0, (10, 48), (10, 48), tuple(amps))


@pytest.mark.skipif(not REAL.exists(), reason=f"no coefficients at {REAL}; set ISRCORE_TEST_DATA")
@pytest.mark.parametrize("columns", ["affected source coefficient", "source affected coefficient"])
def test_real_coefficients_of_sixteen_amplifiers(columns):
    table, detector = Crosstalk.read(REAL, columns=columns), halves()
    rng = np.random.default_rng(3)
    truth = rng.normal(1000, 30, detector.shape)
    truth[rng.random(detector.shape) < 0.02] = 60000
    linear = table.for_detector(detector).matrix.linear
    # In that camera no half disturbs the other; every amplifier disturbs all others of its half.
    assert np.count_nonzero(linear) == 2 * 8 * 7
    assert not linear[:8, 8:].any()
    assert not linear[8:, :8].any()
    boxes = [{"box": attrs.astuple(amp.box), "corner": amp.readout_corner} for amp in detector.amplifiers]
    disturbed = add_crosstalk(truth, boxes, linear)
    exposure = Exposure(MaskedImage.from_image(disturbed.astype(np.float32)), detector, facts=ASSEMBLED)
    left = np.abs(corrected(exposure, table).image - truth).max()
    without = np.abs(disturbed - truth).max()
    # Second order: the sum of the coefficients, 0.0028, times what they add; and a place of 60000 adu.
    assert left <= np.abs(linear).sum(axis=1).max() * without + 0.004
    assert without > 100 * left
    # Read the wrong way round, it is not removed.
    wrong = {"affected": "source", "source": "affected"}
    swapped = " ".join(wrong.get(word, word) for word in columns.split())
    assert np.abs(corrected(exposure, Crosstalk.read(REAL, columns=swapped)).image - truth).max() > 20 * left


def test_levels_of_disturbed_pixels_are_found_again():
    """With backgrounds the coefficients act on what is above the level, which crosstalk itself moves."""
    truth = exposure_of(pair(), level=1000.0, B0_0=5e4)
    truth.image[:, 3:] += np.float32(300)
    task = make_task("doCrosstalk", crosstalk__crosstalkBackgroundMethod="AMP")
    copy = truth.clone()
    _, calibrations = task.prepared(copy.share(), {"crosstalk": 8 * (AB + AB.T)})
    simulation = Simulation.start(copy, calibrations, None, 0)
    simulation.facts = truth.facts
    task._step("crosstalk").simulate(simulation)
    assert np.abs(copy.image - truth.image).max() > 100
    found = task.run(copy, crosstalk=8 * (AB + AB.T)).exposure
    np.testing.assert_allclose(found.image, truth.image, rtol=2e-7)
