"""Light that reached the detector beside the optics: the halo of a lamp at the edge of the camera.

Assembled float frames in adu. Neither flat nor filter had to do with it.
"""

import numpy as np


def halo(shape, rate=5.0, centre=(-0.1, 0.3), width=0.4):
    """Adu per second of a lamp outside the frame, falling off as a Lorentzian, and a little everywhere."""
    y, x = np.linspace(0, 1, shape[0])[:, None], np.linspace(0, 1, shape[1])
    distance = np.hypot(y - centre[0], x - centre[1]) / width
    return rate * (0.05 + 1.0 / (1.0 + distance**2))


def put_in_stray_light(image, amplifiers, rates, seconds):
    """The image after the lamp shone for so long."""
    return image + rates * seconds
