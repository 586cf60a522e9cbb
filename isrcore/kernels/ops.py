"""Operations on pixels as frozen data: what is done, not how.

An operand is a number, a column (one value per row, shape (ny, 1)), a row (one value per column, shape
(1, nx)) or a plane (ny, nx). An operation belongs to one rectangle of an image and its operands have that
rectangle's shape, so it can be cut to a window or flipped with the pixels it will meet. Operations with an
inverse carry it as a flag: ``op.inverse().inverse() == op``.

I is the image, V the variance, M the mask; a frame has image C, variance W, mask N. All arithmetic is
float32, in the order the formulas are written.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.geometry import Box
from isrcore.image import Float32, Mask, MaskedImage
from isrcore.kernels.tables import LineTable, LookupTable

Operand = float | Float32


class NotInvertible(TypeError):
    """An operation that loses what it replaces was asked for its inverse."""


def cut(operand: Any, box: Box) -> Any:
    """The part of an operand that belongs to the pixels in ``box``."""
    if isinstance(operand, tuple):
        return tuple(cut(part, box) for part in operand)
    if not isinstance(operand, np.ndarray):
        return operand.window(box) if isinstance(operand, MaskedImage) else operand
    rows = slice(None) if operand.shape[0] == 1 else slice(box.y0, box.y1)
    columns = slice(None) if operand.shape[1] == 1 else slice(box.x0, box.x1)
    return operand[rows, columns]


def turn(operand: Any, flip_y: bool, flip_x: bool) -> Any:
    """An operand with its rows and/or columns in reverse order, as views."""
    if isinstance(operand, tuple):
        return tuple(turn(part, flip_y, flip_x) for part in operand)
    if isinstance(operand, MaskedImage):
        return operand.flip(flip_y, flip_x)
    if isinstance(operand, np.ndarray):
        return operand[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return operand


@attrs.frozen(eq=False)
class Op:
    """An operation on the three planes of a rectangle of pixels."""

    operands: ClassVar[tuple[str, ...]] = ()
    is_invertible: ClassVar[bool] = False
    #: Whether it only sets flags known beforehand, whatever the pixels hold.
    is_known: ClassVar[bool] = False
    #: Whether the image stays as it is: only flags or variance change.
    keeps_image: ClassVar[bool] = False
    #: Whether the numbers of pixels that it returns are of those it flagged.
    counts_flagged: ClassVar[bool] = True

    @property
    def counters(self) -> int:
        """How many numbers of pixels it returns."""
        return 1

    def window(self, box: Box) -> Op:
        """The same operation on the pixels in ``box`` of its rectangle."""
        return attrs.evolve(self, **{name: cut(getattr(self, name), box) for name in self.operands})

    def flip(self, shape: tuple[int, int], flip_y: bool, flip_x: bool) -> Op:
        """The same operation on the flipped rectangle, which has ``shape``."""
        return attrs.evolve(
            self, **{name: turn(getattr(self, name), flip_y, flip_x) for name in self.operands}
        )

    def inverse(self) -> Op:
        """The operation that undoes this one. Raises `NotInvertible` where there is none."""
        raise NotInvertible(
            f"operation '{type(self).__name__}' has no inverse: it does not keep what it replaces"
        )

    def without_variance(self) -> Op:
        """The same operation with its effect on the variance left out."""
        return self

    def without_mask(self) -> Op:
        """The same operation with its effect on the mask left out."""
        return self


@attrs.frozen(eq=False)
class Arithmetic(Op):
    """An operation with an inverse. ``inverted`` runs it backwards; the mask is never taken back."""

    is_invertible: ClassVar[bool] = True
    inverted: bool = attrs.field(default=False, kw_only=True)
    skips_variance: bool = attrs.field(default=False, kw_only=True)
    skips_mask: bool = attrs.field(default=False, kw_only=True)

    def inverse(self) -> Self:
        """The operation that undoes this one in image and variance."""
        return attrs.evolve(self, inverted=not self.inverted)

    def without_variance(self) -> Self:
        """The same operation with its effect on the variance left out."""
        return attrs.evolve(self, skips_variance=True)

    def without_mask(self) -> Self:
        """The same operation with its effect on the mask left out."""
        return attrs.evolve(self, skips_mask=True)


@attrs.frozen(eq=False)
class Affine(Arithmetic):
    """I' = I·scale + offset, V' = V·scale²; inverse I = (I' - offset)/scale, V = V'/scale²."""

    operands: ClassVar[tuple[str, ...]] = ("scale", "offset")
    scale: Operand = 1.0
    offset: Operand = 0.0


@attrs.frozen(eq=False)
class Subtract(Arithmetic):
    """I' = I - scale·C, V' = V + scale²·W, M' = M | N; inverse I = I' + scale·C, V = V' - scale²·W."""

    operands: ClassVar[tuple[str, ...]] = ("frame",)
    frame: MaskedImage
    scale: float = 1.0


@attrs.frozen(eq=False)
class Divide(Arithmetic):
    """Q = I·scale/F, V' = (V·scale² + Q²·W)/F², M' = M | N; inverse I = Q·F/scale, V = (V'·F² - Q²·W)/scale².

    This order of operations returns within 2 ulp of the image.
    """

    operands: ClassVar[tuple[str, ...]] = ("frame",)
    frame: MaskedImage
    scale: float = 1.0


def _slopes(op: Polynomial) -> tuple[Operand, ...]:
    """The coefficients of the derivative: (k + 2)·c_k."""
    return tuple((power + 2) * coefficient for power, coefficient in enumerate(op.coefficients))


@attrs.frozen(eq=False)
class Polynomial(Arithmetic):
    """I' = I + c_0·I² + c_1·I³ + ..., V' = V·D² with D = dI'/dI = 1 + 2·c_0·I + 3·c_1·I² + ...

    ``coefficients`` are c_0, c_1, ...; ``slopes`` follow from them. The inverse finds I by Newton's method in
    float64, on the branch through zero, on which I' rises.
    """

    operands: ClassVar[tuple[str, ...]] = ("coefficients", "slopes")
    coefficients: tuple[Operand, ...]
    slopes: tuple[Operand, ...] = attrs.field(default=attrs.Factory(_slopes, takes_self=True))


@attrs.frozen(eq=False)
class Lookup(Arithmetic):
    """I' = I + T[k] with k = I + offset cut off towards zero, V' = V·D² with D = 1 + the slope of T about k.

    ``table`` holds T, ``first`` is `LookupTable.first` of the row to use. Below and above the row its first
    and last entry stand in, and D is 1; NaN counts as below. Such pixels are counted, for each of ``owners``
    apart, of which ``owner`` is the number. The inverse finds the pixel that leads to I', or the nearest one
    where T leaps over I': it is for simulating, not exact.
    """

    operands: ClassVar[tuple[str, ...]] = ("first", "offset", "owner")
    is_invertible: ClassVar[bool] = False
    counts_flagged: ClassVar[bool] = False
    table: LookupTable
    first: Operand
    offset: Operand = 0.0
    owner: Operand = 0
    owners: int = 1

    @property
    def counters(self) -> int:
        """One for each owner: pixels outside the table."""
        return self.owners


@attrs.frozen(eq=False)
class Piecewise(Arithmetic):
    """I' = m·I + a, V' = V·m², with slope m and intercept a of the line above I.

    ``table`` holds the lines, ``first`` is `LineTable.first` of the row to use. Where I' rises with I
    everywhere, as it does for any real detector, the inverse returns the image within rounding.
    """

    operands: ClassVar[tuple[str, ...]] = ("first",)
    table: LineTable
    first: Operand


@attrs.frozen(eq=False)
class SetVariance(Op):
    """V' = I/gain + floor + Σ planes.

    ``gain`` in electron/adu; ``floor`` and ``planes`` (operands of any kind) in adu², as the read noise and
    the noise that earlier corrections brought in (behaviour §2.9, NEW).
    """

    operands: ClassVar[tuple[str, ...]] = ("gain", "floor", "planes")
    keeps_image: ClassVar[bool] = True
    gain: Operand
    floor: Operand
    planes: tuple[Operand, ...] = ()


@attrs.frozen(eq=False)
class FlagAbove(Op):
    """M' = M | bits where I ≥ level. NaN pixels are never flagged."""

    operands: ClassVar[tuple[str, ...]] = ("level",)
    keeps_image: ClassVar[bool] = True
    level: Operand
    bits: int


@attrs.frozen(eq=False)
class FlagNonFinite(Op):
    """M' = M | bits where I or V is NaN or infinite."""

    keeps_image: ClassVar[bool] = True
    bits: int


@attrs.frozen(eq=False)
class FlagNonPositiveVariance(Op):
    """M' = M | bits where V ≤ 0."""

    keeps_image: ClassVar[bool] = True
    bits: int


@attrs.frozen(eq=False)
class OrMask(Op):
    """M' = M | mask inside ``box`` of the rectangle; ``mask`` is an int32 plane of the box's shape."""

    is_known: ClassVar[bool] = True
    keeps_image: ClassVar[bool] = True
    mask: Mask
    box: Box

    def window(self, box: Box) -> OrMask:
        """The same flags on the pixels in ``box`` of the rectangle."""
        common = self.box.intersect(box)
        if not common.area:
            return OrMask(self.mask[:0, :0], Box(0, 0, 0, 0))
        return OrMask(self.mask[common.relative_to(self.box).slices], common.relative_to(box))

    def flip(self, shape: tuple[int, int], flip_y: bool, flip_x: bool) -> OrMask:
        """The same flags on the flipped rectangle."""
        return OrMask(turn(self.mask, flip_y, flip_x), self.box.flip(shape, flip_y, flip_x))


@attrs.frozen(eq=False)
class FlagBoxes(Op):
    """M' = M | bits in every box; ``boxes`` is an (n, 4) array of y0, y1, x0, x1 in the rectangle."""

    is_known: ClassVar[bool] = True
    keeps_image: ClassVar[bool] = True
    boxes: npt.NDArray[np.int64]
    bits: int

    @classmethod
    def of(cls, boxes: tuple[Box, ...], bits: int) -> FlagBoxes:
        """The operation from boxes."""
        rows = [(box.y0, box.y1, box.x0, box.x1) for box in boxes]
        return cls(np.array(rows, dtype=np.int64).reshape(-1, 4), bits)

    def window(self, box: Box) -> FlagBoxes:
        """The boxes' parts inside ``box``, counted from its first pixel."""
        y = np.minimum(np.maximum(self.boxes[:, :2], box.y0), box.y1) - box.y0
        x = np.minimum(np.maximum(self.boxes[:, 2:], box.x0), box.x1) - box.x0
        kept = (y[:, 0] < y[:, 1]) & (x[:, 0] < x[:, 1])
        return FlagBoxes(np.hstack((y, x))[kept], self.bits)

    def flip(self, shape: tuple[int, int], flip_y: bool, flip_x: bool) -> FlagBoxes:
        """The boxes on the flipped rectangle."""
        y, x = self.boxes[:, :2], self.boxes[:, 2:]
        y = shape[0] - y[:, ::-1] if flip_y else y
        x = shape[1] - x[:, ::-1] if flip_x else x
        return FlagBoxes(np.hstack((y, x)), self.bits)
