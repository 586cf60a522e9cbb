"""The configuration of a run, layer by layer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from isrcore.cli.faults import CommandError
from isrcore.cli.inputs import calibration_flags, option_name
from isrcore.config import Config, ConfigError
from isrcore.isr import IsrTask
from isrcore.isr_config import default_config
from isrcore.registry import Registry

_LAYER = "command line"


def make_config(
    registry: Registry,
    camera: str,
    arguments: argparse.Namespace,
    task_class: type[IsrTask] = IsrTask,
    base: Config | None = None,
) -> Config:
    """The configuration for a camera: ``base`` (default: defaults < camera) < task < files and settings.

    Whoever gives a calibration on the command line wants it used, unless a setting there says otherwise.
    Raises `CommandError` with everything that is wrong in files and settings.
    """
    config = default_config(registry, camera) if base is None else base.copy()
    with config.layer("task", task_class.__name__):
        task_class.applyOverrides(config)
    problems = [
        problem
        for is_file, word in arguments.overrides
        for problem in (_read_file(config, word) if is_file else _apply_setting(config, word))
    ]
    _switch_on(config, registry, arguments)
    if problems:
        raise CommandError(f"the configuration for camera {camera!r} cannot be used", problems)
    return config


def _read_file(config: Config, file: str) -> Iterator[str]:
    """Set what a file says; yields what is wrong with it."""
    try:
        config.load(file)
    except ConfigError as fault:
        yield str(fault)


def _apply_setting(config: Config, setting: str) -> Iterator[str]:
    """Set a word ``key=value``; yields what is wrong with it."""
    key, equals, value = setting.partition("=")
    if not equals:
        yield f"setting {setting!r} is not of the form key=value, as in doDark=false"
        return
    try:
        config.set_text(key.strip(), value, _LAYER, f"-c {setting}")
    except ConfigError as fault:
        yield str(fault)


def _switch_on(config: Config, registry: Registry, arguments: argparse.Namespace) -> None:
    """Switch on the steps whose calibrations are given."""
    for kind, flags in calibration_flags(registry).items():
        for flag in flags if getattr(arguments, kind) else ():
            if not config.get(flag) and config.origin(flag).layer != _LAYER:
                config.set(flag, True, _LAYER, f"--{option_name(kind)}")
