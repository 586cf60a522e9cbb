"""Crosstalk as electronics make it: outputs that are read at the same moment leak into each other."""

import numpy as np


def add_crosstalk(image, amplifiers, linear, quadratic=None):
    """The image (adu, assembled) with what every amplifier's true signal leaves in the others, in float64.

    ``amplifiers`` are dicts with ``box`` (y0, y1, x0, x1) and ``corner`` (LL, LR, UL, UR: where reading
    starts, default LL), all of one size; ``linear[i][j]`` is what of the signal of amplifier j arrives in i,
    and ``quadratic[i][j]``, per adu, what of its square.
    """
    image = np.asarray(image, np.float64)
    views = [image[y0:y1, x0:x1] for y0, y1, x0, x1 in (amp["box"] for amp in amplifiers)]
    times = [
        _samples(view.shape, amp.get("corner", "LL")) for view, amp in zip(views, amplifiers, strict=True)
    ]
    # signals[j][t]: what output j holds at the moment of sample t.
    signals = np.array([view.reshape(-1)[time] for view, time in zip(views, times, strict=True)])
    arriving = np.asarray(linear) @ signals
    if quadratic is not None:
        arriving += np.asarray(quadratic) @ signals**2
    disturbed = image.copy()
    for (y0, y1, x0, x1), time, extra in zip(
        (amp["box"] for amp in amplifiers), times, arriving, strict=True
    ):
        added = np.empty(extra.size)
        added[time] = extra
        disturbed[y0:y1, x0:x1] += added.reshape(y1 - y0, x1 - x0)
    return disturbed


def _samples(shape, corner):
    """Which pixel, in reading order of the image, is read at each moment: row by row from the corner."""
    ny, nx = shape
    t = np.arange(ny * nx)
    y, x = t // nx, t % nx
    y = ny - 1 - y if corner[0] == "U" else y
    x = nx - 1 - x if corner[1] == "R" else x
    return y * nx + x
