"""What a product says of its own making: what went in, what was set, and what became of the inputs."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import attrs

from isrcore.fits import FitsError, read_config, read_exposure, read_provenance
from isrcore.paths import sha256_of

#: How the entries begin that say who set a value of the configuration.
SETTING = "setting "

#: The entry by which a product is known again.
FINGERPRINT = "fingerprint"

#: The entry with the command line, without files, that makes a product of several raw files again.
COMMAND = "command"
#: The kind of input that a camera file is.
CAMERA = "camera"

_NUMBERED = re.compile(r"input(?: \d+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHIPPED = "ships with "
_BETWEEN = ", "

AS_IT_WAS, CHANGED, GONE, UNKNOWN, SHIPPED = "as it was", "changed", "gone", "not compared", "shipped"


@attrs.frozen
class Input:
    """One thing that went into a product: its ``kind`` (raw, bias ...), its path and digest as recorded."""

    kind: str
    path: str
    digest: str = ""

    @property
    def is_shipped(self) -> bool:
        """Whether it came with the camera's plugin instead of a file."""
        return self.path.startswith(_SHIPPED)

    def find(self, product: Path, folders: Sequence[Path] = ()) -> Located:
        """Where the file is: as recorded, from the product's folder or one above, or in ``folders``.

        There it is looked for by its name, then by its digest. Of several it is the first that is as it was.
        Files are read whole for their digests: ask once.
        """
        if self.is_shipped:
            return Located(None, SHIPPED)
        known = Path(self.path)
        places = [known, *(folder / known for folder in product.absolute().parents)]
        there = [place for place in places if place.is_file()]
        inside = sorted(found for folder in folders for found in folder.rglob("*") if found.is_file())
        there += [found for found in inside if found.name == known.name]
        # Files in the folders may have other names.
        candidates = [*there, *(found for found in inside if found.name != known.name)] if self.digest else []
        same = next((place for place in dict.fromkeys(candidates) if self._matches(place)), None)
        if same is not None:
            return Located(same, AS_IT_WAS)
        if not there:
            return Located(None, GONE)
        return Located(there[0], CHANGED if self.digest else UNKNOWN)

    def _matches(self, path: Path) -> bool:
        """Whether a file has the digest: of its bytes, or of the pixels of a product."""
        try:
            return digest_like(self.digest, path) == self.digest
        except (OSError, FitsError):
            return False


@attrs.frozen
class Located:
    """The file of an input, None when it is gone or was none, and what became of it.

    That is: as it was, changed, gone, shipped, or not compared when no digest was recorded.
    """

    path: Path | None
    state: str


@attrs.frozen
class Origins:
    """How the product ``path`` was made.

    ``notes`` is all else that its maker recorded, by name; ``settings`` the values of the configuration that
    are no defaults, each with who set it; ``config`` the whole configuration by dotted names. ``command`` are
    the words that make it again from several raw files, none for a product of `isr run`.
    """

    path: Path
    version: str
    inputs: tuple[Input, ...]
    notes: Mapping[str, str]
    settings: Mapping[str, str]
    config: Mapping[str, Any]
    command: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Origins:
        """From a product or master of isrcore. Raises `FitsError` for another file."""
        told = read_provenance(path)
        inputs = tuple(_inputs(told))
        used = {"isrcore", FINGERPRINT, COMMAND}.union(*({one.kind, f"{one.kind} digest"} for one in inputs))
        notes = {
            name: text
            for name, text in told.items()
            if name not in used and not name.startswith((SETTING, "input"))
        }
        settings = {
            name.removeprefix(SETTING): text for name, text in told.items() if name.startswith(SETTING)
        }
        config = dict(flatten(tomllib.loads(read_config(path))))
        command = tuple(shlex.split(told.get(COMMAND, "")))
        return cls(path, told.get("isrcore", ""), inputs, notes, settings, config, command)


def _inputs(told: Mapping[str, str]) -> Iterator[Input]:
    """Raw files first, then calibrations by kind, each file by itself."""
    for name, path in told.items():
        if _NUMBERED.fullmatch(name):
            yield Input("raw", path, told.get(f"{name} sha256", ""))
    for name, paths in told.items():
        is_calibration = f"{name} digest" in told or paths.startswith(_SHIPPED)
        if is_calibration or (name in ("bias", "dark", "flat") and "input 1" in told):
            digests = told.get(f"{name} digest", "").split(_BETWEEN)
            for path, digest in zip_longest(paths.split(_BETWEEN), digests, fillvalue=""):
                yield Input(name, path, digest)


def shipped_with(camera: str) -> str:
    """What is recorded instead of a path for what comes with a camera's plugin."""
    return f"{_SHIPPED}camera {camera!r}"


def flatten(table: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables, by dotted names."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{place}{name}.")
        else:
            yield place + name, value


def digest_like(digest: str, path: Path) -> str:
    """The digest of a file, of the same sort as one that was recorded. Raises OSError, `FitsError`."""
    if digest and not _SHA256.fullmatch(digest):
        return read_exposure(path).digest
    return sha256_of(path)


def differing(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Names whose values differ, with both values; None for what is not there."""
    names: Iterable[str] = [*one, *(name for name in two if name not in one)]
    # NaN is the same NaN.
    return [
        (name, one.get(name), two.get(name)) for name in names if repr(one.get(name)) != repr(two.get(name))
    ]
