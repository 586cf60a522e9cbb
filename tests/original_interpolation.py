"""Where and by how much the original's interpolation differs from its definition; imported by golden tests.

Its weights have four decimals and stop changing six pixels into a run of eleven or more. It counts neighbours
wrongly in some runs at borders (fault 41).
"""

from __future__ import annotations

import math

import numpy as np

from tests.plain_interpolation import plain, runs_of, sources

# Four decimals, and the limit of infinitely wide runs instead of the exact weights.
ROUNDING, WIDE = 5e-5, 3e-4


def faulty_runs(bad):
    """Runs in which the original takes a wrong pixel (behaviour §2.28, Q1 to Q4), as (row, start, stop)."""
    nx = bad.shape[1]
    for y, start, stop in runs_of(bad):
        room_left = start - max((e for r, _, e in runs_of(bad) if r == y and e < start), default=0)
        room_right = min((s for r, s, _ in runs_of(bad) if r == y and s > stop), default=nx) - stop
        at_left, at_right, width = start == 0, stop == nx, stop - start
        q1 = at_right and room_left == 1 and start > 1
        q2 = start == 1 and width <= 10 and room_right == 1 and stop < nx - 1
        q3 = width == 7 and at_left != at_right
        q4 = (at_left and room_right < 2) or (at_right and room_left < 2)
        if (q1 or q2 or q3 or q4) and not (at_left and at_right):
            yield y, start, stop


def tolerances(before, bad, level):
    """By how much pixels may differ: rounding of each weight times the value it weighs; NaN where faulty."""
    allowed, faulty = np.zeros(bad.shape), list(faulty_runs(bad))
    for y, start, stop in runs_of(bad):
        row = before.image[y].astype(np.float64), before.variance[y].astype(np.float64)
        seen, inner = sources(row, bad[y], slice(start, stop), (level, 0.0))
        error = ROUNDING + (WIDE if stop - start > 10 else 0)
        allowed[y, start:stop] = error * sum(abs(value) for value, _ in seen.values()) + 1e-6 * abs(level)
        if (y, start, stop) in faulty:
            allowed[y, inner] = math.nan
    return allowed


def uses_level(before, bad):
    """Pixels that the level of the frame reaches."""
    first, second = (plain(before, bad, (level, 0.0))[0] for level in (0.0, 1e6))
    return first != second


def touches(bad, spoiled):
    """Runs of bad pixels in which, or next to which, there is a spoiled pixel; all of their pixels."""
    found = np.zeros_like(bad)
    for y, start, stop in runs_of(bad):
        found[y, start:stop] = spoiled[y, max(start - 2, 0) : stop + 2].any()
    return found


def assert_interpolated(found, theirs, before, bad, left_out):
    """The image agrees with theirs but for ``left_out``, faulty runs and what depends on the level.

    Good pixels agree within 2e-6 of the largest. Returns how many bad pixels were compared.
    """
    allowed = tolerances(before, bad, 0.0)
    allowed[left_out | uses_level(before, bad)] = np.nan
    largest = np.abs(theirs, where=np.isfinite(theirs), out=np.zeros_like(theirs)).max()
    compared = ~np.isnan(allowed)
    difference = found[compared].astype(np.float64) - theirs[compared]
    assert (np.abs(difference) <= allowed[compared] + 2e-6 * largest).all()
    return int(np.count_nonzero(compared & bad))
