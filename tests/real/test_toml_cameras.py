"""Two real cameras from files alone: proposed by `isr inspect`, edited as the tutorial says, run."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import isrcore_inspect
import isrcore_standard
from isrcore import Registry, read_exposure
from tests.test_docs import DOCS, load

REGISTRY = Registry({"standard": isrcore_standard, "inspect": isrcore_inspect})
PAGE = (DOCS / "tutorial" / "your-camera.md").read_text()
KAST = Path(os.environ.get("ISRCORE_TEST_DATA", Path(__file__).parents[2] / "../shared")) / "data/kast"

transcript = load("transcript")


def saao_frame() -> Path:
    """The frame of the tutorial."""
    found = importlib.util.find_spec("ccdproc")
    if found is None or found.origin is None:
        pytest.skip("ccdproc, which brings the frame, is not installed")
    return Path(found.origin).parent / "tests" / "data" / "a8280271.fits"


def edits_of(name: str) -> str:
    """The edits that the page shows for a file."""
    (found,) = re.findall(
        rf"^```diff\n# edit:? {re.escape(name)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
    return found


def proposed_and_edited(isr, name: str, folder: Path, *frames: Path) -> Path:
    """The proposal of `isr inspect` with the page's edits, and nothing else."""
    path = folder / name
    status, _, told = isr("inspect", *frames, "-o", path)
    assert status == 0, told
    path.write_text(transcript.edited(path.read_text(), edits_of(name)))
    return path


def test_the_saao_frame_runs_from_a_file_alone(isr, tmp_path):
    frame = saao_frame()
    camera = proposed_and_edited(isr, "saao.toml", tmp_path, frame)
    words = ["--camera", camera, "-c", "doBias=false", "-c", "doFlat=false"]
    status, _, told = isr("run", frame, "-o", tmp_path / "out", *words)
    assert status == 0, told
    product = read_exposure(tmp_path / "out" / "a8280271_ccd1.fits")
    raw = fits.getdata(frame).astype(np.float64)
    level = product.header["ISR_OSCAN_LEVELA"]
    # Columns 529:536 get no light and entered nothing. The noise of 2.95 adu of their 4096 pixels makes
    # 0.05 adu, that of the overscan's 5120 pixels 0.04: five times both are 0.3 adu. Uncorrected: 214.
    assert abs(raw[:512, 528:536].mean() - level) < 0.3
    assert product.shape == (512, 512)
    # The header calls these rows useful; the sky is at 300.
    assert raw[512:, 16:528].mean() < 220
    middle = (slice(100, 400), slice(100, 400))
    assert abs(np.median(product.image[middle]) - np.median(raw[:512, 16:528][middle]) + level) < 0.6


@pytest.mark.skipif(not KAST.is_dir(), reason=f"no Kast frames in {KAST}; set ISRCORE_TEST_DATA")
def test_kast_runs_from_a_file_alone(isr, tmp_path):
    frames = [KAST / "b1.fits.gz", KAST / "b27.fits.gz"]
    camera = proposed_and_edited(isr, "kast.toml", tmp_path, *frames)
    status, _, told = isr("run", *frames, "-o", tmp_path / "out", "--camera", camera)
    assert status == 0, told
    for frame in frames:
        product = read_exposure(tmp_path / "out" / f"{frame.name.removesuffix('.fits.gz')}_blue.fits")
        raw = fits.getdata(frame).astype(np.float64)
        for name, columns in (("A", slice(2049, 2080)), ("B", slice(2080, 2111))):
            # Noise of 2.8 adu of some 10000 pixels makes 0.03 adu; levels wander by 0.1 adu along columns.
            assert abs(raw[:, columns].mean() - product.header[f"ISR_OSCAN_LEVEL{name}"]) < 0.3
    # In the slit's shadow there is next to no light: both amplifiers are within a read noise (2.8 adu) of
    # zero. Before they were 21 adu apart; now by less than the step of medians of integers, half an adu.
    science = read_exposure(tmp_path / "out" / "b27_blue.fits")
    shadow = [np.median(half) for half in (science.image[:15, :1024], science.image[:15, 1024:])]
    assert all(abs(level) < 2.8 for level in shadow)
    assert abs(shadow[0] - shadow[1]) < 0.5
    assert [science.detector[name].box.to_section() for name in "AB"] == [
        "[1:1024,1:350]",
        "[1025:2048,1:350]",
    ]
    assert (science.visit.observation_type, science.visit.exposure_id) == ("science", 27)


def test_efosc2_headers_are_found_out(isr):
    folder = KAST.parent / "efosc2"
    if not folder.is_dir():
        pytest.skip("no EFOSC2 frames; set ISRCORE_TEST_DATA")
    status, proposal, told = isr("inspect", folder / "*.fits")
    assert status == 0
    wrong = [line for line in told.splitlines() if line.startswith("header is wrong")]
    # Overscan columns that are none, and a read noise of 7.8 electron where biases have 10.2 adu.
    assert [line.split()[3] for line in wrong] == ["overscan", "read"]
    assert 'region = "parallel"' in proposal
    # The table of the camera, which was measured by hand: data columns 1 to 1021, clean rows 1025 to 1030.
    assert 'raw_data_box = "[1:1021,' in proposal
    (rows,) = re.findall(r'parallel_overscan_box = "\[1:1021,(\d+):1030\]"', proposal)
    assert 1025 <= int(rows) <= 1028
