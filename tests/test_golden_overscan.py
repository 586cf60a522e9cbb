"""Overscan levels agree with the original.

Where they differ on purpose:

* Outliers get the saturation plane; the original gives them BAD.
* ``isInt`` is honoured (fault 12). The original's MEDIAN never truncates, which is ours with ``isInt`` off;
  its MEAN_PER_ROW truncates, ours does not, for it would lower the level by half a count.
* A row's quartiles leave masked pixels out (fault 13), so rows that hold some may reject other outliers.
"""

from __future__ import annotations

import numpy as np
import pytest

from isrcore import Box, Exposure, statistics
from isrcore_standard import overscan_fit
from tests.golden import golden_cases
from tests.golden_exposures import amplifier, assert_close, detector, make_task, pixels

SETTINGS = {
    "fitType": "fitType",
    "numSigmaClip": "numSigmaClip",
    "overscanIsInt": "isInt",
    "maxDeviation": "maxDev",
    "leadingColumnsToSkip": "leadingColumnsToSkip",
    "trailingColumnsToSkip": "trailingColumnsToSkip",
}


def cases_of(*fit_types, task="OverscanCorrectionTask"):
    """The cases with one of these models."""
    cases = golden_cases(f"overscan.{task}")
    return [c for c in cases if not c.values[0] or c.values[0]["params"]["config"]["fitType"] in fit_types]


def corrected(entry, inputs, **changes):
    """Our overscan correction of a case: the exposure, and the level in its rows (or the one level)."""
    params = entry["params"]
    settings = {SETTINGS[key]: params["config"][key] for key in SETTINGS if key in params["config"]}
    amp = amplifier(params["amp"], **changes.pop("amp", {}))
    task = make_task(**{f"overscan__{key}": value for key, value in {**settings, **changes}.items()})
    exposure = Exposure(pixels(entry, inputs, "maskedImage"), detector([amp]))
    return exposure, task.overscanCorrection(exposure, amp).overscanFit


def assert_masks_agree(exposure, outputs):
    """Flags agree in every pixel; outliers are SAT here and BAD there."""
    theirs, outlier = outputs["maskedImage.mask"], exposure.planes.value("BAD", "SAT")
    np.testing.assert_array_equal(exposure.mask & outlier != 0, theirs & outlier != 0)
    np.testing.assert_array_equal(exposure.mask & ~outlier, theirs & ~outlier)


