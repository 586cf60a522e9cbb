"""Where corrected inputs wait to be combined: in memory as far as that is allowed, else in files."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isrcore_calib.combination import Frame
from isrcore_calib.faults import MasterError

# Planes of float32 that may be needed at once besides the frames kept: to correct and look at the next frame
# (measured, see test_calibrate_memory.py), or to finish a master: its planes and what is written.
_WORK_PLANES = 7


def resident() -> int:
    """Bytes of memory that this process has now; where the system does not say, the most it ever had."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Store:
    """Keeps frames so that the process stays within ``memory`` bytes, as far as one frame fits there."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder, self._memory, self._number = folder, memory, 0

    def keep(self, planes: npt.NDArray[np.float32], key: bytes) -> Frame:
        """A frame of these planes, with a key of its own. Raises `MasterError` when the disk is full."""
        frame = Frame.of(planes, key=key)
        if self.room(planes[0].nbytes) >= 0:
            return frame
        self._number += 1
        try:
            return frame.stored(self._folder / f"{self._number}.planes")
        except OSError as fault:
            raise MasterError(
                f"corrected inputs cannot be kept in {str(self._folder.parent)!r}: {fault}"
                "\n  free space there, or allow more --memory"
            ) from fault

    def room(self, plane_bytes: int) -> int:
        """Bytes left when what work on planes of this size needs is set aside; negative without any."""
        return self._memory - resident() - _WORK_PLANES * plane_bytes
