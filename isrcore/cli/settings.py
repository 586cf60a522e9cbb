"""The configuration of a run, layer by layer."""

from __future__ import annotations

import argparse

from isrcore.cli.faults import CommandError
from isrcore.cli.inputs import calibration_flags, option_name
from isrcore.config import Config, ConfigError
from isrcore.isr import IsrTask, default_config
from isrcore.registry import Registry

_LAYER = "command line"


def make_config(registry: Registry, camera: str, arguments: argparse.Namespace) -> Config:
    """The configuration for a camera: defaults < camera < task < files < calibration options < settings.

    Raises `CommandError` with everything that is wrong in files and settings.
    """
    config = default_config(registry, camera)
    with config.layer("task", IsrTask.__name__):
        IsrTask.applyOverrides(config)
    problems = _read_files(config, arguments.config_file)
    _switch_on(config, registry, arguments)
    problems += _apply_settings(config, arguments.config)
    if problems:
        raise CommandError(f"the configuration for camera {camera!r} cannot be used", problems)
    return config


def _read_files(config: Config, files: list[str]) -> list[str]:
    """Set what the files say; returns what is wrong with them."""
    problems = []
    for file in files:
        try:
            config.update_from_toml(file)
        except ConfigError as fault:
            problems.append(str(fault))
    return problems


def _switch_on(config: Config, registry: Registry, arguments: argparse.Namespace) -> None:
    """Whoever gives a calibration wants it used."""
    for kind, flags in calibration_flags(registry).items():
        if not getattr(arguments, kind):
            continue
        for flag in flags:
            if not config.get(flag):
                config.set(flag, True, _LAYER, f"--{option_name(kind)}")


def _apply_settings(config: Config, settings: list[str]) -> list[str]:
    """Set ``key=value`` words; returns what is wrong with them."""
    problems = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            problems.append(f"setting {setting!r} is not of the form key=value, as in doDark=false")
            continue
        try:
            config.set_text(key.strip(), value, _LAYER, f"-c {setting}")
        except ConfigError as fault:
            problems.append(str(fault))
    return problems
