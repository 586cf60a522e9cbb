"""``isr status``: what became of every science frame."""

from __future__ import annotations

from isrcore_repository.repository import EmbeddedRepository


def show_status(repository: EmbeddedRepository) -> None:
    """Print it."""
    raise NotImplementedError
