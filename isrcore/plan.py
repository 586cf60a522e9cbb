"""From steps to a plan: order by facts, check every contract, group pixel steps into segments.

Planning is pure: it reads no pixels and changes nothing. All problems are reported together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

import attrs

from isrcore.calibrations import Calibrations
from isrcore.exposure import Exposure
from isrcore.step import GatherStep, PixelStep, Skip, Step
from isrcore.stepspecs import StepSpec

# Config layers in which a user, rather than a default, decides.
_LAYERS_OF_USERS = frozenset({"user", "file", "command line"})


class PlanError(RuntimeError):
    """Steps that cannot run on this exposure. ``problems`` lists every reason."""

    def __init__(self, label: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        self.label = label
        super().__init__(f"{label} cannot be processed\n  " + "\n  ".join(self.problems))

    def __reduce__(self) -> tuple[type[PlanError], tuple[str, tuple[str, ...]]]:
        """Pickle by arguments, so that worker processes can report it."""
        return type(self), (self.label, self.problems)


@attrs.frozen
class PlannedStep:
    """One step of a plan: whether it runs, why, who decided, what it reads, and in which segment.

    ``segment`` counts from 1; 0 means the step is skipped. ``facts`` and ``unit`` hold just before it.
    """

    step: Step
    spec: StepSpec
    reason: str
    set_by: str
    calibrations: tuple[str, ...] = ()
    facts: frozenset[str] = frozenset()
    unit: str = ""
    segment: int = 0

    @property
    def runs(self) -> bool:
        """Whether the step is executed."""
        return self.segment > 0

    @property
    def is_pixelwise(self) -> bool:
        """Whether the step can share a segment with its neighbours."""
        return isinstance(self.step, PixelStep | GatherStep)


@attrs.frozen
class Segment:
    """Planned steps executed in one pass over memory, or a single step that runs alone."""

    number: int
    steps: tuple[PlannedStep, ...]

    @property
    def is_pixelwise(self) -> bool:
        """Whether it is a pass of pixel steps, rather than one step's ``run``."""
        return self.steps[0].is_pixelwise


