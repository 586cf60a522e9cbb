"""Moving a WCS with its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS, Sip

from isrcore import Gather


def moved_wcs(wcs: WCS, gather: Gather) -> WCS:
    """The WCS after ``gather`` moved the pixels: the same sky position under every pixel.

    A flip changes the sign of pixel offsets u (or v), so of the matrix column and of odd powers in SIP
    terms (Shupe et al. 2005, ADASS XIV, 491).
    """
    moved = wcs.deepcopy()
    signs = np.array([-1 if gather.flip_x else 1, -1 if gather.flip_y else 1])
    corner = np.array([gather.raw_box.x1 if gather.flip_x else gather.raw_box.x0 + 1,
                       gather.raw_box.y1 if gather.flip_y else gather.raw_box.y0 + 1])  # fmt: skip
    first = np.array([gather.box.x0 + 1, gather.box.y0 + 1])
    moved.wcs.crpix = first + signs * (np.asarray(wcs.wcs.crpix) - corner)
    if wcs.wcs.has_cd():
        moved.wcs.cd = np.asarray(wcs.wcs.cd) * signs
    else:
        moved.wcs.pc = np.asarray(wcs.wcs.get_pc()) * signs
    if wcs.sip is not None:
        moved.sip = _moved_sip(wcs.sip, signs, moved.wcs.crpix)
    if wcs.array_shape is not None:
        moved.array_shape = None
    moved.wcs.set()
    return moved


def _moved_sip(sip: Sip, signs: npt.NDArray[Any], crpix: npt.NDArray[Any]) -> Sip:
    """SIP terms for flipped pixel offsets: f'(u, v) = s·f(s_x·u, s_y·v)."""

    def turned(terms: npt.NDArray[Any] | None, sign: int) -> npt.NDArray[Any] | None:
        if terms is None:
            return None
        powers = np.arange(terms.shape[0])
        return terms * sign * np.outer(signs[0] ** powers, signs[1] ** powers)

    forward = turned(sip.a, signs[0]), turned(sip.b, signs[1])
    inverse = turned(sip.ap, signs[0]), turned(sip.bp, signs[1])
    return Sip(*forward, *inverse, crpix)
