"""Flag pixels that are no number (behaviour §2.13)."""

from __future__ import annotations

from collections.abc import Iterator

from isrcore import AmpView, FlagNonFinite, Op, PixelStep, stepspecs


class NanFlags(PixelStep):
    """Flag UNMASKEDNAN wherever image or variance is not finite, whatever other flags a pixel has.

    Runs after all arithmetic, so what a zero flat pixel makes infinite is found too.
    """

    spec, per = stepspecs.NAN_FLAGS, "detector"

    def ops(self, view: AmpView) -> Iterator[Op]:
        """One look at every pixel."""
        yield FlagNonFinite(view.bits("UNMASKEDNAN"))
