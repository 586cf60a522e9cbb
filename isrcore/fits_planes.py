"""Pixels of plain images in FITS files: bytes swapped and summed in one pass, while they are in cache.

astropy swaps, sums and writes whole planes one after the other. For the planes of a CCD, tens of megabytes
each, that takes two to three times as long as writing alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from isrcore.image import Mask, MaskPlanes, Pixels
from isrcore.memory_files import MemoryFile

#: Bytes of a block and of a card (FITS Standard 4.0, sections 3.1 and 3.2).
BLOCK = 2880
CARD = 80

# Words that fit into the cache of one core twice.
_WORDS = 1 << 16
_SUM_LIMIT = (1 << 32) - 1
_INT16_END = 1 << 15
# Sums are written as letters and digits: these characters lie between them.
_PUNCTUATION = frozenset([*range(ord(":"), ord("@") + 1), *range(ord("["), ord("`") + 1)])

_Words = npt.NDArray[np.uint32]


def in_blocks(size: int) -> int:
    """The bytes of the whole blocks that so many bytes take."""
    return -(-size // BLOCK) * BLOCK


def is_fast(plane: npt.NDArray[Any]) -> bool:
    """Whether `write_plane` can write an array."""
    return plane.dtype in (np.float32, np.int32, np.int16) and plane.dtype.isnative


def stored_type(mask: Mask, planes: MaskPlanes) -> type[np.int16 | np.int32]:
    """As what a mask is stored: int16 if all its planes and pixels fit, half as much to write and to read."""
    used = int(np.bitwise_or.reduce(mask, axis=None))
    fits_in = 0 <= used < _INT16_END and planes.value(*planes) < _INT16_END
    return np.int16 if fits_in else np.int32


def write_plane(
    stream: IO[bytes], header: fits.Header, plane: Pixels, stored: type[np.int16 | np.int32] | None = None
) -> None:
    """Write an image HDU with DATASUM and CHECKSUM; ``header`` gets both. The pixels are only read.

    Integers are written as ``stored``, if it is given: those stored as int16 are 0 or more.
    """
    start = stream.tell()
    header["DATASUM"] = ("0", "data unit checksum")
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    # astropy takes its time for every card: these two are exchanged in what it has made.
    written = bytearray(header.tostring().encode("ascii"))
    stream.write(written)
    total = _write_words(stream, plane, np.dtype(stored or plane.dtype).itemsize)
    end = stream.tell()
    _exchange(written, header, "DATASUM", str(total))
    _exchange(written, header, "CHECKSUM", encode_sum(_SUM_LIMIT - _add(total, sum_of_bytes(written))))
    stream.seek(start)
    stream.write(written)
    stream.seek(end)


def read_plane(stream: IO[bytes], start: int, shape: tuple[int, ...], bits: int) -> tuple[Pixels, int]:
    """The pixels at ``start`` as native numbers of 32 bits, and their DATASUM.

    ``bits`` is their BITPIX: -32, 32, or 16, which is widened. Raises EOFError when the file ends before.
    """
    plane: Pixels = np.empty(shape, np.float32 if bits < 0 else np.int32)
    buffer = np.zeros(_WORDS, ">u4")
    stored = buffer.view(f">i{abs(bits) // 8}")
    total = 0
    stream.seek(start)
    # Floats are moved as whole numbers, so that what is no number keeps its bits.
    for block in _blocks(plane.reshape(-1).view(np.int32)):
        piece = stored[: block.size]
        if stream.readinto(piece.view(np.uint8)) != piece.nbytes:  # type: ignore[attr-defined]
            raise EOFError("the file ends within an image")
        np.copyto(block, piece)
        total = _add(total, _sum_block(block if bits != 16 else piece, buffer))
    return plane, total


def sum_of_bytes(content: bytes | bytearray) -> int:
    """The ones' complement sum of words of 32 bits, of a length that is a multiple of four."""
    return _add(0, _sum_words(np.frombuffer(content, ">u4").astype(np.uint32)))


def is_whole(header: fits.Header, content: bytes, rest: int = 0) -> bool:
    """Whether an HDU agrees with its CHECKSUM: its header and data, or a part, and the sum of the rest.

    CHECKSUM is such that the sum over all words is zero in ones' complement (all bits set, or none).
    """
    return "CHECKSUM" in header and _add(rest, sum_of_bytes(content)) in (0, _SUM_LIMIT)


