"""Raw FITS files: their headers, their pixels one extension at a time, and exposures made of them.

`RawSource` is what a camera plugin gets. A camera that stores one detector per extension needs only
`read_sections`; others build on the same pieces: `RawSource.read`, `read_detector`, `merge_headers` and
`celestial_wcs` of `raw_headers`, and `visit_from_header` with what it is made of.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import IO, Any, cast

import attrs
import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.utils.exceptions import AstropyWarning

from isrcore.camera import Camera, Detector
from isrcore.exposure import Exposure, LazyWcs, VisitInfo
from isrcore.fits_planes import BLOCK, CARD, in_blocks
from isrcore.image import MaskedImage, Pixels
from isrcore.raw_headers import celestial_wcs, merge_headers
from isrcore.raw_visits import visit_from_header

_log = logging.getLogger(__name__)

# Raw files whose headers are kept; those of forty CCDs take some ten megabytes.
_KEPT_FILES = 8

# Keywords that say how pixels are stored, of images, of tables and of images in tables of compressed tiles.
_ON_STORAGE = re.compile(
    rb"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|BSCALE|BZERO|BLANK|TFIELDS|THEAP|T[A-Z]+\d+|Z[A-Z]+\d*) *="
)

# Stands for whatever extension the visit of a listed file was read from.
_ANY: tuple[Any, ...] = ()

GZIP_MAGIC = b"\x1f\x8b"
_UINT16_MAX = int(np.iinfo(np.uint16).max)
_SHIFT = 1 << 15


class RawError(OSError):
    """A raw file that cannot be used: missing, not FITS, truncated, damaged or of another layout."""


@attrs.frozen(eq=False)
class Extension:
    """One HDU of a raw file, without its pixels.

    ``index`` counts from 0, the primary HDU. ``name`` is EXTNAME, of a compressed image the image's own;
    empty when there is none. ``header`` is that of the image, compressed or not; treat it as read-only.
    ``shape`` is (ny, nx), empty for an HDU without an image.
    """

    index: int
    name: str
    header: Header = attrs.field(repr=False)
    shape: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """How messages and `Exposure.source` name the extension: its name, else its number."""
        return self.name or str(self.index)


@attrs.frozen(eq=False)
class RawSource:
    """A raw file, its headers read once, its pixels read on request. No file stays open or mapped.

    ``starts`` are the places (bytes) where its HDUs begin and the last one ends; empty for a file that is
    compressed as a whole. ``key`` tells the state of the file when it was opened. ``visits`` are those that
    were read from headers, which processes that get the source need not read again. When the source
    ``is_listing`` only camera, visit and detectors are asked for, and one visit stands for all detectors.
    """

    path: Path
    extensions: tuple[Extension, ...]
    has_pixels: bool = True
    starts: tuple[int, ...] = attrs.field(default=(), repr=False)
    key: tuple[Any, ...] = attrs.field(default=(), repr=False, kw_only=True)
    visits: dict[tuple[Any, ...], VisitInfo] = attrs.field(factory=dict, repr=False, kw_only=True)
    is_listing: bool = attrs.field(default=False, kw_only=True)

    @classmethod
    def open(cls, path: str | Path) -> RawSource:
        """Read the headers and check that the file is as long as they promise.

        Plain, gzip-compressed and tile-compressed files are understood. A file that did not change since it
        was opened is not read again. Raises `RawError` when the file is missing, no FITS file, or truncated.
        """
        file = Path(path)
        try:
            state = file.stat()
        except OSError:
            return cls._open(file)
        key = file, state.st_mtime_ns, state.st_size, state.st_ino
        if key not in _opened:
            attrs.evolve(cls._open(file), key=key).keep()
        return _opened[key]

    def keep(self) -> None:
        """Let `open` give this source while its file stays as it is, also in the process this is called in.

        Those kept last are kept: every detector of a file is read by itself.
        """
        _opened[self.key] = self
        while len(_opened) > _KEPT_FILES:
            del _opened[next(iter(_opened))]

    @classmethod
    def _open(cls, file: Path) -> RawSource:
        """Read headers and check the length."""
        is_gzip = _is_gzip(file)
        try:
            starts, ends, extensions = _read_headers(file)
            _check_length(file, is_gzip, ends, extensions)
        except RawError:
            raise
        except Exception as fault:  # astropy and zlib raise many kinds, none of them documented
            raise RawError(
                f"raw file {str(file)!r} is truncated or damaged: {fault}\n  fetch it again"
            ) from fault
        _warn_if_incomplete(file, extensions)
        return cls(file, extensions, starts=() if is_gzip else starts)

    @property
    def header(self) -> Header:
        """The primary header; treat it as read-only."""
        return self.extensions[0].header

    @property
    def images(self) -> tuple[Extension, ...]:
        """The extensions (the primary HDU included) that hold an image."""
        return tuple(extension for extension in self.extensions if extension.shape)

    def __getitem__(self, name: str) -> Extension:
        """The extension of that name, in capitals or not, as many writers turn names into capitals.

        Raises `RawError` naming those there are, also when it is there twice.
        """
        found = [extension for extension in self.extensions if extension.name.lower() == name.lower()]
        if len(found) == 1:
            return found[0]
        names = ", ".join(repr(extension.label) for extension in self.extensions)
        many = f"{len(found)} extensions" if found else "no extension"
        raise RawError(f"raw file {str(self.path)!r} has {many} {name!r}; it has {names}")

    def without_pixels(self) -> RawSource:
        """The same file for those who only plan: `read` gives zeros that take no memory and no time."""
        return attrs.evolve(self, has_pixels=False)

    def locate(self, extension: Extension) -> str:
        """Where pixels come from, as in ``file.fits[ccd05]``."""
        return f"{self.path}[{extension.label}]"

    def read(self, extension: Extension) -> Pixels:
        """The pixels of one extension, (ny, nx): uint16 when the file holds integers, else float32.

        Reads that extension only and returns memory of its own. Raises `RawError` when there is no image,
        it cannot be decoded, or it holds integers outside 0..65535.
        """
        where = f"raw file {str(self.path)!r}, extension {extension.label!r}"
        if not extension.shape:
            raise RawError(f"{where}: holds no image; choose another extension")
        if not self.has_pixels:
            return np.broadcast_to(raw_type(extension.header)(0), extension.shape)
        try:
            array = self._read_array(extension)
        except Exception as fault:  # the decoders raise many kinds, none of them documented
            raise RawError(f"{where}: pixels cannot be decoded: {fault}\n  fetch the file again") from fault
        if array.shape != extension.shape:
            raise RawError(f"{where}: the file changed after it was opened; open it again")
        return _to_raw_type(array, where)

    def _read_array(self, extension: Extension) -> Pixels:
        """The scaled pixels of an extension."""
        index, is_shifted = extension.index, _is_shifted(extension.header)
        options = {"memmap": False, "do_not_scale_image_data": is_shifted}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            # A decoder that overflows has read damaged sizes; it goes on with made-up pixels.
            warnings.simplefilter("error", RuntimeWarning)
            # Looking through a file of forty compressed images takes longer than decoding one of them.
            file, place = (self._extract(index), min(index, 1)) if self.starts else (self.path, index)
            with fits.open(file, lazy_load_hdus=True, **options) as hdus:
                stored = np.asarray(hdus[place].data)
        return _shifted(stored) if is_shifted else stored

    def _extract(self, index: int) -> io.BytesIO:
        """A file in memory with HDU ``index`` alone, behind an empty primary HDU unless it is one.

        Only those of its cards are in it that say how pixels are stored: astropy looks at every card.
        """
        extract = io.BytesIO()
        if index:
            fits.PrimaryHDU().writeto(extract)
        with self.path.open("rb") as stream:
            stream.seek(self.starts[index])
            end = self.starts[index + 1]
            while stream.tell() < end and (card := stream.read(CARD)) and card.rstrip() != b"END":
                if _ON_STORAGE.match(card):
                    extract.write(card)
            extract.write(b"END".ljust(CARD))
            extract.write(b" " * (-extract.tell() % BLOCK))
            stream.seek(-(stream.tell() - self.starts[index]) % BLOCK, os.SEEK_CUR)
            extract.write(stream.read(end - stream.tell()))
        extract.seek(0)
        return extract


_opened: dict[tuple[Any, ...], RawSource] = {}


def read_sections(
    camera: Camera,
    source: RawSource,
    detectors: Iterable[str | int] | None = None,
    *,
    visit: Callable[[Header], VisitInfo] | None = None,
    given: Callable[[Header], Mapping[str, str]] | None = None,
) -> Iterator[Exposure]:
    """Raw exposures of a camera that stores each detector in an extension of the detector's name.

    A camera of one detector may also have a single image of any name. ``detectors`` are names or ids, None
    means all in the file. ``visit`` reads the merged header (default: `visit_from_header`). ``given`` says of
    the merged header what was done to the pixels before (facts, and who made each true); such an image may
    also be assembled, of the detector's trimmed shape, which adds that fact. Raises `RawError` naming every
    detector that is not there, before any pixel is read.
    """
    chosen = find_extensions(camera, source, detectors)
    describe = visit or visit_from_header
    return (
        read_detector(camera, detector, source, extension, describe, given) for detector, extension in chosen
    )


def find_extensions(
    camera: Camera, source: RawSource, detectors: Iterable[str | int] | None = None
) -> list[tuple[Detector, Extension]]:
    """The detectors asked for (None: all in the file), each with the extension that holds it.

    Raises `RawError` naming every detector that is not there, and those that are.
    """
    present = _present(camera, source)
    wanted = [detector.name for detector, _ in present] if detectors is None else list(detectors)
    found = {key: pair for pair in present for key in (pair[0].name, pair[0].id)}
    missing = [key for key in wanted if key not in found]
    if missing or not found:
        there = ", ".join(repr(detector.name) for detector, _ in present) or "none"
        lacks = f"detector {', '.join(map(repr, missing))}" if missing else f"detector of {camera.name!r}"
        raise RawError(f"raw file {str(source.path)!r} has no {lacks}; it has {there}")
    return [found[key] for key in wanted]


def read_detector(
    camera: Camera,
    detector: Detector,
    source: RawSource,
    extension: Extension,
    visit: Callable[[Header], VisitInfo],
    given: Callable[[Header], Mapping[str, str]] | None = None,
) -> Exposure:
    """The raw exposure of one detector from one extension; see `read_sections` for ``given``.

    Raises `RawError` when the image has another shape than the detector's raw frame.
    """
    where = source.locate(extension)
    if source.is_listing:
        return _listed(camera, detector, source, extension, visit)
    header = merge_headers(source.header, extension.header)
    done = dict(given(header)) if given else {}
    if done and extension.shape == detector.shape:
        done["assembled"] = next(iter(done.values()))
    elif extension.shape != detector.raw_shape:
        raise RawError(
            f"{where}: image has shape {extension.shape}, the raw frame of detector {detector.name!r} of "
            f"camera {camera.name!r} is {detector.raw_shape}\n  it may be binned, windowed or already trimmed"
        )
    return Exposure(
        MaskedImage.from_raw(source.read(extension)),
        detector,
        camera=camera.name,
        visit=_read_visit(source, extension, header, visit),
        header=header,
        wcs=LazyWcs(partial(celestial_wcs, extension.header)),
        facts=frozenset(done),
        source=where,
        given=done,
    )


def _read_visit(
    source: RawSource, extension: Extension, header: Header, visit: Callable[[Header], VisitInfo]
) -> VisitInfo:
    """The visit of an extension, read once by each function that has a name of its own."""
    if not isinstance(visit, FunctionType) or "<" in visit.__qualname__:
        return visit(header)
    key = extension.index, visit.__module__, visit.__qualname__
    if key not in source.visits:
        source.visits[key] = visit(header)
    return source.visits[key]


def _listed(
    camera: Camera,
    detector: Detector,
    source: RawSource,
    extension: Extension,
    visit: Callable[[Header], VisitInfo],
) -> Exposure:
    """A detector of a file of which only camera, visit and detectors are asked for."""
    if _ANY not in source.visits:
        # One shutter: merging the headers of forty CCDs would take longer than reading them.
        source.visits[_ANY] = visit(merge_headers(source.header, extension.header))
    pixels = MaskedImage.from_raw(source.read(extension))
    return Exposure(pixels, detector, camera.name, visit=source.visits[_ANY])


def _is_gzip(file: Path) -> bool:
    """Whether the file is compressed as a whole. Raises `RawError` when it is no FITS file."""
    try:
        with file.open("rb") as stream:
            start = stream.read(6)
    except FileNotFoundError as fault:
        raise RawError(f"raw file {str(file)!r} does not exist; check the path") from fault
    except IsADirectoryError as fault:
        raise RawError(f"raw file {str(file)!r} is a folder; name a file in it") from fault
    except OSError as fault:
        reason = fault.strerror
        raise RawError(f"raw file {str(file)!r} cannot be read: {reason}; check permissions") from fault
    check_magic(file, start)
    return start.startswith(GZIP_MAGIC)


def check_magic(file: Path, start: bytes) -> None:
    """Raise `RawError` unless the first bytes are those of a FITS file, plain or compressed as a whole."""
    if start != b"SIMPLE" and not start.startswith(GZIP_MAGIC):
        raise RawError(
            f"raw file {str(file)!r} is no FITS file: it starts with {start!r}\n"
            "  plain (.fits), gzip-compressed (.fits.gz) and tile-compressed (.fits.fz) files can be read"
        )


def _read_headers(file: Path) -> tuple[tuple[int, ...], list[int], tuple[Extension, ...]]:
    """Where each HDU starts, and the last one ends; where their data end without padding; the HDUs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        options = {"memmap": False, "lazy_load_hdus": False, "disable_image_compression": True}
        with fits.open(file, **options) as hdus:
            places = [hdu.fileinfo() for hdu in hdus]
            ends = [place["datLoc"] + hdu.size for place, hdu in zip(places, hdus, strict=True)]
            starts = (*(place["hdrLoc"] for place in places), places[-1]["datLoc"] + places[-1]["datSpan"])
            return starts, ends, tuple(_read_extension(index, hdu) for index, hdu in enumerate(hdus))


