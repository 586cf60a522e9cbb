"""What commands ask of a repository that knows its content: frames, calibrations, places for what is made.

A plugin opens one by `isr_open_repository`; ``isr run``, ``isr plan`` and commands of other plugins work on
whatever has these methods.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs
from astropy.time import Time

from isrcore.exposure import VisitInfo
from isrcore.repository import Repository


class RepositoryError(ValueError):
    """A repository that cannot be used so; the message says why and what to do. Nothing has been done."""


@attrs.frozen
class RawFrame:
    """One detector of a raw file in a repository.

    ``night`` is the date of the evening, ``type`` an observation type, ``date`` the middle of the exposure
    (ISO 8601, UTC). ``problem`` says why the file cannot be used, empty when it can.
    """

    path: Path
    exposure: int
    detector: str
    night: str = ""
    type: str = ""
    filter: str = ""
    object_name: str = ""
    exposure_s: float = math.nan
    dark_s: float = math.nan
    date: str = ""
    problem: str = ""


@attrs.frozen
class CalibrationSearch:
    """The calibration that suits an exposure: its file, None when there is none, and what was not taken.

    ``rejected`` are candidates by name, each with the reason; ``reason`` says why the chosen one was, which
    ``is_fallback`` when it is of another filter than the exposure.
    """

    kind: str
    chosen: Path | None = None
    reason: str = ""
    rejected: tuple[tuple[str, str], ...] = ()
    is_fallback: bool = False

    def explain(self) -> str:
        """Every candidate in a line of its own, under one that says what was found."""
        nothing = "the repository has none that suits" if self.rejected else "the repository has none"
        found = f"{self.chosen} ({self.reason})" if self.reason else str(self.chosen)
        lines = (f"  {name}: {why}" for name, why in self.rejected)
        return "\n".join([f"{self.kind}: {found if self.chosen else nothing}", *lines])


@runtime_checkable
class DataRepository(Repository, Protocol):
    """A repository of one camera's raw frames, calibrations and products, which can be searched."""

    @property
    def root(self) -> Path:
        """The folder it is in."""
        ...

    @property
    def camera(self) -> str:
        """The camera's name."""
        ...

    def at(self, **dataId: Any) -> DataRepository:
        """The same repository, about one thing in it: a data reference."""
        ...

    def raw_frames(self, **wanted: Collection[Any]) -> list[RawFrame]:
        """Raw frames in order of exposure and detector; those that have one of the values of every key.

        Keys are ``exposure``, ``detector``, ``night``, ``type`` and ``filter``.
        """
        ...

    def find_calibrations(
        self,
        wanted: Mapping[str, Collection[str]],
        detector: str,
        visit: VisitInfo,
        policy: str = "nearest",
        fallback: str = "",
    ) -> tuple[CalibrationSearch, ...]:
        """The calibrations for a detector of an exposure, in the order of ``wanted``.

        That has the kinds as steps read them, each with what a repository may call it. ``policy`` says which
        of several that are valid: the ``nearest`` in time, the nearest taken ``before`` the exposure, or the
        ``latest`` version. Where none suits, the filter ``fallback`` is tried, and the reason says so.
        """
        ...

    def calibration_path(self, kind: str, detector: str, frames: Collection[RawFrame], ending: str) -> Path:
        """Where a new calibration made from these frames goes; its folder is there.

        For ``detector`` ``{detector}`` a pattern for all of them.
        """
        ...

    def certify(self, path: Path, first: Time | None, last: Time | None, **about: str) -> None:
        """Let a file below the root be found as a calibration for exposures from ``first`` to ``last``.

        None is without limit. ``about`` are ``kind``, ``detector`` and ``filter`` of a file that does not say
        so itself, and ``identity``, which tells what it was made of. Raises `RepositoryError` for a file that
        is none.
        """
        ...

    def identity_of(self, path: Path) -> str:
        """The identity that a calibration was certified with; empty for one that is not, or has changed."""
        ...

    def product_path(self, exposure: int, detector: str, ending: str = ".fits") -> Path:
        """Where the product of an exposure's detector goes; its folder may have to be made."""
        ...

    def add_product(self, path: Path, exposure: int, detector: str) -> None:
        """Let a product that has been written be found."""
        ...
