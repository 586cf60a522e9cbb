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

    # 256 rows of 2048 float32 pixels are two megabytes per plane: still in the outer cache, and calls so
    # long that threads seldom wait for each other between them.
    rows: int = 256
    threads: int = 1

    def __call__(self, work: Work) -> npt.NDArray[np.int64]:
        """Do the work; returns how many pixels each operation flagged."""
        is_known = np.array([p.op.is_known for p in work.placed], dtype=bool)
        flagged = np.zeros(len(work.placed), np.int64)
        banded = tuple(expanded(p, self.rows) for p in work.placed if not p.op.is_known)
        flagged[~is_known] = self._run_bands(attrs.evolve(work, placed=banded))
        known = Work(work.target, tuple(p for p in work.placed if p.op.is_known))
        flagged[is_known] = run_rows(known, 0, work.height, np.empty(0, np.float32))
        return flagged

    def _run_bands(self, work: Work) -> npt.NDArray[np.int64]:
        """Do the work band by band, shared among the threads."""
        bands = iter(range(0, work.height, self.rows))
        if self.threads == 1:
            return self._run(work, bands)
        # All take from one supply: a thread whose core is busy elsewhere leaves its bands to the others.
        with ThreadPoolExecutor(self.threads) as pool:
            counts = list(pool.map(self._run, [work] * self.threads, [bands] * self.threads))
        return np.asarray(np.sum(counts, axis=0), dtype=np.int64)

    def _run(self, work: Work, bands: Iterator[int]) -> npt.NDArray[np.int64]:
        """The bands that start at the rows that ``bands`` still gives, one after the other."""
        scratch = np.empty(self.rows * work.width, np.float32)
        flagged = np.zeros(len(work.placed), np.int64)
        for y0 in bands:
            flagged += run_rows(work, y0, min(y0 + self.rows, work.height), scratch)
        return flagged
