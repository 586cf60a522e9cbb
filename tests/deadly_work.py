"""Jobs that may end their process; processes import it, so it is small."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import attrs


@attrs.frozen
class Work:
    """A job: what ends its process, if anything does, and how long its parts take."""

    number: int
    dies: str
    begin_s: float
    end_s: float


def make_work() -> Callable[[Work], Callable[[], int]]:
    return begin


def begin(work: Work) -> Callable[[], int]:
    time.sleep(work.begin_s)
    if work.dies == "beginning":
        os._exit(3)
    return partial(end, work)


def end(work: Work) -> int:
    time.sleep(work.end_s)
    if work.dies == "end":
        os._exit(3)
    return work.number**2
