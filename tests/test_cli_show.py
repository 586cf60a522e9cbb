"""`isr show`: pictures of raw frames and products from the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

import isrcore_cfht
import isrcore_eso
import isrcore_simulated
import isrcore_standard
from isrcore import Exposure, MaskedImage, Registry, VisitInfo, write_exposure
from isrcore.pictures import COLOURS
from isrcore_cfht import CAMERA as MEGACAM
from isrcore_simulated import CAMERA
from isrcore_simulated.night import write_night

REGISTRY = Registry(
    {"cfht": isrcore_cfht, "eso": isrcore_eso, "simulated": isrcore_simulated, "standard": isrcore_standard}
)
EFOSC2 = Path(os.environ.get("ISRCORE_TEST_DATA", Path(__file__).parent / "../../shared")) / "data/efosc2"

Isr = Callable[..., tuple[int, str, str]]


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with raw frames; pictures go to the folder above, the current one."""
    write_night(CAMERA, tmp_path / "night")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "night"


def write_product(path: Path, detector: str = "sim0", number: int = 7, **more: Any) -> Path:
    """A product with a gradient, and a saturated corner."""
    own = CAMERA[detector]
    pixels = MaskedImage.from_image(
        np.linspace(0, 100, own.shape[0] * own.shape[1], dtype=np.float32).reshape(own.shape)
    )
    pixels.mask[:2, :3] = pixels.planes.value("SAT")
    visit = VisitInfo(number, exposure_s=60.0, observation_type="science", filter="r")
    facts = frozenset({"assembled", "converted"})
    path.parent.mkdir(exist_ok=True)
    write_exposure(Exposure(pixels, own, "simulated", visit, facts=facts, **more), path)
    return path


