"""A MegaCam CCD from the command line: raw ``.fits.fz`` of the independent model in, product out."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header

from isrcore import Defects, Exposure, read_exposure
from isrcore.cli.main import main
from isrcore.geometry import Box
from tests.forward_model import MEGACAM, expose

SHAPE = MEGACAM["shape"]
BIAS = np.float32(8) * np.sin(np.arange(SHAPE[1], dtype=np.float32) / 37)[None, :]
FLAT = 1 + np.float32(0.05) * np.cos(np.arange(SHAPE[0], dtype=np.float32) / 300)[:, None]
DEAD = Box(1000, 4612, 700, 702)
SKY = 800.0


def write_raw(path: Path, kind: str, number: int, charge: float, star: bool = False) -> str:
    """One exposure of two CCDs, as the observatory writes them; the second holds nothing of interest."""
    sky = np.full(SHAPE, charge, np.float32)
    if star:
        sky[2000:2010, 300:310] = 400_000
    dead = [(DEAD.y0, DEAD.y1, DEAD.x0, DEAD.x1)]
    raw, _ = expose(MEGACAM, sky, flat=FLAT, dead=dead, bias=BIAS, drift=9.0, row_noise=1.0, seed=number)
    cards = {"SATURATE": 65535, "MAXLIN": 65535, "EXPTIME": 60.0, "DARKTIME": 60.0}
    for name in "AB":
        cards[f"GAIN{name}"] = MEGACAM["amplifiers"][name]["gain"]
        cards[f"RDNOISE{name}"] = MEGACAM["amplifiers"][name]["read_noise"]
    primary = {
        "INSTRUME": "MegaPrime", "DETECTOR": "MegaCam", "TELESCOP": "CFHT 3.6m", "EXPNUM": 1000000 + number,
        "OBSTYPE": kind, "FILTER": "r.MP9601", "OBJECT": "field", "DATE-OBS": "2008-11-01",
        "UTC-OBS": "10:00:00.00", "EXPTIME": 60.0, "DARKTIME": 60.0, "RADECSYS": "FK5",
        "RA_DEG": 30.0, "DEC_DEG": -5.0, "AIRMASS": 1.2,
    }  # fmt: skip
    hdus = [fits.PrimaryHDU(header=Header(list(primary.items())))]
    for name, pixels in (("ccd05", raw), ("ccd06", np.full_like(raw, 1200))):
        header = Header([*cards.items(), ("EXTNAME", name)])
        hdus.append(fits.CompImageHDU(pixels, header, compression_type="RICE_1"))
    fits.HDUList(hdus).writeto(path / f"{1000000 + number}{kind[0].lower()}.fits.fz")
    return str(path / f"{1000000 + number}{kind[0].lower()}.fits.fz")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Exposure:
    """The science frame, corrected with masters of two biases and two flats: what a user types."""
    here = tmp_path_factory.mktemp("megacam")
    biases = [write_raw(here, "BIAS", number, 0.0) for number in (1, 2)]
    flats = [write_raw(here, "FLAT", number, 40_000.0) for number in (3, 4)]
    science = write_raw(here, "OBJECT", 5, SKY, star=True)
    masters, reduced, defects = str(here / "masters"), here / "reduced", here / "defects.fits"
    Defects((DEAD,), detector_name="ccd05").write(defects)
    one = ["--detectors", "ccd05"]
    assert main(["calibrate", "bias", *biases, *one, "-o", masters]) == 0
    assert main(["calibrate", "flat", *flats, *one, "--bias", masters, "-o", masters]) == 0
    given = ["--bias", masters, "--flat", masters, "--defects", str(defects), "--threads", "2"]
    assert main(["run", science, *one, *given, "-o", str(reduced)]) == 0
    (path,) = reduced.glob("*.fits")
    return read_exposure(path)


def test_the_sky_is_recovered(product: Exposure) -> None:
    # The master flat is 1 on the mean over the CCD, so both amplifiers come out on the scale of that mean.
    level = SKY * np.mean([FLAT.mean() / amp.gain for amp in product.detector.amplifiers])
    for amp in product.detector.amplifiers:
        good = product.mask[amp.box.slices] == 0
        residual = product.image[amp.box.slices][good] - level
        # The mean is as good as the two flats' level, 2e-5; two biases leave 0.001 adu.
        assert abs(residual.mean(dtype=np.float64)) < 1e-3 * level
        # Stripes of the bias or rows of the overscan would show here, and the flat's slope of 10 %.
        assert abs(np.diff([half.mean() for half in np.array_split(residual, 2)])[0]) < 2e-3 * level


def test_a_master_bias_is_as_noisy_as_its_read_noise(product: Exposure) -> None:
    bias = read_exposure(Path(next(e for e in product.history if e.step == "bias").calibration))
    for amp in product.detector.amplifiers:
        # Two inputs; the level of each row adds pi/2/32 of a pixel's variance.
        expected = (amp.read_noise / amp.gain) ** 2 * (1 + np.pi / 64) / 2
        assert np.median(bias.variance[amp.box.slices]) == pytest.approx(expected, rel=1e-3)
        assert (bias.variance[amp.box.slices][bias.mask[amp.box.slices] == 0] > 0).all()


def test_flags_are_where_they_belong(product: Exposure) -> None:
    assert product.pixels.window(DEAD).flagged("BAD").all()
    assert product.pixels.window(Box(2000, 2010, 300, 310)).flagged("SAT").all()
    assert np.mean(product.mask == 0) > 0.99


def test_the_product_says_how_it_was_made(product: Exposure) -> None:
    steps = {entry.step: entry for entry in product.history}
    assert {"levels", "overscan", "bias", "variance", "defects", "flat"} <= set(steps)
    assert steps["levels"].plugin == "cfht"
    assert steps["bias"].calibration.endswith("bias_ccd05.fits")
    assert product.visit.filter == "r.MP9601"
    assert product.visit.observation_type == "science"
