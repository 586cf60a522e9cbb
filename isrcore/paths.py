"""File names as users give them: paths, patterns that the shell left alone; and what identifies a file."""

from __future__ import annotations

import hashlib
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


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as ``sha256sum`` prints it. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
