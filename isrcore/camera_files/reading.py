"""Raw files of cameras that a camera file describes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from astropy.io.fits import Header

from isrcore.camera import CameraError
from isrcore.camera_files.cards import HeaderFault, failing
from isrcore.camera_files.geometry import DetectorTable, Hdu, Sight
from isrcore.camera_files.layouts import Layout, Move
from isrcore.exposure import Exposure
from isrcore.image import Pixels
from isrcore.raw import (
    Extension,
    RawError,
    RawSource,
    find_extensions,
    raw_type,
    read_detector,
)
from isrcore.raw_headers import merge_headers

if TYPE_CHECKING:
    from isrcore.camera_files.plugin import FileCamera


@attrs.frozen(eq=False)
class JoinedSource(RawSource):
    """A file whose raw frames are made of parts of its images: moves, each with its image, by detector."""

    moves: Mapping[str, tuple[tuple[Extension, Move], ...]] = attrs.field(factory=dict, repr=False)

    def read(self, extension: Extension) -> Pixels:
        """The raw frame of a detector; what no amplifier wrote is 0."""
        moves = self.moves.get(extension.name)
        if moves is None or not self.has_pixels:
            return RawSource.read(self, extension)
        kinds = {raw_type(part.header) for part, _ in moves}
        if len(kinds) > 1:
            raise RawError(f"{self.locate(extension)}: some of its images hold integers and some floats")
        frame = np.zeros(extension.shape, kinds.pop())
        for _, group in groupby(moves, key=lambda pair: pair[0].index):
            pairs = list(group)
            image = RawSource.read(self, pairs[0][0])
            for _, move in pairs:
                frame[move.target.slices] = image[move.source.slices]
        return frame


@attrs.frozen(eq=False)
class _Found:
    """A detector of a file: its table, the HDUs of its amplifiers, and what they are joined to."""

    table: DetectorTable
    extensions: tuple[Extension, ...]

    @property
    def per_amplifier(self) -> Mapping[str, Extension]:
        """The HDU that holds each amplifier."""
        names = [amp.name for amp in self.table.amplifiers]
        parts = self.extensions if self.table.hdus else self.extensions * len(names)
        return dict(zip(names, parts, strict=True))


def header_of(source: RawSource) -> Header:
    """The primary header, with those cards of the first image that it lacks."""
    images = source.images
    if not images or not images[0].index:
        return source.header
    header = source.header.copy()
    header.extend(images[0].header, unique=True)
    return header


def read_raw(
    camera: FileCamera, source: RawSource, detectors: Iterable[str | int] | None
) -> Iterator[Exposure]:
    """Raw exposures of a file. Raises `RawError`, before any pixel is read, listing all that is wrong."""
    faults = failing(camera.require, header_of(source))
    found = [] if faults else _find(camera, source, detectors)
    made = [(one, _layout(camera, source, one, faults)) for one in found]
    if faults:
        raise RawError(
            f"raw file {str(source.path)!r} is not as camera file {str(camera.file.path)!r} says\n  "
            + "\n  ".join(dict.fromkeys(faults))
        )
    moves = {
        one.table.name: tuple((one.per_amplifier[move.amplifier], move) for move in layout.moves)
        for one, layout in made
        if layout is not None and layout.moves
    }
    joined = JoinedSource(
        source.path,
        source.extensions,
        source.has_pixels,
        source.starts,
        moves,
        is_listing=source.is_listing,
    )
    return (
        read_detector(camera.camera, layout.detector, joined, _whole(one, layout, moves), camera.read_visit)
        for one, layout in made
        if layout is not None
    )


def _whole(found: _Found, layout: Layout, moves: Mapping[str, Any]) -> Extension:
    """The extension that stands for the raw frame of a detector."""
    name, first = found.table.name, found.extensions[0]
    return attrs.evolve(first, name=name, shape=layout.detector.raw_shape) if name in moves else first


def _layout(camera: FileCamera, source: RawSource, found: _Found, faults: list[str]) -> Layout | None:
    """The detector as this file has it; what is wrong with it or the visit is added to the faults."""
    table, nominal = found.table, camera.layouts[found.table.name]
    headers = {name: merge_headers(source.header, part.header) for name, part in found.per_amplifier.items()}
    try:
        camera.visit.read(next(iter(headers.values())))
    except HeaderFault as fault:
        faults.extend(str(fault).splitlines())
    if source.is_listing:
        return attrs.evolve(nominal, moves=())
    shapes: Any = {name: part.shape for name, part in found.per_amplifier.items()}
    layout = None
    try:
        is_own = table.has_cards or table.hdus
        layout = table.layout(Sight(headers, shapes)) if is_own else nominal
        for name, shape in layout.shapes.items():
            if shape != shapes[name]:
                raise CameraError(f"image has shape {shapes[name]}, the camera file says {shape}")
    except (HeaderFault, CameraError) as fault:
        faults.extend(f"detector {table.name!r}: {line}" for line in str(fault).splitlines())
    return layout


def _find(camera: FileCamera, source: RawSource, detectors: Iterable[str | int] | None) -> list[_Found]:
    """The detectors that are asked for and their HDUs. Raises `RawError` naming all that are not there."""
    if not any(table.hdus or table.hdu is not None for table in camera.detectors):
        tables = {table.name: table for table in camera.detectors}
        pairs = find_extensions(camera.camera, source, detectors)
        return [_Found(tables[detector.name], (extension,)) for detector, extension in pairs]
    wanted = None if detectors is None else list(detectors)
    found, missing = list[_Found](), list[str]()
    for key in [table.name for table in camera.detectors] if wanted is None else wanted:
        table = next((one for one in camera.detectors if key in (one.name, one.values["id"])), None)
        extensions, lacks = _extensions(table, source)
        if table is not None and not lacks:
            found.append(_Found(table, extensions))
        elif wanted is not None or table is None or len(lacks) < max(len(table.hdus), 1):
            missing.append(f"{key!r}: {', '.join(lacks) or 'the camera has none of that name'}")
    if missing or not found:
        there = ", ".join(
            f"{one.index} ({one.name})" if one.name else str(one.index) for one in source.images
        )
        lines = missing or [f"{table.name!r}: {_extensions(table, source)[1]}" for table in camera.detectors]
        raise RawError(
            f"raw file {str(source.path)!r} has not all detectors; its images are HDU {there or '(none)'}\n  "
            + "\n  ".join(f"detector {line}" for line in lines)
        )
    return found


def _extensions(table: DetectorTable | None, source: RawSource) -> tuple[tuple[Extension, ...], list[str]]:
    """The HDUs of a detector in the order of its amplifiers, and those that are not there."""
    if table is None:
        return (), []
    hdus: list[Hdu] = [table.hdus[amp.name] for amp in table.amplifiers] if table.hdus else [_own(table)]
    found = [_extension(source, hdu) for hdu in hdus]
    lacks = [f"there is no image HDU {hdu!r}" for hdu, one in zip(hdus, found, strict=True) if one is None]
    return tuple(one for one in found if one is not None), lacks


def _own(table: DetectorTable) -> Hdu:
    """The HDU of a raw frame."""
    return table.name if table.hdu is None else table.hdu


def _extension(source: RawSource, hdu: Hdu) -> Extension | None:
    """The image HDU of a number or name; None when there is not exactly one."""
    images = source.images
    if hdu == 0 and len(images) == 1:
        # Compressors put the image of a primary HDU into an extension.
        return images[0]
    if isinstance(hdu, int):
        found = [one for one in images if one.index == hdu]
    else:
        found = [one for one in images if one.name.lower() == hdu.lower()]
    return found[0] if len(found) == 1 else None
