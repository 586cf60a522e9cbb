"""A real EFOSC2 night in a repository: no file is named, and products are those of commands that name all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from astropy.io import fits

from isrcore import IsrTask, Registry, default_config, read_exposure
from isrcore.cli.main import main

DATA = Path(os.environ.get("ISRCORE_TEST_DATA", Path(__file__).parents[2] / "../shared")) / "data/efosc2"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no EFOSC2 frames in {DATA}; set ISRCORE_TEST_DATA"
)


def frames(kind: str) -> list[str]:
    """Raw files by what ESO's header says; its biases are labelled as darks."""
    labels = {"bias": ("DARK",), "flat": ("FLAT,SKY", "SKY,FLAT"), "science": ("OBJECT",)}[kind]
    paths = sorted(DATA.glob("*.fits"))
    return [str(path) for path in paths if fits.getheader(path)["HIERARCH ESO DPR TYPE"] in labels]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From the folder to products."""
    root = tmp_path_factory.mktemp("night") / "efosc2"
    for words in (
        ["init", str(root), "--camera", "EFOSC2"],
        ["ingest", str(root), str(DATA)],
        ["calibrate", "bias", str(root)],
        ["calibrate", "flat", str(root)],
        ["run", str(root)],
    ):
        assert main(words) == 0
    return root


@pytest.fixture(scope="module")
def by_name(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with every file named."""
    here = tmp_path_factory.mktemp("by-name")
    bias, flat = str(here / "bias.fits"), str(here / "flat.fits")
    assert main(["calibrate", "bias", *frames("bias"), "-o", bias]) == 0
    assert main(["calibrate", "flat", *frames("flat"), "--bias", bias, "-o", flat]) == 0
    assert main(["run", *frames("science"), "--bias", bias, "--flat", flat, "-o", str(here / "out")]) == 0
    return here


def test_masters_are_those_of_files_that_are_named(repository: Path, by_name: Path) -> None:
    for name, place in (("bias", "bias/2022-01-26_ccd40"), ("flat", "flat/2022-01-27_g#782_ccd40")):
        found = repository / "calib" / f"{place.replace('#', '%23')}.fits"
        assert read_exposure(found).digest == read_exposure(by_name / f"{name}.fits").digest


def test_products_are_those_of_files_that_are_named(repository: Path, by_name: Path) -> None:
    raws = [Path(path) for path in frames("science")]
    assert len(raws) == 3
    for raw in raws:
        number = fits.getheader(raw)["HIERARCH ESO DET EXP NO"]
        ours = read_exposure(repository / "products" / "2022-01-27" / f"{number}_ccd40.fits")
        theirs = read_exposure(by_name / "out" / f"{raw.stem}_ccd40.fits")
        assert ours.digest == theirs.digest
        assert ours.facts == theirs.facts
        assert ours.header == theirs.header


def test_a_second_run_has_nothing_to_do(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(repository)]) == 0
    assert "3 skipped" in capsys.readouterr().out
    assert main(["ingest", str(repository), str(DATA)]) == 0
    assert "0 files ingested, 11 known before" in capsys.readouterr().out
    assert main(["status", str(repository)]) == 0
    assert "3 skipped" in capsys.readouterr().out


def test_a_task_runs_on_the_repository_with_what_ships_with_the_camera(repository: Path) -> None:
    registry = Registry.discover()
    found = registry.open_repository(str(repository))
    assert found is not None
    before = read_exposure(repository / "products" / "2022-01-27" / "19661_ccd40.fits").digest
    task = IsrTask(default_config(registry, "EFOSC2"), camera="EFOSC2", registry=registry)
    result = task.runDataRef(found.at(exposure=19661, detector="ccd40"))
    assert "defects" in {entry.step for entry in result.exposure.history}
    assert found.get("postISRCCD", exposure=19661, detector="ccd40").digest == before
