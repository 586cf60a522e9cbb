"""What a calibration is good for, beside it in a file of its own: it outlives the registry.

A certificate is TOML, ``calib/bias/2020-01-01_sim0.fits.toml``. It names the content of the calibration by
its SHA-256, so that it never speaks for another file of the same name.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import attrs
from astropy.time import Time

from isrcore import (
    FitsError,
    FolderRepository,
    RepositoryError,
    VisitInfo,
    sha256_of,
    survey_exposure,
)
from isrcore_repository import layout
from isrcore_repository.copying import copy_whole
from isrcore_repository.tables import CalibrationRow, as_text

#: What the name of a certificate ends in, after the name of its calibration.
ENDING = ".toml"

#: Kinds that depend on the filter of the light; the filter that a bias was taken through says nothing.
BY_FILTER = frozenset({"flat", "fringe", "fringes", "illumination", "illumMaskedImage", "filterTransmission"})

_NUMBERS = ("exposure_s", "dark_s")
_REMEDY = "isr certify REPO FILE --from DATE --to DATE"


def certify(root: Path, path: Path, first: Time | None, last: Time | None, **about: str) -> CalibrationRow:
    """Write the certificate of a file below ``root``; its row for the registry.

    Raises `RepositoryError` when the file does not say what it is and ``about`` (kind, detector, filter)
    does not either, or when the range of validity is empty.
    """
    if first is not None and last is not None and not first < last:
        raise RepositoryError(
            f"{str(path)!r} would be valid from {first.isot} to {last.isot}, that is never; swap"
        )
    kind, detector, visit = _described(path, about)
    row = CalibrationRow(
        path=str(path.relative_to(root)),
        kind=kind,
        detector=detector,
        filter=about.get("filter", visit.filter if kind in BY_FILTER else ""),
        first=as_text(first) or None,
        last=as_text(last) or None,
        middle=as_text(visit.date) or _middle(first, last),
        exposure_s=_number(visit.exposure_s),
        dark_s=_number(visit.dark_s),
        made=as_text(Time.now()),
        size=path.stat().st_size,
        sha256=sha256_of(path),
        identity=about.get("identity", ""),
    )
    if not row.identity and is_certified(root, path):
        # Another validity does not change what a master was made of.
        row = attrs.evolve(row, identity=read_certificate(root, path).identity)
    stored = {name: "" if value is None else str(value) for name, value in attrs.asdict(row).items()}
    del stored["path"]
    FolderRepository(root).put(stored, row.path)
    return row


def _middle(first: Time | None, last: Time | None) -> str | None:
    """The middle of a range, for tables, which do not say when their frames are of."""
    return None if first is None or last is None else as_text(first + (last - first) / 2)


def adopt(root: Path, path: Path, **about: str) -> Path:
    """A copy of a calibration file, in a folder of its kind. Raises `RepositoryError` when one is there."""
    kind = _described(path, about)[0]
    place = root / layout.CALIB / layout.safe(kind) / path.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists() and sha256_of(place) != sha256_of(path):
        raise RepositoryError(f"{str(place)!r} is there already, and another file; rename {str(path)!r}")
    if not place.exists():
        copy_whole(path, place)
    return place


def read_certificate(root: Path, path: Path) -> CalibrationRow:
    """The row of a calibration that has a certificate. Raises `RepositoryError` when it has none of its own.

    The content is compared, not the name alone.
    """
    name = str(path.relative_to(root))
    try:
        stored = tomllib.loads(path.with_name(path.name + ENDING).read_text(encoding="utf-8"))
        dates: dict[str, Any] = {key: stored[key] or None for key in ("first", "last", "middle")}
        numbers: dict[str, Any] = {key: float(stored[key]) if stored[key] else None for key in _NUMBERS}
        texts = {key: stored[key] for key in ("kind", "detector", "filter", "made", "sha256", "identity")}
        row = CalibrationRow(path=name, size=int(stored["size"]), **dates, **numbers, **texts)
    except FileNotFoundError as fault:
        raise RepositoryError(f"{name} has no certificate: {_REMEDY}") from fault
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise RepositoryError(f"{name}{ENDING} cannot be read ({fault!r}): {_REMEDY}") from fault
    if path.stat().st_size != row.size or sha256_of(path) != row.sha256:
        raise RepositoryError(f"{name} is not the file that was certified: {_REMEDY}")
    return row


def is_certified(root: Path, path: Path) -> bool:
    """Whether a calibration has a certificate, and is the file that was certified."""
    try:
        read_certificate(root, path)
    except RepositoryError:
        return False
    return True


def _described(path: Path, about: dict[str, str]) -> tuple[str, str, VisitInfo]:
    """Kind, detector and visit of a calibration: a master's by its header, others' as they are told."""
    kind, detector, visit = about.get("kind", ""), about.get("detector", ""), VisitInfo()
    try:
        master = survey_exposure(path)
        visit = master.visit
        kind, detector = kind or visit.observation_type, detector or master.detector.name
    except FitsError as fault:
        if not path.is_file():
            raise RepositoryError(f"{str(path)!r} does not exist") from fault
        detector = detector or path.name.split(".")[0]
    if not kind:
        raise RepositoryError(f"{str(path)!r} does not say what kind of calibration it is; say --kind")
    return kind, detector, visit


def _number(value: float) -> float | None:
    """A number, None for one that is not known."""
    return None if math.isnan(value) else value
