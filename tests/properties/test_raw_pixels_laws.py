"""Law: pixels of raw files are those astropy finds in the whole file, however the file stores them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isrcore.raw import RawSource
from tests.properties.test_raw_header_laws import CONTINUED, HIERARCH, NAMED, REMARKS

SHAPE = (5, 7)

#: Cards that look like those of storage, in remarks and in names that begin in the same way.
DECEPTIVE = st.sampled_from(
    [
        ("COMMENT", "END", ""),
        ("HISTORY", "BZERO   = 5", ""),
        ("BLANKING", 1, ""),
        ("ZENITH", 3.5, ""),
        ("TEL1", "x", ""),
    ]
)

#: What `fits.CompImageHDU` is told, None for an image that is not compressed.
COMPRESSIONS: list[dict[str, Any] | None] = [
    None,
    {"compression_type": "RICE_1", "quantize_level": 0.0},
    {"compression_type": "RICE_1", "tile_shape": (2, 7)},
    {"compression_type": "GZIP_1", "quantize_level": 0.0},
    {"compression_type": "GZIP_2", "tile_shape": (5, 7)},
]


def images() -> st.SearchStrategy[npt.NDArray[Any]]:
    """Counts in any of the ways in which FITS stores them, and floats."""
    counts = st.sampled_from([np.uint16, np.uint8, ">i2", np.int32])
    integers = counts.flatmap(
        lambda kind: arrays.arrays(kind, SHAPE, elements=st.integers(0, np.iinfo(kind).max % (1 << 16)))
    )
    return integers | arrays.arrays(np.float32, SHAPE, elements=st.floats(-1e4, 1e5, width=32))


def make_hdu(
    image: npt.NDArray[Any], cards: list[tuple[str, Any, str]], options: dict[str, Any] | None
) -> Any:
    """An extension with an image."""
    header = fits.Header([fits.Card(*card) for card in cards])
    if options is None or (image.dtype.kind == "f" and options["compression_type"] == "RICE_1"):
        return fits.ImageHDU(image, header)
    return fits.CompImageHDU(image, header, **options)


@given(
    st.lists(st.tuples(images(), st.sampled_from(COMPRESSIONS)), min_size=1, max_size=3),
    st.lists(NAMED | CONTINUED | HIERARCH | REMARKS | DECEPTIVE, max_size=60),
    st.booleans(),
)
def test_pixels_are_those_that_astropy_finds(
    tmp_path_factory: pytest.TempPathFactory,
    stored: list[tuple[npt.NDArray[Any], dict[str, Any] | None]],
    cards: list[tuple[str, Any, str]],
    is_first: bool,
) -> None:
    path = tmp_path_factory.mktemp("raw") / "raw.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        write(path, [make_hdu(image, cards, options) for image, options in stored], is_first)
        with fits.open(path) as hdus:
            wanted = [np.array(hdu.data) for hdu in hdus if hdu.is_image and hdu.data is not None]
    source = RawSource.open(path)
    found = [source.read(extension) for extension in source.images]
    assert len(found) == len(wanted)
    for pixels, known in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(pixels, known)
        assert pixels.dtype == (np.float32 if known.dtype.kind == "f" else np.uint16)


def write(path: Path, hdus: list[Any], is_first: bool) -> None:
    """Write a file whose primary HDU is empty, or has the first image if it can have one."""
    first = hdus[0]
    if is_first and isinstance(first, fits.ImageHDU):
        hdus[0] = fits.PrimaryHDU(first.data, first.header)
    else:
        hdus.insert(0, fits.PrimaryHDU())
    fits.HDUList(hdus).writeto(path)


@pytest.mark.parametrize("scale", [1, 2])
def test_example_numbers_that_are_scaled(tmp_path: Path, scale: int) -> None:
    image = fits.ImageHDU(np.arange(6, dtype=np.int16).reshape(2, 3))
    image.header["BSCALE"], image.header["BZERO"] = scale, 1 << 15
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "raw.fits")
    source = RawSource.open(tmp_path / "raw.fits")
    pixels = source.read(source.images[0])
    assert pixels.dtype == (np.uint16 if scale == 1 else np.float32)
    np.testing.assert_array_equal(pixels, scale * np.arange(6).reshape(2, 3) + (1 << 15))


def test_example_a_gap_before_the_compressed_bytes(tmp_path: Path) -> None:
    known = np.arange(35, dtype=np.int16).reshape(SHAPE)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(known)]).writeto(tmp_path / "packed.fits")
    with (tmp_path / "packed.fits").open("rb") as stream:
        primary, header = stream.read(2880), fits.Header.fromfile(stream)
        rows, heap = stream.read(header["NAXIS1"] * header["NAXIS2"]), stream.read(header["PCOUNT"])
    gap = 11
    header["PCOUNT"], header["THEAP"] = len(heap) + gap, len(rows) + gap
    content = rows + bytes(gap) + heap
    (tmp_path / "raw.fits").write_bytes(
        primary + header.tostring().encode() + content + bytes(-len(content) % 2880)
    )
    source = RawSource.open(tmp_path / "raw.fits")
    np.testing.assert_array_equal(source.read(source.images[0]), known)
