"""Interpolate over bad pixels along their rows (behaviour §2.27, §2.28; §9 faults 2, 7 to 11, 41)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    Calibrations,
    Config,
    Exposure,
    MaskedImage,
    Runs,
    Step,
    StepSpec,
    field,
    reading_order,
    stepspecs,
)
from isrcore_standard.kriging import SIDE, WeightTable, weight_table

#: Full width at half maximum of a Gaussian, in sigma, as the original rounds it.
FWHM_PER_SIGMA = 2.3548

#: Bad pixels next to the data that a run without neighbours on one side blends into the level of the frame.
_BLEND = 6

_NO_NUMBER = "UNMASKEDNAN"
_Numbers = npt.NDArray[Any]


class InterpolationConfig(Config):
    """Which pixels are replaced, and how."""

    planes: list[str] = field(
        ["SAT", "BAD", "UNMASKEDNAN"], "Mask planes whose pixels are replaced; see saturation and nan."
    )
    fwhm: float = field(
        FWHM_PER_SIGMA,
        "Full width at half maximum of the point spread function in pixels; the default, sigma = 1 pixel, "
        "gives the weights of the original.",
        minimum=0.1,
        maximum=30.0,
    )
    growSaturationFootprintSize: int = field(
        1, "Saturated pixels grow by this Manhattan distance first: charge spills over.", minimum=0
    )
    saturation: bool = field(True, "Replace saturated pixels, whether planes lists theirs or not.")
    nan: bool = field(True, "Replace pixels that are no number, whether planes lists theirs or not.")
    fallbackIncludesFlagged: bool = field(
        False,
        "Let flagged pixels count in the level that fills wide runs at borders, as the original does.",
    )


class Interpolation(Step):
    """Replace flagged pixels by kriging from up to two good pixels on both sides in their row.

    Only pixels without any of the planes count as good, and only if image and variance are finite. A run of
    more than six without a good pixel on one side takes the clipped mean of the frame, but for the six
    pixels next to the data, which blend into it; a row without a good pixel takes it throughout.
    """

    spec = stepspecs.INTERPOLATION
    ConfigClass = InterpolationConfig

    def contract(self, exposure: Exposure) -> StepSpec:
        """Set the plane of saturated pixels too, when they grow."""
        return attrs.evolve(self.spec, planes={"INTRP"} | ({self._saturated()} if self._grows() else set()))

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Planes that do not exist flag nothing: a mistake in writing."""
        known = sorted({*exposure.planes, self._saturated(), _NO_NUMBER})
        for name in sorted({*self.config.planes} - {*known}):
            yield f"interpolation.planes names {name!r}, which is none of {', '.join(known)}"

    def _saturated(self) -> str:
        return str(getattr(self.top_config(), "saturatedMaskName", "SAT"))

    def _grows(self) -> bool:
        return bool(self.config.saturation and self.config.growSaturationFootprintSize)

    def _planes(self, exposure: Exposure) -> list[str]:
        """The planes to replace, as far as anybody has added them."""
        switched = {self._saturated(): self.config.saturation, _NO_NUMBER: self.config.nan}
        listed = {name for name in self.config.planes if switched.get(name, True)}
        wanted = listed | {name for name, is_on in switched.items() if is_on}
        return sorted(wanted.intersection(exposure.planes))

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Look through the mask; everything else touches flagged pixels and their neighbours only."""
        planes = self._planes(exposure)
        runs, level = self._find(exposure, planes)
        if self.config.fallbackIncludesFlagged:
            level.found()
        patch = _Patch(exposure.pixels, level, weight_table(self.config.fwhm / FWHM_PER_SIGMA))
        left, right = runs.room()
        done = sum(patch.apply(runs[part], left[part], right[part]) for part in runs.portions())
        exposure.forget_statistics(*planes)
        self.metadata.set("interpolated", done)
        if done < runs.pixel_count:
            self.log.warning("%s has no good pixel to interpolate from", exposure.label)

    def _find(self, exposure: Exposure, planes: list[str]) -> tuple[Runs, _Level]:
        """The runs to replace, once saturated ones have grown, and the level of the frame."""
        # Detected stars do not show the level; steps that measure the sky ask for the same and share it.
        ignored = {*planes, "DETECTED"} & {*exposure.planes}
        growing = [self._saturated()] if self._grows() else []
        bits = [exposure.planes.value(*names) for names in (planes, ignored, growing)]
        runs, flagged, saturated = Runs.of_each(exposure.mask, bits, self.threads)
        is_same = runs.pixel_count == flagged.pixel_count
        if len(saturated):
            grown = saturated.near(self.config.growSaturationFootprintSize)
            grown.flag(exposure.mask, bits[2])
            exposure.forget_statistics()
            runs = runs.union(grown)
        if self.config.fallbackIncludesFlagged:
            return runs, _Level(exposure, frozenset(), None, self.threads)
        # Detected stars are looked for in the mask, if there are any.
        return runs, _Level(exposure, frozenset(ignored), runs if is_same else None, self.threads)


@attrs.frozen(slots=False, eq=False)
class _Level:
    """Level and variance of the frame without the planes, found only when a run needs them.

    ``flagged`` are the runs of their pixels, None when they are not known.
    """

    exposure: Exposure
    planes: frozenset[str]
    flagged: Runs | None
    threads: int

    def found(self) -> tuple[float, float] | None:
        """Clipped mean, and square of the clipped sigma; None without at least two good pixels.

        A pixel filled with the level is wrong by what pixels of the frame scatter about it.
        """
        return self._found

    @cached_property
    def _found(self) -> tuple[float, float] | None:
        statistics = self.exposure.statistics(*self.planes, threads=self.threads, flagged=self.flagged)
        clipped = statistics.clipped
        found = clipped.mean, clipped.sigma**2
        return found if all(map(math.isfinite, found)) else None


@attrs.frozen(eq=False)
class _Beside:
    """What stands beside runs: second and first good pixel to the left, first and second to the right.

    ``image`` and ``variance`` have shape (4, runs) and are zero where there is none; ``left`` and ``right``
    say how many there are.
    """

    image: _Numbers
    variance: _Numbers
    left: _Numbers
    right: _Numbers

    @classmethod
    def of(cls, pixels: MaskedImage, runs: Runs, room: tuple[_Numbers, _Numbers]) -> _Beside:
        """Read them. Pixels that are no number do not count, nor does what lies behind them."""
        exists = np.stack([room[0] > 1, room[0] > 0, room[1] > 0, room[1] > 1])
        places = np.stack([runs.start - 2, runs.start - 1, runs.stop, runs.stop + 1])
        # Few and far between: places are quicker than flags, here and below.
        places.reshape(-1)[np.flatnonzero(~exists)] = 0
        image, variance = _pixels(pixels.image, places), _pixels(pixels.variance, places)
        exists &= np.isfinite(image)
        exists &= np.isfinite(variance)
        exists[0] &= exists[1]
        exists[3] &= exists[2]
        absent = np.flatnonzero(~exists)
        image.reshape(-1)[absent] = variance.reshape(-1)[absent] = 0.0
        counts = exists.view(np.int8)
        left, right = counts[0] + counts[1], counts[2] + counts[3]
        return cls(image.astype(np.float64), variance.astype(np.float64), left, right)

    def __getitem__(self, chosen: Any) -> _Beside:
        """Some of them."""
        return _Beside(self.image[:, chosen], self.variance[:, chosen], self.left[chosen], self.right[chosen])

    def standing_in(self, level: tuple[float, float], needy: _Numbers) -> _Beside:
        """The same, with two pixels of the frame's level on the empty side of the needy ones."""
        image, variance = self.image.copy(), self.variance.copy()
        left, right = self.left.copy(), self.right.copy()
        for count, columns in ((left, slice(0, SIDE)), (right, slice(SIDE, None))):
            empty = needy & (count == 0)
            image[columns, empty], variance[columns, empty] = level
            count[empty] = SIDE
        return _Beside(image, variance, left, right)


