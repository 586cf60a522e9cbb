"""Digests of files, found while something else is done."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

from isrcore.paths import sha256_of

#: The SHA-256 of a file that stays as it is while a command runs.
known_sha256 = cache(sha256_of)


class Digests:
    """The digests of files, found in a thread, in the order given, inside a ``with`` block."""

    def __init__(self, paths: Iterable[Path]) -> None:
        # Hashing lets go of the interpreter: the thread costs those that go on no time, given a second core.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="isr-digests")
        self._found: dict[Path, Future[str]] = {
            path: self._pool.submit(known_sha256, path) for path in dict.fromkeys(paths)
        }

    def of(self, path: Path) -> str:
        """The digest of a file, empty when it cannot be read, as whoever reads it will tell."""
        try:
            return self._found[path].result()
        except OSError:
            return ""

    def __enter__(self) -> Digests:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the file being read, and leave out the rest."""
        self._pool.shutdown(cancel_futures=True)