def encode_sum(value: int) -> str:
    """A sum as sixteen letters and digits whose own sum is that value (FITS Standard 4.0, appendix J)."""
    columns = [_encode_byte(byte) for byte in value.to_bytes(4, "big")]
    text = bytes(columns[place][row] for row in range(4) for place in range(4))
    # In a card the text begins one byte after the start of a word.
    return (text[-1:] + text[:-1]).decode("ascii")


def _encode_byte(byte: int) -> list[int]:
    """Four letters or digits whose sum, above that of four zeros, is the byte."""
    quotient, remainder = divmod(byte, 4)
    letters = [ord("0") + quotient] * 4
    letters[0] += remainder
    for first in (0, 2):
        while _PUNCTUATION & {letters[first], letters[first + 1]}:
            letters[first] += 1
            letters[first + 1] -= 1
    return letters


def _exchange(written: bytearray, header: fits.Header, keyword: str, value: str) -> None:
    """Give a card that is there another value, in the header and in what was made of it."""
    header[keyword] = value
    start = next(n for n in range(0, len(written), CARD) if written.startswith(f"{keyword:8}=".encode(), n))
    written[start : start + CARD] = str(header.cards[keyword]).encode("ascii")


def _write_words(stream: IO[bytes], plane: Pixels, width: int) -> int:
    """Write pixels, most significant of ``width`` bytes first, and padding; returns the sum of all words."""
    buffer = np.zeros(_WORDS, ">u4")
    stored, narrows = buffer.view(f">i{width}"), width < plane.itemsize
    # Sums of numbers of 16 bits are those of the buffer.
    memory = stream if isinstance(stream, MemoryFile) and plane.itemsize == buffer.itemsize else None
    total = 0
    for rows in _rows(plane):
        for block in _blocks(rows.reshape(-1).view(f"i{plane.itemsize}")):
            piece = memory.extend(block.size * width).view(stored.dtype) if memory else stored[: block.size]
            np.copyto(piece, block, casting="unsafe")
            if memory is None:
                stream.write(piece.data)
            total = _add(total, _sum_pairs(block) if narrows else _sum_block(block, buffer))
    stream.write(bytes(-plane.size * width % BLOCK))
    return total


def _sum_pairs(pixels: Pixels) -> int:
    """The sum of the words of pixels from 0 to 32767 that take two bytes each when they are stored."""
    pairs = pixels[: pixels.size // 2 * 2].view(np.uint64)
    # Neither half can overflow: there are less than 65536 pairs.
    halves = divmod(int(np.add.reduce(pairs)), 1 << 32)
    second, first = halves if sys.byteorder == "little" else halves[::-1]
    alone = int(pixels[-1]) if pixels.size % 2 else 0
    return (first + alone << 16) + second


def _sum_block(pixels: Pixels, buffer: _Words) -> int:
    """The sum of the words of pixels, which the buffer holds as they are stored."""
    if pixels.itemsize == buffer.itemsize:
        # Native numbers are summed faster.
        return _sum_words(pixels.view(np.uint32))
    buffer.view(np.uint16)[pixels.size : pixels.size + 1] = 0
    return _sum_words(buffer[: -(-pixels.size // 2)])


def _rows(plane: Pixels) -> Iterator[Pixels]:
    """The plane as it is in memory; a few rows at a time when they do not follow on one another.

    All but the last have an even number of rows, so that they end with a word.
    """
    if plane.flags.c_contiguous:
        yield plane
        return
    step = max(2, _WORDS // plane.shape[-1] // 2 * 2)
    for start in range(0, plane.shape[0], step):
        yield np.ascontiguousarray(plane[start : start + step])


def _blocks(pixels: Pixels) -> Iterator[Pixels]:
    """Pieces that stay in cache."""
    return (pixels[start : start + _WORDS] for start in range(0, pixels.size, _WORDS))


def _sum_words(words: _Words) -> int:
    """The sum of words, as a whole number."""
    return int(np.add.reduce(words, dtype=np.uint64))


def _add(first: int, second: int) -> int:
    """The ones' complement sum of 32 bits: what is carried over at the top comes in at the bottom."""
    total = first + second
    while total > _SUM_LIMIT:
        total = (total & _SUM_LIMIT) + (total >> 32)
    return total
