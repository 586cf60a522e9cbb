"""Memory for large planes that is used again when nobody holds a plane any more.

The system hands out new memory page by page, filled with zeros, at the first write: for planes of tens of
megabytes that takes a third of the time of correcting them. Allocators keep smaller blocks for that reason;
a plane of a large CCD is above their limit.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

# Smaller blocks are kept by the allocator itself.
_WORTHWHILE = 1 << 20


class PlanePool:
    """Hands out arrays and takes their memory back once the last view of it is gone.

    At most ``limit`` blocks of one size lie idle: the planes of one product and one more. Memory may come
    back at any moment, on any thread; a list's append and pop are safe then.
    """

    def __init__(self, limit: int = 4) -> None:
        self._limit = limit
        self._idle: dict[int, list[npt.NDArray[np.uint8]]] = {}

    def empty(self, shape: tuple[int, int], dtype: Any) -> npt.NDArray[Any]:
        """A new array whose pixels are arbitrary."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size < _WORTHWHILE:
            return np.empty(shape, dtype)
        block = self._block(size)
        # Views of an array refer to its owner, so the array cannot tell when they are gone; this can.
        lease = (ctypes.c_ubyte * size).from_buffer(block)
        weakref.finalize(lease, self._take_back, block).atexit = False
        return np.frombuffer(lease, dtype).reshape(shape)

    def _block(self, size: int) -> npt.NDArray[np.uint8]:
        """An idle block of that size, else a new one."""
        try:
            return self._idle[size].pop()
        except LookupError:
            return np.empty(size, np.uint8)

    def _take_back(self, block: npt.NDArray[np.uint8]) -> None:
        """Keep a block for the next array, unless there are enough."""
        idle = self._idle.setdefault(block.size, [])
        if len(idle) < self._limit:
            idle.append(block)


def keep_freed_memory() -> None:
    """Have this process keep memory that it frees, for its next planes, where the C library can be told to.

    glibc returns planes to the system as soon as they are freed, and the system must clear every page of the
    next ones: a third of the time of a run over many detectors. For programs of our own, not for libraries:
    the setting is that of the whole process.
    """
    # malloc.h: M_MMAP_MAX and M_TRIM_THRESHOLD.
    mmap_max, trim_threshold = -4, -1
    with suppress(OSError, AttributeError, TypeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(mmap_max, 0)
        adjust(trim_threshold, 2**31 - 1)