@attrs.frozen(eq=False)
class _Patch:
    """Writes interpolated pixels into an image."""

    pixels: MaskedImage
    level: _Level
    table: WeightTable

    def apply(self, runs: Runs, *room: _Numbers) -> int:
        """Replace the pixels of the runs and flag them INTRP; returns how many.

        Rows without a good pixel stay as they are when the frame has no level.
        """
        beside = _Beside.of(self.pixels, runs, (room[0], room[1]))
        is_lone = (beside.left == 0) | (beside.right == 0)
        needy = is_lone & (runs.width > _BLEND) | (beside.left + beside.right == 0)
        if needy.any():
            level = self.level.found()
            if level is None:
                return self.apply(runs[~needy], room[0][~needy], room[1][~needy])
            filled, patched = _split(runs, beside, needy)
            filled.fill(self.pixels.image, level[0])
            filled.fill(self.pixels.variance, level[1])
            filled.flag(self.pixels.mask, self._bits())
            beside = beside.standing_in(level, needy)[patched.width > 0]
            self._krige(patched[patched.width > 0], beside)
        else:
            self._krige(runs, beside)
        return runs.pixel_count

    def _bits(self) -> int:
        return self.pixels.planes.value("INTRP")

    def _krige(self, runs: Runs, beside: _Beside) -> None:
        """Flag the pixels of every run INTRP, and weigh those beside it, all runs of a kind at once."""
        kinds = self.table.kinds(beside.left, beside.right, runs.width)
        order = np.argsort(kinds, kind="stable")
        kinds, start, stop = kinds[order], runs.start[order], runs.stop[order]
        image, variance = _columns(beside.image, order), _columns(beside.variance, order)
        first = np.flatnonzero(np.append(True, kinds[1:] != kinds[:-1])[: kinds.size])
        for part in map(slice, first, [*first[1:], kinds.size]):
            weights = self.table.of_kind(kinds[part][0])[:, :, None]
            values = _dot(weights, image[:, None, part])
            # Their noise is independent.
            variances = _dot(np.square(weights), variance[:, None, part])
            self._write(start[part], stop[part], values, variances)

    def _write(self, start: _Numbers, stop: _Numbers, values: _Numbers, variances: _Numbers) -> None:
        """Give runs of a kind their pixels, shape (width, runs); wider ones the middle one repeatedly."""
        width = len(values)
        middle, columns = width // 2, np.arange(width)[:, None]
        self._put(np.where(columns < middle, start, stop - width) + columns, values, variances)
        more = stop - start - width
        if more.any():
            inside = Runs(start + middle, start + middle + more, (1, 1)).indices()
            self._put(inside, np.repeat(values[middle], more), np.repeat(variances[middle], more))

    def _put(self, places: _Numbers, values: _Numbers, variances: _Numbers) -> None:
        """Give pixels values and variances, and flag them."""
        reading_order(self.pixels.image)[places] = values.astype(np.float32)
        reading_order(self.pixels.variance)[places] = variances.astype(np.float32)
        flags = reading_order(self.pixels.mask)
        flags[places] = flags[places] | np.int32(self._bits())


