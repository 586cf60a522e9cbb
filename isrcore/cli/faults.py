"""Errors the command explains without a traceback, and the exit status they lead to."""

from __future__ import annotations

from isrcore.calibrations import CalibrationError
from isrcore.camera import CameraError
from isrcore.config import ConfigError
from isrcore.data_repository import RepositoryError
from isrcore.defects import DefectsError
from isrcore.fits import FitsError
from isrcore.geometry import GeometryError
from isrcore.image import MaskPlaneError
from isrcore.linearity import LinearizerError
from isrcore.paths import PathsError
from isrcore.plan import PlanError
from isrcore.raw import RawError
from isrcore.registry import RegistryError
from isrcore.repository import DatasetError
from isrcore.step import StepError
from isrcore.task import TaskError

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

EXIT_STATUS = """exit status:
  0    everything was done
  1    something failed; what did not is there, complete
  2    nothing was done: wrong options or configuration, or nothing could be planned
  130  interrupted
"""


class CommandError(ValueError):
    """Arguments that cannot be used; the message lists every reason."""

    def __init__(self, what: str, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([what, *(indented(problem) for problem in problems)]))


#: What is wrong with arguments, configuration or plugins: nothing has been started.
REFUSALS = (
    CommandError,
    ConfigError,
    CalibrationError,
    CameraError,
    DefectsError,
    GeometryError,
    LinearizerError,
    PathsError,
    PlanError,
    RegistryError,
    RepositoryError,
)
#: What can go wrong with files and pixels later on.
FAILURES = (DatasetError, FitsError, MaskPlaneError, RawError, StepError, TaskError)


def indented(problem: str) -> str:
    """A problem as an item of a list, its further lines under the first."""
    return "  - " + problem.replace("\n", "\n    ")


def reason_of(fault: BaseException) -> str:
    """What to tell about an error: its message, with the type in front when nobody wrote it for readers."""
    is_known = isinstance(fault, REFUSALS + FAILURES + (ModuleNotFoundError,))
    return str(fault) if is_known else f"{type(fault).__name__}: {fault}"
