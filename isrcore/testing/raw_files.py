"""Raw files of a camera under test: written by its plugin, and copies with other headers, without pixels."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import IO, Any, cast

import attrs
import numpy as np
from astropy.io import fits
from astropy.io.fits import Header
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning

from isrcore.camera import Camera, Detector
from isrcore.exposure import Exposure, VisitInfo
from isrcore.fits import FitsError
from isrcore.fits_parts import read_parts
from isrcore.fits_planes import in_blocks
from isrcore.image import MaskedImage
from isrcore.raw import Extension, RawSource
from isrcore.testing.camera_case import CameraCase

#: Two visits that have nothing in common: what a reader makes of both is not from the file.
VISITS = (
    VisitInfo(
        424242, 137.25, 138.5, Time("2015-03-21T04:05:06.5", scale="utc"), "r", "first field", "science",
        150.125, 2.25, 1.23,
    ),
    VisitInfo(
        535353, 241.5, 243.125, Time("2016-10-02T09:08:07.25", scale="utc"), "g", "second field", "flat",
        33.5, -12.75, 1.87,
    ),
)  # fmt: skip

# Types of exposures, in the order in which cameras are likely to know them.
_TYPES = ("science", "flat", "bias", "dark", "arc")

# Raw numbers up to here are light in every camera; above may be pile-up.
_BRIGHTEST = 40000


@attrs.frozen(eq=False, slots=False)
class Outline:
    """A FITS file without its pixels: headers, and how many bytes of data follow each."""

    headers: tuple[Header, ...]
    sizes: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> Outline:
        """Of a file, plain or compressed as a whole."""
        with path.open("rb") as plain, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            is_gzip = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if is_gzip else plain
            parts = list(read_parts(stream))
        return cls(tuple(part.header for part in parts), tuple(part.end - part.data_start for part in parts))

    @cached_property
    def _texts(self) -> tuple[bytes, ...]:
        return tuple(_text(header) for header in self.headers)

    def write(self, path: Path, changed: Mapping[int, Header]) -> None:
        """A file with some headers changed; its data are zeros that take no room on the disk."""
        with path.open("wb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            for number, size in enumerate(self.sizes):
                stream.write(_text(changed[number]) if number in changed else self._texts[number])
                stream.truncate(stream.seek(size, 1))


def _text(header: Header) -> bytes:
    """A header as it is in a file."""
    return bytes(header.tostring().encode("ascii", "replace"))


@attrs.frozen(eq=False)
class CountingSource(RawSource):
    """A raw file that remembers whose pixels were read."""

    seen: list[str] = attrs.field(factory=list, kw_only=True, repr=False)

    @classmethod
    def of(cls, path: Path) -> CountingSource:
        """An opened file of which no pixel was read yet."""
        opened = RawSource.open(path)
        return cls(opened.path, opened.extensions, starts=opened.starts, key=opened.key)

    def read(self, extension: Extension) -> Any:
        """As `RawSource.read`."""
        self.seen.append(extension.label)
        return super().read(extension)


@attrs.define(eq=False, slots=False)
class RawFiles:
    """Files for the checks of one camera, in a folder of their own that goes with this object."""

    case: CameraCase
    #: What was found out about `outlines`, by whoever asked first.
    known: dict[Any, Any] = attrs.field(factory=dict)

    @cached_property
    def _folder(self) -> Path:
        folder = tempfile.mkdtemp(prefix="isrcore-kit-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @cached_property
    def _numbers(self) -> Iterator[int]:
        return count()

    def new(self, suffix: str = ".fits") -> Path:
        """A name that no file has."""
        return self._folder / f"raw{next(self._numbers)}{suffix}"

    @cached_property
    def detectors(self) -> tuple[Detector, ...]:
        """Two detectors that stand for all, of different layouts where there are some; one if it is alone."""
        chosen = [*self.case.layouts(), *self.case.camera.detectors]
        return tuple(dict.fromkeys(chosen))[:2]

    @cached_property
    def frames(self) -> tuple[Exposure, ...]:
        """Raw frames of random pixels, one for each of `detectors`."""
        return tuple(self.frame(self.case.camera, one, self.visits[0]) for one in self.detectors)

    @cached_property
    def visits(self) -> tuple[VisitInfo, VisitInfo]:
        """The two visits, through filters that the camera has and of types that its files can say."""
        names = [one.name for one in self.case.camera.filters] or [visit.filter for visit in VISITS]
        chosen = zip(VISITS, (names[0], names[-1]), strict=True)
        first, second = (self._sayable(attrs.evolve(visit, filter=name)) for visit, name in chosen)
        return first, second

    def _sayable(self, visit: VisitInfo) -> VisitInfo:
        """The visit, of another type if the camera's writer refuses its own."""
        frame = self.frame(self.case.camera, self.detectors[0], visit)
        for name in dict.fromkeys((visit.observation_type, *_TYPES)):
            typed = attrs.evolve(visit, observation_type=name)
            with suppress(FitsError):
                self.write([attrs.evolve(frame, visit=typed)])
                return typed
        return visit

    def frame(self, camera: Camera, detector: Detector, visit: VisitInfo) -> Exposure:
        """A raw frame whose levels are other than the camera's where its files can say so."""
        described = self._with_levels(detector)
        rng = np.random.default_rng(detector.id)
        pixels = rng.integers(0, _BRIGHTEST, detector.raw_shape, np.uint16)
        return Exposure(MaskedImage.from_raw(pixels), described, camera.name, visit)

    def _with_levels(self, detector: Detector) -> Detector:
        """Other gains and read noises for cameras that read their levels from the file."""
        specs, name = self.case.registry.specs, self.case.camera.name
        if "levels" not in specs or not self.case.registry.implementation("levels", name).camera:
            return detector
        changes = {
            amp.name: {"gain": amp.gain * 1.125, "read_noise": amp.read_noise * 1.25}
            for amp in detector.amplifiers
        }
        return detector.with_amplifiers(**changes)

    def write(self, frames: Iterable[Exposure]) -> Path:
        """A file written by the camera's own writer, or the one that cameras without get."""
        path = self.new()
        self.case.registry.write_raw(path, self.case.camera, frames)
        return path

    @cached_property
    def written(self) -> Path:
        """A file with `frames`."""
        return self.write(self.frames)

    @cached_property
    def read(self) -> tuple[Exposure, ...]:
        """What the camera's plugin reads from `written`."""
        return tuple(self.case.alone.read_raw(self.written))

    @cached_property
    def outlines(self) -> tuple[Outline, Outline]:
        """Files of the first detector for both visits, without pixels."""
        detector = self.detectors[0]
        first, second = (
            Outline.read(self.write([self.frame(self.case.camera, detector, visit)])) for visit in self.visits
        )
        return first, second

    def empty_file(self, path: Path, cards: Mapping[str, Any], detector: Detector) -> None:
        """A file with an image extension of a detector's name and shape, and of zeros."""
        primary = fits.PrimaryHDU(header=Header(list(cards.items()))).header
        image = fits.ImageHDU(np.zeros((1, 1), np.uint16), name=detector.name).header
        image["NAXIS2"], image["NAXIS1"] = detector.raw_shape
        size = 2 * detector.raw_shape[0] * detector.raw_shape[1]
        Outline((primary, image), (0, in_blocks(size))).write(path, {})

    def with_a_row_less(self, outline: Outline) -> Outline | None:
        """The file with one row less in every plain image; None when there is no plain image."""
        headers, sizes = list(outline.headers), list(outline.sizes)
        images = [number for number, header in enumerate(headers) if _is_plain_image(header)]
        for number in images:
            header = headers[number] = headers[number].copy()
            header["NAXIS2"] -= 1
            bits, rows, columns = (header[key] for key in ("BITPIX", "NAXIS2", "NAXIS1"))
            sizes[number] = in_blocks(abs(bits) // 8 * rows * columns)
        return Outline(tuple(headers), tuple(sizes)) if images else None


def _is_plain_image(header: Header) -> bool:
    return bool(header.get("NAXIS") == 2 and header.get("XTENSION", "IMAGE").strip() == "IMAGE")
