"""`isr inspect` finds the geometry of a frame again, whatever its header says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isrcore_inspect
from isrcore import Registry
from isrcore.testing.strategies import generators
from isrcore_inspect.frames import read_frames, usable
from isrcore_inspect.geometry import find_image
from tests.inspected_frames import Layout, layouts, write

REGISTRY = Registry({"inspect": isrcore_inspect})


def found_in(layout: Layout, rng: np.random.Generator, electrons: float, **cards: object):
    """What is found in a flat and a bias."""
    with tempfile.TemporaryDirectory() as folder:
        flat = write(Path(folder) / "f.fits", layout.expose(electrons, 4.0, rng), OBSTYPE="FLAT", **cards)
        bias = write(Path(folder) / "b.fits", layout.expose(0, 4.0, rng), OBSTYPE="BIAS", **cards)
        problems: list[str] = []
        found = find_image(usable(read_frames([flat, bias], problems), problems))
    assert problems == []
    return found


# In adu the light is 25 or more times the read noise, and the seam of two gains more than 5 of its noises.
@given(layouts(), generators(), st.sampled_from([200, 1000, 20000]))
def test_data_and_overscan_are_found_to_the_pixel(layout, rng, electrons):
    found = found_in(layout, rng, electrons)
    boxes = layout.boxes
    for number, amp in enumerate(found.amplifiers):
        assert (amp.data.x0, amp.data.x1) == boxes["data", number]
        assert (amp.data.y0, amp.data.y1) == (0, layout.height)
        assert (amp.serial.x0, amp.serial.x1) == boxes["over", number]
    assert len(found.amplifiers) == sum(what == "data" for what, _ in layout.order)


@given(layouts(), generators())
def test_overscan_rows_are_found_to_the_pixel(layout, rng):
    found = found_in(layout, rng, 5000)
    for amp in found.amplifiers:
        rows = (amp.parallel.y0, amp.parallel.y1) if amp.parallel else None
        assert rows == ((layout.height, layout.height + layout.rows) if layout.rows else None)


@given(layouts(), generators(), st.integers(2, 20))
def test_a_header_that_calls_unlit_columns_data_is_found_out(layout, rng, wrong):
    whole = f"[1:{layout.shape[1]},1:{layout.height}]"
    found = found_in(layout, rng, 5000, DATASEC=whole)
    verdicts = {finding.what: finding.verdict for finding in found.findings}
    assert verdicts["data"] == "header is wrong"
    assert (found.amplifiers[0].data.x0, found.amplifiers[0].data.x1) == layout.boxes["data", 0]


def test_a_seam_is_where_the_gain_changes():
    layout = Layout(
        (("data", 0), ("data", 1), ("over", 0), ("over", 1)), 60, 50, 8, 0, (300, 340), (1.0, 1.5)
    )
    found = found_in(layout, np.random.default_rng(1), 3000)
    assert [amp.data.to_section() for amp in found.amplifiers] == ["[1:60,1:50]", "[61:120,1:50]"]
    assert [amp.serial.to_section() for amp in found.amplifiers] == ["[121:128,1:50]", "[129:136,1:50]"]
