"""The images of raw files that nobody has described."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io.fits import Header

from isrcore import RawError, RawSource

# What a word in a card that tells the kind of exposure means; the first that is found counts.
KIND_WORDS = {
    "bias": "bias",
    "zero": "bias",
    "dark": "dark",
    "fringe": "fringe",
    "flat": "flat",
    "twilight": "flat",
    "arc": "arc",
    "comp": "arc",
    "lamp": "arc",
    "wave": "arc",
    "object": "science",
    "science": "science",
    "light": "science",
    "target": "science",
    "std": "science",
}
KIND_CARDS = ("OBSTYPE", "IMAGETYP", "IMTYPE", "EXPTYPE", "ESO DPR TYPE", "OBSMODE")
TIME_CARDS = ("EXPTIME", "EXPOSURE", "ITIME", "TTIME", "EXP_TIME", "ELAPTIME", "TIME")


@attrs.frozen(eq=False)
class Frame:
    """One image of a file: its HDU, the cards of primary header and image, and what the header calls it."""

    source: RawSource
    index: int
    name: str
    header: Header
    shape: tuple[int, int]

    @property
    def label(self) -> str:
        """File and HDU."""
        return f"{self.source.path.name}[{self.name or self.index}]"

    @property
    def pixels(self) -> Any:
        """The pixels, read anew. Raises `RawError`."""
        return self.source.read(next(one for one in self.source.extensions if one.index == self.index))

    @property
    def kind(self) -> str:
        """What the header says was taken: bias, dark, flat, arc, science, or nothing if that is not clear."""
        told = next((text for card in KIND_CARDS if (text := words(self.header.get(card)))), "")
        kind = kind_of(told)
        if kind in ("science", "") and (other := kind_of(words(self.header.get("OBJECT")))) not in (
            "",
            "science",
        ):
            kind = other
        is_short = any(self.header.get(card) == 0 for card in TIME_CARDS)
        return "bias" if is_short and kind in ("dark", "bias", "") else kind


def words(value: Any) -> str:
    """The text of a card in lower case, empty for none."""
    return value.strip().lower() if isinstance(value, str) else ""


def kind_of(text: str) -> str:
    """The kind of exposure that a text speaks of, empty for none."""
    return next((kind for word, kind in KIND_WORDS.items() if word in text), "")


def read_frames(paths: Iterable[Path], problems: list[str]) -> list[Frame]:
    """The images of files; what cannot be used is told in ``problems``."""
    return [frame for path in paths for frame in _frames(path, problems)]


def _frames(path: Path, problems: list[str]) -> Iterator[Frame]:
    try:
        source = RawSource.open(path)
    except (RawError, OSError, ValueError) as fault:
        problems.append(str(fault))
        return
    flat = [one for one in source.images if len(one.shape) == 2 and min(one.shape) >= 8]
    if not flat:
        found = ", ".join(f"{one.label}: {one.shape}" for one in source.images) or "none"
        problems.append(f"{path}: there is no image of two dimensions and 8 or more rows; images: {found}")
    for one in flat:
        header = source.header.copy()
        for card in one.header.cards if one.index else ():
            if card.keyword not in ("", "COMMENT", "HISTORY"):
                header[card.keyword] = card.value
        yield Frame(source, one.index, one.name, header, (one.shape[0], one.shape[1]))


def usable(frames: Iterable[Frame], problems: list[str]) -> list[tuple[Frame, Any]]:
    """Frames with their pixels; those that cannot be decoded are told of."""
    found = []
    for frame in frames:
        try:
            pixels = frame.pixels
        except RawError as fault:
            problems.append(str(fault))
            continue
        if np.ptp(pixels[::4, ::4]) == 0:
            problems.append(f"{frame.label}: all pixels have one value; this frame tells nothing")
            continue
        found.append((frame, pixels))
    return found
