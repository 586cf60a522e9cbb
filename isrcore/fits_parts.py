"""The HDUs of a file as headers and places: what astropy prepares of each takes longer than reading a CCD."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.table import Table

from isrcore.fits_planes import CARD, in_blocks, is_whole, read_plane, write_plane
from isrcore.image import Pixels


@attrs.frozen(eq=False)
class Part:
    """One HDU of an open file. ``start``, ``data_start``, ``data_end`` and ``end`` count bytes.

    Between the last two is padding.

    Those who read data get None when the HDU's CHECKSUM is wrong or missing.
    """

    stream: IO[bytes] = attrs.field(repr=False)
    name: str
    header: Header = attrs.field(repr=False)
    start: int
    data_start: int
    end: int
    data_end: int = 0

    @property
    def is_compressed(self) -> bool:
        """Whether it is an image in a table of compressed tiles."""
        return bool(self.header.get("ZIMAGE"))

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the image it holds, compressed or not."""
        axis = "ZNAXIS" if self.is_compressed else "NAXIS"
        return self.header[f"{axis}2"], self.header[f"{axis}1"]

    def read(self) -> bytes | None:
        """The data, padding included."""
        content = self._content()
        return content[self.data_start - self.start :] if is_whole(self.header, content) else None

    def read_plane(self) -> Pixels | None:
        """The pixels of an image of numbers of 32 bits, or of 16, which are widened; in one pass if plain."""
        if self.is_compressed or "BZERO" in self.header:
            stored = self.read_image()
            return stored.astype(np.int32) if stored is not None and stored.dtype == np.int16 else stored
        plane, total = read_plane(self.stream, self.data_start, self.shape, self.header["BITPIX"])
        self.stream.seek(self.start)
        written = self.stream.read(self.data_start - self.start)
        return plane if is_whole(self.header, written, total) else None

    def read_image(self) -> Pixels | None:
        """The pixels of an image as they are stored, but in native byte order."""
        stored = self._read_by_astropy(lambda hdu: hdu.data)
        if stored is None:
            return None
        return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))

    def read_table(self) -> Table | None:
        """A table, with the units and the cards it has."""
        return self._read_by_astropy(Table.read)

    def _read_by_astropy(self, read: Callable[[Any], Any]) -> Any:
        """What ``read`` makes of the HDU, for forms that are not worth code of our own."""
        content = self._content()
        if not is_whole(self.header, content):
            return None
        extract = io.BytesIO()
        fits.PrimaryHDU().writeto(extract)
        extract.write(content)
        extract.seek(0)
        with fits.open(extract, memmap=False) as hdus:
            return read(hdus[1])

    def _content(self) -> bytes:
        """Header and data."""
        self.stream.seek(self.start)
        return self.stream.read(self.end - self.start)


@attrs.frozen(eq=False)
class NewPart:
    """An HDU to be written: its header, and numbers of 16 or 32 bits that are its data, in any order.

    ``stored`` is as what they are written, None as what they are.
    """

    name: str
    header: Header = attrs.field(repr=False)
    data: Pixels = attrs.field(repr=False)
    stored: type[np.int16 | np.int32] | None = None

    @property
    def size(self) -> int:
        """About how many bytes it takes in a file."""
        width = np.dtype(self.stored or self.data.dtype).itemsize
        # Three cards are added: both checksums, and the end.
        return sum(in_blocks(size) for size in (CARD * (len(self.header) + 3), width * self.data.size))

    def write(self, stream: IO[bytes]) -> None:
        """Write it with its checksums."""
        write_plane(stream, self.header, self.data, self.stored)


def make_header(
    kind: str, name: str, bits: int, axes: Sequence[int], cards: Iterable[tuple[str, int | str]] = ()
) -> Header:
    """The header of an extension; texts are short and plain. As text it is made twenty times as fast."""
    sizes = [(f"NAXIS{number}", size) for number, size in enumerate(axes, 1)]
    first: list[tuple[str, int | str]] = [("XTENSION", kind), ("BITPIX", bits), ("NAXIS", len(axes))]
    known = [*first, *sizes, ("PCOUNT", 0), ("GCOUNT", 1), *cards, ("EXTNAME", name)]
    return Header.fromstring("".join(_card(*card) for card in known))


def _card(keyword: str, value: int | str) -> str:
    """A card in fixed format (FITS Standard 4.0, section 4.2)."""
    text = f"'{value:8}'" if isinstance(value, str) else f"{value:20d}"
    return f"{keyword:8}= {text}".ljust(CARD)


def read_parts(stream: IO[bytes]) -> Iterator[Part]:
    """The HDUs of a file by their headers. Raises what astropy raises for a damaged header."""
    length = stream.seek(0, io.SEEK_END)
    end = 0
    while end < length:
        start = stream.seek(end)
        header = Header.fromfile(stream)
        data_start = stream.tell()
        size = _data_size(header)
        end = data_start + in_blocks(size)
        name = header.get("EXTNAME", "") if start else "PRIMARY"
        yield Part(stream, name, header, start, data_start, end, data_start + size)


def _data_size(header: Any) -> int:
    """Bytes of data without padding (FITS Standard 4.0, section 4.4.1)."""
    axes = [header[f"NAXIS{axis}"] for axis in range(1, header["NAXIS"] + 1)]
    if not axes:
        return 0
    values = header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + math.prod(axes))
    return int(abs(header["BITPIX"]) // 8 * values)