def _split(runs: Runs, beside: _Beside, needy: _Numbers) -> tuple[Runs, Runs]:
    """The parts of the needy runs that are filled, and of all runs that are interpolated (some empty)."""
    to_left, to_right = beside.left > 0, beside.right > 0
    start = np.where(needy & ~to_left, np.where(to_right, runs.stop - _BLEND, runs.stop), runs.start)
    stop = np.where(needy & ~to_right, np.where(to_left, runs.start + _BLEND, runs.stop), runs.stop)
    patched = Runs(start, stop, runs.shape)
    filled_start = np.where(to_left, stop, runs.start)[needy]
    filled_stop = np.where(to_right, start, runs.stop)[needy]
    return Runs(filled_start, filled_stop, runs.shape), patched


def _pixels(plane: _Numbers, places: _Numbers) -> _Numbers:
    """Pixels by their places in reading order, which are known to exist."""
    if plane.flags.c_contiguous:
        return plane.reshape(-1).take(places, mode="clip")
    return plane.flat[places]


def _columns(table: _Numbers, chosen: _Numbers) -> _Numbers:
    """Columns of a table by number, which are known to exist: three times as fast as plain indexing."""
    return table.take(chosen, axis=1, mode="clip")


def _dot(weights: _Numbers, values: _Numbers) -> _Numbers:
    """Sum of products over four rows, the same to the last bit when they stand in reverse order."""
    outer: _Numbers = weights[0] * values[0]
    inner = weights[1] * values[1]
    outer += weights[3] * values[3]
    inner += weights[2] * values[2]
    outer += inner
    return outer
