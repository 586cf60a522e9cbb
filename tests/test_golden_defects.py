"""Defects and footprints agree with the original."""

from __future__ import annotations

import numpy as np
import pytest

from isrcore.defects import Defects, make_threshold_mask
from isrcore.footprints import grow
from tests.golden import golden_cases, plane_bits


def corners(defects):
    return [(box.x0, box.y0, box.width, box.height) for box in defects]


def rows(array):
    return [tuple(row) for row in array.tolist()]


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("Defects.fromMask"))
def test_boxes_of_a_mask(entry, inputs, outputs):
    defects = Defects.from_mask(inputs["mask.mask"], plane_bits(entry, entry["params"]["maskName"]))
    # The boxes agree. Where footprints branch downwards the original numbers them by the alias its labelling
    # ends with, not by their first pixel, so the order of footprints may differ.
    assert sorted(corners(defects)) == sorted(rows(outputs["defects"]))


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("Defects.normalize"))
def test_normalized_boxes(entry, inputs, outputs):
    assert corners(Defects.from_iterable(inputs["boxes"]).normalize()) == rows(outputs["defects"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("Defects.maskPixels"))
def test_flagged_defects(entry, inputs, outputs):
    mask = inputs["mask.mask"]
    Defects.from_iterable(inputs["boxes"]).flag(mask, plane_bits(entry, entry["params"]["maskName"]))
    np.testing.assert_array_equal(mask, outputs["mask.mask"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("makeThresholdMask"))
def test_threshold_mask(entry, inputs, outputs):
    params, mask = entry["params"], inputs["maskedImage.mask"]
    bit = plane_bits(entry, params["maskName"])
    image = inputs["maskedImage.image"]
    defects = make_threshold_mask(image, mask, params["threshold"], bit, params["growFootprints"])
    np.testing.assert_array_equal(mask, outputs["maskedImage.mask"])
    assert sorted(corners(defects)) == sorted(rows(outputs["defects"]))


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("growMasks"))
def test_grown_masks(entry, inputs, outputs):
    params, mask = entry["params"], inputs["mask.mask"]
    flags = grow((mask & plane_bits(entry, *params["maskNameList"])) != 0, params["radius"])
    if params["radius"]:  # The original sets the plane only when it grows.
        mask[flags] |= plane_bits(entry, params["maskValue"])
    np.testing.assert_array_equal(mask, outputs["mask.mask"])
