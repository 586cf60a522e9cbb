"""The documented command line of a task: the run of ``isr run`` as a function that returns what it did."""

from __future__ import annotations

import argparse
import cProfile
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isrcore.cli.batch import Batch
from isrcore.cli.faults import FAILURES, REFUSALS
from isrcore.cli.inputs import add_arguments
from isrcore.cli.outcomes import Outcome
from isrcore.cli.run_options import add_run_options
from isrcore.cli.showing import show
from isrcore.cli.task_runner import TaskRunner
from isrcore.cli.terminal import make_console
from isrcore.config import Config
from isrcore.isr import IsrTask
from isrcore.kernels.memory import keep_freed_memory
from isrcore.registry import Registry
from isrcore.task import Struct

_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal")

# A shell keeps eight bits of a status.
_MOST = 255


class ArgumentParser(argparse.ArgumentParser):
    """Options may also come from files, ``@FILE``: several per line, comments after #."""

    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """The words of one line."""
        return shlex.split(arg_line, comments=True)


def make_parser(task_class: type[IsrTask], registry: Registry) -> ArgumentParser:
    """The parser for the command line of a task."""
    parser = ArgumentParser(
        prog=task_class.__name__,
        fromfile_prefix_chars="@",
        description="Remove the instrument signature from raw frames; @FILE reads options from a file.",
    )
    add_arguments(parser, registry)
    add_run_options(parser)
    group = parser.add_argument_group("messages and errors")
    group.add_argument(
        "-L",
        "--loglevel",
        action="append",
        default=[],
        metavar="[NAME=]LEVEL",
        help=f"log level ({', '.join(_LEVELS)}), of everything or of one logger",
    )
    group.add_argument("--noExit", action="store_true", help="return although units failed")
    group.add_argument("--doraise", action="store_true", help="let the error of a unit end the run")
    group.add_argument(
        "--profile", metavar="FILE", type=Path, help="write a profile of this process, as cProfile does"
    )
    parser.set_defaults(verbose=0, traceback=True)
    return parser


def parse_and_run(
    task_class: type[IsrTask],
    args: Sequence[str] | None = None,
    config: Config | None = None,
    log: logging.Logger | None = None,
    keeps_results: bool = False,
) -> Struct:
    """What `CmdLineTask.parseAndRun` does, for tasks that correct exposures."""
    registry = Registry.discover()
    parser = make_parser(task_class, registry)
    parsed = parser.parse_args(None if args is None else list(args))
    parsed.registry, parsed.messages = registry, make_console(stderr=True)
    logger = log or logging.getLogger("isrcore")
    _set_levels(parser, parsed.loglevel, logger)
    _check_profile(parser, parsed.profile)
    keep_freed_memory()
    logger.info("running: %s %s", task_class.__name__, shlex.join(sys.argv[1:] if args is None else args))
    profile = cProfile.Profile() if parsed.profile else None
    runner, results = None, list[Struct]()
    try:
        if profile:
            profile.enable()
        runner, outcomes = _run(task_class, parser, parsed, config, keeps_results)
        results = [_result(outcome) for outcome in outcomes]
    except (*REFUSALS, *FAILURES) as fault:
        if parsed.doraise:
            raise
        logger.critical("%s", fault)
        _exit(parser, parsed, 1, f"nothing was run: {fault}")
    finally:
        if profile:
            profile.disable()
            profile.dump_stats(parsed.profile)
    failed = sum(result.exitStatus != 0 for result in results)
    if failed:
        _exit(parser, parsed, failed, f"{failed} units failed")
    return Struct(argumentParser=parser, parsedCmd=parsed, taskRunner=runner, resultList=results)


def _run(
    task_class: type[IsrTask],
    parser: ArgumentParser,
    parsed: argparse.Namespace,
    config: Config | None,
    keeps_results: bool,
) -> tuple[TaskRunner | None, list[Outcome]]:
    """Show what is asked for, then run unless that was all."""
    if parsed.show:
        print("\n".join(show(Batch(parsed, task_class, config), parsed.show)))
        if "run" not in parsed.show:
            return None, []
    runner = TaskRunner(task_class, parsed, config, keeps_results)
    return runner, runner.run()


def _result(outcome: Outcome) -> Struct:
    """One unit's result, as the page names its parts."""
    return Struct(
        exitStatus=0 if outcome.status in ("ok", "skipped") else 1,
        unit=outcome.unit,
        reason=outcome.reason,
        metadata=outcome.metadata,
        result=outcome.result,
    )


def _set_levels(parser: ArgumentParser, words: list[str], logger: logging.Logger) -> None:
    """Set log levels; a wrong one is wrong usage."""
    for word in words:
        name, _, level = word.rpartition("=")
        if level.lower() not in _LEVELS:
            parser.error(f"--loglevel: {level!r} is none of {', '.join(_LEVELS)}")
        named = {"trace": logging.DEBUG, "warn": logging.WARNING, "fatal": logging.CRITICAL}
        number: Any = named.get(level.lower()) or logging.getLevelName(level.upper())
        (logging.getLogger(name) if name else logger).setLevel(number)


def _check_profile(parser: ArgumentParser, path: Path | None) -> None:
    """Refuse a profile that could not be written, before any time is spent; it is wrong usage."""
    if path is None:
        return
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        parser.error(f"--profile: {str(path)!r} cannot be written; name a file in a folder that is there")


def _exit(parser: ArgumentParser, parsed: argparse.Namespace, failed: int, message: str) -> None:
    """End the program with the number of failures as status, unless --noExit says not to."""
    print(f"{parser.prog}: {message}", file=sys.stderr)
    if not parsed.noExit:
        sys.exit(min(failed, _MOST))