def page(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def has_colour(path: str | Path, plane: str) -> bool:
    """Whether the colour of a plane is in a picture or its legend."""
    return bool((page(path) == COLOURS[plane]).all(axis=2).any())


def test_a_raw_file_becomes_a_focal_plane(night: Path, isr: Isr) -> None:
    status, out, err = isr("show", night / "science1.fits")
    assert (status, err) == (0, "")
    assert out.startswith("wrote science1.png: 2 detectors, 203 x 80 pixels, asinh from ")
    assert out.endswith(" adu\n")
    assert page("science1.png").shape[1] == 203 * 5


def test_one_detector_is_shown_as_read_or_trimmed(night: Path, isr: Isr) -> None:
    file, one = night / "flat1.fits", ["--detectors", "sim1", "--limits", "0,60000", "--stretch", "linear"]
    detector = CAMERA["sim1"]
    for options, (ny, nx) in (([], detector.raw_shape), (["--trim"], detector.shape)):
        status, out, _ = isr("show", file, *one, *options, "--overwrite")
        assert status == 0
        assert out == f"wrote flat1.png: detector sim1, {nx} x {ny} pixels, linear from 0 to 60000 adu\n"


def test_levels_are_subtracted_for_the_eye_unless_told(night: Path, isr: Isr) -> None:
    """A bias has nothing but levels: 1000 adu in the first amplifier, 1100 in the second."""
    linear = ["--stretch", "linear", "--size", "80"]
    _, bare, _ = isr("show", night / "bias1.fits", "--detectors", "sim0", "--trim", *linear)
    _, kept, _ = isr(
        "show",
        night / "bias1.fits",
        "--detectors",
        "sim0",
        "--trim",
        "--raw-levels",
        *linear,
        "-o",
        "kept.png",
    )
    low = {text: float(text.split(" from ")[1].split()[0]) for text in (bare, kept)}
    assert abs(low[bare]) < 50
    assert low[kept] > 900


def test_the_products_of_one_exposure_are_one_picture(night: Path, isr: Isr) -> None:
    for name in ("sim0", "sim1"):
        write_product(Path(f"out/field_{name}.fits"), name)
    write_product(Path("out/other_sim0.fits"), number=8)
    status, out, err = isr("show", "out/*.fits", "--size", "300")
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("wrote field.png: 2 detectors")
    assert second.startswith("wrote other_sim0.png: detector sim0, 96 x 80 pixels")
    assert has_colour("field.png", "SAT")
    status, out, _ = isr("show", "out/field_*.fits", "--detectors", "sim1")
    assert out.startswith("wrote field_sim1.png: detector sim1")


def test_planes_are_chosen_or_left_out(night: Path, isr: Isr) -> None:
    product = write_product(Path("p.fits"))
    for number, (options, is_drawn) in enumerate(
        ([[], True], [["--planes", "SAT,BAD"], True], [["--planes", "BAD"], False], [["--no-mask"], False])
    ):
        assert isr("show", product, *options, "-o", f"{number}.png")[0] == 0
        assert has_colour(f"{number}.png", "SAT") == is_drawn
    status, out, err = isr("show", product, "--planes", "RAIN", "-o", "rain.png")
    assert (status, out) == (1, "")
    assert err.startswith("isr: rain.png: mask has no plane 'RAIN'; it has BAD, SAT")
    assert not Path("rain.png").exists()


@pytest.mark.parametrize("plane", ["variance", "mask"])
def test_other_planes_can_be_shown(night: Path, isr: Isr, plane: str) -> None:
    product = write_product(Path("p.fits.fz"))
    status, out, _ = isr("show", product, "--plane", plane, "-o", "p.png")
    assert status == 0
    assert out.rstrip().endswith({"variance": "adu^2", "mask": "mask planes"}[plane])


def test_a_picture_that_is_there_is_not_replaced(night: Path, isr: Isr) -> None:
    product = write_product(Path("p.fits"))
    Path("p.png").write_text("mine")
    status, out, err = isr("show", product)
    assert (status, out) == (2, "")
    assert "'p.png' exists; remove it, choose another name with -o, or allow --overwrite" in err
    assert Path("p.png").read_text() == "mine"
    assert isr("show", product, "--overwrite")[0] == 0
    assert page("p.png").ndim == 3


def test_every_problem_is_told_before_anything_is_drawn(night: Path, isr: Isr) -> None:
    one, two = write_product(Path("a/p.fits")), write_product(Path("b/p.fits"))
    Path("text.fits").write_text("no FITS file")
    status, out, err = isr("show", one, two, "text.fits", "missing.fits")
    assert (status, out) == (2, "")
    assert f"{one} and {two} show detector 'sim0' of one exposure" in err
    assert "'text.fits' is no FITS file" in err
    assert "'missing.fits' does not exist" in err
    assert list(Path().glob("*.png")) == []


def test_output_that_cannot_be_is_refused(night: Path, isr: Isr) -> None:
    raws = [night / "bias1.fits", night / "bias2.fits"]
    for output, reason in (
        ("x.png", "'x.png' is the name of one file, there are 2 pictures; name a folder"),
        ("none", "there is no folder 'none'; make it first"),
        ("x.jpg", "there is no folder 'x.jpg'; make it first, or end the name of a picture in .png"),
        ("none/x.png", "there is no folder 'none'; make it first"),
    ):
        status, out, err = isr("show", *raws, "-o", output)
        assert (status, out) == (2, "")
        assert reason in err
    (night / "copy").mkdir()
    (night / "copy" / "bias1.fits").write_bytes(raws[0].read_bytes())
    _, _, err = isr("show", raws[0], night / "copy" / "bias1.fits")
    assert "2 pictures would become 'bias1.png'; show them one at a time" in err
    _, _, err = isr("show", write_product(Path("p.fits")), "--detectors", "sim9")
    assert "no file holds detector sim9" in err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--limits", "7"], "'7' are no limits; give two numbers as in 200,5000"),
        (["--limits", "9,7"], "'9,7' are no limits"),
        (["--limits", "nan,7"], "'nan,7' are no limits"),
        (["--size", "3"], "'3' is no size; give a number of pixels from 16 to 20000"),
        (["--stretch", "sqrt"], "invalid choice"),
        (["--planes", "BAD", "--no-mask"], "not allowed with"),
    ],
)
def test_options_that_mean_nothing_are_refused(isr: Isr, options: list[str], reason: str) -> None:
    status, out, err = isr("show", "a.fits", *options)
    assert (status, out) == (2, "")
    assert reason in err


