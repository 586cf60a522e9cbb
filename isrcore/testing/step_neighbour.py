"""A step that stands before another one in checks."""

from __future__ import annotations

from collections.abc import Iterator

from isrcore.kernels.ops import Affine, Op
from isrcore.step import AmpView, PixelStep
from isrcore.stepspecs import StepSpec


class Neighbour(PixelStep):
    """Half of every pixel and a bit, so that whoever looks at pixels of before is found out."""

    # Of steps that could go, the first by name goes.
    spec = StepSpec(name=" neighbour", doc="Change every pixel.")
    per = "detector"

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I' = I/2 + 64."""
        yield Affine(scale=0.5, offset=64.0)
