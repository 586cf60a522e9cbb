"""Steps that break their word, each in one way, and what the kit says of them.

Three sound steps stand first: all checks pass on them, and every mutant is one of them but for its fault.
"""

from __future__ import annotations

import itertools
import re
from typing import ClassVar

import attrs
import numpy as np

from isrcore import (
    Affine,
    Config,
    FlagAbove,
    Measurement,
    PixelStep,
    Quantity,
    Step,
    StepSpec,
    Subtract,
    field,
)

GLOW = StepSpec(
    name="ledGlow",
    doc="Subtract the LED's pattern, scaled by exposure time.",
    flag="doLedGlow",
    requires={"assembled", "bias-subtracted"},
    after={"variance-set", "dark-subtracted"},
    provides={"led-glow-subtracted"},
    calibrations={"ledGlow"},
    unit_in="adu",
    once=True,
)
PEDESTAL = attrs.evolve(
    GLOW,
    name="pedestal",
    flag="doPedestal",
    doc="Subtract every amplifier's median.",
    provides={"pedestal-subtracted"},
    calibrations=frozenset(),
    reach=None,
)
HALO = StepSpec(
    name="halo",
    doc="Flag what is next to saturated pixels.",
    flag="doHalo",
    requires={"assembled", "saturation-flagged"},
    provides={"halos-flagged"},
    planes={"SUSPECT"},
    reach=1,
)


class GlowConfig(Config):
    """How bright the LED was set."""

    brightness: float = field(0.01, "Brightness of the LED relative to the template's.", minimum=0.0)


@attrs.frozen(eq=False)
class GlowMeasurement(Measurement):
    """What the template was multiplied by."""

    scale: float


class Glow(PixelStep):
    """Sound: subtracts a template."""

    spec, ConfigClass, per = GLOW, GlowConfig, "detector"
    quantities: ClassVar = (Quantity("scale", "What the template was multiplied by."),)

    def measure(self, view):
        return GlowMeasurement(self.config.brightness * view.visit.exposure_s)

    def ops(self, view):
        yield Subtract(view.calibration("ledGlow"), scale=view.measurement.scale)


@attrs.frozen(eq=False)
class Level(Measurement):
    """An amplifier's median."""

    level: float


class Pedestal(PixelStep):
    """Sound: subtracts what it measures, amplifier by amplifier."""

    spec = PEDESTAL
    quantities: ClassVar = (Quantity("level", "The amplifier's median.", "adu"),)

    def reads_pixels(self):
        return True

    def measure(self, view):
        return Level(float(np.nanmedian(view.pixels(view.box).image)))

    def ops(self, view):
        yield Affine(offset=-view.measurement.level)


class Halo(Step):
    """Sound: looks at neighbours."""

    spec = HALO

    def run(self, exposure, calibrations):
        grown = self.grown(exposure.pixels.flagged("SAT"))
        exposure.mask[...] |= np.where(grown, np.int32(exposure.planes.value("SUSPECT")), np.int32(0))

    def grown(self, flagged, by=1):
        """Pixels with a flagged one among their neighbours."""
        wide = np.pad(flagged, by)
        ny, nx = flagged.shape
        parts = [wide[y : y + ny, x : x + nx] for y, x in itertools.product(range(2 * by + 1), repeat=2)]
        return np.any(parts, axis=0)


SOUND = (Glow, Pedestal, Halo)


@attrs.frozen
class Mutant:
    """One fault: what it is, the check that finds it, and words of the message that name it."""

    name: str
    what: str
    check: str
    message: str
    step: type[Step]


MUTANTS: list[Mutant] = []


def mutant(what, check, message):
    """Note a broken step."""

    def note(step):
        MUTANTS.append(Mutant(step.__name__, what, check, message, step))
        return step

    return note


@mutant("clears a mask bit", "contract", "it clears plane 'SAT'")
class ClearsFlags(Halo):
    def run(self, exposure, calibrations):
        super().run(exposure, calibrations)
        exposure.mask[...] &= ~np.int32(exposure.planes.value("SAT"))


@mutant("sets a plane it does not declare", "contract", "it sets plane 'CR', its contract allows")
class SetsOtherPlane(Halo):
    def run(self, exposure, calibrations):
        grown = self.grown(exposure.pixels.flagged("SAT"))
        exposure.mask[...] |= np.where(grown, np.int32(exposure.planes.value("CR")), np.int32(0))


@mutant("flags with a plane nobody made", "contract", "mask has no plane 'GHOST'.*lists .*'SUSPECT'")
class UnknownPlane(Halo):
    def run(self, exposure, calibrations):
        exposure.mask[...] |= np.int32(exposure.planes.value("GHOST"))


@mutant("says it makes electrons, but does not", "contract", "says that pixels are in 'electron' afterwards")
class NotElectrons(Halo):
    spec = attrs.evolve(HALO, name="notElectrons", unit_in="adu", unit_out="electron")


