"""Crosstalk on bands of rows that stay in cache, from uncorrected pixels in one pass (behaviour §2.12).

Amplifiers are read out at the same time, so a pixel gets crosstalk from those as far from their readout
corners as itself. Views of amplifiers are turned so that the row that was read out first comes first; rows of
equal number belong together, and a band of them holds all its sources. Columns stay as they are, as going
through memory backwards is slow; of amplifiers that are read out from the other side there are turned copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Amplifier, Box, MaskedImage, map_bands, row_bands

Float32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

_NOWHERE: Places = np.empty(0, np.intp)

# Pixels of all sources of a band, which stay in a cache of 1 MB with what is computed of them; but so many of
# each amplifier that numpy's calls take no more time than the pixels.
_BAND, _LEAST = 3 << 15, 1 << 14


def data_box(amp: Amplifier, is_assembled: bool) -> Box:
    """Where the amplifier's data are in the geometry of the moment."""
    return amp.box if is_assembled else amp.raw_data_box


@attrs.frozen(eq=False)
class Reading:
    """A view of an amplifier's data, first read row first; if mirrored, the last column was read first."""

    pixels: MaskedImage
    is_mirrored: bool

    @classmethod
    def of(cls, pixels: MaskedImage, amp: Amplifier, is_assembled: bool) -> Reading:
        """The view, of an assembled image or of a raw frame."""
        is_upper, is_right = amp.readout_corner[0] == "U", amp.readout_corner[1] == "R"
        if not is_assembled:
            # The corner is that of the assembled detector; raw data may lie the other way round.
            is_upper, is_right = is_upper != amp.flip_y, is_right != amp.flip_x
        return cls(pixels.window(data_box(amp, is_assembled)).flip(is_upper, False), is_right)


@attrs.frozen(eq=False)
class Source:
    """An amplifier that disturbs others, and the level to be taken from its pixels first (adu).

    What pixels at the places ``bright``, in the reading's reading order, disturb is flagged.
    """

    reading: Reading
    level: float
    bright: Places


