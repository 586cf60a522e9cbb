"""Kernels of the brighter-fatter effect: how charge in one pixel moves the boundaries of others."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io import fits

from isrcore.atomic import replacing
from isrcore.fits_columns import escape, unescape
from isrcore.fits_tables import make_table_hdu, rows_of

Weights = npt.NDArray[np.float64]

_DETECTOR, _AMPLIFIER = "DETNAME", "AMPNAME"
_KERNEL, _GAINS = "BF_KERNEL", "BF_GAINS"


class BrighterFatterError(ValueError):
    """A kernel that cannot be, or a file that holds none; the message lists every fault."""


@attrs.frozen
class _Gain:
    """A row of the table of gains."""

    amplifier: str
    gain: float


def _weights(values: Any) -> Weights:
    """Numbers of the object's own that nobody can change."""
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as fault:
        raise BrighterFatterError(f"a brighter-fatter kernel is an array of numbers: {fault}") from fault
    array.setflags(write=False)
    return array


def _weights_by_name(values: Mapping[str, Any]) -> dict[str, Weights]:
    return {str(name): _weights(kernel) for name, kernel in values.items()}


def _gains(values: Mapping[str, Any] | None) -> dict[str, float]:
    return {str(name): float(gain) for name, gain in (values or {}).items()}