@mutant("changes the unit and does not say so", "contract", "unit became 'electron' from 'adu'")
class ChangesUnit(Halo):
    def run(self, exposure, calibrations):
        super().run(exposure, calibrations)
        exposure.unit = "electron"


@mutant("makes a fact true that its contract does not provide", "contract", "facts became .*'flat-fielded'")
class OtherFact(Halo):
    def run(self, exposure, calibrations):
        super().run(exposure, calibrations)
        exposure.facts = exposure.facts | {"flat-fielded"}


@mutant("reads a calibration that is not in its contract", "contract", "no bias was given.*lists .*'ledGlow'")
class ReadsOther(Glow):
    def ops(self, view):
        yield Subtract(view.calibration("bias"))


@mutant("makes float64 pixels", "pixels", "image is float64, it must be")
class WidePixels(Halo):
    def run(self, exposure, calibrations):
        exposure.pixels = attrs.evolve(exposure.pixels, image=exposure.image.astype(np.float64))


@mutant("gives fewer pixels than it got", "pixels", "pixels of .*only a GatherStep changes the geometry")
class CutsEdges(Halo):
    def run(self, exposure, calibrations):
        ny, nx = exposure.shape
        exposure.pixels = exposure.pixels.window(exposure.detector.amplifiers[0].box.intersect(
            attrs.evolve(exposure.detector.amplifiers[0].box, y1=ny - 1, x1=nx - 1)))  # fmt: skip


@mutant("looks farther than its reach", "reach", "has reach = 1, but with pixel .* 2 away")
class LooksFar(Halo):
    def grown(self, flagged, by=2):
        return super().grown(flagged, by)


@mutant("says reach = 0 and subtracts the median of its pixels", "reach", "has reach = 0, but with pixel")
class MedianWithoutReach(Pedestal):
    spec = attrs.evolve(PEDESTAL, name="medianWithoutReach", reach=0)


@mutant("spreads NaN over an amplifier", "nans", "spreads NaN: one in the exposure at")
class SpreadsNan(Pedestal):
    def measure(self, view):
        return Level(float(np.median(view.pixels(view.box).image)))


@mutant(
    "measures what it changes, and its inverse is none", "inverse", "claims an inverse that is none: image"
)
class FalseInverse(Pedestal):
    def reads_pixels(self):
        return False


class OneWay(Affine):
    """An operation whose inverse forgets the offset."""

    def inverse(self):
        return attrs.evolve(self, offset=0.0, inverted=not self.inverted)


@mutant("yields an operation with a wrong inverse", "inverse", "claims an inverse that is none: image")
class WrongInverse(Glow):
    def ops(self, view):
        yield OneWay(scale=2.0, offset=5.0)


@mutant(
    "reads another amplifier's pixels", "amplifiers_are_independent",
    "runs per amplifier, but pixels of amplifier .* change amplifier",
)  # fmt: skip
class ReadsNeighbour(Pedestal):
    def measure(self, view):
        boxes = [amp.box for amp in view.detector.amplifiers]
        return Level(float(np.nanmedian([np.nanmedian(view.pixels(box).image) for box in boxes])))


@mutant(
    "takes the first amplifier for the reference", "order_of_amplifiers",
    "depends on the order in which amplifiers are listed: image",
)  # fmt: skip
class FirstAmplifier(Glow):
    def ops(self, view):
        yield Affine(scale=view.detector.amplifiers[0].gain)


@mutant("flags the first row, whatever row that is", "reversed", "gives another result on a frame with rows")
class FirstRow(Halo):
    spec = attrs.evolve(HALO, name="firstRow", reach=None)

    def run(self, exposure, calibrations):
        exposure.mask[0] |= np.int32(exposure.planes.value("SUSPECT"))


@mutant("works along rows", "exchanged", "gives another result on a frame with rows and columns exchanged")
class AlongRows(Halo):
    def grown(self, flagged, by=1):
        wide = np.pad(flagged, ((0, 0), (by, by)))
        return np.any([wide[:, x : x + flagged.shape[1]] for x in range(2 * by + 1)], axis=0)


@mutant(
    "works in blocks of four rows counted from the first", "windows", "gives another result for the window"
)
class CountsRows(Halo):
    def grown(self, flagged, by=1):
        blocks = range(0, flagged.shape[0], 4)
        return np.vstack([super(CountsRows, self).grown(flagged[y : y + 4], by) for y in blocks])


@mutant(
    "depends on the number of threads",
    "tiles",
    "gives another result in bands of .* threads: plane 'SUSPECT'",
)
class PerThread(Halo):
    def run(self, exposure, calibrations):
        if self.threads > 1:
            exposure.mask[...] |= np.int32(exposure.planes.value("SUSPECT"))


@mutant(
    "looks at pixels of before the segment", "segments",
    "gives another result in one pass with the step before it: image",
)  # fmt: skip
class StalePixels(Pedestal):
    def measure(self, view):
        return Level(float(np.nanmedian(view.exposure.image[view.box.slices])))


