"""One step at work on one drawn exposure: what checks of steps are made of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs
import numpy as np
from hypothesis import strategies as st

from isrcore.calibrations import Calibrations
from isrcore.camera import Detector
from isrcore.config import Config, ConfigError
from isrcore.exposure import Exposure
from isrcore.hookspecs import hookimpl
from isrcore.image import MaskedImage
from isrcore.isr import IsrTask
from isrcore.isr_config import isr_config
from isrcore.kernels.tiled import Executor
from isrcore.plan import Plan, PlanError, PlannedStep, plan
from isrcore.registry import Registry
from isrcore.step import GatherStep, Step, StepError
from isrcore.stepspecs import StepSpec
from isrcore.testing import strategies
from isrcore.testing.configs import SETTINGS


class Refused(Exception):
    """The step has good reasons not to do its work on a drawn exposure."""


@cache
def installed() -> Registry:
    """The installed plugins, found once."""
    return Registry.discover()


@attrs.frozen(eq=False)
class Subject:
    """A step class under test, and the plugins around it."""

    step: type[Step]
    registry: Registry
    _kept: dict[Any, Any] = attrs.field(factory=dict, init=False)

    @classmethod
    def find(cls, step: str | type[Step], registry: Registry | None) -> Subject:
        """The step of that name, or that class. Raises AssertionError naming what there is."""
        plugins = registry or installed()
        if not isinstance(step, str):
            return cls(step, _with_class(step, plugins))
        if step not in plugins.specs:
            near = difflib.get_close_matches(step, plugins.specs, n=3)
            known = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(plugins.specs)}"
            raise AssertionError(
                f"no installed plugin has a step '{step}'; {known}\n"
                "  install your package (pip install -e .), or give the class: step = MyStep"
            )
        return cls(plugins.implementation(step), plugins)

    @property
    def spec(self) -> StepSpec:
        """The contract, as registered."""
        return self.step.spec

    @property
    def is_assembled(self) -> bool:
        """Whether the step finds trimmed images, rather than frames as they were read out."""
        return "assembled" in self.spec.requires | self.spec.after

    @property
    def is_float(self) -> bool:
        """Whether the step finds float pixels, rather than integers."""
        return self.is_assembled or "converted" in self.spec.requires | self.spec.after

    @property
    def facts(self) -> frozenset[str]:
        """What holds when the step's turn comes in a run where every other step is on."""
        spec = self.spec
        made = {"converted"} if self.is_float else set[str]()
        facts = (spec.requires | spec.after | made) - spec.before - spec.provides
        return facts if spec.unit_in == "electron" else facts - {"gains-applied"}

    def config(self, settings: Mapping[str, Any]) -> Config:
        """The defaults of the step's camera, with this implementation and these settings."""
        if "class" not in self._kept:
            self._kept["class"] = isr_config(self.registry, self.camera)
        config: Config = self._kept["class"]()
        if self.camera:
            self.registry.apply_overrides(config, self.registry.camera(self.camera))
        section = getattr(config, self.spec.name)
        if section.target is not self.step:
            section.retarget(self.step)
        for name, value in {"expectWcs": False, **settings}.items():
            config.set(name, value)
        return config

    @property
    def camera(self) -> str:
        """The camera that the step is bound to, if its plugin is here."""
        return self.step.camera if self.step.camera in self.registry.cameras else ""

    def task(self, settings: Mapping[str, Any], executor: Executor | None = None) -> IsrTask:
        """A task with the step in it; that of the last settings is kept."""
        key = repr(sorted(settings.items())), executor
        if self._kept.get("key") != key:
            config = self.config(settings)
            self._kept["task"] = IsrTask(
                config=config, camera=self.camera, registry=self.registry, executor=executor
            )
            self._kept["key"] = key
        task: IsrTask = self._kept["task"]
        return task

    def settings(self) -> st.SearchStrategy[dict[str, Any]]:
        """Settings of the step: those of standard steps are drawn, others are the defaults."""
        if "settings" not in self._kept:
            self._kept["settings"] = set(self.config({}).names())
        own = {
            name: values
            for name, values in SETTINGS.items()
            if name in self._kept["settings"] and name.startswith(f"{self.spec.name}.")
        }
        return st.fixed_dictionaries(own)

    def exposures(self, detector: Detector) -> st.SearchStrategy[Exposure]:
        """Exposures as the step finds them: raw or assembled, with facts and unit of its contract."""
        drawn = strategies.exposures(detector) if self.is_assembled else self._raw(detector)
        unit = self.spec.unit_in or "adu"
        changes: dict[str, Any] = {"facts": self.facts, "unit": unit, "camera": self.step.camera}
        return drawn.map(lambda exposure: attrs.evolve(exposure, **changes))

    def _raw(self, detector: Detector) -> st.SearchStrategy[Exposure]:
        """Frames as they were read out, with flags where pixels are float."""
        raw = strategies.raw_exposures(detector)
        if not self.is_float:
            return raw
        masks = strategies.masks(detector.raw_shape, density=0.02)
        return st.builds(_as_float, raw, masks)

    def calibrations(self, detector: Detector) -> st.SearchStrategy[dict[str, Any]]:
        """A calibration of every kind in the contract; needed ones that nobody knows are frames in adu."""
        known = strategies.TABLES
        accepted = self.spec.accepts & {*known, *strategies.FRAME_KINDS}
        made = {
            kind: known[kind](detector) if kind in known else _frame(detector, kind)
            for kind in sorted(self.spec.calibrations | accepted)
        }
        return st.fixed_dictionaries(made)


