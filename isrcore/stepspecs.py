"""Contracts of steps, and the standard vocabulary. No pixels, no parameters: what a step needs and gives.

A *fact* is a past-tense truth about an exposure ("flat-fielded"). Order follows behaviour §1.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs


def _facts(values: Iterable[str]) -> frozenset[str]:
    """A frozen set; a bare string would become a set of letters and is refused."""
    if isinstance(values, str):
        raise TypeError(f"{values!r} must be in a set: {{{values!r}}}")
    return frozenset(values)


@attrs.frozen(kw_only=True)
class StepSpec:
    """What a step promises, whoever implements it.

    ``flag`` is its switch in the config, literally ("doDark"; None = always on) and ``is_on`` that switch's
    default. ``requires`` are facts that must hold, ``after`` facts to wait for if a planned step provides
    them, ``before`` facts that must not hold yet: who provides them waits. ``provides`` are facts that hold
    afterwards. ``calibrations`` are the kinds it needs, ``accepts`` further kinds that it uses where they are
    given, ``several`` those of both that may be several frames at once, ``planes`` the mask planes it may
    set. ``unit_in`` None accepts any unit; ``unit_out`` None keeps it. ``once`` refuses a second application.
    ``reach`` is how many pixels a pixel's influence extends (None = the whole detector).
    """

    name: str
    doc: str
    flag: str | None = None
    is_on: bool = False
    requires: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    after: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    before: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    provides: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    calibrations: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    accepts: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    several: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    planes: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    unit_in: str | None = None
    unit_out: str | None = None
    once: bool = False
    reach: int | None = 0

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind of calibration it reads."""
        return self.calibrations | self.accepts


#: Facts that readers and the planner state, rather than steps: float pixels.
GIVEN_FACTS = frozenset({"converted"})

