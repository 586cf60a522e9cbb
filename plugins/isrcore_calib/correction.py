"""Correcting the inputs of a master: which steps, and which of their pixels may be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from isrcore import Config, ConfigError, Exposure, IsrTask, Registry, StepSpec, default_config
from isrcore_calib.kinds import KINDS, MASTERS

_NEEDED = ("conversion", "saturation", "assembly", "variance")
# Masters stay in adu and flag what their inputs say; what is known of the detector is flagged in use.
# A pixel that is bad in one input is taken from the others, never from its neighbours. What concerns the sky
# means nothing for frames that saw none. Steps that no plugin brings may be named.
_UNWANTED = frozenset(
    {
        "ampOffset",
        "badRegions",
        "cosmicRays",
        "defects",
        "flat",
        "fringe",
        "gains",
        "illumination",
        "interpolation",
        "nanFlags",
        "strayLight",
        "transmission",
        "varianceBudget",
        "vignette",
        "zeroPoint",
    }
)
_UNUSABLE = ("BAD", "SAT", "CR", "NO_DATA")


def make_config(
    registry: Registry,
    camera: str,
    kind: str,
    given: Iterable[str] = (),
    files: Iterable[str] = (),
    settings: Iterable[str] = (),
) -> Config:
    """The configuration that corrects inputs of a master of this kind.

    Above the camera's defaults lies the layer "calibrate" with the switches the kind needs (``given`` are
    masters at hand), above that TOML ``files`` and then ``settings`` of the form ``key=value``. Raises
    ConfigError with everything that is wrong.
    """
    config = default_config(registry, camera)
    with config.layer("task", IsrTask.__name__):
        IsrTask.applyOverrides(config)
    curated = registry.curated_calibrations(registry.camera(camera))
    with config.layer("calibrate", f"isr calibrate {kind}"):
        for flag, is_on in _switches(registry, kind, {*given, *curated}):
            setattr(config, flag, is_on)
        # A calibration frame sees no sky.
        config.set("expectWcs", False)
        # Around zero counts a variance is as often too low as too high; leaving out the low ones would
        # leave out the low pixels and lift the mean.
        if "variance.maskNegative" in config.names():
            config.set("variance.maskNegative", False)
    problems = [*_read_files(config, files), *_apply_settings(config, settings)]
    if problems:
        raise ConfigError("\n".join([f"the configuration for camera {camera!r} cannot be used", *problems]))
    return config


def _switches(registry: Registry, kind: str, at_hand: set[str]) -> Iterator[tuple[str, bool]]:
    """Switches that do not stay as the camera wants them."""
    for name, spec in sorted(registry.specs.items()):
        if spec.flag is None:
            continue
        if name in _NEEDED or name in KINDS[kind].required:
            yield spec.flag, True
        elif name in _UNWANTED or name == kind:
            yield spec.flag, False
        elif spec.calibrations:
            yield spec.flag, _has_inputs(spec, kind, at_hand)


def _has_inputs(spec: StepSpec, kind: str, at_hand: set[str]) -> bool:
    """Whether all that a step reads is there and suits this kind of master."""
    suitable = at_hand - (set(MASTERS) - set(KINDS[kind].masters))
    return spec.calibrations <= suitable


def _read_files(config: Config, files: Iterable[str]) -> Iterator[str]:
    """Set what the files say; what is wrong with them."""
    for file in files:
        try:
            config.load(file)
        except ConfigError as fault:
            yield f"  - {fault}"


def _apply_settings(config: Config, settings: Iterable[str]) -> Iterator[str]:
    """Set ``key=value`` words; what is wrong with them."""
    for setting in settings:
        key, equals, value = setting.partition("=")
        try:
            if not equals:
                raise ConfigError(f"setting {setting!r} is not of the form key=value, as in doBias=false")
            config.set_text(key.strip(), value, "command line", f"-c {setting}")
        except ConfigError as fault:
            yield f"  - {fault}"


def remove_shot_noise(exposure: Exposure) -> None:
    """Take the shot noise I/g out of the variance, in place: a bias is a pattern of voltages, not of light.

    Without this, pixels below the overscan's level would seem less noisy than the read noise.
    """
    for amp in exposure.detector.amplifiers:
        variance = exposure.variance[amp.box.slices]
        variance -= exposure.image[amp.box.slices] / np.float32(amp.gain)
        np.maximum(variance, 0, out=variance)


def planes_of(exposure: Exposure, config: Any) -> npt.NDArray[np.float32]:
    """Image and variance of a corrected input, shape (2, ny, nx); NaN in the image where it must not be used.

    That is where it is flagged bad, saturated, hit or without data, and where image or variance is no finite
    number.
    """
    names = {*_UNUSABLE, config.saturatedMaskName} & set(exposure.planes)
    planes = np.stack((exposure.image, exposure.variance))
    usable = ~exposure.pixels.flagged(*names) & np.isfinite(planes[1])
    planes[0, ~(usable & np.isfinite(planes[0]))] = np.nan
    # A variance nobody uses must not spoil sums.
    planes[1, ~usable] = 0.0
    return planes
