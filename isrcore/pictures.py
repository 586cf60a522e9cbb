"""Pictures of exposures: pixels averaged to the size wanted, stretched to grey, flags laid over in colour.

Brightness: the contrast follows zscale (IRAF's, from `astropy.visualization`) of the pixels shown that no
plane flags. ``linear`` ends at its upper limit; ``asinh`` and ``log`` go on to the brightest pixels, so that
faint sky and the cores of stars are both seen. Pixels that are not finite are magenta. Row 0 is the lowest.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.atomic import replacing
from isrcore.exposure import Exposure
from isrcore.image import Float32, Mask, MaskPlanes, Pixels

Rgb = npt.NDArray[np.uint8]

#: What a picture can show of an exposure.
SHOWN = ("image", "variance", "mask")
STRETCHES = ("asinh", "linear", "log")

#: Planes that say nothing is wrong with a pixel, or nothing that another plane does not say too.
_QUIET = frozenset({"INTRP", "DETECTED", "DETECTED_NEGATIVE"})

# Okabe & Ito (2008) and Tol (2021): told apart with every kind of colour vision.
COLOURS = {
    "BAD": (213, 94, 0),
    "SAT": (0, 158, 115),
    "INTRP": (204, 121, 167),
    "CR": (86, 180, 233),
    "EDGE": (0, 114, 178),
    "SUSPECT": (240, 228, 66),
    "NO_DATA": (230, 159, 0),
    "UNMASKEDNAN": (136, 34, 85),
    "CROSSTALK": (255, 170, 187),
}
_FURTHER_COLOURS = ((170, 170, 0), (238, 136, 102), (119, 170, 221), (187, 204, 51), (153, 153, 204))
NOT_FINITE = (255, 0, 255)
GAP = (30, 34, 48)

_SAMPLE = 10_000
# White at the brightest pixel, but never so far from the sky that the noise of the sky is lost.
_REACH = 30.0
# zscale's interval is this many times the brightness at which asinh turns from linear to logarithmic.
_BEND = 3.0


def _limits_problem(_style: Any, _field: Any, limits: tuple[float, float] | None) -> None:
    """Refuse limits that leave no grey between them."""
    if limits is not None and not (all(map(math.isfinite, limits)) and limits[0] < limits[1]):
        raise ValueError(f"limits {limits} are not usable: give black, then white, as in (200.0, 5000.0)")


@attrs.frozen
class PictureStyle:
    """How to draw: ``shown`` is image, variance or mask; ``size`` the longest side wanted, in pixels.

    ``planes`` are laid over the image (None: all but INTRP, DETECTED and DETECTED_NEGATIVE), ``limits``
    become black and white (None: chosen from the pixels). Raw frames are shown as read; ``is_trimmed`` shows
    them assembled, with the median of each amplifier's overscan subtracted unless ``keeps_levels``. Raises
    ValueError for values that mean nothing.
    """

    shown: str = attrs.field(default="image", validator=attrs.validators.in_(SHOWN))
    planes: tuple[str, ...] | None = None
    limits: tuple[float, float] | None = attrs.field(default=None, validator=_limits_problem)
    stretch: str = attrs.field(default="asinh", validator=attrs.validators.in_(STRETCHES))
    size: int = attrs.field(default=1200, validator=attrs.validators.ge(16))
    is_trimmed: bool = False
    keeps_levels: bool = False


@attrs.frozen(eq=False)
class Tile:
    """The pixels of one detector averaged in squares: what a picture needs, and no more.

    ``values`` is NaN where any pixel of the square is not finite, ``flags`` has the bits of all of them.
    ``counts`` tells flagged pixels by plane and ``not_finite`` those that are not, of ``total``: pixels of
    the exposure, not squares.
    """

    values: Float32
    flags: Mask
    planes: MaskPlanes
    counts: Mapping[str, int]
    not_finite: int
    total: int

    @classmethod
    def of(cls, plane: Pixels, mask: Mask, planes: MaskPlanes, factor: int) -> Tile:
        """Squares of ``factor`` x ``factor`` pixels from the first pixel on; the last ones may be smaller."""
        values = average(plane, factor)
        # Masks of raw frames are one number that takes no memory.
        plain = mask[:1, :1] if mask.strides == (0, 0) else mask
        flags = np.broadcast_to(_unite(plain, factor), values.shape)
        any_bit = int(np.bitwise_or.reduce(flags, axis=None))
        counts = {
            name: int(np.count_nonzero(mask & np.int32(planes.value(name))))
            for name in planes
            if any_bit & planes.value(name)
        }
        lost = 0 if np.isfinite(values).all() else plane.size - int(np.count_nonzero(np.isfinite(plane)))
        return cls(values, flags, planes, counts, lost, plane.size)


def average(plane: Pixels, factor: int) -> Float32:
    """Means of squares of ``factor`` x ``factor`` pixels, float32; NaN where any pixel is not finite."""
    ny, nx = plane.shape
    with np.errstate(invalid="ignore", over="ignore"):
        sums = _fold(np.add, _fold(np.add, plane, factor, np.float32).T, factor, np.float32).T
    heights, widths = _lengths(ny, factor), _lengths(nx, factor)
    sums /= heights[:, None]
    sums /= widths
    sums[~np.isfinite(sums)] = np.nan
    return np.ascontiguousarray(sums)


def _unite(mask: Mask, factor: int) -> Mask:
    """Bits set anywhere in each square."""
    rows = _fold(np.bitwise_or, mask, factor, np.int32)
    return np.ascontiguousarray(_fold(np.bitwise_or, rows.T, factor, np.int32).T)


def _fold(function: np.ufunc, plane: Pixels, factor: int, kind: Any) -> Pixels:
    """Every ``factor`` rows made one."""
    # Whole rows at a time: reduceat takes ten times as long.
    folded = np.zeros((-(-plane.shape[0] // factor), plane.shape[1]), kind)
    for first in range(min(factor, plane.shape[0])):
        part = plane[first::factor]
        function(folded[: len(part)], part, out=folded[: len(part)])
    return folded


def _lengths(length: int, factor: int) -> Float32:
    """How many pixels each square takes of a side."""
    return np.diff([*range(0, length, factor), length]).astype(np.float32)


def reduce_exposure(exposure: Exposure, style: PictureStyle, factor: int) -> Tile:
    """What a picture shows of an exposure. Raises `MaskPlaneError` for planes that it does not have."""
    exposure.planes.value(*(style.planes or ()))
    if style.is_trimmed and not exposure.is_assembled:
        image, mask = _assembled(exposure, style)
    else:
        mask = exposure.mask
        image = exposure.variance if style.shown == "variance" else exposure.image
    if style.shown == "mask":
        image = np.broadcast_to(np.float32(0), mask.shape)
    return Tile.of(image, mask, exposure.planes, factor)


def _assembled(exposure: Exposure, style: PictureStyle) -> tuple[Float32, Mask]:
    """Image (or variance) and mask of a raw frame the way they lie on the detector, for the eye only."""
    detector, is_variance = exposure.detector, style.shown == "variance"
    source = exposure.variance if is_variance else exposure.image
    image, mask = np.zeros(detector.shape, np.float32), np.zeros(detector.shape, np.int32)
    for amp in detector.amplifiers:
        gather = amp.gather()
        image[amp.box.slices] = gather.read(source)
        mask[amp.box.slices] = gather.read(exposure.mask)
        overscan = amp.serial_overscan_box if amp.serial_overscan_box.area else amp.parallel_overscan_box
        if overscan.area and not (is_variance or style.keeps_levels):
            image[amp.box.slices] -= np.float32(np.median(source[overscan.slices]))
    return image, mask


@attrs.frozen
class Scale:
    """Numbers to grey: ``low`` is black and ``high`` white; at ``bend`` asinh and log leave the line."""

    low: float
    high: float
    bend: float
    stretch: str = "asinh"

    @classmethod
    def fit(cls, values: Pixels, style: PictureStyle) -> Scale:
        """The scale for finite ``values``, or that of the style's limits."""
        if style.shown == "mask":
            return cls(0.0, 1.0, 1.0, "linear")
        if style.limits is not None:
            low, high = style.limits
            return cls(low, high, (high - low) / _REACH, style.stretch)
        low, knee = _zscale(values)
        high = knee
        if style.stretch != "linear" and values.size:
            brightest = float(np.quantile(values, 0.9995))
            high = min(max(knee, brightest), low + _REACH * (knee - low))
        return cls(low, high, (knee - low) / _BEND, style.stretch)

    def __call__(self, values: Pixels) -> npt.NDArray[np.uint8]:
        """Grey from 0 to 255; never darker for a larger number. NaN becomes 0."""
        numbers = np.nan_to_num(values.astype(np.float64), nan=self.low)
        offset = np.clip(numbers, self.low, self.high) - self.low
        if self.stretch == "linear":
            share = offset / (self.high - self.low)
        else:
            curve = np.arcsinh if self.stretch == "asinh" else np.log1p
            share = curve(offset / self.bend) / curve((self.high - self.low) / self.bend)
        grey: npt.NDArray[np.uint8] = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
        return grey