def assert_same_pixels(exposure, outputs):
    assert_close(exposure.image, outputs["maskedImage.image"])
    np.testing.assert_array_equal(exposure.variance, outputs["maskedImage.variance"])
    assert_masks_agree(exposure, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEAN", "MEANCLIP"))
def test_mean_level(entry, inputs, outputs):
    exposure, level = corrected(entry, inputs)
    assert level == pytest.approx(float(outputs["overscanFit"]), rel=1e-13)
    assert_same_pixels(exposure, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEDIAN"))
def test_median_level_without_truncation(entry, inputs, outputs):
    exposure, level = corrected(entry, inputs, isInt=False)
    assert level == pytest.approx(float(outputs["overscanFit"]), rel=1e-13)
    assert_same_pixels(exposure, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEDIAN"))
def test_median_of_integers_shifts_all_pixels_alike(entry, inputs, outputs):
    exposure, level = corrected(entry, inputs, isInt=True)
    shift = level - float(outputs["overscanFit"])
    # Ties are half a count wide, and truncation takes up to one count away.
    assert -1.5 < shift <= 0.5
    region = Box.from_corner(0, 0, 52, 64).slices
    assert_close(exposure.image[region] + np.float32(shift), outputs["maskedImage.image"][region])
    assert_masks_agree(exposure, outputs)


@pytest.fixture(params=[False, True], ids=["mask left out", "mask counted"])
def does_mask_count(request, monkeypatch):
    """Ours leave masked pixels out of a row's quartiles; counting them is the original's fault 13."""
    if request.param:
        ours = overscan_fit._quartiles
        every = statistics.OrderedRows.of
        monkeypatch.setattr(overscan_fit, "_quartiles", lambda lines, values: ours(every(values), values))
    return request.param


def assert_rows_agree(entry, inputs, outputs, does_mask_count, **changes):
    """Every row agrees if masked pixels count in quartiles; if not, only rows that hold some may differ."""
    exposure, level = corrected(entry, inputs, **changes)
    excess = level - outputs["overscanFit"]
    differs = np.abs(excess) > 2e-6 * outputs["overscanFit"]
    assert_only_masked_rows(differs, exposure, does_mask_count)
    # An outlier more or less moves the level of twelve pixels by less than their noise.
    assert np.abs(excess).max() < 1
    assert_masks_agree(exposure, outputs)
    rows = np.flatnonzero(~differs)
    assert_close(exposure.image[rows], outputs["maskedImage.image"][rows])


def assert_only_masked_rows(differs, exposure, does_mask_count):
    holds_masked = exposure.pixels.flagged("BAD", "SAT")[: len(differs), 40:].any(axis=1)
    assert not differs[~holds_masked].any()
    assert not (does_mask_count and differs.any())


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEDIAN_PER_ROW"))
def test_median_of_every_row(entry, inputs, outputs, does_mask_count):
    assert_rows_agree(entry, inputs, outputs, does_mask_count)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEAN_PER_ROW"))
def test_mean_of_every_row(entry, inputs, outputs, does_mask_count):
    if (inputs["maskedImage.image"] % 1 == 0).all():
        assert_rows_agree(entry, inputs, outputs, does_mask_count)
        return
    exposure, level = corrected(entry, inputs)
    truncated = level - outputs["overscanFit"]
    assert_only_masked_rows((truncated <= 0) | (truncated >= 1), exposure, does_mask_count)
    assert_masks_agree(exposure, outputs)


# The original's serial task reads the corner beside the parallel overscan too.
WHOLE_HEIGHT = {"serial_overscan_box": Box.from_corner(40, 0, 12, 72)}


@pytest.mark.parametrize(
    ("entry", "inputs", "outputs"), cases_of("MEAN", "MEANCLIP", task="SerialOverscanCorrectionTask")
)
def test_serial_mean_level(entry, inputs, outputs):
    exposure, level = corrected(entry, inputs, amp=WHOLE_HEIGHT)
    assert level == pytest.approx(float(outputs["overscanFit"]), rel=1e-13)
    assert_same_pixels(exposure, outputs)


@pytest.mark.parametrize(
    ("entry", "inputs", "outputs"), cases_of("MEDIAN_PER_ROW", task="SerialOverscanCorrectionTask")
)
def test_serial_median_of_every_row(entry, inputs, outputs, does_mask_count):
    assert_rows_agree(entry, inputs, outputs, does_mask_count, amp=WHOLE_HEIGHT)


@pytest.mark.parametrize(
    ("entry", "inputs", "outputs"), cases_of("MEDIAN", "MEDIAN_PER_ROW", task="parallel")
)
def test_parallel_after_serial(entry, inputs, outputs):
    """Two tasks one after the other are the original's one; the whole-height serial overscan comes first."""
    amp = amplifier(entry["params"]["amp"])
    exposure = Exposure(pixels(entry, inputs, "maskedImage"), detector([amp]))
    fit_type = entry["params"]["config"]["fitType"]
    for region, changes in (("serial", WHOLE_HEIGHT), ("parallel", {})):
        amp = amplifier(entry["params"]["amp"], **changes)
        exposure.detector = detector([amp])
        task = make_task(
            overscan__region=region, overscan__fitType=fit_type, overscan__isInt=fit_type != "MEDIAN"
        )
        task.overscanCorrection(exposure, amp)
    assert_same_pixels(exposure, outputs)
