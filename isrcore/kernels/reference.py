"""What each operation means, in numpy, and the executor that runs a whole frame at once.

`apply` changes image, mask and variance (float32, int32, float32 views of one shape) in place. ``rows`` says
which rows of the operation's operands they are, so the tiled executor runs this same code on bands.
``scratch`` is a flat float32 buffer of at least as many values. The result is how many pixels were flagged.
"""

from __future__ import annotations

from functools import cached_property, singledispatch
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.geometry import Box, Gather
from isrcore.image import Float32, Mask, MaskedImage, Pixels
from isrcore.kernels import curves, ops


@attrs.frozen(eq=False)
class Placed:
    """An operation and the rectangle of the image it belongs to."""

    op: ops.Op
    box: Box

    def through(self, gather: Gather) -> Placed | None:
        """The same operation after ``gather`` moved its pixels; None when it moved none of them."""
        common = self.box.intersect(gather.raw_box)
        if not common.area:
            return None
        local = common.relative_to(gather.raw_box).flip(gather.box.shape, gather.flip_y, gather.flip_x)
        op = self.op.window(common.relative_to(self.box)).flip(common.shape, gather.flip_y, gather.flip_x)
        return Placed(op, local.shift(gather.box.y0, gather.box.x0))


@attrs.frozen(eq=False)
class Work:
    """Pixels to read, where they go, and what is done to them there.

    With ``source`` None the operations change ``target`` in place; else the target's pixels are arbitrary
    before. ``sets_variance`` tells that every variance is set by the operations, so that the source's need
    not be read, ``has_gaps`` that the gathers leave pixels out, which become zero. ``masks`` are planes of
    the target's shape whose flags all pixels get besides.
    """

    target: MaskedImage
    placed: tuple[Placed, ...]
    source: MaskedImage | None = None
    gathers: tuple[Gather, ...] = ()
    sets_variance: bool = False
    has_gaps: bool = False
    masks: tuple[Mask, ...] = ()

    @property
    def height(self) -> int:
        """Rows of the target."""
        return self.target.shape[0]

    @property
    def width(self) -> int:
        """Columns of the target."""
        return self.target.shape[1]

    @cached_property
    def counters(self) -> tuple[slice, ...]:
        """Where the numbers of pixels that each operation returns are among those of all."""
        ends = np.cumsum([0, *(placed.op.counters for placed in self.placed)]).tolist()
        return tuple(slice(first, last) for first, last in pairwise(ends))

    @cached_property
    def _kernels(self) -> tuple[tuple[Any, ops.Op, Box, Float32, Mask, Float32], ...]:
        """Kernel, operation, rectangle and its three planes, looked up once for all bands."""
        found = []
        for placed in self.placed:
            part = self.target.window(placed.box)
            kernel = apply.dispatch(type(placed.op))
            found.append((kernel, placed.op, placed.box, part.image, part.mask, part.variance))
        return tuple(found)

    @cached_property
    def _moves(self) -> tuple[tuple[Box, Pixels, Pixels], ...]:
        """Rectangle, target view and source view of every plane that must be read."""
        if self.source is None:
            return ()
        pairs = [(self.target.image, self.source.image)]
        if not is_blank(self.source.mask):
            pairs.append((self.target.mask, self.source.mask))
        if not self.sets_variance:
            pairs.append((self.target.variance, self.source.variance))
        return tuple((g.box, to[g.box.slices], g.read(of)) for g in self.gathers for to, of in pairs)

    @cached_property
    def _zeroed(self) -> tuple[Pixels, ...]:
        """Planes of the target that start as zeros; the mask does not when masks are written over it."""
        if self.source is None:
            return ()
        if self.has_gaps:
            return self.target.image, self.target.mask, self.target.variance
        return (self.target.mask,) if is_blank(self.source.mask) and len(self.masks) < 2 else ()

    @cached_property
    def _unions(self) -> tuple[tuple[Mask, Mask], ...]:
        """Pairs of planes whose union becomes the target's mask, one after the other."""
        mask, masks = self.target.mask, self.masks
        starts_blank = self.source is not None and not self.has_gaps and is_blank(self.source.mask)
        if starts_blank and len(masks) > 1:
            return ((masks[0], masks[1]), *((mask, other) for other in masks[2:]))
        return tuple((mask, other) for other in masks)


