"""The hook that opens a repository."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from isrcore import Registry, hookimpl
from isrcore_repository import layout
from isrcore_repository.repository import EmbeddedRepository


@hookimpl
def isr_open_repository(uri: str, registry: Registry) -> EmbeddedRepository | None:
    """The repository in a folder that ``isr init`` made, by its path or as ``file:///path``."""
    parts = urlsplit(uri)
    root = Path(unquote(parts.path) if parts.scheme == "file" else uri)
    return EmbeddedRepository.open(root, registry) if (root / layout.MARKER).is_file() else None
