"""Where masters are: a file, or a folder or pattern with one file per detector."""

from __future__ import annotations

from pathlib import Path

from isrcore_calib.faults import MasterError

_SLOT = "{detector}"


def is_file(text: str) -> bool:
    """Whether the text names one file, not one per detector."""
    return text.endswith((".fits", ".fits.fz")) and _SLOT not in text and not Path(text).is_dir()


def place(text: str, kind: str, detector: str) -> Path:
    """The file of a detector's master: the text itself, the pattern with ``{detector}`` filled in, or
    ``<kind>_<detector>.fits`` in the folder.
    """
    if is_file(text):
        return Path(text)
    if _SLOT in text:
        return Path(text.replace(_SLOT, detector))
    return Path(text) / f"{kind}_{detector}.fits"


def folder_of(text: str) -> Path:
    """The folder that masters are written to, made if it is not there. Raises `MasterError`."""
    folder = Path(text).parent if is_file(text) or _SLOT in text else Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise MasterError(
            f"folder {str(folder)!r} cannot be made: {fault.strerror}; choose another with -o"
        ) from fault
    return folder
