"""Hypothesis strategies for configs: switches and settings that go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from isrcore.config import Config
from isrcore.isr_config import isr_config
from isrcore.registry import Registry

#: Filters that exposures are taken through; some without.
FILTERS = ("", "g", "r")


@st.composite
def configs(draw: st.DrawFn, /, registry: Registry, **fixed: Any) -> Config:
    """Configs for a raw exposure and every calibration: random switches and settings that go together.

    ``fixed`` are dotted names (dots written as double underscores) that are not drawn, for instance
    ``overscan__fitType="MEAN"``. A switch whose step would miss a fact is drawn off.
    """
    config = isr_config(registry)()
    wanted = {name.replace("__", "."): value for name, value in fixed.items()}
    for name in sorted(spec.flag for spec in registry.specs.values() if spec.flag):
        config.set(name, wanted[name] if name in wanted else name in _NEEDED or draw(st.booleans()))
    known = set(config.names())
    for name, choices in sorted(SETTINGS.items()):
        if name in known:
            config.set(name, draw(choices))
    for name, value in wanted.items():
        config.set(name, value)
    _settle(config, registry, wanted)
    return config


#: Without these nothing else can run on raw pixels.
_NEEDED = frozenset({"doConvertIntToFloat"})

_FITS = st.one_of(
    st.sampled_from(["MEAN", "MEANCLIP", "MEDIAN", "MEDIAN_PER_ROW", "MEAN_PER_ROW"]),
    st.sampled_from(["POLY", "CHEB", "LEG", "NATURAL_SPLINE", "CUBIC_SPLINE", "AKIMA_SPLINE"]),
)

#: Settings worth drawing, by name.
SETTINGS: Mapping[str, st.SearchStrategy[Any]] = {
    "brighterFatter.applyGain": st.booleans(),
    "brighterFatter.fluxConserving": st.booleans(),
    "brighterFatter.level": st.sampled_from(["AMP", "DETECTOR"]),
    "brighterFatter.maskGrowSize": st.integers(0, 2),
    "brighterFatter.maxIter": st.integers(1, 4),
    "brighterFatter.threshold": st.sampled_from([0.0, 1.0, 1000.0]),
    "assembly.doTrim": st.sampled_from([True, True, True, False]),
    "crosstalk.beforeAssembly": st.booleans(),
    "crosstalk.crosstalkBackgroundMethod": st.sampled_from(["None", "AMP", "DETECTOR"]),
    "crosstalk.doSubtrahendMasking": st.booleans(),
    "crosstalk.minPixelToMask": st.floats(0.0, 50000.0, width=32),
    "expectWcs": st.just(False),
    "doEmpiricalReadNoise": st.booleans(),
    "deferredCharge.maxIter": st.integers(1, 20),
    "edges.numPixels": st.integers(0, 2),
    "flat.scalingType": st.sampled_from(["USER", "MEAN", "MEDIAN"]),
    "flat.userScale": st.floats(0.5, 2.0, width=32),
    "fringe.afterFlat": st.booleans(),
    "fringe.filters": st.sampled_from([["g", "r"], ["r", "g"], ["g"], []]),
    "fringe.large": st.just(2),
    "fringe.num": st.integers(1, 40),
    "fringe.pedestal": st.booleans(),
    "fringe.small": st.just(1),
    "fringe.stats.badMaskPlanes": st.lists(st.sampled_from(["BAD", "SAT"]), unique=True),
    "fringe.stats.stat": st.sampled_from(["MEDIAN", "MEDIAN", "MEAN", "MEANCLIP"]),
    "gains.normalize": st.booleans(),
    "illumination.filters": st.lists(st.sampled_from(FILTERS), max_size=2),
    "illumination.scale": st.floats(0.5, 2.0, width=32),
    "interpolation.fallbackIncludesFlagged": st.booleans(),
    "interpolation.fwhm": st.floats(0.5, 6.0, width=32),
    "interpolation.growSaturationFootprintSize": st.integers(0, 2),
    "interpolation.nan": st.booleans(),
    "interpolation.saturation": st.booleans(),
    "overscan.biasJump.devices": st.just(["jumping"]),
    "overscan.biasJump.enabled": st.booleans(),
    "overscan.biasJump.keyword": st.just("DEVICE"),
    "overscan.biasJump.location": st.integers(1, 3),
    "overscan.doParallel": st.booleans(),
    "overscan.fitType": _FITS,
    "linearity.scaleVariance": st.booleans(),
    "overscan.isInt": st.booleans(),
    "overscan.leadingColumnsToSkip": st.integers(0, 1),
    # Two different pixels lie 1.35 of their width from their median each: fewer would leave a row none.
    "overscan.numSigmaClip": st.floats(1.5, 5.0, width=32),
    "overscan.order": st.integers(3, 8),
    "overscan.parallel.fitType": _FITS,
    "overscan.parallel.isInt": st.booleans(),
    "overscan.parallel.leadingRowsToSkip": st.integers(0, 1),
    "overscan.parallel.maskGrowSize": st.integers(0, 2),
    "overscan.parallel.numSigmaClip": st.floats(1.5, 5.0, width=32),
    "overscan.parallel.order": st.integers(3, 8),
    "overscan.parallel.trailingRowsToSkip": st.integers(0, 1),
    "overscan.region": st.sampled_from(["serial", "parallel"]),
    "overscan.trailingColumnsToSkip": st.integers(0, 1),
    "strayLight.filters": st.lists(st.sampled_from(FILTERS), max_size=2),
    "strayLight.scale": st.floats(-2.0, 2.0, width=32),
    "strayLight.scaling": st.sampled_from(["exposure time", "fit", "fixed"]),
    "transmission.useAtmosphere": st.booleans(),
    "transmission.useFilter": st.booleans(),
    "transmission.useOptics": st.booleans(),
    "transmission.useSensor": st.booleans(),
    "variance.maskNegative": st.booleans(),
    "vignette.doMask": st.booleans(),
    "vignette.doWriteVignettePolygon": st.booleans(),
    "vignette.numPolygonPoints": st.integers(3, 20),
    "vignette.radius": st.just(0.0) | st.floats(0.02, 0.3),
    "vignette.xCenter": st.floats(-0.1, 0.1),
    "vignette.yCenter": st.floats(-0.1, 0.1),
    "zeroPoint.doReplace": st.booleans(),
}


def _settle(config: Config, registry: Registry, wanted: Mapping[str, Any]) -> None:
    """Switch off what cannot run with the other switches; ``wanted`` ones come last."""
    specs = sorted(registry.specs.values(), key=lambda spec: spec.flag in wanted)
    while True:
        on = [spec for spec in specs if spec.flag is None or config.get(spec.flag)]
        facts = {"converted"}.union(*(spec.provides for spec in on)) - _lost(config)
        missing = [spec.flag for spec in on if spec.requires - facts and spec.flag]
        conflicts = [flag for flag in ("doApplyGains", "doFlat") if list(config.problems())]
        if not missing and not conflicts:
            break
        config.set((missing or sorted(conflicts, key=lambda flag: flag in wanted))[0], False)
    if "overscan.doParallel" in config.names() and config.get("overscan.region") == "parallel":
        config.set("overscan.doParallel", False)
    if "assembled" not in facts and "edges" in registry.specs:
        config.set("edges.numPixels", 0)


def _lost(config: Config) -> set[str]:
    """Facts that settings take away from what specs provide."""
    is_trimmed = "assembly.doTrim" not in config.names() or config.get("assembly.doTrim")
    return set() if is_trimmed else {"assembled"}