def _zscale(values: Pixels) -> tuple[float, float]:
    """The limits of zscale; one adu apart when all values are the same, 0 and 1 when there are none."""
    if not values.size:
        return 0.0, 1.0
    from astropy.visualization import ZScaleInterval

    sample = values[:: max(1, values.size // _SAMPLE)].astype(np.float64)
    low, high = map(float, ZScaleInterval(n_samples=sample.size).get_limits(sample))
    # A few steps of float32 are no contrast.
    least = 1e-6 * max(abs(low), abs(high))
    return (low, high) if high - low > least else (low - max(0.5, least), low + max(0.5, least))


def good_values(tile: Tile) -> Float32:
    """The values that no plane doubts; all finite ones when there are no others."""
    finite = np.isfinite(tile.values)
    loud = tile.planes.value(*(set(tile.planes) - _QUIET))
    good = finite & (tile.flags & np.int32(loud) == 0)
    return np.asarray(tile.values[good if good.any() else finite])


def planes_drawn(tile: Tile, style: PictureStyle) -> tuple[str, ...]:
    """The planes that get a colour, in order of their bits."""
    if style.planes is not None:
        return tuple(name for name in tile.planes if name in style.planes)
    return tuple(name for name in tile.planes if name in tile.counts and name not in _QUIET)


def colour_of(plane: str, planes: Iterable[str]) -> tuple[int, int, int]:
    """The colour of a mask plane; planes without one of their own share further ones, in order of names."""
    if plane in COLOURS:
        return COLOURS[plane]
    others = sorted(set(planes) - set(COLOURS))
    return _FURTHER_COLOURS[others.index(plane) % len(_FURTHER_COLOURS)]


def paint(tile: Tile, scale: Scale, style: PictureStyle) -> Rgb:
    """RGB pixels, uint8 (ny, nx, 3), row 0 first: grey, tinted where a plane is drawn."""
    rgb = np.repeat(scale(tile.values)[:, :, None], 3, axis=2)
    rgb[~np.isfinite(tile.values)] = NOT_FINITE
    drawn = planes_drawn(tile, style)
    where = (tile.flags & np.int32(tile.planes.value(*drawn))) != 0
    flags = tile.flags[where]
    # Pixels of several planes get the mean of their colours: no plane hides another.
    mixed, parts = np.zeros((flags.size, 3)), np.zeros((flags.size, 1))
    for name in drawn:
        is_set = ((flags >> tile.planes.bits[name]) & 1)[:, None]
        mixed += is_set * np.array(colour_of(name, tile.planes))
        parts += is_set
    if flags.size:
        rgb[where] = np.rint(_shade(rgb[where], style) * mixed / parts).astype(np.uint8)
    return rgb


def _shade(rgb: Rgb, style: PictureStyle) -> Any:
    """How bright a colour gets over what is below: from 65 % on black to all of it on white."""
    if style.shown == "mask":
        return np.float32(1)
    return np.float32(0.65) + rgb.mean(axis=1, keepdims=True, dtype=np.float32) * np.float32(0.35 / 255)


@attrs.frozen
class Name:
    """A text to write into a picture at a box of its pixels: (y0, x0), (ny, nx)."""

    text: str
    corner: tuple[int, int]
    shape: tuple[int, int]


@attrs.frozen(eq=False)
class Picture:
    """RGB pixels and what has to be said about them.

    ``pixels`` is uint8 (ny, nx, 3) with row 0 first, without any text; `to_rgb` adds title and legend and
    has the top row first, as image files do. ``low`` and ``high`` are the numbers, in ``unit``, drawn black
    and white. ``legend`` maps planes to (colour, flagged pixels), of ``total``. A notebook shows it.
    """

    pixels: Rgb
    scale: Scale
    unit: str
    title: str
    legend: Mapping[str, tuple[tuple[int, int, int], int]]
    total: int
    names: Sequence[Name] = ()
    zoom: int = 1
    shown: str = "image"

    @property
    def low(self) -> float:
        """The number that is black."""
        return self.scale.low

    @property
    def high(self) -> float:
        """The number that is white."""
        return self.scale.high

    @property
    def limits(self) -> str:
        """The scale in words."""
        if self.shown == "mask":
            return "mask planes"
        unit = self.unit and f" {self.unit}"
        return f"{self.scale.stretch} from {_number(self.low)} to {_number(self.high)}{unit}"

    def to_rgb(self) -> Rgb:
        """The labelled picture, uint8 (ny, nx, 3), top row first."""
        from isrcore.picture_labels import label_picture

        return label_picture(self)

    def write(self, path: str | Path) -> None:
        """Write a PNG file, complete or not at all, over one that is there. Raises OSError."""
        write_png(path, self.to_rgb())

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        return encode_png(self.to_rgb())


def _number(value: float) -> str:
    """A limit in four digits, large ones to the last before the point."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"


def draw_exposure(exposure: Exposure, style: PictureStyle | None = None, title: str = "") -> Picture:
    """A picture of one detector. The title says what it is when none is given.

    Raises `MaskPlaneError` for planes the exposure does not have.
    """
    style = style or PictureStyle()
    is_raw = not (style.is_trimmed or exposure.is_assembled)
    shape = exposure.shape if is_raw or exposure.is_assembled else exposure.detector.shape
    factor = -(-max(shape) // style.size)
    tile = reduce_exposure(exposure, style, factor)
    return make_picture(tile, style, exposure.unit, title or describe(exposure), factor)


def make_picture(
    tile: Tile, style: PictureStyle, unit: str, title: str, factor: int, names: Sequence[Name] = ()
) -> Picture:
    """The picture of a tile whose pixels are means of ``factor`` x ``factor``."""
    scale = Scale.fit(good_values(tile), style)
    legend = {
        name: (colour_of(name, tile.planes), tile.counts.get(name, 0)) for name in planes_drawn(tile, style)
    }
    if tile.not_finite:
        legend["not finite"] = (NOT_FINITE, tile.not_finite)
    if factor > 1:
        title += f", means of {factor} x {factor} pixels"
    zoom = max(1, style.size // max(tile.values.shape))
    unit = f"{unit}^2" if unit and style.shown == "variance" else unit
    return Picture(
        paint(tile, scale, style), scale, unit, title, legend, tile.total, names, zoom, style.shown
    )


def describe(exposure: Exposure, detectors: str = "") -> str:
    """An exposure in one line: where it comes from, of which detectors (default: its own), what was taken."""
    visit = exposure.visit
    source = Path(exposure.source).name.partition("[")[0]
    about = [visit.object_name, visit.observation_type, visit.filter]
    about += [] if math.isnan(visit.exposure_s) else [f"{visit.exposure_s:g} s"]
    owner = f"{exposure.camera} {exposure.detector.name}".strip()
    if detectors:
        source = source.replace(f"_{exposure.detector.name}.", ".")
        owner = f"{detectors} of {exposure.camera}" if exposure.camera else detectors
    return ", ".join(filter(None, [source, owner, " ".join(filter(None, about))]))


def encode_png(rgb: Rgb) -> bytes:
    """A PNG file in memory from RGB pixels, uint8 (ny, nx, 3), top row first."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb, dtype=np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def to_data_uri(rgb: Rgb) -> str:
    """RGB pixels as the address of an image inside a page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(rgb)).decode("ascii")


def write_png(path: str | Path, rgb: Rgb) -> None:
    """Write RGB pixels, uint8 (ny, nx, 3), top row first, as a PNG file that is complete or not there.

    Replaces a file that is there. Raises OSError.
    """
    content = encode_png(rgb)
    with replacing(Path(path)) as stream:
        stream.write(content)


def read_png(path: str | Path) -> Rgb:
    """The RGB pixels of a PNG file, uint8 (ny, nx, 3), top row first. Raises OSError."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
