"""Camera files: where they are, and their text and digest, read once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from isrcore.camera import CameraError

#: The variable of the environment that names another folder of camera files; empty for none.
CAMERAS_VARIABLE = "ISRCORE_CAMERAS"


@attrs.frozen
class CameraFile:
    """A camera file as it was when it was read: other processes get this, not what it is by then."""

    path: Path
    text: str = attrs.field(repr=False)

    @classmethod
    def read(cls, path: str | Path) -> CameraFile:
        """Read a file. Raises `CameraError` when it cannot be read."""
        file = Path(path)
        try:
            return cls(file, file.read_bytes().decode("utf-8"))
        except OSError as fault:
            raise CameraError(
                f"camera file {str(file)!r} cannot be read: {fault.strerror}; check the path"
            ) from fault
        except UnicodeDecodeError as fault:
            raise CameraError(f"camera file {str(file)!r} is no text in UTF-8: {fault}") from fault

    @property
    def plugin(self) -> str:
        """What the plugin made of it is called."""
        return f"file:{self.path.name}"

    @property
    def version(self) -> str:
        """What tells this text from another one: the beginning of its digest."""
        return self.digest[:12]

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def camera_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """The user's folder of camera files, None when it is switched off.

    ``ISRCORE_CAMERAS`` if it is set (empty: none), else ``isrcore/cameras`` in ``XDG_CONFIG_HOME``, by
    default ``~/.config``. It need not be there.
    """
    known = os.environ if environment is None else environment
    if CAMERAS_VARIABLE in known:
        return Path(known[CAMERAS_VARIABLE]) if known[CAMERAS_VARIABLE] else None
    home = known.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(home) / "isrcore" / "cameras"


def find_camera_files(folder: Path | None = None) -> list[Path]:
    """The camera files in a folder (default: the user's), by name; none when it is not there."""
    place = camera_folder() if folder is None else folder
    if place is None or not place.is_dir():
        return []
    return sorted(path for path in place.glob("*.toml") if not path.name.startswith("."))


def is_camera_file(text: str) -> bool:
    """Whether a word means a camera file and not a camera's name."""
    return text.endswith(".toml")
