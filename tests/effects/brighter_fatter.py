"""Charge that pushes charge away while it collects, slice of time after slice of time, in plain numpy."""

import numpy as np


def push_charge(light, amplifiers, kernel, slices=30):
    """What pixels collect of ``light``, assembled, in electron; float64.

    Where a unit charge is, the potential around it is ``kernel`` (ky, kx); its pixel (ky // 2 + dy, kx // 2 +
    dx) is what charge at (y + dy, x + dx) does at (y, x). A side of a pixel moves by the difference of the
    potential across it, in pixels, and takes the charge that lands there along: light is linear from the
    middle of one pixel to the next. Nothing comes or goes at the detector's edges. Amplifiers do not matter.
    """
    collected = np.zeros(np.shape(light))
    arriving = np.asarray(light, float) / slices
    for _ in range(slices):
        # Half of what arrives in a slice is there on average while it does.
        potential = weigh(kernel, collected + arriving / 2)
        collected += arriving
        for axis in (0, 1):
            moved = np.diff(np.moveaxis(potential, axis, 0), axis=0)
            beside = np.moveaxis(arriving, axis, 0)
            moved *= (beside[1:] + beside[:-1]) / 2
            target = np.moveaxis(collected, axis, 0)
            target[1:] += moved
            target[:-1] -= moved
    return collected


def weigh(kernel, charge):
    """The sum of charges around every pixel, each times its weight."""
    (ky, kx), (ny, nx) = np.shape(kernel), charge.shape
    padded = np.pad(charge, ((ky // 2, ky // 2), (kx // 2, kx // 2)))
    return sum(kernel[y][x] * padded[y : y + ny, x : x + nx] for y in range(ky) for x in range(kx))
