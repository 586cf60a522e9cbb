"""Files that exist complete or not at all."""

from __future__ import annotations

import glob
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

#: How the name of a file that is being written ends.
UNFINISHED = ".part"


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A stream to a file beside ``target``, which takes the target's name in one move when the block ends.

    It is forced to disk first. When the block raises, nothing is left behind and a target that was there
    before is untouched.
    """
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with temporary.open("w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _synchronise(target.parent)


def remove_unfinished(target: Path, older_than_s: float = 0.0) -> None:
    """Remove what a process that died while it wrote a file has left behind.

    Nobody may be writing it, unless what was changed in the last ``older_than_s`` seconds is left alone.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.*{UNFINISHED}"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime >= older_than_s:
                left.unlink()


def _synchronise(folder: Path) -> None:
    """Force a folder's list of names to disk, where the system can: the file is complete either way."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
