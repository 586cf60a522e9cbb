"""Tasks made of steps: which steps there are for an exposure, planning them, and doing some of them now."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, ClassVar

from isrcore.calibrations import Alignment, Calibrations, plane_names
from isrcore.camera import Amplifier, Camera
from isrcore.config import Config
from isrcore.debug_views import DebugViews
from isrcore.exposure import Exposure
from isrcore.isr_config import default_config, isr_config
from isrcore.kernels.memory import PlanePool
from isrcore.kernels.tiled import Executor, Tiled
from isrcore.plan import Plan, plan
from isrcore.registry import Registry, RegistryError
from isrcore.retrieval import Retrieval
from isrcore.runner import Conditions, run_segment, undo_segment
from isrcore.snapshots import ASSEMBLY
from isrcore.step import Skip, Step
from isrcore.task import Task


@cache
def _installed_config(camera: str) -> type[Config]:
    """The config class for the steps of the installed plugins."""
    return isr_config(Registry.discover(), camera)


class _InstalledConfig:
    """A task's config class, made when somebody asks: which steps there are is not known before."""

    def __get__(self, task: StepTask | None, owner: type[StepTask]) -> type[Config]:
        return _installed_config(owner.only_camera)


class StepTask(Retrieval):
    """A task whose work is done by the steps of a registry.

    ``config`` defaults to `default_config` for the camera, or with a parent to the parent's section; it is
    validated and frozen here. ``registry``
    defaults to the installed plugins; ``executor`` runs pixel operations (default: bands on one thread).
    """

    #: Defaults of the installed plugins' steps, before the camera's overrides (`default_config` has those).
    ConfigClass: ClassVar[Any] = _InstalledConfig()
    #: The camera of tasks that are for one alone; empty for tasks that take any.
    only_camera: ClassVar[str] = ""

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
        if config is None and parentTask is None:
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

    def _camera_of(self, exposure: Any) -> Camera:
        """The camera of an exposure; that of the task for pixels that do not say theirs."""
        return self.registry.camera(getattr(exposure, "camera", "") or self.camera)

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

    def catalogs(self, exposure: Exposure) -> dict[str, Any]:
        """What the steps measured on a corrected exposure, as tables by dataset.

        They have exactly the columns of `getAllSchemaCatalogs`, and a row for every amplifier (or detector)
        that was measured.
        """
        steps = self._steps_for(exposure)
        return {name: table for step in steps for name, table in step.catalogs(exposure).items()}

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

    def _apply_one(self, step: Step, exposure: Exposure, **inputs: Any) -> None:
        """Run one step now, in place."""
        self._apply([step], exposure, **inputs)

    def _undo(self, step: Step, exposure: Exposure, **inputs: Any) -> None:
        """Run the inverse of a step that was applied. Raises PlanError when it was not."""
        missing = step.spec.provides - exposure.facts
        before = exposure.share()
        before.facts = exposure.facts - step.spec.provides | {"converted"}
        before.unit = step.spec.unit_in or exposure.unit
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

    def _twin(self, step: Step, config: Config) -> Step:
        """A step like another one, with a config of its own."""
        twin = self._signed(type(step)(config=config))
        # The parent's settings count, but the step must not take the configured one's place among subtasks.
        twin._parent = self
        return twin

    def rehearse(self, exposure: Exposure, *names: str) -> None:
        """Run steps on a temporary exposure, in place, whatever their switches say, in the order of a run.

        Instances of their own do it: what the task records stays about the exposures it corrects. Steps that
        no plugin implements are left out. Raises as `run`.
        """
        steps = [step for step in self._steps_for(exposure) if step.spec.name in names]
        self._apply([self._twin(step, step.config) for step in steps], exposure)

    def debugView(self, exposure: Exposure, stepname: str) -> None:
        """Show the exposure if ``debug.steps`` names the step: in a window, or in ``debug.folder``.

        ``stepname`` is a step ("bias"), its switch ("doBias") or "postISRCCD", the end of a run.
        """
        self._views.show(exposure, stepname)


def _rebuild(task_class: type[StepTask], values: dict[str, Any]) -> StepTask:
    """The task that was pickled."""
    return task_class(**values)
