"""A step of our own, and another dark for the camera Heron."""

from isrcore import Step, hookimpl
from isrcore_plover.dark import WarmDark
from isrcore_plover.ghost import PUPIL_GHOST, PupilGhost

__all__ = ["PUPIL_GHOST", "PupilGhost", "WarmDark", "isr_steps"]


@hookimpl
def isr_steps() -> list[type[Step]]:
    """The ghost for every camera, the dark for Heron."""
    return [PupilGhost, WarmDark]
