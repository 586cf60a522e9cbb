"""Crosstalk agrees with the original, but for its faults.

The original's matrices have row = source, column = affected amplifier; here it is stated where they are read.
What differs, in every case that shows it:

* On raw frames the original turns amplifiers by their readout corners in the assembled frame, whichever way
  round raw data lie. So amplifiers of these cases get corners that make ours the same (`as_if_unturned`).
* On raw frames its median of the detector counts overscan, ours data: the images differ by coefficients times
  the difference of the medians, a constant per amplifier.
* It leaves quadratic terms out where the linear coefficient is zero; the cases get ours with these zero. The
  variance of quadratic terms, and any variance with ``ignoreVariance``, is ours alone.
* With ``fullAmplifier`` it corrects overscan too, which we never do: there all of the amplifiers is data.
"""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from isrcore import Box, Crosstalk, CrosstalkMatrix, Exposure, median_of_windows
from isrcore.crosstalk import ROW_SOURCE
from tests.golden import golden_cases
from tests.golden_exposures import (
    ASSEMBLED,
    amplifier,
    as_if_unturned,
    assert_close,
    detector,
    make_task,
    pixels,
)

RAW = frozenset({"converted", "levels-known", "overscan-subtracted"})


def without_overscan(amp):
    """The amplifier with everything that it wrote for data."""
    overscan = dict.fromkeys(("serial_overscan_box", "parallel_overscan_box", "prescan_box"), Box(0, 0, 0, 0))
    return attrs.evolve(amp, box=amp.raw_box, raw_data_box=amp.raw_box, **overscan)


def coefficients(entry, inputs, names):
    """The case's matrices, with row = source; the original overlooks its diagonal."""
    linear, quadratic = inputs["coeffs"].copy(), inputs["coeffsSqr"].copy()
    quadratic[linear == 0] = 0
    np.fill_diagonal(linear, 0)
    np.fill_diagonal(quadratic, 0)
    values = {"quadratic": quadratic} if entry["params"].get("doSqrCrosstalk") else {}
    return Crosstalk(CrosstalkMatrix.from_rows(names, names, linear, orientation=ROW_SOURCE, **values))


def corrected(entry, inputs):
    """Our product, the exposure before, and the coefficients."""
    params = entry["params"]
    is_trimmed = params["isTrimmed"]
    amps = [amplifier(amp) for amp in params["amps"]]
    if params.get("fullAmplifier"):
        amps = [without_overscan(amp) for amp in amps]
    owner = detector(amps if is_trimmed else [as_if_unturned(amp) for amp in amps])
    task = make_task(
        "doCrosstalk",
        crosstalk__beforeAssembly=not is_trimmed,
        crosstalk__minPixelToMask=params.get("minPixelToMask", 45000.0),
        crosstalk__crosstalkBackgroundMethod=params.get("backgroundMethod", "None"),
        crosstalk__doSubtrahendMasking=params.get("doSubtrahendMasking", False),
    )
    image = pixels(entry, inputs, "maskedImage")
    before = Exposure(image, owner, facts=ASSEMBLED if is_trimmed else RAW)
    matrix = coefficients(entry, inputs, owner.amplifier_names)
    return task.run(before, crosstalk=matrix).exposure, before, matrix.matrix


def boxes(exposure):
    """The data of every amplifier."""
    return [amp.box if exposure.is_assembled else amp.raw_data_box for amp in exposure.detector.amplifiers]


def readings(plane, exposure):
    """The data of every amplifier, in float64, with the readout corner at the lower left."""
    found = []
    for amp, box in zip(exposure.detector.amplifiers, boxes(exposure), strict=True):
        corner = (amp if exposure.is_assembled else as_if_unturned(amp)).readout_corner
        turn = (
            slice(None, None, -1 if corner[0] == "U" else 1),
            slice(None, None, -1 if corner[1] == "R" else 1),
        )
        found.append(plane[box.slices][turn].astype(np.float64))
    return np.array(found)


def levels(entry, before):
    """The medians that we take from sources, and those of the original."""
    windows, method = (
        [before.pixels.window(box) for box in boxes(before)],
        entry["params"].get("backgroundMethod"),
    )
    if method == "DETECTOR":
        return [[median_of_windows(part, "BAD")] * len(windows) for part in (windows, [before.pixels])]
    amps = [median_of_windows([window], "BAD") if method else 0.0 for window in windows]
    return amps, amps


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("crosstalk.subtractCrosstalk"))
def test_product(entry, inputs, outputs):
    product, before, matrix = corrected(entry, inputs)
    data = np.zeros(product.shape, bool)
    for box in boxes(product):
        data[box.slices] = True
    np.testing.assert_array_equal(product.image[~data], before.image[~data])
    assert data.all() == (product.is_assembled or "fullAmplifier" in entry["params"])

    difference = matrix.linear @ np.subtract(*levels(entry, before))
    assert_close(
        readings(product.image, before) - difference[:, None, None],
        readings(outputs["maskedImage.image"], before),
    )
    np.testing.assert_array_equal(product.mask, outputs["maskedImage.mask"])
    assert product.pixels.flagged("CROSSTALK").any()


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("crosstalk.subtractCrosstalk"))
def test_variance(entry, inputs, outputs):
    product, before, matrix = corrected(entry, inputs)
    signal, noise = readings(before.image, before), readings(before.variance, before)
    signal -= np.array(levels(entry, before)[0])[:, None, None]
    slope = matrix.linear[:, :, None, None] + 2 * matrix.quadratic[:, :, None, None] * signal
    expected = noise + np.einsum("ijyx,jyx->iyx", np.square(slope), noise)
    found = readings(product.variance, before)
    # A float32 sum of four terms: rounding of the last digit only.
    np.testing.assert_allclose(found, expected, rtol=1.2e-7)
    if "ignoreVariance" not in entry["params"] and not matrix.quadratic.any():
        assert_close(found, readings(outputs["maskedImage.variance"], before))


def test_all_cases_are_here():
    found = golden_cases("crosstalk.subtractCrosstalk")
    assert len(found) == 21 or not found[0].values[0]