def _read_extension(index: int, hdu: Any) -> Extension:
    """The extension of an HDU, a compressed image seen as the image."""
    name = read_name(hdu.header)
    image = fits.CompImageHDU(bintable=hdu) if hdu.header.get("ZIMAGE") else hdu
    header = image.header
    if name and "EXTNAME" not in header:
        header["EXTNAME"] = name
    is_image = isinstance(image, fits.PrimaryHDU | fits.ImageHDU)
    return Extension(index, name, header.copy(), tuple(image.shape) if is_image else ())


def read_name(header: Header) -> str:
    """EXTNAME. Where it occurs twice the compressor wrote its own first and the image's after that."""
    names = [str(card.value).strip() for card in header.cards if card.keyword == "EXTNAME"]
    own = [name for name in names if name != "COMPRESSED_IMAGE"]
    return own[-1] if own else ""


def _check_length(file: Path, is_gzip: bool, ends: list[int], extensions: tuple[Extension, ...]) -> None:
    """Refuse a file shorter than its headers promise, or one that ends within a header.

    Missing padding after the last HDU is no fault. A compressed file is read to its end, which also
    verifies gzip's own checksum.
    """
    following = in_blocks(ends[-1])
    opener = cast(Callable[..., IO[bytes]], gzip.open if is_gzip else open)
    with opener(file, "rb") as stream:
        stream.seek(following)
        has_more = stream.read(8).startswith(b"XTENSION")
        length = stream.seek(0, 2)
    for end, extension in zip(ends, extensions, strict=True):
        if length < end:
            raise RawError(
                f"raw file {str(file)!r} is truncated in extension {extension.label!r}: it has {length} "
                f"bytes, its headers promise {ends[-1]}\n  fetch it again"
            )
    if has_more:
        raise RawError(
            f"raw file {str(file)!r} is truncated or damaged: the header after extension "
            f"{extensions[-1].label!r} cannot be read\n  fetch it again"
        )


