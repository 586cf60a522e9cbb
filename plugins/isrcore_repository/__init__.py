"""An embedded data repository: a folder of FITS products and one SQLite registry."""

from isrcore_repository.commands import isr_commands
from isrcore_repository.opening import isr_open_repository
from isrcore_repository.repository import EmbeddedRepository

__all__ = ["EmbeddedRepository", "isr_commands", "isr_open_repository"]