def _with_class(step: type[Step], plugins: Registry) -> Registry:
    """The plugins with the class among them, and no other that would be used where it is."""
    rivals = [one for one in plugins.candidates(step.spec.name) if one.camera == step.camera]
    if rivals == [step]:
        return plugins
    return plugins.without_steps(rivals).with_plugin("under test", _Plugin(step))


@attrs.frozen(eq=False)
class _Plugin:
    """A plugin of one step."""

    step: type[Step]

    @hookimpl
    def isr_steps(self) -> list[type[Step]]:
        """The step."""
        return [self.step]


def _as_float(raw: Exposure, mask: Any) -> Exposure:
    """A frame as it was read out, in float pixels of positive variance."""
    image = raw.image.astype(np.float32)
    pixels = MaskedImage(image, mask, np.ones_like(image))
    return attrs.evolve(raw, pixels=pixels)


def _frame(detector: Detector, kind: str) -> st.SearchStrategy[Exposure]:
    """A calibration frame; those of kinds nobody knows look like darks."""
    is_known = kind in strategies.FRAME_KINDS
    frames = strategies.frames(detector, kind if is_known else "dark")
    return frames.map(lambda frame: attrs.evolve(frame, source=f"a {kind}"))


@attrs.frozen(eq=False, repr=False)
class Case:
    """A step, an exposure, and everything it gets for it."""

    subject: Subject
    settings: Mapping[str, Any]
    exposure: Exposure
    inputs: Mapping[str, Any]

    def __repr__(self) -> str:
        """What a failure shows, in a few lines."""
        visit, detector = self.exposure.visit, self.exposure.detector
        places = ", ".join(f"{amp.name} {amp.box.to_section()}" for amp in detector.amplifiers)
        settings = ", ".join(f"{name}={value!r}" for name, value in sorted(self.settings.items()))
        return (
            f"step '{self.subject.spec.name}' on {self.exposure.shape[0]} x {self.exposure.shape[1]} pixels"
            f" in {self.exposure.unit}, amplifiers {places}\n"
            f"    exposure {visit.exposure_s:g} s, dark time {visit.dark_s:g} s, filter {visit.filter!r};"
            f" settings: {settings or 'defaults'}; calibrations: {', '.join(self.inputs) or 'none'}"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For Hypothesis, which would print every pixel."""
        printer.text(repr(self))

    @property
    def spec(self) -> StepSpec:
        """The contract as registered."""
        return self.subject.spec

    def step(self, executor: Executor | None = None) -> Step:
        """A new instance of the step. Raises `Refused` for settings that cannot go together."""
        try:
            task = self.subject.task(self.settings, executor)
        except ConfigError as fault:
            raise Refused(str(fault)) from fault
        name = self.spec.name
        return task._signed(self.subject.step(config=getattr(task.config, name), name=name, parentTask=task))

    def prepared(
        self, step: Step, exposure: Exposure, before: Step | None = None
    ) -> tuple[Plan, Calibrations]:
        """The plan of the step alone (or with one before it). Raises `Refused` when it has good reasons."""
        task: Any = step._parent
        steps = [step] if before is None else [before, step]
        calibrations = task._checked(exposure, dict(self.inputs), steps)
        try:
            planned = plan(steps, exposure, calibrations, ignores_flags=True)
        except PlanError as fault:
            raise Refused("; ".join(fault.problems)) from fault
        if len(planned.steps) < len(steps):
            raise Refused(planned.skipped[0].reason)
        return planned, calibrations

    def planned(self, step: Step | None = None) -> PlannedStep:
        """The step with the contract it has for this exposure. Raises `Refused`."""
        return self.prepared(step or self.step(), self.exposure.share())[0].steps[-1]

    def run(self, step: Step | None = None, before: Step | None = None) -> Exposure:
        """The result on a copy of the exposure. Raises `Refused`, and AssertionError when the step breaks.

        ``before`` is a step that runs first, in the same segment where that is allowed.
        """
        step = step or self.step()
        exposure = self.exposure.clone()
        self.prepared(step, exposure.share(), before)
        task: Any = step._parent
        try:
            task._apply([step] if before is None else [before, step], exposure, **self.inputs)
        except StepError as fault:
            raise Refused(str(fault)) from fault
        except Exception as fault:
            raise AssertionError(f"step '{self.spec.name}' {_told(fault, self.spec)}") from fault
        return exposure

    def with_exposure(self, **changes: Any) -> Case:
        """The case with values of its exposure replaced."""
        return attrs.evolve(self, exposure=attrs.evolve(self.exposure.share(), **changes))

    def with_pixels(self, change: Any) -> Case:
        """The case with pixels changed by ``change(pixels)``, which writes into a copy of them."""
        pixels = self.exposure.pixels.copy()
        change(pixels)
        return self.with_exposure(pixels=pixels)

    @property
    def is_moving(self) -> bool:
        """Whether the step moves pixels to another geometry."""
        return issubclass(self.subject.step, GatherStep)


def _told(fault: Exception, spec: StepSpec) -> str:
    """What went wrong in a step, and what to do where that is known."""
    told = f"breaks on an exposure that its plan accepts: {type(fault).__name__}: {fault}"
    if isinstance(fault, LookupError):
        listed = f"calibrations {sorted(spec.kinds)}, planes {sorted(spec.planes)}"
        return f"{told}\n  what it reads or sets must be in its contract, which lists {listed}"
    return (
        f"{told}\n  yield in problems() what makes it impossible, or raise StepError where only pixels tell"
    )
