"""Hypothesis strategies for fringe frames."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from isrcore.camera import Detector
from isrcore.exposure import Exposure
from isrcore.image import Float32, MaskedImage, MaskPlanes


@st.composite
def fringe_frames(draw: st.DrawFn, detector: Detector) -> Exposure | tuple[Exposure, ...]:
    """One fringe frame, or one to three of different patterns (trimmed geometry, float32, any scale).

    Their masks flag few pixels, some with a plane of their own, "RARE"; variances are not negative.
    """
    frames = [_frame(draw, detector, number) for number in range(draw(st.integers(1, 3)))]
    return frames[0] if len(frames) == 1 and draw(st.booleans()) else tuple(frames)


def _frame(draw: st.DrawFn, detector: Detector, number: int) -> Exposure:
    """One of them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    level, scale = draw(st.sampled_from([0.0, 1.0, 50.0])), draw(st.sampled_from([0.01, 1.0, 30.0]))
    image = (level + scale * waves(detector.shape, rng)).astype(np.float32)
    planes = MaskPlanes().with_planes({"RARE"})
    mask = np.zeros(detector.shape, np.int32)
    for name in ("BAD", "SAT", "RARE"):
        mask[rng.random(detector.shape) < 0.02] |= np.int32(planes.value(name))
    variance = (scale**2 * 1e-4 * rng.random(detector.shape)).astype(np.float32)
    pixels = MaskedImage(image, mask, variance, planes)
    facts = frozenset({"assembled"})
    return Exposure(pixels, detector, facts=facts, source=f"a fringe frame, number {number}")


def waves(shape: tuple[int, int], rng: np.random.Generator, shortest: float = 4.0) -> Float32:
    """A pattern of three waves in random directions, up to 20 pixels long, of unit amplitude in all."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    pattern = np.zeros(shape)
    for _ in range(3):
        angle, length, phase = rng.uniform(0, 2 * np.pi), rng.uniform(shortest, 20), rng.uniform(0, 2 * np.pi)
        pattern += np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length + phase) / 3
    return pattern.astype(np.float32)
