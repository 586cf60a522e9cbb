"""Offsets of amplifiers that no calibration knows of, in plain numpy."""

import numpy as np


def offset_amplifiers(image, amplifiers):
    """``image``, assembled, with the number "offset" of every amplifier added in its "box" (y0, y1, x0, x1).

    In the unit of the image, adu or electron. Offsets of mean zero, weighted by area, can be found from the
    image; what all amplifiers share cannot be told from the sky.
    """
    shifted = np.array(image, float)
    for amp in amplifiers:
        y0, y1, x0, x1 = amp["box"]
        shifted[y0:y1, x0:x1] += amp.get("offset", 0.0)
    return shifted
