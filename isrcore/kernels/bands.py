"""Work on bands of rows, shared among threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

B = TypeVar("B")
R = TypeVar("R")

# More would wait for memory.
MOST_THREADS = 4


def usual_threads() -> int:
    """How many threads work on pixels when nobody says: the cores this process may use, at most four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)


def row_bands(height: int, rows: int) -> list[slice]:
    """Slices of ``rows`` rows that cover ``height`` rows; the last one may be smaller."""
    return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]


def map_bands(bands: Sequence[B], make_look: Callable[[], Callable[[B], R]], threads: int) -> list[R]:
    """What a look at every band gives, in order of the bands, whoever looked at which.

    Bands are rows or whatever else an image falls into.
    ``make_look`` is called once by every thread, for memory of its own. The calling thread works too:
    it is awake, and its core has the data at hand.
    """
    # All take from one supply: a thread whose core is busy elsewhere leaves its bands to the others.
    left, found = iter(enumerate(bands)), dict[int, R]()

    def work() -> None:
        look = make_look()
        for number, band in left:
            found[number] = look(band)

    if threads == 1:
        work()
    else:
        with ThreadPoolExecutor(threads - 1) as pool:
            others = [pool.submit(work) for _ in range(threads - 1)]
            work()
            for other in others:
                other.result()
    return [found[number] for number in range(len(bands))]
