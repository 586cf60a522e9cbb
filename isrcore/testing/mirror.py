"""Frames turned: rows and columns exchanged or reversed, with everything that describes them."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from isrcore.camera import Amplifier, Detector
from isrcore.defects import Defects
from isrcore.exposure import Exposure
from isrcore.geometry import Box
from isrcore.image import MaskedImage
from isrcore.linearity import LinearityCurve, Linearizer

RAW_BOXES = ("raw_box", "raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")


def with_other_amplifiers(detector: Detector) -> Detector:
    """The same detector with its amplifiers listed the other way round, under other names."""
    renamed = (attrs.evolve(amp, name=f"{amp.name}'") for amp in reversed(detector.amplifiers))
    return attrs.evolve(detector, amplifiers=tuple(renamed))


@attrs.frozen
class Mirror:
    """Exchange rows and columns, or not, then reverse rows, columns, both or none."""

    is_transposed: bool
    flip_y: bool
    flip_x: bool

    def array(self, array: Any) -> Any:
        """An array turned, in memory of its own."""
        turned = array.T if self.is_transposed else array
        return np.ascontiguousarray(turned[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1])

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The shape of a turned array."""
        return shape[::-1] if self.is_transposed else shape

    def box(self, box: Box, shape: tuple[int, int]) -> Box:
        """A box in an array of this shape, turned; an empty one stays as it is."""
        if not box.area:
            return box
        turned = box.transpose() if self.is_transposed else box
        return turned.flip(self.shape(shape), self.flip_y, self.flip_x)

    def pixels(self, pixels: MaskedImage) -> MaskedImage:
        """All three planes turned."""
        image, mask, variance = map(self.array, (pixels.image, pixels.mask, pixels.variance))
        return MaskedImage(image, mask, variance, pixels.planes)

    def amplifier(self, amp: Amplifier, detector: Detector) -> Amplifier:
        """An amplifier of the detector, with all its boxes turned."""
        corner = self.corner(amp.readout_corner)
        flips = (amp.flip_x, amp.flip_y) if self.is_transposed else (amp.flip_y, amp.flip_x)
        raw: dict[str, Any] = {name: self.box(getattr(amp, name), detector.raw_shape) for name in RAW_BOXES}
        box = self.box(amp.box, detector.shape)
        return attrs.evolve(amp, box=box, flip_y=flips[0], flip_x=flips[1], readout_corner=corner, **raw)

    def corner(self, corner: str) -> str:
        """The readout corner, which moves with the box."""
        is_upper, is_right = corner[0] == "U", corner[1] == "R"
        is_upper, is_right = (is_right, is_upper) if self.is_transposed else (is_upper, is_right)
        return "LU"[is_upper != self.flip_y] + "LR"[is_right != self.flip_x]

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A place in the focal plane, which is mirrored at its axes."""
        x, y = (y, x) if self.is_transposed else (x, y)
        return -x if self.flip_x else x, -y if self.flip_y else y

    def pixel(self, x: float, y: float, shape: tuple[int, int]) -> tuple[float, float]:
        """A place on an array of this shape before it is turned."""
        x, y = (y, x) if self.is_transposed else (x, y)
        ny, nx = self.shape(shape)
        return nx - 1 - x if self.flip_x else x, ny - 1 - y if self.flip_y else y

    def detector(self, detector: Detector) -> Detector:
        """The detector with its amplifiers and its place in the focal plane."""
        is_odd = (self.is_transposed + self.flip_y + self.flip_x) % 2
        return attrs.evolve(
            detector,
            offset_mm=self.point(*detector.offset_mm),
            reference_pixel=self.pixel(*detector.reference_pixel, detector.shape),
            # A mirrored turn goes the other way; mirrored twice it is itself again.
            yaw_deg=-detector.yaw_deg if is_odd else detector.yaw_deg,
            shape=self.shape(detector.shape),
            raw_shape=self.shape(detector.raw_shape),
            amplifiers=tuple(self.amplifier(amp, detector) for amp in detector.amplifiers),
        )

    def exposure(self, exposure: Exposure) -> Exposure:
        """The exposure turned: pixels and detector."""
        detector = self.detector(exposure.detector)
        return attrs.evolve(exposure.share(), pixels=self.pixels(exposure.pixels), detector=detector)

    def curve(self, curve: LinearityCurve, shape: tuple[int, int]) -> LinearityCurve:
        """The curve of an amplifier, which knows where it is."""
        return curve if curve.box is None else attrs.evolve(curve, box=self.box(curve.box, shape))

    def input(self, value: Any, shape: tuple[int, int]) -> Any:
        """A calibration turned; values that do not depend on places stay as they are."""
        if isinstance(value, Defects):
            return Defects([self.box(box, shape) for box in value])
        if isinstance(value, Linearizer):
            curves = {name: self.curve(curve, shape) for name, curve in value.amplifiers.items()}
            return attrs.evolve(value, amplifiers=curves)
        if isinstance(value, tuple):
            return tuple(self.input(one, shape) for one in value)
        return self.exposure(value) if isinstance(value, Exposure) else value
