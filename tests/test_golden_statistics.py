"""Statistics agree with the original's statistics engine."""

from __future__ import annotations

import pytest

import isrcore.frame_statistics
from isrcore import FrameStatistics, MaskedImage, MaskPlanes, statistics
from tests.golden import golden_cases, plane_bits

# Both sides sum in float64, in another order.
REL = 1e-13


def as_dict(outputs):
    return dict(zip(outputs["names"].tolist(), outputs["values"].tolist(), strict=True))


def check(image, ignore, params, expected):
    found = statistics.clipped(image, params["numSigmaClip"], params["numIter"], ignore)
    assert found.mean == pytest.approx(expected["MEANCLIP"], rel=REL)
    assert found.sigma == pytest.approx(expected["STDEVCLIP"], rel=REL)
    assert found.median == statistics.median(image, ignore) == expected["MEDIAN"]
    assert statistics.interquartile_range(image, ignore) == expected["IQRANGE"]
    assert statistics.mean(image, ignore) == pytest.approx(expected["MEAN"], rel=REL)
    assert statistics.sigma(image, ignore) == pytest.approx(expected["STDEV"], rel=REL)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("makeStatistics"))
def test_statistics_of_a_masked_image(entry, inputs, outputs):
    ignore = inputs["maskedImage.mask"] & plane_bits(entry, *entry["params"]["andMask"]) != 0
    check(inputs["maskedImage.image"], ignore, entry["params"], as_dict(outputs))


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("makeStatistics"))
def test_statistics_of_a_frame(entry, inputs, outputs, monkeypatch):
    # So that these small frames go the way of large ones.
    monkeypatch.setattr(isrcore.frame_statistics, "_SMALL", 1)
    planes = (inputs[f"maskedImage.{plane}"] for plane in ("image", "mask", "variance"))
    pixels = MaskedImage(*planes, MaskPlanes(entry["maskPlanes"]))
    params, expected = entry["params"], as_dict(outputs)
    frame = FrameStatistics(pixels, *params["andMask"])
    found = frame.clip(params["numSigmaClip"], params["numIter"])
    assert found.mean == pytest.approx(expected["MEANCLIP"], rel=REL)
    assert found.sigma == pytest.approx(expected["STDEVCLIP"], rel=REL)
    assert found.median == expected["MEDIAN"]
    assert frame.mean == pytest.approx(expected["MEAN"], rel=REL)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("makeStatistics.image"))
def test_statistics_of_an_image(entry, inputs, outputs):
    check(inputs["image.image"], None, entry["params"], as_dict(outputs))


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("makeStatistics.imageI"))
def test_statistics_of_an_integer_image(entry, inputs, outputs):
    image = inputs["image.image"]
    # Ours are rounded to 2**-32, about 2e-10, so that integer offsets move them exactly.
    assert statistics.tie_median(image) == pytest.approx(float(outputs["median"]), abs=2.5e-10)
    assert statistics.clipped(image).mean == pytest.approx(float(outputs["meanclip"]), abs=2.5e-10)
