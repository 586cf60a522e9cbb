"""What one run may use: calibrations checked, assembled and aligned with the exposure, once, on entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import attrs
import numpy as np

from isrcore.camera import Detector
from isrcore.crosstalk import Crosstalk
from isrcore.defects import Defects
from isrcore.exposure import Exposure
from isrcore.geometry import Box
from isrcore.image import MaskedImage, MaskPlanes
from isrcore.kernels.reference import Work, execute
from isrcore.linearity import Linearizer
from isrcore.step import Skip
from isrcore.stepspecs import StepSpec
from isrcore.task import Struct

# Frames to divide by: dimensionless, and a border they lack is filled with one rather than zero.
_MULTIPLICATIVE = frozenset({"flat", "illumMaskedImage"})


def _as_defects(value: Any, _: Detector) -> Defects:
    return value if isinstance(value, Defects) else Defects.from_iterable(value)


# What is no frame, by kind: how a value is made of whatever may be given, for a detector.
_MADE: Mapping[str, Callable[[Any, Detector], Any]] = {
    "crosstalk": Crosstalk.of,
    # Exposures of other detectors: the step checks them.
    "crosstalkSources": lambda value, _: value,
    "defects": _as_defects,
    "linearizer": Linearizer.given,
}

# Frames of any scale: the amplitudes that are found for them take up the unit.
_UNSCALED = frozenset({"fringes"})


class CalibrationError(ValueError):
    """A calibration that cannot be used on the exposure; the message says why and what to do."""


@runtime_checkable
class CalibrationChoice(Protocol):
    """Several calibrations of one kind, among which each exposure finds its own."""

    def choose_for(self, exposure: Exposure, config: Any) -> Any | Skip:
        """The calibration for an exposure, or why there is none.

        ``config`` is that of the task. Must not read pixels. Raises `CalibrationError` or ValueError when
        what is asked for does not exist.
        """
        ...


@attrs.frozen
class Alignment:
    """How calibrations may be made to fit.

    ``assemble`` puts raw-shaped frames together (doAssembleIsrExposures); ``pad`` frames smaller by the same
    margin on all sides get a border that changes nothing and is flagged EDGE (doTrimToMatchCalib).
    """

    assemble: bool = False
    pad: bool = False


@attrs.frozen(eq=False)
class Calibrations:
    """Usable calibrations by kind, and for those that were refused the reason.

    Frames (bias, dark, flat ...) are `Exposure` values in the geometry and mask planes of the exposure, or
    tuples of several (fringes); other kinds (defects ...) are as given. ``absent`` says of kinds why
    there is none for this exposure. ``margins`` says of frames that were too small how many pixels on each
    side were added, ``details`` what came along with a calibration given in a Struct.
    """

    values: Mapping[str, Any] = attrs.field(factory=dict)
    refused: Mapping[str, str] = attrs.field(factory=dict)
    absent: Mapping[str, str] = attrs.field(factory=dict)
    margins: Mapping[str, int] = attrs.field(factory=dict)
    details: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)

    @classmethod
    def check(
        cls,
        inputs: Mapping[str, Any],
        exposure: Exposure,
        planes: MaskPlanes | None = None,
        alignment: Alignment | None = None,
        config: Any = None,
    ) -> Calibrations:
        """Check every input against the exposure; what does not fit is refused with a reason, not raised.

        A Struct is a calibration, the component named as its kind, with `detail` about it. ``planes`` are
        those the exposure will have (default: its own), ``config`` is for those that choose
        (`CalibrationChoice`). Frames are only copied where they must change. Raises TypeError for crosstalk
        coefficients of a kind that `Crosstalk.of` does not know.
        """
        aligner = _Aligner(exposure, planes or exposure.planes, alignment or Alignment())
        values: dict[str, Any] = {}
        refused: dict[str, str] = {}
        absent: dict[str, str] = {}
        margins: dict[str, int] = {}
        details: dict[str, Mapping[str, Any]] = {}
        for kind in sorted(inputs):
            try:
                given, details[kind] = _unpacked(kind, inputs[kind])
                value = _chosen(given, exposure, config)
                if isinstance(value, Skip):
                    absent[kind] = value.reason
                elif value is not None:
                    values[kind] = aligner.align(kind, value)
                    margins[kind] = aligner.margin(value)
            except (CalibrationError, ValueError) as fault:
                refused[kind] = str(fault)
        return cls(values, refused, absent, margins, details)

    def offers(self, kind: str) -> bool:
        """Whether a usable calibration of this kind was given."""
        return kind in self.values

    def get(self, kind: str) -> Any:
        """The calibration, or None."""
        return self.values.get(kind)

    def frame(self, kind: str) -> Exposure:
        """A calibration frame. Raises LookupError when it was refused or not given."""
        if kind not in self.values:
            raise LookupError(f"no {kind} was given for this run{self.reason(kind)}")
        frame: Exposure = self.values[kind]
        return frame

    def own_box(self, kind: str) -> Box:
        """Where a frame's own pixels are, without the border it was given for being too small."""
        (ny, nx), n = self.frame(kind).shape, self.margins.get(kind, 0)
        return Box(n, ny - n, n, nx - n)

    def divisor(self, kind: str, scale: float) -> MaskedImage:
        """The pixels of a frame to divide ``scale`` by: its border, where it has one, is ``scale`` too.

        So that nothing changes there, whatever the scale. The frame itself keeps its ones.
        """
        pixels, inner = self.frame(kind).pixels, self.own_box(kind)
        if inner.shape == pixels.shape or scale == 1:
            return pixels
        image = np.full(pixels.shape, scale, np.float32)
        image[inner.slices] = pixels.image[inner.slices]
        return attrs.evolve(pixels, image=image)

    def frames(self, kind: str) -> tuple[Exposure, ...]:
        """The calibration frames of a kind of which there may be several. Raises LookupError as `frame`."""
        value = self.frame(kind) if kind not in self.values else self.values[kind]
        return (value,) if isinstance(value, Exposure) else tuple(value)

    def detail(self, kind: str, name: str) -> Any:
        """What a Struct says along with the calibration in it, or None."""
        return self.details.get(kind, {}).get(name)

    def used_by(self, spec: StepSpec) -> tuple[str, ...]:
        """Kinds that a step reads here, in order: those it needs, and those it accepts and was given."""
        return tuple(sorted(spec.calibrations | {kind for kind in spec.accepts if self.offers(kind)}))

    def reason(self, kind: str) -> str:
        """Why a calibration was refused or is absent, as the tail of a message; empty when it is neither."""
        why = self.refused.get(kind) or self.absent.get(kind)
        return f": {why}" if why else ""

    def reasons_absent(self, kinds: Iterable[str]) -> list[str]:
        """Why there is none of these kinds for this exposure, as far as that is known."""
        return [self.absent[kind] for kind in sorted(kinds) if kind in self.absent]

    def label(self, kind: str) -> str:
        """What reports call the calibration; those of several one after the other."""
        return ", ".join(getattr(one, "source", "") or "in memory" for one in self._each(kind))

    def digest(self, kind: str) -> str:
        """What identifies the content of the calibration, as far as it is known; as `label` of several."""
        return ", ".join(filter(None, (getattr(one, "digest", "") for one in self._each(kind))))

    def _each(self, kind: str) -> tuple[Any, ...]:
        """The calibrations of a kind, of which there may be none or several."""
        value = self.values.get(kind, ())
        return value if isinstance(value, tuple) else (value,)

    def planes(self) -> Iterable[str]:
        """Mask planes that the frames use."""
        return plane_names(self.values)


