"""The ``isr`` command: finds the plugins once, lets them add subcommands, runs one."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Sequence
from contextlib import suppress

from isrcore.camera_files import is_camera_file, load_camera_file
from isrcore.cli import cameras, demo, diff, explain, plan, plugins, replay, run, show, why
from isrcore.cli.collecting import leave_garbage_at_exit, rare_collections
from isrcore.cli.faults import EXIT_STATUS, FAILED, FAILURES, INTERRUPTED, OK, REFUSALS, REFUSED
from isrcore.cli.terminal import logging_to, make_console
from isrcore.kernels.memory import keep_freed_memory
from isrcore.registry import Registry, RegistryError

_ABOUT = """Remove the instrument signature from raw CCD frames of any camera. Cameras and corrections are
plugins; 'isr cameras' and 'isr plugins' list those installed here."""

_EXAMPLE = """example:
  isr calibrate bias bias*.fits -o masters/
  isr calibrate flat flat*.fits -o masters/ --bias masters/
  isr run science*.fits --bias masters/ --flat masters/ -o reduced

'isr COMMAND --help' explains a command.

"""


def main(argv: Sequence[str] | None = None, registry: Registry | None = None) -> int:
    """Run the command line ``argv`` (default: that of the process) and return the exit status.

    ``registry`` holds the plugins to use, the installed ones by default. A subcommand's function finds it as
    ``arguments.registry``, and in ``arguments.messages`` the console that writes to stderr.
    """
    if argv is None:
        leave_garbage_at_exit()
    arguments = _start(argv, registry)
    return arguments if isinstance(arguments, int) else _execute(arguments)


@rare_collections()
def _start(argv: Sequence[str] | None, registry: Registry | None) -> argparse.Namespace | int:
    """The arguments, or the exit status when there is nothing to execute."""
    try:
        plugins_here = registry or Registry.discover()
        arguments = make_parser(plugins_here).parse_args(argv)
    except RegistryError as fault:
        return _complain(fault, REFUSED)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else OK
    try:
        arguments.registry = _choose_camera(plugins_here, arguments)
    except REFUSALS as fault:
        return _complain(fault, REFUSED)
    return arguments


def _choose_camera(registry: Registry, arguments: argparse.Namespace) -> Registry:
    """The plugins, and the camera that ``--camera`` names or describes; commands get its name."""
    own = getattr(arguments, "camera", None)
    if isinstance(own, str) and is_camera_file(own):
        chosen = registry.with_camera_file(own)
        arguments.camera = load_camera_file(own).camera.name
        return chosen
    read_as = getattr(arguments, "read_as", None)
    return registry.with_camera(read_as) if read_as else registry


def make_parser(registry: Registry) -> argparse.ArgumentParser:
    """The parser with all subcommands. Raises `RegistryError` when plugins add one that is there already."""
    parser = argparse.ArgumentParser(
        prog="isr",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"isr {importlib.metadata.version('isrcore')}")
    parser.set_defaults(function=lambda _: parser.print_help(), verbose=0, traceback=False)
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (run, plan, show, why, replay, diff, demo, cameras, plugins, explain):
        command.add_parser(subcommands, registry)
    try:
        registry.add_commands(subcommands)
    except argparse.ArgumentError as fault:
        raise RegistryError(f"a plugin's subcommand cannot be added: {fault}") from fault
    for subparser in {id(found): found for found in subcommands.choices.values()}.values():
        _add_common(subparser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Options that every subcommand has, unless it uses their names itself."""
    with suppress(argparse.ArgumentError):
        parser.add_argument(
            "--camera",
            dest="read_as",
            metavar="NAME",
            help="read raw files as those of this camera: a name ('isr cameras') or a camera file, NAME.toml",
        )
    group = parser.add_argument_group("messages")
    with suppress(argparse.ArgumentError):
        group.add_argument(
            "-v", "--verbose", action="count", default=0, help="log progress to stderr; -vv logs everything"
        )
    with suppress(argparse.ArgumentError):
        group.add_argument(
            "--traceback", action="store_true", help="show where in the program an error arose"
        )


def _execute(arguments: argparse.Namespace) -> int:
    """Run the chosen subcommand; errors written for readers need no traceback."""
    keep_freed_memory()
    arguments.messages = make_console(stderr=True)
    with logging_to(arguments.messages, arguments.verbose):
        try:
            return int(arguments.function(arguments) or OK)
        except (*REFUSALS, *FAILURES) as fault:
            if arguments.traceback:
                arguments.messages.print_exception()
            return _complain(fault, REFUSED if isinstance(fault, REFUSALS) else FAILED)
        except KeyboardInterrupt:
            return _complain("interrupted; nothing is left half-written", INTERRUPTED)


def _complain(fault: object, status: int) -> int:
    """Print what is wrong and return the exit status."""
    make_console(stderr=True).print(f"isr: {fault}", soft_wrap=True, style="bold red")
    return status
