"""What can be wrong with inputs of a calibration."""

from isrcore import TaskError


class MasterError(TaskError):
    """Inputs of which no calibration can be made; the message says which and why."""
