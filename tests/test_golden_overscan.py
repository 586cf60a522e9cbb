"""Overscan levels agree with the original.

Where they differ on purpose:

* Outliers get the saturation plane; the original gives them BAD.
* ``isInt`` is honoured (fault 12). The original's MEDIAN never truncates, which is ours with ``isInt`` off;
  its MEAN_PER_ROW truncates, ours does not, for it would lower the level by half a count.
* A row's quartiles leave masked pixels out, and a row without a pixel takes no part in a fit along the rows
  (fault 13): rows that hold masked pixels may reject others, and smooth models pass elsewhere. The original
  puts the median of the rows around into empty ones and fits that.
* Rows of the data before the first and behind the last overscan pixel get SUSPECT (fault 16).
* A spline of three bins is one; the original takes the level of the first bin throughout.

With the original's rules in the place of ours (the fixture ``by_their_rules``) every pixel agrees.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from isrcore import Box, Exposure, statistics
from isrcore.testing.mirror import Mirror
from isrcore_standard import overscan_fit
from tests.golden import golden_cases
from tests.golden_exposures import amplifier, assert_close, detector, make_task, pixels

SETTINGS = {
    "fitType": "fitType",
    "order": "order",
    "numSigmaClip": "numSigmaClip",
    "overscanIsInt": "isInt",
    "maxDeviation": "maxDev",
    "leadingColumnsToSkip": "leadingColumnsToSkip",
    "trailingColumnsToSkip": "trailingColumnsToSkip",
}
SMOOTH = (*overscan_fit.POLYNOMIALS, *overscan_fit.SPLINES)
SINGLE, SERIAL, PARALLEL = (
    f"overscan.{name}" for name in ("OverscanCorrectionTask", "SerialOverscanCorrectionTask", "parallel")
)
# The original's serial task reads the corner beside the parallel overscan too.
WHOLE_HEIGHT = {"serial_overscan_box": Box.from_corner(40, 0, 12, 72)}


def cases_of(*fit_types, tasks=(SINGLE, SERIAL)):
    """The cases with one of these models."""
    cases = [case for task in tasks for case in golden_cases(task)]
    return [c for c in cases if not c.values[0] or c.values[0]["params"]["config"]["fitType"] in fit_types]


def test_no_case_is_left_out():
    compared = cases_of(*overscan_fit.FIT_TYPES)
    assert len(compared) in (79 + 17, 2), "two skipped ones without data"
    assert len(compared) == sum(
        len(cases_of(*types)) for types in (("MEAN", "MEANCLIP"), ("MEDIAN",), *zip(ALONG_ROWS, strict=True))
    )


ALONG_ROWS = (*overscan_fit.PER_LINE, *SMOOTH)


def corrected(entry, inputs, **changes):
    """Our overscan correction of a case: the exposure, what was measured, and the task."""
    params = entry["params"]
    settings = {SETTINGS[key]: params["config"][key] for key in SETTINGS if key in params["config"]}
    # An order means nothing to other models; one of 1 is a mistake for splines.
    amp = amplifier(params["amp"], **(WHOLE_HEIGHT if entry["function"] == SERIAL else {}))
    task = make_task(**{f"overscan__{key}": value for key, value in {**settings, **changes}.items()})
    exposure = Exposure(pixels(entry, inputs, "maskedImage"), detector([amp]))
    task.overscanCorrection(exposure, amp)
    return exposure, exposure.measured["overscan"]["A"], task.overscan.metadata


def assert_masks_agree(exposure, outputs, suspect=None):
    """Flags agree in every pixel; outliers are SAT here and BAD there. ``suspect`` are flags of ours."""
    theirs, outlier = outputs["maskedImage.mask"], exposure.planes.value("BAD", "SAT")
    np.testing.assert_array_equal(exposure.mask & outlier != 0, theirs & outlier != 0)
    extra = 0 if suspect is None else np.where(suspect, exposure.planes.value("SUSPECT"), 0)
    np.testing.assert_array_equal(exposure.mask & ~outlier, (theirs | extra) & ~outlier)


def assert_same_pixels(exposure, outputs, suspect=None):
    assert_close(exposure.image, outputs["maskedImage.image"])
    np.testing.assert_array_equal(exposure.variance, outputs["maskedImage.variance"])
    assert_masks_agree(exposure, outputs, suspect)


def assert_same_numbers(entry, found, metadata, outputs):
    """Median and scatter of the level, and the noise of the corrected overscan, are the original's."""
    config, sigma = entry["params"]["config"], metadata["ISR OSCAN A STDEV"]
    noise = metadata["ISR OSCAN A NOISE ADU"]
    assert metadata["ISR OSCAN A MEDIAN"] == pytest.approx(float(outputs["overscanMedian"]), rel=1e-7)
    assert noise == found.residual_sigma == metadata["ISR OSCAN A NOISE ELECTRON"]
    # It clips everything with its own limit, we as quality control says.
    if config.get("numSigmaClip", 3.0) == 3.0:
        # One level has no scatter: it says zero.
        assert np.nan_to_num(sigma) == pytest.approx(float(outputs["overscanSigma"]), rel=1e-5)
        # The noise that it tells is that of columns to skip, too.
        if "leadingColumnsToSkip" not in config:
            assert noise == pytest.approx(float(outputs["residualSigma"]), rel=1e-5)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEAN", "MEANCLIP"))