def execute(work: Work) -> npt.NDArray[np.int64]:
    """Do the work on the whole frame at once; returns numbers of pixels that `Work.counters` tells apart."""
    scratch = np.empty(work.height * work.width, np.float32)
    return run_rows(work, 0, work.height, scratch)


def run_rows(work: Work, y0: int, y1: int, scratch: Float32) -> npt.NDArray[np.int64]:
    """Do the work on the target's rows ``y0 <= y < y1``, which depend on no other rows."""
    flagged = np.zeros(work.counters[-1].stop if work.counters else 0, np.int64)
    with np.errstate(all="ignore"):
        for plane in work._zeroed:
            plane[y0:y1].fill(0)
        for box, target, source in work._moves:
            rows = slice(max(y0 - box.y0, 0), max(min(y1, box.y1) - box.y0, 0))
            target[rows] = source[rows]
        for first_mask, second_mask in work._unions:
            np.bitwise_or(first_mask[y0:y1], second_mask[y0:y1], out=work.target.mask[y0:y1])
        counted = zip(work.counters, work._kernels, strict=True)
        for own, (kernel, op, box, image, mask, variance) in counted:
            first, last = max(y0, box.y0) - box.y0, min(y1, box.y1) - box.y0
            if first < last:
                rows = slice(first, last)
                flagged[own] = kernel(op, image[rows], mask[rows], variance[rows], rows, scratch)
    return flagged


def is_blank(mask: Mask) -> bool:
    """Whether the mask is the memory-free zero mask of a raw image."""
    return mask.strides == (0, 0) and not mask[:1, :1].any()


@singledispatch
def apply(op: Any, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32) -> int:
    """Do one operation in place; returns how many pixels it flagged."""
    raise TypeError(
        f"no kernel for operation '{type(op).__name__}'; register one with reference.apply.register"
    )


@attrs.frozen(eq=False)
class RowBlock:
    """A row operand repeated to as many equal rows as are worked on at a time."""

    values: Float32

    @cached_property
    def integers(self) -> npt.NDArray[np.int32]:
        """The same of whole numbers."""
        return self.values.astype(np.int32)


def _part(operand: Any, rows: slice) -> Any:
    """The rows of an operand; numbers and rows serve all of them."""
    if isinstance(operand, RowBlock):
        return operand.values[: rows.stop - rows.start]
    if isinstance(operand, np.ndarray):
        return operand if operand.shape[0] == 1 else operand[rows]
    return np.float32(operand)


def _integers(operand: Any, rows: slice) -> Any:
    """The rows of an operand of whole numbers, as such."""
    if isinstance(operand, RowBlock):
        return operand.integers[: rows.stop - rows.start]
    return np.asarray(_part(operand, rows), np.int32)


def _is(operand: Any, number: float) -> bool:
    """Whether an operand is this number."""
    return not isinstance(operand, np.ndarray | RowBlock) and bool(operand == number)


def _like(scratch: Float32, image: Float32) -> Float32:
    """A piece of scratch memory of the image's shape."""
    return scratch[: image.size].reshape(image.shape)


