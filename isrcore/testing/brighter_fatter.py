"""Hypothesis strategies for kernels of the brighter-fatter effect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from isrcore.brighter_fatter import BrighterFatterKernel
from isrcore.camera import Detector


@st.composite
def kernel_weights(
    draw: st.DrawFn, shape: tuple[int, int] | None = None, strength: float = 3e-8
) -> npt.NDArray[np.float64]:
    """Kernels of 3 or 5 pixels a side, per electron, strongest in the middle; without any symmetry.

    ``strength`` is what the middle pixel weighs, at most and with a negative sign. With 3e-8, 200,000
    electron move boundaries by less than a hundredth of a pixel.
    """
    ky, kx = shape or (draw(st.sampled_from([3, 5])), draw(st.sampled_from([3, 5])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y, x = np.mgrid[:ky, :kx]
    falling = 1.0 / (1.0 + (y - ky // 2) ** 2 + (x - kx // 2) ** 2)
    weights: npt.NDArray[np.float64] = -strength * falling * rng.uniform(0.3, 1.0, (ky, kx))
    return weights


@st.composite
def kernels(draw: st.DrawFn, detector: Detector) -> BrighterFatterKernel:
    """Kernels of a detector and of each of its amplifiers, of one shape, without gains."""
    common = draw(kernel_weights())
    shape = common.shape[0], common.shape[1]
    own = {name: draw(kernel_weights(shape)) for name in detector.amplifier_names}
    return BrighterFatterKernel(common, own, detector_name=draw(st.sampled_from(["", detector.name])))


def gains(detector: Detector) -> st.SearchStrategy[dict[str, float] | None]:
    """Gains (electron/adu) of every amplifier, or none."""
    one = st.floats(0.5, 4.0, width=32)
    return st.none() | st.fixed_dictionaries(dict.fromkeys(detector.amplifier_names, one))
