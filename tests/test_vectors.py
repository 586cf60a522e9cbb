"""Numbers worked out by hand from the documented rules (behaviour §8), where no other test has them."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from isrcore import Amplifier, Box, Detector, Exposure, IsrQaConfig, MaskedImage, VisitInfo
from tests.golden_exposures import ASSEMBLED, make_task

DETECTOR = Detector.of_shape((1, 2))


def frame(image: float, variance: float, dark_s: float = 1.0) -> Exposure:
    """Two equal pixels."""
    planes = [np.full(DETECTOR.shape, value, np.float32) for value in (image, variance)]
    pixels = MaskedImage.from_image(planes[0], variance=planes[1])
    return Exposure(pixels, DETECTOR, visit=VisitInfo(dark_s=dark_s), facts=ASSEMBLED)


def values(exposure: Exposure) -> tuple[float, float]:
    return float(exposure.image[0, 0]), float(exposure.variance[0, 0])


@pytest.mark.parametrize(("scale", "variance"), [(1.0, 65), (2.0, 260)])
def test_a_flat_of_two_and_its_scale(scale, variance):
    exposure = frame(100, 10)
    task = make_task(flat__scalingType="USER", flat__userScale=scale)
    task.flatCorrection(exposure, frame(2, 0.1))
    assert values(exposure) == (50 * scale, pytest.approx(variance, rel=1e-6))


def test_a_dark_of_half_the_time():
    exposure = frame(100, 10, dark_s=20)
    make_task().darkCorrection(exposure, frame(3, 0.5, dark_s=10))
    assert values(exposure) == (94, 12)


def test_the_read_noise_is_divided_by_the_gain():
    detector = DETECTOR.with_amplifiers(**{DETECTOR.amplifier_names[0]: {"gain": 1.6, "read_noise": 4.0}})
    exposure = attrs.evolve(frame(1000, 0), detector=detector)
    make_task().updateVariance(exposure, detector.amplifiers[0])
    # The older rule gives 1000 / 1.6 + 4² = 641.
    assert exposure.variance[0, 0] == 631.25


def test_a_thousandth_of_the_other_amplifier():
    halves = [
        Amplifier(name, box=box, raw_box=box, raw_data_box=box, readout_corner=corner)
        for name, box, corner in (("A", Box(0, 1, 0, 2), "LL"), ("B", Box(0, 1, 2, 4), "LR"))
    ]
    detector = Detector("ccd0", 0, (1, 4), (1, 4), tuple(halves))
    image = np.array([[0, 0, 0, 50000]], np.float32)
    exposure = Exposure(MaskedImage.from_image(image), detector, facts=ASSEMBLED)
    matrix = np.array([[0, 1e-3], [0, 0]])
    task = make_task("doCrosstalk", crosstalk__crosstalkBackgroundMethod="None")
    found = task.run(exposure, crosstalk=matrix).exposure
    # B is read out towards the other side: its last pixel is read when A's first one is.
    np.testing.assert_allclose(found.image, [[-50, 0, 0, 50000]], rtol=1e-6)


def test_the_grid_of_a_whole_ccd():
    image = np.full((4612, 2048), 100, np.float32)
    exposure = Exposure(MaskedImage.from_image(image), Detector.of_shape(image.shape), facts=ASSEMBLED)
    make_task().measureBackground(exposure, IsrQaConfig())
    assert exposure.header["FLATNESS_NGRIDS"] == "8x18"
