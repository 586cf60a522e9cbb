"""Which of many calibrations is for an exposure: a question about values, without files or database.

A calibration suits when it is of one of the kinds, of the detector and, if it is of a filter, of the
exposure's, and when the exposure's time lies in its range of validity, which is half-open: the begin belongs
to it, the end to the next one. Which of several is taken says the `Policy`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property
from itertools import chain
from typing import Any

import attrs

from isrcore_repository.moments import DAY, as_utc, moment_of
from isrcore_repository.ranges import UNKNOWN, Ranges

#: How many candidates a message tells of.
TOLD = 5


class Policy(Enum):
    """Which of several calibrations that suit is taken.

    NEAREST takes the one whose own frames were taken nearest in time; BEFORE the nearest of those taken
    before the exposure or with it; LATEST the latest version. Of equally near ones the latest version is
    taken, then the one whose range begins last, then the one made last; of the same version the one made
    last, then the one whose range begins last. What is left is settled by name.
    """

    NEAREST = "nearest"
    BEFORE = "before"
    LATEST = "latest"


def _range_is_not_empty(calibration: Calibration, _: Any, end: int | None) -> None:
    if end is not None and calibration.begin is not None and end <= calibration.begin:
        raise ValueError(
            f"{calibration.name!r} would be valid from {as_utc(calibration.begin)} to before {as_utc(end)}, "
            "that is never; swap"
        )


@attrs.frozen
class Calibration:
    """A calibration as it is chosen by.

    ``filter`` is empty where the kind does not depend on it. Times are given as UTC `Time` and kept as
    `moment_of`: valid in [``begin``, ``end``), None without limit; ``taken`` is the middle of its own frames
    and ``made`` when it was made, None if unknown. ``name`` is what messages call it, ``payload`` whatever
    the caller needs. Raises ValueError for a range with nothing in it.
    """

    kind: str
    detector: str
    filter: str = ""
    begin: int | None = attrs.field(default=None, converter=moment_of)
    end: int | None = attrs.field(default=None, converter=moment_of, validator=_range_is_not_empty)
    taken: int | None = attrs.field(default=None, converter=moment_of)
    version: int = 0
    name: str = ""
    made: int | None = attrs.field(default=None, converter=moment_of)
    payload: Any = None


def _kinds(kinds: str | Collection[str]) -> frozenset[str]:
    return frozenset({kinds} if isinstance(kinds, str) else kinds)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


@attrs.frozen
class Query:
    """What a calibration is wanted for.

    ``kinds`` are the names it may go by, ``filters`` those of the exposure's filter, as in its header first.
    ``time`` is the middle of the exposure (UTC `Time`); without one only calibrations without limits suit.
    Only when none suits are those of the filter called ``fallback`` looked at.
    """

    kinds: frozenset[str] = attrs.field(converter=_kinds)
    detector: str
    filters: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    time: int | None = attrs.field(default=None, converter=moment_of)
    policy: Policy = Policy.NEAREST
    fallback: tuple[str, ...] = attrs.field(default=(), converter=_texts)


#: Why a calibration that suits cannot be used after all, empty if it can.
Objection = Callable[[Calibration], str]


@attrs.frozen
class Found:
    """The calibration for a query, None if there is none; ``is_fallback``: it is of the fallback filter."""

    query: Query
    chosen: Calibration | None
    is_fallback: bool
    # By kind, as the index has them: nothing is copied unless somebody asks for reasons.
    _groups: tuple[tuple[Calibration, ...], ...] = attrs.field(repr=False)
    _objection: Objection = attrs.field(repr=False, eq=False)

    @property
    def reason(self) -> str:
        """Why the chosen one was, in words; empty when there is none."""
        if self.chosen is None:
            return ""
        version = f"version {self.chosen.version}"
        why = version if self.query.policy is Policy.LATEST else _distance(self.chosen, self.query)
        return f"of the fallback filter {self.chosen.filter!r}, {why}" if self.is_fallback else why

    @cached_property
    def rejected(self) -> tuple[tuple[Calibration, str], ...]:
        """Every other calibration of the kinds and why it was not taken, those that come nearest first."""
        return tuple(self.nearest(self.refused))

    @property
    def refused(self) -> int:
        """How many calibrations of the kinds were not taken."""
        return sum(map(len, self._groups)) - (self.chosen is not None)

    def nearest(self, limit: int = TOLD) -> Iterator[tuple[Calibration, str]]:
        """The first ``limit`` of `rejected`; reasons for no others are looked for."""
        others = (one for one in chain(*self._groups) if one is not self.chosen)
        for one in heapq.nsmallest(limit, others, key=self._nearness):
            yield one, self._why_not(one)

    def explain(self, limit: int = TOLD) -> str:
        """What was chosen and why, and under it candidates that were not, for people."""
        kind = " or ".join(sorted(self.query.kinds))
        found = "none suits" if any(self._groups) else "there is none"
        first = f"{self.chosen.name} ({self.reason})" if self.chosen else found
        lines = [f"  {one.name}: {why}" for one, why in self.nearest(limit)]
        more = [f"  and {self.refused - limit} more"] if self.refused > limit else []
        return "\n".join([f"{kind}: {first}", *lines, *more])

    def _nearness(self, one: Calibration) -> tuple[Any, ...]:
        """Order of candidates: what fits in detector and filter first, then by time."""
        query = self.query
        is_other = bool(one.filter) and one.filter not in query.filters
        is_far = is_other and one.filter not in query.fallback
        outside = _outside(one, query.time)
        return one.detector != query.detector, is_far, is_other, outside, *_rank(one, query)

    def _why_not(self, one: Calibration) -> str:
        """Why a candidate was not taken."""
        return next(_faults(one, self.query), "") or self._objection(one) or self._preference(one)

    def _preference(self, one: Calibration) -> str:
        """Why the chosen one is rather taken than another that suits."""
        chosen = self.chosen
        if chosen is None:  # somebody objected a moment ago
            return "could not be used when it was asked for"
        if not self.is_fallback and one.filter and one.filter not in self.query.filters:
            return f"is of the fallback filter, {chosen.name} suits without"
        return _drawback(one, chosen, self.query)


class CalibrationIndex:
    """Calibrations in an order in which they are found without looking at each.

    By kind, detector and filter, within them by the begin of validity. It is not changed after it is built.
    """

    def __init__(self, calibrations: Iterable[Calibration]) -> None:
        groups: dict[tuple[str, str, str], list[Calibration]] = {}
        by_kind: dict[str, list[Calibration]] = {}
        for one in calibrations:
            groups.setdefault((one.kind, one.detector, one.filter), []).append(one)
            by_kind.setdefault(one.kind, []).append(one)
        self._ranges: Mapping[tuple[str, str, str], Ranges[Calibration]] = {
            key: Ranges(group, [_tie(one) for one in group], [_newest(one) for one in group])
            for key, group in groups.items()
        }
        self._by_kind = {kind: tuple(sorted(group, key=_identity)) for kind, group in by_kind.items()}

    def find(self, query: Query, objection: Objection = lambda _: "") -> Found:
        """The calibration for a query: the first one, in the policy's order, that nobody objects to."""
        chosen = self._first(query, query.filters, objection)
        other = self._first(query, query.fallback, objection) if query.fallback and chosen is None else None
        groups = tuple(self._by_kind.get(kind, ()) for kind in sorted(query.kinds))
        return Found(query, chosen or other, other is not None, groups, objection)

    def _first(self, query: Query, filters: Iterable[str], objection: Objection) -> Calibration | None:
        """The calibration of one of several filters."""
        keys = sorted((kind, query.detector, name) for kind in query.kinds for name in {*filters, ""})
        known = [self._ranges[key] for key in keys if key in self._ranges]
        ranked = (ranges.suiting(query.time, query.policy.value) for ranges in known)
        best_first = heapq.merge(*ranked, key=lambda one: _rank(one, query))
        return next((one for one in best_first if not objection(one)), None)


