"""The executor for real frames: the reference's code on bands of rows that stay in cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.kernels.reference import Work, run_rows

Executor = Callable[[Work], npt.NDArray[np.int64]]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@attrs.frozen
class Tiled:
    """Runs work in bands of ``rows`` rows over the full width, on ``threads`` threads.

    The result is that of `reference.execute` to the bit for any band height and number of threads: every
    operation of a segment works row by row. Flags known beforehand are set on the whole frame, afterwards:
    no operation reads the mask, and a box is cheaper to set once than once per band.
    """

    # 128 rows of 2048 float32 pixels are a megabyte per plane: in cache, with few calls per frame.
    rows: int = 128
    threads: int = 1

    def __call__(self, work: Work) -> npt.NDArray[np.int64]:
        """Do the work; returns how many pixels each operation flagged."""
        banded = attrs.evolve(work, placed=tuple(p for p in work.placed if not p.op.is_static))
        static = attrs.evolve(work, placed=tuple(p for p in work.placed if p.op.is_static), gathers=())
        flagged = np.zeros(len(work.placed), np.int64)
        is_static = np.array([p.op.is_static for p in work.placed], dtype=bool)
        flagged[~is_static] = self._run_bands(banded)
        flagged[is_static] = run_rows(static, 0, work.height, np.empty(0, np.float32))
        return flagged

    def map(self, function: Callable[[_In], _Out], items: Iterable[_In]) -> list[_Out]:
        """The function's result for every item, in order, worked out on the threads."""
        work = list(items)
        if self.threads == 1 or len(work) < 2:
            return [function(item) for item in work]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, work))

    def _run_bands(self, work: Work) -> npt.NDArray[np.int64]:
        """Do the work band by band, shared among the threads."""
        bands = range(0, work.height, self.rows)
        if self.threads == 1 or len(bands) < 2:
            return self._run(work, bands)
        # Each thread gets neighbouring bands: two that fill one new page of memory wait for each other.
        size = -(-len(bands) // self.threads)
        shares = [bands[start : start + size] for start in range(0, len(bands), size)]
        counts = self.map(lambda share: self._run(work, share), shares)
        return np.asarray(np.sum(counts, axis=0), dtype=np.int64)

    def _run(self, work: Work, bands: range) -> npt.NDArray[np.int64]:
        """The bands that start at the given rows, one after the other."""
        scratch = np.empty(self.rows * work.width, np.float32)
        flagged = np.zeros(len(work.placed), np.int64)
        for y0 in bands:
            flagged += run_rows(work, y0, min(y0 + self.rows, work.height), scratch)
        return flagged
