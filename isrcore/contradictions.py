"""What plugins must not say of one thing: two cameras of one name, two contracts of one step and the like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from isrcore.camera import Camera
from isrcore.step import Step
from isrcore.stepspecs import GIVEN_FACTS, STANDARD, StepSpec

Steps = Sequence[tuple[str, type[Step]]]


def contradictions(cameras: Iterable[tuple[str, Iterable[Camera]]], steps: Steps) -> Iterator[str]:
    """Every contradiction among the cameras and the steps of plugins, both with the plugin's name."""
    yield from _repeated_cameras(cameras)
    yield from _differing_contracts(steps)
    yield from _bad_names(steps)
    yield from _rival_readers(steps)
    yield from _unknown_facts(steps)


def _repeated_cameras(cameras: Iterable[tuple[str, Iterable[Camera]]]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for plugin, found in cameras:
        for camera in found:
            if camera.name in owners:
                yield f"camera {camera.name!r} comes from plugins {owners[camera.name]!r} and {plugin!r}"
            owners[camera.name] = plugin


def _differing_contracts(steps: Steps) -> Iterator[str]:
    seen: dict[str, tuple[str, StepSpec]] = {}
    for plugin, step in steps:
        first, spec = seen.setdefault(step.spec.name, (plugin, step.spec))
        if spec != step.spec:
            yield f"step '{spec.name}' has different contracts in plugins {first!r} and {plugin!r}"


def _bad_names(steps: Steps) -> Iterator[str]:
    methods = {name for name in dir(Step) if not name.startswith("_")}
    for plugin, step in steps:
        if step.spec.name in methods:
            name = step.spec.name
            yield f"step '{name}' of plugin {plugin!r} has the name of a Task method; use a noun"


def _rival_readers(steps: Steps) -> Iterator[str]:
    readers: dict[str, tuple[str, Any]] = {}
    for plugin, step in steps:
        for kind, reader in step.readers.items():
            first, other = readers.setdefault(kind, (plugin, reader))
            if other != reader:
                names = " and ".join(map(repr, sorted((first, plugin))))
                yield f"files with {kind!r} are read differently by plugins {names}"


def _unknown_facts(steps: Steps) -> Iterator[str]:
    specs = {**STANDARD, **{step.spec.name: step.spec for _, step in steps}}
    known = GIVEN_FACTS.union(*(spec.provides for spec in specs.values()))
    for spec in specs.values():
        for fact in sorted((spec.requires | spec.after | spec.before) - known):
            yield f"step '{spec.name}' waits for fact '{fact}', which no known step provides"