def lookup(calibrations: Iterable[Calibration], query: Query, objection: Objection = lambda _: "") -> Found:
    """The calibration among a few, see `CalibrationIndex`."""
    return CalibrationIndex(calibrations).find(query, objection)


def _faults(one: Calibration, query: Query) -> Iterator[str]:
    """Why a calibration does not suit, whatever others there are."""
    if one.detector != query.detector:
        yield f"is of detector {one.detector!r}"
    if one.filter and one.filter not in (*query.filters, *query.fallback):
        ours = query.filters[0] if query.filters else "none"
        yield f"is of filter {one.filter!r}, the exposure of {ours!r}"
    yield from _faults_of_time(one, query)


def _faults_of_time(one: Calibration, query: Query) -> Iterator[str]:
    """Why a calibration does not suit the time of a query."""
    time = query.time
    if time is None:
        if one.begin is not None or one.end is not None:
            yield "the exposure has no date"
    elif one.begin is not None and time < one.begin:
        yield f"valid from {as_utc(one.begin)}, the exposure is of {as_utc(time)}"
    elif one.end is not None and time >= one.end:
        yield f"valid until before {as_utc(one.end)}, the exposure is of {as_utc(time)}"
    if query.policy is Policy.BEFORE and one.taken is None:
        yield "when its frames were taken is not known"
    elif query.policy is Policy.BEFORE and (time is None or (one.taken or 0) > time):
        yield "its frames were taken after the exposure"


