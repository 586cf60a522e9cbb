"""New packages for cameras and steps, complete and passing their own tests: ``isr new``."""

from isrcore_new.command import isr_commands
from isrcore_new.naming import Naming, NamingError
from isrcore_new.package import write_package

__all__ = ["Naming", "NamingError", "isr_commands", "write_package"]
