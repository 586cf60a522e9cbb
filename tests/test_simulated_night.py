"""The practice night: what its files hold, and that correcting them gives back what was put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import isrcore_simulated
import isrcore_standard
from isrcore import Defects, Exposure, IsrTask, MaskedImage, Registry, default_config
from isrcore_simulated import CAMERA
from isrcore_simulated.__main__ import main
from isrcore_simulated.night import (
    DARK_RATE,
    DEAD_COLUMN,
    SHOTS,
    SKY_RATE,
    make_truth,
    write_night,
)

REGISTRY = Registry({"simulated": isrcore_simulated, "standard": isrcore_standard})
NAMES = ["sim0", "sim1"]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("practice") / "night"
    write_night(CAMERA, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.fits"))}


def test_the_camera_reads_every_file_back(night: Path) -> None:
    for shot in SHOTS:
        exposures = list(REGISTRY.read_raw(night / f"{shot.name}.fits"))
        assert [exposure.detector.name for exposure in exposures] == NAMES
        for exposure in exposures:
            assert exposure.pixels.is_raw
            assert (exposure.visit.observation_type, exposure.visit.dark_s) == (shot.kind, shot.exposure_s)
            assert (exposure.wcs is not None) == (shot.kind == "science")


def test_the_night_has_what_a_night_has(night: Path) -> None:
    names = sorted(path.name for path in night.iterdir())
    assert names == sorted(["defects", *(f"{shot.name}.fits" for shot in SHOTS)])
    assert [shot.kind for shot in SHOTS] == ["bias"] * 5 + ["dark"] * 3 + ["flat"] * 5 + ["science"] * 2


def test_equal_seeds_give_equal_nights_and_others_do_not(night: Path, tmp_path: Path) -> None:
    write_night(CAMERA, tmp_path / "same", seed=1)
    write_night(CAMERA, tmp_path / "other", seed=2)
    assert contents(tmp_path / "same") == contents(night)
    assert contents(tmp_path / "other") != contents(night)


def test_no_two_frames_share_their_noise(night: Path) -> None:
    first, second = (next(REGISTRY.read_raw(night / f"bias{n}.fits")).image.astype(float) for n in (1, 2))
    box = CAMERA["sim0"]["A"].raw_data_box.slices
    # Read noise 5/1.5 adu in each frame, and at most a few adu of drift.
    assert (first - second)[box].std() > 2**0.5 * 5 / 1.5


@pytest.mark.parametrize("name", NAMES)
def test_corrections_give_back_the_sky(night: Path, name: str) -> None:
    detector, truth = CAMERA[name], make_truth(CAMERA[name], seed=1)
    raw = next(REGISTRY.read_raw(night / "science2.fits", [name]))

    def frame(image: object) -> Exposure:
        pixels = MaskedImage.from_image(np.broadcast_to(image, detector.shape).astype(np.float32))
        return Exposure(pixels, detector, facts=frozenset({"assembled"}), visit=raw.visit)

    gains = np.ones(detector.shape)
    for amp in detector.amplifiers:
        gains[amp.box.slices] = amp.gain
    config = default_config(REGISTRY, "simulated")
    config.overscan.fitType = "MEDIAN_PER_ROW"
    dark = frame(DARK_RATE * raw.visit.dark_s / gains)
    inputs = {"bias": frame(truth.bias), "dark": dark, "flat": frame(truth.response)}
    product = IsrTask(config, camera="simulated", registry=REGISTRY).run(raw, **inputs).exposure

    sky = (SKY_RATE + truth.stars) * 120.0 / gains
    good = (product.mask == 0) & (truth.response > 0)
    pull = (product.image - sky)[good] / np.sqrt(product.variance[good])
    # 7600 pixels of unit variance: the mean within 5/sqrt(7600), the scatter within 5 %.
    assert abs(pull.mean()) < 0.06
    assert abs(pull.std() - 1) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_one_star_is_saturated_and_the_dead_column_is_dark(night: Path, name: str) -> None:
    config = default_config(REGISTRY, "simulated")
    config.doDefect = True
    config.doBias = config.doDark = config.doFlat = config.doInterpolate = config.doSetBadRegions = False
    raw = next(REGISTRY.read_raw(night / "science1.fits", [name]))
    defects = Defects.read(night / "defects" / f"{name}.txt")
    task = IsrTask(config, camera="simulated", registry=REGISTRY)
    product = task.run(raw, defects=defects).exposure
    assert 1 <= np.count_nonzero(product.pixels.flagged("SAT")) < 40
    if name == "sim0":
        assert product.pixels.flagged("BAD")[:, DEAD_COLUMN].all()
        others = np.median(product.image)
        assert np.median(product.image[:, DEAD_COLUMN]) < others / 2
    else:
        assert len(defects) == 0


def test_the_command_writes_a_night_and_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deep" / "night"
    assert main([str(folder)]) == 0
    told = capsys.readouterr().out
    assert f"15 raw files of the simulated camera to {folder}" in told
    assert f"isr calibrate bias {folder}/bias*.fits" in told


def test_a_night_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "science2.fits").write_text("mine")
    assert main([str(tmp_path)]) == 1
    assert "science2.fits" in capsys.readouterr().err
    assert (tmp_path / "science2.fits").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "science2.fits"]
