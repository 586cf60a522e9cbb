"""The executor for real frames: the reference's code on bands of rows that stay in cache."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.kernels.bands import map_bands, row_bands
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
        """Do the work; returns numbers of pixels that `Work.counters` tells apart."""
        known_ones = [p.op.is_known for p in work.placed for _ in range(p.op.counters)]
        is_known = np.array(known_ones, dtype=bool)
        flagged = np.zeros(len(is_known), np.int64)
        banded = tuple(expanded(p, self.rows) for p in work.placed if not p.op.is_known)
        flagged[~is_known] = self._spread(attrs.evolve(work, placed=banded), self.rows)
        known = Work(work.target, tuple(p for p in work.placed if p.op.is_known))
        flagged[is_known] = self._spread(known, -(-work.height // self.threads))
        return flagged

    def _spread(self, work: Work, rows: int) -> npt.NDArray[np.int64]:
        """Do the work in bands of ``rows`` rows, shared among the threads."""

        def make_look() -> Callable[[slice], npt.NDArray[np.int64]]:
            scratch = np.empty(rows * work.width, np.float32)
            return lambda band: run_rows(work, band.start, band.stop, scratch)

        counts = map_bands(row_bands(work.height, rows), make_look, self.threads)
        return sum(counts, start=np.zeros(sum(p.op.counters for p in work.placed), np.int64))
