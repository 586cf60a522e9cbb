"""What the pixels of one HDU say: amplifiers, data, overscan; and what the header says of the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from astropy.io.fits import Header

from isrcore import Box, GeometryError, Section
from isrcore_inspect.frames import Frame
from isrcore_inspect.profiles import SIGNIFICANT, Profile, Run, measure
from isrcore_inspect.strips import Axis, analyse

DATA_CARDS = ("TRIMSEC", "DATASEC")
BIAS_CARDS = ("BIASSEC",)
AMPLIFIER_CARDS = ("NAMPS", "AMPSROW", "NUMAMP", "NOUT", "ESO DET OUTPUTS")

# Light this many times the noise above what gets none: less may be the structure of a bias.
_CONTRAST = 3.0

CERTAIN, CHECK, CONTRADICTS = "certain", "check", "header is wrong"


@attrs.frozen
class Finding:
    """One thing that was found, where, and how sure it is."""

    what: str
    found: str
    header: str
    verdict: str

    def at(self, place: str) -> Finding:
        """The finding with the place in front."""
        return attrs.evolve(self, what=f"{place}: {self.what}") if place else self


@attrs.frozen
class AmplifierFound:
    """One amplifier: places in the image, and the noise (adu) and pedestal (adu) of its overscan."""

    name: str
    data: Box
    serial: Box | None = None
    parallel: Box | None = None
    prescan: Box | None = None
    noise_adu: float = np.nan
    pedestal: float = np.nan


@attrs.frozen(eq=False)
class ImageFound:
    """The amplifiers of one HDU, and findings; ``cards`` are sections that the header has right."""

    index: int
    name: str
    shape: tuple[int, int]
    amplifiers: tuple[AmplifierFound, ...]
    findings: tuple[Finding, ...]
    headers: tuple[Header, ...]
    cards: dict[str, str]
    light: str = ""


def find_image(frames: Sequence[tuple[Frame, Any]]) -> ImageFound:
    """Amplifiers of an HDU by all frames of it, of one shape."""
    first = frames[0][0]
    dark = next((pixels for frame, pixels in frames if frame.kind == "bias"), None)
    looks = [_Look.of(frame, pixels, dark) for frame, pixels in frames if frame.kind not in ("bias", "dark")]
    looks = [look for look in looks if look.contrast > _CONTRAST]
    findings: list[Finding] = []
    if looks:
        best = max(looks, key=lambda look: look.contrast)
        columns, rows = best.columns, best.rows
        light, label = best.pixels, best.frame.label
    else:
        columns, rows = (Axis(size, ((0, size),)) for size in (first.shape[1], first.shape[0]))
        light, label = None, ""
        findings.append(Finding("light", "no file shows light beside none: give a flat", "", CHECK))
    layout = _Layout(first.header, first.shape, columns, rows, findings)
    amplifiers = layout.amplifiers(light)
    headers = tuple(frame.header for frame, _ in frames)
    return ImageFound(
        first.index, first.name, first.shape, amplifiers, tuple(findings), headers, layout.cards, label
    )


@attrs.frozen(eq=False)
class _Look:
    """Columns and rows of one frame with light."""

    frame: Frame
    pixels: Any
    columns: Axis
    rows: Axis
    contrast: float

    @classmethod
    def of(cls, frame: Frame, pixels: Any, dark: Any) -> _Look:
        """Columns by all rows, then rows by the columns that get light."""
        profile = measure(pixels)
        columns = analyse(profile, None if dark is None else measure(dark))
        x0, x1 = columns.blocks[0]
        across = measure(pixels[:, x0:x1].T)
        rows = analyse(across, None if dark is None else measure(dark[:, x0:x1].T))
        contrast = max(_contrast(profile, columns), _contrast(across, rows))
        return cls(frame, pixels, columns, rows, contrast)


def _contrast(profile: Profile, axis: Axis) -> float:
    """By how many noises of a pixel the light exceeds what gets none; 0 where nothing gets none."""
    if not axis.dark:
        return 0.0
    dark = np.concatenate([np.arange(a, b) for a, b in axis.dark])
    lit = np.concatenate([np.arange(a, b) for a, b in axis.lit]) if axis.lit else dark
    noise = max(float(np.median(profile.noise[dark])), 1e-9)
    return float(np.median(profile.level[lit]) - np.median(profile.level[dark])) / noise


def section_of(header: Header, cards: Sequence[str], shape: tuple[int, int]) -> tuple[str, Box] | None:
    """The first of these cards with a section inside the image."""
    for card in cards:
        text = header.get(card)
        try:
            box = Section.parse(str(text).replace(" ", "")).box
        except GeometryError:
            continue
        if Box.of_shape(shape).contains(box):
            return card, box
    return None


@attrs.define(eq=False)
class _Layout:
    """Columns and rows together with what the header says."""

    header: Header
    shape: tuple[int, int]
    columns: Axis
    rows: Axis
    findings: list[Finding]
    cards: dict[str, str] = attrs.field(factory=dict)

    def amplifiers(self, light: Any) -> tuple[AmplifierFound, ...]:
        """The amplifiers, columns first, then rows."""
        x_ranges, y_ranges = self._data_ranges()
        columns = self._shares(x_ranges, self.columns, "columns")
        rows = self._shares(y_ranges, self.rows, "rows")
        names = [chr(ord("A") + i) if i < 26 else f"A{i}" for i in range(len(columns) * len(rows))]
        serial = self._assigned(columns, self.columns, "columns")
        parallel = self._assigned(rows, self.rows, "rows")
        parallel = [self._outside(strips, y_ranges) for strips in parallel]
        serial = [self._outside(strips, x_ranges) for strips in serial]
        found = []
        for j, (y0, y1) in enumerate(rows):
            for i, (x0, x1) in enumerate(columns):
                name = names[j * len(columns) + i]
                data = Box(y0, y1, x0, x1)
                found.append(self._amplifier(name, data, serial[i], parallel[j], light))
        self._tell_bias(found)
        return tuple(found)

    def _data_ranges(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The columns and rows with data: as the pixels say, or the header where they do not contradict."""
        told = section_of(self.header, DATA_CARDS, self.shape)
        x_ranges, y_ranges = list(self.columns.lit), list(self.rows.lit)
        if told is None:
            found = f"columns {_text(x_ranges)}, rows {_text(y_ranges)}"
            self.findings.append(Finding("data", found, "no card", CERTAIN if self._is_seen else CHECK))
            return x_ranges, y_ranges
        card, box = told
        new_x, wrong_x = _agreed(x_ranges, self.columns, (box.x0, box.x1))
        new_y, wrong_y = _agreed(y_ranges, self.rows, (box.y0, box.y1))
        found = f"columns {_text(new_x)}, rows {_text(new_y)}"
        wrong = [
            f"{name} {_text(w)} get no light" for name, w in (("columns", wrong_x), ("rows", wrong_y)) if w
        ]
        verdict = CONTRADICTS if wrong else (CERTAIN if self._is_seen else CHECK)
        self.findings.append(
            Finding("data", "; ".join([found, *wrong]), f"{card} {box.to_section()}", verdict)
        )
        if not wrong and len(new_x) == 1 and len(new_y) == 1:
            self.cards["raw_data_box"] = card
        return new_x, new_y

    @property
    def _is_seen(self) -> bool:
        return bool(self.columns.dark or self.rows.dark)

    def _shares(self, ranges: list[tuple[int, int]], axis: Axis, what: str) -> list[tuple[int, int]]:
        """The ranges of each amplifier."""
        seams = [seam for seam in axis.seams if any(a < seam < b for a, b in ranges)]
        pedestals = _pedestals(axis, 0)
        if not seams and len(ranges) == 1 and len(pedestals) > 1:
            a, b = ranges[0]
            count = len(pedestals)
            if (b - a) % count == 0:
                seams = [a + k * (b - a) // count for k in range(1, count)]
                levels = " and ".join(f"{run.level:.0f}" for run in pedestals)
                text = f"{count} share the {what} {_text(ranges)}: {count} overscans of {levels} adu"
                self.findings.append(Finding("amplifiers", text, self._count_card(), CHECK))
        elif seams or len(ranges) > 1:
            at = ", ".join(str(seam + 1) for seam in seams)
            text = f"{len(seams) + len(ranges)} share the {what}" + (
                f"; steps in front of {at}" if seams else ""
            )
            self.findings.append(Finding("amplifiers", text, self._count_card(), CERTAIN))
        cut = [(a, b, [s for s in seams if a < s < b]) for a, b in ranges]
        return [pair for a, b, inside in cut for pair in zip([a, *inside], [*inside, b], strict=True)]

    def _count_card(self) -> str:
        """The card that tells how many amplifiers there are."""
        return next((f"{c} {self.header[c]}" for c in AMPLIFIER_CARDS if c in self.header), "no card")

    def _assigned(
        self, blocks: list[tuple[int, int]], axis: Axis, what: str
    ) -> list[list[tuple[int, int, bool]]]:
        """For every block its strips without light: range, and whether it is clean enough for an overscan."""
        strips = [(a, b, clean) for a, b, clean in _strips_of(axis, len(blocks))]
        found: list[list[tuple[int, int, bool]]] = [[] for _ in blocks]
        if len(blocks) == 1:
            return [strips]
        touching = {
            k: [i for i, block in enumerate(blocks) if _gap(block, strip) <= 4]
            for k, strip in enumerate(strips)
        }
        if all(len(found_by) == 1 for found_by in touching.values()) and strips:
            for k, (i,) in touching.items():
                found[i].append(strips[k])
        elif len(strips) == len(blocks):
            for i, strip in enumerate(strips):
                found[i].append(strip)
            if strips:
                text = f"{what} {_text([s[:2] for s in strips])} belong to the amplifiers in this order"
                self.findings.append(Finding("overscan", text, "", CHECK))
        elif strips:
            for strip in strips:
                nearest = min(range(len(blocks)), key=lambda i: _gap(blocks[i], strip))
                found[nearest].append(strip)
            self.findings.append(
                Finding("overscan", f"whose the {what} {_text([s[:2] for s in strips])} are", "", CHECK)
            )
        return found

    def _outside(
        self, strips: list[tuple[int, int, bool]], ranges: list[tuple[int, int]]
    ) -> list[tuple[int, int, bool]]:
        """Strips that are not among the data; those in the shadow of a slit are."""
        kept = [s for s in strips if not any(a < s[1] and s[0] < b for a, b in ranges)]
        for strip in (s for s in strips if s not in kept):
            text = f"{_text([strip[:2]])} get little light, as behind a slit: they stay among the data"
            finding = Finding("shadow", text, "", CHECK)
            if finding not in self.findings:
                self.findings.append(finding)
        return kept

    def _amplifier(
        self,
        name: str,
        data: Box,
        columns: list[tuple[int, int, bool]],
        rows: list[tuple[int, int, bool]],
        light: Any,
    ) -> AmplifierFound:
        """An amplifier with the strips beside its data."""
        clean = sorted((s for s in columns if s[2]), key=lambda s: s[0] - s[1])
        serial = Box(data.y0, data.y1, clean[0][0], clean[0][1]) if clean else None
        others = [s for s in columns if serial is None or s[0] != serial.x0]
        prescan = Box(data.y0, data.y1, others[0][0], others[0][1]) if others else None
        rows = sorted((s for s in rows if s[2]), key=lambda s: s[0] - s[1])
        parallel = Box(rows[0][0], rows[0][1], data.x0, data.x1) if rows else None
        noise = level = float("nan")
        if light is not None and serial is not None:
            level, noise = _level(light[serial.slices])
        if light is not None and parallel is not None:
            height, wobble = _level(light[parallel.slices])
            error = SIGNIFICANT * wobble / np.sqrt(parallel.area)
            if serial is not None and height - level > max(error, 0.3 * noise):
                where = _text([rows[0][:2]])
                text = f"rows {where} get no light but are {height - level:.1f} adu above the overscan"
                self.findings.append(Finding(f"rows beside {name}", text, "", CHECK))
                parallel = None
            elif serial is None:
                level, noise = height, wobble
        if prescan is not None and serial is None:
            text = (
                f"columns {_text([(prescan.x0, prescan.x1)])} get no light, but no part of them has one level"
            )
            self.findings.append(Finding(f"columns beside {name}", text, "", CHECK))
        return AmplifierFound(name, data, serial, parallel, prescan, noise, level)

    def _tell_bias(self, found: list[AmplifierFound]) -> None:
        """Compare the overscan with the header's."""
        told = section_of(self.header, BIAS_CARDS, self.shape)
        shown = "; ".join(
            f"{amp.name}: {box.to_section()}" for amp in found for box in (amp.serial, amp.parallel) if box
        )
        claims = [f"{c} {self.header[c]}" for c in _OVERSCAN_NUMBERS if self.header.get(c)]
        if told is None:
            verdict = CERTAIN if shown else CHECK
            known = f"{', '.join(claims)}" if claims else "no card"
            is_claimed = any("X" in claim for claim in claims)
            if self._is_seen and is_claimed and not any(amp.serial for amp in found):
                verdict = CONTRADICTS
            self.findings.append(Finding("overscan", shown or "none that can be used", known, verdict))
            return
        card, box = told
        dark = [Box(0, self.shape[0], a, b) for a, b in self.columns.dark] + [
            Box(a, b, 0, self.shape[1]) for a, b in self.rows.dark
        ]
        if self._is_seen and not any(one.contains(box) for one in dark):
            self.findings.append(
                Finding("overscan", shown or "none", f"{card} {box.to_section()}", CONTRADICTS)
            )
            return
        verdict = CERTAIN if self._is_seen else CHECK
        if len(found) == 1:
            self.cards["serial_overscan_box" if box.width < box.height else "parallel_overscan_box"] = card
        self.findings.append(Finding("overscan", shown or "not seen", f"{card} {box.to_section()}", verdict))


_OVERSCAN_NUMBERS = (
    "ESO DET OUT1 PRSCX", "ESO DET OUT1 OVSCX", "ESO DET OUT1 OVSCY", "COVER", "ROVER", "OVERSCAN", "PRESCAN",
)  # fmt: skip


def _level(pixels: Any) -> tuple[float, float]:
    """Level and noise of pixels without light."""
    profile = measure(pixels if pixels.shape[0] >= pixels.shape[1] else pixels.T)
    return float(np.median(profile.level)), float(np.median(profile.noise))


def _agreed(
    lit: list[tuple[int, int]], axis: Axis, told: tuple[int, int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The data by pixels and header, and what the header calls data though it gets no light.

    A shadow has soft edges, so darkness that begins gradually within the header's data is no overscan.
    """
    wrong = []
    for a, b in axis.dark:
        inside = max(a, told[0]), min(b, told[1])
        if inside[0] < inside[1] and not any(a - 12 <= e[1] and e[0] <= b + 12 for e in axis.edges):
            wrong.append(inside)
    left = [(max(a, told[0]), min(b, told[1])) for a, b in lit]
    if wrong:
        return [pair for pair in left if pair[0] < pair[1]], wrong
    return [told], []


def _pedestals(axis: Axis, least: int) -> list[Run]:
    """Strips side by side that are as wide as each other: overscans of several amplifiers."""
    for a, b in axis.dark:
        inside = [run for run in axis.strips if a <= run.start and run.stop <= b]
        widths = [run.width for run in inside]
        if len(inside) > 1 and max(widths) - min(widths) <= max(2, least):
            return inside
    return []


def _strips_of(axis: Axis, count: int) -> Iterator[tuple[int, int, bool]]:
    """Ranges without light, cut where that makes one for every amplifier; of a trail only its quiet end."""
    for a, b in axis.dark:
        inside = [run for run in axis.strips if a <= run.start and run.stop <= b]
        pedestals = [run for run in _pedestals(axis, 0) if run in inside]
        if count > 1 and pedestals:
            yield from ((run.start, run.stop, True) for run in pedestals)
        elif not inside:
            yield a, b, False
        else:
            # Charge trails off behind the light: what is farthest from it is cleanest.
            near_start = any(stop <= a for _, stop in axis.lit)
            is_last = near_start and not any(start >= b for start, _ in axis.lit)
            widest = max(inside, key=lambda run: run.width)
            run = inside[-1] if is_last and len(inside) > 1 else widest
            yield run.start, run.stop, True


def _gap(block: tuple[int, int], strip: tuple[int, int, bool]) -> int:
    """Columns between a block and a strip."""
    return max(strip[0] - block[1], block[0] - strip[1], 0)


def _text(ranges: Sequence[tuple[int, int]]) -> str:
    """Ranges counted from 1, as headers do."""
    return " and ".join(f"{a + 1}:{b}" for a, b in ranges) or "none"
