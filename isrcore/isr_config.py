"""The config of the documented task: top-level settings, and a switch and a section for every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isrcore.config import Config, field, section, subconfig
from isrcore.config_recipes import make_config_class
from isrcore.debug_views import DebugConfig
from isrcore.qa import IsrQaConfig
from isrcore.registry import Registry, RegistryError


class IsrConfig(Config):
    """Top-level settings; `isr_config` adds a switch and a section for every step."""

    expectWcs: bool = field(True, "Warn when the assembled image has no WCS.")
    doAssembleIsrExposures: bool = field(False, "Assemble calibrations that come in raw geometry.")
    doTrimToMatchCalib: bool = field(
        False, "Accept calibrations smaller by an equal margin; pixels beyond them are kept and flagged EDGE."
    )
    doEmpiricalReadNoise: bool = field(
        False,
        "Take the read noise from the scatter of the corrected overscan instead of the amplifier's value.",
    )
    datasetType: str = field("raw", "Dataset of raw exposures in a repository.")
    doWrite: bool = field(True, "Store corrected exposures; thumbnails are stored anyway.")
    fallbackFilterName: str | None = field(
        None, "Filter whose calibrations are taken when an exposure's own filter has none."
    )
    useFallbackDate: bool = field(False, "Ask for the fallback filter's calibration of the exposure's date.")
    doSaveInterpPixels: bool = field(
        False, "Also return a copy of the exposure from before bad pixels are replaced."
    )
    saturatedMaskName: str = field("SAT", "Mask plane of saturated pixels.")
    suspectMaskName: str = field("SUSPECT", "Mask plane of pixels above the suspect level.")
    debug: DebugConfig = subconfig(DebugConfig, "Pictures of the exposure during a run.")
    qa: IsrQaConfig = subconfig(IsrQaConfig, "Quality control: what a run measures and draws for people.")

    def problems(self) -> Iterator[str]:
        """Combinations that make no sense (behaviour §6.3)."""
        if getattr(self, "doFlat", False) and getattr(self, "doApplyGains", False):
            yield "doFlat and doApplyGains are both true: gains replace flat-fielding, switch one of them off"


def isr_config(registry: Registry, camera: str = "") -> type[Config]:
    """The config class for the steps of a registry; sections default to what is bound to the camera.

    Raises `RegistryError` when two plugins implement a step and neither is for this camera, or when a step
    has the name of a public method.
    """
    from isrcore.isr import IsrTask

    fields: dict[str, tuple[Any, Any]] = {}
    for name, spec in sorted(registry.specs.items()):
        if hasattr(IsrTask, name):
            raise RegistryError(f"step '{name}' has the name of a documented method of IsrTask; use a noun")
        if spec.flag is not None:
            fields[spec.flag] = (bool, field(spec.is_on, spec.doc))
    for name, spec in sorted(registry.specs.items()):
        target = registry.implementation(name, camera)
        declared = section(target, spec.doc, candidates=registry.candidates(name))
        fields[name] = (Any, declared)
    return make_config_class("IsrConfig", (IsrConfig,), fields)


def default_config(registry: Registry, camera: str = "") -> Config:
    """The config for a camera: defaults, then the camera plugin's overrides."""
    config = isr_config(registry, camera)()
    if camera:
        registry.apply_overrides(config, registry.camera(camera))
    return config
