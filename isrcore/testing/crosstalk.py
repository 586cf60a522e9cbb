"""Hypothesis strategies for crosstalk coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from isrcore.camera import Detector
from isrcore.crosstalk import Crosstalk, CrosstalkMatrix

#: Larger ones than any detector has: they show faults best, and still leave corrections small.
LARGEST, LARGEST_QUADRATIC = 1e-2, 1e-7


@st.composite
def crosstalks(draw: st.DrawFn, detector: Detector) -> Crosstalk:
    """Coefficients between a detector's amplifiers: of either sign, some zero, some unknown, some quadratic.

    Those of amplifiers that differ in shape are zero. Amplifiers come in any order.
    """
    shapes = {amp.name: amp.box.shape for amp in detector.amplifiers}
    names = draw(st.permutations(detector.amplifier_names))
    is_possible = np.array([[shapes[i] == shapes[j] and i != j for j in names] for i in names])
    return Crosstalk(draw(_matrices(names, names, is_possible)), detector_name=detector.name)


@st.composite
def crosstalk_tables(draw: st.DrawFn) -> Crosstalk:
    """Coefficients of any detector, with those of others, all with any names."""
    names = draw(_names(1, 4))
    own = draw(_matrices(names, names, ~np.eye(len(names), dtype=bool)))
    detector = draw(st.sampled_from(["", "ccd0", " odd é name "]))
    others = {}
    for name in draw(_names(0, 2)):
        if name != detector:
            sources = draw(_names(1, 3))
            others[name] = draw(_matrices(names, sources, np.ones((len(names), len(sources)), bool)))
    return Crosstalk(own, others, detector)


def _names(least: int, most: int) -> st.SearchStrategy[list[str]]:
    """Different names of anything."""
    letters = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
    return st.lists(letters, min_size=least, max_size=most, unique=True)


@st.composite
def _matrices(draw: st.DrawFn, affected: Any, sources: Any, is_possible: Any) -> CrosstalkMatrix:
    """A matrix whose coefficients are zero where they cannot be anything else."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    is_used = is_possible & (rng.random(is_possible.shape) < draw(st.sampled_from([0.0, 0.7, 1.0])))
    linear = np.where(is_used, rng.uniform(-LARGEST, LARGEST, is_used.shape), 0.0)
    largest = draw(st.sampled_from([0.0, LARGEST_QUADRATIC]))
    quadratic = np.where(is_used, rng.uniform(-largest, largest, is_used.shape), 0.0)
    is_valid = rng.random(is_used.shape) < draw(st.sampled_from([1.0, 0.8]))
    return CrosstalkMatrix(affected, sources, linear, quadratic, is_valid)
