"""Checks of the numbers and names that a camera gives: levels, filters, detectors."""

from __future__ import annotations

import math
from collections.abc import Iterator

from isrcore.camera import Amplifier, Filter
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, checks

#: Gains in electron/adu, read noises in electron and levels in adu that some CCD camera might have; what is
#: outside is a slip of the unit or of a digit. Levels end with converters of 20 bits.
GAINS, NOISES, LEVELS = (0.01, 100.0), (0.0, 1000.0), (1.0, 2.0**20)

# Sizes of pixels in mm and wavelengths in nm, in the same sense.
_PIXELS, _WAVELENGTHS = (0.0005, 1.0), (50.0, 50000.0)


@checks("gains, read noises and levels are numbers that an amplifier can have")
def check_levels(case: CameraCase) -> Iterator[Fault]:
    """Gain and read noise finite and in range; levels in range or NaN; suspect not above saturation."""
    for detector in case.camera.detectors:
        for amp in detector.amplifiers:
            where = f"amplifier {amp.name!r} of detector {detector.name!r}"
            yield from _out_of_range(where, "gain", amp.gain, GAINS, "electron/adu")
            yield from _out_of_range(where, "read_noise", amp.read_noise, NOISES, "electron")
            for name in ("saturation", "suspect_level"):
                value = getattr(amp, name)
                if not _is_nan(value):
                    yield from _out_of_range(where, name, value, LEVELS, "adu")
            yield from _level_faults(where, amp)


def _level_faults(where: str, amp: Amplifier) -> Iterator[Fault]:
    """Levels that contradict each other."""
    if amp.suspect_level > amp.saturation:
        yield Fault(
            f"{where}: suspect level above saturation, so that no pixel is ever only suspect",
            f"suspect_level = {amp.suspect_level:g}, saturation = {amp.saturation:g}",
            "let suspect_level be the lower one, or leave it out",
        )


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _out_of_range(
    where: str, name: str, value: object, limits: tuple[float, float], unit: str
) -> Iterator[Fault]:
    """A value that is no number, not finite, or outside of limits."""
    low, high = limits
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and low <= float(value) <= high):  # type: ignore[arg-type]
        yield Fault(
            f"{where} has {name} {value!r} {unit}: no camera has that",
            f"{name} = {value!r}",
            f"give {name} in {unit}, between {low:g} and {high:g}",
        )


@checks("detectors have names, numbers and sizes that can be told apart and used")
def check_detectors(case: CameraCase) -> Iterator[Fault]:
    """Names unique and fit for file names, ids in order, sizes sane."""
    camera = case.camera
    ids = [detector.id for detector in camera.detectors]
    if not ids:
        yield Fault("it has no detector", "detectors = []", "describe at least one detector")
    if ids != sorted(set(ids)):
        yield Fault(
            "its detectors are not in order of id, each id once", f"ids {ids}", "sort the detectors by id"
        )
    for detector in camera.detectors:
        names = ("detector", detector.name), *(("amplifier", name) for name in detector.amplifier_names)
        for what, name in names:
            yield from _name_faults(f"{what} {name!r}", name)
        if detector.pixel_size_mm:
            where = f"detector {detector.name!r}"
            yield from _out_of_range(where, "pixel_size_mm", detector.pixel_size_mm, _PIXELS, "mm")
    if not (_is_nan(camera.longitude_deg) or -180 <= camera.longitude_deg <= 360):
        yield Fault(
            f"its telescope has longitude {camera.longitude_deg!r} degrees",
            f"longitude_deg = {camera.longitude_deg!r}",
            "give degrees, east positive, or leave it out",
        )


def _name_faults(where: str, name: str) -> Iterator[Fault]:
    """Names become parts of file names, cards and words on a command line."""
    if not name or name != name.strip() or set(name) & set("/\\\n,:"):
        yield Fault(
            f"{where} has a name that files and options cannot have",
            f"name = {name!r}",
            "give it a name without blanks around it and without slash, comma or colon",
        )


@checks("filters are found by every name they have, and by no other filter's")
def check_filters(case: CameraCase) -> Iterator[Fault]:
    """Names, short names and aliases unique, found, trimmed; wavelengths sane."""
    filters = case.camera.filters
    names = [name for one in filters for name in (*{one.name, one.short_name or one.name}, *one.aliases)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        owners = [one.name for one in filters if name in one.names]
        yield Fault(
            f"filter name {name!r} is there twice: {' and '.join(owners)}",
            f"name, short_name or aliases hold {name!r} more than once",
            "give the name to one filter, once",
        )
    for one in filters:
        yield from _filter_faults(case, one)


def _filter_faults(case: CameraCase, one: Filter) -> Iterator[Fault]:
    """Names that do not lead to the filter, and a wavelength that is none."""
    where = f"filter {one.name!r}"
    for name in sorted(one.names):
        if not name or name != name.strip():
            yield Fault(
                f"{where} is called {name!r}: headers are read without blanks around",
                f"name {name!r}",
                "give names that are not empty and have no blanks around them",
            )
        elif case.camera.filter(name) is not one:
            yield Fault(
                f"{where} is not found by its name {name!r}", f"camera.filter({name!r})", "rename one filter"
            )
    if not _is_nan(one.wavelength_nm):
        yield from _out_of_range(where, "wavelength_nm", one.wavelength_nm, _WAVELENGTHS, "nm")
