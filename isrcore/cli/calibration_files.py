"""Calibration files given on the command line: which one belongs to which detector."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from isrcore.cli.faults import CommandError
from isrcore.exposure import Exposure
from isrcore.fits import read_exposure, survey_exposure
from isrcore.fits_columns import unescape
from isrcore.fits_parts import read_parts
from isrcore.paths import matches
from isrcore.raw import RawError, RawSource
from isrcore.registry import Registry

_PRODUCTS = ("*.fits", "*.fits.fz")


@attrs.frozen
class Product:
    """A file and what its header says it is."""

    path: Path
    detector: str
    kind: str
    is_ours: bool = False

    @classmethod
    def look_at(cls, path: Path) -> Product:
        """Read the headers only, once while the file stays as it is."""
        try:
            state = path.stat()
        except OSError:
            return cls(path, "", "")
        return _look_at(path, state.st_mtime_ns, state.st_size)


@cache
def _look_at(path: Path, *state: int) -> Product:
    """What a file says; one that says nothing belongs to no detector by name."""
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")
            parts = read_parts(stream)
            primary = next(parts).header
            detector = next(part.header["DETNAME"] for part in parts if part.name == "ISR_DETECTOR")
            return Product(path, unescape(detector), str(primary.get("ISROTYPE", "")), is_ours=True)
    except (OSError, EOFError, LookupError, TypeError, ValueError, StopIteration):
        return Product(path, "", "")


@attrs.frozen
class FileKind:
    """What is known of files with calibrations of one kind.

    Those with frames say in their headers that they are of one of ``types``; a ``table`` is named after its
    detector. ``may_repeat`` allows several files of one detector.
    """

    name: str
    types: frozenset[str]
    is_table: bool = False
    may_repeat: bool = False

    @classmethod
    def of(cls, name: str, registry: Registry) -> FileKind:
        """What the steps that read the kind say."""
        return cls(name, registry.datasets(name), name in registry.readers, name in registry.several)


@attrs.frozen
class CalibrationFiles:
    """The files given for one kind of calibration."""

    kind: FileKind
    products: tuple[Product, ...]
    is_single: bool = False
    _kept: dict[str, Any] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    @classmethod
    def find(cls, kind: FileKind, texts: Iterable[str]) -> CalibrationFiles:
        """The files that paths, folders and patterns stand for; files of tables are named by detector.

        Raises `CommandError` listing what is not there and what is there twice for one detector.
        """
        texts = list(texts)
        paths = {path: text for text in texts for path in matches(text)}
        problems = [f"nothing matches {text!r}" for text in texts if not matches(text)]
        products: list[Product] = []
        for path, text in paths.items():
            if path.is_dir():
                inside = _inside(kind, path)
                products += inside
                problems += [] if inside else [f"folder {text!r} holds no {kind.name}"]
            elif path.is_file():
                products.append(_described(kind, path))
            else:
                problems.append(f"{text!r} does not exist")
        problems += [] if kind.may_repeat else _repeated(products)
        if problems:
            raise CommandError(f"--{kind.name} cannot be used", problems)
        is_single = len(paths) == 1 and not next(iter(paths)).is_dir()
        return cls(kind, tuple(products), is_single)

    def load(self, detector: str, registry: Registry) -> Any:
        """The calibration for a detector. Raises as `paths_of`, `FitsError`, RawError or what readers raise.

        A product of isrcore, a table that a step reads, or a file in a format that the plugin of a camera
        knows, which may hold all its detectors. A list where several files are of the detector.
        """
        return self._read_all(detector, lambda path: self._load_one(path, detector, registry))

    def survey(self, detector: str, registry: Registry) -> Any:
        """As `load`, with zeros for the pixels of products: what their headers say is enough for planning."""
        ours = {product.path for product in self.products if product.is_ours}
        return self._read_all(
            detector,
            lambda path: survey_exposure(path) if path in ours else self._load_one(path, detector, registry),
        )

    def _read_all(self, detector: str, read: Callable[[Path], Any]) -> Any:
        """What the files of a detector hold: one thing, or a list."""
        found = [read(path) for path in self.paths_of(detector)]
        return found[0] if len(found) == 1 else found

    def _load_one(self, path: Path, detector: str, registry: Registry) -> Any:
        """What one file holds for a detector."""
        place = f"{detector} in {path}"
        if place not in self._kept:
            found = self._of_camera(path, detector, registry)
            if found is None:
                reader = registry.readers.get(self.kind.name)
                found = read_exposure(path) if reader is None else reader(path, detector)
            if isinstance(found, Exposure):
                return found
            # Small, and slow to read from a compressed file: kept for the run that follows the plan.
            self._kept[place] = found
        return self._kept[place]

    def _of_camera(self, path: Path, detector: str, registry: Registry) -> Any | None:
        """What a camera's plugin reads from the file; None when none knows it."""
        if any(product.path == path and product.is_ours for product in self.products):
            return None
        source = _source_of(path)
        return None if source is None else registry.read_calibration(source, self.kind.name, detector)

    def paths_of(self, detector: str) -> tuple[Path, ...]:
        """The files for a detector, in order of what was given: one, unless the kind allows several.

        A single file is taken whatever it says, so that what is wrong with it is told by those who check it.
        So are files that say nothing, where several are allowed: an observatory's own, for all detectors.
        Raises LookupError when several files are given and none is of the detector.
        """
        anybodys = {detector.lower(), ""} if self.kind.may_repeat else {detector.lower()}
        fitting = [product for product in self.products if product.detector.lower() in anybodys]
        fitting = list(self.products) if self.is_single else fitting
        if not fitting:
            theirs = sorted({product.detector or f"unknown ({product.path})" for product in self.products})
            raise LookupError(
                f"no {self.kind.name} of detector {detector!r} was given, only of {', '.join(theirs)}"
            )
        return tuple(product.path for product in fitting)


@cache
def _source_of(path: Path) -> RawSource | None:
    """The file by its headers, read once; None when it is no FITS file, of which its reader will tell."""
    try:
        return RawSource.open(path)
    except RawError:
        return None


def _inside(kind: FileKind, folder: Path) -> list[Product]:
    """The files of a folder that are of this kind."""
    if kind.is_table:
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
        return [_described(kind, path) for path in files]
    files = sorted(path for pattern in _PRODUCTS for path in folder.glob(pattern))
    return [product for product in map(Product.look_at, files) if product.kind in kind.types]


def _described(kind: FileKind, path: Path) -> Product:
    """A file; tables are told apart by their names."""
    return Product(path, path.name.split(".")[0], kind.name) if kind.is_table else Product.look_at(path)


def _repeated(products: list[Product]) -> list[str]:
    """Detectors with more than one file."""
    owners: dict[str, list[str]] = {}
    for product in products:
        owners.setdefault(product.detector.lower(), []).append(str(product.path))
    return [
        f"{len(paths)} files are of detector {name or 'unknown'!r}: {', '.join(paths)}; give one of them"
        for name, paths in owners.items()
        if len(paths) > 1
    ]
