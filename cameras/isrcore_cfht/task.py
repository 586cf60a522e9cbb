"""The documented task of MegaCam: a fixed camera, and the arguments of its page."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from isrcore import Calibrations, Config, Exposure, IsrTask, Plan, Struct
from isrcore_cfht.camera import CAMERA

_AMPLIFIERS = {"A", "B"}


class MegaCamError(ValueError):
    """An exposure that MegaCam cannot have made."""


class CfhtIsrTask(IsrTask):
    """`isrcore.IsrTask` for MegaCam.

    Levels, defaults and masks come from this plugin's steps and overrides, so it does what ``IsrTask`` with
    ``camera="MegaCam"`` does.
    """

    only_camera = CAMERA.name

    def __init__(self, config: Config | None = None, name: str | None = None, **keywords: Any) -> None:
        super().__init__(config, name, **{**keywords, "camera": CAMERA.name})

    def run(
        self,
        ccdExposure: Exposure,
        bias: Any = None,
        linearizer: Any = None,
        dark: Any = None,
        flat: Any = None,
        defects: Any = None,
        fringes: Any = None,
        bfKernel: Any = None,
        **kwds: Any,
    ) -> Struct:
        """Remove the instrument signature of one CCD; see `isrcore.IsrTask.run`.

        Calibrations that are None are as if not given: then those that ship are used, where there are any.
        Raises `MegaCamError` (a ValueError) for amplifiers other than A and B, and ValueError for a
        ``bfKernel``: nobody has measured the brighter-fatter effect of MegaCam.
        """
        if bfKernel is not None:
            raise ValueError(
                "CfhtIsrTask got a bfKernel, but does not correct the brighter-fatter effect: pass None"
            )
        given = {"bias": bias, "linearizer": linearizer, "dark": dark, "flat": flat, "defects": defects}
        inputs = {**given, "fringes": fringes, **kwds}
        return super().run(
            ccdExposure, **{kind: value for kind, value in inputs.items() if value is not None}
        )

    def prepared(
        self, exposure: Exposure, inputs: dict[str, Any], without: Collection[str] = ()
    ) -> tuple[Plan, Calibrations]:
        """See `isrcore.IsrTask.prepared`. Raises `MegaCamError` for amplifiers other than A and B."""
        names = exposure.detector.amplifier_names
        if not set(names) <= _AMPLIFIERS:
            raise MegaCamError(
                f"{exposure.label} has amplifiers {', '.join(map(repr, names))}; those of MegaCam are "
                "'A' and 'B': give an exposure of a MegaCam CCD"
            )
        return super().prepared(exposure, inputs, without)
