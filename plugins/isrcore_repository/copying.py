"""Copies of files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path


def copy_whole(source: Path, target: Path) -> bool:
    """Copy a file with its times; False when something is there already."""
    if target.exists():
        return False
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        shutil.copy2(source, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        # Unlike a move, a second name is refused when somebody was faster.
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
