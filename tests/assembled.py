"""Assembled exposures and calibration frames of tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from isrcore import Detector, Exposure, MaskedImage

FACTS = frozenset({"assembled", "converted", "levels-known"})


def assembled(detector: Detector, image: Any, variance: Any = 0.0, mask: Any = 0, **values: Any) -> Exposure:
    """An exposure of the detector: numbers become frames of one value, float32."""
    planes = (np.broadcast_to(plane, detector.shape) for plane in (image, mask, variance))
    types = (np.float32, np.int32, np.float32)
    arrays = (plane.astype(dtype) for plane, dtype in zip(planes, types, strict=True))
    return Exposure(MaskedImage(*arrays), detector, facts=FACTS, **values)


def rms(values: Any) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, float)))))
