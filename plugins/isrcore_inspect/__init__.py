"""Raw files that nobody has described: ``isr inspect`` proposes a camera file."""

from isrcore_inspect.command import inspect, isr_commands

__all__ = ["inspect", "isr_commands"]
