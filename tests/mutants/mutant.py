"""What a mutant is: something that breaks one promise, and the check that has to notice."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import attrs

CONSTRUCTION = "construction"


class Caught(NamedTuple):
    """A line of the table: mutant, what is wrong with it, which check notices, and what it says first."""

    name: str
    what: str
    check: str
    message: str


@attrs.frozen
class Mutant:
    """``make`` gives what ``check`` is run on; ``words`` is a pattern of the fault that it must name.

    A mutant that cannot even be made is caught by construction, and ``check`` is None.
    """

    name: str
    what: str
    check: Callable[[Any], None] | None
    words: str
    make: Callable[[], Any]

    def message(self) -> str:
        """What the kit says of the mutant, found out once; empty when nobody notices."""
        return _message(self)

    def _found(self) -> str:
        try:
            made = self.make()
        except ValueError as fault:
            return str(fault) if self.check is None else ""
        if self.check is None:
            return ""
        try:
            self.check(made)
        except AssertionError as broken:
            return str(broken)
        return ""

    def caught(self) -> Caught:
        """The line of the table."""
        name = CONSTRUCTION if self.check is None else self.check.__name__
        # The first fault; before it stands whose promise it is.
        lines = [line.removeprefix("  - ").strip() for line in self.message().splitlines()]
        return Caught(self.name, self.what, name, lines[min(1, len(lines) - 1)] if lines else "")


@cache
def _message(mutant: Mutant) -> str:
    return mutant._found()
