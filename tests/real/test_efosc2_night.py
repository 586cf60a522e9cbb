"""A real EFOSC2 night through the command line: masters, then science frames, held to measured figures."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from isrcore import Exposure, read_exposure
from isrcore.cli.main import main
from isrcore.fits import read_provenance

DATA = Path(os.environ.get("ISRCORE_TEST_DATA", Path(__file__).parents[2] / "../shared")) / "data/efosc2"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no EFOSC2 frames in {DATA}; set ISRCORE_TEST_DATA"
)
BLOCK = 64
# Away from the corners, where the field is even.
CENTRE = (slice(200, 800), slice(200, 800))
# Variance that remains of a Gaussian clipped at three sigma.
CLIPPED = 0.9733


def frames(kind: str) -> list[str]:
    """Raw files by what their exposure time and header say: bias, flat or science."""
    kinds = {"DARK": "bias", "FLAT,SKY": "flat", "OBJECT": "science", "SKY,FLAT": "flat"}
    found = []
    for path in sorted(DATA.glob("*.fits")):
        header = fits.getheader(path)
        if kinds.get(header["HIERARCH ESO DPR TYPE"]) == kind:
            found.append(str(path))
    return found


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with masters and products; the commands are those a user types."""
    here = tmp_path_factory.mktemp("efosc2")
    bias, flat, out = str(here / "bias.fits"), str(here / "flat.fits"), str(here / "reduced")
    assert main(["calibrate", "bias", *frames("bias"), "-o", bias]) == 0
    assert main(["calibrate", "flat", *frames("flat"), "--bias", bias, "-o", flat]) == 0
    assert main(["run", *frames("science"), "--bias", bias, "--flat", flat, "-o", out]) == 0
    unflat = ["-c", "doFlat=false", "-o", str(here / "unflat")]
    assert main(["run", *frames("science"), "--bias", bias, *unflat]) == 0
    return here


@pytest.fixture(scope="module", params=[0, 1, 2], ids=["first", "second", "third"])
def science(night: Path, request: pytest.FixtureRequest) -> tuple[Exposure, Exposure, Path]:
    """(product, the same without flat, raw file) of one science frame."""
    raw = Path(frames("science")[request.param])
    product, unflat = (next((night / folder).glob(f"{raw.stem}*.fits")) for folder in ("reduced", "unflat"))
    return read_exposure(product), read_exposure(unflat), raw


def stars_of(image: npt.NDArray[np.float32], bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels near anything clearly brighter than the sky, and flagged ones."""
    sky = np.median(image[~bad])
    noise = 1.4826 * np.median(np.abs(image[~bad] - sky))
    return ndimage.binary_dilation(ndimage.gaussian_filter(image, 1.5) > sky + 2 * noise, iterations=5) | bad


def block_scatter(exposure: Exposure) -> float:
    """Scatter of the sky's 64-pixel block medians over their mean; whole blocks, stars and flags left out."""
    image = np.where(stars_of(exposure.image, exposure.mask != 0), np.nan, exposure.image)
    ny, nx = (length // BLOCK for length in image.shape)
    blocks = image[: ny * BLOCK, : nx * BLOCK].reshape(ny, BLOCK, nx, BLOCK).swapaxes(1, 2)
    medians = np.nanmedian(blocks.reshape(ny, nx, -1), axis=2)
    # A block all but covered by a star tells nothing of the sky.
    counts = np.isfinite(blocks).sum(axis=(2, 3))
    medians = medians[counts > 0.2 * BLOCK**2]
    return float(np.std(medians) / np.mean(medians))


def test_masters_say_what_they_were_made_from(night: Path) -> None:
    for name, count in (("bias", 5), ("flat", 3)):
        master = read_exposure(night / f"{name}.fits")
        assert master.shape == (1015, 1021)
        inputs = " ".join(read_provenance(night / f"{name}.fits").values())
        assert all(Path(path).name in inputs for path in frames(name))
        with fits.open(night / f"{name}.fits") as hdus:
            assert hdus["NINPUTS"].data.max() == count
    assert np.mean(master.image[master.mask == 0]) == pytest.approx(1.0, abs=1e-3)


def test_unlit_rows_are_near_zero_after_the_overscan(tmp_path: Path) -> None:
    trimmed_only = ("doWidenSaturationTrails", "doSetBadRegions", "doInterpolate")
    flags = ("doBias", "doFlat", "doDefect", *trimmed_only)
    off = [word for flag in flags for word in ("-c", f"{flag}=false")]
    untrimmed = ["-c", "assembly.doTrim=false", *off, "-o", str(tmp_path)]
    assert main(["run", *frames("science"), *untrimmed]) == 0
    products = sorted(tmp_path.glob("*.fits"))
    assert len(products) == 3
    for path in products:
        # Six rows of read noise 10 adu: their mean is known to 0.13 adu, their structure to about 1.
        assert abs(np.mean(read_exposure(path).image[1024:1030, :1021])) < 1.0


def test_the_flat_evens_out_the_sky(science: tuple[Exposure, Exposure, Path]) -> None:
    product, unflat, _ = science
    assert block_scatter(unflat) > 0.02
    assert block_scatter(product) < 0.0115


def test_the_variance_plane_is_the_scatter_of_the_sky(science: tuple[Exposure, Exposure, Path]) -> None:
    product, _, _ = science
    image, variance = product.image[CENTRE], product.variance[CENTRE]
    usable = ~stars_of(image, product.mask[CENTRE] != 0)
    pairs = usable[1:] & usable[:-1]
    # Neighbours in a column share no amplifier noise (neighbours in a row do, by four per cent).
    difference = (image[1:] - image[:-1])[pairs].astype(np.float64)
    kept = difference
    for _ in range(5):
        kept = difference[np.abs(difference - np.mean(kept)) < 3 * np.std(kept)]
    measured = np.var(kept) / CLIPPED / 2
    assert 0.9 < np.mean(variance[usable]) / measured < 1.1


def test_saturated_pixels_are_flagged(science: tuple[Exposure, Exposure, Path]) -> None:
    product, _, raw = science
    full = fits.getdata(raw)[:1015, :1021] >= 65535
    assert full.any()
    assert product.pixels.flagged("SAT")[full].all()


def test_sky_positions_are_those_of_the_raw_header(
    science: tuple[Exposure, Exposure, Path],
) -> None:
    product, _, raw = science
    corners = np.array([[0.0, 0.0], [1020.0, 0.0], [500.0, 700.0], [1020.0, 1014.0]])
    header = fits.getheader(raw)
    header.rename_keyword("RADECSYS", "RADESYSA")
    # The trimmed frame begins at raw pixel (0, 0).
    wanted = WCS(header).all_pix2world(corners, 0)
    found = product.wcs.all_pix2world(corners, 0)
    assert np.allclose(found, wanted, rtol=0, atol=1e-9)
