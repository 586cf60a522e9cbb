"""Where masters are: a file, or a folder or pattern with one file per detector."""

from __future__ import annotations

from pathlib import Path

from isrcore_calib.faults import MasterError
from isrcore_calib.kinds import KINDS

_SLOT = "{detector}"


_FILES = (".fits", ".fits.fz", ".ecsv", ".toml")


def is_file(text: str) -> bool:
    """Whether the text names one file, not one per detector."""
    return text.endswith(_FILES) and _SLOT not in text and not Path(text).is_dir()


def place(text: str, kind: str, detector: str) -> Path:
    """The file of a detector's calibration: the text itself, or the pattern with ``{detector}`` filled in.

    In a folder it is ``<kind>_<detector>.fits``. Tables, which `isr run` knows by the name of the detector
    alone, have folders of their own, ``<kind>/<detector>.ecsv``; a table of all detectors is ``<kind>.ecsv``.
    """
    if is_file(text):
        return Path(text)
    if _SLOT in text:
        return Path(text.replace(_SLOT, detector))
    output = KINDS[kind].output if kind in KINDS else "frame"
    names = {"frame": f"{kind}_{detector}.fits", "table": f"{kind}/{detector}.ecsv", "joint": f"{kind}.ecsv"}
    return Path(text) / names[output]


def folder_of(text: str, kind: str = "") -> Path:
    """The folder that masters are written to, made if it is not there. Raises `MasterError`."""
    folder = place(text, kind, "x").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise MasterError(
            f"folder {str(folder)!r} cannot be made: {fault.strerror}; choose another with -o"
        ) from fault
    return folder