@attrs.frozen
class Plan:
    """What will happen to one exposure, in order; ``print(plan)`` shows it."""

    label: str
    steps: tuple[PlannedStep, ...]
    skipped: tuple[PlannedStep, ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Steps grouped by segment."""
        numbers = sorted({planned.segment for planned in self.steps})
        return tuple(Segment(n, tuple(s for s in self.steps if s.segment == n)) for n in numbers)

    @property
    def planes(self) -> frozenset[str]:
        """Mask planes the plan may set."""
        return frozenset[str]().union(*(planned.spec.planes for planned in self.steps))

    def rows(self) -> Iterator[tuple[str, str, str, str, str, str]]:
        """(step, run or skipped, reason, set by, calibrations, segment) of every step, as text."""
        for planned in self.steps:
            calibrations = ", ".join(planned.calibrations)
            yield planned.spec.name, "run", planned.reason, planned.set_by, calibrations, str(planned.segment)
        for planned in self.skipped:
            yield planned.spec.name, "skipped", planned.reason, planned.set_by, "", ""

    def __str__(self) -> str:
        """A table of every step."""
        table = [("step", "state", "reason", "set by", "calibration", "segment"), *self.rows()]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table
        )
        return "\n".join([f"plan for {self.label}", *(line.rstrip() for line in lines)])


def plan(
    steps: Iterable[Step],
    exposure: Exposure,
    calibrations: Calibrations,
    breaks: Iterable[str] = (),
    ignores_flags: bool = False,
) -> Plan:
    """Order the steps, check them and group them into segments.

    ``breaks`` names steps after which a segment must end, because somebody looks at the exposure there. A
    step runs when its flag in the config of its task is set (or ``ignores_flags``: somebody asks for it by
    name) and neither its `Step.contract` nor `Step.skips` skips it.
    Raises `PlanError` with every problem: unmet facts, missing or refused calibrations, units, steps done
    before, two providers of one fact, circular waits.
    """
    candidates = [_consider(step, exposure, calibrations, ignores_flags) for step in sorted(steps, key=_name)]
    if not ignores_flags:
        specs = [planned.spec for planned in candidates]
        candidates = [_spared(planned, specs, exposure, calibrations) for planned in candidates]
    active = [planned for planned in candidates if not planned.reason.startswith("skipped: ")]
    skipped = [
        attrs.evolve(s, reason=s.reason.removeprefix("skipped: ")) for s in candidates if s not in active
    ]
    ordered, problems = _order(active)
    placed = list(_walk(ordered, exposure, calibrations, skipped, problems))
    if problems:
        raise PlanError(exposure.label, problems)
    return Plan(exposure.label, tuple(_segmented(placed, frozenset(breaks))), tuple(skipped))


def _name(step: Step) -> str:
    """Steps are told apart, and ties broken, by name."""
    return step.spec.name


def _consider(step: Step, exposure: Exposure, calibrations: Calibrations, ignores_flags: bool) -> PlannedStep:
    """Whether a step is wanted here, and who says so."""
    flag, config = step.spec.flag, step.top_config()
    set_by, reason = "always", step.spec.doc
    if flag is not None and not ignores_flags and hasattr(config, flag):
        origin = config.origin(flag)
        set_by = origin.layer if origin.layer == "default" else f"{origin.layer}: {origin.who}"
        if not getattr(config, flag):
            return PlannedStep(step, step.spec, f"skipped: {flag} = false", set_by)
    contract = step.contract(exposure)
    if not isinstance(contract, Skip):
        contract = step.skips(exposure, calibrations) or contract
    if isinstance(contract, Skip):
        return PlannedStep(step, step.spec, f"skipped: {contract.reason}", set_by)
    return PlannedStep(step, contract, reason, set_by)


def _spared(
    planned: PlannedStep, specs: Sequence[StepSpec], exposure: Exposure, calibrations: Calibrations
) -> PlannedStep:
    """The step, skipped when it has nothing to do here and nobody but defaults switched it on.

    That is so for what was done before isrcore saw the pixels, or would have had to be, and where a choice of
    calibrations has none for this exposure. Who switches such a step on is told why it cannot run instead.
    """
    reasons = [
        *_done_before(planned.spec, exposure),
        *_too_late(planned, specs, exposure),
        *calibrations.reasons_absent(planned.spec.calibrations),
    ]
    is_wanted = planned.set_by.partition(":")[0] in _LAYERS_OF_USERS
    if is_wanted or not reasons or planned.reason.startswith("skipped: "):
        return planned
    return attrs.evolve(planned, reason=f"skipped: {reasons[0]}")


def _done_before(spec: StepSpec, exposure: Exposure) -> Iterator[str]:
    """What the step would do a second time, and who did it."""
    for fact in sorted(spec.provides & exposure.given.keys()) if spec.once else ():
        yield f"{fact} already: {exposure.given[fact]}"


def _too_late(planned: PlannedStep, specs: Iterable[StepSpec], exposure: Exposure) -> Iterator[str]:
    """What was done before isrcore saw the pixels and should have waited for this step.

    Moving pixels commutes with all that is done to them, so that is never too late.
    """
    if not planned.spec.once or isinstance(planned.step, GatherStep):
        return
    for spec in specs:
        done = sorted(spec.provides & exposure.given.keys())
        if spec.once and done and (spec.requires | spec.after) & planned.spec.provides:
            yield f"too late: {done[0]} already: {exposure.given[done[0]]}"


def _order(active: list[PlannedStep]) -> tuple[list[PlannedStep], list[str]]:
    """Providers before those that wait, ties by name; and what is wrong with the waiting."""
    problems = []
    providers: dict[str, str] = {}
    for planned in active:
        for fact in sorted(planned.spec.provides):
            if fact in providers:
                problems.append(
                    f"fact '{fact}' is provided by both '{providers[fact]}' and '{planned.spec.name}'"
                )
            providers[fact] = planned.spec.name
    waits = {
        planned.spec.name: {
            providers[fact]
            for fact in planned.spec.requires | planned.spec.after
            if fact in providers and providers[fact] != planned.spec.name
        }
        for planned in active
    }
    _let_later_facts_wait(active, waits, providers)
    _let_units_wait(active, waits)
    names = _topological(waits)
    if len(names) < len(waits):
        circle = ", ".join(sorted(set(waits) - set(names)))
        problems.append(f"these steps wait for each other: {circle}")
    by_name = {planned.spec.name: planned for planned in active}
    return [by_name[name] for name in names], problems


def _let_later_facts_wait(
    active: list[PlannedStep], waits: dict[str, set[str]], providers: dict[str, str]
) -> None:
    """Who provides a fact waits for the steps that must come before it holds."""
    for planned in active:
        for fact in sorted(planned.spec.before & providers.keys()):
            waits[providers[fact]].add(planned.spec.name)


def _let_units_wait(active: list[PlannedStep], waits: dict[str, set[str]]) -> None:
    """A step that changes the unit waits for the steps that need the unit it takes away."""
    for changing in active:
        spec = changing.spec
        if spec.unit_out in (None, spec.unit_in):
            continue
        for other in active:
            name = other.spec.name
            if other.spec.unit_in == spec.unit_in and not _waits_for(name, spec.name, waits):
                waits[spec.name].add(name)


def _waits_for(name: str, other: str, waits: dict[str, set[str]]) -> bool:
    """Whether a step waits for another, directly or not; every step does for itself."""
    seen: set[str] = set()
    left = [name]
    while left:
        current = left.pop()
        if current not in seen:
            seen.add(current)
            left += waits[current]
    return other in seen


def _topological(waits: dict[str, set[str]]) -> list[str]:
    """Names with everything they wait for before them; of those that could go, the first by name goes."""
    left = {name: set(others) for name, others in waits.items()}
    ready = sorted(name for name, others in left.items() if not others)
    done: list[str] = []
    while ready:
        name = heapq.heappop(ready)
        done.append(name)
        for other, others in left.items():
            if name in others:
                others.remove(name)
                if not others:
                    heapq.heappush(ready, other)
    return done


def _walk(
    ordered: list[PlannedStep],
    exposure: Exposure,
    calibrations: Calibrations,
    skipped: list[PlannedStep],
    problems: list[str],
) -> Iterator[PlannedStep]:
    """Check each step against what holds when its turn comes; problems are appended."""
    facts = exposure.facts if exposure.pixels.is_raw else exposure.facts | {"converted"}
    unit = exposure.unit
    specs = [planned.spec for planned in (*ordered, *skipped)]
    for planned in ordered:
        spec = planned.spec
        problems += [f"step '{spec.name}' comes {late}" for late in _too_late(planned, specs, exposure)]
        problems += _contract_problems(planned, facts, unit, skipped)
        problems += _calibration_problems(planned, calibrations)
        then = attrs.evolve(exposure, facts=facts, unit=unit)
        problems += [f"step '{spec.name}': {p}" for p in planned.step.problems(then, calibrations)]
        labels = tuple(calibrations.label(kind) for kind in calibrations.used_by(spec))
        yield attrs.evolve(planned, facts=facts, unit=unit, calibrations=labels)
        facts, unit = facts | spec.provides, spec.unit_out or unit


def _contract_problems(
    planned: PlannedStep, facts: frozenset[str], unit: str, skipped: list[PlannedStep]
) -> Iterator[str]:
    """Unmet facts, a second application, a step too late, a unit that does not fit."""
    spec = planned.spec
    if spec.once and spec.provides & facts:
        fact = min(spec.provides & facts)
        remedy = (
            f"set {spec.flag} = false, or start from the raw frame"
            if spec.flag
            else "start from the raw frame"
        )
        yield f"step '{spec.name}' must not run twice: the exposure is '{fact}' already; {remedy}"
    for fact in sorted(spec.requires - facts):
        givers = [f"'{s.spec.name}' is skipped ({s.reason})" for s in skipped if fact in s.spec.provides]
        why = "; ".join(givers) or "no planned step provides it"
        yield f"step '{spec.name}' needs the exposure to be '{fact}': {why}"
    for fact in sorted(spec.before & facts):
        yield f"step '{spec.name}' comes too late: the exposure is '{fact}' already"
    if spec.unit_in is not None and unit != spec.unit_in:
        yield f"step '{spec.name}' works in {spec.unit_in!r}, the exposure is in {unit!r}"


def _calibration_problems(planned: PlannedStep, calibrations: Calibrations) -> Iterator[str]:
    """Calibrations that are missing or were refused."""
    flag = planned.spec.flag
    for kind in sorted(planned.spec.accepts & calibrations.refused.keys()):
        yield f"step '{planned.spec.name}' cannot use '{kind}'{calibrations.reason(kind)}"
    for kind in sorted(planned.spec.calibrations):
        if calibrations.offers(kind):
            continue
        refused = calibrations.reason(kind)
        remedy = f"give one, or set {flag} = false ({flag} = true was set by {planned.set_by})"
        yield f"step '{planned.spec.name}' needs calibration '{kind}'" + (
            refused or f", none was given: {remedy}"
        )


def _segmented(steps: list[PlannedStep], breaks: frozenset[str]) -> Iterator[PlannedStep]:
    """Number the segments. One ends where somebody looks, a step runs alone, or pixels moved and are read."""
    number, is_open, has_moved = 0, False, False
    for planned in steps:
        step = planned.step
        rereads = has_moved and (
            isinstance(step, GatherStep) or (isinstance(step, PixelStep) and step.reads_pixels())
        )
        if not (is_open and planned.is_pixelwise) or rereads:
            number, has_moved = number + 1, False
        yield attrs.evolve(planned, segment=number)
        has_moved = has_moved or isinstance(step, GatherStep)
        is_open = planned.is_pixelwise and planned.spec.name not in breaks
