"""Bad pixels of MegaCam: the sets that ship, which exposure has which, and Elixir's mask files.

Behaviour §7.6: a set is chosen by the name that Elixir wrote into the header, not by date.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    AmpView,
    Box,
    CalibrationError,
    Config,
    Defects,
    Detector,
    Exposure,
    FlagBoxes,
    Op,
    PixelStep,
    Skip,
    field,
    stepspecs,
)

_CARD = "IMRED_MK"
# In these bands fringes are removed too, over which the original uses larger boxes.
_ENLARGED_BANDS = ("i", "z")


class MegaCamDefectsConfig(Config):
    """Which of the sets that ship is used."""

    maskSet: str = field(
        "", "Set of bad pixels that ships with the camera; empty: the one that IMRED_MK of the header names."
    )


class MegaCamDefects(PixelStep):
    """Flag BAD the pixels that the mask of this exposure names, clipped to the CCD."""

    spec, camera, per = stepspecs.DEFECTS, "MegaCam", "detector"
    ConfigClass = MegaCamDefectsConfig

    def ops(self, view: AmpView) -> Iterator[Op]:
        """All boxes at once."""
        if view.defects is not None and len(view.defects):
            yield FlagBoxes(view.defects.as_array, view.bits("BAD")).window(view.box)


@attrs.frozen
class MaskSets:
    """The shipped sets of one CCD; a choice by the header, or by ``defects.maskSet`` of the config."""

    detector: str

    def choose_for(self, exposure: Exposure, config: Any) -> Defects | Skip:
        """The defects of the exposure's set, enlarged to even boxes in the bands i and z.

        Skips an exposure whose header names no set, or one that does not ship. Raises `CalibrationError`
        when the config names such a set, or the set is of another chip than the exposure.
        """
        asked = str(getattr(getattr(config, "defects", None), "maskSet", "")).strip()
        name = asked or mask_set_of(exposure.header)
        if not name:
            return Skip(f"the header names no mask of bad pixels ({_CARD})")
        if name not in mask_sets():
            problem = f"mask {name!r} does not ship; give its file as --defects {name}.fits"
            if not asked:
                return Skip(problem)
            raise CalibrationError(f"{problem}, or set defects.maskSet to one of {', '.join(mask_sets())}")
        boxes = _boxes_of(name, exposure)
        if exposure.visit.filter.partition(".")[0] in _ENLARGED_BANDS:
            boxes = tuple(enlarge(box, exposure.detector.shape) for box in boxes)
        return Defects(boxes, {"MASKSET": name}, exposure.detector.name, f"{name}[{self.detector}]")


@cache
def mask_sets() -> Mapping[str, Any]:
    """The sets that ship, by name: for every CCD the serial number and boxes (x0, y0, width, height)."""
    sets: dict[str, Any] = tomllib.loads((files(__package__) / "masks.toml").read_text())["sets"]
    return sets


def mask_set_of(header: Mapping[str, Any]) -> str:
    """The set that Elixir used: of ``2004B.mask.0.36.01.fits[ccd14]`` what stands before ``.fits``."""
    return str(header.get(_CARD, "")).strip().partition(".fits")[0]


def enlarge(box: Box, shape: tuple[int, int]) -> Box:
    """The box with even corners and sizes, grown outwards and kept inside a CCD of ``shape`` (ny, nx)."""
    grown = Box(
        *(value + value % 2 * sign for value, sign in zip(attrs.astuple(box), (-1, 1, -1, 1), strict=True))
    )
    return grown.intersect(Box.of_shape(shape))


def defects_from_mask(mask: npt.NDArray[Any], detector: Detector) -> Defects:
    """The bad pixels of an Elixir mask, of the shape of the raw frame: 1 is good, 0 is bad.

    Bad is what would be at least 2 of 10 parts bad if values between were allowed: 10 (1 - v) >= 2.
    """
    data = Box(
        min(amp.raw_data_box.y0 for amp in detector.amplifiers),
        max(amp.raw_data_box.y1 for amp in detector.amplifiers),
        min(amp.raw_data_box.x0 for amp in detector.amplifiers),
        max(amp.raw_data_box.x1 for amp in detector.amplifiers),
    )
    return Defects.from_mask(mask[data.slices] <= np.float32(0.8))


def _boxes_of(name: str, exposure: Exposure) -> tuple[Box, ...]:
    """The boxes of a set for the exposure's chip. Raises `CalibrationError` when the set is of another."""
    detector = exposure.detector
    table = mask_sets()[name].get(detector.name)
    if table is None:
        raise CalibrationError(
            f"mask {name!r} has no boxes of {detector.name!r}; name another set in defects.maskSet"
        )
    # The header knows the chip that was read out, also after an exchange.
    serial = str(exposure.header.get("CCDNAME", detector.serial)).replace("-", "").strip()
    if serial != table["serial"]:
        raise CalibrationError(
            f"mask {name!r} is of chip {table['serial']!r}, {detector.name!r} is chip {serial!r} here\n"
            "  give a mask made for this chip with --defects"
        )
    return tuple(Box.from_corner(*box) for box in table["boxes"])
