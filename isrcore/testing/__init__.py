"""The conformance kit: contracts for cameras and steps, and the strategies and checks they are made of.

`CameraContract` and `StepContract` need pytest and Hypothesis (extra ``kit``), `isrcore.testing.strategies`
Hypothesis, `isrcore.testing.contracts` neither. Nothing is imported before it is asked for, so the core never
depends on any of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isrcore.testing.camera_contract import CameraContract
    from isrcore.testing.step_contract import StepContract

__all__ = ["CameraContract", "StepContract"]

# Where the public names are.
_PLACES = {
    "CameraContract": "isrcore.testing.camera_contract",
    "StepContract": "isrcore.testing.step_contract",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for. Raises ImportError, saying what to install, without pytest or Hypothesis."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_PLACES[name]), name)
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] not in ("hypothesis", "pytest"):
            raise
        raise ImportError(
            f"{name} needs {fault.name}; install it with: pip install 'isrcore[kit]'", name=fault.name
        ) from fault
