"""How the checks of the conformance kit say what is wrong: all of it, each with an example and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Protocol, TypeVar

import attrs


@attrs.frozen
class Fault:
    """One breach of a promise: what is wrong, the smallest example that was found, and what to change."""

    what: str
    example: str
    change: str

    def __str__(self) -> str:
        """An item of a list, with example and change below it."""
        lines = self.what, f"  example: {self.example}", f"  change:  {self.change}"
        first, *others = (line.replace("\n", "\n" + 6 * " ") for line in lines)
        return "\n    ".join([f"  - {first}", *others])


class NotApplicable(Exception):
    """A check has nothing to look at; the message says what it would need."""


class Refuted(AssertionError):
    """A generated example for which a promise does not hold."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Subject(Protocol):
    """What is checked."""

    @property
    def label(self) -> str:
        """How messages name it."""
        ...


S = TypeVar("S", bound=Subject)


def checks(promise: str) -> Callable[[Callable[[S], Iterator[Fault]]], Callable[[S], None]]:
    """Make a check of a function that finds faults: it raises AssertionError listing every one.

    What breaks while faults are looked for is a fault too, with the exception that was raised as the cause.
    """

    def decorate(find: Callable[[S], Iterator[Fault]]) -> Callable[[S], None]:
        @wraps(find)
        def check(subject: S) -> None:
            found: list[Fault] = []
            cause = _collect(find(subject), found)
            if found:
                raise AssertionError(describe(subject.label, promise, found)) from cause

        return check

    return decorate


def _collect(faults: Iterator[Fault], found: list[Fault]) -> Exception | None:
    """Gather faults; what stopped the search becomes one and is returned."""
    try:
        found.extend(faults)
    except NotApplicable:
        # Said of the whole check, not of what is left of it.
        if not found:
            raise
    except Refuted as refuted:
        found.append(refuted.fault)
    except Exception as fault:  # whatever a plugin raises
        found.append(unexpected(fault))
        return fault
    return None


def unexpected(fault: Exception) -> Fault:
    """An exception nobody asked for."""
    return Fault(
        f"{type(fault).__name__} stops the check: {fault}",
        "see the traceback above this message",
        "let the code at the end of that traceback return what was asked for, or mend what it complains of",
    )


def describe(label: str, promise: str, faults: Iterable[Fault]) -> str:
    """The message of a check that failed."""
    return "\n".join([f"{label} breaks a promise: {promise}", *map(str, faults)])
