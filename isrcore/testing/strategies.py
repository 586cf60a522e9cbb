"""Hypothesis strategies for inputs of steps: detectors, exposures, calibrations, operations and configs.

Layouts and settings are drawn one by one, so failures shrink; pixels come from a numpy generator whose seed
is drawn, so frames cost nothing to draw. Frames are small: a dozen pixels a side, never square by rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

try:
    from hypothesis import strategies as st
except ImportError as fault:
    raise ImportError(
        "isrcore.testing.strategies needs Hypothesis; install it with: pip install 'isrcore[kit]'"
    ) from fault

from isrcore.camera import EMPTY, READOUT_CORNERS, Amplifier, Camera, Detector
from isrcore.config import Config
from isrcore.defects import Defects
from isrcore.exposure import Exposure, VisitInfo
from isrcore.geometry import Box
from isrcore.image import Float32, Mask, MaskedImage, MaskPlanes
from isrcore.isr import IsrTask
from isrcore.kernels.ops import (
    Affine,
    Arithmetic,
    Divide,
    FlagAbove,
    FlagBoxes,
    FlagNonFinite,
    FlagNonPositiveVariance,
    Op,
    OrMask,
    SetVariance,
    Subtract,
)
from isrcore.plan import Plan
from isrcore.registry import Registry
from isrcore.testing import brighter_fatter
from isrcore.testing.configs import FILTERS, configs
from isrcore.testing.crosstalk import crosstalks
from isrcore.testing.fringes import fringe_frames
from isrcore.testing.headers import headers_like
from isrcore.testing.linearity import curve_ops, linearizers, polynomials
from isrcore.testing.optics import transmission_curves
from isrcore.testing.registers import deferred_charges
from isrcore.transmission import PARTS

__all__ = [
    "FRAME_KINDS",
    "boxes",
    "calibrations_for",
    "cameras",
    "configs",
    "detectors",
    "exposures",
    "frames",
    "generators",
    "headers_like",
    "invertible_ops",
    "masked_images",
    "masks",
    "operands",
    "ops",
    "planes_of",
    "plans",
    "raw_exposures",
    "runs",
    "visits",
]

# Calibration frames by kind: level, scatter and unit of their pixels.
_FRAMES = {
    "bias": (0.0, 3.0, "adu"),
    "dark": (20.0, 10.0, "adu"),
    "flat": (1.0, 0.1, ""),
    "illumMaskedImage": (1.0, 0.05, ""),
    "strayLightData": (5.0, 3.0, "adu"),
}

#: Kinds of calibration frames that `frames` makes.
FRAME_KINDS = tuple(_FRAMES)

#: (rows, columns) of amplifiers: one, side by side, stacked, four corners.
_GRIDS = ((1, 1), (1, 2), (2, 1), (1, 3), (2, 2))


def boxes(shape: tuple[int, int], min_side: int = 0) -> st.SearchStrategy[Box]:
    """Boxes inside an array of ``shape`` (ny, nx) with at least ``min_side`` pixels a side."""
    return st.builds(lambda y, x: Box(*y, *x), _ranges(shape[0], min_side), _ranges(shape[1], min_side))


@st.composite
def _ranges(draw: st.DrawFn, stop: int, min_length: int) -> tuple[int, int]:
    first = draw(st.integers(0, stop - min_length))
    return first, draw(st.integers(first + min_length, stop))


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Seeded numpy generators, for pixels."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@attrs.frozen
class _Margins:
    """Pixels around the data in every amplifier's part of the raw frame."""

    prescan: int
    serial: int
    parallel: int


@st.composite
def detectors(
    draw: st.DrawFn,
    *,
    has_overscan: bool | None = None,
    is_even: bool | None = None,
    name: str = "ccd0",
    id: int = 0,
) -> Detector:
    """Detectors of 1 to 4 amplifiers, 5 to 12 data pixels a side each, raw data flipped at will.

    Every amplifier has its own side for prescan, serial overscan (columns) and parallel overscan (rows);
    a serial overscan may reach beside the parallel one. ``has_overscan`` True asks for serial and parallel
    overscan, False for none, None for either; ``is_even`` for amplifiers of one shape. Gains 0.5 to 4
    electron/adu, read noise 0 to 10 electron, saturation (adu) from 40000 or NaN, the suspect level below it
    or NaN. Pixels of 0.01 mm, within 0.1 mm of the axis of the focal plane, turned by right angles.
    """
    rows, columns = draw(st.sampled_from(_GRIDS))
    even = draw(st.booleans()) if is_even is None else is_even
    heights, widths = (draw(_sides(count, even)) for count in (rows, columns))
    margins = _Margins(draw(st.integers(0, 3)), *draw(_overscan_sizes(has_overscan)))
    amplifiers = []
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        box = Box.from_corner(sum(widths[:column]), sum(heights[:row]), widths[column], heights[row])
        corner = (
            box.x0 + column * (margins.prescan + margins.serial),
            box.y0 + row * margins.parallel,
        )
        amplifiers.append(draw(_amplifiers("ABCD"[place], box, corner, margins)))
    shape = sum(heights), sum(widths)
    raw_shape = shape[0] + rows * margins.parallel, shape[1] + columns * (margins.prescan + margins.serial)
    return Detector(name, id, shape, raw_shape, tuple(amplifiers), **draw(_places()))


