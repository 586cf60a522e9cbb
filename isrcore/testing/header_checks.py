"""Checks of what a camera's reader makes of damaged headers: a value, or one clear error, never a guess."""

from __future__ import annotations

import logging
import math
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from astropy.io.fits import Header

from isrcore.exposure import VisitInfo
from isrcore.raw import RawError
from isrcore.registry import RegistryError
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, NotApplicable, checks
from isrcore.testing.headers import changes_of, keywords_of
from isrcore.testing.raw_files import Outline
from isrcore.testing.reader_checks import same_value, shown

# After these the file says nothing any more where a value came from.
_GONE = frozenset({"dropped", "undefined"})
_UNKNOWN = ("", 0, None)

# A date may come from another card, of the end of the exposure or of its night, but not from another year.
_DAYS = 2.0


@attrs.frozen(eq=False)
class Damage:
    """One way to change a card in all headers of a file that have it: ``headers`` by place."""

    change: str
    kind: str
    headers: Mapping[int, Header]


def damages(outline: Outline) -> Iterator[Damage]:
    """Every card of a file dropped, emptied, undefined, of another type, absurd: one at a time."""
    for keyword in keywords(outline):
        yield from damages_of(outline, keyword)


def keywords(outline: Outline) -> tuple[str, ...]:
    """The keywords of a file that say something about the exposure."""
    return tuple(dict.fromkeys(name for header in outline.headers for name in keywords_of(header)))


def damages_of(outline: Outline, keyword: str, parts: int | None = None) -> Iterator[Damage]:
    """Every way to change this card, in all HDUs or the first ``parts`` ones.

    Wherever it is: what one header lacks a reader finds in another.
    """
    places = [place for place, header in enumerate(outline.headers[:parts]) if keyword in header]
    ways = (changes_of(outline.headers[place], keyword) for place in places)
    for changed in zip(*ways, strict=False):
        (kind,) = changed[0].kinds
        headers = (one.header for one in changed)
        yield Damage(changed[0].change, kind, dict(zip(places, headers, strict=True)))


@checks("a damaged header gives a value or one clear error that names the file")
def check_headers(case: CameraCase) -> Iterator[Fault]:
    """Every card of a written file changed, one at a time."""
    for damage in damages(case.files.outlines[0]):
        found = _surveyed(case, 0, damage)
        if isinstance(found, Fault):
            yield attrs.evolve(found, example=f"{damage.change}: {found.example}")


@checks("what a header does not say is unknown, never a default that nobody sees")
def check_silent_defaults(case: CameraCase) -> Iterator[Fault]:
    """Values that two files with nothing in common agree on once a card is gone."""
    outlines = case.files.outlines
    plain = tuple(survey(case, outline, {}) for outline in outlines)
    if not all(isinstance(visits, tuple) for visits in plain):
        raise NotApplicable("the files that its own writer makes cannot be read: see the round trip")
    for both in zip(*(damages(outline) for outline in outlines), strict=False):
        if both[0].change != both[1].change or both[0].kind not in _GONE:
            continue
        found = [_surveyed(case, number, one) for number, one in enumerate(both)]
        if all(isinstance(visits, tuple) for visits in found):
            yield from _defaults(both[0].change, plain, found)


def _surveyed(case: CameraCase, number: int, damage: Damage) -> tuple[VisitInfo, ...] | Fault | None:
    """As `survey`, of one of the two written files, once for all checks."""
    known, key = case.files.known, (number, damage.change)
    if key not in known:
        known[key] = survey(case, case.files.outlines[number], damage.headers)
    found: tuple[VisitInfo, ...] | Fault | None = known[key]
    return found


def _defaults(change: str, plain: Any, found: Any) -> Iterator[Fault]:
    """Values of a visit that are the same in both files though nothing in the files is."""
    for field in attrs.fields(VisitInfo):
        (before, also_before), (after, also_after) = (
            [getattr(visits[0], field.name) for visits in pair] for pair in (plain, found)
        )
        is_known = after not in _UNKNOWN and not (isinstance(after, float) and math.isnan(after))
        if not is_known or same_value(before, after) or same_value(before, also_before):
            continue
        if same_value(after, also_after) or _is_elsewhen(before, after):
            yield Fault(
                f"a silent default: {field.name} becomes {shown(after)!r} when its card is missing",
                f"{change}: {field.name} is {shown(after)!r}, and it was {shown(before)!r}",
                "leave what a header does not say unknown: NaN for numbers, '' for texts, None for the date "
                "(read_number, read_text of visit_from_header do)",
            )


def _is_elsewhen(before: Any, after: Any) -> bool:
    """Whether a date is far from the one that the file states."""
    return hasattr(before, "isot") and abs((after - before).to_value("day")) > _DAYS


def survey(
    case: CameraCase, outline: Outline, changed: Mapping[int, Header], first_only: bool = False
) -> tuple[VisitInfo, ...] | Fault | None:
    """The visits that the reader finds in a file with these headers; a fault when it breaks.

    None for a file that is refused with a clear error. ``first_only`` looks at the first detector, fast.
    """
    path = case.files.new()
    outline.write(path, changed)
    with quiet() as asked:
        found = _outcome(case, path, first_only)
    path.unlink()
    return _networked(asked[0]) if asked else found


def _outcome(case: CameraCase, path: Path, first_only: bool) -> tuple[VisitInfo, ...] | Fault | None:
    """What the reader makes of a file; see `survey`."""
    try:
        return _visits(case, path, first_only) or _nothing()
    except (RawError, RegistryError) as fault:
        return None if path.name in str(fault) else _nameless(fault)
    except Exception as fault:  # whatever a reader lets through
        return _crash(fault)


def _visits(case: CameraCase, path: Path, first_only: bool) -> tuple[VisitInfo, ...]:
    """The visits of all detectors in a file, or of the first."""
    if first_only:
        return (case.alone.list_raw(path).visit,)
    return tuple(exposure.visit for exposure in case.alone.survey_raw(path))


def _nothing() -> Fault:
    """A reader that says neither what a file is nor what is wrong with it."""
    return Fault(
        "it swallows an error: a damaged header gives no exposure and no error",
        "0 exposures",
        "raise RawError that names the file and what is wrong with it, or return None for files of others",
    )


def _networked(host: str) -> Fault:
    """A reader that looks elsewhere for what a header lacks."""
    return Fault(
        "the reader asks the network for what a damaged header lacks",
        f"it looks for {host}",
        "read from the file alone, and leave the rest unknown",
    )


@contextmanager
def quiet() -> Iterator[list[str]]:
    """No warnings, no log and no network; yields a list of the hosts that were asked for."""
    asked: list[str] = []

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        asked.append(str(host))
        raise OSError(f"the conformance kit lets nobody look for {host}")

    found, level = socket.getaddrinfo, logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        socket.getaddrinfo = refuse
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield asked
    finally:
        socket.getaddrinfo = found
        logging.disable(level)


def _nameless(fault: Exception) -> Fault:
    """An error that does not say which file it is about."""
    return Fault(
        "an error about a damaged header does not name the file",
        f"{type(fault).__name__}: {fault}",
        "begin messages with the file: f'{source.path}: ...'",
    )


def _crash(fault: Exception) -> Fault:
    """An exception that says nothing to whoever has the file."""
    return Fault(
        f"the reader crashes with {type(fault).__name__} on a damaged header",
        f"{type(fault).__name__}: {fault}",
        "use header.get(...), or raise RawError that names the file, the card and what to do",
    )