def test_damage_to_one_file_leaves_the_other_pictures(night: Path, isr: Isr) -> None:
    good, bad = write_product(Path("good.fits")), write_product(Path("bad.fits"), number=8)
    content = bytearray(bad.read_bytes())
    with fits.open(bad) as hdus:
        content[hdus["IMAGE"].fileinfo()["datLoc"]] ^= 255
    bad.write_bytes(content)
    status, out, err = isr("show", bad, good)
    assert status == 1
    assert out.startswith("wrote good.png")
    assert "isr: bad.png: product 'bad.fits' is damaged in HDU 'IMAGE'" in err
    assert sorted(path.name for path in Path().glob("*.png")) == ["good.png"]


def write_megacam(path: Path, names: list[str]) -> Path:
    """Raw CCDs with one bright block at the lowest data pixels of amplifier A."""
    cards = {"INSTRUME": "MegaPrime", "DETECTOR": "MegaCam", "TELESCOP": "CFHT 3.6m", "EXPNUM": 1000001}
    cards |= {"OBSTYPE": "OBJECT", "FILTER": "r.MP9601", "DATE-OBS": "2008-11-01", "UTC-OBS": "10:00:00.00"}
    cards |= {"EXPTIME": 60.0, "DARKTIME": 60.0, "RA_DEG": 30.0, "DEC_DEG": -5.0, "AIRMASS": 1.2}
    hdus = [fits.PrimaryHDU(header=fits.Header(list(cards.items())))]
    for name in names:
        raw = np.full(MEGACAM[name].raw_shape, 1000, np.uint16)
        raw[0:100, 32:132] = 60000
        header = fits.Header(
            [("EXTNAME", name), ("GAINA", 1.5), ("GAINB", 1.6), ("RDNOISEA", 4.0), ("RDNOISEB", 5.0)]
        )
        hdus.append(fits.CompImageHDU(raw, header, compression_type="RICE_1"))
    fits.HDUList(hdus).writeto(path)
    return path


def test_megacam_lies_on_the_sky_as_its_table_says(
    tmp_path: Path, isr: Isr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ccd00 is turned by 180 degrees, ccd27 three rows below is not: the blocks lie in opposite corners."""
    monkeypatch.chdir(tmp_path)
    raw = write_megacam(tmp_path / "1000001o.fits.fz", ["ccd00", "ccd27"])
    status, out, _ = isr("show", raw, "--limits", "0,1000", "--no-mask")
    assert status == 0
    pixels = 0.0135
    upper, lower = (np.array(MEGACAM[name].offset_mm) / pixels for name in ("ccd00", "ccd27"))
    width, height = abs(upper - lower) + np.array([2048, 4612])
    factor = int(np.ceil(height / 1199))
    assert abs(int(out.split(", ")[1].split(" x ")[1].split()[0]) - height / factor) <= 2
    assert abs(int(out.split(", ")[1].split(" x ")[0]) - width / factor) <= 2
    picture = page("1000001o.png")[:-30]  # without the scale
    white = np.argwhere((picture == 255).all(axis=2))
    # The drawing fills the height between title and legend, and stands in the middle of the page.
    top, bottom = white[:, 0].min(), white[:, 0].max()
    left = white[white[:, 0] > (top + bottom) / 2][:, 1]
    right = white[white[:, 0] < (top + bottom) / 2][:, 1]
    assert left.mean() < picture.shape[1] / 2 < right.mean()
    assert abs((bottom - top + 1) - height / factor) <= 3


@pytest.mark.skipif(not EFOSC2.is_dir(), reason=f"no EFOSC2 frames in {EFOSC2}; set ISRCORE_TEST_DATA")
def test_a_real_frame_shows_sky_stars_and_unlit_edges(tmp_path: Path, isr: Isr) -> None:
    status, out, err = isr("show", EFOSC2 / "EFOSC.2022-01-28T045424.341.fits", "-o", tmp_path)
    assert (status, err) == (0, "")
    (path,) = tmp_path.iterdir()
    assert path.name == "EFOSC.2022-01-28T045424.341.png"
    assert out.startswith(f"wrote {path}: detector ccd40, 1030 x 1030 pixels, asinh from ")
    grey = page(path)[-1060:-30, :, 0]
    sky = np.median(grey[300:700, 300:700])
    assert 25 < sky < 150
    # Rows 1018 to 1029 saw no light; they are at the top. The stars are white.
    assert np.median(grey[0:12]) < 5
    assert (grey == 255).sum() > 200
