"""Checks of a camera's reader and writer, on files that its own writer makes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from isrcore.exposure import Exposure, VisitInfo
from isrcore.isr import IsrTask
from isrcore.raw import RawError
from isrcore.registry import RegistryError
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, NotApplicable, checks
from isrcore.testing.raw_files import CountingSource

# What a text in a header keeps of a time, and of an angle.
_SECONDS, _RELATIVE = 0.01, 1e-6


@checks("what is written as a raw file of the camera is what is read from it")
def check_round_trip(case: CameraCase) -> Iterator[Fault]:
    """Pixels, detectors, visit and levels come back from a file of the camera's writer."""
    written, found = case.files.frames, case.files.read
    names = [frame.detector.name for frame in written], [one.detector.name for one in found]
    if names[0] != names[1]:
        yield Fault(
            f"it reads other detectors than were written: {', '.join(names[1]) or 'none'}",
            f"a file with {', '.join(names[0])}",
            "let the reader give one exposure for every detector in the file, in the order of the file",
        )
        return
    for frame, one in zip(written, found, strict=True):
        yield from _pixel_faults(frame, one)
        for name, before, after in differing_visit(frame.visit, one.visit):
            yield Fault(
                f"detector {one.detector.name!r}: {name} is not what was written",
                f"{before!r} was written, {after!r} is read",
                f"let writer and reader agree on the card that holds {name} (see visit_from_header)",
            )
        if one.camera != case.camera.name:
            yield Fault(
                f"its exposures say that they are of camera {one.camera!r}",
                f"exposure of detector {one.detector.name!r}",
                f"let the reader make exposures with camera={case.camera.name!r}",
            )


def _pixel_faults(frame: Exposure, one: Exposure) -> Iterator[Fault]:
    """Pixels that are not those of the file."""
    if frame.shape != one.shape or not np.array_equal(frame.image, one.image):
        yield Fault(
            f"detector {one.detector.name!r}: the reader changes pixels",
            _first_pixel(frame.image, one.image),
            "give the pixels of the file as they are (RawSource.read): unscaled, unflipped, untrimmed; the "
            "steps do the rest",
        )
    elif not one.pixels.is_raw:
        yield Fault(
            f"detector {one.detector.name!r}: the reader makes {one.image.dtype} of raw integers",
            f"pixels of {one.source or 'the exposure'}",
            "use MaskedImage.from_raw on the pixels that RawSource.read gives",
        )


def _first_pixel(before: Any, after: Any) -> str:
    """The first pixel that differs."""
    if before.shape != after.shape:
        return f"shape {before.shape} was written, shape {after.shape} is read"
    y, x = (int(index) for index in np.argwhere(before != after)[0])
    return f"pixel [{x + 1},{y + 1}] was written {before[y, x]}, it is read {after[y, x]}"


def differing_visit(one: VisitInfo, other: VisitInfo) -> Iterator[tuple[str, Any, Any]]:
    """What differs between two visits: name and both values."""
    for field in attrs.fields(VisitInfo):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if not same_value(first, second):
            yield field.name, shown(first), shown(second)


def same_value(first: Any, second: Any) -> bool:
    """Whether two values of a visit are the same, as far as cards hold them."""
    if first is None or second is None:
        return first is second
    if hasattr(first, "isot"):
        return hasattr(second, "isot") and abs((first - second).to_value("s")) <= _SECONDS
    if isinstance(first, float):
        both_nan = math.isnan(first) and math.isnan(second)
        return both_nan or math.isclose(first, second, rel_tol=_RELATIVE, abs_tol=_RELATIVE)
    return bool(first == second)


def shown(value: Any) -> Any:
    """A value of a visit as messages show it."""
    return str(value.isot) if hasattr(value, "isot") else value


@checks("the levels of an exposure are those that its file or its camera states")
def check_levels_read(case: CameraCase) -> Iterator[Fault]:
    """Gains, read noises and saturation after writing, reading and the step ``levels``."""
    if "levels" not in case.registry.specs:
        raise NotApplicable("no plugin of the registry implements the step 'levels'")
    config = case.config.copy()
    for spec in case.registry.specs.values():
        if spec.flag:
            config.set(spec.flag, "converted" in spec.provides)
    task = IsrTask(config, camera=case.camera.name, registry=case.registry)
    for frame, one in zip(case.files.frames, case.files.read, strict=True):
        found = task.run(one).exposure.detector
        for amp in frame.detector.amplifiers:
            for name in ("gain", "read_noise", "saturation"):
                before, after = getattr(amp, name), getattr(found[amp.name], name)
                if not same_value(float(before), float(after)):
                    yield Fault(
                        f"amplifier {amp.name!r} of detector {found.name!r} loses its levels: {name}",
                        f"{name} {before:g} was written, it is {after:g} after reading and step 'levels'",
                        f"let the writer put {name} of exposure.detector into the card that is read",
                    )


