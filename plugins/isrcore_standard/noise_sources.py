"""How much of every variance each source of noise brought in, found by following a run's operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    Affine,
    Applied,
    Box,
    Divide,
    MaskedImage,
    NotInvertible,
    Op,
    SetVariance,
    Subtract,
    apply_op,
)
from isrcore_standard.variance import VarianceMeasurement

Numbers = npt.NDArray[np.float64]

#: Steps whose frames bring in noise, and what their contribution is called: all have their own names.
FRAMES = ("bias", "dark", "flat", "illumination")

#: Everything that is told apart.
SOURCES = ("read", "poisson", "overscan", *FRAMES)


@attrs.frozen(eq=False)
class Rule:
    """V' = scale·V + own: what an operation does to variances, given the image before and after it."""

    scale: Any
    own: Any = 0.0


def contributions(
    image: npt.NDArray[Any], applied: Iterable[Applied], box: Box, known: VarianceMeasurement | None
) -> dict[str, Any]:
    """Contributions of all sources to the variances in ``box``, whose final image is given.

    Numbers or arrays of the box's shape, in the square of the image's unit. ``known`` is what the step
    that set the variances takes a pixel's read noise to be; None when nobody knows: then overscan and bias
    are not told apart. All are zero when the variances were not set by these operations.
    """
    found: dict[str, Any] = dict.fromkeys(SOURCES, 0.0)
    ops = [(one.step, op) for one in applied if (op := one.on(box)) is not None]
    setters = [place for place, (_, op) in enumerate(ops) if isinstance(op, SetVariance)]
    if not setters:
        return found
    later = ops[setters[-1] + 1 :]
    with np.errstate(all="ignore"):
        images = _images([op for _, op in later], image.astype(np.float64))
        found |= _at_first(ops[setters[-1]][1], images[0], known)
        for (step, op), before, after in zip(later, images[:-1], images[1:], strict=True):
            rule = rule_of(op, before, after, np.broadcast_to(sum(found.values()), image.shape))
            found = {name: value * rule.scale for name, value in found.items()}
            if step in FRAMES:
                found[step] = found[step] + rule.own
    return found


def _images(ops: Sequence[Op], image: Numbers) -> list[Numbers]:
    """The image before the first operation, after it, and so on; ``image`` is the last of them."""
    images = [image]
    for op in reversed(ops):
        images.append(image_before(op, images[-1]))
    return images[::-1]


def _at_first(op: Any, image: Numbers, known: VarianceMeasurement | None) -> dict[str, Any]:
    """What the variances consist of when they are set."""
    light = image / np.asarray(op.gain, np.float64)
    floor = np.asarray(op.floor, np.float64)
    if known is None:
        return {"poisson": light, "read": floor}
    # The noise of the first overscan is part of the floor, that of others comes before the frames'.
    overscans = max(known.overscans - 1, 0)
    overscan = _sum(op.planes[:overscans], floor - known.read_noise)
    return {
        "poisson": light,
        "read": known.read_noise,
        "overscan": overscan,
        "bias": _sum(op.planes[overscans:]),
    }


def _sum(operands: Iterable[Any], first: Any = 0.0) -> Any:
    return sum((np.asarray(operand, np.float64) for operand in operands), np.float64(first))


@singledispatch
def image_before(op: Any, image: Numbers) -> Numbers:
    """The image before an operation, from that after it; the same where nothing undoes the operation."""
    return _undone(op, image)


def _undone(op: Op, image: Numbers) -> Numbers:
    """What the operation's own inverse makes of the image."""
    try:
        inverse = op.inverse()
    except NotInvertible:
        return image
    return _applied(inverse, image, np.zeros(image.shape)).image.astype(np.float64)


@image_before.register
def _(op: Affine, image: Numbers) -> Numbers:
    return image * op.scale + op.offset if op.inverted else (image - op.offset) / op.scale


@image_before.register
def _(op: Subtract, image: Numbers) -> Numbers:
    return image + (-op.scale if op.inverted else op.scale) * op.frame.image.astype(np.float64)


@image_before.register
def _(op: Divide, image: Numbers) -> Numbers:
    flat = op.frame.image / np.float64(op.scale)
    return image / flat if op.inverted else image * flat


@singledispatch
def rule_of(op: Any, before: Numbers, after: Numbers, variance: Numbers) -> Rule:
    """The rule of an operation; for those that nobody described, tried out about ``variance``."""
    own = _applied(op, before, np.zeros(before.shape)).variance.astype(np.float64)
    some = np.where(variance > 0, variance, 1.0)
    return Rule((_applied(op, before, some).variance - own) / some.astype(np.float32), own)


@rule_of.register
def _(op: Affine, before: Numbers, after: Numbers, variance: Numbers) -> Rule:
    square = np.square(np.asarray(op.scale, np.float64))
    return Rule(1 / square if op.inverted else square)


@rule_of.register
def _(op: Subtract, before: Numbers, after: Numbers, variance: Numbers) -> Rule:
    own = op.scale**2 * op.frame.variance.astype(np.float64)
    return Rule(1.0, -own if op.inverted else own)


@rule_of.register
def _(op: Divide, before: Numbers, after: Numbers, variance: Numbers) -> Rule:
    flat, noise = op.frame.image.astype(np.float64), op.frame.variance.astype(np.float64)
    if op.inverted:
        return Rule((flat / op.scale) ** 2, -(before**2) * noise / op.scale**2)
    return Rule((op.scale / flat) ** 2, after**2 * noise / flat**2)


def _applied(op: Op, image: Numbers, variance: Numbers) -> MaskedImage:
    """Pixels after an operation."""
    pixels = MaskedImage.from_image(image.astype(np.float32), variance=variance.astype(np.float32))
    apply_op(op, pixels)
    return pixels