def _identity(one: Calibration) -> tuple[Any, ...]:
    """All that is left to tell calibrations apart, by name first."""
    times = ((time is None, time or 0) for time in (one.begin, one.end, one.taken))
    return one.name, *times, one.kind, one.filter, one.detector, str(one.payload)


def _later_first(moment: int | None) -> int:
    """A number that is smaller for later moments; unknown ones are the earliest."""
    return UNKNOWN if moment is None else -moment


def _tie(one: Calibration) -> tuple[Any, ...]:
    """Order of calibrations that are equally near."""
    return -one.version, _later_first(one.begin), _later_first(one.made), _identity(one)


def _newest(one: Calibration) -> tuple[Any, ...]:
    """Order of calibrations by version."""
    return -one.version, _later_first(one.made), _later_first(one.begin), _identity(one)


def _rank(one: Calibration, query: Query) -> tuple[Any, ...]:
    """The order in which a query takes calibrations that suit."""
    return _newest(one) if query.policy is Policy.LATEST else (_far(one, query), *_tie(one))


def _outside(one: Calibration, time: int | None) -> int:
    """Microseconds from a moment to the range of validity, 0 inside."""
    if time is None:
        return 0
    late = 0 if one.begin is None else one.begin - time
    early = 0 if one.end is None else time - one.end
    return max(late, early, 0)


def _far(one: Calibration, query: Query) -> int:
    """Microseconds between a calibration's frames and a query."""
    return UNKNOWN if one.taken is None or query.time is None else abs(one.taken - query.time)


def _distance(one: Calibration, query: Query) -> str:
    """How near a calibration is, for people."""
    far = _far(one, query)
    return "at no known distance in time" if far == UNKNOWN else f"{far / DAY:.1f} days away"


#: What the parts of `_rank` are about.
_ORDERS: Mapping[Policy, tuple[str, ...]] = {
    Policy.NEAREST: ("distance", "version", "begin", "made", "name"),
    Policy.BEFORE: ("distance", "version", "begin", "made", "name"),
    Policy.LATEST: ("version", "made", "begin", "name"),
}


def _drawback(one: Calibration, chosen: Calibration, query: Query) -> str:
    """In what one that suits comes after the chosen one."""
    pairs = zip(_rank(one, query), _rank(chosen, query), strict=True)
    place = next((place for place, (ours, theirs) in enumerate(pairs) if ours != theirs), -1)
    return {
        "distance": f"{_distance(one, query)}, {chosen.name} is nearer",
        "version": f"is of version {one.version}, {chosen.name} of version {chosen.version}",
        "begin": f"the range of {chosen.name} begins later",
        "made": f"{chosen.name} was made later",
        "name": f"{chosen.name} comes first by name",
    }[_ORDERS[query.policy][place]]
