"""Checks that steps keep what their contracts promise. Each raises AssertionError listing every breach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.calibrations import plane_names
from isrcore.config import Config
from isrcore.exposure import Exposure
from isrcore.hookspecs import hookimpl
from isrcore.image import MaskedImage
from isrcore.isr import IsrTask
from isrcore.plan import Plan, PlannedStep
from isrcore.registry import Registry
from isrcore.step import GatherStep


@attrs.define(eq=False)
class Recorder:
    """A plugin that keeps a copy of the exposure after every step; its presence makes every step a segment.

    ``seen`` holds (step name, exposure), in order.
    """

    seen: list[tuple[str, Exposure]] = attrs.field(factory=list)

    @hookimpl
    def isr_after_step(self, step: str, exposure: Exposure) -> None:
        """Keep a copy: later steps write into the same pixels."""
        self.seen.append((step, exposure.clone()))


def check_plan(plan: Plan, exposure: Exposure) -> None:
    """Check that a plan meets the contract of each of its steps.

    Facts a step requires hold before it, units fit, nothing ``once`` is repeated, and whoever provides a
    fact comes before whoever waits for it.
    """
    facts = exposure.facts | {"converted"} if not exposure.pixels.is_raw else exposure.facts
    unit, breaches = exposure.unit, list(_order_breaches(plan))
    for planned in plan.steps:
        spec, name = planned.spec, planned.spec.name
        breaches += [f"'{name}' needs '{fact}'" for fact in sorted(spec.requires - facts)]
        if spec.unit_in not in (None, unit):
            breaches.append(f"'{name}' works in {spec.unit_in!r}, not in {unit!r}")
        if spec.once and spec.provides & facts:
            breaches.append(f"'{name}' is repeated")
        if (planned.facts, planned.unit) != (facts, unit):
            breaches.append(f"'{name}' is told {sorted(planned.facts)} and {planned.unit!r}")
        facts, unit = facts | spec.provides, spec.unit_out or unit
    _report("plan", breaches)


def _order_breaches(plan: Plan) -> Iterator[str]:
    """Steps that come before one they wait for, or after one that should wait for them."""
    provided = {fact: place for place, step in enumerate(plan.steps) for fact in step.spec.provides}
    for place, planned in enumerate(plan.steps):
        for fact in sorted(planned.spec.requires | planned.spec.after):
            if provided.get(fact, -1) > place:
                yield f"'{planned.spec.name}' comes before the step that makes '{fact}' true"
        for fact in sorted(planned.spec.before):
            if provided.get(fact, place) < place:
                yield f"'{planned.spec.name}' comes after the step that makes '{fact}' true"


def check_step(
    planned: PlannedStep, before: Exposure, after: Exposure, inputs: Mapping[str, Any] | None = None
) -> None:
    """Check what one step did to an exposure against its contract.

    Facts and unit become what the contract says, the history gets one entry, only declared planes and those
    of calibrations among ``inputs`` (by kind) are set, and no mask bit is cleared.
    """
    spec, breaches = planned.spec, []
    if after.facts != before.facts | spec.provides:
        breaches.append(f"facts became {sorted(after.facts)} from {sorted(before.facts)}")
    if after.unit != (spec.unit_out or before.unit):
        breaches.append(f"unit became {after.unit!r} from {before.unit!r}")
    if [entry.step for entry in after.history[len(before.history) :]] != [spec.name]:
        breaches.append("history did not get one entry of its name")
    allowed = spec.planes | plane_names({kind: (inputs or {}).get(kind) for kind in spec.kinds})
    breaches += _mask_breaches(planned, before, after, allowed)
    _report(f"step '{spec.name}'", breaches)


def _mask_breaches(
    planned: PlannedStep, before: Exposure, after: Exposure, allowed: frozenset[str]
) -> Iterator[str]:
    """Planes with pixels flagged that were not to be, or cleared."""
    moved = before.pixels
    if isinstance(planned.step, GatherStep):
        moved = _moved(planned.step, before)
    for plane in before.planes:
        old, new = moved.flagged(plane), after.pixels.flagged(plane)
        if np.any(old & ~new):
            yield f"it clears plane {plane!r}"
        if plane not in allowed and np.any(new & ~old):
            yield f"it sets plane {plane!r}, its contract allows {sorted(allowed)}"


def _moved(step: GatherStep, before: Exposure) -> MaskedImage:
    """The pixels where the step's gathers put them."""
    _, shape = step.target(before.detector)
    moved = MaskedImage.from_image(np.zeros(shape, np.float32), planes=before.planes)
    for gather in step.gathers(before.detector):
        window = moved.window(gather.box)
        window.image[...], window.mask[...] = gather.read(before.image), gather.read(before.mask)
        window.variance[...] = gather.read(before.variance)
    return moved


def check_run(plugins: Mapping[str, Any], config: Config, exposure: Exposure, **inputs: Any) -> Exposure:
    """Run every step by itself and check plan and steps against their contracts; returns the result.

    ``plugins`` are modules by name, as for `Registry`; ``config`` is for these plugins.
    """
    recorder = Recorder()
    task = IsrTask(config=config, registry=Registry({**plugins, "recorder": recorder}))
    plan = task.plan(exposure, **inputs)
    check_plan(plan, exposure)
    result: Exposure = task.run(exposure, **inputs).exposure
    before = exposure.share()
    before.pixels = exposure.pixels.with_planes(result.planes)
    for planned, (name, after) in zip(plan.steps, recorder.seen, strict=True):
        _report("order of the run", [name] * (name != planned.spec.name))
        check_step(planned, before, after, inputs)
        before = after
    return result


def check_same(first: MaskedImage, second: MaskedImage) -> None:
    """Check that two masked images are equal to the bit, masks by plane name; NaN equals NaN."""
    breaches = [f"{name} differs" for name in ("image", "variance") if not _are_same(first, second, name)]
    if set(first.planes) != set(second.planes):
        breaches.append(f"planes are {list(first.planes)} and {list(second.planes)}")
    elif not np.array_equal(first.mask, first.planes.remap(second.mask, second.planes)):
        breaches.append("mask differs")
    _report("comparison", breaches)


def _are_same(first: MaskedImage, second: MaskedImage, name: str) -> bool:
    one, other = getattr(first, name), getattr(second, name)
    return bool(one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True))


def ulps(first: npt.NDArray[Any], second: npt.NDArray[Any], scale: Any) -> npt.NDArray[np.float64]:
    """Differences in units of the last float32 place of ``scale``, pixel by pixel."""
    unit = np.spacing(np.abs(np.asarray(scale, np.float32)))
    return np.abs(first.astype(np.float64) - second.astype(np.float64)) / unit


def _report(what: str, breaches: list[str]) -> None:
    if breaches:
        raise AssertionError(f"{what} breaks its contract\n  " + "\n  ".join(breaches))
