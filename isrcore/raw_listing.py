"""What a raw file is, by its headers alone: camera, visit and detectors, for those who look at thousands."""

from __future__ import annotations

import gzip
import io
import warnings
from pathlib import Path
from typing import IO, cast

import attrs
from astropy.utils.exceptions import AstropyWarning

from isrcore.exposure import VisitInfo
from isrcore.fits_parts import Part, read_parts
from isrcore.raw import GZIP_MAGIC, Extension, RawError, RawSource, check_magic, read_name


@attrs.frozen
class RawListing:
    """A raw file: of which camera, of which visit, and with which detectors, in the order of the file."""

    path: Path
    camera: str
    visit: VisitInfo
    detectors: tuple[str, ...]


def list_source(path: Path) -> RawSource:
    """The file as a camera's reader gets it to say what it is, opened once, no pixel read.

    Headers of compressed images stay as they are stored: all cards of the exposure are in them. Raises
    `RawError` when the file is missing, no FITS file, or truncated.
    """
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            start = stream.read(6)
            check_magic(path, start)
            stream.seek(0)
            is_gzip = start.startswith(GZIP_MAGIC)
            inside = cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if is_gzip else stream
            extensions = _extensions(path, inside)
    except FileNotFoundError as fault:
        raise RawError(f"raw file {str(path)!r} does not exist; check the path") from fault
    except RawError:
        raise
    except Exception as fault:  # astropy and zlib raise many kinds, none of them documented
        raise RawError(f"raw file {str(path)!r} cannot be read: {fault}\n  fetch it again") from fault
    return RawSource(path, extensions, has_pixels=False, is_listing=True)


def _extensions(path: Path, stream: IO[bytes]) -> tuple[Extension, ...]:
    """The HDUs of an open file. Raises `RawError` when it is shorter than they promise."""
    length = stream.seek(0, io.SEEK_END)
    parts = list(read_parts(stream))
    for part in parts:
        if part.data_end > length:
            raise RawError(
                f"raw file {str(path)!r} is truncated in extension {part.name!r}: it has {length} bytes, its "
                f"headers promise {part.data_end}\n  fetch it again"
            )
    return tuple(_extension(index, part) for index, part in enumerate(parts))


def _extension(index: int, part: Part) -> Extension:
    """One HDU, a table of compressed tiles seen as the image that is in it."""
    header = part.header
    is_image = part.is_compressed or not index or header.get("XTENSION", "").strip() == "IMAGE"
    axis = "ZNAXIS" if part.is_compressed else "NAXIS"
    count = header.get(axis, 0) if is_image else 0
    shape = tuple(header[f"{axis}{number}"] for number in range(count, 0, -1))
    return Extension(index, read_name(header), header, shape)
