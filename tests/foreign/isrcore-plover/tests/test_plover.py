"""Both steps keep their contracts."""

import attrs
import numpy as np
from hypothesis import strategies as st
from isrcore_plover import WarmDark

from isrcore import Calibrations, Detector, Exposure, MaskedImage, VisitInfo
from isrcore.testing import StepContract


class TestPupilGhost(StepContract):
    step = "pupilGhost"


def with_temperature(exposure, kelvins):
    """The exposure with a card that says how warm the detector was."""
    header = exposure.header.copy()
    header["CCDTEMP"] = kelvins
    return attrs.evolve(exposure, header=header)


TEMPERATURES = st.floats(150.0, 190.0)


class TestWarmDark(StepContract):
    step = WarmDark

    def exposures(self, detector):
        return st.builds(with_temperature, super().exposures(detector), TEMPERATURES)

    def calibrations(self, detector):
        darks = super().calibrations(detector).map(lambda inputs: inputs["dark"])
        return st.fixed_dictionaries({"dark": st.builds(with_temperature, darks, TEMPERATURES)})


def test_an_exposure_of_unknown_dark_time_is_refused():
    image = MaskedImage.from_image(np.full((2, 2), 3, np.float32))
    exposure = Exposure(image, Detector.of_shape((2, 2)), visit=VisitInfo(dark_s=0.0))
    (problem,) = WarmDark(name="dark").problems(exposure, Calibrations())
    assert problem.endswith("has dark time 0.0 s: it must be positive")