def _warn_if_incomplete(file: Path, extensions: tuple[Extension, ...]) -> None:
    """Log when there are fewer extensions than NEXTEND says: no error, cut-out files keep the old number."""
    promised = extensions[0].header.get("NEXTEND")
    present = len(extensions) - 1
    if isinstance(promised, int) and present < promised:
        _log.warning("%s has %d extensions, its header says NEXTEND = %d", file, present, promised)


def raw_type(header: Header) -> type[np.uint16 | np.float32]:
    """What the pixels of an image become: unsigned integers, or floats where the file scales them."""
    bits = header.get("BITPIX", 16)
    is_unscaled = header.get("BSCALE", 1) == 1 and header.get("BZERO", 0) in (0, 2 ** abs(bits - 1))
    return np.uint16 if bits > 0 and is_unscaled else np.float32


def _is_shifted(header: Header) -> bool:
    """Whether pixels are unsigned numbers of 16 bits stored as signed ones (FITS Standard 4.0, 4.4.2.5)."""
    return (header.get("BITPIX"), header.get("BSCALE", 1), header.get("BZERO", 0)) == (16, 1, _SHIFT)


def _shifted(stored: Pixels) -> Pixels:
    """Unsigned numbers from signed ones, which differ in the first bit; astropy adds in three passes."""
    words = np.ascontiguousarray(stored, dtype=np.int16).view(np.uint16)
    return np.bitwise_xor(words, _SHIFT, out=words if words.flags.writeable else None)


def _to_raw_type(array: Pixels, where: str) -> Pixels:
    """The pixels as uint16 or float32, native and contiguous. Raises `RawError` when they do not fit."""
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=np.float32)
    if array.size and array.dtype.newbyteorder("=") != np.uint16:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > _UINT16_MAX:
            raise RawError(
                f"{where}: holds {array.dtype.name} values from {low} to {high}, raw pixels go from 0 to "
                f"{_UINT16_MAX}\n  write it as float32 if these are not raw counts"
            )
    return np.ascontiguousarray(array, dtype=np.uint16)


def _present(camera: Camera, source: RawSource) -> list[tuple[Detector, Extension]]:
    """The camera's detectors that the file holds."""
    names = {extension.name.lower() for extension in source.images}
    inside = [detector for detector in camera.detectors if detector.name.lower() in names]
    found = [(detector, source[detector.name]) for detector in inside]
    if not found and len(camera.detectors) == 1 and len(source.images) == 1:
        return [(camera.detectors[0], source.images[0])]
    return found
