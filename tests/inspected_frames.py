"""Frames whose geometry is known, made with numpy alone: what `isr inspect` is to find again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from hypothesis import strategies as st


@attrs.frozen
class Layout:
    """One row of amplifiers: their data side by side, overscans all to the left or right of them or between.

    ``order`` is a list of "data" and "over" with the number of the amplifier.
    """

    order: tuple[tuple[str, int], ...]
    width: int
    height: int
    overscan: int
    rows: int
    pedestals: tuple[float, ...]
    gains: tuple[float, ...]

    @property
    def boxes(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Columns of every part."""
        found, x = {}, 0
        for what, amp in self.order:
            size = self.width if what == "data" else self.overscan
            found[what, amp] = x, x + size
            x += size
        return found

    @property
    def shape(self) -> tuple[int, int]:
        """Of the raw frame."""
        return self.height + self.rows, max(stop for _, stop in self.boxes.values())

    def expose(self, electrons: float, noise: float, rng: np.random.Generator) -> Any:
        """A raw frame of even light; ``noise`` in electron. Rows above the data get no light."""
        image = np.zeros(self.shape)
        for (what, amp), (x0, x1) in self.boxes.items():
            charge = np.zeros((self.shape[0], x1 - x0))
            if what == "data":
                charge[: self.height] = rng.poisson(electrons, (self.height, x1 - x0))
            charge += noise * rng.standard_normal(charge.shape)
            image[:, x0:x1] = self.pedestals[amp] + charge / self.gains[amp]
        return np.clip(np.round(image), 0, 65535).astype(np.uint16)


ORDERS = {
    1: [(("data", 0), ("over", 0)), (("over", 0), ("data", 0))],
    2: [
        (("data", 0), ("data", 1), ("over", 0), ("over", 1)),
        (("over", 0), ("data", 0), ("data", 1), ("over", 1)),
        (("data", 0), ("over", 0), ("over", 1), ("data", 1)),
    ],
}


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """One or two amplifiers with overscan columns, some with overscan rows."""
    count = draw(st.integers(1, 2))
    width, height = draw(st.integers(48, 90)), draw(st.integers(48, 90))
    # Other pedestals and gains for the second: a seam that cannot be seen cannot be found.
    pedestal, step = draw(st.integers(200, 1200)), draw(st.sampled_from([-80, -30, 30, 80]))
    gains = draw(st.sampled_from([(1.0, 1.3), (2.0, 1.5), (1.2, 1.6)]))
    return Layout(
        draw(st.sampled_from(ORDERS[count])),
        width,
        height,
        draw(st.integers(6, 12)),
        draw(st.sampled_from([0, 6, 10])),
        (pedestal, pedestal + step),
        gains,
    )


def write(path: Path, image: Any, **cards: Any) -> Path:
    """A file with one image in its primary HDU."""
    fits.PrimaryHDU(image, fits.Header(cards)).writeto(path, overwrite=True)
    return path


def section(y: tuple[int, int], x: tuple[int, int]) -> str:
    """A FITS section."""
    return f"[{x[0] + 1}:{x[1]},{y[0] + 1}:{y[1]}]"
