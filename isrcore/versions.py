"""Which versions of Python and its packages are at work."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache


def package_versions() -> dict[str, str]:
    """Versions of Python, of distributions that have a module imported now, and of plugins, by name."""
    owners = _owners()
    tops = {name.partition(".")[0] for name in list(sys.modules)}
    # Distributions that are installed in place do not tell which modules they bring.
    plugins = {point.dist.name for point in importlib.metadata.entry_points(group="isrcore") if point.dist}
    names = sorted(plugins.union(owner for top in tops for owner in owners.get(top, ())))
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


@cache
def _owners() -> Mapping[str, list[str]]:
    """The distributions that bring each top-level module; reading them all takes a while."""
    return importlib.metadata.packages_distributions()


def version_differences(stored: Mapping[str, str], present: Mapping[str, str]) -> Iterator[str]:
    """Packages that both know in different versions, one line each; what one lacks does not count."""
    for name in sorted(stored.keys() & present.keys()):
        if stored[name] != present[name]:
            yield f"{name}: {stored[name]} stored, {present[name]} now"
