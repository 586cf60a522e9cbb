"""What ``--show`` prints: the configuration and who set it, the tasks, the units."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from isrcore.cli.batch import Batch
from isrcore.cli.faults import CommandError
from isrcore.cli.run_options import SHOWN
from isrcore.config import Config
from isrcore.config_toml import format_value
from isrcore.isr import IsrTask


def show(batch: Batch, wanted: list[str]) -> Iterator[str]:
    """The lines for every word of --show. Raises `CommandError` for words that are none of its."""
    problems = [f"{word!r} cannot be shown; that can: {SHOWN}" for word in wanted if not _is_known(word)]
    if problems:
        raise CommandError("--show cannot be used", problems)
    for word in wanted:
        what, _, pattern = word.partition("=")
        for camera, task in sorted(batch.tasks.items()):
            heading = [f"# camera {camera}"] if camera and what in ("config", "history", "tasks") else []
            yield from heading
            yield from _about_task(what, task, pattern or "*")
        if what == "data":
            yield from (f"{unit.label} {unit.camera}".rstrip() for unit in batch.units)


def _is_known(word: str) -> bool:
    """Whether a word can be shown."""
    what, _, pattern = word.partition("=")
    return word in ("tasks", "data", "run", "config") or bool(what in ("config", "history") and pattern)


def _about_task(what: str, task: IsrTask, pattern: str) -> Iterator[str]:
    """What is asked about one task."""
    if what == "config":
        yield from (
            f"{name} = {format_value(task.config.get(name))}" for name in _names(task.config, pattern)
        )
    elif what == "history":
        for name in _names(task.config, pattern):
            yield name
            yield from (f"  {format_value(c.value)}  {c.layer}: {c.who}" for c in task.config.history(name))
    elif what == "tasks":
        for name, one in task.getTaskDict().items():
            yield f"{name}: {type(one).__module__}.{type(one).__qualname__}"


def _names(config: Config, pattern: str) -> Iterator[str]:
    """The fields whose dotted names fit a pattern. Raises `CommandError` when none does."""
    found = [name for name in config.names() if fnmatchcase(name, pattern)]
    if not found:
        raise CommandError("--show cannot be used", [f"no field of the configuration is like {pattern!r}"])
    yield from found
