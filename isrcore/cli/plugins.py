"""``isr plugins``: who does what here, and who could not be loaded."""

from __future__ import annotations

import argparse
from typing import Any

from isrcore.cli.faults import EXIT_STATUS, FAILED, OK
from isrcore.cli.terminal import make_console, make_table
from isrcore.registry import PluginInfo, Registry

_ABOUT = """List the plugins (entry points of group 'isrcore', and camera files of the user's folder or of
--camera): version, the hooks they implement, the cameras and steps they bring, and their state: loaded,
failed and why, or shadowed and by what. The version of a camera file is the beginning of its SHA-256. The
exit status is 1 when a plugin failed."""

_EXAMPLE = """example:
  isr plugins

"""


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "plugins",
        help="list plugins and what they bring",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(function=show_plugins)


def show_plugins(arguments: argparse.Namespace) -> int:
    """Print a line per plugin."""
    registry: Registry = arguments.registry
    table = make_table(("plugin", "version", "state", "hooks", "cameras", "steps"))
    for info in registry.plugins:
        table.add_row(*_cells(registry, info))
    make_console().print(table)
    return FAILED if any(info.failure for info in registry.plugins) else OK


def _cells(registry: Registry, info: PluginInfo) -> tuple[str, ...]:
    """What the table says of a plugin."""
    state = f"failed: {info.failure}" if info.failure else "loaded"
    state = f"shadowed: {info.shadow}" if info.shadow else state
    cameras = sorted(name for name, owner in registry.camera_owners.items() if owner == info.name)
    steps = (step.spec.name for plugin, step in registry.steps if plugin == info.name)
    return info.name, info.version, state, ", ".join(info.hooks), ", ".join(cameras), ", ".join(steps)