LEVELS = StepSpec(
    name="levels",
    doc="Settle gain, read noise and saturation level of every amplifier for this exposure.",
    provides={"levels-known"},
)
CONVERSION = StepSpec(
    name="conversion",
    flag="doConvertIntToFloat",
    is_on=True,
    doc="Make pixels float32, with no flags and unit variance.",
    after={"levels-known"},
    provides={"converted"},
)
SATURATION = StepSpec(
    name="saturation",
    flag="doSaturation",
    is_on=True,
    doc="Flag pixels at or above the saturation level.",
    requires={"converted", "levels-known"},
    provides={"saturation-flagged"},
    planes={"SAT"},
    unit_in="adu",
)
SUSPECT = StepSpec(
    name="suspect",
    flag="doSuspect",
    doc="Flag pixels at or above the level from which they are not trusted.",
    requires={"converted", "levels-known"},
    provides={"suspect-flagged"},
    planes={"SUSPECT"},
    unit_in="adu",
)
AMPLIFIER_MASK = StepSpec(
    name="amplifierMask",
    doc="Flag amplifiers that defects cover or that are saturated or suspect throughout.",
    requires={"converted"},
    after={"saturation-flagged", "suspect-flagged"},
    provides={"amplifiers-masked"},
    planes={"BAD"},
    reach=None,
)
OVERSCAN = StepSpec(
    name="overscan",
    flag="doOverscan",
    is_on=True,
    doc="Subtract the electronic offset seen in the overscan.",
    requires={"converted"},
    after={"saturation-flagged", "suspect-flagged", "amplifiers-masked"},
    provides={"overscan-subtracted"},
    planes={"SAT", "SUSPECT"},
    unit_in="adu",
    once=True,
    reach=None,
)
ASSEMBLY = StepSpec(
    name="assembly",
    flag="doAssembleCcd",
    is_on=True,
    doc="Put the amplifiers' data together into one trimmed image.",
    requires={"converted"},
    after={"saturation-flagged", "suspect-flagged", "amplifiers-masked", "overscan-subtracted"},
    provides={"assembled"},
    once=True,
)
BIAS = StepSpec(
    name="bias",
    flag="doBias",
    is_on=True,
    doc="Subtract the bias frame.",
    requires={"converted", "assembled"},
    after={"overscan-subtracted"},
    provides={"bias-subtracted"},
    calibrations={"bias"},
    unit_in="adu",
    once=True,
)
VARIANCE = StepSpec(
    name="variance",
    flag="doVariance",
    is_on=True,
    doc="Set the variance from the image, the read noise and the noise of overscan and bias.",
    requires={"converted", "levels-known"},
    after={"overscan-subtracted", "assembled", "bias-subtracted"},
    provides={"variance-set"},
    planes={"BAD"},
    unit_in="adu",
)
DEFECTS = StepSpec(
    name="defects",
    flag="doDefect",
    is_on=True,
    doc="Flag the detector's known bad pixels.",
    requires={"converted", "assembled"},
    after={"variance-set"},
    provides={"defects-flagged"},
    calibrations={"defects"},
    planes={"BAD"},
)
EDGES = StepSpec(
    name="edges",
    doc="Flag a frame of pixels along the detector's edges.",
    requires={"converted", "assembled"},
    after={"variance-set", "defects-flagged"},
    provides={"edges-flagged"},
    planes={"SUSPECT"},
)
LINEARITY = StepSpec(
    name="linearity",
    flag="doLinearize",
    is_on=True,
    doc="Make the response of every amplifier proportional to the charge.",
    requires={"converted", "assembled"},
    after={"overscan-subtracted", "bias-subtracted", "variance-set"},
    provides={"linearized"},
    accepts={"linearizer"},
    unit_in="adu",
    once=True,
)
CROSSTALK = StepSpec(
    name="crosstalk",
    flag="doCrosstalk",
    doc="Subtract what other amplifiers' signals leave in an amplifier.",
    requires={"converted", "assembled"},
    after={"amplifiers-masked", "overscan-subtracted", "bias-subtracted", "variance-set", "linearized"},
    provides={"crosstalk-corrected"},
    calibrations={"crosstalk"},
    accepts={"crosstalkSources"},
    planes={"CROSSTALK"},
    unit_in="adu",
    once=True,
    reach=None,
)
DEFERRED_CHARGE = StepSpec(
    name="deferredCharge",
    flag="doDeferredCharge",
    doc="Put charge back that lagged behind while rows were read out.",
    requires={"converted", "assembled", "levels-known"},
    after={"overscan-subtracted", "bias-subtracted", "variance-set", "linearized", "crosstalk-corrected"},
    provides={"deferred-charge-corrected"},
    calibrations={"deferredCharge"},
    unit_in="adu",
    once=True,
    reach=None,
)
MASKING = StepSpec(
    name="masking",
    flag="doCameraSpecificMasking",
    doc="Flag what only the camera's own plugin knows to be bad.",
    requires={"converted", "assembled"},
    after={"variance-set", "defects-flagged", "edges-flagged"},
    provides={"camera-masked"},
    planes={"BAD", "SUSPECT"},
    reach=None,
)
#: Facts of what undoes the electronics and the transfer of charge: from here on pixels hold charge.
CHARGE = frozenset(
    {
        "bias-subtracted",
        "crosstalk-corrected",
        "deferred-charge-corrected",
        "linearized",
        "overscan-subtracted",
        "variance-set",
    }
)
BRIGHTER_FATTER = StepSpec(
    name="brighterFatter",
    flag="doBrighterFatter",
    doc="Put charge back that bright pixels pushed into their neighbours.",
    requires={"converted", "assembled", "levels-known"},
    after=CHARGE | {"saturation-flagged", "defects-flagged", "edges-flagged", "camera-masked"},
    provides={"brighter-fatter-corrected"},
    calibrations={"bfKernel"},
    accepts={"bfGains"},
    planes={"EDGE"},
    unit_in="adu",
    once=True,
    reach=None,
)
DARK = StepSpec(
    name="dark",
    flag="doDark",
    is_on=True,
    doc="Subtract the dark frame, scaled to the exposure's dark time.",
    requires={"converted", "assembled"},
    after=CHARGE | {"brighter-fatter-corrected", "defects-flagged", "edges-flagged"},
    provides={"dark-subtracted"},
    calibrations={"dark"},
    unit_in="adu",
    once=True,
)
STRAY_LIGHT = StepSpec(
    name="strayLight",
    flag="doStrayLight",
    doc="Subtract light that did not come through the optics.",
    requires={"converted", "assembled"},
    after=CHARGE | {"brighter-fatter-corrected", "dark-subtracted"},
    provides={"stray-light-subtracted"},
    calibrations={"strayLightData"},
    unit_in="adu",
    once=True,
    reach=None,
)
FLAT = StepSpec(
    name="flat",
    flag="doFlat",
    is_on=True,
    doc="Divide by the flat field.",
    requires={"converted", "assembled"},
    after=CHARGE | {"brighter-fatter-corrected", "dark-subtracted", "stray-light-subtracted"},
    provides={"flat-fielded"},
    calibrations={"flat"},
    once=True,
)
GAINS = StepSpec(
    name="gains",
    flag="doApplyGains",
    doc="Turn adu into electrons.",
    requires={"converted", "levels-known"},
    after=CHARGE | {"assembled", "dark-subtracted", "flat-fielded"},
    provides={"gains-applied"},
    unit_in="adu",
    unit_out="electron",
    once=True,
    reach=None,
)
FRINGE = StepSpec(
    name="fringe",
    flag="doFringe",
    is_on=True,
    doc="Subtract interference fringes of the night sky, scaled to those in the image.",
    requires={"converted", "assembled"},
    after=CHARGE
    | {
        "brighter-fatter-corrected",
        "dark-subtracted",
        "flat-fielded",
        "gains-applied",
        "stray-light-subtracted",
    },
    provides={"fringe-subtracted"},
    calibrations={"fringes"},
    several={"fringes"},
    once=True,
    reach=None,
)
ILLUMINATION = StepSpec(
    name="illumination",
    flag="doIlluminationCorrection",
    doc="Divide by the illumination correction: what the flat field got wrong on large scales.",
    requires={"converted", "assembled"},
    after=CHARGE
    | {
        "brighter-fatter-corrected",
        "dark-subtracted",
        "flat-fielded",
        "fringe-subtracted",
        "gains-applied",
        "stray-light-subtracted",
    },
    provides={"illumination-corrected"},
    calibrations={"illumMaskedImage"},
    once=True,
)
_FLUX = CHARGE | {
    "assembled",
    "brighter-fatter-corrected",
    "dark-subtracted",
    "flat-fielded",
    "fringe-subtracted",
    "gains-applied",
    "illumination-corrected",
    "stray-light-subtracted",
}
AMP_OFFSET = StepSpec(
    name="ampOffset",
    flag="doAmpOffset",
    doc="Make the sky of neighbouring amplifiers agree where they meet.",
    requires={"converted", "assembled"},
    after=_FLUX,
    provides={"amplifier-offsets-subtracted"},
    once=True,
    reach=None,
)
#: Facts of all arithmetic on pixels: what looks at finished pixels waits for them.
ARITHMETIC = _FLUX | {"amplifier-offsets-subtracted"}
NAN_FLAGS = StepSpec(
    name="nanFlags",
    flag="doNanMasking",
    is_on=True,
    doc="Flag pixels whose image or variance is not finite, after all arithmetic.",
    requires={"converted"},
    after=ARITHMETIC,
    provides={"nan-flagged"},
    planes={"UNMASKEDNAN"},
)

