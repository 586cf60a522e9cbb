"""Fringes: light of sky lines interferes with itself between the faces of a thin layer of silicon.

Assembled float frames in electron; the layer is all one, whatever amplifiers read it.
"""

import numpy as np

# Lines of OH near 840 and 900 nm and of others between: groups that vary apart from each other (nm).
LINES = ((834.5, 839.9, 843.0), (886.8, 888.5, 892.0), (861.0, 865.6))
# Of silicon in the near infrared.
REFRACTIVE_INDEX = 3.65


def layer(shape, wedge_um=(0.5, 0.8), bump_um=0.25, mean_um=15.0):
    """The layer's thickness in micrometre (ny, nx): a wedge along columns and rows, and a bump."""
    y, x = np.linspace(-0.5, 0.5, shape[0])[:, None], np.linspace(-0.5, 0.5, shape[1])
    bump = np.exp(-((x - 0.1) ** 2 + (y + 0.2) ** 2) / 0.1)
    return mean_um + wedge_um[0] * y + wedge_um[1] * x + bump_um * bump


def interference(thickness_um, lines_nm):
    """How a pixel's share of the lines' light departs from one: a wave passes the layer there and back."""
    phase = [4 * np.pi * REFRACTIVE_INDEX * 1000 * thickness_um / line for line in lines_nm]
    return np.mean(np.cos(phase), axis=0)


def put_in_fringes(image, amplifiers, thickness_um, strengths):
    """The image with the fringes of each group of `LINES`, ``strengths`` electron strong."""
    groups = zip(strengths, LINES, strict=False)
    return image + sum(strength * interference(thickness_um, lines) for strength, lines in groups)
