"""Where things are in a repository's folder; every path says what is in the file.

repository.toml                                    camera and layout
camera/{name}.toml                                 a camera file, where one describes the camera
registry.sqlite3                                   the registry: an index, made anew by `isr rebuild`
raw/{night}/{exposure}.fits                        raw files, linked or copied
calib/{kind}/{night}_{detector}.fits, .toml        calibrations, and what each is good for
imported/{name}.sqlite3                            an older registry; files that it names lie beside it
products/{night}/{exposure}_{detector}.fits        corrected images
records/{dataset}/{key}={value},{key}={value}.toml everything else a task stores
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

MARKER = "repository.toml"
REGISTRY = "registry.sqlite3"
#: The folder of the camera file and the tables it names.
CAMERA = "camera"
RAW, CALIB, PRODUCTS, RECORD = "raw", "calib", "products", "record"

#: Where frames go whose header tells no date.
NO_NIGHT = "unknown-night"

_ENDINGS = (".fits", ".fits.fz", ".fits.gz", ".fit", ".fts")


def ending_of(path: Path) -> str:
    """The ending of a FITS file's name, as it is kept; empty for a file that is none by its name."""
    name = path.name.lower()
    return max((ending for ending in _ENDINGS if name.endswith(ending)), key=len, default="")


def safe(text: object) -> str:
    """A text as part of a file name, from which `plain` makes the text again."""
    return quote(str(text), safe="+:{}").replace(",", "%2C").replace(".", "%2E").replace("~", "%7E")


def plain(word: str) -> str:
    """The text that `safe` made a file name of."""
    return unquote(word)


def raw_name(night: str, exposure: int, detector: str, ending: str) -> str:
    """The path of a raw file; ``detector`` is empty when the file holds all."""
    tail = f"_{safe(detector)}" if detector else ""
    return f"{RAW}/{night or NO_NIGHT}/{exposure}{tail}{ending or '.fits'}"


def calibration_name(kind: str, night: str, detector: str, filters: Collection[str]) -> str:
    """The path, without ending, of a calibration; named by its filter when it is made in one."""
    (one,) = filters if len(filters) == 1 else ("",)
    return "_".join(filter(None, (f"{CALIB}/{safe(kind)}/{night or NO_NIGHT}", safe(one), safe(detector))))


def product_name(night: str, exposure: int, detector: str) -> str:
    """The path, without ending, of a product."""
    return f"{PRODUCTS}/{night or NO_NIGHT}/{exposure}_{safe(detector)}"


def product_id(path: Path) -> dict[str, Any]:
    """The data id that a product's name tells."""
    exposure, _, detector = path.name.removesuffix(ending_of(path)).partition("_")
    return {"exposure": int(exposure), "detector": plain(detector)}


def record_name(dataset: str, data_id: Mapping[str, Any]) -> str:
    """The path, without ending, of a dataset that has no place of its own."""
    return f"{RECORD}/{safe(dataset)}/{as_words(data_id)}"


def as_words(data_id: Mapping[str, Any]) -> str:
    """A data id as part of a file name."""
    return ",".join(f"{safe(key)}={safe(data_id[key])}" for key in sorted(data_id)) or "all"