@st.composite
def _places(draw: st.DrawFn) -> dict[str, Any]:
    """A detector's place in the focal plane."""
    near = st.floats(-0.1, 0.1)
    yaw = draw(st.sampled_from([0.0, 90.0, 180.0, 270.0]))
    return {"offset_mm": (draw(near), draw(near)), "yaw_deg": yaw, "pixel_size_mm": 0.01}


def _sides(count: int, is_even: bool) -> st.SearchStrategy[list[int]]:
    """Data pixels along a side of several amplifiers."""
    side = st.integers(5, 12)
    return side.map(lambda n: [n] * count) if is_even else st.lists(side, min_size=count, max_size=count)


def _overscan_sizes(has_overscan: bool | None) -> st.SearchStrategy[tuple[int, int]]:
    """Width of the serial and height of the parallel overscan."""
    some, none = st.tuples(st.integers(4, 8), st.integers(4, 6)), st.just((0, 0))
    if has_overscan is None:
        return some | none | st.tuples(st.integers(4, 8), st.just(0))
    return some if has_overscan else none


@st.composite
def _amplifiers(
    draw: st.DrawFn, name: str, box: Box, corner: tuple[int, int], margins: _Margins
) -> Amplifier:
    """An amplifier whose part of the raw frame starts at ``corner`` (x, y)."""
    width, height = box.width + margins.prescan + margins.serial, box.height + margins.parallel
    raw = Box.from_corner(*corner, width, height)
    # Laid out with overscan on the right and on top, then turned.
    x = corner[0] + margins.prescan
    data = Box.from_corner(x, corner[1], *reversed(box.shape))
    tall = draw(st.booleans())
    serial = attrs.evolve(data, x0=data.x1, x1=raw.x1, y1=raw.y1 if tall else data.y1)
    parts = {
        "raw_data_box": data,
        "serial_overscan_box": serial,
        "parallel_overscan_box": attrs.evolve(data, y0=data.y1, y1=raw.y1),
        "prescan_box": attrs.evolve(data, x0=raw.x0, x1=data.x0),
    }
    mirrored = draw(st.booleans()), draw(st.booleans())
    values: dict[str, Any] = {key: _turned(part, raw, *mirrored) for key, part in parts.items()}
    values |= {"flip_y": draw(st.booleans()), "flip_x": draw(st.booleans()), **draw(_levels())}
    return Amplifier(name, box, raw, **values)


def _turned(part: Box, raw: Box, flip_y: bool, flip_x: bool) -> Box:
    """A part of the raw box after its layout is mirrored."""
    if not part.area:
        return EMPTY
    return part.relative_to(raw).flip(raw.shape, flip_y, flip_x).shift(raw.y0, raw.x0)


@st.composite
def _levels(draw: st.DrawFn) -> dict[str, Any]:
    """Gain, read noise, levels and corner of an amplifier."""
    saturation = draw(st.just(math.nan) | st.integers(40000, 65000).map(float))
    return {
        "gain": draw(st.floats(0.5, 4.0, width=32)),
        "read_noise": draw(st.floats(0.0, 10.0, width=32)),
        "saturation": saturation,
        "suspect_level": draw(st.just(math.nan) | st.integers(30000, 39999).map(float)),
        "readout_corner": draw(st.sampled_from(READOUT_CORNERS)),
    }


@st.composite
def cameras(draw: st.DrawFn, name: str = "anycam") -> Camera:
    """Cameras of 1 to 3 detectors."""
    count = draw(st.integers(1, 3))
    made = tuple(draw(detectors(name=f"ccd{id}", id=id)) for id in range(count))
    return Camera(name, made)


def visits() -> st.SearchStrategy[VisitInfo]:
    """Visits of known exposure and dark time, both positive, in s, in one of a few filters or none."""
    times = st.floats(0.5, 2000.0, width=32)
    return st.builds(
        lambda exposure, extra, name: VisitInfo(1, exposure, exposure + extra, filter=name),
        times,
        times,
        st.sampled_from(FILTERS),
    )


