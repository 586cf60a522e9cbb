"""File names as users give them: paths, and patterns that the shell left alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_WILDCARDS = frozenset("*?[")
_ENDINGS = (".fz", ".gz", ".fits", ".fit", ".fts")


class PathsError(ValueError):
    """Patterns that nothing matches; the message lists them."""


def expand_paths(texts: Iterable[str]) -> list[Path]:
    """Paths, with patterns filled in, each once, those of a pattern by name.

    Raises `PathsError` for patterns that nothing matches; a plain path need not exist.
    """
    found: list[Path] = []
    problems = []
    for text in texts:
        paths = matches(text)
        if not paths:
            problems.append(f"  - nothing matches {text!r}; check folder and pattern")
        found += paths
    if problems:
        raise PathsError("\n".join(["no such files", *problems]))
    return list(dict.fromkeys(found))


def matches(text: str) -> list[Path]:
    """The path itself, or everything that fits the pattern, by name."""
    path = Path(text)
    if path.exists() or not _WILDCARDS & set(text):
        return [path]
    anchor = Path(path.anchor)
    return sorted(anchor.glob(str(path.relative_to(anchor))))


def stem(path: Path) -> str:
    """The name without the endings of FITS files."""
    name = path.name
    while name.lower().endswith(_ENDINGS):
        name = name[: name.rindex(".")]
    return name
