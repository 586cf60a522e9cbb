"""How fast raw files are ingested, against plain astropy reading the same headers in the same run.

``python -m pytest tests/benchmarks/bench_ingest.py -s`` (2,000 files of 40 extensions; another number
with ISRCORE_BENCH_FILES). Files are synthetic: as many cards as MegaCam's have, images of a few pixels.
"""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from astropy.io import fits

from isrcore import Registry, hookimpl, read_sections
from isrcore_repository.ingest import ingest
from isrcore_repository.making import make_repository
from isrcore_repository.repository import EmbeddedRepository
from tests.small_camera import CAMERA as SMALL

FILES = int(os.environ.get("ISRCORE_BENCH_FILES", "2000"))
EXTENSIONS = 40
PRIMARY_CARDS, EXTENSION_CARDS = 150, 100

CAMERA = attrs.evolve(
    SMALL,
    detectors=tuple(attrs.evolve(SMALL.detectors[0], name=f"ccd{n:02}", id=n) for n in range(EXTENSIONS)),
)


@hookimpl
def isr_cameras():
    return [CAMERA]


@hookimpl
def isr_read_raw(source, detectors):
    return read_sections(CAMERA, source, detectors)


REGISTRY = Registry({"wide": SimpleNamespace(isr_cameras=isr_cameras, isr_read_raw=isr_read_raw)})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files that differ in their number alone."""
    folder = tmp_path_factory.mktemp("wide")
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update({"EXPNUM": 1000000, "EXPTIME": 10.0, "OBSTYPE": "OBJECT", "FILTER": "r"})
    hdus[0].header["DATE-OBS"] = "2022-01-02T03:04:05"
    for number in range(PRIMARY_CARDS):
        hdus[0].header[f"PRIM{number}"] = (number * 1.25, "a comment of some length")
    for number in range(EXTENSIONS):
        image = fits.ImageHDU(np.zeros((4, 6), np.uint16))
        for card in range(EXTENSION_CARDS):
            image.header[f"CARD{card}"] = (card * 1.25, "a comment of some length")
        image.header["EXTNAME"] = f"ccd{number:02}"
        hdus.append(image)
    hdus.writeto(folder / "first.fits")
    content = (folder / "first.fits").read_bytes()
    for number in range(FILES):
        changed = content.replace(b"             1000000", f"{1000001 + number:20}".encode(), 1)
        (folder / f"{number:05}.fits").write_bytes(changed)
    (folder / "first.fits").unlink()
    return sorted(folder.glob("*.fits"))


def read_plainly(path):
    """All headers of a file, as anybody would read them."""
    with fits.open(path) as hdus:
        return [hdu.header for hdu in hdus]


def test_ingesting_is_at_least_a_third_as_fast_as_reading_headers(files, tmp_path):
    make_repository(tmp_path / "repository", "small")
    repository = EmbeddedRepository.open(tmp_path / "repository", REGISTRY)
    # In turns, so that whatever else the machine does falls on both.
    plain = ours = 0.0
    for start in range(0, len(files), 100):
        some = files[start : start + 100]
        begun = time.perf_counter()
        for path in some:
            read_plainly(path)
        middle = time.perf_counter()
        report = ingest(repository, some)
        plain, ours = plain + middle - begun, ours + time.perf_counter() - middle
        assert len(report.added) == len(some)
    print(f"\nplain astropy {len(files) / plain:.1f} files/s, ingest {len(files) / ours:.1f} files/s")
    assert plain / ours > 1 / 3
