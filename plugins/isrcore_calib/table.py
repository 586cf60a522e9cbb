"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

Rows = Sequence[tuple[str, ...]]

_TEXTS = ("detector", "master", "amplifier", "file", "what", "verdict")


def show(columns: Sequence[str], rows: Rows) -> None:
    """Print a table: words to the left, numbers to the right."""
    width = None if sys.stdout.isatty() else 10_000
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="left" if column in _TEXTS else "right")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False, emoji=False, width=width).print(table)
