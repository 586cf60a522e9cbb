"""Checks of what a camera's plugin sets in the config."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from isrcore.camera import Camera
from isrcore.config import Config, ConfigError
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, NotApplicable, checks


def _is_there(case: CameraCase) -> None:
    """Raise NotApplicable for a plugin that sets nothing."""
    infos = {info.name: info for info in case.registry.plugins}
    if "applyOverrides" not in infos[case.plugin_name].hooks:
        raise NotApplicable(f"plugin {case.plugin_name!r} has no applyOverrides")


def _overridden(case: CameraCase, camera: Camera, times: int = 1) -> Config:
    """A fresh config after the overrides of this camera's plugin alone."""
    config = case.fresh_config()
    for _ in range(times):
        case.alone.apply_overrides(config, camera)
    return config


@checks("applyOverrides sets fields that exist, to values they can have")
def check_override_fields(case: CameraCase) -> Iterator[Fault]:
    """No unknown field, no refused value, nothing smuggled past the config; all filters known."""
    _is_there(case)
    plain, config = case.fresh_config(), case.fresh_config()
    try:
        case.alone.apply_overrides(config, case.camera)
        config.validate()
    except ConfigError as fault:
        yield Fault(
            "applyOverrides sets an unknown field or a value that is refused",
            str(fault),
            "set fields that the reference of the config lists, to values that it allows",
        )
        return
    for name in sorted(set(vars(config)) - set(vars(plain))):
        yield Fault(
            f"applyOverrides smuggles in an unknown field {name!r}",
            f"vars(config) holds {name!r} afterwards",
            "set fields by assignment only: config.doDark = False",
        )
    yield from _unknown_filters(case, config)


def _unknown_filters(case: CameraCase, config: Config) -> Iterator[Fault]:
    """Filters that overrides list and the camera does not have: steps would never run for them."""
    known = frozenset[str]().union(*(one.names for one in case.camera.filters))
    for name in config.names():
        is_set = config.origin(name).layer == "camera"
        if not (known and is_set and name.endswith(".filters")):
            continue
        for missing in (one for one in config.get(name) if one not in known):
            yield Fault(
                f"applyOverrides lists filter {missing!r}, which the camera does not have: a missing filter",
                f"config.{name} = {config.get(name)!r}",
                f"add a filter of that name, short name or alias to the camera, or take {missing!r} away",
            )


@checks("applyOverrides called twice does what it does once")
def check_override_repeated(case: CameraCase) -> Iterator[Fault]:
    """Idempotent: a config may pass through it more than once."""
    _is_there(case)
    for line in _overridden(case, case.camera).compare(_overridden(case, case.camera, times=2)):
        yield Fault(
            "applyOverrides is not idempotent: a second call changes the config again",
            f"after one call and after two: {line}",
            "set values that do not depend on what is there: config.x = 3, not config.x += 1",
        )


@checks("applyOverrides leaves the configs of other cameras alone")
def check_override_others(case: CameraCase) -> Iterator[Fault]:
    """Nothing is set for a camera that another plugin brings."""
    _is_there(case)
    own = case.alone.cameras
    stranger = attrs.evolve(case.camera, name=f"not {case.camera.name}")
    others = [camera for name, camera in case.registry.cameras.items() if name not in own]
    for other in (stranger, *others):
        for line in case.fresh_config().compare(_overridden(case, other)):
            yield Fault(
                f"applyOverrides touches the config of another camera, {other.name!r}",
                f"before and after: {line}",
                f"begin with: if camera.name != {case.camera.name!r}: return",
            )


@checks("the config of the camera survives being written as TOML and read again")
def check_config_toml(case: CameraCase) -> Iterator[Fault]:
    """Every value of the camera's config comes back from a file."""
    again = case.fresh_config()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        case.config.save(path)
        again.load(path)
    for line in case.config.compare(again):
        yield Fault(
            "a value of its config does not come back from a TOML file",
            f"here and from the file: {line}",
            "use values that TOML has: texts, numbers, truth values and lists of them",
        )