@attrs.frozen(eq=False)
class Group:
    """Amplifiers of one shape and what disturbs them; coefficients are (targets, sources), in float64."""

    targets: tuple[Reading, ...]
    sources: tuple[Source, ...]
    linear: npt.NDArray[np.float64]
    quadratic: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        targets: Sequence[Reading],
        sources: Sequence[Source],
        linear: npt.NDArray[np.float64],
        quadratic: npt.NDArray[np.float64],
    ) -> list[Group]:
        """Groups of amplifiers that exchange signal; those that neither get nor give any are in none."""
        coupled, groups = (linear != 0) | (quadratic != 0), []
        for shape in sorted({target.pixels.shape for target in targets}):
            rows = [i for i, t in enumerate(targets) if t.pixels.shape == shape and coupled[i].any()]
            columns = [j for j in range(len(sources)) if coupled[rows, j].any()]
            if rows and columns:
                place = np.ix_(rows, columns)
                chosen = tuple(targets[i] for i in rows), tuple(sources[j] for j in columns)
                groups.append(cls(*chosen, linear[place], quadratic[place]))
        return groups

    @property
    def shape(self) -> tuple[int, int]:
        """That of every amplifier."""
        return self.targets[0].pixels.shape

    def terms(self, i: int) -> list[_Term]:
        """What a target gets, source by source; nothing of zero coefficients."""
        side = self.targets[i].is_mirrored
        return [
            _Term.of(j, source.reading.is_mirrored != side, self.linear[i, j], self.quadratic[i, j])
            for j, source in enumerate(self.sources)
            if self.linear[i, j] != 0 or self.quadratic[i, j] != 0
        ]

    def rows(self) -> int:
        """Rows of a band."""
        return max(max(_BAND // len(self.sources), _LEAST) // self.shape[1], 1)


@attrs.frozen
class _Term:
    """What one source adds to a target: coefficients, and those of the variance, as float32.

    ``is_turned`` says that it is read out from the other side.
    """

    source: int
    is_turned: bool
    linear: np.float32
    quadratic: np.float32
    square: np.float32
    slope: np.float32

    @classmethod
    def of(cls, source: int, is_turned: bool, linear: float, quadratic: float) -> _Term:
        """A term from its coefficients; the slope is that of the derivative."""
        return cls(source, is_turned, *map(np.float32, (linear, quadratic, linear**2, 2 * quadratic)))

    @property
    def place(self) -> tuple[int, int]:
        """Where its pixels are among those of all sources, turned or not."""
        return int(self.is_turned), self.source

    def put_signal(self, signal: Float32, out: Float32) -> None:
        """C S + Q S²."""
        if self.quadratic:
            np.multiply(signal, self.quadratic, out=out)
            np.add(out, self.linear, out=out)
            np.multiply(out, signal, out=out)
        else:
            np.multiply(signal, self.linear, out=out)

    def put_variance(self, signal: Float32, noise: Float32, out: Float32) -> None:
        """(C + 2 Q S)² V: the squared derivative times the source's variance."""
        if self.quadratic:
            np.multiply(signal, self.slope, out=out)
            np.add(out, self.linear, out=out)
            np.multiply(out, out, out=out)
            np.multiply(out, noise, out=out)
        else:
            np.multiply(noise, self.square, out=out)


def places_above(reading: Reading, least: np.float32, threads: int) -> Places:
    """Where pixels are finite and at least as bright, in the reading's reading order."""
    image = reading.pixels.image
    height, width = image.shape
    rows = max(_BAND // width, 1)

    def make_look() -> Callable[[slice], Places]:
        flags = np.empty((rows, width), np.bool_)

        def look(band: slice) -> Places:
            is_above = np.greater_equal(image[band], least, out=flags[: band.stop - band.start])
            places: Places = np.flatnonzero(is_above) + band.start * width
            return places

        return look

    places = np.concatenate(map_bands(row_bands(height, rows), make_look, threads))
    finite: Places = places[np.isfinite(image[np.divmod(places, width)])]
    return finite


def correct(group: Group, bits: int, smallest: float, threads: int) -> int:
    """Subtract crosstalk in place, add its variance, set ``bits``; returns how many pixels were flagged.

    Flagged is what bright source pixels disturb, and where the correction has at least ``smallest`` adu.
    """

    def make_look() -> Callable[[slice], list[Places]]:
        scratch = _Scratch(group)
        return lambda band: scratch.correct(band, smallest)

    found = map_bands(row_bands(group.shape[0], group.rows()), make_look, threads)
    large = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    return sum(_flag(group, i, places, bits) for i, places in enumerate(large))


def _flag(group: Group, i: int, large: Places, bits: int) -> int:
    """Set ``bits`` in a target where bright pixels disturb it and where ``large`` says; returns how many."""
    mask, width = group.targets[i].pixels.mask, group.shape[1]
    places = [large]
    for term in group.terms(i):
        found = group.sources[term.source].bright
        places.append(found - 2 * (found % width) + (width - 1) if term.is_turned else found)
    different = np.unique(np.concatenate(places))
    mask[np.divmod(different, width)] |= np.int32(bits)
    return different.size


def put_in(group: Group) -> bool:
    """Add crosstalk to the images of the targets, in place; whether that came to rest.

    They get the numbers that `correct` makes their present ones of: found again and again from the last ones
    until they do not change.
    """
    scratch = _Scratch(group)
    return all(scratch.put_in(band) for band in row_bands(group.shape[0], group.rows()))


# Each time the error shrinks by the sum of the coefficients of an amplifier: 8 digits take 4 at a hundredth.
_MOST_ITERATIONS = 50


class _Scratch:
    """Memory for one band after the other."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._terms = [group.terms(i) for i in range(len(group.targets))]
        self._turned = {term.source for terms in self._terms for term in terms if term.is_turned}
        rows, width = group.rows(), group.shape[1]
        # Of every source as it is, and turned.
        self._signal = np.empty((2, len(group.sources), rows, width), np.float32)
        # Without squares the variance asks for no signal, and takes its place.
        self._noise = np.empty_like(self._signal) if group.quadratic.any() else self._signal
        self._sum, self._term = np.empty((2, rows, width), np.float32)

    def correct(self, band: slice, smallest: float) -> list[Places]:
        """Correct a band; returns where the corrections of each target are large, in its reading order."""
        self._load_signal(band)
        first, large = band.start * self._group.shape[1], []
        for i, target in enumerate(self._group.targets):
            image, subtrahend = target.pixels.image[band], self._subtrahend(i, band)
            if smallest < np.inf:
                large.append(np.flatnonzero(np.abs(subtrahend) >= smallest) + first)
            np.subtract(image, subtrahend, out=image)
        self._load_noise(band)
        for i, target in enumerate(self._group.targets):
            variance = target.pixels.variance[band]
            np.add(variance, self._added_variance(i, band), out=variance)
        return large or [_NOWHERE for _ in self._group.targets]

    def put_in(self, band: slice) -> bool:
        """Find the numbers that `correct` makes the present ones of."""
        images, last = [target.pixels.image[band] for target in self._group.targets], np.inf
        truth = [image.copy() for image in images]
        for _ in range(_MOST_ITERATIONS):
            self._load_signal(band)
            change = largest = 0.0
            for i, (image, true) in enumerate(zip(images, truth, strict=True)):
                new = true + self._subtrahend(i, band)
                change = max(change, float(np.abs(new - image).max()))
                largest = max(largest, float(np.abs(new).max()))
                image[...] = new
            if change == 0 or change >= last:
                # Rounding may go round in circles.
                return change <= float(np.spacing(np.float32(largest)))
            last = change
        return False

    def _load_signal(self, band: slice) -> None:
        """Copy the sources' pixels without their levels."""
        for j, source in enumerate(self._group.sources):
            signal = self._signal[0, j, : band.stop - band.start]
            np.copyto(signal, source.reading.pixels.image[band])
            others = _not_finite(signal)
            if source.level:
                signal -= np.float32(source.level)
            # Nobody knows what it was that disturbed others.
            signal.reshape(-1)[others] = 0.0
        self._turn(self._signal)

    def _load_noise(self, band: slice) -> None:
        """Copy the sources' variances."""
        for j, source in enumerate(self._group.sources):
            noise = self._noise[0, j, : band.stop - band.start]
            np.copyto(noise, source.reading.pixels.variance[band])
            noise.reshape(-1)[_not_finite(noise)] = 0.0
        self._turn(self._noise)

    def _turn(self, pixels: Float32) -> None:
        """Make the turned copies that are needed."""
        for j in self._turned:
            np.copyto(pixels[1, j], pixels[0, j, :, ::-1])

    def _subtrahend(self, i: int, band: slice) -> Float32:
        """What all sources add to a target."""
        rows = slice(band.stop - band.start)
        return self._total(i, rows, lambda term, out: term.put_signal(self._signal[term.place][rows], out))

    def _added_variance(self, i: int, band: slice) -> Float32:
        """The variance of what all sources add to a target."""
        rows = slice(band.stop - band.start)

        def put(term: _Term, out: Float32) -> None:
            term.put_variance(self._signal[term.place][rows], self._noise[term.place][rows], out)

        return self._total(i, rows, put)

    def _total(self, i: int, rows: slice, put: Callable[[_Term, Float32], None]) -> Float32:
        """The sum of a target's terms, each of which ``put`` computes."""
        total, out = self._sum[rows], self._term[rows]
        first, *others = self._terms[i]
        put(first, total)
        for term in others:
            put(term, out)
            np.add(total, out, out=total)
        return total


def _not_finite(values: Float32) -> Places:
    """The places of values that are no finite numbers."""
    with np.errstate(over="ignore", invalid="ignore"):
        # Values near the largest float add up to infinity too; the exact test follows.
        if np.isfinite(values.sum()):
            return _NOWHERE
    return np.flatnonzero(~np.isfinite(values))
