"""The table of mutants in ``docs/reference/mutants.md``.

``python -m tests.mutants.table`` brings it up to date. A kind of mutants is a module beside this one with
``caught() -> list[Caught]``.
"""

from __future__ import annotations

import importlib.util
import re
from importlib import import_module
from pathlib import Path

from tests.mutants.mutant import CONSTRUCTION, Caught

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mutants.md"

#: Modules with mutants, of which some may not be there.
KINDS = ("cameras", "steps")


def table(found: list[Caught]) -> str:
    """The lines of one kind."""
    lines = ["| mutant | what is wrong | caught by | what it says |", "|---|---|---|---|"]
    for one in found:
        check = "not even made" if one.check == CONSTRUCTION else f"`{one.check}`"
        cells = (one.name, one.what, check, one.message)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def kinds() -> list[str]:
    """Kinds of mutants that there are."""
    return [kind for kind in KINDS if importlib.util.find_spec(f"tests.mutants.{kind}")]


def page_with(text: str, tables: dict[str, str]) -> str:
    """A page with these tables. Raises ValueError for one that has no place in it."""
    for kind, lines in tables.items():
        place = re.compile(rf"(?<=<!-- mutants: {kind} -->\n).*?(?=<!-- end -->)", re.DOTALL)
        text, count = place.subn(lambda _, lines=lines: lines, text)
        if count != 1:
            raise ValueError(f"the page has {count} places for mutants of {kind}; mark one")
    return text


def tables() -> dict[str, str]:
    """What notices every mutant, by kind."""
    return {kind: table(import_module(f"tests.mutants.{kind}").caught()) for kind in kinds()}


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(), tables()))