@attrs.frozen(eq=False)
class BrighterFatterKernel:
    """What a unit charge does to the potential that moves charge around it, per electron.

    ``kernel`` has shape (ky, kx), both odd; its pixel (ky // 2 + dy, kx // 2 + dx) weighs the charge at
    (y + dy, x + dx) in the potential at (y, x). It is negative in the middle where charge repels charge.
    ``amplifiers`` are kernels of single amplifiers, by name, of one shape; without ``kernel`` that of the
    detector is their mean. ``gains`` (electron/adu, by amplifier) are those the kernel was measured with, if
    it matters; ``detector_name`` says whose it is and ``source`` where it came from, "" if unknown.

    As defined by Coulton et al. (2018, AJ 155, 258). Raises `BrighterFatterError` listing every fault.
    """

    kernel: Weights | None = attrs.field(
        default=None, converter=attrs.converters.optional(_weights), repr=False
    )
    amplifiers: Mapping[str, Weights] = attrs.field(factory=dict, converter=_weights_by_name, repr=False)
    gains: Mapping[str, float] = attrs.field(factory=dict, converter=_gains)
    detector_name: str = ""
    source: str = ""

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be, once, here."""
        problems = list(self._problems())
        if problems:
            raise BrighterFatterError("no brighter-fatter kernel is like this\n  " + "\n  ".join(problems))

    def _problems(self) -> Iterator[str]:
        kernels = dict(self._named())
        if not kernels:
            yield "there is no kernel, neither of the detector nor of amplifiers"
        for name, kernel in kernels.items():
            yield from (f"{name} {problem}" for problem in _faults(kernel))
        shapes = sorted({kernel.shape for kernel in kernels.values()})
        if len(shapes) > 1:
            yield f"kernels have shapes {', '.join(map(str, shapes))}; they must have one shape"
        for name, gain in self.gains.items():
            if not (math.isfinite(gain) and gain > 0):
                yield f"the gain of amplifier {name!r} is {gain} electron/adu; it must be positive"

    def _named(self) -> Iterator[tuple[str, Weights]]:
        """Every kernel and what messages call it."""
        if self.kernel is not None:
            yield "the kernel", self.kernel
        yield from ((f"the kernel of amplifier {name!r}", one) for name, one in self.amplifiers.items())

    @classmethod
    def of(cls, value: Any) -> BrighterFatterKernel:
        """The value itself, or a bare array as the kernel of a detector. Raises `BrighterFatterError`."""
        return value if isinstance(value, cls) else cls(value)

    @property
    def of_detector(self) -> Weights:
        """The kernel for the whole detector: its own, else the mean of its amplifiers'."""
        return self.kernel if self.kernel is not None else np.mean(list(self.amplifiers.values()), axis=0)

    @property
    def shape(self) -> tuple[int, int]:
        """(ky, kx) of every kernel."""
        ky, kx = self.of_detector.shape
        return ky, kx

    @property
    def digest(self) -> str:
        """Identifies the content: kernels and gains."""
        known = hashlib.sha256(repr((self.shape, sorted(self.gains.items()))).encode())
        for name, kernel in sorted(self._named()):
            known.update(name.encode() + kernel.tobytes())
        return known.hexdigest()[:16]

    @classmethod
    def read(cls, path: str | os.PathLike[str], detector: str = "") -> BrighterFatterKernel:
        """Read a FITS file: images of kernels, a table of gains.

        An image with the card ``AMPNAME`` is the kernel of that amplifier, the one without that of the
        detector, whose name is in ``DETNAME``; the table BF_GAINS has columns amplifier and gain. A file of
        one image is a kernel too. Raises `BrighterFatterError` for a file that is not so, or one of another
        detector than ``detector`` ("": any).
        """
        try:
            found = _from_fits(Path(path))
            if detector and found.detector_name.lower() not in ("", detector.lower()):
                raise BrighterFatterError(f"it is of detector {found.detector_name!r}, not of {detector!r}")
        except (ValueError, TypeError, KeyError) as fault:
            raise BrighterFatterError(f"'{path}' gives no brighter-fatter kernel: {fault}") from fault
        return attrs.evolve(found, source=str(path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a FITS file that `read` understands, completely or not at all."""
        stream = io.BytesIO()
        fits.HDUList(list(self._hdus())).writeto(stream, checksum=True)
        with replacing(Path(path)) as file:
            file.write(stream.getvalue())

    def _hdus(self) -> Iterator[Any]:
        """A primary header, an image per kernel, a table."""
        primary = fits.PrimaryHDU()
        primary.header["ISROTYPE"] = "bfKernel"
        primary.header[_DETECTOR] = escape(self.detector_name)
        yield primary
        images = {"": self.kernel} if self.kernel is not None else {}
        for number, (name, kernel) in enumerate({**images, **self.amplifiers}.items()):
            image = fits.ImageHDU(np.asarray(kernel), name=f"{_KERNEL}_{number}")
            image.header["BUNIT"] = "1/electron"
            if name:
                image.header[_AMPLIFIER] = escape(name)
            yield image
        if self.gains:
            yield make_table_hdu(_GAINS, _Gain, [_Gain(*item) for item in self.gains.items()])


def _faults(kernel: Weights) -> Iterator[str]:
    """What is wrong with one array of weights."""
    if kernel.ndim != 2:
        yield f"has shape {kernel.shape}; it needs two axes (ky, kx)"
    elif not all(side % 2 for side in kernel.shape):
        yield f"has shape {kernel.shape}; both sides must be odd: the charge is in the middle pixel"
    if not np.isfinite(kernel).all():
        yield f"has {np.count_nonzero(~np.isfinite(kernel))} values that are not finite"


def _from_fits(path: Path) -> BrighterFatterKernel:
    """The kernels and gains of a file, whose checksums are verified where there are any."""
    with fits.open(path) as units:
        damaged = [unit.name for unit in units if unit.verify_checksum() == 0]
        if damaged:
            raise BrighterFatterError(f"the checksum of {', '.join(damaged)} is wrong: the file is damaged")
        images = [unit for unit in units if unit.is_image and unit.data is not None]
        names = [unescape(unit.header.get(_AMPLIFIER, "")) for unit in images]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BrighterFatterError(f"it has several kernels of {', '.join(map(repr, twice))}")
        kernels = {name: unit.data for name, unit in zip(names, images, strict=True)}
        rows = list(rows_of(units[_GAINS], _Gain)) if _GAINS in units else []
        return BrighterFatterKernel(
            kernels.pop("", None),
            kernels,
            {row.amplifier: row.gain for row in rows},
            unescape(units[0].header.get(_DETECTOR, "")),
        )
