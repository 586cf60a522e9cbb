"""A night in a repository: the commands a user types, and what they say when something is wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

import isrcore_simulated
import isrcore_standard
from isrcore import (
    DataRepository,
    DatasetError,
    DatasetExistsError,
    Exposure,
    IsrTask,
    MaskedImage,
    Metadata,
    RawError,
    Registry,
    Repository,
    RepositoryError,
    VisitInfo,
    default_config,
    read_exposure,
    read_provenance,
)
from isrcore.cli.finished import fingerprint
from isrcore.cli.main import main
from isrcore.raw_listing import list_source
from isrcore_repository.ingest import ingest
from isrcore_repository.making import make_repository
from isrcore_repository.repository import EmbeddedRepository
from isrcore_repository.tables import RawRow
from isrcore_simulated.night import write_night
from tests.small_camera import CAMERA, NAMES, write_raw
from tests.small_camera import REGISTRY as SMALL


@pytest.fixture
def repository(tmp_path: Path) -> EmbeddedRepository:
    """An empty repository of the small camera."""
    make_repository(tmp_path / "repository", "small")
    return EmbeddedRepository.open(tmp_path / "repository", SMALL)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of the practice night."""
    folder = tmp_path_factory.mktemp("night")
    write_night(Registry.discover().camera("simulated"), folder)
    return folder


WITHOUT = ["-c", "doDark=false", "doFlat=false"]


