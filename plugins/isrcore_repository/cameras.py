"""The camera file of a repository: a copy, so that the repository goes on working wherever it is."""

from __future__ import annotations

from pathlib import Path

from isrcore import CameraFile, Registry, RepositoryError
from isrcore_repository import layout


def with_own_camera(root: Path, plugins: Registry) -> Registry:
    """Plugins with the camera file of a repository, if it has one.

    Raises `RepositoryError` when another camera file is chosen, or there are several.
    """
    found = sorted((root / layout.CAMERA).glob("*.toml"))
    if not found:
        return plugins
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise RepositoryError(f"{str(root / layout.CAMERA)!r} holds several camera files: {names}; keep one")
    own, chosen = CameraFile.read(found[0]), plugins.choice
    if isinstance(chosen, CameraFile) and chosen.digest != own.digest:
        raise RepositoryError(
            f"repository {str(root)!r} has its camera in {str(own.path)!r}, which is not {str(chosen.path)!r}"
            "\n  leave --camera out; what is to change, change there"
        )
    return plugins.with_camera_file(own)