TRAILS = StepSpec(
    name="saturationTrails",
    flag="doWidenSaturationTrails",
    is_on=True,
    doc="Widen the saturated runs of every row: charge next to them has spilled over.",
    requires={"converted", "assembled"},
    after=ARITHMETIC | {"saturation-flagged", "nan-flagged"},
    provides={"trails-widened"},
    planes={"SAT"},
    reach=4,
)
VIGNETTE = StepSpec(
    name="vignette",
    flag="doVignette",
    doc="Say which part of the detector the optics reach, and flag the rest.",
    requires={"converted", "assembled"},
    after=ARITHMETIC,
    provides={"vignetting-known"},
    planes={"NO_DATA"},
)
TRANSMISSION = StepSpec(
    name="transmission",
    flag="doAttachTransmissionCurve",
    doc="Attach the throughput of atmosphere, optics, filter and sensor.",
    after=ARITHMETIC,
    provides={"transmission-attached"},
    accepts={"opticsTransmission", "filterTransmission", "sensorTransmission", "atmosphereTransmission"},
)
COSMIC_RAYS = StepSpec(
    name="cosmicRays",
    flag="doCosmicRays",
    doc="Flag pixels that particles have hit.",
    requires={"converted", "assembled"},
    after=ARITHMETIC | {"nan-flagged", "defects-flagged", "trails-widened", "saturation-flagged"},
    provides={"cosmic-rays-flagged"},
    planes={"CR"},
    reach=None,
)
#: Facts of arithmetic and of all that flags pixels: what replaces flagged pixels waits for them.
FLAGS = ARITHMETIC | {
    "camera-masked",
    "cosmic-rays-flagged",
    "defects-flagged",
    "edges-flagged",
    "nan-flagged",
    "trails-widened",
    "vignetting-known",
}
VARIANCE_BUDGET = StepSpec(
    name="varianceBudget",
    flag="doVarianceBudget",
    doc="Tell how much of the variance each source of noise brought in, amplifier by amplifier.",
    requires={"converted", "assembled", "variance-set", "levels-known"},
    after=FLAGS,
    provides={"variance-budgeted"},
    reach=None,
)
BAD_REGIONS = StepSpec(
    name="badRegions",
    flag="doSetBadRegions",
    is_on=True,
    doc="Give bad pixels that nothing interpolates the level of the good ones.",
    requires={"converted", "assembled"},
    after=FLAGS | {"variance-budgeted"},
    provides={"bad-regions-set"},
    reach=None,
)
INTERPOLATION = StepSpec(
    name="interpolation",
    flag="doInterpolate",
    is_on=True,
    doc="Replace flagged pixels by a weighted mean of the good pixels beside them in their row.",
    requires={"converted", "assembled"},
    after=FLAGS | {"bad-regions-set", "variance-budgeted"},
    provides={"interpolated"},
    planes={"INTRP"},
    reach=None,
)
BACKGROUND = StepSpec(
    name="background",
    flag="doMeasureBackground",
    doc="Measure level, noise and flatness of the sky and record them in the header.",
    requires={"converted", "assembled"},
    after=ARITHMETIC | {"bad-regions-set", "interpolated"},
    provides={"background-measured"},
    reach=None,
)
ZERO_POINT = StepSpec(
    name="zeroPoint",
    flag="doRoughZeroPoint",
    is_on=True,
    doc="Say what a count is worth in flux, roughly: from the filter and the exposure time alone.",
    after=ARITHMETIC | {"interpolated"},
    provides={"zero-point-set"},
)

#: The standard vocabulary, by name.
STANDARD = {
    spec.name: spec
    for spec in (
        AMPLIFIER_MASK,
        AMP_OFFSET,
        ASSEMBLY,
        BACKGROUND,
        BAD_REGIONS,
        BIAS,
        BRIGHTER_FATTER,
        CONVERSION,
        COSMIC_RAYS,
        CROSSTALK,
        DARK,
        DEFECTS,
        DEFERRED_CHARGE,
        EDGES,
        FLAT,
        FRINGE,
        GAINS,
        ILLUMINATION,
        INTERPOLATION,
        LEVELS,
        LINEARITY,
        MASKING,
        NAN_FLAGS,
        OVERSCAN,
        SATURATION,
        STRAY_LIGHT,
        SUSPECT,
        TRAILS,
        TRANSMISSION,
        VARIANCE,
        VARIANCE_BUDGET,
        VIGNETTE,
        ZERO_POINT,
    )
}
