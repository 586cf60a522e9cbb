"""The texts of a picture: a title above it, scale and colours below it, names inside it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isrcore.pictures import GAP, Name, Picture, Rgb

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Draw

_INK, _PAPER = (235, 235, 235), (36, 39, 48)
_TEXT_HEIGHT, _SMALLEST_TEXT = 14, 7
_LINE, _MARGIN, _SPACE = 22, 8, 18
_BAR, _SWATCH = 120, 12
# Narrower pictures stand in the middle of a page on which title and scale find room.
_LEAST_WIDTH = 480


def label_picture(picture: Picture) -> Rgb:
    """The picture with all its texts, uint8 (ny, nx, 3), top row first."""
    drawing = np.repeat(np.repeat(picture.pixels[::-1], picture.zoom, axis=0), picture.zoom, axis=1)
    inside = Image.fromarray(np.ascontiguousarray(drawing))
    _write_names(inside, picture)
    width = max(inside.width, _LEAST_WIDTH)
    title = _Lines(width, list(_words(picture.title)))
    legend = _Lines(width, list(_legend(picture)))
    page = Image.new("RGB", (width, title.height + inside.height + legend.height), _PAPER)
    page.paste(inside, ((width - inside.width) // 2, title.height))
    draw = ImageDraw.Draw(page)
    title.draw(draw, 0)
    legend.draw(draw, title.height + inside.height)
    return np.asarray(page)


def plain(text: str) -> str:
    """The text in the letters that the font has."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


@cache
def _font(height: float) -> Any:
    """The font that comes with Pillow: the same picture everywhere."""
    return ImageFont.load_default(height)


@attrs.frozen(eq=False)
class _Item:
    """A piece of a line: a text with a colour, a stretch of grey or nothing in front of it."""

    text: str
    colour: tuple[int, int, int] | None = None
    ramp: Rgb | None = None
    gap: int = _SPACE

    @property
    def mark(self) -> int:
        """The width of what is in front of the text."""
        return _BAR + _MARGIN if self.ramp is not None else _SWATCH + 6 if self.colour is not None else 0

    @property
    def width(self) -> int:
        """The width of the whole."""
        return self.mark + int(np.ceil(_font(_TEXT_HEIGHT).getlength(self.text)))

    def draw(self, draw: Draw, x: int, y: int) -> None:
        """Draw it on a line whose top is at y."""
        top, bottom = y + (_LINE - _SWATCH) // 2, y + (_LINE + _SWATCH) // 2
        if self.ramp is not None:
            for column, grey in enumerate(self.ramp):
                draw.line([(x + column, top), (x + column, bottom)], fill=(int(grey),) * 3)
        if self.colour is not None:
            draw.rectangle([x, top, x + _SWATCH, bottom], fill=self.colour)
        draw.text((x + self.mark, y + _LINE // 2), self.text, _INK, _font(_TEXT_HEIGHT), anchor="lm")


class _Lines:
    """Items set one after the other in lines of a width; none is cut."""

    def __init__(self, width: int, items: Sequence[_Item]) -> None:
        self.lines: list[list[tuple[int, _Item]]] = []
        x = width
        for item in items:
            if not self.lines or x + item.width > width - _MARGIN:
                self.lines.append([])
                x = _MARGIN
            self.lines[-1].append((x, item))
            x += item.width + item.gap
        self.height = len(self.lines) * _LINE + (_MARGIN if self.lines else 0)

    def draw(self, draw: Draw, y: int) -> None:
        """Draw all of them below y."""
        for number, line in enumerate(self.lines):
            for x, item in line:
                item.draw(draw, x, y + _MARGIN // 2 + number * _LINE)


def _words(text: str) -> Iterator[_Item]:
    """A text word by word; words that are longer than a line in pieces."""
    space = int(_font(_TEXT_HEIGHT).getlength(" "))
    for word in plain(text).split():
        pieces = [word[start : start + _LONGEST_WORD] for start in range(0, len(word), _LONGEST_WORD)]
        yield from (_Item(piece, gap=0) for piece in pieces[:-1])
        yield _Item(pieces[-1], gap=space)


# Fits the narrowest page however wide its letters are.
_LONGEST_WORD = 32


def _legend(picture: Picture) -> Iterator[_Item]:
    """The scale, then every colour with the share of its pixels."""
    if picture.shown != "mask":
        steps = np.linspace(picture.low, picture.high, _BAR)
        yield _Item(plain(picture.limits), ramp=picture.scale(steps))
    for name, (colour, count) in picture.legend.items():
        share = count / max(picture.total, 1)
        amount = f"{share:.2%}" if share >= 0.0001 or not count else f"{count} px"
        yield _Item(plain(f"{name} {amount}"), colour=colour)


def _write_names(page: Image.Image, picture: Picture) -> None:
    """Write each name into the lower left corner of its box, as large as fits; not at all if it would not."""
    draw = ImageDraw.Draw(page)
    for name in picture.names:
        height = _height_for(name, picture.zoom)
        if height:
            y, x = ((corner * picture.zoom) for corner in name.corner)
            place = (x + 4, page.height - y - 3)
            text, font = plain(name.text), _font(height)
            draw.text(place, text, _INK, font, anchor="ls", stroke_width=2, stroke_fill=GAP)


def _height_for(name: Name, zoom: int) -> int:
    """The height at which a name fits into its box, 0 when there is none."""
    room = name.shape[1] * zoom - 8
    for height in range(_TEXT_HEIGHT + 2, _SMALLEST_TEXT - 1, -1):
        if _font(height).getlength(plain(name.text)) <= room and height + 6 <= name.shape[0] * zoom:
            return height
    return 0
