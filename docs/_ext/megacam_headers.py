"""The table of real MegaCam headers in ``docs/reference/megacam.md``, made from text files of headers.

``python docs/_ext/megacam_headers.py FOLDER`` puts it into the page anew; FOLDER holds files
``NAME.fits.header.gz``, the header cards of every HDU as text, one card a line. What the table says goes
through the same code as a file with pixels.
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io.fits import Header

import isrcore_cfht
from isrcore import Calibrations, Detector, Exposure, MaskedImage, RawSource
from isrcore.raw import Extension

PAGE = Path(__file__).parents[1] / "reference" / "megacam.md"
_PLACE = re.compile(r"(?<=<!-- megacam headers -->\n).*(?=<!-- end -->)", re.DOTALL)
_SUFFIX = ".fits.header.gz"
_HEAD = (
    "file", "CCDs", "type", "filter", "exposure s", "dark s", "middle, UTC", "gain e-/adu", "read noise e-",
    "done before",
)  # fmt: skip


def read_headers(path: Path) -> list[Header]:
    """The headers of one text file, primary first; a last one without END counts too."""
    headers: list[list[str]] = [[]]
    for line in gzip.decompress(path.read_bytes()).decode("ascii", "replace").splitlines():
        if line.rstrip() == "END":
            headers.append([])
        elif line.strip() and not line.startswith("# HDU"):
            headers[-1].append(f"{line:80.80}")
    return [Header.fromstring("".join(cards)) for cards in headers if cards]


def source_of(path: Path) -> RawSource:
    """The file that the headers are of, without pixels."""
    extensions = (_extension(index, header) for index, header in enumerate(read_headers(path)))
    return RawSource(Path(path.name.removesuffix(".header.gz")), tuple(extensions), has_pixels=False)


def _extension(index: int, header: Header) -> Extension:
    """An HDU; a compressed image as the image."""
    prefix = "Z" if header.get("ZIMAGE") else ""
    names = [str(card.value).strip() for card in header.cards if card.keyword == "EXTNAME"]
    own = [name for name in names if name != "COMPRESSED_IMAGE"]
    shape = tuple(header[f"{prefix}NAXIS{axis}"] for axis in range(header[f"{prefix}NAXIS"], 0, -1))
    image = header.copy()
    if prefix:
        image["BITPIX"] = header["ZBITPIX"]
    return Extension(index, own[-1] if own else "", image, shape)


def row(path: Path) -> tuple[str, ...]:
    """What the table says of one file."""
    source = source_of(path)
    joined = isrcore_cfht.by_ccd(source)
    amplifiers = [amp for item in joined.images for amp in detector_of(item).amplifiers]
    visit = isrcore_cfht.read_visit(joined.images[0].header)
    return (
        f"`{source.path.name.removesuffix('.fits')}`",
        str(len(joined.images)),
        visit.observation_type,
        visit.filter,
        f"{visit.exposure_s:g}",
        f"{visit.dark_s:g}",
        visit.date.isot if visit.date else "not stated",
        _range(amp.gain for amp in amplifiers),
        _range(amp.read_noise for amp in amplifiers),
        _done(source, joined),
    )


def detector_of(extension: Extension) -> Detector:
    """The CCD of an extension with the levels that the header states."""
    pixels = MaskedImage.from_raw(np.zeros((1, 1), np.uint16))
    exposure = Exposure(pixels, isrcore_cfht.CAMERA[extension.name], header=extension.header)
    isrcore_cfht.MegaCamLevels(name="levels").run(exposure, Calibrations())
    return exposure.detector


def _done(source: RawSource, joined: RawSource) -> str:
    """What was made of the pixels before."""
    header = joined.images[0].header
    kind = isrcore_cfht.master_kind(header)
    made = [f"master {kind}"] if kind else []
    made += sorted(isrcore_cfht.given_facts(header))
    if len(joined.images) < len(source.images):
        made.append("one extension per amplifier")
    return ", ".join(made) or "nothing"


def _range(values: Iterable[float]) -> str:
    """Lowest and highest value."""
    found = list(values)
    return f"{min(found):.4g} to {max(found):.4g}"


def table(folder: Path) -> str:
    """The table of all headers in a folder, by name."""
    paths = sorted(folder.glob(f"*{_SUFFIX}"))
    lines = [_HEAD, ("---",) * len(_HEAD), *(row(path) for path in paths)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def page_with(folder: Path) -> str:
    """The page with the table of a folder. Raises ValueError when the page has no place for it."""
    text, count = _PLACE.subn(lambda _: table(folder), PAGE.read_text())
    if count != 1:
        raise ValueError(f"{PAGE.name} has {count} places for the table; mark one")
    return text


if __name__ == "__main__":
    PAGE.write_text(page_with(Path(sys.argv[1])))
