"""The executor for real frames: the reference's code on bands of rows that stay in cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.kernels.joining import expanded
from isrcore.kernels.reference import Work, run_rows

Executor = Callable[[Work], npt.NDArray[np.int64]]


@attrs.frozen
class Tiled:
    """Runs work in bands of ``rows`` rows over the full width, on ``threads`` threads.

    The result is that of `reference.execute` to the bit for any band height and number of threads: every
    operation of a segment works row by row. Flags known beforehand are set on the whole frame, afterwards:
    no operation reads the mask, and a bad column is cheaper to set once than once per band.
    """

    # 96 rows of 2048 float32 pixels are 0.8 megabytes per plane: in cache, with few calls per frame.
    rows: int = 96
    threads: int = 1

    def __call__(self, work: Work) -> npt.NDArray[np.int64]:
        """Do the work; returns how many pixels each operation flagged."""
        is_known = np.array([p.op.is_known for p in work.placed], dtype=bool)
        flagged = np.zeros(len(work.placed), np.int64)
        banded = tuple(expanded(p, self.rows) for p in work.placed if not p.op.is_known)
        flagged[~is_known] = self._spread(attrs.evolve(work, placed=banded), self.rows)
        known = Work(work.target, tuple(p for p in work.placed if p.op.is_known))
        flagged[is_known] = self._spread(known, -(-work.height // self.threads))
        return flagged

    def _spread(self, work: Work, rows: int) -> npt.NDArray[np.int64]:
        """Do the work in bands of ``rows`` rows, shared among the threads."""
        starts = iter(range(0, work.height, rows))
        if self.threads == 1:
            return _run(work, rows, starts)
        # All take from one supply: a thread whose core is busy elsewhere leaves its bands to the others.
        # This thread works too: it is awake, and its core has the data at hand.
        with ThreadPoolExecutor(self.threads - 1) as pool:
            others = [pool.submit(_run, work, rows, starts) for _ in range(self.threads - 1)]
            mine = _run(work, rows, starts)
            return np.asarray(mine + sum(other.result() for other in others), dtype=np.int64)


def _run(work: Work, rows: int, starts: Iterator[int]) -> npt.NDArray[np.int64]:
    """The bands that start at the rows that ``starts`` still gives, one after the other."""
    scratch = np.empty(rows * work.width, np.float32)
    flagged = np.zeros(len(work.placed), np.int64)
    for y0 in starts:
        flagged += run_rows(work, y0, min(y0 + rows, work.height), scratch)
    return flagged
