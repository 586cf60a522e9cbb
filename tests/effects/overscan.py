"""Offsets that electronics add while a frame is read out: a jump along its rows, a pattern of its columns."""

import numpy as np


def add_offsets(raw, amplifiers, *, jump=0.0, jump_row=0, column_drift=0.0):
    """Change a raw frame (float, adu, not yet rounded) in place, in all that the amplifiers write.

    Rows from ``jump_row`` on get ``jump`` adu, column x of nx gets column_drift cos(pi x/nx) adu.
    """
    ny, nx = raw.shape
    rows = np.where(np.arange(ny) < jump_row, 0.0, jump)
    columns = column_drift * np.cos(np.pi * np.arange(nx) / nx)
    for amp in amplifiers:
        y0, y1, x0, x1 = amp["raw"]
        raw[y0:y1, x0:x1] += rows[y0:y1, None] + columns[None, x0:x1]
    return raw