@st.composite
def raw_exposures(draw: st.DrawFn, detector: Detector, *, ceiling: int = 65535) -> Exposure:
    """Raw uint16 frames (raw geometry, adu): pedestal and noise everywhere, light on the data pixels.

    Every amplifier has its own pedestal (200 to 2000 adu). Some data pixels are bright, up to ``ceiling``;
    an overscan pixel may be far off, but most of every overscan is good.
    """
    rng = draw(generators())
    light = draw(st.sampled_from([0, 50, 5000, 30000]))
    image = np.zeros(detector.raw_shape)
    for amp in detector.amplifiers:
        part = image[amp.raw_box.slices]
        part += rng.integers(200, 2000) + rng.normal(0, 5, part.shape)
        data = image[amp.raw_data_box.slices]
        data += rng.poisson(min(light, ceiling // 2), data.shape)
        data[rng.random(data.shape) < 0.05] += rng.integers(0, 65535)
        _hit(image, amp.serial_overscan_box, rng)
    raw = np.clip(np.rint(image), 0, ceiling).astype(np.uint16)
    header = Header([("DEVICE", "jumping")])
    return Exposure(MaskedImage.from_raw(raw), detector, visit=draw(visits()), header=header)


def _hit(image: npt.NDArray[Any], overscan: Box, rng: np.random.Generator) -> None:
    """Let a cosmic ray fall on one overscan pixel, now and then."""
    if overscan.area and rng.random() < 0.3:
        y, x = rng.integers(overscan.y0, overscan.y1), rng.integers(overscan.x0, overscan.x1)
        image[y, x] += rng.integers(20, 60000)


@st.composite
def exposures(draw: st.DrawFn, detector: Detector) -> Exposure:
    """Assembled exposures (trimmed geometry, float32, adu) with flags and positive variances."""
    image = draw(planes_of(detector.shape, 500.0, 300.0))
    variance = np.abs(draw(planes_of(detector.shape, 200.0, 50.0))) + np.float32(0.1)
    pixels = MaskedImage(image, draw(masks(detector.shape)), variance)
    facts = frozenset({"converted", "levels-known", "assembled"})
    return Exposure(pixels, detector, visit=draw(visits()), facts=facts)


@st.composite
def frames(draw: st.DrawFn, detector: Detector, kind: str) -> Exposure:
    """Calibration frames (trimmed geometry, float32) with variance, flags and dark time in s.

    ``kind`` is one of `FRAME_KINDS`; what others are divided by has no unit and lies between 0.3 and 1.7.
    Their mask has one plane of its own, "RARE", so bits must be moved by name.
    """
    centre, spread, unit = _FRAMES[kind]
    image = draw(planes_of(detector.shape, centre, spread))
    if not unit:
        image = np.clip(image, np.float32(0.3), np.float32(1.7))
    noise = np.abs(draw(planes_of(detector.shape, 0.0, spread * 0.1))) ** 2
    planes = MaskPlanes().with_planes({"RARE"})
    mask = draw(masks(detector.shape, planes, density=0.02))
    pixels = MaskedImage(image, mask, noise, planes)
    facts = frozenset({"assembled"})
    return Exposure(pixels, detector, visit=draw(visits()), unit=unit, facts=facts, source=f"a {kind}")


@st.composite
def calibrations_for(draw: st.DrawFn, detector: Detector) -> dict[str, Any]:
    """Inputs of a run by kind: a frame of every kind in `FRAME_KINDS`, a few defects, and tables."""
    made: dict[str, Any] = {kind: draw(frames(detector, kind)) for kind in FRAME_KINDS}
    return made | {kind: draw(strategy(detector)) for kind, strategy in TABLES.items()}


def _defects(detector: Detector) -> st.SearchStrategy[Defects]:
    """A few small defects, some of which stick out of the detector."""
    small = boxes((3, 3)).flatmap(lambda box: _shifts(detector.shape).map(lambda by: box.shift(*by)))
    return st.lists(small.filter(lambda box: box.area > 0), max_size=3).map(Defects)


#: What makes calibrations that are no single frames, by kind.
TABLES: Mapping[str, Callable[[Detector], st.SearchStrategy[Any]]] = {
    "crosstalk": crosstalks,
    "defects": _defects,
    **{f"{part}Transmission": lambda detector: transmission_curves() for part in PARTS},
    "bfGains": brighter_fatter.gains,
    "bfKernel": brighter_fatter.kernels,
    "fringes": fringe_frames,
    "linearizer": linearizers,
    "deferredCharge": deferred_charges,
}


def _shifts(shape: tuple[int, int]) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(-1, shape[0] - 2), st.integers(-1, shape[1] - 2))


@st.composite
def planes_of(draw: st.DrawFn, shape: tuple[int, int], centre: float, spread: float) -> Float32:
    """Float32 planes of normal deviates."""
    rng = draw(generators())
    return (centre + spread * rng.standard_normal(shape, np.float32)).astype(np.float32)


@st.composite
def masks(
    draw: st.DrawFn, shape: tuple[int, int], planes: MaskPlanes | None = None, density: float = 0.05
) -> Mask:
    """Int32 masks in which every plane is set on a fraction ``density`` of the pixels."""
    rng = draw(generators())
    mask = np.zeros(shape, np.int32)
    for name in planes or MaskPlanes():
        mask[rng.random(shape) < density] |= np.int32((planes or MaskPlanes()).value(name))
    return mask


@st.composite
def masked_images(draw: st.DrawFn, shape: tuple[int, int], spoiled: bool = True) -> MaskedImage:
    """Float masked images; with ``spoiled`` some pixels and variances are NaN, infinite, zero or negative."""
    image, variance = draw(planes_of(shape, 100.0, 80.0)), np.abs(draw(planes_of(shape, 10.0, 10.0)))
    rng = draw(generators())
    for plane in (image, variance):
        for value in (math.nan, math.inf, -math.inf, 0.0, -5.0) if spoiled else ():
            plane[rng.random(shape) < 0.02] = value
    return MaskedImage(image, draw(masks(shape)), variance)


def operands(shape: tuple[int, int], centre: float, spread: float) -> st.SearchStrategy[Any]:
    """Numbers, columns (ny, 1), rows (1, nx) and planes (ny, nx), ``spread`` around ``centre``."""
    ny, nx = shape
    arrays = [planes_of(part, centre, spread) for part in ((ny, 1), (1, nx), (ny, nx))]
    return st.one_of(
        st.just(0.0 if centre == 0 else centre), st.floats(0.5, 2.0).map(lambda f: f * centre), *arrays
    )


def invertible_ops(shape: tuple[int, int]) -> st.SearchStrategy[Arithmetic]:
    """`Affine`, `Subtract`, `Divide` and `Polynomial` on a rectangle of ``shape``, forwards.

    Operands are finite.
    """
    frame, scale = masked_images(shape, spoiled=False), st.just(1.0) | st.floats(0.1, 10.0)
    flat = st.builds(_as_flat, masked_images(shape, spoiled=False))
    return st.one_of(
        st.builds(Affine, operands(shape, 1.5, 0.1), operands(shape, 0.0, 50.0)),
        st.builds(Subtract, frame, scale),
        st.builds(Divide, flat, scale),
        polynomials(shape),
    )


def _as_flat(frame: MaskedImage) -> MaskedImage:
    """The same frame around one, with small variances."""
    image = np.exp2(frame.image / np.float32(200))
    return attrs.evolve(frame, image=image, variance=frame.variance * np.float32(1e-4))


def ops(shape: tuple[int, int]) -> st.SearchStrategy[Op]:
    """Every operation, on a rectangle of ``shape`` (ny, nx); arithmetic also backwards."""
    arithmetic = st.builds(
        lambda op, inverted, spares: attrs.evolve(op, inverted=inverted, skips_variance=spares),
        invertible_ops(shape)
        | st.builds(Subtract, masked_images(shape))
        | st.builds(Divide, masked_images(shape)),
        st.booleans(),
        st.booleans(),
    )
    planes = st.lists(operands(shape, 1.0, 0.1), max_size=2).map(tuple)
    bits = st.integers(0, 30).map(lambda bit: 1 << bit)
    flagged = st.lists(boxes(shape, 1), max_size=4).map(tuple)
    return st.one_of(
        arithmetic,
        curve_ops(shape),
        st.builds(SetVariance, operands(shape, 1.5, 0.1), operands(shape, 4.0, 0.5), planes),
        st.builds(FlagAbove, operands(shape, 100.0, 50.0), bits),
        st.builds(FlagNonFinite, bits),
        st.builds(FlagNonPositiveVariance, bits),
        boxes(shape).flatmap(lambda box: st.builds(OrMask, masks(box.shape), st.just(box))),
        st.builds(FlagBoxes.of, flagged, bits),
    )


@st.composite
def runs(draw: st.DrawFn, /, registry: Registry, **fixed: Any) -> tuple[Config, Exposure, dict[str, Any]]:
    """All that one run needs: a config (``fixed`` as for `configs`), a raw exposure, and inputs by kind."""
    detector = draw(detectors())
    config = draw(configs(registry, **fixed))
    return config, draw(raw_exposures(detector)), draw(calibrations_for(detector))


@st.composite
def plans(draw: st.DrawFn, /, registry: Registry, **fixed: Any) -> Plan:
    """Plans of runs as `runs` draws them: for a raw exposure of any detector, with every calibration."""
    config, exposure, inputs = draw(runs(registry, **fixed))
    return IsrTask(config=config, registry=registry).plan(exposure, **inputs)
