"""Flag what only the camera's own plugin knows to be bad (behaviour §6.1): for cameras that know nothing."""

from __future__ import annotations

from collections.abc import Iterator

from isrcore import Calibrations, Config, Exposure, Skip, Step, StepSpec, field, stepspecs


class MaskingConfig(Config):
    """Whether a camera without masking of its own is accepted."""

    doSpecificMasking: bool = field(
        False, "Insist on it: refuse exposures of a camera whose plugin has no masking of its own."
    )


class Masking(Step):
    """Nothing but a place in the order: a camera's plugin binds its own step to the contract."""

    spec = stepspecs.MASKING
    ConfigClass = MaskingConfig

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Skipped, unless somebody insists."""
        return self.spec if self.config.doSpecificMasking else Skip(_missing(exposure))

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Who insists is told that there is none."""
        yield f"{_missing(exposure)}: set masking.doSpecificMasking = false, or bind a step to its contract"


def _missing(exposure: Exposure) -> str:
    camera = repr(exposure.camera) if exposure.camera else "without name"
    return f"camera {camera} has no masking of its own"
