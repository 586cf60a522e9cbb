"""Hypothesis strategies for what is known of light: curves of the transmission, polygons, zero points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from isrcore.camera import Detector
from isrcore.transmission import PARTS, SystemTransmission, TransmissionCurve
from isrcore.zero_point import ZeroPoint

_FRACTIONS = st.floats(0, 1)


@st.composite
def transmission_curves(draw: st.DrawFn, varies: bool | None = None, name: str = "") -> TransmissionCurve:
    """Curves of 2 to 6 wavelengths, 3000 to 11000 Angstrom, and of 1 to 3 radii, 0 to 300, or none.

    ``name`` is the filter they are of.
    """
    wavelengths = sorted(draw(st.sets(st.floats(3000, 11000), min_size=2, max_size=6)))
    does_vary = draw(st.booleans()) if varies is None else varies
    radii = sorted(draw(st.sets(st.floats(0, 300), min_size=1, max_size=3))) if does_vary else []
    shape = (len(radii), len(wavelengths)) if does_vary else (len(wavelengths),)
    count = math.prod(shape)
    values = draw(st.lists(_FRACTIONS, min_size=count, max_size=count))
    center = draw(st.tuples(st.floats(-50, 50), st.floats(-50, 50)))
    ends = draw(_FRACTIONS), draw(_FRACTIONS)
    return TransmissionCurve(wavelengths, np.reshape(values, shape), radii, center, *ends, filter=name)


def transmissions(detector: Detector) -> st.SearchStrategy[SystemTransmission]:
    """Products of curves of some parts, at least one, of filters of any name."""
    curve = st.text(max_size=5).flatmap(lambda name: transmission_curves(name=name))
    curves = st.dictionaries(st.sampled_from(PARTS), curve, min_size=1)
    return curves.map(lambda given: SystemTransmission(detector, given))


def polygons() -> st.SearchStrategy[Any]:
    """Corners (n, 2) of polygons, for keeping, not for geometry."""
    corner = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
    return st.lists(corner, min_size=3, max_size=8).map(np.array)


def zero_points() -> st.SearchStrategy[ZeroPoint]:
    """Zero points of 15 to 40 mag."""
    return st.builds(ZeroPoint.of_magnitude, st.floats(15, 40), st.text(max_size=20))
