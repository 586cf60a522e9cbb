"""Files that exist complete or not at all."""

from __future__ import annotations

import errno
import glob
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, cast

from isrcore.memory_files import MemoryFile

# What file systems say that reserve nothing.
_CANNOT_RESERVE = frozenset((errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP))

# A product of 25 million pixels; larger ones go to their file piece by piece.
_MEMORY = 1 << 28

#: How the name of a file that is being written ends.
UNFINISHED = ".part"


class _Unfinished:
    """A file beside ``target``, which takes the target's name in one move once it is finished.

    Until then, and when anything raises, a target that was there before is untouched.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}{UNFINISHED}")
        self._stream: IO[bytes] | None = None
        self._content: MemoryFile | None = None

    @contextmanager
    def writing(self, size: int, waits_in_memory: bool) -> Iterator[IO[bytes]]:
        """A stream for about ``size`` bytes; when the block raises, nothing is left behind."""
        try:
            self._stream = self._temporary.open("w+b")
            is_reserved = _reserve(self._stream, size)
            if waits_in_memory:
                self._content = MemoryFile(size)
                yield cast(IO[bytes], self._content)
                return
            yield self._stream
            self._stream.flush()
            if is_reserved:
                self._stream.truncate()
        except BaseException:
            self.discard()
            raise

    def finish(self) -> None:
        """Force what was written to disk and give it its name; may be called from another thread."""
        assert self._stream is not None, "nothing was written"
        try:
            if self._content is not None:
                self._content.write_to(self._stream.fileno())
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._temporary.replace(self.target)
        except BaseException:
            self.discard()
            raise
        _synchronise(self.target.parent)

    def discard(self) -> None:
        """Remove what was written."""
        if self._stream is not None:
            # What cannot be written any more need not be.
            with suppress(OSError):
                self._stream.close()
        self._temporary.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path, size: int = 0) -> Iterator[IO[bytes]]:
    """A stream to a file beside ``target``, which takes the target's name in one move when the block ends.

    It is forced to disk first; inside `deferring` that and the move are left for later. When the block
    raises, nothing is left behind and a target that was there before is untouched. If ``size`` is given,
    room for so many bytes is reserved: too full a disk shows at once, and writing is faster. Whoever writes
    may write more or less, but stops at the end, and does not read. What is deferred and no larger than 256
    MiB stays in memory until then.
    """
    unfinished, deferred = _Unfinished(target), _deferred.get()
    with unfinished.writing(size, waits_in_memory=deferred is not None and 0 < size <= _MEMORY) as stream:
        yield stream
    if deferred is None:
        unfinished.finish()
    else:
        deferred.append(unfinished)


class Deferred:
    """Files that are written, but neither safe on disk nor under their names."""

    def __init__(self) -> None:
        self._files: list[_Unfinished] = []

    def append(self, file: _Unfinished) -> None:
        """Take a file over."""
        self._files.append(file)

    def finish(self) -> None:
        """Force the files to disk and name them, one after the other; from any thread, while others write.

        Raises OSError for the first that cannot be; then it and those after it are gone.
        """
        try:
            while self._files:
                self._files.pop(0).finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what has no name yet."""
        while self._files:
            self._files.pop().discard()

    def __del__(self) -> None:
        """Whoever was to finish them was interrupted."""
        self.discard()


_deferred: ContextVar[Deferred | None] = ContextVar("deferred", default=None)


@contextmanager
def deferring() -> Iterator[Deferred]:
    """Leave waiting for the disk for later: files that `replacing` writes in the block wait to be finished.

    When the block raises they are removed.
    """
    deferred = Deferred()
    token = _deferred.set(deferred)
    try:
        yield deferred
    except BaseException:
        deferred.discard()
        raise
    finally:
        _deferred.reset(token)


def remove_unfinished(target: Path, older_than_s: float = 0.0) -> None:
    """Remove what a process that died while it wrote a file has left behind.

    Nobody may be writing it, unless what was changed in the last ``older_than_s`` seconds is left alone.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.*{UNFINISHED}"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime >= older_than_s:
                left.unlink()


def _reserve(stream: IO[bytes], size: int) -> bool:
    """Reserve room in an empty file, which then is that long, where the system can; whether it did.

    Raises OSError when there is not enough.
    """
    if not size or not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as fault:
        if fault.errno in _CANNOT_RESERVE:
            return False
        raise
    return True


def _synchronise(folder: Path) -> None:
    """Force a folder's list of names to disk, where the system can: the file is complete either way."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