@pytest.fixture(scope="module")
def prepared(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories of the practice night: with raw files, with a master bias, and with products too."""
    folder = tmp_path_factory.mktemp("prepared")
    words = [["init", "--camera", "simulated"], ["ingest", str(night)]], [["calibrate"]], [["run", *WITHOUT]]
    before = None
    for name, commands in zip(("raw", "calibrated", "finished"), words, strict=True):
        root = folder / name
        if before:
            shutil.copytree(before, root, symlinks=True)
        for command, *rest in commands:
            subject = ["bias", str(root)] if command == "calibrate" else [str(root)]
            assert main([command, *subject, *rest]) == 0
        before = root
    return folder


@pytest.fixture
def started(prepared: Path, tmp_path: Path) -> Path:
    """A repository with the practice night."""
    return Path(shutil.copytree(prepared / "raw", tmp_path / "repository", symlinks=True))


@pytest.fixture
def calibrated(prepared: Path, tmp_path: Path) -> Path:
    """The same with a master bias."""
    return Path(shutil.copytree(prepared / "calibrated", tmp_path / "repository", symlinks=True))


@pytest.fixture
def finished(prepared: Path, tmp_path: Path) -> Path:
    """The same with products, made without dark and flat."""
    return Path(shutil.copytree(prepared / "finished", tmp_path / "repository", symlinks=True))


def test_four_commands_from_raw_files_to_products_and_back_to_how_they_were_made(isr, night, tmp_path):
    root = tmp_path / "night"
    assert isr("init", root, "--camera", "simulated")[0] == 0
    assert isr("ingest", root, night)[1] == "15 files ingested, 0 known before\n"
    for kind in ("bias", "dark", "flat"):
        assert isr("calibrate", kind, root)[0] == 0
    status, out, err = isr("run", root)
    assert (status, err) == (0, "")
    assert "4 ok" in out
    product = root / "products" / "2020-01-01" / "114_sim0.fits"
    assert {"bias-subtracted", "dark-subtracted", "flat-fielded"} <= read_exposure(product).facts
    provenance = read_provenance(product)
    assert provenance["input"] == str(root / "raw" / "2020-01-01" / "114.fits")
    assert provenance["flat"] == str(root / "calib" / "flat" / "2020-01-01_r_sim0.fits")


def test_products_are_those_of_the_commands_that_name_every_file(isr, started, night, tmp_path):
    masters, out = tmp_path / "masters", tmp_path / "out"
    isr("calibrate", "bias", *sorted(night.glob("bias*.fits")), "-o", masters)
    isr("calibrate", "flat", *sorted(night.glob("flat*.fits")), "--bias", masters, "-o", masters)
    given = ["--bias", masters, "--flat", masters, "-o", out, "-c", "doDark=false"]
    assert isr("run", night / "science1.fits", night / "science2.fits", *given)[0] == 0
    isr("calibrate", "bias", started)
    isr("calibrate", "flat", started)
    assert isr("run", started, "-c", "doDark=false")[0] == 0
    for number, exposure in ((1, 114), (2, 115)):
        for detector in ("sim0", "sim1"):
            theirs = read_exposure(out / f"science{number}_{detector}.fits")
            ours = read_exposure(started / "products" / "2020-01-01" / f"{exposure}_{detector}.fits")
            assert (ours.digest, ours.facts) == (theirs.digest, theirs.facts)


def test_a_second_run_does_only_what_is_not_finished(isr, finished):
    product = finished / "products" / "2020-01-01" / "114_sim0.fits"
    before = product.stat().st_mtime_ns
    assert "4 skipped" in isr("run", finished, *WITHOUT)[1]
    (finished / "products" / "2020-01-01" / "115_sim1.fits").unlink()
    told = isr("run", finished, "--dry-run", *WITHOUT)[1]
    assert "3 skipped, 1 to do" in told
    assert "1 ok, 3 skipped" in isr("run", finished, *WITHOUT)[1]
    assert product.stat().st_mtime_ns == before
    assert "4 ok" in isr("run", finished, "--force", *WITHOUT)[1]
    assert product.stat().st_mtime_ns != before
    assert "4 ok" in isr("status", finished)[1]


def test_what_was_made_with_another_calibration_is_made_anew(isr, finished):
    assert isr("calibrate", "bias", finished, "--sigma", "5")[0] == 1
    assert isr("calibrate", "bias", finished, "--sigma", "5", "--overwrite")[0] == 0
    assert "4 ok" in isr("run", finished, *WITHOUT)[1]


def test_a_damaged_product_is_made_anew(isr, finished):
    product = finished / "products" / "2020-01-01" / "114_sim0.fits"
    product.write_bytes(product.read_bytes()[:-2880])
    assert "1 ok, 3 skipped" in isr("run", finished, *WITHOUT)[1]


def test_another_configuration_is_refused_and_then_replaces(isr, finished):
    other = [*WITHOUT, "overscan.numSigmaClip=4"]
    status, _, err = isr("run", finished, *other)
    assert status == 2
    assert "overscan.numSigmaClip: 4.0 here, 3.0 there" in err
    assert "4 ok" in isr("run", finished, "--clobber-config", *other)[1]
    assert (finished / "record" / "isr_config" / "camera=simulated.toml~1").exists()


def test_masters_that_are_there_are_not_made_again(isr, calibrated):
    path = calibrated / "calib" / "bias" / "2020-01-01_sim0.fits"
    before = path.stat().st_mtime_ns
    status, out, _ = isr("calibrate", "bias", calibrated)
    assert (status, path.stat().st_mtime_ns) == (0, before)
    assert "made before of the same frames" in out


def test_a_missing_calibration_is_told_with_every_candidate(isr, calibrated):
    status, _, err = isr("run", calibrated, "-c", "doDark=false")
    assert status == 2
    assert "flat: the repository has none" in err
    bias = calibrated / "calib" / "bias" / "2020-01-01_sim0.fits"
    assert isr("certify", calibrated, bias, "--from", "2021-01-01", "--to", "2021-02-01")[0] == 0
    status, _, err = isr("plan", calibrated, "--id", "visit=114", "detector=sim0", *WITHOUT)
    assert status == 2
    assert "2020-01-01_sim0.fits" in err


def test_a_plan_shows_the_calibrations_it_found(isr, calibrated):
    status, out, _ = isr("plan", calibrated, "--id", "visit=114", "detector=sim0", *WITHOUT)
    assert status == 0
    assert "calibrations of the repository" in out
    assert "plan for 1 exposure: 114.fits[sim0]" in out


def test_policy_and_fallback_filter_of_the_command_line_count(isr, calibrated):
    bias = calibrated / "calib" / "bias" / "2020-01-01_sim0.fits"
    assert isr("certify", calibrated, bias, "--filter", "g")[0] == 0
    unit = [calibrated, "--id", "visit=114", "detector=sim0", *WITHOUT]
    assert isr("plan", *unit)[0] == 2
    status, out, err = isr("plan", *unit, "-c", "fallbackFilterName=g")
    assert status == 0
    assert "of the fallback filter 'g'" in out
    assert "of the fallback filter 'g'" in err
    assert isr("certify", calibrated, bias, "--filter", "r")[0] == 0
    assert "version 0" in isr("plan", *unit, "--policy", "latest")[1]


def test_frames_are_chosen_by_type_night_filter_and_number(isr, started):
    off = ["-c", "doBias=false", *WITHOUT[1:], "--dry-run"]
    assert "4 to do" in isr("run", started, *off)[1]
    assert "10 to do" in isr("run", started, *off, "--id", "type=bias")[1]
    assert "2 to do" in isr("run", started, *off, "--id", "visit=101")[1]
    assert "4 to do" in isr("run", started, *off, "--id", "night=2020-01-01", "filter=r")[1]
    status, _, err = isr("run", started, *off, "--id", "night=1999-01-01")
    assert status == 2
    assert (
        "has no frame with night=1999-01-01 type=science; it has 10 bias, 6 dark, 10 flat, 4 science" in err
    )


def test_a_repository_is_given_alone(isr, started, night):
    status, _, err = isr("run", started, night / "science1.fits", *WITHOUT)
    assert status == 2
    assert "is a repository: give it alone" in err


def test_products_of_a_repository_can_go_elsewhere(isr, started, tmp_path):
    out = tmp_path / "elsewhere"
    assert isr("run", started, "-o", out, "-c", "doBias=false", *WITHOUT[1:])[0] == 0
    assert sorted(path.name for path in out.glob("*.fits")) == [
        f"{number}_{name}.fits" for number in (114, 115) for name in ("sim0", "sim1")
    ]
    assert not (started / "products").exists()


def test_runs_of_several_processes_write_into_a_repository(isr, calibrated):
    assert "4 ok" in isr("run", calibrated, *WITHOUT, "--jobs", "2")[1]
    assert "4 ok" in isr("status", calibrated)[1]
    assert isr("rebuild", calibrated)[0] == 0


def test_status_tells_what_failed_and_what_was_not_run(isr, started):
    assert "4 not started" in isr("status", started)[1]
    isr("run", started, *WITHOUT)
    out = isr("status", started)[1]
    assert "4 failed" in out
    assert "needs calibration 'bias'" in out
    (started / "raw" / "2020-01-01" / "115.fits").unlink()
    isr("calibrate", "bias", started)
    status, out, err = isr("run", started, *WITHOUT)
    assert status == 1
    assert "2 ok, 2 failed" in out
    assert "is gone" in err
    assert "2 failed, 2 ok" in isr("status", started)[1]


def test_files_are_linked_or_copied(isr, night, tmp_path):
    for option, is_link in ((), True), (("--copy",), False):
        root = tmp_path / f"linked-{is_link}"
        isr("init", root, "--camera", "simulated")
        assert isr("ingest", root, *option, night / "bias1.fits")[0] == 0
        place = root / "raw" / "2020-01-01" / "101.fits"
        assert place.is_symlink() == is_link
        assert place.read_bytes() == (night / "bias1.fits").read_bytes()
        assert isr("ingest", root, *option, night / "bias1.fits")[1] == "0 files ingested, 1 known before\n"


def test_two_files_of_one_exposure_are_told_of_in_one_report_and_nothing_else_is_lost(isr, night, tmp_path):
    others = tmp_path / "others"
    for number in (1, 2):
        with fits.open(night / f"bias{number}.fits") as hdus:
            hdus[1].data[0, 0] += 1
            hdus[0].header["EXPNUM"] = 100 + number
            others.mkdir(exist_ok=True)
            hdus.writeto(others / f"again{number}.fits")
    (others / "none.fits").write_text("SIMPLE")
    (others / "copy.fits").write_bytes((night / "bias1.fits").read_bytes())
    root = tmp_path / "repository"
    isr("init", root, "--camera", "simulated")
    status, out, err = isr("ingest", root, night, others)
    assert status == 1
    assert out == "15 files ingested, 1 known before\n"
    assert "2 files differ from what the repository has" in err
    assert all(f"again{number}.fits" in err and f"bias{number}.fits" in err for number in (1, 2))
    assert "1 files cannot be ingested" in err
    assert "30 raw frames" in isr("list", root)[1]
    assert isr("rebuild", root)[0] == 0


def test_a_listing_can_be_narrowed(isr, started):
    out = isr(
        "list", started, "--type", "flat", "--filter", "r", "--night", "2020-01-01", "--detector", "sim1"
    )[1]
    assert "5 raw frames" in out
    assert "sim0" not in out
    assert "0 raw frames" in isr("list", started, "--night", "2020-01-02")[1]


def test_making_a_repository_is_refused_where_something_is(isr, tmp_path, night):
    assert isr("init", tmp_path / "a", "--camera", "simulated")[0] == 0
    assert "was already" in isr("init", tmp_path / "a", "--camera", "simulated")[1]
    status, _, err = isr("init", tmp_path / "a", "--camera", "MegaCam")
    assert (status, "of camera 'simulated'" in err) == (2, True)
    status, _, err = isr("init", night, "--camera", "simulated")
    assert (status, "is not empty" in err) == (2, True)
    status, _, err = isr("list", night)
    assert (status, "is no repository" in err) == (2, True)
    assert isr("init", tmp_path / "b", "--camera", "none")[0] == 2


def test_tables_are_certified_by_name(isr, started, night):
    assert isr("certify", started, night / "defects" / "sim0.txt")[0] == 2
    done = isr("certify", started, night / "defects" / "sim0.txt", "--kind", "defects", "--to", "2020-06-01")
    assert done[1] == "calib/defects/sim0.txt: defects of sim0, valid from ever to 2020-06-02T00:00:00\n"
    off = ["-c", "doBias=false", "doDefect=true", *WITHOUT[1:]]
    assert "2 ok" in isr("run", started, "--id", "detector=sim0", *off)[1]
    product = started / "products" / "2020-01-01" / "114_sim0.fits"
    assert read_provenance(product)["defects"].endswith("calib/defects/sim0.txt")


def test_defects_are_made_and_used(isr, calibrated):
    assert isr("calibrate", "defects", calibrated)[0] == 0
    assert "made before" in isr("calibrate", "defects", calibrated)[1]
    off = ["-c", "doDefect=true", *WITHOUT[1:]]
    assert "2 ok" in isr("run", calibrated, "--id", "detector=sim0", *off)[1]
    product = calibrated / "products" / "2020-01-01" / "114_sim0.fits"
    assert read_provenance(product)["defects"].endswith("calib/defects/2020-01-01_sim0.ecsv")
    assert isr("rebuild", calibrated)[0] == 0


def test_masters_of_a_repository_can_go_elsewhere(isr, calibrated, tmp_path):
    assert isr("calibrate", "gain", calibrated)[0] == 2
    assert isr("calibrate", "gain", calibrated, "-o", tmp_path / "gain.ecsv")[0] == 0
    assert isr("calibrate", "flat", calibrated, "-o", tmp_path / "flats")[0] == 0
    assert (tmp_path / "flats" / "flat_sim0.fits").exists()
    assert read_provenance(tmp_path / "flats" / "flat_sim0.fits")["bias"].endswith("2020-01-01_sim0.fits")
    assert "0 calibrations" in isr("list", calibrated, "--type", "flat")[1]


def test_frames_for_masters_are_chosen(isr, started):
    assert isr("calibrate", "flat", started, "--filter", "g")[0] == 2
    status, _, err = isr("calibrate", "bias", started, "--night", "2020-01-02")
    assert (status, "has no frame of type bias, night 2020-01-02" in err) == (2, True)
    assert isr("calibrate", "bias", started, "--detectors", "sim1")[0] == 0
    assert "1 calibrations" in isr("list", started, "--type", "bias")[1]
    # The flats of the other detector would go uncorrected without a word.
    status, _, err = isr("calibrate", "flat", started)
    assert status == 1
    assert "bias: the repository has none" in err


def test_a_range_that_is_empty_is_refused(isr, calibrated):
    bias = calibrated / "calib" / "bias" / "2020-01-01_sim0.fits"
    status, _, err = isr("certify", calibrated, bias, "--from", "2020-02-01", "--to", "2020-01-01")
    assert (status, "never" in err) == (2, True)
    status, _, err = isr("certify", calibrated, bias, "--from", "soon")
    assert (status, "is no date" in err) == (2, True)


def test_another_validity_does_not_change_what_a_master_is_made_of(isr, calibrated):
    for name in ("sim0", "sim1"):
        path = calibrated / "calib" / "bias" / f"2020-01-01_{name}.fits"
        assert isr("certify", calibrated, path, "--to", "2020-12-31")[0] == 0
    assert "made before of the same frames" in isr("calibrate", "bias", calibrated)[1]
    assert isr("list", calibrated, "--type", "bias")[1].count("2021-01-01T00:00:00") == 2


def test_validity_survives_a_rebuild(isr, started):
    isr("calibrate", "bias", started, "--valid-days", "3")
    before = isr("list", started, "--type", "bias")[1]
    # Three days after the last bias, before the first.
    assert "2019-12-30T00:05:00   2020-01-05T00:25:00" in before
    for path in started.glob("registry.sqlite3*"):
        path.unlink()
    assert isr("list", started)[0] == 2
    assert isr("rebuild", started)[0] == 0
    assert isr("list", started, "--type", "bias")[1] == before


def test_a_damaged_registry_is_put_aside_and_made_anew(isr, started):
    before = isr("list", started)[1]
    (started / "registry.sqlite3").write_bytes(b"this is no database, " * 500)
    for ending in ("-wal", "-shm"):
        (started / f"registry.sqlite3{ending}").unlink(missing_ok=True)
    status, _, err = isr("list", started)
    assert (status, "isr rebuild" in err) == (2, True)
    assert isr("rebuild", started)[0] == 0
    assert isr("list", started)[1] == before
    assert (started / "registry.sqlite3.damaged").exists()


def test_a_product_of_other_inputs_settings_or_versions_is_another_one():
    def identity(raw="a", detector="sim0", bias="b", config="", version="1"):
        plugins = {"simulated": isrcore_simulated, "standard": isrcore_standard}
        registry = Registry(plugins, dict.fromkeys(plugins, version))
        detector_ = registry.camera("simulated")["sim0"]
        raw_frame = Exposure(MaskedImage.from_raw(np.zeros(detector_.raw_shape, np.uint16)), detector_)
        options = default_config(registry, "simulated")
        options.doBias = options.doDark = options.doFlat = options.expectWcs = False
        plan = IsrTask(options, camera="simulated", registry=registry).plan(raw_frame)
        return fingerprint(raw, detector, plan, {"bias": bias}, config, registry)

    changes = ({}, {"raw": "c"}, {"detector": "sim1"}, {"bias": "c"}, {"config": "x"}, {"version": "2"})
    assert len({identity(**change) for change in changes}) == len(changes)
    assert identity() == identity()


def test_a_rebuild_leaves_out_what_a_killed_command_left_and_removes_it_when_it_is_old(isr, calibrated):
    before = isr("list", calibrated)[1]
    left = calibrated / "calib" / "flat" / ".isr-calibrate-abc.part"
    file = calibrated / "calib" / "flat" / ".2020-01-01_r_sim0.fits.abc.part"
    left.mkdir(parents=True)
    for path in (left / "combined0.npz", file):
        path.write_bytes(b"half")
    status, out, err = isr("rebuild", calibrated)
    assert (status, "no row" in out + err) == (0, False)
    assert isr("list", calibrated)[1] == before
    # What somebody may still be working on stays.
    assert left.exists()
    assert file.exists()
    for path in (left / "combined0.npz", left, file):
        os.utime(path, (1.0, 1.0))
    # A name whose file is gone: somebody is at work there, and took it away a moment ago.
    busy = left.with_name(".isr-calibrate-def.part")
    busy.mkdir()
    (busy / "1.planes").symlink_to(busy / "gone")
    os.utime(busy, (1.0, 1.0))
    assert isr("rebuild", calibrated)[0] == 0
    assert busy.exists()
    assert not left.exists()
    assert not file.exists()


def test_a_registry_of_another_layout_is_not_touched(isr, started):
    with sqlite3.connect(started / "registry.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    status, _, err = isr("list", started)
    assert (status, "has layout 99" in err) == (2, True)
    assert isr("rebuild", started)[0] == 0
    assert isr("list", started)[0] == 0


def test_each_file_is_opened_once(repository: EmbeddedRepository, tmp_path: Path) -> None:
    paths = [str(write_raw(tmp_path / f"{number}.fits", number)) for number in (1, 2, 3)]
    script = f"""
import sys
from pathlib import Path
from isrcore_repository.ingest import ingest
from isrcore_repository.repository import EmbeddedRepository
from tests.small_camera import REGISTRY
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
ingest(EmbeddedRepository.open({str(repository.root)!r}, REGISTRY), map(Path, {paths!r}))
print([opened.count(path) for path in {paths!r}])
"""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[1, 1, 1]\n"


def test_a_file_that_changed_is_not_handed_out(repository: EmbeddedRepository, tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.fits", 1, 5)
    assert len(ingest(repository, [path]).added) == 1
    assert repository.get("raw", exposure=1, detector="left").image[0, 0] == 5
    content = path.read_bytes()
    path.write_bytes(content[:-2880])
    assert not repository.datasetExists("raw", exposure=1, detector="left")
    with pytest.raises(DatasetError, match="changed after it was ingested"):
        repository.get("raw", exposure=1, detector="left")
    assert len(ingest(repository, [path]).failed) == 1
    path.write_bytes(content)
    assert len(ingest(repository, [path]).added) == 1
    assert repository.datasetExists("raw", exposure=1, detector="left")


def test_a_file_that_was_removed_can_be_ingested_again(
    repository: EmbeddedRepository, tmp_path: Path
) -> None:
    path = write_raw(tmp_path / "a.fits", 1)
    for _ in range(2):
        ingest(repository, [path])
        (frame, _) = repository.raw_frames()
        assert not frame.problem
        frame.path.unlink()
    assert "is gone" in repository.raw_frames()[0].problem


def test_an_exposure_may_come_in_several_files(repository: EmbeddedRepository, tmp_path: Path) -> None:
    parts = [write_raw(tmp_path / f"{name}.fits", 1, 5, [name]) for name in NAMES]
    assert len(ingest(repository, parts).added) == 2
    assert [frame.path.name for frame in repository.raw_frames()] == ["1_left.fits", "1_right.fits"]


def test_a_frame_without_number_is_known_by_its_date(repository: EmbeddedRepository, tmp_path: Path) -> None:
    ingest(repository, [write_raw(tmp_path / "a.fits", EXPNUM=None)])
    assert {frame.exposure for frame in repository.raw_frames()} == {20220103010005000}
    report = ingest(repository, [write_raw(tmp_path / "b.fits", EXPNUM=None, **{"DATE-OBS": None})])
    assert "tells neither a number nor a date" in report.failed[0]


def test_frames_of_another_camera_are_refused(isr, tmp_path: Path, night: Path) -> None:
    isr("init", tmp_path / "a", "--camera", "EFOSC2")
    status, out, err = isr("ingest", tmp_path / "a", night / "bias1.fits")
    assert (status, out) == (1, "0 files ingested, 0 known before\n")
    assert "is of camera 'simulated', the repository of 'EFOSC2'" in err


def test_a_night_lasts_from_noon_to_noon_at_the_telescope() -> None:
    cameras = Registry.discover().cameras
    # Hawaii: the evening of the 26th is the 27th in Greenwich.
    assert cameras["MegaCam"].night(Time("2022-01-27T05:00:00")) == "2022-01-26"
    assert cameras["MegaCam"].night(Time("2022-01-27T16:00:00")) == "2022-01-26"
    assert cameras["MegaCam"].night(Time("2022-01-27T23:00:00")) == "2022-01-27"
    assert CAMERA.night(Time("2022-01-27T11:59:00")) == "2022-01-26"


def test_a_listing_says_what_reading_says(night: Path, tmp_path: Path) -> None:
    registry = Registry.discover()
    camera = registry.camera("MegaCam")
    visit = VisitInfo(
        1000001, 60.0, 60.0, Time("2015-11-01T10:00:00"), "r.MP9601", "M31", "science", 30.0, -5.0
    )
    pixels = {one: MaskedImage.from_raw(np.full(one.raw_shape, 9, np.uint16)) for one in camera.detectors[:2]}
    frames = (Exposure(image, one, "MegaCam", visit) for one, image in pixels.items())
    registry.write_raw(tmp_path / "1000001o.fits.fz", camera, frames)
    for path in (tmp_path / "1000001o.fits.fz", night / "science1.fits", night / "bias1.fits"):
        found, surveyed = registry.list_raw(path), list(registry.survey_raw(path))
        assert found.camera == surveyed[0].camera
        assert found.detectors == tuple(exposure.detector.name for exposure in surveyed)
        # Unknown numbers are not equal to themselves; their texts are.
        assert repr(found.visit) == repr(surveyed[0].visit)


def test_raw_files_are_listed_whatever_their_compression(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.fits", 7)
    with fits.open(path) as hdus:
        packed = [fits.CompImageHDU(one.data, one.header, compression_type="RICE_1") for one in hdus[1:]]
        fits.HDUList([hdus[0], *packed]).writeto(tmp_path / "b.fits.fz")
        hdus.writeto(tmp_path / "c.fits.gz")
    expected = SMALL.list_raw(path)
    assert expected.detectors == NAMES
    for name in ("b.fits.fz", "c.fits.gz"):
        found = SMALL.list_raw(tmp_path / name)
        assert (found.visit.exposure_id, found.detectors) == (7, NAMES)
        # Images have their own shape, not that of the tiles they are packed into.
        assert [one.shape for one in list_source(tmp_path / name).extensions] == [(), (4, 6), (4, 6)]
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(RawError, match="truncated"):
        SMALL.list_raw(path)
    with pytest.raises(RawError, match="does not exist"):
        SMALL.list_raw(tmp_path / "nothing.fits")


def test_tasks_run_on_a_repository(isr, calibrated: Path) -> None:
    repository = Registry.discover().open_repository(str(calibrated))
    assert isinstance(repository, DataRepository)
    assert isinstance(repository, Repository)
    config = default_config(Registry.discover(), "simulated")
    config.doDark = config.doFlat = False
    config.qa.doThumbnailOss = True
    task = IsrTask(config, camera="simulated")
    reference = repository.at(exposure=114, detector="sim0")
    task.runDataRef(reference)
    assert "bias-subtracted" in reference.get("postISRCCD").facts
    assert reference.get("ossThumb").dtype == np.uint8
    for write in (task.writeConfig, task.writeSchemas, task.writePackageVersions):
        write(repository)
        write(repository)
    task.writeMetadata(reference)
    assert "runStartUtc" in reference.get("isr_metadata")["isr"]
    assert isr("rebuild", calibrated)[0] == 0


def test_datasets_are_new_or_kept_or_missing_as_asked(repository: EmbeddedRepository) -> None:
    here = repository.at(exposure=3, detector="left")
    metadata = Metadata()
    metadata.set("level", 1.5)
    here.put({"a": metadata}, "measurements", mustBeNew=True)
    with pytest.raises(DatasetExistsError):
        here.put({"a": metadata}, "measurements", mustBeNew=True)
    assert here.get("measurements") == {"a": {"level": [1.5]}}
    with pytest.raises(DatasetError):
        here.get("nothing")
    assert not repository.datasetExists("measurements")
    with pytest.raises(RepositoryError, match="ingest"):
        here.put({"a": "b"}, "raw")


def test_files_of_other_frameworks_are_no_repositories(tmp_path: Path) -> None:
    assert Registry.discover().open_repository(str(tmp_path)) is None
    make_repository(tmp_path / "a b", "small")
    uri = (tmp_path / "a b").as_uri()
    assert "%20" in uri
    assert Registry.discover().open_repository(uri) is not None


def test_rows_of_one_column_can_be_many(repository: EmbeddedRepository) -> None:
    assert repository.tables.rows(RawRow, exposure=range(100_000)) == []
