"""Files put together in memory: written past the system's cache where that can be, through it elsewhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isrcore import memory_files
from isrcore.memory_files import MemoryFile

linux_only = pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no cache can be passed by here")
CONTENT = np.random.default_rng(1).bytes(3 * memory_files._PIECE // 2 + 100)


def make(target: Path) -> None:
    file = MemoryFile(len(CONTENT))
    file.write(CONTENT)
    with target.open("wb") as stream:
        file.write_to(stream.fileno())


@linux_only
def test_what_a_disk_is_given_suits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    asked, given, write, change = [], [], os.write, fcntl.fcntl

    def watch(handle: int, content: memoryview) -> int:
        address, place = np.frombuffer(content, np.uint8).ctypes.data, os.lseek(handle, 0, os.SEEK_CUR)
        given.append([part % memory_files._ALIGNMENT for part in (address, len(content), place)])
        return write(handle, content)

    def listen(handle: int, command: int, value: int = 0) -> int:
        if command == fcntl.F_SETFL:
            asked.append(bool(value & os.O_DIRECT))
        return change(handle, command, value)

    monkeypatch.setattr(os, "write", watch)
    monkeypatch.setattr(fcntl, "fcntl", listen)
    make(tmp_path / "file")
    # A file system that refuses is given all once more as it is; it begins at the same places.
    assert given[:2] == [[0, 0, 0]] * 2
    assert asked == [True, False]
    assert (tmp_path / "file").read_bytes() == CONTENT


def refuse_at(number: int, code: int) -> Callable[..., int]:
    """What writes, but not the given time."""
    write, calls = os.write, iter(range(99))

    def write_or_refuse(*arguments: Any) -> int:
        if next(calls) == number:
            raise OSError(code, os.strerror(code))
        return write(*arguments)

    return write_or_refuse


@linux_only
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_refuses_gets_it_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.setattr(os, "write", refuse_at(number, code))
    make(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@linux_only
def test_a_file_system_that_has_nothing_but_a_cache_is_left_its_own_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    change = fcntl.fcntl

    def refuse(handle: int, command: int, value: int = 0) -> int:
        if command == fcntl.F_SETFL and value & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return change(handle, command, value)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    make(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_disk_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", refuse_at(1, errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        make(tmp_path / "file")


def test_disks_may_take_less_than_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[: 1 << 20]))
    make(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_begins_at_its_beginning() -> None:
    file = MemoryFile(10)
    with pytest.raises(ValueError, match="no place -1"):
        file.seek(-1)
    assert file.writable()
    assert file.seekable()
    assert file.tell() == 0
