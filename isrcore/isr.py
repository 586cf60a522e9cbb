"""The documented task: a face of camelCase methods over plans of steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, ClassVar

from isrcore.calibrations import Alignment, Calibrations, plane_names
from isrcore.camera import Amplifier
from isrcore.config import Config, field, make_config_class, section, subconfig
from isrcore.debug_views import AFTER_ALL, DebugConfig, DebugViews
from isrcore.defects import Defects
from isrcore.exposure import Exposure
from isrcore.geometry import Box
from isrcore.kernels.memory import PlanePool
from isrcore.kernels.ops import SetVariance
from isrcore.kernels.reference import Placed, Work
from isrcore.kernels.tiled import Executor, Tiled
from isrcore.plan import Plan, plan
from isrcore.qa import IsrQaConfig
from isrcore.registry import Registry, RegistryError
from isrcore.runner import Conditions, run_segment, undo_segment
from isrcore.snapshots import ASSEMBLY, Snapshots
from isrcore.statistics import clipped
from isrcore.step import Skip, Step
from isrcore.task import Struct, Task, timeMethod


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


class IsrTask(Task):
    """Remove the instrument signature from exposures of one camera.

    ``config`` defaults to `default_config` for the camera; it is validated and frozen here. ``registry``
    defaults to the installed plugins; ``executor`` runs pixel operations (default: bands on one thread).
    """

    ConfigClass: ClassVar[type[Config]] = IsrConfig
    _DefaultName: ClassVar[str | None] = "isr"

    def __init__(
        self,
        config: Config | None = None,
        name: str | None = None,
        parentTask: Task | None = None,
        *,
        camera: str = "",
        registry: Registry | None = None,
        executor: Executor | None = None,
        **keywords: Any,
    ) -> None:
        self.registry = registry or Registry.discover()
        self.camera = camera
        if config is None:
            config = default_config(self.registry, camera)
        super().__init__(config=config, name=name, parentTask=parentTask, **keywords)
        self.executor: Executor = executor or Tiled()
        self._memory = PlanePool()
        self.config.validate()
        self.config.freeze()
        self._views = DebugViews(self.config.debug, self.registry.specs)
        self._steps = {name: self._make_step(name) for name in sorted(self.registry.specs)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle config, name, parent, camera and executor; plugins are found anew where it is unpickled."""
        values = {"config": self.config, "name": self._name, "parentTask": self._parent}
        return _rebuild, (type(self), {**values, "camera": self.camera, "executor": self.executor})

    def _make_step(self, name: str) -> Step:
        """The subtask of one step, knowing which plugin it comes from."""
        self.makeSubtask(name)
        return self._signed(getattr(self, name))

    def _signed(self, step: Step) -> Step:
        """A step that carries its plugin's name and version."""
        info = self.registry.plugin_of(type(step))
        step.plugin, step.version = info.name, info.version
        return step

    def _steps_for(self, exposure: Exposure) -> list[Step]:
        """The steps for an exposure: those of the config, but another camera's own replace unchosen ones."""
        if exposure.camera in ("", self.camera):
            return list(self._steps.values())
        return [self._bound(step, exposure.camera) for step in self._steps.values()]

    def _bound(self, step: Step, camera: str) -> Step:
        """The step the exposure's camera binds, unless the config chose one."""
        name = step.spec.name
        wanted = self.registry.implementation(name, camera)
        chosen = len(self.config.history(f"{name}.implementation")) > 1
        if chosen or wanted is type(step):
            return step
        config = wanted.ConfigClass()
        config.freeze()
        return self._signed(wanted(config=config, name=name, parentTask=self))

    def plan(self, ccdExposure: Exposure, **inputs: Any) -> Plan:
        """What `run` would do with these inputs, without doing it. Raises as `run` does."""
        return self.prepared(ccdExposure.share(), inputs)[0]

    def prepared(
        self, exposure: Exposure, inputs: dict[str, Any], without: Collection[str] = ()
    ) -> tuple[Plan, Calibrations]:
        """The plan, and the inputs checked and aligned; the exposure gets all mask planes it will need.

        Steps named in ``without`` are left out. Raises as `run` does.
        """
        steps = [step for step in self._steps_for(exposure) if step.spec.name not in without]
        calibrations = self._checked(exposure, self._shipped(exposure) | inputs, steps)
        breaks = {step.spec.name for step in steps} if self.registry.has_observers else self._views.steps
        breaks = breaks | ({ASSEMBLY} if self.config.qa.doThumbnailOss else set())
        return plan(steps, exposure, calibrations, breaks), calibrations

    def _shipped(self, exposure: Exposure) -> dict[str, Any]:
        """Calibrations that ship with the exposure's camera and that a step reads, by kind."""
        camera, name = self.registry.cameras.get(exposure.camera), exposure.detector.name
        shipped = self.registry.curated_calibrations(camera) if camera else {}
        kinds = shipped.keys() & self._kinds()
        return {kind: shipped[kind][name] for kind in sorted(kinds) if name in shipped[kind]}

    def _kinds(self) -> frozenset[str]:
        """The kinds of calibration that steps read."""
        return frozenset({"defects"}).union(*(spec.kinds for spec in self.registry.specs.values()))

    def _checked(self, exposure: Exposure, inputs: dict[str, Any], steps: list[Step]) -> Calibrations:
        """Calibrations that fit the exposure."""
        known = self._kinds()
        unknown = sorted(set(inputs) - known)
        if unknown:
            raise TypeError(f"no step reads input {unknown[0]!r}; inputs are {', '.join(sorted(known))}")
        contracts = (step.contract(exposure) for step in steps)
        names = plane_names(inputs).union(*(c.planes for c in contracts if not isinstance(c, Skip)))
        exposure.pixels = exposure.pixels.with_planes(exposure.planes.with_planes(names))
        alignment = Alignment(self.config.doAssembleIsrExposures, self.config.doTrimToMatchCalib)
        return Calibrations.check(inputs, exposure, exposure.planes, alignment, self.config)

    @timeMethod
    def run(self, /, ccdExposure: Exposure, **inputs: Any) -> Struct:
        """Remove the instrument signature.

        ``inputs`` are calibrations by kind: ``bias``, ``dark``, ``flat`` (`Exposure` of the detector),
        ``defects`` (`Defects` or boxes), and what further steps read; those that ship with the camera are
        used where none is given, and None means none. The given exposure is not changed.
        Returns a Struct with ``exposure`` and ``outputExposure`` (the same object), and with
        ``preInterpolatedExposure``: a copy from before bad pixels were replaced, None without
        ``doSaveInterpPixels``; with ``ossThumb`` and ``outputOssThumbnail``, a picture from after assembly,
        and ``flattenedThumb`` and ``outputFlattenedThumbnail``, one from before bad pixels were replaced:
        uint8 (ny, nx, 3), None unless ``qa`` asks for it, or without assembly. Raises PlanError, before any
        pixel is touched, with everything that is missing or does not fit; TypeError for an input that no
        step reads.
        """
        exposure = ccdExposure.share()
        planned, calibrations = self.prepared(exposure, inputs)
        snapshots = Snapshots(self.config)
        for segment in planned.segments:
            snapshots.before(segment, exposure)
            owns = exposure.image is not ccdExposure.image
            conditions = Conditions(self.executor, self._memory, in_place=owns)
            run_segment(segment, exposure, calibrations, conditions)
            if self.registry.has_observers:
                self.registry.after_step(segment.steps[-1].spec.name, exposure)
            self.debugView(exposure, segment.steps[-1].spec.name)
            snapshots.after(segment, exposure)
        snapshots.finish(exposure)
        self.debugView(exposure, AFTER_ALL)
        # From here on its facts are the product's own: doing anything again is refused.
        exposure.given = {}
        if self.config.expectWcs and exposure.wcs is None:
            self.log.warning("%s has no WCS", exposure.label)
        return Struct(exposure=exposure, outputExposure=exposure, **snapshots.as_dict())

    def _apply(
        self,
        steps: list[Step],
        exposure: Exposure,
        amp: Amplifier | None = None,
        **inputs: Any,
    ) -> None:
        """Run steps now, in place, whatever their switches say."""
        calibrations = self._checked(exposure, inputs, steps)
        only = None if amp is None else frozenset({amp.name})
        conditions = Conditions(self.executor, self._memory, in_place=True, amplifiers=only)
        for segment in plan(steps, exposure, calibrations, ignores_flags=True).segments:
            run_segment(segment, exposure, calibrations, conditions)

    def _undo(self, step: Step, exposure: Exposure, **inputs: Any) -> None:
        """Run the inverse of a step that was applied. Raises PlanError when it was not."""
        missing = step.spec.provides - exposure.facts
        before = exposure.share()
        before.facts = exposure.facts - step.spec.provides | {"converted"}
        if missing:
            raise ValueError(
                f"{exposure.label}: step '{step.spec.name}' cannot be undone, "
                f"the exposure is not '{min(missing)}'"
            )
        calibrations = self._checked(before, inputs, [step])
        exposure.pixels = before.pixels
        conditions = Conditions(self.executor, self._memory, in_place=True)
        for segment in plan([step], before, calibrations, ignores_flags=True).segments:
            undo_segment(segment, exposure, calibrations, conditions)

    def _step(self, name: str) -> Step:
        """The configured implementation of a step. Raises `RegistryError` when no plugin has it."""
        if name not in self._steps:
            raise RegistryError(f"no installed plugin implements step '{name}'")
        return self._steps[name]

    def convertIntToFloat(self, exposure: Exposure) -> Exposure:
        """The exposure with float32 pixels: itself when it has them, else a new one.

        New ones have variance 1 and mask 0. Raises RuntimeError for anything but an `Exposure`.
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
        """Flag saturated and suspect pixels of one amplifier, in place; whether it is bad as a whole.

        It is bad when ``defects`` (`Defects`, boxes or None) cover it, or every data pixel is flagged; then
        it gets BAD. Raw geometry, float pixels.
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
        Raises StepError when no overscan pixel can be used.
        """
        self._apply_to_amplifier([self._step("overscan")], ccdExposure, amp)
        found = ccdExposure.measured.get("overscan", {}).get(amp.name)
        return None if found is None else found.to_struct()

    def updateVariance(self, ampExposure: Exposure, amp: Amplifier, overscanImage: Any = None) -> None:
        """Set the variance of one amplifier from its image, gain and read noise, in place.

        ``ampExposure`` is the amplifier's own cut-out or the whole exposure. With ``doEmpiricalReadNoise``
        and an ``overscanImage`` (`MaskedImage`) the noise is the clipped scatter of its unflagged pixels.
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

    def darkCorrection(self, exposure: Exposure, darkExposure: Exposure, invert: bool = False) -> None:
        """Subtract the dark, scaled by dark times, in place; ``invert`` puts it back.

        Raises PlanError (a RuntimeError) when a dark time is missing, shapes differ or it was done before.
        """
        apply = self._undo if invert else self._apply_one
        apply(self._step("dark"), exposure, dark=darkExposure)

    def flatCorrection(self, exposure: Exposure, flatExposure: Exposure, invert: bool = False) -> None:
        """Divide by the flat, in place; ``invert`` multiplies it back."""
        apply = self._undo if invert else self._apply_one
        apply(self._step("flat"), exposure, flat=flatExposure)

    def debugView(self, exposure: Exposure, stepname: str) -> None:
        """Show the exposure if ``debug.steps`` names the step: in a window, or in ``debug.folder``.

        ``stepname`` is a step ("bias"), its switch ("doBias") or "postISRCCD", the end of a run.
        """
        self._views.show(exposure, stepname)

    def _apply_one(self, step: Step, exposure: Exposure, **inputs: Any) -> None:
        """Run one step now, in place."""
        self._apply([step], exposure, **inputs)

    def maskDefect(self, exposure: Exposure, defectBaseList: Defects | list[Any]) -> None:
        """Flag defects BAD, in place: `Defects` or a list of boxes, clipped to the image. Assembled CCD."""
        self._apply([self._step("defects")], exposure, defects=defectBaseList)

    def maskEdges(self, exposure: Exposure, numEdgePixels: int = 0, maskPlane: str = "SUSPECT") -> None:
        """Flag a frame of ``numEdgePixels`` pixels along the edges, in place; nothing for 0 or less."""
        if numEdgePixels <= 0:
            return
        template = self._step("edges")
        config = template.config.copy()
        config.numPixels, config.plane = numEdgePixels, maskPlane
        config.freeze()
        self._apply([type(template)(config=config)], exposure)

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

    def maskAndInterpolateDefects(self, exposure: Exposure, defectBaseList: Defects | list[Any]) -> None:
        """Flag defects BAD and the edges the config asks for, and interpolate over BAD, in place.

        Nothing grows. Assembled CCD.
        """
        self.maskDefect(exposure, defectBaseList)
        self.maskEdges(exposure, self.config.edges.numPixels, self.config.edges.plane)
        self._interpolate(exposure, ["BAD"])

    def maskAndInterpolateNan(self, exposure: Exposure) -> None:
        """Flag pixels that are not finite UNMASKEDNAN and interpolate over those alone, in place."""
        self.maskNan(exposure)
        self._interpolate(exposure, ["UNMASKEDNAN"], nan=True)

    def saturationInterpolation(self, exposure: Exposure) -> None:
        """Interpolate over saturated pixels alone, which grow first as the config says, in place.

        Assembled CCD, as trails cross amplifiers; after `saturationDetection`.
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
        step = self._signed(type(template)(config=config))
        # The parent's settings count, but the step must not take the configured one's place among subtasks.
        step._parent = self
        self._apply([step], exposure)


def _rebuild(task_class: type[IsrTask], values: dict[str, Any]) -> IsrTask:
    """The task that was pickled."""
    return task_class(**values)


def default_config(registry: Registry, camera: str = "") -> Config:
    """The config for a camera: defaults, then the camera plugin's overrides."""
    config = isr_config(registry, camera)()
    if camera:
        registry.apply_overrides(config, registry.camera(camera))
    return config