def test_mean_level(entry, inputs, outputs):
    exposure, found, metadata = corrected(entry, inputs)
    assert found.first.levels == pytest.approx(float(outputs["overscanFit"]), rel=1e-13)
    assert_same_pixels(exposure, outputs)
    assert_same_numbers(entry, found, metadata, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEDIAN"))
def test_median_level_without_truncation(entry, inputs, outputs):
    exposure, found, metadata = corrected(entry, inputs, isInt=False)
    assert found.first.levels == pytest.approx(float(outputs["overscanFit"]), rel=1e-13)
    assert_same_pixels(exposure, outputs)
    assert_same_numbers(entry, found, metadata, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of("MEDIAN"))
def test_median_of_integers_shifts_all_pixels_alike(entry, inputs, outputs):
    exposure, found, _ = corrected(entry, inputs, isInt=True)
    shift = found.level - float(outputs["overscanFit"])
    # Ties are half a count wide, and truncation takes up to one count away.
    assert -1.5 < shift <= 0.5
    region = Box.from_corner(0, 0, 52, 64).slices
    assert_close(exposure.image[region] + np.float32(shift), outputs["maskedImage.image"][region])
    assert_masks_agree(exposure, outputs)


@pytest.fixture
def by_their_rules(monkeypatch):
    """Masked pixels count in quartiles, rows without a pixel in fits, and few bins make no spline."""
    quartiles, levels, curve = overscan_fit._quartiles, overscan_fit._levels, overscan_fit._curve
    every = statistics.OrderedRows.of

    def with_filled_rows(*arguments):
        found = levels(*arguments)
        return overscan_fit._Levels(overscan_fit._filled(found.values), found.variance)

    def without_small_splines(places, values, count, is_akima):
        model, weights = curve(places, values, count, is_akima)
        return (np.full(count, values[0]) if len(places) < 5 else model), weights

    monkeypatch.setattr(overscan_fit, "_quartiles", lambda lines, values: quartiles(every(values), values))
    monkeypatch.setattr(overscan_fit, "_levels", with_filled_rows)
    monkeypatch.setattr(overscan_fit, "_curve", without_small_splines)


def truncates_means(entry, inputs):
    """Whether the original truncates pixels before it takes means."""
    is_mean = entry["params"]["config"]["fitType"] == "MEAN_PER_ROW"
    return is_mean and (inputs["maskedImage.image"] % 1 != 0).any()


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of(*ALONG_ROWS))
def test_levels_along_rows_are_the_originals_by_its_rules(entry, inputs, outputs, by_their_rules):
    exposure, found, metadata = corrected(entry, inputs)
    if truncates_means(entry, inputs):
        truncated = found.first.levels - outputs["overscanFit"]
        assert ((truncated > 0) & (truncated < 1)).all()
        assert_masks_agree(exposure, outputs)
        return
    # Theirs is rounded to float32.
    np.testing.assert_allclose(found.first.levels, outputs["overscanFit"], rtol=2e-7)
    assert_same_pixels(exposure, outputs)
    assert_same_numbers(entry, found, metadata, outputs)


def flagged_rows(entry, outputs):
    """Rows whose overscan holds pixels that do not count, and rows in which none counts."""
    height = len(outputs["overscanFit"])
    config = entry["params"]["config"]
    columns = slice(40 + config.get("leadingColumnsToSkip", 0), 52 - config.get("trailingColumnsToSkip", 0))
    flagged = outputs["maskedImage.mask"][:height, columns] & 3 != 0
    return flagged.any(axis=1), flagged.all(axis=1)


