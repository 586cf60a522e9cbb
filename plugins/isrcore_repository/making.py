"""Making an empty repository."""

from __future__ import annotations

from pathlib import Path

from isrcore import FolderRepository, Registry, RepositoryError
from isrcore_repository import layout
from isrcore_repository.repository import LAYOUT, EmbeddedRepository
from isrcore_repository.tables import Tables


def make_repository(root: Path, camera: str, registry: Registry | None = None) -> bool:
    """Make a repository of a camera; False when there is one of that camera already.

    The file of a camera of ``registry`` is copied into it. Raises `RepositoryError` for a repository of
    another camera, and for a folder with something else in it.
    """
    if (root / layout.MARKER).exists():
        there = EmbeddedRepository.open(root, registry).camera
        if there != camera:
            raise RepositoryError(f"{str(root)!r} is a repository of camera {there!r}; choose another folder")
        return False
    try:
        root.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in root.iterdir() if not path.name.startswith(layout.REGISTRY))
    except OSError as fault:
        raise RepositoryError(f"folder {str(root)!r} cannot be made: {fault.strerror}") from fault
    if others:
        raise RepositoryError(
            f"{str(root)!r} is not empty: it holds {others[0]!r}\n"
            "  name a new folder; raw files are ingested from where they are"
        )
    if registry is not None and (plugin := registry.file_camera(camera)):
        plugin.copy_to(root / layout.CAMERA)
    Tables(root / layout.REGISTRY).create()
    # Last: a folder with this file is a whole repository.
    settings = {"layout": str(LAYOUT), "camera": camera}
    FolderRepository(root).put(settings, layout.MARKER.removesuffix(".toml"), mustBeNew=True)
    return True
