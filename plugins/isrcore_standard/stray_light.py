"""Subtract light that did not come through the optics, by a template (behaviour §2.20)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    AmpView,
    Box,
    Calibrations,
    Config,
    Exposure,
    MaskedImage,
    Measurement,
    Op,
    OrMask,
    PixelStep,
    Quantity,
    Simulation,
    Skip,
    StepSpec,
    Subtract,
    field,
    stepspecs,
)
from isrcore_standard.template_fit import fit_line

# So many pixels fix what the template adds to a 500th of a pixel's noise; more would cost time and memory.
_SAMPLE = 1 << 18


class StrayLightConfig(Config):
    """Which exposures are corrected, and how the template is scaled."""

    filters: list[str] = field(
        [], "Filters it is for, by any of their names. None by default: most filters block such light."
    )
    scaling: str = field(
        "exposure time",
        "What the template is multiplied by: the exposure time in s, an amplitude fitted to the image, or a "
        "fixed number.",
        choices=("exposure time", "fit", "fixed"),
    )
    scale: float = field(
        1.0, "Factor besides the exposure time, or the fixed number; of a fit it is what simulations put in."
    )
    doRotatorAngleCorrection: bool = field(
        False, "Let the pattern follow the rotator: only for cameras that bring a step of their own for it."
    )


@attrs.frozen(eq=False)
class StrayLightMeasurement(Measurement):
    """What the template was multiplied by; of a fit also the standard error and the pixels it rests on.

    Without a pixel to fit the error is NaN, and nothing was subtracted.
    """

    scale: float
    error: float = 0.0
    count: int = 0


class StrayLight(PixelStep):
    """Subtract a template of stray light. It passed neither filter nor flat, so it goes before the flat."""

    spec, per = stepspecs.STRAY_LIGHT, "detector"
    ConfigClass = StrayLightConfig
    quantities: ClassVar = (
        Quantity("scale", "What the template was multiplied by."),
        Quantity("error", "Its standard error, of a fit."),
        Quantity("count", "Pixels that the fit rests on.", kind=int),
    )

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Nothing to do in filters that are not listed. Only a fit looks at other pixels."""
        reach = self.spec.reach if self.reads_pixels() else 0
        return self.skip_unlisted(exposure, self.config.filters) or attrs.evolve(self.spec, reach=reach)

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """An exposure time is needed to scale by, and a rotator is nothing a template knows."""
        time = exposure.visit.exposure_s
        if self.config.scaling == "exposure time" and not (math.isfinite(time) and time >= 0):
            yield f"{exposure.label} has exposure time {time} s: set strayLight.scaling = 'fit' or 'fixed'"
        if self.config.doRotatorAngleCorrection:
            yield "a template does not turn with the rotator: set strayLight.doRotatorAngleCorrection = false"

    def reads_pixels(self) -> bool:
        """Only to fit."""
        return bool(self.config.scaling == "fit")

    def measure(self, view: AmpView) -> StrayLightMeasurement:
        """The factor of the template."""
        if not self.reads_pixels():
            return StrayLightMeasurement(self._known_scale(view))
        found = fit_line(*_pairs(view))
        if found is not None:
            return StrayLightMeasurement(found.slope, found.error, found.count)
        self.log.warning("%s: the template varies over no good pixels: no stray light", view.exposure.label)
        return StrayLightMeasurement(0.0, math.nan)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I - sC, V + s²W, M | N; the flags alone where nothing could be fitted."""
        template = view.calibration("strayLightData")
        if math.isnan(view.measurement.error):
            yield OrMask(template.mask, Box.of_shape(template.shape))
        else:
            yield Subtract(template, scale=view.measurement.scale)

    def simulate(self, simulation: Simulation) -> None:
        """Add the template by the factor that is known without looking at pixels."""
        simulation.apply(self, lambda view: [self._added(view)])

    def finish(self, exposure: Exposure) -> None:
        """Keep the factor in header and metadata."""
        found = exposure.measured[self.spec.name][exposure.detector.name]
        exposure.header["HIERARCH ISR_STRAYLIGHT_SCALE"] = found.scale
        self.metadata.set("scale", found.scale)
        self.metadata.set("error", found.error)

    def _added(self, view: AmpView) -> Op:
        return Subtract(view.calibration("strayLightData"), scale=self._known_scale(view)).inverse()

    def _known_scale(self, view: AmpView) -> float:
        by_time = self.config.scaling == "exposure time"
        return float(self.config.scale * (view.visit.exposure_s if by_time else 1.0))


def _pairs(view: AmpView) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Template and image at the pixels that count: finite and without any flag in both.

    Every n-th row of a large frame, read one by one, so that no copy of the frame is made.
    """
    (ny, nx), template = view.box.shape, view.calibration("strayLightData")
    stride = math.ceil(ny * nx / _SAMPLE)
    rows = [_row_pairs(view, template, y) for y in range(stride // 2, ny, stride)]
    return np.concatenate([x for x, _ in rows]), np.concatenate([y for _, y in rows])


def _row_pairs(
    view: AmpView, template: MaskedImage, y: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Template and image at the good pixels of a row."""
    row = Box(y, y + 1, 0, view.box.width)
    seen, known = view.pixels(row), template.window(row)
    good = (seen.mask | known.mask) == 0
    good &= np.isfinite(seen.image) & np.isfinite(known.image)
    return known.image[good].astype(np.float64), seen.image[good].astype(np.float64)
