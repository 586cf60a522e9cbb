"""Moments as whole microseconds of TAI since J2000.0: numbers that compare exactly and differ by durations.

Counted in UTC a leap second would be no time at all, and fractions of days are never quite what was written.
Nanoseconds would leave out years after 2292, which people write for "without end".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from astropy.time import Time

DAY = 86_400_000_000
_J2000 = 2_451_545


def moment_of(time: Time | int | None) -> int | None:
    """A time (scalar) as a moment; what is one already, and None, as they are."""
    return int(_count(time)) if isinstance(time, Time) else time


def moments_of(texts: Sequence[str | None]) -> list[int | None]:
    """Texts (ISO 8601, UTC) as moments, all at once; None for none and empty ones."""
    known = [text for text in dict.fromkeys(texts) if text]
    counted = _count(Time(known, format="isot", scale="utc")).tolist() if known else []
    found = dict(zip(known, counted, strict=True))
    return [found[text] if text else None for text in texts]


# Reasons name the same ends of ranges for every exposure of a night; astropy takes a millisecond for each.
@lru_cache(maxsize=1 << 14)
def as_utc(moment: int) -> str:
    """A moment as ISO 8601 in UTC, without zeros after the second."""
    days, rest = divmod(moment, DAY)
    text = str(Time(_J2000 + days, rest / DAY, format="jd", scale="tai", precision=6).utc.isot)
    return text.rstrip("0").removesuffix(".") if text.endswith("0") else text


def _count(time: Time) -> Any:
    """Microseconds, int64, of the shape of ``time``."""
    tai = time.tai
    whole = np.rint(tai.jd1)
    rest = np.rint(((tai.jd1 - whole) + tai.jd2) * DAY)
    return (whole - _J2000).astype(np.int64) * DAY + rest.astype(np.int64)
