"""What every step must keep, whichever way a detector is laid out: checks on one drawn case each."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from isrcore.camera import EMPTY, Amplifier, Detector
from isrcore.defects import Defects
from isrcore.exposure import Exposure
from isrcore.geometry import Box
from isrcore.image import MaskedImage
from isrcore.step import PixelStep
from isrcore.testing.alike import breach_of_same
from isrcore.testing.mirror import RAW_BOXES, Mirror
from isrcore.testing.step_cases import Case
from isrcore.testing.step_checks import boxes_of, differ, fail


def check_amplifiers_are_independent(case: Case, data: st.DataObject) -> None:
    """A step per amplifier does not let one amplifier's pixels change another's."""
    step = case.subject.step
    boxes = boxes_of(case)
    if not (issubclass(step, PixelStep) and step.per == "amplifier") or len(boxes) < 2:
        return
    changed = data.draw(st.integers(0, len(boxes) - 1))

    def shift(pixels: MaskedImage) -> None:
        part = pixels.image[boxes[changed].slices]
        part[...] = part // 2 + 37

    first, second = case.run().pixels, case.with_pixels(shift).run().pixels
    changes = differ(first, second)
    names = case.exposure.detector.amplifier_names
    for index, box in enumerate(boxes):
        if index != changed and changes[box.slices].any():
            fail(
                case,
                f"runs per amplifier, but pixels of amplifier {names[changed]!r} change amplifier"
                f" {names[index]!r}",
                "read view.pixels(view.box) only, or declare per = 'detector'",
            )


def check_order_of_amplifiers(case: Case, data: st.DataObject) -> None:
    """The order in which a camera lists its amplifiers is of no consequence."""
    detector = case.exposure.detector
    order = data.draw(st.permutations(detector.amplifiers))
    other = case.with_exposure(detector=attrs.evolve(detector, amplifiers=tuple(order)))
    breach = breach_of_same(case.run().pixels, other.run().pixels)
    if breach:
        fail(
            case,
            f"depends on the order in which amplifiers are listed: {breach}",
            "find amplifiers by name or box, never by their place in detector.amplifiers",
        )


def check_reversed(case: Case, data: st.DataObject) -> None:
    """A frame with its rows or columns reversed gives the reversed result."""
    flip_y, flip_x = data.draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    what = {(True, False): "rows", (False, True): "columns"}.get((flip_y, flip_x), "rows and columns")
    _check_turned(case, Mirror(False, flip_y, flip_x), f"{what} reversed")


def check_exchanged(case: Case, data: st.DataObject) -> None:
    """A frame with rows and columns exchanged gives the result with rows and columns exchanged."""
    _check_turned(case, Mirror(True, False, False), "rows and columns exchanged")


def _check_turned(case: Case, mirror: Mirror, what: str) -> None:
    shape = case.exposure.detector.shape
    inputs = {kind: mirror.input(value, shape) for kind, value in case.inputs.items()}
    turned = attrs.evolve(case, exposure=mirror.exposure(case.exposure), inputs=inputs)
    if breach := breach_of_same(mirror.pixels(case.run().pixels), turned.run().pixels):
        fail(
            case,
            f"gives another result on a frame with {what}: {breach}",
            "find places by boxes of amplifiers and their readout_corner, never by absolute pixel numbers",
        )


def check_windows(case: Case, data: st.DataObject) -> None:
    """Running a window equals the window of the run, away from the window's edges by reach."""
    reach = case.planned().spec.reach
    if reach is None or case.is_moving or not case.subject.is_assembled:
        return
    window = data.draw(_windows(case.exposure.shape))
    cut = attrs.evolve(
        case,
        exposure=cut_exposure(case.exposure, window),
        inputs={kind: _cut_input(value, window) for kind, value in case.inputs.items()},
    )
    inner = _inner(window, case.exposure.shape, reach)
    if not inner.area:
        return
    whole, part = case.run().pixels.window(inner), cut.run().pixels.window(inner.relative_to(window))
    if breach := breach_of_same(whole, part):
        fail(
            case,
            f"gives another result for the window {window.to_section()} of the frame alone: {breach}",
            "let a pixel's result depend on pixels within reach only, not on its place or the frame's size",
        )


@st.composite
def _windows(draw: st.DrawFn, shape: tuple[int, int]) -> Box:
    """Windows of at least three pixels a side."""
    y, x = (draw(st.integers(0, side - 3)) for side in shape)
    return Box(y, draw(st.integers(y + 3, shape[0])), x, draw(st.integers(x + 3, shape[1])))


def _inner(window: Box, shape: tuple[int, int], reach: int) -> Box:
    """The part of a window that nothing outside of it reaches; the edges of the frame are no edges of it."""
    y0, x0 = window.y0 + reach * (window.y0 > 0), window.x0 + reach * (window.x0 > 0)
    y1, x1 = window.y1 - reach * (window.y1 < shape[0]), window.x1 - reach * (window.x1 < shape[1])
    return Box(y0, max(y0, y1), x0, max(x0, x1))


def cut_exposure(exposure: Exposure, window: Box) -> Exposure:
    """An assembled exposure of the pixels in ``window`` alone, as of a smaller detector."""
    pixels = exposure.pixels.window(window).copy()
    return attrs.evolve(exposure.share(), pixels=pixels, detector=_cut_detector(exposure.detector, window))


def _cut_detector(detector: Detector, window: Box) -> Detector:
    """A detector of the pixels in ``window``, with the amplifiers that have some of them."""
    amplifiers = tuple(
        _cut_amplifier(amp, amp.box.intersect(window).relative_to(window))
        for amp in detector.amplifiers
        if amp.box.intersect(window).area
    )
    return attrs.evolve(detector, shape=window.shape, raw_shape=window.shape, amplifiers=amplifiers)


def _cut_amplifier(amp: Amplifier, box: Box) -> Amplifier:
    """An amplifier that wrote nothing but the pixels in ``box``."""
    margins: dict[str, Any] = dict.fromkeys(RAW_BOXES[2:], EMPTY)
    return attrs.evolve(amp, box=box, raw_box=box, raw_data_box=box, flip_y=False, flip_x=False, **margins)


def _cut_input(value: Any, window: Box) -> Any:
    """A calibration of the pixels in ``window``; what knows no places stays as it is."""
    if isinstance(value, Exposure):
        return cut_exposure(value, window)
    if isinstance(value, Defects):
        parts = (box.intersect(window) for box in value)
        return Defects([part.relative_to(window) for part in parts if part.area])
    if isinstance(value, tuple | list):
        return type(value)(_cut_input(one, window) for one in value)
    return value
