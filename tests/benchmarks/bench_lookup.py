"""How the time of a lookup grows with the number of calibrations: 100,000 against 100, in the same run.

``python -m pytest tests/benchmarks/bench_lookup.py -s``. Shapes: ``camera``, 40 detectors and 5 filters with
a flat a month; ``one``, all of one detector and filter, each valid for ten days around its own; ``open``, the
same without limits, where every one of them suits.
"""

from __future__ import annotations

import random
import time

import pytest

from isrcore_repository.lookup import Calibration, CalibrationIndex, Policy, Query
from isrcore_repository.moments import DAY

FEW, MANY, LOOKUPS = 100, 100_000, 100


def of_a_camera(number):
    """One of a camera's calibrations; all detectors and filters get one before a second does."""
    run, slot = divmod(number, 200)
    taken = run * 30 * DAY
    about = f"ccd{slot // 5}", "ugriz"[slot % 5]
    return Calibration("flat", *about, taken - 20 * DAY, taken + 20 * DAY, taken, name=str(number))


def of_one_detector(number):
    taken = number * DAY
    return Calibration("flat", "ccd0", "u", taken - 5 * DAY, taken + 5 * DAY, taken, name=str(number))


def without_limits(number):
    return Calibration("flat", "ccd0", "u", None, None, number * DAY, name=str(number))


def seconds(index, days, policy):
    """What a lookup costs, the best of three rounds."""
    drawn = random.Random(1)
    queries = [
        Query("flat", "ccd0", "u", drawn.randrange(days * DAY), policy, fallback="g") for _ in range(LOOKUPS)
    ]
    rounds = []
    for _ in range(3):
        begun = time.perf_counter()
        found = [index.find(query).chosen for query in queries]
        rounds.append(time.perf_counter() - begun)
        assert any(found)
    return min(rounds) / LOOKUPS


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize(
    ("make", "span"), [(of_a_camera, 30 / 200), (of_one_detector, 1), (without_limits, 1)]
)
def test_a_thousand_times_as_many_cost_at_most_20_times_as_much(make, span, policy):
    few, many = (CalibrationIndex(map(make, range(count))) for count in (FEW, MANY))
    fast, slow = (seconds(index, max(int(n * span), 1), policy) for index, n in ((few, FEW), (many, MANY)))
    print(f"\n{make.__name__} {policy.value}: {fast * 1e6:.1f} us, {slow * 1e6:.1f} us, {slow / fast:.1f}")
    assert slow <= 20 * fast
