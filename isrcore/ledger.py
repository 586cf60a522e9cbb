"""What a run has done to pixels so far, as operations, for steps that look back."""

from __future__ import annotations

import attrs

from isrcore.geometry import Box
from isrcore.image import MaskedImage
from isrcore.kernels.ops import Op
from isrcore.kernels.reference import Placed, Work, execute


@attrs.frozen(eq=False)
class Applied:
    """An operation of a step, and the rectangle of the exposure's pixels that it was applied to."""

    step: str
    op: Op
    box: Box

    def on(self, box: Box) -> Op | None:
        """The operation on the pixels in ``box``; None when it was not applied to all of them."""
        return self.op.window(box.relative_to(self.box)) if self.box.contains(box) else None


def apply_op(op: Op, pixels: MaskedImage) -> None:
    """Do an operation on all of some pixels, in place: what it means, for a few of them."""
    execute(Work(pixels, (Placed(op, Box.of_shape(pixels.shape)),)))
