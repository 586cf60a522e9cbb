"""Headers like a given one, with a card or two gone, emptied or nonsensical: what readers have to bear."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from astropy.io.fits import Card, Header
from astropy.utils.exceptions import AstropyWarning
from hypothesis import strategies as st

# Cards without which a file is no FITS file, or its pixels are others.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|NEXTEND|[PG]COUNT|GROUPS|INHERIT|BSCALE|BZERO|BLANK|CHECKSUM"
    r"|DATASUM|EXTVER|EXTLEVEL|END|COMMENT|HISTORY|CONTINUE||T(FIELDS|HEAP|(TYPE|FORM|UNIT|DIM|DISP)\d+)"
    r"|Z(IMAGE|TENSION|SIMPLE|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|HECKSUM"
    r"|DATASUM|SCALE|ZERO|BLANK|QUANTIZ|DITHER0|BLOCKED)"
)


@attrs.frozen(eq=False)
class ChangedHeader:
    """A header and what was done to it, for instance ``EXPTIME dropped``; printed, it is that."""

    header: Header
    change: str
    kinds: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """What was done."""
        return f"<header with {self.change}>"


def _retyped(value: Any) -> tuple[Any, ...]:
    """A text for a number, a number for a text, and the other way round of truth values."""
    return (42,) if isinstance(value, str) else (f"{value}",)


def _absurd(value: Any) -> tuple[Any, ...]:
    """Values of the right type that mean nothing."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, str):
        return "?" * 12, "9999-99-99T99:99:99"
    return (-1, 10**18) if isinstance(value, int) else (-1.0, 1e300)


#: What may happen to a card, by kind: the values it gets; None makes it undefined. "dropped" takes it away.
KINDS: Mapping[str, Callable[[Any], tuple[Any, ...]]] = {
    "dropped": lambda value: ("",),
    "emptied": lambda value: ("",),
    "undefined": lambda value: (None,),
    "retyped": _retyped,
    "absurd": _absurd,
}


def keywords_of(header: Header) -> tuple[str, ...]:
    """The keywords of cards that say something about the exposure, each once."""
    return tuple(dict.fromkeys(key for key in header if not _STRUCTURE.fullmatch(key)))


def changes_of(header: Header, keyword: str) -> Iterator[ChangedHeader]:
    """The header with this card changed, in every way of `KINDS`; nothing for a card that cannot be read."""
    try:
        old = header[keyword]
    except Exception:  # astropy raises many kinds for a card that is none
        return
    for kind, values in KINDS.items():
        for value in values(old):
            changed = _with(header, keyword, kind, value)
            if changed is not None:
                told = f"{keyword} {kind}" + (f" to {value!r}" if kind in ("retyped", "absurd") else "")
                yield ChangedHeader(changed, told, frozenset({kind}))


def _with(header: Header, keyword: str, kind: str, value: Any) -> Header | None:
    """A copy with one card changed; None when FITS has no such card."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        copy = header.copy()
        if kind == "dropped":
            copy.remove(keyword, remove_all=True)
            return copy
        try:
            copy[keyword] = value
            Card.fromstring(copy.cards[keyword].image)
        except ValueError:
            return None
    return copy


@st.composite
def headers_like(draw: st.DrawFn, header: Header, *, max_changes: int = 3) -> ChangedHeader:
    """Headers with 1 to ``max_changes`` cards dropped, emptied, undefined, retyped or absurd.

    Cards that make the file a FITS file stay. The change is in `ChangedHeader.change` and what failures
    print. A header without cards about the exposure is drawn as it is.
    """
    names = list(keywords_of(header))
    some = st.lists(st.sampled_from(names), min_size=1, max_size=max_changes, unique=True)
    chosen: list[str] = draw(some) if names else []
    found, told, kinds = header, [], frozenset[str]()
    for keyword in chosen:
        ways = list(changes_of(found, keyword))
        if ways:
            one = draw(st.sampled_from(ways))
            found, kinds = one.header, kinds | one.kinds
            told.append(one.change)
    return ChangedHeader(found, ", ".join(told) or "nothing changed", kinds)