@mutant(
    "changes its calibration in place", "inputs_are_kept", "changes its calibration 'ledGlow': image differs"
)
class SpoilsCalibration(Glow):
    def ops(self, view):
        template = view.calibration("ledGlow")
        template.image[...] *= np.float32(view.measurement.scale)
        yield Subtract(template)


@mutant("draws unseeded random numbers", "repetition", "gives two results for one exposure: image")
class Dithers(Glow):
    def ops(self, view):
        yield Affine(offset=float(np.random.default_rng().uniform(1, 2)))


@mutant("remembers earlier exposures", "memory", "remembers an earlier exposure")
class Remembers(Glow):
    count = 0

    def measure(self, view):
        self.count += 1
        return GlowMeasurement(float(self.count))


@mutant(
    "hands out one array again and again", "memory", "changes a product it has finished when it runs again"
)
class SharesArrays(Halo):
    kept = None

    def run(self, exposure, calibrations):
        super().run(exposure, calibrations)
        if self.kept is None or self.kept.shape != exposure.shape:
            self.kept = exposure.pixels
        self.kept.image[...] = exposure.image
        exposure.pixels = self.kept


@attrs.frozen(eq=False)
class Row(Measurement):
    """Levels in an array that ops() must not write."""

    levels: object
    scale: float = 1.0


@mutant("writes into its measurement", "operations", "writes into its measurement in ops")
class WritesMeasurement(Glow):
    def measure(self, view):
        return Row(np.ones((view.box.height, 1), np.float32))

    def ops(self, view):
        view.measurement.levels[...] *= -3
        yield Affine(offset=view.measurement.levels)


@mutant("computes in float64", "operations", "makes float64: operand 'offset' of Affine is a float64 array")
class WideOperand(Glow):
    def ops(self, view):
        yield Affine(offset=np.linspace(0, 1, view.box.height)[:, None])


@mutant(
    "declares a quantity that it does not produce", "records", "declares a quantity that it does not produce"
)
class LacksQuantity(Glow):
    quantities: ClassVar = (*Glow.quantities, Quantity("sky", "Level of the sky.", "adu"))


@mutant("produces a quantity that it does not declare", "records", "measures 'scale', an undeclared quantity")
class UndeclaredQuantity(Glow):
    quantities: ClassVar = ()


@mutant("says it measures, and measures nothing", "records", "declares scale but measures nothing")
class MeasuresNothing(Glow):
    def measure(self, view):
        return None

    def ops(self, view):
        yield FlagAbove(1e9, 0)


@mutant("works in adu only and does not say so", "units", "has unit_in = None, .* name the unit")
class IgnoresUnit(Glow):
    spec = attrs.evolve(GLOW, name="ignoresUnit", unit_in=None)

    def ops(self, view):
        if view.unit != "adu":
            raise ValueError("give counts")
        yield from super().ops(view)


@mutant(
    "drops its unit in contract()",
    "planning",
    "is registered with unit_in = 'adu', but contract\\(\\) says None",
)
class DropsUnit(Glow):
    def contract(self, exposure):
        return attrs.evolve(self.spec, unit_in=None)


@mutant(
    "provides more in contract() than it was registered with", "planning", "provides 'glow-free' in contract"
)
class ProvidesMore(Glow):
    def contract(self, exposure):
        return attrs.evolve(self.spec, provides=self.spec.provides | {"glow-free"})


@mutant("looks at pixels while it is planned", "planning", "has another contract when pixels are zero")
class PlansByPixels(Glow):
    def contract(self, exposure):
        return attrs.evolve(self.spec, after=frozenset() if exposure.image.any() else self.spec.after)


class ForgetfulConfig(GlowConfig):
    """Leaves a setting out of files."""

    def _toml_parts(self, path):
        return (part for part in super()._toml_parts(path) if "brightness" not in part)


@mutant(
    "has a config that a file does not give back", "config", "that a file does not give back: .*brightness"
)
class LosesConfig(Glow):
    ConfigClass = ForgetfulConfig


@attrs.frozen(eq=False)
class Curve(Measurement):
    """A measurement with a function in it."""

    scale: float
    curve: object


@mutant("measures a function, which no other process can get", "pickles", "cannot be sent to another process")
class Unpicklable(Glow):
    def measure(self, view):
        return Curve(1.0, lambda x: x)


@mutant("refuses everything", "contract", "refuses everything that is drawn for it: .* there is never a glow")
class NeverRuns(Glow):
    def problems(self, exposure, calibrations):
        yield "there is never a glow"


def caught():
    """The lines of the table of mutants; `tests/test_step_mutants.py` holds the checks to them."""
    from tests.mutants.mutant import Caught

    told = ((one, re.sub(r"\\(.)", r"\1", one.message).replace(".*", "…")) for one in MUTANTS)
    return [Caught(one.name, one.what, f"check_{one.check}", message) for one, message in told]
