"""MegaCam's levels: gain and read noise from the header, saturation from the pile-up of raw pixels."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from astropy.io.fits import Header
from hypothesis import given, settings
from hypothesis import strategies as st

from isrcore import Amplifier, Box, Calibrations, Detector, Exposure, MaskedImage, StepError
from isrcore_cfht import MegaCamLevels, saturation_from_pile_up
from tests.golden import golden_cases

CARDS = {
    "GAINA": 1.54,
    "GAINB": 1.63,
    "RDNOISEA": 3,
    "RDNOISEB": 6,
    "RDNOISE": 5,
    "SATURATE": 65535,
}


def raw_exposure(pixels=None, **cards):
    """A two-amplifier frame; a card given as None is missing."""
    image = np.full((4, 8), 1200, np.uint16) if pixels is None else np.asarray(pixels)
    ny, nx = image.shape
    boxes = {"A": Box(0, ny, 0, nx // 2), "B": Box(0, ny, nx // 2, nx)}
    amplifiers = tuple(Amplifier(name, box, box, box) for name, box in boxes.items())
    detector = Detector("ccd00", 0, image.shape, image.shape, amplifiers)
    header = Header([(key, value) for key, value in (CARDS | cards).items() if value is not None])
    return Exposure(MaskedImage.from_raw(image), detector, "MegaCam", header=header, source="1o.fits[ccd00]")


def with_levels(exposure, **config):
    """The amplifiers after the step, by name."""
    step = MegaCamLevels(name="levels")
    for name, value in config.items():
        setattr(step.config, name, value)
    step.run(exposure, Calibrations())
    return {amp.name: amp for amp in exposure.detector.amplifiers}


def levels(amp):
    return amp.gain, amp.read_noise, amp.saturation


def piled_up(*values):
    image = np.full((6, 8), 1200, np.uint16)
    image.flat[: len(values)] = values
    return image


def test_levels_of_an_unsaturated_frame_are_those_of_the_header():
    amps = with_levels(raw_exposure())
    assert levels(amps["A"]) == (1.54, 3.0, 65535.0)
    assert levels(amps["B"]) == (1.63, 6.0, 65535.0)


def test_pile_up_at_65535_saturates_at_62206():
    amps = with_levels(raw_exposure(piled_up(65535, 65535, 65535, 61000)))
    assert [amp.saturation for amp in amps.values()] == [62206.0, 62206.0]


@pytest.mark.parametrize("highest", [59999, 60000])
def test_nothing_above_60000_leaves_saturate(highest):
    amps = with_levels(raw_exposure(piled_up(highest), SATURATE=64321))
    assert amps["A"].saturation == 64321.0


def test_equally_populated_bins_give_the_lowest():
    assert saturation_from_pile_up(piled_up(60001, 65535), 0.95) == 57000


def test_pixels_of_exactly_60000_count_once_any_is_above():
    assert saturation_from_pile_up(piled_up(60000, 60000, 65535), 0.95) == 57000


def test_safe_scales_the_level():
    assert with_levels(raw_exposure(piled_up(65535)), safe=1.0)["A"].saturation == 65480.0
    assert with_levels(raw_exposure(piled_up(65535)), safe=0.5)["A"].saturation == 32740.0


def test_edges_and_product_are_float32():
    # The edge below 60029 is 60028.42 in double precision, and 0.95 of that rounds down to 57026.
    assert saturation_from_pile_up(piled_up(60029, 60029, 60097), 0.95) == 57027


def test_pixels_that_are_not_finite_are_ignored():
    image = piled_up(65535, 65535).astype(np.float32)
    image[2, :3] = np.nan, np.inf, -np.inf
    assert saturation_from_pile_up(image, 0.95) == 62206
    assert saturation_from_pile_up(np.full((2, 2), np.nan, np.float32), 0.95) is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 65535) | st.integers(59990, 60200), min_size=1, max_size=48), st.floats(0.01, 1)
)
def test_level_is_that_of_a_histogram_of_the_whole_frame_as_float32(values, safe):
    image = piled_up(*values)
    found = saturation_from_pile_up(image, safe)
    if image.max() <= 60000:
        assert found is None
    else:
        floats = image.astype(np.float32)
        counts, edges = np.histogram(floats, 100, (60000.0, floats.max() + 1.0))
        assert found == int(safe * edges[np.argmax(counts)])
        assert found == saturation_from_pile_up(floats, safe)


def test_placeholder_read_noise_gives_way_to_that_of_the_ccd():
    amps = with_levels(raw_exposure(RDNOISEA=65535, RDNOISE=4.25))
    assert (amps["A"].read_noise, amps["B"].read_noise) == (4.25, 6.0)


def test_all_missing_cards_are_reported_together():
    exposure = raw_exposure(GAINA=None, RDNOISEB=None, SATURATE=None)
    with pytest.raises(StepError) as raised:
        with_levels(exposure)
    message = str(raised.value)
    assert all(f"{key} is missing" in message for key in ("GAINA", "RDNOISEB", "SATURATE"))
    assert "1o.fits[ccd00]" in message
    assert "'ccd00'" in message
    assert "GAINB" not in message


def test_read_noise_of_the_ccd_is_not_needed_without_placeholder():
    assert with_levels(raw_exposure(RDNOISE=None))["A"].read_noise == 3.0


def test_saturate_is_not_needed_with_a_pile_up():
    assert with_levels(raw_exposure(piled_up(65535), SATURATE=None))["A"].saturation == 62206.0


@pytest.mark.parametrize(
    ("key", "value"),
    [("GAINA", 0), ("GAINB", -1.5), ("GAINA", "unknown"), ("RDNOISEA", -3.0), ("SATURATE", 0)],
)
def test_unusable_values_are_refused(key, value):
    with pytest.raises(StepError, match=f"{key} is {value!r}"):
        with_levels(raw_exposure(**{key: value}))


def test_placeholder_for_every_read_noise_is_refused():
    with pytest.raises(StepError, match="RDNOISE is 65535, a placeholder"):
        with_levels(raw_exposure(RDNOISEA=65535, RDNOISE=65535))


def test_a_failing_frame_keeps_its_detector():
    exposure = raw_exposure(GAINA=None)
    before = exposure.detector
    with pytest.raises(StepError):
        with_levels(exposure)
    assert exposure.detector is before


def test_pixels_stay_as_they_are():
    image = piled_up(65535, 65535)
    image.setflags(write=False)
    exposure = raw_exposure(image)
    with_levels(exposure)
    assert exposure.image is image


def golden_detector(amps, shape):
    """The table detector of a golden case, its sections replaced by whole raw halves."""
    amplifiers = []
    for amp in amps:
        box = Box.from_corner(*amp["raw"])
        values = {"gain": amp["gain"], "read_noise": amp["rn"], "suspect_level": float(amp["susp"])}
        amplifiers.append(Amplifier(amp["name"], box, box, box, saturation=amp["sat"], **values))
    return Detector("ccd00", 0, shape, shape, tuple(amplifiers))


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("CfhtIsrTask.run"))
def test_levels_agree_with_the_original(entry, inputs, outputs):
    params, raw = entry["params"], inputs["raw"]
    detector = golden_detector(params["amps"], raw.shape)
    header = Header(params["header"].items())
    exposure = attrs.evolve(raw_exposure(raw), detector=detector, header=header)
    for name, amp in with_levels(exposure).items():
        effective = params["effectiveAmps"][name]
        assert levels(amp) == (effective["gain"], effective["readNoise"], effective["saturation"])
        np.testing.assert_equal(amp.suspect_level, float(effective["suspectLevel"]))
