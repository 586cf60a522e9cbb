"""A flat field that is wrong on large scales: stray light of its lamp went where no star's light goes.

Assembled float frames, adu or electron alike; they stay what they were before the true flat was put in.
"""

import numpy as np


def scattered_light(shape, amount=0.1, centre=(0.4, 0.6), width=0.5):
    """What scattered light adds to a flat field, as a fraction of it: a broad bump (ny, nx)."""
    y, x = np.linspace(0, 1, shape[0])[:, None], np.linspace(0, 1, shape[1])
    return amount * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * width**2))


def put_in_illumination(image, amplifiers, scattered):
    """The image as that flat field leaves it: F (1 + s) where F would be right makes stars too faint."""
    return image / (1.0 + scattered)
