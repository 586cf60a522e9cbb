"""Checks of what importing a camera's plugin does: it should describe, not act."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType
from typing import Any

from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, NotApplicable, checks
from isrcore.testing.import_probe import HEAVY

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+).*;.*extra\s*==")

_TOLD = {
    "reads": "it opens a file that is not its own",
    "writes": "it opens a file for writing",
    "processes": "it starts another program",
    "network": "it asks the network",
}


def module_of(case: CameraCase) -> str:
    """The module that is imported for the camera. Raises NotApplicable when the plugin is none."""
    if not isinstance(case.plugin, ModuleType):
        raise NotApplicable(f"plugin {case.plugin_name!r} is no module, so nothing is imported for it")
    return case.plugin.__name__


@checks("importing the plugin does nothing but describe the camera")
def check_import(case: CameraCase) -> Iterator[Fault]:
    """No output, files, programs, network, threads, heavy imports or changes of what all code shares."""
    module = module_of(case)
    found = run_probe(module)
    example, advice = f"import {module}", "do that where it is needed, in a function"
    if found["failure"]:
        yield Fault("it cannot be imported", f"{example}: {found['failure']}", "let the module import alone")
    if found["printed"]:
        yield Fault("it prints while it is imported", f"{example}: {found['printed'][:200]!r}", advice)
    for kind, what in found["events"]:
        yield Fault(f"{_TOLD[kind]} while it is imported", f"{example}: {what}", advice)
    for name in found["heavy"]:
        yield Fault(
            f"it imports {name}, which is heavy", example, f"import {name} inside the function that uses it"
        )
    for name in found["threads"]:
        yield Fault(f"it starts a thread while it is imported: {name}", example, advice)
    for name in found["changed"]:
        yield Fault(f"it changes the {name} of the whole process while it is imported", example, advice)


@checks("the plugin can be imported without any optional dependency")
def check_optional(case: CameraCase) -> Iterator[Fault]:
    """Blocked optional packages: the import succeeds, or says what to install."""
    module = module_of(case)
    blocked = sorted((HEAVY | optional_modules(module)) - {module.partition(".")[0]})
    failure = run_probe(module, *blocked)["failure"]
    if failure and "install" not in failure:
        yield Fault(
            "it needs an optional dependency to be imported, and does not say what to install",
            f"import {module}: {failure}",
            "import it inside the function that uses it, and let the failure there say what to install; or "
            "make it a dependency that is always installed",
        )


def optional_modules(module: str) -> frozenset[str]:
    """Modules of packages that are installed for extras only, of the plugin's distribution and isrcore's."""
    owners = packages_distributions()
    names = {*owners.get(module.partition(".")[0], ()), *owners.get("isrcore", ())}
    extras = {
        found[1] for name in names for line in _requirements(name) if (found := _REQUIREMENT.match(line))
    }
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in extras}
    return frozenset(
        top
        for top, packages in owners.items()
        if any(re.sub(r"[-_.]+", "-", package).lower() in normal for package in packages) and top != "isrcore"
    )


def _requirements(distribution: str) -> list[str]:
    try:
        return requires(distribution) or []
    except PackageNotFoundError:
        return []


def run_probe(module: str, *blocked: str) -> dict[str, Any]:
    """What importing a module does in a process of its own; see `isrcore.testing.import_probe`."""
    # The same modules are found, and no compiled file is written beside them.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "isrcore.testing.import_probe", module, *blocked],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} cannot be looked at while it is imported: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