def ends_of(is_empty, shape):
    """Data pixels in empty rows before the first and behind the last other one."""
    known = np.flatnonzero(~is_empty)
    suspect = np.zeros(shape, bool)
    suspect[: known[0], :40] = suspect[known[-1] + 1 : 64, :40] = True
    return suspect


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of(*ALONG_ROWS))
def test_levels_along_rows_differ_where_pixels_do_not_count(entry, inputs, outputs):
    exposure, found, _ = corrected(entry, inputs)
    holds_flagged, is_empty = flagged_rows(entry, outputs)
    assert_masks_agree(exposure, outputs, ends_of(is_empty, exposure.shape))
    if truncates_means(entry, inputs):
        return
    excess = found.first.levels - outputs["overscanFit"]
    differs = np.abs(excess) > 2e-6 * outputs["overscanFit"]
    config = entry["params"]["config"]
    if config["fitType"] in overscan_fit.PER_LINE:
        assert not differs[~holds_flagged].any()
        # An outlier more or less moves the level of twelve pixels by less than their noise.
        assert np.abs(excess).max() < 1
    elif not (config["fitType"] in overscan_fit.SPLINES and config["order"] < 5):
        assert not (differs.any() and not holds_flagged.any())
        # Where it is empty the original fits the median of the rows around; the level drifts by 20 counts.
        assert np.abs(excess).max() < 5
    if not differs.all():
        rows = np.flatnonzero(~differs)
        assert_close(exposure.image[rows], outputs["maskedImage.image"][rows])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_of(*overscan_fit.SPLINES, tasks=(SINGLE,)))
def test_one_bin_makes_no_spline(entry, inputs, outputs):
    with pytest.raises(ValueError, match="order = 1 is too small for"):
        corrected(entry, inputs, order=1)


@pytest.mark.parametrize(
    ("entry", "inputs", "outputs"),
    cases_of("MEDIAN", "MEDIAN_PER_ROW", "AKIMA_SPLINE", tasks=(PARALLEL,)),
)
def test_parallel_after_serial(entry, inputs, outputs):
    params = entry["params"]["config"]
    amp, settings = amplifier(entry["params"]["amp"]), {}
    for where in ("overscan", "overscan__parallel"):
        settings |= {f"{where}__fitType": params["fitType"], f"{where}__order": params["order"]}
        settings[f"{where}__isInt"] = params["fitType"] != "MEDIAN"
    task = make_task(overscan__doParallel=True, **settings)
    exposure = Exposure(pixels(entry, inputs, "maskedImage"), detector([amp]))
    task.overscanCorrection(exposure, amp)
    assert_same_pixels(exposure, outputs)
    medians = [task.overscan.metadata[f"ISR OSCAN A {which}MEDIAN"] for which in ("", "PARALLEL ")]
    # Of float32 pixels: the second level is a few counts, left of a thousand.
    np.testing.assert_allclose(medians, outputs["overscanMedian"], atol=2e-4)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("afwMath.makeInterpolate"))
def test_splines_and_their_continuation(entry, inputs, outputs):
    x, y, where = inputs["x"], inputs["y"], inputs["xEval"]
    if entry["params"]["style"] == "CONSTANT":
        # From one middle to the next the mean of two neighbours; nothing here needs it.
        edges = np.append((x[1:] + x[:-1]) / 2, x[-1] + (x[-1] - x[-2]) / 2)
        steps = np.concatenate((y[:1], (y[1:] + y[:-1]) / 2, y[-1:]))
        np.testing.assert_allclose(steps[np.searchsorted(edges, where)], outputs["y"], rtol=1e-12)
        return
    spline = CubicSpline(x, y, bc_type="natural")
    np.testing.assert_allclose(
        overscan_fit._continued(spline, (x[0], x[-1]), where), outputs["y"], rtol=1e-12
    )


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("transposeMaskedImage"))
def test_a_transposed_frame_is_what_the_laws_call_one(entry, inputs, outputs):
    turned = Mirror(True, False, False).pixels(pixels(entry, inputs, "maskedImage"))
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(turned, plane), outputs[f"maskedImage.{plane}"])
