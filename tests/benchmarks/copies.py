"""Times in copies of one float32 plane, which is copied right before every call: machines are noisy."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import numpy as np

Clock = Callable[[], float]


def timed(function: Callable[[], object], clock: Clock = time.thread_time) -> float:
    """Seconds of one call; by default of this thread's processor time, so that other work does not count."""
    started = clock()
    function()
    return clock() - started


class Copying:
    """Copies one plane: a call returns the seconds of a copy, the median of some."""

    def __init__(self, shape: tuple[int, int], clock: Clock = time.thread_time, times: int = 5) -> None:
        self.source, self.target = np.ones(shape, np.float32), np.ones(shape, np.float32)
        self.clock, self.times = clock, times

    def __call__(self) -> float:
        """Copy, and tell how long it took."""
        copy = partial(np.copyto, self.target, self.source)
        return sorted(timed(copy, self.clock) for _ in range(self.times))[self.times // 2]


@attrs.frozen
class Times:
    """The rounds of one candidate: seconds, and those in copies of the same round."""

    seconds: list[float]
    ratios: list[float]

    @property
    def copies(self) -> float:
        """The median, in copies."""
        return float(np.median(self.ratios))

    @property
    def least(self) -> float:
        """The smallest, in copies: other work on the machine only adds."""
        return min(self.ratios)

    @property
    def milliseconds(self) -> float:
        """The median."""
        return 1e3 * float(np.median(self.seconds))


def in_copies(
    prepare: Callable[[], Any], run: Callable[[Any], object], copying: Copying, rounds: int
) -> Times:
    """Time ``run`` on what ``prepare`` returns, which does not count."""
    seconds, ratios = [], []
    for _ in range(rounds):
        prepared = prepare()
        copy = copying()
        seconds.append(timed(partial(run, prepared), copying.clock))
        ratios.append(seconds[-1] / copy)
    return Times(seconds, ratios)
