"""The simulated camera: geometry against an independent model, reading, overrides."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from astropy.io import fits

import isrcore_simulated
from isrcore import Box, Camera, RawError, RawSource
from isrcore.geometry import are_disjoint, do_tile
from isrcore_simulated import CAMERA
from tests.forward_model import expose

# Written out by hand, not derived from the camera's table: what the forward model makes of it must fit.
SIM0 = {
    "shape": (80, 96),
    "raw_shape": (86, 128),
    "amplifiers": {
        "A": {"raw": (0, 86, 0, 64), "data": (0, 80, 4, 52), "box": (0, 80, 0, 48), "level": 1000.0},
        "B": {"raw": (0, 86, 64, 128), "data": (0, 80, 68, 116), "box": (0, 80, 48, 96), "level": 1200.0},
    },
}
SIM0["amplifiers"]["A"] |= {"gain": 1.5, "read_noise": 0.0}
SIM0["amplifiers"]["B"] |= {"gain": 2.1, "read_noise": 0.0, "flip_x": True}
SIM1 = {
    "shape": (80, 96),
    "raw_shape": (92, 112),
    "amplifiers": {
        "A": {"raw": (0, 46, 0, 112), "data": (0, 40, 4, 100), "box": (0, 40, 0, 96), "level": 1000.0},
        "B": {"raw": (46, 92, 0, 112), "data": (46, 86, 4, 100), "box": (40, 80, 0, 96), "level": 1200.0},
    },
}
SIM1["amplifiers"]["A"] |= {"gain": 1.8, "read_noise": 0.0}
SIM1["amplifiers"]["B"] |= {"gain": 1.2, "read_noise": 0.0, "flip_x": True, "flip_y": True}
LAYOUTS = {"sim0": SIM0, "sim1": SIM1}


def write_frames(path, frames, **cards):
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "ISRSIM", **cards})
    extensions = [fits.ImageHDU(raw) for raw in frames.values()]
    for name, extension in zip(frames, extensions, strict=True):
        extension.header["EXTNAME"] = name
    fits.HDUList([primary, *extensions]).writeto(path)
    return RawSource.open(path)


@pytest.fixture
def source(tmp_path):
    frames = {name: expose(layout, 700.0, seed=id)[0] for id, (name, layout) in enumerate(LAYOUTS.items())}
    cards = {"EXPTIME": 30.0, "FILTER": "g", "OBSTYPE": "flat", "DATE-OBS": "2020-01-02T03:04:05"}
    return write_frames(tmp_path / "sim.fits", frames, **cards)


def test_the_plugin_describes_one_camera_of_two_detectors():
    assert isrcore_simulated.isr_cameras() == [CAMERA]
    assert isinstance(CAMERA, Camera)
    assert [detector.name for detector in CAMERA.detectors] == ["sim0", "sim1"]


@pytest.mark.parametrize("name", ["sim0", "sim1"])
def test_gathering_a_raw_frame_gives_the_sky_the_model_started_from(name):
    detector, layout = CAMERA[name], LAYOUTS[name]
    sky = np.arange(1.0, 80 * 96 + 1).reshape(80, 96) % 5000
    raw, truth = expose(layout, sky, seed=4)
    for amp in detector.amplifiers:
        electrons = (amp.gather().read(raw) - layout["amplifiers"][amp.name]["level"]) * amp.gain
        expected = truth["electrons"][amp.box.slices]
        # Poisson noise of the model: six sigma and half an adu, over 3840 pixels.
        assert np.all(np.abs(electrons - expected) < 6 * np.sqrt(expected) + 6 + amp.gain)


@pytest.mark.parametrize("name", ["sim0", "sim1"])
def test_overscan_and_prescan_hold_no_charge(name):
    raw, truth = expose(LAYOUTS[name], 900.0)
    for amp in CAMERA[name].amplifiers:
        for box in (amp.serial_overscan_box, amp.parallel_overscan_box, amp.prescan_box):
            assert box.area > 0
            assert np.all(raw[box.slices] == truth["levels"][amp.name][0])


@pytest.mark.parametrize("name", ["sim0", "sim1"])
def test_amplifiers_tile_the_detector_and_raw_sections_the_frame(name):
    detector = CAMERA[name]
    assert do_tile((amp.box for amp in detector.amplifiers), Box.of_shape(detector.shape))
    assert do_tile((amp.raw_box for amp in detector.amplifiers), Box.of_shape(detector.raw_shape))
    assert are_disjoint(amp.serial_overscan_box for amp in detector.amplifiers)


def test_amplifiers_differ_in_everything_that_may_be_mixed_up():
    amplifiers = [amp for detector in CAMERA.detectors for amp in detector.amplifiers]
    assert len({amp.gain for amp in amplifiers}) == 4
    assert len({amp.read_noise for amp in amplifiers}) == 4
    assert {(amp.flip_y, amp.flip_x) for amp in amplifiers} == {(False, False), (False, True), (True, True)}
    assert {amp.saturation for amp in amplifiers} == {60000.0}


def test_a_file_is_read_detector_by_detector(source):
    exposures = list(isrcore_simulated.isr_read_raw(source, None))
    assert [exposure.detector.name for exposure in exposures] == ["sim0", "sim1"]
    assert [exposure.shape for exposure in exposures] == [(86, 128), (92, 112)]
    assert all(exposure.pixels.is_raw and exposure.camera == "simulated" for exposure in exposures)
    assert {exposure.visit.observation_type for exposure in exposures} == {"flat"}
    assert {exposure.visit.exposure_s for exposure in exposures} == {30.0}
    assert exposures[0].visit.date.isot == "2020-01-02T03:04:20.000000000"


def test_one_detector_can_be_asked_for(source):
    (exposure,) = isrcore_simulated.isr_read_raw(source, ["sim1"])
    assert exposure.detector == CAMERA["sim1"]
    raw, _ = expose(SIM1, 700.0, seed=1)
    np.testing.assert_array_equal(exposure.image, raw)


def test_a_detector_that_is_not_in_the_file_is_named(source):
    with pytest.raises(RawError, match="sim7"):
        isrcore_simulated.isr_read_raw(source, ["sim7"])


def test_other_instruments_are_not_ours(source):
    header = source.header.copy()
    header["INSTRUME"] = "MEGAPRIME"
    other = attrs.evolve(source, extensions=(attrs.evolve(source.extensions[0], header=header),))
    assert isrcore_simulated.isr_read_raw(other, None) is None


def test_overrides_touch_this_camera_only():
    config = SimpleNamespace(doDefect=True)
    isrcore_simulated.applyOverrides(config, attrs.evolve(CAMERA, name="other"))
    assert config.doDefect
    isrcore_simulated.applyOverrides(config, CAMERA)
    assert not config.doDefect
