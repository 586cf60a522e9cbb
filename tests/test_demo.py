"""The demonstration: a whole night in one command, and the comparison with the truth it ends with."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest

from isrcore import Detector, Exposure, MaskedImage, write_exposure
from isrcore.cli.findings import Finding, examine

SHAPE = (200, 300)
SIGMA = 3.0


def write_frame(path: Path, image: object, mask: object = 0, unit: str = "adu") -> Path:
    """A product or a truth of a detector with one amplifier."""
    image = np.array(np.broadcast_to(np.float32(image), SHAPE))
    flags = np.array(np.broadcast_to(np.int32(mask), SHAPE))
    variance = np.full(SHAPE, SIGMA**2, np.float32)
    pixels = MaskedImage.from_image(image, flags, variance)
    write_exposure(
        Exposure(pixels, Detector.of_shape(SHAPE), unit=unit, facts=frozenset({"assembled"})), path
    )
    return path


def finding(folder: Path, *, offset: float = 0.0, sigma: float = SIGMA, mask: object = 0) -> Finding:
    """What is found of a sky of 200 adu with a dead column, corrected with a flat on half the scale."""
    noise = np.random.default_rng(5).normal(0, sigma, SHAPE)
    truth_mask = np.zeros(SHAPE, np.int32)
    truth_mask[:, 7] = 1
    product = write_frame(folder / "product.fits", 400 + 2 * offset + noise, mask)
    truth = write_frame(folder / "truth.fits", 200, truth_mask)
    flats = (write_frame(folder / f"{name}.fits", level, unit="") for name, level in (("m", 0.5), ("t", 1.0)))
    return examine(product, truth, *flats)


DEAD_COLUMN = np.where(np.arange(SHAPE[1]) == 7, 1, 0)


def test_a_product_like_the_truth_is_good(tmp_path):
    found = finding(tmp_path, mask=DEAD_COLUMN)
    assert found.faults() == []
    assert found.is_good
    assert (found.sky, found.found) == (200, 1)
    assert found.clean == pytest.approx(1 - 1 / SHAPE[1])
    # What is flagged must not look like a fault in the picture.
    assert not found.pulls.image[:, 7].any()
    assert found.pulls.image[:, 8].std() == pytest.approx(1, abs=0.3)
    # 60,000 pixels of noise 3.
    assert abs(found.residuals["0"]) < 4 * 3 / np.sqrt(60_000)


def test_an_offset_is_a_fault(tmp_path):
    (fault,) = finding(tmp_path, offset=0.2, mask=DEAD_COLUMN).faults()
    assert fault.startswith("amplifier 0: mean residual +0.")


@pytest.mark.parametrize("sigma", [SIGMA * 1.04, SIGMA * 0.96])
def test_noise_other_than_the_variance_plane_says_is_a_fault(tmp_path, sigma):
    (fault,) = finding(tmp_path, sigma=sigma, mask=DEAD_COLUMN).faults()
    assert "further from 1 than 0.020" in fault


def test_flags_that_are_missing_and_flags_that_are_too_many_are_faults(tmp_path):
    (fault,) = finding(tmp_path).faults()
    assert fault == "only 0.00% of bad and saturated pixels are flagged"
    first = np.where(np.arange(SHAPE[1]) <= 7, 1, 0)
    (tmp_path / "more").mkdir()
    (fault,) = finding(tmp_path / "more", mask=first).faults()
    assert fault == "only 97.3% of the pixels are unflagged, less than 98%"


def test_few_pixels_are_judged_by_what_they_can_tell(tmp_path):
    found = finding(tmp_path, offset=0.1, mask=DEAD_COLUMN)
    assert not found.is_good
    assert attrs.evolve(found, errors={"0": 0.1}).is_good


def test_a_whole_night_of_the_small_camera(isr, tmp_path):
    folder = tmp_path / "night"
    status, out, err = isr("demo", folder, "--camera", "simulated", "--detectors", "0,1")
    assert (status, err) == (0, "")
    assert out.count("good") == 2
    for name in ("before.png", "after.png", "pulls.png", "masters/flat_sim1.fits", "products/31o_sim0.fits"):
        assert (folder / name).stat().st_size > 1000
    assert f"$ isr calibrate bias '{folder}/raw/*b.fits.fz' -o {folder}/masters" in out
    assert "what next" in out


def test_nothing_is_written_into_a_folder_that_holds_something(isr, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    status, out, err = isr("demo", tmp_path)
    assert (status, out) == (2, "")
    assert "is there already; name a new folder, or remove it" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_command_that_fails_ends_the_tour_and_says_why(isr, tmp_path):
    status, _, err = isr("demo", tmp_path / "night", "--camera", "nobodys")
    assert status == 1
    assert "ended with status 2" in err
    assert "nobodys" in err
