"""Ranges of validity of calibrations of one kind, detector and filter, searched without looking at each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

#: A distance in time that is not known: further than all others, and with room to add to it.
UNKNOWN = 2**62


class _Ranged(Protocol):
    """What has a range: moments, None without limit, and when its frames were taken."""

    @property
    def begin(self) -> int | None: ...
    @property
    def end(self) -> int | None: ...
    @property
    def taken(self) -> int | None: ...


T = TypeVar("T", bound=_Ranged)


class Ranges(Generic[T]):
    """Things in order of their begins. ``ties`` and ``newest`` order them where time does not."""

    def __init__(self, things: Sequence[T], ties: Sequence[Any], newest: Sequence[Any]) -> None:
        begins = _moments([one.begin for one in things], -UNKNOWN)
        order = np.argsort(begins, kind="stable").tolist()
        self.things = [things[place] for place in order]
        self._begins = begins[order]
        self._ends = _moments([one.end for one in self.things], UNKNOWN)
        # All before the first place where this is later than a moment have ended by then.
        self._latest_end = np.maximum.accumulate(self._ends)
        self._taken = _moments([one.taken for one in self.things], UNKNOWN)
        self._ties, self._newest = _ranks(ties, order), _ranks(newest, order)

    def suiting(self, time: int | None, policy: str) -> Iterator[T]:
        """Those valid at a moment, the first to take first; at None those without limits."""
        places = self._valid(time)
        if policy == "before":
            places = places[self._taken[places] <= (-UNKNOWN if time is None else time)]
        if places.size:
            yield from (self.things[place] for place in self._in_order(places, time, policy))

    def _valid(self, time: int | None) -> NDArray[np.intp]:
        """Places of those valid at a moment."""
        if time is None:
            return np.flatnonzero((self._begins == -UNKNOWN) & (self._ends == UNKNOWN))
        first = int(np.searchsorted(self._latest_end, time, side="right"))
        last = int(np.searchsorted(self._begins, time, side="right"))
        return first + np.flatnonzero(self._ends[first:last] > time)

    def _in_order(self, places: NDArray[np.intp], time: int | None, policy: str) -> Iterator[np.intp]:
        """Places, the first to take first; the others are put in order only when they are asked for."""
        is_latest = policy == "latest"
        ranks = (self._newest if is_latest else self._ties)[places]
        far = ranks if is_latest else self._far(places, time)
        nearest = np.flatnonzero(far == far.min())
        best = nearest[np.argmin(ranks[nearest])]
        yield places[best]
        yield from (places[place] for place in np.lexsort((ranks, far)) if place != best)

    def _far(self, places: NDArray[np.intp], time: int | None) -> NDArray[np.int64]:
        """Microseconds between the frames of each and a moment."""
        taken = self._taken[places]
        if time is None:
            return np.full(places.size, UNKNOWN)
        return np.where(taken == UNKNOWN, UNKNOWN, np.abs(taken - time))


def _known(moment: int | None, otherwise: int) -> int:
    return otherwise if moment is None else moment


def _moments(found: Sequence[int | None], otherwise: int) -> NDArray[np.int64]:
    """Moments as an array."""
    return np.array([_known(one, otherwise) for one in found], np.int64)


def _ranks(keys: Sequence[Any], order: Sequence[int]) -> NDArray[np.int64]:
    """The rank by key of each place in an order."""
    ranks = np.empty(len(keys), np.int64)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return ranks[np.asarray(order, np.intp)]
