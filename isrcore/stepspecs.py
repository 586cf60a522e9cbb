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
    them, ``provides`` facts that hold afterwards. ``calibrations`` are the kinds it reads, ``planes`` the
    mask planes it may set. ``unit_in`` None accepts any unit; ``unit_out`` None keeps it. ``once`` refuses a
    second application. ``reach`` is how many pixels a pixel's influence extends (None = the whole detector).
    """

    name: str
    doc: str
    flag: str | None = None
    is_on: bool = False
    requires: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    after: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    provides: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    calibrations: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    planes: frozenset[str] = attrs.field(default=frozenset(), converter=_facts)
    unit_in: str | None = None
    unit_out: str | None = None
    once: bool = False
    reach: int | None = 0


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
    planes={"SAT"},
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
DARK = StepSpec(
    name="dark",
    flag="doDark",
    is_on=True,
    doc="Subtract the dark frame, scaled to the exposure's dark time.",
    requires={"converted", "assembled"},
    after={"bias-subtracted", "variance-set", "defects-flagged", "edges-flagged"},
    provides={"dark-subtracted"},
    calibrations={"dark"},
    unit_in="adu",
    once=True,
)
FLAT = StepSpec(
    name="flat",
    flag="doFlat",
    is_on=True,
    doc="Divide by the flat field.",
    requires={"converted", "assembled"},
    after={"bias-subtracted", "variance-set", "dark-subtracted"},
    provides={"flat-fielded"},
    calibrations={"flat"},
    once=True,
)
GAINS = StepSpec(
    name="gains",
    flag="doApplyGains",
    doc="Turn adu into electrons.",
    requires={"converted", "levels-known"},
    after={"assembled", "variance-set", "dark-subtracted", "flat-fielded"},
    provides={"gains-applied"},
    unit_in="adu",
    unit_out="electron",
    once=True,
    reach=None,
)
#: Facts of all arithmetic on pixels: what looks at finished pixels waits for them.
ARITHMETIC = frozenset(
    {
        "assembled",
        "bias-subtracted",
        "dark-subtracted",
        "flat-fielded",
        "gains-applied",
        "overscan-subtracted",
        "variance-set",
    }
)
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
BAD_REGIONS = StepSpec(
    name="badRegions",
    flag="doSetBadRegions",
    is_on=True,
    doc="Give bad pixels that nothing interpolates the level of the good ones.",
    requires={"converted", "assembled"},
    after=ARITHMETIC | {"defects-flagged", "nan-flagged", "trails-widened"},
    provides={"bad-regions-set"},
    reach=None,
)
INTERPOLATION = StepSpec(
    name="interpolation",
    flag="doInterpolate",
    is_on=True,
    doc="Replace flagged pixels by a weighted mean of the good pixels beside them in their row.",
    requires={"converted", "assembled"},
    after=ARITHMETIC | {"bad-regions-set", "defects-flagged", "nan-flagged", "trails-widened"},
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

#: The standard vocabulary, by name.
STANDARD = {
    spec.name: spec
    for spec in (
        AMPLIFIER_MASK,
        ASSEMBLY,
        BACKGROUND,
        BAD_REGIONS,
        BIAS,
        CONVERSION,
        DARK,
        DEFECTS,
        EDGES,
        FLAT,
        GAINS,
        INTERPOLATION,
        LEVELS,
        NAN_FLAGS,
        OVERSCAN,
        SATURATION,
        SUSPECT,
        TRAILS,
        VARIANCE,
    )
}
