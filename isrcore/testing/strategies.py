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

try:
    from hypothesis import strategies as st
except ImportError as fault:
    raise ImportError(
        "isrcore.testing.strategies needs Hypothesis; install it with: pip install 'isrcore[test]'"
    ) from fault

from isrcore.camera import EMPTY, READOUT_CORNERS, Amplifier, Camera, Detector
from isrcore.config import Config
from isrcore.defects import Defects
from isrcore.exposure import Exposure, VisitInfo
from isrcore.geometry import Box
from isrcore.image import Float32, Mask, MaskedImage, MaskPlanes
from isrcore.isr import isr_config
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
from isrcore.registry import Registry
from isrcore.testing.fringes import fringe_frames

#: Kinds of calibration frames that `frames` makes.
FRAME_KINDS = ("bias", "dark", "flat")

#: Filters that exposures are taken through; some without.
_FILTERS = ("", "g", "r")

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
    draw: st.DrawFn, *, has_overscan: bool | None = None, name: str = "ccd0", id: int = 0
) -> Detector:
    """Detectors of 1 to 4 amplifiers, 5 to 12 data pixels a side each, raw data flipped at will.

    Every amplifier has its own side for prescan, serial overscan (columns) and parallel overscan (rows);
    a serial overscan may reach beside the parallel one. ``has_overscan`` True asks for serial and parallel
    overscan, False for none, None for either. Gains 0.5 to 4 electron/adu, read noise 0 to 10 electron,
    saturation (adu) from 40000 or NaN, the suspect level below it or NaN.
    """
    rows, columns = draw(st.sampled_from(_GRIDS))
    heights = [draw(st.integers(5, 12)) for _ in range(rows)]
    widths = [draw(st.integers(5, 12)) for _ in range(columns)]
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
    return Detector(name, id, shape, raw_shape, tuple(amplifiers))


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
        st.sampled_from(_FILTERS),
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
    return Exposure(MaskedImage.from_raw(raw), detector, visit=draw(visits()))


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

    ``kind`` is bias (some adu around zero), dark (adu, mostly positive) or flat (no unit, 0.3 to 1.7). Their
    mask has one plane of its own, "RARE", so bits must be moved by name.
    """
    centre, spread, unit = {"bias": (0.0, 3.0, "adu"), "dark": (20.0, 10.0, "adu"), "flat": (1.0, 0.1, "")}[
        kind
    ]
    image = draw(planes_of(detector.shape, centre, spread))
    if kind == "flat":
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
    small = boxes((3, 3)).flatmap(lambda box: _shifts(detector.shape).map(lambda by: box.shift(*by)))
    made |= {kind: draw(strategy(detector)) for kind, strategy in _TABLES.items()}
    made["defects"] = Defects(draw(st.lists(small.filter(lambda box: box.area > 0), max_size=3)))
    return made


#: What makes calibrations that are no single frames, by kind.
_TABLES: Mapping[str, Callable[[Detector], st.SearchStrategy[Any]]] = {"fringes": fringe_frames}


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
    """`Affine`, `Subtract` and `Divide` on a rectangle of ``shape``, forwards, on finite operands."""
    frame, scale = masked_images(shape, spoiled=False), st.just(1.0) | st.floats(0.1, 10.0)
    flat = st.builds(_as_flat, masked_images(shape, spoiled=False))
    return st.one_of(
        st.builds(Affine, operands(shape, 1.5, 0.1), operands(shape, 0.0, 50.0)),
        st.builds(Subtract, frame, scale),
        st.builds(Divide, flat, scale),
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
    planes = st.lists(planes_of(shape, 1.0, 0.1), max_size=2).map(tuple)
    bits = st.integers(0, 30).map(lambda bit: 1 << bit)
    flagged = st.lists(boxes(shape, 1), max_size=4).map(tuple)
    return st.one_of(
        arithmetic,
        st.builds(SetVariance, operands(shape, 1.5, 0.1), operands(shape, 4.0, 0.5), planes),
        st.builds(FlagAbove, operands(shape, 100.0, 50.0), bits),
        st.builds(FlagNonFinite, bits),
        st.builds(FlagNonPositiveVariance, bits),
        boxes(shape).flatmap(lambda box: st.builds(OrMask, masks(box.shape), st.just(box))),
        st.builds(FlagBoxes.of, flagged, bits),
    )


@st.composite
def configs(draw: st.DrawFn, /, registry: Registry, **fixed: Any) -> Config:
    """Configs for a raw exposure and every calibration: random switches and settings that go together.

    ``fixed`` are dotted names (dots written as double underscores) that are not drawn, for instance
    ``overscan__fitType="MEAN"``. A switch whose step would miss a fact is drawn off.
    """
    config = isr_config(registry)()
    wanted = {name.replace("__", "."): value for name, value in fixed.items()}
    for name in sorted(spec.flag for spec in registry.specs.values() if spec.flag):
        config.set(name, wanted[name] if name in wanted else name in _NEEDED or draw(st.booleans()))
    known = set(config.names())
    for name, choices in sorted(_SETTINGS.items()):
        if name in known:
            config.set(name, draw(choices))
    for name, value in wanted.items():
        config.set(name, value)
    _settle(config, registry, wanted)
    return config


@st.composite
def runs(draw: st.DrawFn, /, registry: Registry, **fixed: Any) -> tuple[Config, Exposure, dict[str, Any]]:
    """All that one run needs: a config (``fixed`` as for `configs`), a raw exposure, and inputs by kind."""
    detector = draw(detectors())
    config = draw(configs(registry, **fixed))
    return config, draw(raw_exposures(detector)), draw(calibrations_for(detector))


#: Without these nothing else can run on raw pixels.
_NEEDED = frozenset({"doConvertIntToFloat"})

_SETTINGS: Mapping[str, st.SearchStrategy[Any]] = {
    "assembly.doTrim": st.sampled_from([True, True, True, False]),
    "expectWcs": st.just(False),
    "doEmpiricalReadNoise": st.booleans(),
    "edges.numPixels": st.integers(0, 2),
    "flat.scalingType": st.sampled_from(["USER", "MEAN", "MEDIAN"]),
    "flat.userScale": st.floats(0.5, 2.0, width=32),
    "fringe.afterFlat": st.booleans(),
    "fringe.filters": st.sampled_from([["g", "r"], ["r", "g"], ["g"], []]),
    "fringe.large": st.just(2),
    "fringe.num": st.integers(1, 40),
    "fringe.pedestal": st.booleans(),
    "fringe.small": st.just(1),
    "fringe.stats.badMaskPlanes": st.lists(st.sampled_from(["BAD", "SAT"]), unique=True),
    "fringe.stats.stat": st.sampled_from(["MEDIAN", "MEDIAN", "MEAN", "MEANCLIP"]),
    "gains.normalize": st.booleans(),
    "interpolation.fallbackIncludesFlagged": st.booleans(),
    "interpolation.fwhm": st.floats(0.5, 6.0, width=32),
    "interpolation.growSaturationFootprintSize": st.integers(0, 2),
    "interpolation.nan": st.booleans(),
    "interpolation.saturation": st.booleans(),
    "overscan.fitType": st.sampled_from(["MEAN", "MEANCLIP", "MEDIAN", "MEDIAN_PER_ROW", "MEAN_PER_ROW"]),
    "overscan.isInt": st.booleans(),
    "overscan.leadingColumnsToSkip": st.integers(0, 1),
    # Two different pixels lie 1.35 of their width from their median each: fewer would leave a row none.
    "overscan.numSigmaClip": st.floats(1.5, 5.0, width=32),
    "overscan.region": st.sampled_from(["serial", "parallel"]),
    "overscan.trailingColumnsToSkip": st.integers(0, 1),
    "variance.maskNegative": st.booleans(),
}


def _settle(config: Config, registry: Registry, wanted: Mapping[str, Any]) -> None:
    """Switch off what cannot run with the other switches; ``wanted`` ones come last."""
    specs = sorted(registry.specs.values(), key=lambda spec: spec.flag in wanted)
    while True:
        on = [spec for spec in specs if spec.flag is None or config.get(spec.flag)]
        facts = {"converted"}.union(*(spec.provides for spec in on)) - _lost(config)
        missing = [spec.flag for spec in on if spec.requires - facts and spec.flag]
        conflicts = [flag for flag in ("doApplyGains", "doFlat") if list(config.problems())]
        if not missing and not conflicts:
            break
        config.set((missing or sorted(conflicts, key=lambda flag: flag in wanted))[0], False)
    if "assembled" not in facts and "edges" in registry.specs:
        config.set("edges.numPixels", 0)


def _lost(config: Config) -> set[str]:
    """Facts that settings take away from what specs provide."""
    is_trimmed = "assembly.doTrim" not in config.names() or config.get("assembly.doTrim")
    return set() if is_trimmed else {"assembled"}
