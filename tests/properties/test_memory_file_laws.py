"""Laws: a file in memory is a file, however it is filled and whatever its file system can do."""

from __future__ import annotations

import io
import os
from tempfile import TemporaryFile
from typing import Any, cast

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from isrcore.fits_planes import write_plane
from isrcore.memory_files import MemoryFile

#: Up to several times the size that was announced, and the pages of disks.
CONTENTS = st.binary(max_size=40) | st.integers(0, 20000).map(
    lambda size: np.random.default_rng(size).bytes(size)
)
ACTIONS = st.tuples(st.sampled_from(["write", "extend", "seek", "back", "end"]), CONTENTS, st.floats(0, 1))


def perform(file: io.BytesIO | MemoryFile, action: str, content: bytes, fraction: float) -> int:
    """Do one thing with a file, and return what it says; places are within what was written."""
    if action == "extend" and isinstance(file, MemoryFile):
        file.extend(len(content))[:] = np.frombuffer(content, np.uint8)
        return len(content)
    if action == "seek":
        here = file.tell()
        size = file.seek(0, os.SEEK_END)
        return file.seek(here) + file.seek(round(fraction * size))
    if action == "back":
        return file.seek(-round(fraction * file.tell()), os.SEEK_CUR)
    return file.seek(0, os.SEEK_END) if action == "end" else file.write(content)


@pytest.mark.parametrize("is_direct", [True, False], ids=["past the cache", "through the cache"])
@given(size=st.integers(0, 9000), actions=st.lists(ACTIONS, max_size=12), before=CONTENTS)
def test_what_is_written_is_what_a_file_would_hold(
    is_direct: bool, size: int, actions: list[tuple[str, bytes, float]], before: bytes
) -> None:
    here, model = MemoryFile(size), io.BytesIO()
    for action in actions:
        assert perform(here, *action) == perform(model, *action)
        assert here.tell() == model.tell()
    with pytest.MonkeyPatch.context() as patch, TemporaryFile() as stream:
        if not is_direct:
            patch.delattr(os, "O_DIRECT", raising=False)
        # Whoever reserves room does not know exactly how much is needed.
        stream.write(before)
        stream.flush()
        here.write_to(stream.fileno())
        stream.seek(0)
        assert stream.read() == model.getvalue()


@given(
    kind=st.sampled_from([(np.float32, None), (np.int32, None), (np.int32, np.int16), (np.int16, None)]),
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    skipped=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_planes_are_the_same_in_memory_as_in_any_file(
    kind: tuple[Any, Any], shape: tuple[int, int], skipped: int, seed: int
) -> None:
    dtype, stored = kind
    numbers = np.random.default_rng(seed).integers(0, 2**15, (shape[0], shape[1] + skipped))
    plane = numbers.astype(dtype)[:, skipped:]
    if dtype == np.float32:
        plane.view(np.int32)[0, 0] = -(2**31) + 7
    written = []
    for file in (MemoryFile(100), io.BytesIO()):
        file.write(b"x" * 2880)
        header = fits.ImageHDU(plane).header
        write_plane(cast(Any, file), header, plane, stored)
        file.write(b"end")
        written.append(content_of(file))
    assert written[0] == written[1]


def content_of(file: MemoryFile | io.BytesIO) -> bytes:
    """All that a file holds."""
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    with TemporaryFile() as stream:
        file.write_to(stream.fileno())
        stream.seek(0)
        return stream.read()
