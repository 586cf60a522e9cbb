"""Law: charge that spills from full pixels is kept, in its column, and no pixel gets more than it holds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isrcore.bleeding import spill
from isrcore.testing import strategies

FULL = 1000


@st.composite
def charges(draw: st.DrawFn) -> np.ndarray:
    """Whole electrons, with some pixels far above the full well and others just at it."""
    rng = draw(strategies.generators())
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    charge = rng.integers(0, FULL, shape).astype(np.float32)
    bright = rng.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.5]))
    charge[bright] = rng.integers(FULL, draw(st.sampled_from([2, 30])) * FULL, bright.sum())
    return charge


@given(before=charges())
def test_charge_is_kept_column_by_column(before: np.ndarray) -> None:
    after = before.copy()
    spill(after, FULL)
    room = FULL * len(before)
    np.testing.assert_array_equal(after.sum(axis=0), np.minimum(before.sum(axis=0), room))
    assert after.max() <= FULL


@given(before=charges())
def test_only_full_pixels_lose_charge_and_all_that_changed_is_named(before: np.ndarray) -> None:
    after = before.copy()
    touched = spill(after, FULL)
    assert np.all(after[before <= FULL] >= before[before <= FULL])
    np.testing.assert_array_equal(touched, (before >= FULL) | (after != before))


@given(before=charges())
def test_trails_are_unbroken(before: np.ndarray) -> None:
    after = before.copy()
    touched = spill(after, FULL)
    for column, was, named in zip(after.T, before.T, touched.T, strict=True):
        # A pixel that got charge without being full itself ends a trail that begins at a full one.
        for y in np.flatnonzero(named & (was < FULL)):
            ends = (sorted((y, full)) for full in np.flatnonzero(was >= FULL))
            assert any(np.all(column[low + 1 : high] >= FULL) for low, high in ends)


@given(before=charges())
def test_turned_upside_down_the_same_pixels_are_full(before: np.ndarray) -> None:
    after, turned = before.copy(), before[::-1].copy()
    spill(after, FULL)
    spill(turned, FULL)
    # Which of two neighbours fills a gap first depends on the direction; how full a column is does not.
    np.testing.assert_array_equal(after.sum(axis=0), turned.sum(axis=0))


def test_half_runs_each_way() -> None:
    column = np.zeros((7, 1), np.float32)
    column[3] = 3400
    assert spill(column, 1000)[:, 0].tolist() == [False, True, True, True, True, True, False]
    assert column[:, 0].tolist() == [0, 200, 1000, 1000, 1000, 200, 0]


def test_charge_turns_at_the_end_of_the_column() -> None:
    column = np.array([[3000], [0], [0], [0]], np.float32)
    spill(column, 1000)
    assert column[:, 0].tolist() == [1000, 1000, 1000, 0]


def test_a_full_column_loses_the_rest() -> None:
    column = np.array([[9000], [10], [10]], np.float32)
    assert spill(column, 1000).all()
    assert column[:, 0].tolist() == [1000, 1000, 1000]


def test_without_full_pixels_nothing_happens() -> None:
    charge = np.full((4, 4), 999.0, np.float32)
    assert not spill(charge, 1000).any()
    assert (charge == 999).all()
