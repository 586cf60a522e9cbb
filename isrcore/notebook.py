"""What a notebook shows of an exposure: a small picture and the facts beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from isrcore.exposure import Exposure
from isrcore.pictures import PictureStyle, Tile, make_picture, to_data_uri

# The longest side of the picture, in pixels.
_SIZE = 360


def describe_html(exposure: Exposure) -> str:
    """An exposure as HTML. Of a large one only every n-th row and column is read, so it costs little."""
    picture = make_picture(_sampled(exposure), PictureStyle(size=_SIZE), exposure.unit, "", 1)
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in _facts(exposure)
        if value
    )
    return (
        '<div style="display:flex;gap:1em;align-items:flex-start">'
        f'<img src="{to_data_uri(picture.to_rgb())}" alt="{escape(exposure.label)}">'
        f"<table>{rows}</table></div>"
    )


def _sampled(exposure: Exposure) -> Tile:
    """Every n-th pixel of every n-th row."""
    every = slice(None, None, -(-max(exposure.shape) // _SIZE))
    return Tile.of(exposure.image[every, every], exposure.mask[every, every], exposure.planes, 1)


def _facts(exposure: Exposure) -> Iterator[tuple[str, str]]:
    """What the table says, (name, value); empty values are left out."""
    visit = exposure.visit
    yield "detector", f"{exposure.camera} {exposure.detector.name}".strip()
    yield "pixels", f"{exposure.shape[0]} x {exposure.shape[1]} {exposure.image.dtype.name}"
    yield "unit", exposure.unit or "none"
    yield "taken", " ".join(filter(None, (visit.object_name, visit.observation_type)))
    yield "filter", visit.filter
    yield "exposure time", "" if math.isnan(visit.exposure_s) else f"{visit.exposure_s:g} s"
    yield "date", "" if visit.date is None else str(visit.date.isot)
    yield "steps", ", ".join(entry.step for entry in exposure.history)
    yield "source", exposure.source