def _chosen(value: Any, exposure: Exposure, config: Any) -> Any:
    """The calibration itself, where the input is a choice of several."""
    return value.choose_for(exposure, config) if isinstance(value, CalibrationChoice) else value


def _unpacked(kind: str, value: Any) -> tuple[Any, Mapping[str, Any]]:
    """The calibration, and what a Struct says about it. Raises `CalibrationError` for another's Struct."""
    if not isinstance(value, Struct):
        return value, {}
    fields = value.getDict()
    if kind not in fields:
        raise CalibrationError(
            f"a Struct given as {kind} must have a component {kind!r}, it has {', '.join(fields) or 'none'}"
        )
    return fields.pop(kind), fields


def plane_names(inputs: Mapping[str, Any]) -> set[str]:
    """Mask planes that frames among the inputs use."""
    return {name for value in inputs.values() for frame in _frames_in(value) for name in frame.planes}


def _frames_in(value: Any) -> Iterator[Exposure | MaskedImage]:
    """The frames of an input: one, several, or those in a Struct."""
    if isinstance(value, Struct):
        yield from _frames_in(list(value.getDict().values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _frames_in(one)
    elif isinstance(value, Exposure | MaskedImage):
        yield value


@attrs.frozen
class _Aligner:
    """Makes calibrations fit one exposure, or says why they cannot."""

    exposure: Exposure
    planes: MaskPlanes
    alignment: Alignment

    def align(self, kind: str, value: Any) -> Any:
        """The calibration in the exposure's geometry and planes. Raises `CalibrationError`."""
        if kind in _MADE:
            return _MADE[kind](value, self.exposure.detector)
        if isinstance(value, list | tuple):
            return tuple(self.align(kind, one) for one in value)
        if isinstance(value, MaskedImage):
            value = attrs.evolve(self._bare(value), source="")
        if not isinstance(value, Exposure):
            return value
        problems = list(self._misfits(kind, value))
        if problems:
            raise CalibrationError(f"{value.label}: " + "; ".join(problems))
        frame = self._fit(kind, value)
        return attrs.evolve(frame, pixels=frame.pixels.with_planes(self.planes))

    def margin(self, value: Any) -> int:
        """How many pixels on each side an input of this size lacks; 0 for what is no single frame."""
        detector = self.exposure.detector
        is_frame = isinstance(value, Exposure | MaskedImage) and value.shape != detector.raw_shape
        return (_margin(value.shape, detector.shape) or 0) if is_frame else 0

    def _bare(self, pixels: MaskedImage) -> Exposure:
        """A frame without a description, taken to be of this detector."""
        facts = frozenset({"assembled"}) if pixels.shape == self.exposure.detector.shape else frozenset()
        return Exposure(pixels, self.exposure.detector, unit="adu", facts=facts)

    def _misfits(self, kind: str, frame: Exposure) -> Iterator[str]:
        """Why the frame is not for this exposure."""
        ours, its = self.exposure.detector, frame.detector
        if frame.camera and self.exposure.camera and frame.camera != self.exposure.camera:
            yield f"it is of camera {frame.camera!r}, the exposure of {self.exposure.camera!r}"
        elif its.name != ours.name and its.name != "unnamed":
            yield f"it is of detector {its.name!r}, the exposure of {ours.name!r}: give that one's {kind}"
        if frame.pixels.is_raw:
            yield f"its pixels are raw integers: make a master with 'isr calibrate {kind}'"
        if kind not in _MULTIPLICATIVE | _UNSCALED and frame.unit != "adu":
            yield f"it is in {frame.unit or 'no unit'!r}, frames to subtract must be in 'adu'"
        yield from self._shape_misfits(frame)

    def _shape_misfits(self, frame: Exposure) -> Iterator[str]:
        """Why the frame's shape does not fit."""
        wanted, shape = self.exposure.detector.shape, frame.shape
        if shape == wanted:
            return
        told = f"it has shape {shape}, the detector needs {wanted}"
        if shape == self.exposure.detector.raw_shape:
            if not self.alignment.assemble:
                yield f"{told}\n  it looks untrimmed: assemble it first, or set doAssembleIsrExposures = true"
        elif not self.alignment.pad:
            yield f"{told}: give a frame of this detector (doTrimToMatchCalib accepts smaller ones)"
        elif _margin(shape, wanted) is None:
            yield f"{told}: it can only be smaller by one even number of pixels in both directions"

    def _fit(self, kind: str, frame: Exposure) -> Exposure:
        """Assemble or pad a frame that passed the checks."""
        detector = self.exposure.detector
        if frame.shape == detector.shape:
            return frame
        target = MaskedImage.from_image(np.zeros(detector.shape, np.float32), planes=frame.planes)
        if frame.shape == detector.raw_shape:
            execute(Work(target, (), frame.pixels, detector.gathers()))
        else:
            _pad(frame.pixels, target, 1.0 if kind in _MULTIPLICATIVE else 0.0)
        return attrs.evolve(frame, pixels=target, facts=frame.facts | {"assembled"})


def _margin(shape: tuple[int, int], wanted: tuple[int, int]) -> int | None:
    """Pixels missing on each side, when it is the same number on all four (behaviour §2.8)."""
    missing = {wanted[0] - shape[0], wanted[1] - shape[1]}
    total = missing.pop()
    return None if missing or total < 0 or total % 2 else total // 2


def _pad(pixels: MaskedImage, target: MaskedImage, identity: float) -> None:
    """Put the frame in the middle of the target; the border changes nothing and is flagged EDGE."""
    margin = (target.shape[0] - pixels.shape[0]) // 2
    target.image[...] = identity
    target.mask[...] = target.planes.value("EDGE")
    inner = target.window(Box.of_shape(pixels.shape).shift(margin, margin))
    inner.image[...], inner.mask[...], inner.variance[...] = pixels.image, pixels.mask, pixels.variance