@checks("one detector is read without the pixels of the others")
def check_one_detector(case: CameraCase) -> Iterator[Fault]:
    """Count which images are read for each detector alone."""
    if len(case.files.detectors) < 2:
        raise NotApplicable("the camera has a single detector")
    if len(CountingSource.of(case.files.written).images) < 2:
        raise NotApplicable("all detectors are in one image, which has to be read whole")
    seen: dict[str, list[str]] = {}
    for detector in case.files.detectors:
        source = CountingSource.of(case.files.written)
        found = list(case.alone.read_source(source, [detector.name]))
        if [one.detector.name for one in found] != [detector.name]:
            yield Fault(
                "it does not give the one detector that is asked for",
                f"asked for {detector.name!r}, got {[one.detector.name for one in found]}",
                "let the reader give the detectors named in its argument 'detectors', all for None",
            )
        seen[detector.name] = source.seen
    for name, images in seen.items():
        others = {image for other, read in seen.items() if other != name for image in read}
        if others & set(images):
            yield Fault(
                f"it reads the pixels of other detectors for detector {name!r} alone",
                f"images read for {name!r}: {', '.join(images)}",
                "call RawSource.read when an exposure is taken, for its own image only (see read_sections)",
            )


@checks("a detector that is not there is refused by name, before any pixel is read")
def check_requests(case: CameraCase) -> Iterator[Fault]:
    """Detectors by name or id; another one is an error of isrcore, not nothing."""
    path, wanted = case.files.written, "no such detector"
    source = CountingSource.of(path)
    try:
        found = list(case.alone.read_source(source, [wanted]))
    except (RawError, RegistryError) as fault:
        if wanted not in str(fault):
            yield Fault(
                "the error for a detector that is not there does not name it",
                f"asked for {wanted!r}: {fault}",
                "raise RawError naming the detector and those there are",
            )
    except Exception as fault:  # whatever a reader lets through
        yield _crash(f"asked for {wanted!r}", fault)
    else:
        yield Fault(
            "it swallows an error: a detector that is not there gives no error",
            f"asked for {wanted!r}, got {len(found)} exposures",
            "raise RawError naming the detector and those there are (read_sections does)",
        )
    first = case.files.detectors[0]
    by_id = [one.detector.name for one in case.alone.read_source(source, [first.id])]  # type: ignore[list-item]
    if by_id != [first.name]:
        yield Fault(
            "a detector cannot be asked for by its id",
            f"asked for {first.id}, got {by_id}",
            f"look detectors up with camera[key], which takes {first.name!r} and {first.id}",
        )


def _crash(example: str, fault: Exception) -> Fault:
    """A reader that lets through what readers of messages cannot use."""
    return Fault(
        f"the reader crashes with {type(fault).__name__} instead of a clear error",
        f"{example}: {type(fault).__name__}: {fault}",
        "raise RawError that names the file, what is wrong with it and what to do",
    )


@checks("files of other instruments are left alone")
def check_foreign_files(case: CameraCase) -> Iterator[Fault]:
    """A FITS file that is not ours is not claimed and breaks nothing."""
    for told, cards in _FOREIGN:
        path = case.files.new()
        case.files.empty_file(path, cards, case.files.detectors[0])
        try:
            found = list(case.alone.survey_raw(path))
        except RegistryError:
            continue
        except Exception as fault:  # whatever a reader lets through
            yield _crash(told, fault)
        else:
            yield Fault(
                "the reader claims a file of another instrument",
                f"{told}: {len(found)} exposures",
                "return None unless the header says that the file is yours: "
                "source.header.get('INSTRUME') == ...",
            )


#: Headers that no camera should take for its own.
_FOREIGN: Sequence[tuple[str, dict[str, Any]]] = (
    ("a file without cards", {}),
    ("a file of INSTRUME 'SOMEBODY-ELSE'", {"INSTRUME": "SOMEBODY-ELSE", "DETECTOR": "UNKNOWN"}),
    ("a file with a number for INSTRUME", {"INSTRUME": 7}),
)


@checks("a frame of another shape than the detector's is refused")
def check_shapes(case: CameraCase) -> Iterator[Fault]:
    """A raw image with a row less is an error that names the file."""
    outline = case.files.outlines[0]
    changed = case.files.with_a_row_less(outline)
    if changed is None:
        raise NotApplicable("the camera's files hold no plain images")
    path = case.files.new()
    changed.write(path, {})
    try:
        found = list(case.alone.survey_raw(path))
    except (RawError, RegistryError) as fault:
        if path.name not in str(fault):
            yield Fault(
                "the error for a frame of another shape does not name the file",
                str(fault),
                "put source.locate(extension) into the message",
            )
    except Exception as fault:  # whatever a reader lets through
        yield _crash("a frame with a row less", fault)
    else:
        yield Fault(
            "it swallows an error: a frame with a row less is not refused",
            f"{len(found)} exposures of a detector with raw shape {case.files.detectors[0].raw_shape}",
            "compare extension.shape with detector.raw_shape and raise RawError (read_detector does)",
        )
