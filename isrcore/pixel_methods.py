"""The documented methods that change or look at pixels: each does a step or two now, to this exposure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from isrcore import focal_plane
from isrcore.camera import Amplifier, Detector
from isrcore.config import Config
from isrcore.defects import Defects
from isrcore.exposure import Exposure
from isrcore.geometry import Box
from isrcore.kernels.ops import SetVariance
from isrcore.kernels.reference import Placed, Work
from isrcore.statistics import clipped
from isrcore.step import Skip, Step
from isrcore.step_task import StepTask
from isrcore.task import Struct, Task


class PixelMethods(StepTask):
    """Corrections one at a time, whatever the switches of the config say."""

    def convertIntToFloat(self, exposure: Exposure) -> Exposure:
        """Return the exposure with float32 pixels: itself when it has them, else a new one.

        New ones have variance 1, mask 0, and everything else of the given one, which stays as it is. Raises
        RuntimeError for anything but an `Exposure`.
        """
        if not isinstance(exposure, Exposure):
            raise RuntimeError(
                f"cannot convert a {type(exposure).__name__!r} to float pixels: give an Exposure"
            )
        if not exposure.pixels.is_raw:
            return exposure
        converted = exposure.share()
        self._apply([self._step("conversion")], converted)
        return converted

    def maskAmplifier(self, ccdExposure: Exposure, amp: Amplifier, defects: Any) -> bool:
        """Flag saturated and suspect pixels of one amplifier, in place; return whether all of it is bad.

        It is bad when ``defects`` (`Defects`, boxes of the assembled CCD, or None) cover it, or every data
        pixel is flagged; then it gets BAD. The levels are the amplifier's, in adu, as far as ``doSaturation``
        and ``doSuspect`` are on. Raw geometry, float pixels; image and variance stay.
        """
        names = ["amplifierMask"]
        names += ["saturation"] * self.config.doSaturation + ["suspect"] * self.config.doSuspect
        self._apply_to_amplifier([self._step(name) for name in names], ccdExposure, amp, defects=defects)
        return amp.name in ccdExposure.measured.get("amplifierMask", {})

    def saturationDetection(self, exposure: Exposure, amp: Amplifier) -> None:
        """Flag pixels of the amplifier's raw box at or above its saturation level, in place."""
        self._apply_to_amplifier([self._step("saturation")], exposure, amp)

    def suspectDetection(self, exposure: Exposure, amp: Amplifier) -> None:
        """Flag pixels of the amplifier's raw box at or above its suspect level, in place. NaN: nothing."""
        self._apply_to_amplifier([self._step("suspect")], exposure, amp)

    def _apply_to_amplifier(
        self, steps: list[Step], exposure: Exposure, amp: Amplifier, **inputs: Any
    ) -> None:
        """Run steps on one amplifier, in place, claiming nothing about the rest of the detector."""
        part = exposure.share()
        part.facts = exposure.facts | {"levels-known"}
        self._apply(steps, part, amp, **inputs)
        exposure.pixels, exposure.header, exposure.measured = part.pixels, part.header, part.measured

    def overscanCorrection(self, ccdExposure: Exposure, amp: Amplifier) -> Struct | None:
        """Subtract the offset seen in one amplifier's overscan from data and overscan, in place.

        Returns None without an overscan region, else a Struct, levels in adu: ``imageFit``, what was
        subtracted from the data, and ``overscanFit`` from the overscan (a number, or one per row or column;
        ``imageFit`` has the shape of the data after two overscans), ``overscanImage`` (`MaskedImage`,
        corrected) and ``edgeMask`` (boolean, per row or column of the overscan: the level is extrapolated).
        Raw geometry, float pixels. Raises StepError (a RuntimeError) when no overscan pixel can be used.
        """
        self._apply_to_amplifier([self._step("overscan")], ccdExposure, amp)
        found = ccdExposure.measured.get("overscan", {}).get(amp.name)
        return None if found is None else found.to_struct()

    def updateVariance(self, ampExposure: Exposure, amp: Amplifier, overscanImage: Any = None) -> None:
        """Set the variance of one amplifier from its image, gain and read noise, in place.

        ``ampExposure`` is the amplifier's own cut-out or the whole exposure. With ``doEmpiricalReadNoise``
        and an ``overscanImage`` (`MaskedImage`, adu, its level subtracted) the noise is the clipped scatter
        of its unflagged pixels, else the amplifier's (electron). Image and mask stay.
        V = I/gain + (read_noise/gain)², adu² (behaviour §2.9).
        """
        noise = amp.read_noise
        if self.config.doEmpiricalReadNoise and overscanImage is not None:
            ignore = overscanImage.flagged(self.config.saturatedMaskName, self.config.suspectMaskName)
            noise = clipped(overscanImage.image, ignore=ignore).sigma * amp.gain
        whole = Box.of_shape(ampExposure.shape)
        place = amp.box if ampExposure.is_assembled else amp.raw_box
        box = whole if whole.shape == amp.box.shape else place
        self.executor(
            Work(ampExposure.pixels, (Placed(SetVariance(amp.gain, (noise / amp.gain) ** 2), box),))
        )

    def doLinearize(self, detector: Detector) -> bool:
        """Whether a run linearizes this detector when it is given no linearizer.

        So it is when the config switches it on and any amplifier has a linearity type other than "None";
        all of them count, not the first alone.
        """
        is_on = getattr(self.config, "doLinearize", False)
        return bool(is_on) and any(amp.linearity_type != "None" for amp in detector.amplifiers)

    def darkCorrection(self, exposure: Exposure, darkExposure: Exposure, invert: bool = False) -> None:
        """Subtract the dark, scaled by dark times, in place; ``invert`` puts it back.

        ``darkExposure`` is an `Exposure` of the detector, in adu accumulated in its dark time (s): D scaled
        by s, the ratio of the dark times, makes I - s·D, and V + s²·W of its variance W. Raises PlanError (a
        RuntimeError) when a dark time is missing, shapes differ or it was done before; ValueError when it is
        to be put back and was not subtracted. Flags of the dark stay.
        """
        apply = self._undo if invert else self._apply_one
        apply(self._step("dark"), exposure, dark=darkExposure)

    def flatCorrection(self, exposure: Exposure, flatExposure: Exposure, invert: bool = False) -> None:
        """Divide by the flat, in place; ``invert`` multiplies it back.

        ``flatExposure`` is an `Exposure` of the detector without unit: F scaled by S (``flat.scalingType``,
        ``flat.userScale``) makes I·S/F, and the variance follows the quotient rule. Raises PlanError (a
        RuntimeError) when shapes differ or it was done before; ValueError when it is to be put back and was
        not divided out. Flags of the flat stay.
        """
        apply = self._undo if invert else self._apply_one
        apply(self._step("flat"), exposure, flat=flatExposure)

    @contextmanager
    def flatContext(
        self, exp: Exposure, flat: Exposure | None, dark: Exposure | None = None
    ) -> Iterator[Exposure]:
        """Yield the exposure with the dark subtracted and the flat divided out, in place; then undo both.

        Each only if ``doDark`` or ``doFlat`` is on and the frame is given. Undone is the last one first, also
        after an exception. For temporaries: image and variance return within the rounding of float32, pixels
        where the flat is zero as NaN, and flags of dark and flat stay. Raises as `darkCorrection`.
        """
        with ExitStack() as undo:
            if getattr(self.config, "doDark", False) and dark is not None:
                self.darkCorrection(exp, dark)
                undo.callback(self.darkCorrection, exp, dark, invert=True)
            if getattr(self.config, "doFlat", False) and flat is not None:
                self.flatCorrection(exp, flat)
                undo.callback(self.flatCorrection, exp, flat, invert=True)
            yield exp

    def maskDefect(self, exposure: Exposure, defectBaseList: Defects | list[Any]) -> None:
        """Flag defects BAD, in place: `Defects` or a list of boxes, clipped to the image.

        Boxes are in pixels of the assembled CCD and may cross amplifiers; image and variance stay.
        """
        self._apply([self._step("defects")], exposure, defects=defectBaseList)

    def maskEdges(self, exposure: Exposure, numEdgePixels: int = 0, maskPlane: str = "SUSPECT") -> None:
        """Flag a frame of ``numEdgePixels`` pixels along the edges, in place; nothing for 0 or less.

        ``maskPlane`` is made when there is none of this name. Assembled CCD. Raises PlanError (a
        RuntimeError) for a frame that is wider than half the detector.
        """
        if numEdgePixels <= 0:
            return
        template = self._step("edges")
        config = template.config.copy()
        config.numPixels, config.plane = numEdgePixels, maskPlane
        config.freeze()
        self._apply([self._twin(template, config)], exposure)

    def maskNan(self, exposure: Exposure) -> None:
        """Flag pixels whose image or variance is not finite UNMASKEDNAN, in place.

        Their number goes to the metadata item NUMNANS, and to the log when there are any.
        """
        step = self._step("nanFlags")
        self._apply([step], exposure)
        count = step.metadata.scalar("flagged")
        self.metadata.set("NUMNANS", count)
        if count:
            self.log.warning("%s has %d pixels that are not finite", exposure.label, count)

    def measureBackground(self, exposure: Exposure, IsrQaConfig: Config | None = None) -> None:
        """Write level, noise and flatness of the sky into the header; nothing without a config.

        ``IsrQaConfig`` is an `isrcore.IsrQaConfig`, as ``config.qa``. Assembled CCD, float pixels; they do
        not change. The same numbers, and the cells of the grid, are in ``exposure.measured["background"]``.
        """
        if IsrQaConfig is None:
            return
        template, config = self._step("background"), self.config.copy()
        for name in IsrQaConfig.names():
            config.set(f"qa.{name}", IsrQaConfig.get(name))
        owner = Task(config=config, name=self._name)
        step = type(template)(config=template.config, name=template.getName(), parentTask=owner)
        self._apply([self._signed(step)], exposure)

    def setValidPolygonIntersect(self, ccdExposure: Exposure, fpPolygon: Any) -> None:
        """Set the valid polygon to the part of the detector inside ``fpPolygon``, in place.

        ``fpPolygon`` (n, 2) are corners x, y in the focal plane, mm, in order. Without overlap nothing is
        set, and the log says so. Raises ValueError when it crosses itself or leaves several parts,
        CameraError when the detector has no pixel size. Pixels and flags stay.
        """
        polygon = focal_plane.intersect_detector(ccdExposure.detector, fpPolygon)
        if polygon is None:
            self.log.warning("%s: the polygon does not reach the detector", ccdExposure.label)
        else:
            ccdExposure.valid_polygon = polygon

    def roughZeroPoint(self, exposure: Exposure) -> None:
        """Set the zero point from filter and exposure time, in place, whatever zero point there was.

        It is the AB magnitude of one count, 2.5·log10(f0·t) for f0 counts per second of magnitude 0
        (``zeroPoint.fluxMag0T1`` by filter, else ``zeroPoint.defaultFluxMag0T1``) and t s; in
        ``exposure.zero_point``. A warning and nothing set without a positive exposure time.
        """
        template = self._step("zeroPoint")
        config = template.config.copy()
        if "doReplace" in config.names():
            config.doReplace = True
        config.freeze()
        step = self._twin(template, config)
        reason = step.contract(exposure)
        if isinstance(reason, Skip):
            self.log.warning("%s gets no zero point: %s", exposure.label, reason.reason)
        self._apply([step], exposure)

    def maskAndInterpolateDefects(self, exposure: Exposure, defectBaseList: Defects | list[Any]) -> None:
        """Flag defects BAD and the edges the config asks for, and interpolate over BAD, in place.

        ``defectBaseList`` is as for `maskDefect`. Nothing grows. Replaced pixels get INTRP, and a variance
        that is propagated from those used. Assembled CCD.
        """
        self.maskDefect(exposure, defectBaseList)
        self.maskEdges(exposure, self.config.edges.numPixels, self.config.edges.plane)
        self._interpolate(exposure, ["BAD"])

    def maskAndInterpolateNan(self, exposure: Exposure) -> None:
        """Flag pixels that are not finite UNMASKEDNAN and interpolate over those alone, in place.

        Replaced pixels get INTRP. Counted and told as by `maskNan`. Assembled CCD.
        """
        self.maskNan(exposure)
        self._interpolate(exposure, ["UNMASKEDNAN"], nan=True)

    def saturationInterpolation(self, exposure: Exposure) -> None:
        """Interpolate over saturated pixels alone, which grow first as the config says, in place.

        They grow by ``interpolation.growSaturationFootprintSize`` pixels; replaced ones get INTRP. Assembled
        CCD, as trails cross amplifiers; after `saturationDetection`.
        """
        self._interpolate(exposure, [self.config.saturatedMaskName], saturation=True)

    def _interpolate(
        self, exposure: Exposure, planes: list[str], saturation: bool = False, nan: bool = False
    ) -> None:
        """Interpolate over these planes now, whatever the config lists."""
        template = self._step("interpolation")
        config = template.config.copy()
        config.planes, config.saturation, config.nan = planes, saturation, nan
        config.freeze()
        self._apply([self._twin(template, config)], exposure)
