"""How much of a template is in an image that holds sky, stars and noise too: a line without outliers."""

from __future__ import annotations

import math

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import statistics

Values = npt.NDArray[np.float64]

_NUM_SIGMA = 3.0
_MAX_PASSES = 10


@attrs.frozen
class LineFit:
    """image = offset + slope · template on ``count`` pixels; ``error`` is the slope's standard error."""

    slope: float
    offset: float
    error: float
    count: int


def fit_line(template: Values, image: Values) -> LineFit | None:
    """Least squares on the pixels within three widths of the line; None where the template does not vary.

    Pairs of finite values, in any order, with the same result to the bit. The first line is the one with the
    least sum of absolute distances among those through the medians, which a star does not move however bright
    it is (weighted median of slopes, Edgeworth 1888, Phil. Mag. 25, 184). Then the pixels within three widths
    of the line, told from its quartiles, give the next one, until they stay the same.
    """
    slope = _median_slope(template, image) if template.size else math.nan
    near, found = np.zeros(template.shape, bool), None
    for _ in range(_MAX_PASSES):
        before, near = near, _near(template, image, slope)
        if np.array_equal(near, before):
            break
        found = _least_squares(template[near], image[near])
        if found is None:
            return None
        slope = found.slope
    return found


def _median_slope(template: Values, image: Values) -> float:
    """The weighted median of slopes from the medians to all pixels; NaN for a template of one value."""
    x, y = template - np.median(template), image - np.median(image)
    x, y = x[x != 0], y[x != 0]
    weight, slopes = np.abs(x), y / x
    # By weight too: equal slopes must not be summed in the order of their pixels.
    order = np.lexsort((weight, slopes))
    total = np.cumsum(weight[order])
    return float(slopes[order][np.searchsorted(total, total[-1] / 2)]) if total.size else math.nan


def _near(template: Values, image: Values, slope: float) -> npt.NDArray[np.bool_]:
    """The pixels within three widths of the line; none for a slope of NaN."""
    if math.isnan(slope):
        return np.zeros(template.shape, bool)
    residual = image - slope * template
    low, middle, high = statistics.quartiles(residual)
    # Without noise the residuals are what rounding to float32 leaves.
    rounding = 4 * float(np.finfo(np.float32).eps) * float(np.abs(image).max())
    width = max(_NUM_SIGMA * statistics.SIGMA_PER_IQR * (high - low), rounding)
    return np.asarray(np.abs(residual - middle) <= width)


def _least_squares(template: Values, image: Values) -> LineFit | None:
    """The line through these pixels; None for fewer than three, or a template of one value."""
    n = template.size
    if n < 3 or template.min() == template.max():
        return None
    centre, level = _sum(template) / n, _sum(image) / n
    x, y = template - centre, image - level
    spread = _sum(x * x)
    slope = _sum(x * y) / spread
    error = math.sqrt(_sum((y - slope * x) ** 2) / (n - 2) / spread)
    return LineFit(slope, level - slope * centre, error, n)


def _sum(terms: Values) -> float:
    """A sum that does not depend on the order of its terms."""
    return float(np.sort(terms).sum())
