"""Conformance tests that pytest makes of its options: ``pytest --isr-camera mycam --isr-raw frame.fits``.

The options are those of the plugin named below, which is installed with isrcore and loads this when one of
them is given. Where isrcore is not installed: ``pytest -p isrcore.testing.pytest_plugin``. Nothing is
registered for rewriting of assertions: those of the kit are messages already, and pytest would complain where
a conftest has imported the kit before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from isrcore.registry import Registry
    from isrcore.testing.camera_contract import CameraContract

pytest_plugins = ("isrcore_pytest",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the tests of the cameras that were asked for; options like ``-k`` choose among them as well."""
    cameras: list[str] = config.getoption("isr_camera")
    files = [Path(file) for file in config.getoption("isr_raw")]
    if files and not cameras:
        raise pytest.UsageError("--isr-raw needs --isr-camera NAME, the camera that the file is of")
    if cameras:
        module = pytest.Module.from_parent(session, path=Path(__file__).with_name("camera_contract.py"))
        module.obj = _module(list(dict.fromkeys(cameras)), files)
        items.extend(session.genitems(module))


def _module(cameras: Sequence[str], files: Sequence[Path]) -> ModuleType:
    """A test module with a class for every camera. Raises UsageError for one that nobody knows."""
    from isrcore.camera import CameraError
    from isrcore.registry import Registry, RegistryError
    from isrcore.testing.camera_case import find_camera

    module = ModuleType("isr_cameras")
    for text in cameras:
        try:
            camera, registry = find_camera(text, Registry.discover())
        except (RegistryError, CameraError) as fault:
            raise pytest.UsageError(str(fault)) from fault
        made = contract_of(camera.name, _files_of(camera.name, cameras, files, registry), registry)
        made.__module__ = module.__name__
        setattr(module, made.__name__, made)
    return module


def contract_of(camera: str, files: Sequence[Path], registry: Registry) -> type[CameraContract]:
    """The contract as a test class for one camera."""
    from isrcore.testing import CameraContract

    name = "Test" + re.sub(r"\W", "_", camera)
    return type(name, (CameraContract,), {"camera": camera, "raw": tuple(files), "registry": registry})


def _files_of(
    camera: str, cameras: Sequence[str], files: Sequence[Path], registry: Registry
) -> tuple[Path, ...]:
    """The files of one camera: all of them for a single one, else those that it recognises."""
    if len(cameras) == 1:
        return tuple(files)
    from isrcore.registry import RegistryError

    found = []
    for file in files:
        try:
            owner = registry.list_raw(file).camera
        except (OSError, RegistryError) as fault:
            raise pytest.UsageError(str(fault)) from fault
        found += [file] if owner == camera else []
    return tuple(found)
