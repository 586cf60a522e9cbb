"""What the command shows: tables, messages, progress and logs, on a terminal or in a pipe."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

# A pipe has no width: wide enough that no cell of a table is ever folded.
_PIPE_WIDTH = 10_000

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def make_console(*, stderr: bool = False) -> Console:
    """A console that shows texts as they are: ``file.fits[ccd05]`` is a name, not a style."""
    stream: TextIO = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def make_table(columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """An empty table; columns among ``numbers`` are aligned to the right. Narrow terminals fold cells."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in numbers else "left")
    return table


def make_progress(console: Console) -> Progress:
    """A bar on a terminal, nothing in a pipe."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextmanager
def logging_to(console: Console, verbosity: int) -> Iterator[None]:
    """Show what isrcore logs while the block runs: warnings, with 1 progress, with 2 everything."""
    logger = logging.getLogger("isrcore")
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, markup=False, highlighter=None)
    else:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