@apply.register
def _affine(
    op: ops.Affine, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    scale, offset = _part(op.scale, rows), _part(op.offset, rows)
    if op.inverted and not _is(op.offset, 0.0):
        np.subtract(image, offset, out=image)
    if not _is(op.scale, 1.0):
        rescale = np.divide if op.inverted else np.multiply
        rescale(image, scale, out=image)
        if not op.skips_variance:
            rescale(variance, scale * scale, out=variance)
    if not (op.inverted or _is(op.offset, 0.0)):
        np.add(image, offset, out=image)
    return 0


@apply.register
def _subtract(
    op: ops.Subtract, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    scale, spare = np.float32(op.scale), _like(scratch, image)
    change, grow = (np.add, np.subtract) if op.inverted else (np.subtract, np.add)
    change(image, _scaled(op.frame.image[rows], scale, spare), out=image)
    if not op.skips_variance:
        grow(variance, _scaled(op.frame.variance[rows], scale * scale, spare), out=variance)
    if not (op.inverted or op.skips_mask):
        np.bitwise_or(mask, op.frame.mask[rows], out=mask)
    return 0


def _scaled(frame: Float32, scale: np.float32, spare: Float32) -> Float32:
    """``scale`` times the frame, in ``spare``; the frame itself when there is nothing to scale."""
    return frame if scale == 1 else np.multiply(frame, scale, out=spare)


@apply.register
def _divide(
    op: ops.Divide, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    (_multiply_back if op.inverted else _divide_out)(op, image, variance, rows, _like(scratch, image))
    if not (op.inverted or op.skips_mask):
        np.bitwise_or(mask, op.frame.mask[rows], out=mask)
    return 0


def _divide_out(op: ops.Divide, image: Float32, variance: Float32, rows: slice, spare: Float32) -> None:
    scale, flat = np.float32(op.scale), op.frame.image[rows]
    if scale != 1:
        np.multiply(image, scale, out=image)
    np.divide(image, flat, out=image)
    if op.skips_variance:
        return
    if scale != 1:
        np.multiply(variance, scale * scale, out=variance)
    np.multiply(image, image, out=spare)
    np.multiply(spare, op.frame.variance[rows], out=spare)
    np.add(variance, spare, out=variance)
    np.multiply(flat, flat, out=spare)
    np.divide(variance, spare, out=variance)


def _multiply_back(op: ops.Divide, image: Float32, variance: Float32, rows: slice, spare: Float32) -> None:
    scale, flat = np.float32(op.scale), op.frame.image[rows]
    if not op.skips_variance:
        np.multiply(flat, flat, out=spare)
        np.multiply(variance, spare, out=variance)
        np.multiply(image, image, out=spare)
        np.multiply(spare, op.frame.variance[rows], out=spare)
        np.subtract(variance, spare, out=variance)
        np.divide(variance, scale * scale, out=variance)
    np.multiply(image, flat, out=image)
    np.divide(image, scale, out=image)


@apply.register
def _polynomial(
    op: ops.Polynomial, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    coefficients, slopes = ([_part(o, rows) for o in group] for group in (op.coefficients, op.slopes))
    spare = _like(scratch, image)
    if op.inverted:
        curves.invert_polynomial(coefficients, slopes, image)
    if not op.skips_variance:
        np.add(curves.horner(slopes, image, spare), np.float32(1), out=spare)
        _stretch(op, variance, spare)
    if not op.inverted:
        curves.horner(coefficients, image, spare)
        np.multiply(spare, image, out=spare)
        np.add(image, spare, out=image)
    return 0


def _stretch(op: ops.Arithmetic, variance: Float32, slope: Float32) -> None:
    """Multiply the variance by the square of the slope, or divide it by that; the slope is used up."""
    np.multiply(slope, slope, out=slope)
    (np.divide if op.inverted else np.multiply)(variance, slope, out=variance)


@apply.register
def _lookup(
    op: ops.Lookup, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> Any:
    table, grow = op.table, np.divide if op.inverted else np.multiply
    if op.inverted:
        curves.invert_lookup(table, _part(op.first, rows), _part(op.offset, rows), image)
    outside = np.zeros(op.owners, np.int64)
    for part, one, other, places in curves.in_chunks(image.shape, scratch):
        here = slice(rows.start + part.start, rows.start + part.stop)
        np.add(image[part], _part(op.offset, here), out=one)
        # Nothing needs to be looked for or cut off in a chunk that is inside as a whole, as most are.
        if not (one.min() > -1 and one.max() < table.length):
            outside += curves.count_outside(one, table.length, _integers(op.owner, here), op.owners)
            np.clip(one, np.float32(-1), np.float32(table.length), out=one)
        curves.to_places(one, _integers(op.first, here), other, places)
        if not op.skips_variance:
            grow(variance[part], table.growths.take(places, out=one, mode="clip"), out=variance[part])
        if not op.inverted:
            np.add(image[part], table.values.take(places, out=one, mode="clip"), out=image[part])
    return outside


@apply.register
def _piecewise(
    op: ops.Piecewise, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    table, scale = op.table, np.float32(op.table.scale)
    if op.inverted:
        curves.invert_lines(table, _part(op.first, rows), image)
    low, high = np.float32(table.start - 1), np.float32(table.start + table.length)
    for part, one, other, places in curves.in_chunks(image.shape, scratch):
        here = slice(rows.start + part.start, rows.start + part.stop)
        np.clip(np.multiply(image[part], scale, out=one), low, high, out=one)
        # The row's place is added to whole numbers: then no pixel's line depends on the row.
        curves.to_places(np.floor(one, out=one), _integers(op.first, here), other, places)
        table.slopes.take(places, out=one, mode="clip")
        if not op.inverted:
            np.multiply(image[part], one, out=image[part])
            np.add(image[part], table.intercepts.take(places, out=other, mode="clip"), out=image[part])
        if not op.skips_variance:
            _stretch(op, variance[part], one)
    return 0


@apply.register
def _set_variance(
    op: ops.SetVariance, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    np.divide(image, _part(op.gain, rows), out=variance)
    np.add(variance, _part(op.floor, rows), out=variance)
    for plane in op.planes:
        np.add(variance, _part(plane, rows), out=variance)
    return 0


def _flag(mask: Mask, bits: int, hit: npt.NDArray[np.bool_]) -> int:
    """Set bits where hit; returns how many pixels were."""
    # Few pixels are flagged as a rule: touching only those beats a pass over the mask.
    rows, columns = np.divmod(np.flatnonzero(hit), hit.shape[1])
    mask[rows, columns] |= np.int32(bits)
    return len(rows)


@apply.register
def _flag_above(
    op: ops.FlagAbove, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    # In scratch memory: asking the system for new memory in every band costs more than comparing.
    hit = scratch.view(np.bool_)[: image.size].reshape(image.shape)
    np.greater_equal(image, _part(op.level, rows), out=hit)
    return _flag(mask, op.bits, hit) if hit.any() else 0


@apply.register
def _flag_non_finite(
    op: ops.FlagNonFinite, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    good = np.isfinite(image)
    good &= np.isfinite(variance)
    return 0 if good.all() else _flag(mask, op.bits, ~good)


@apply.register
def _flag_non_positive_variance(
    op: ops.FlagNonPositiveVariance,
    image: Float32,
    mask: Mask,
    variance: Float32,
    rows: slice,
    scratch: Float32,
) -> int:
    if variance.min() > 0:
        return 0
    return _flag(mask, op.bits, variance <= 0)


@apply.register
def _or_mask(
    op: ops.OrMask, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    band = Box(rows.start, rows.stop, 0, image.shape[1])
    part = op.window(band)
    mask[part.box.slices] |= part.mask
    return int(np.count_nonzero(part.mask))


@apply.register
def _flag_boxes(
    op: ops.FlagBoxes, image: Float32, mask: Mask, variance: Float32, rows: slice, scratch: Float32
) -> int:
    first, last, bits, flagged = rows.start, rows.stop, np.int32(op.bits), 0
    here = op.boxes[(op.boxes[:, 0] < last) & (op.boxes[:, 1] > first)]
    for y0, y1, x0, x1 in here.tolist():
        part = mask[max(y0 - first, 0) : y1 - first, max(x0, 0) : x1]
        part |= bits
        flagged += part.size
    return flagged
