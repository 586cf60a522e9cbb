"""Which versions of Python and its packages are at work."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution

# The first part of a path to a Python file, in a line of what a distribution tells of its files.
_MODULE = re.compile(r'^"?([^/,"\n]+)(?:/[^\n]*)?\.py"?,', re.MULTILINE)


def package_versions() -> dict[str, str]:
    """Versions of Python, of distributions that have a module imported now, and of plugins, by name."""
    # Distributions that are installed in place do not tell which modules they bring.
    plugins = {point.dist.name for point in importlib.metadata.entry_points(group="isrcore") if point.dist}
    names = sorted(plugins.union(*map(owners, {name.partition(".")[0] for name in list(sys.modules)})))
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def owners(module: str) -> set[str]:
    """The names of the distributions that bring a top-level module.

    As `importlib.metadata.packages_distributions` has it, which takes ten times as long: it makes a path of
    every file that is installed.
    """
    return {str(one.metadata["Name"]) for one in _distributions().get(module, ())}


@cache
def _distributions() -> Mapping[str, list[Distribution]]:
    """The distributions that bring each top-level module."""
    found: dict[str, list[Distribution]] = {}
    for one in importlib.metadata.distributions():
        for module in (one.read_text("top_level.txt") or "").split() or _modules(one):
            found.setdefault(module, []).append(one)
    return found


def _modules(distribution: Distribution) -> set[str]:
    """The top-level modules among the files of a distribution."""
    record = distribution.read_text("RECORD")
    if record is None:
        record = "\n".join(f"{file}," for file in distribution.files or ())
    return set(_MODULE.findall(record))


def version_differences(stored: Mapping[str, str], present: Mapping[str, str]) -> Iterator[str]:
    """Packages that both know in different versions, one line each; what one lacks does not count."""
    for name in sorted(stored.keys() & present.keys()):
        if stored[name] != present[name]:
            yield f"{name}: {stored[name]} stored, {present[name]} now"
