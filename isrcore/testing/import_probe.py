"""What importing a module does, looked at from inside a process of its own; run by the conformance kit.

``python -m isrcore.testing.import_probe MODULE [BLOCKED ...]`` imports MODULE, with the BLOCKED modules made
impossible to import, and prints what it found as JSON on the last line.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import io
import json
import logging
import os
import random
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

#: Modules that take long to import or that start things: to be imported where they are used.
HEAVY = frozenset(
    {"matplotlib", "pandas", "numba", "astroscrappy", "astro_metadata_translator", "hypothesis", "pytest"}
    | {"IPython", "tkinter", "requests", "sqlalchemy", "torch", "tensorflow", "jax", "dask", "xarray"}
    | {"skimage", "sklearn", "cv2", "ccdproc", "photutils"}
)

# Opened by the interpreter and libraries themselves.
_SYSTEM = ("/dev/", "/proc/", "/sys/", "/etc/", "/usr/share/zoneinfo")
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn")
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind")


class _Blocked(importlib.abc.MetaPathFinder):
    """Refuses modules as if they were not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError for a blocked module."""
        if fullname.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


class _Watch:
    """What happens while it is on."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.is_on = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Keep what is told of files, processes and the network."""
        if not self.is_on:
            return
        if event == "open":
            path, _, flags = arguments
            writes = bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if isinstance(path, str | bytes):
                self.events.append(("writes" if writes else "reads", os.fsdecode(path)))
        elif event in _PROCESSES:
            self.events.append(("processes", f"{event} {arguments[0]!r}"))
        elif event in _NETWORK:
            self.events.append(("network", f"{event} {arguments[-1]!r}"))


def _state() -> dict[str, str]:
    """What all code of a process shares and an import should leave alone."""
    import numpy as np

    # The generator that an import must not touch is the old one.
    numbers = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "environment": repr(sorted(os.environ.items())),
        "working directory": os.getcwd(),
        "random numbers of Python": str(hash(random.getstate())),
        "random numbers of numpy": str(hash((numbers[1].tobytes(), numbers[2]))),  # type: ignore[index]
        "floating-point errors of numpy": repr(np.geterr()),
        "warning filters": repr(warnings.filters),
        "handlers of the root logger": repr(logging.getLogger().handlers),
    }


def _places(module: str) -> tuple[str, ...]:
    """Where an import may read: Python, installed packages, and the package's own folder."""
    found = importlib.util.find_spec(module.partition(".")[0])
    own = list(found.submodule_search_locations or []) if found else []
    own += [str(Path(found.origin).parent)] if found and found.origin and not own else []
    installed = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()]
    return (*(str(Path(place).resolve()) for place in (*own, *installed)), *_SYSTEM)


def _strange(events: Sequence[tuple[str, str]], places: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Events that are no import: reading elsewhere, and all the rest."""
    for kind, what in events:
        path = str(Path(what).resolve()) if kind == "reads" else what
        is_module = path.endswith((".py", ".pyc", ".so", ".pth", ".pyd"))
        if not (kind == "reads" and (is_module or path.startswith(tuple(places)))):
            yield kind, what


def probe(module: str, blocked: Sequence[str]) -> dict[str, Any]:
    """Import a module and tell what that did."""
    places, watch, printed = _places(module), _Watch(), io.StringIO()
    sys.meta_path.insert(0, _Blocked(blocked))
    known, before, threads = set(sys.modules), _state(), set(threading.enumerate())
    failure = ""
    with redirect_stdout(printed), redirect_stderr(printed):
        watch.is_on = True
        try:
            importlib.import_module(module)
        except BaseException as fault:  # a module may even exit
            failure = f"{type(fault).__name__}: {fault}"
        watch.is_on = False
    after, imported = _state(), {name.partition(".")[0] for name in set(sys.modules) - known}
    return {
        "failure": failure,
        "printed": printed.getvalue(),
        "events": sorted(set(_strange(watch.events, places))),
        "heavy": sorted(imported & HEAVY),
        "changed": sorted(name for name in before if before[name] != after[name]),
        "threads": [thread.name for thread in set(threading.enumerate()) - threads],
    }


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], sys.argv[2:])))
