"""Files that exist complete or not at all, at once or when the disk has been waited for."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from contextlib import nullcontext
from pathlib import Path

import pytest

from isrcore.atomic import deferring, remove_unfinished, replacing
from isrcore.memory_files import MemoryFile


def write(target: Path, content: bytes = b"new") -> None:
    with replacing(target) as stream:
        stream.write(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_once_it_is_written(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with replacing(target) as stream:
        stream.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_what_is_not_written_to_its_end_is_gone(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="closed"):
        write_and_fail(target)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def write_and_fail(target: Path) -> None:
    with replacing(target) as stream:
        stream.write(b"new")
        stream.close()


def test_a_file_that_no_disk_takes_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "file")
    assert names(tmp_path) == []


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_deferred_files_get_their_names_together(tmp_path: Path) -> None:
    with deferring() as files:
        write(tmp_path / "one")
        write(tmp_path / "two")
        assert not {"one", "two"} & {*names(tmp_path)}
    write(tmp_path / "three")
    assert "three" in names(tmp_path)
    waiting = threading.Thread(target=files.finish)
    waiting.start()
    waiting.join()
    assert names(tmp_path) == ["one", "three", "two"]
    files.finish()
    assert (tmp_path / "one").read_bytes() == b"new"


def test_other_threads_are_not_deferred(tmp_path: Path) -> None:
    with deferring():
        other = threading.Thread(target=write, args=(tmp_path / "file",))
        other.start()
        other.join()
        assert names(tmp_path) == ["file"]


def test_deferred_files_are_gone_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="closed"), deferring() as files:
        write_both(tmp_path / "one", tmp_path / "two")
    assert names(tmp_path) == []
    files.finish()
    write(tmp_path / "two")
    assert names(tmp_path) == ["two"]


def write_both(first: Path, second: Path) -> None:
    write(first)
    write_and_fail(second)


def test_deferred_files_are_gone_when_one_cannot_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deferring() as files:
        write(tmp_path / "one")
        write(tmp_path / "two")
        write(tmp_path / "three")
    fsync, calls = os.fsync, []

    def fails_once(handle: int) -> None:
        calls.append(handle)
        # Of each file itself and its folder.
        (full_disk if len(calls) == 3 else fsync)(handle)

    monkeypatch.setattr(os, "fsync", fails_once)
    with pytest.raises(OSError, match="No space"):
        files.finish()
    assert names(tmp_path) == ["one"]


@pytest.mark.parametrize("way", ["discarded", "forgotten"])
def test_deferred_files_that_nobody_finishes_are_gone(tmp_path: Path, way: str) -> None:
    with deferring() as files:
        write(tmp_path / "one")
    assert len(names(tmp_path)) == 1
    if way == "discarded":
        files.discard()
        files.finish()
    del files
    assert names(tmp_path) == []


def test_what_dead_processes_leave_can_be_removed(tmp_path: Path) -> None:
    with deferring() as files:
        write(tmp_path / "file")
        write(tmp_path / "other")
    remove_unfinished(tmp_path / "file", older_than_s=60)
    assert len(names(tmp_path)) == 2
    remove_unfinished(tmp_path / "file")
    (left,) = names(tmp_path)
    assert left.startswith(".other.")
    with pytest.raises(FileNotFoundError):
        files.finish()


@pytest.mark.parametrize("size", [1, 3, 10_000_000])
def test_a_file_is_as_long_as_what_was_written(tmp_path: Path, size: int) -> None:
    with replacing(tmp_path / "file", size) as stream:
        stream.write(b"n")
        stream.write(b"ew")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room cannot be reserved here")
def test_too_full_a_disk_shows_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def full(_: int, *place: int) -> None:
        asked.append((place[0], place[1]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"), replacing(tmp_path / "file", 77):
        pytest.fail("something could have been written")
    assert asked == [(0, 77)]
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_where_no_room_can_be_reserved_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with replacing(tmp_path / "file", 77) as stream:
        stream.write(b"new")
    monkeypatch.delattr(os, "posix_fallocate")
    with replacing(tmp_path / "other", 77) as stream:
        stream.write(b"new")
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"new", b"new"]


def test_deferred_files_wait_in_memory(tmp_path: Path) -> None:
    with deferring() as files, replacing(tmp_path / "file", 5) as stream:
        stream.write(b"much more than five")
        stream.seek(5)
        stream.write(b"MORE")
    (unfinished,) = tmp_path.iterdir()
    assert not unfinished.read_bytes().strip(bytes(1))
    files.finish()
    assert (tmp_path / "file").read_bytes() == b"much MORE than five"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("is_deferred", [True, False])
def test_what_is_larger_or_not_deferred_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_deferred: bool
) -> None:
    if is_deferred:
        monkeypatch.setattr("isrcore.atomic._MEMORY", 4)
    with deferring() if is_deferred else nullcontext(), replacing(tmp_path / "file", 5) as stream:
        stream.write(b"five5")
        stream.flush()
        (unfinished,) = tmp_path.iterdir()
        assert unfinished.read_bytes() == b"five5"


def test_memory_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Watched(MemoryFile):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            made.append(weakref.ref(self))

    monkeypatch.setattr("isrcore.atomic.MemoryFile", Watched)
    with deferring() as files, replacing(tmp_path / "file", 5) as stream:
        stream.write(b"five5")
    del stream
    assert made[0]() is not None
    files.finish()
    assert made[0]() is None


def test_deferred_files_that_a_disk_does_not_take_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deferring() as files, replacing(tmp_path / "file", 5) as stream:
        stream.write(b"five5")
    monkeypatch.setattr(os, "write", lambda *_: full_disk(0))
    with pytest.raises(OSError, match="No space"):
        files.finish()
    assert names(tmp_path) == []
