"""The documented command line: what it returns, how it exits, what it shows, and what it leaves behind."""

from __future__ import annotations

import io
import json
import logging
import pstats
import time
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

import isrcore_simulated
import isrcore_standard
from isrcore import (
    FolderRepository,
    IsrTask,
    PlanError,
    Registry,
    default_config,
    read_config,
    read_exposure,
)
from isrcore.cli.main import main
from isrcore.pictures import read_png
from isrcore_cfht import CfhtIsrTask
from isrcore_simulated.night import write_night

REGISTRY = Registry({"standard": isrcore_standard, "simulated": isrcore_simulated})
NO_MASTERS = ["-c", "doBias=false", "doDark=false", "doFlat=false"]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The practice night: two exposures of two detectors, and calibration frames."""
    folder = tmp_path_factory.mktemp("night")
    write_night(REGISTRY.camera("simulated"), folder)
    return folder


@pytest.fixture
def given(night: Path, tmp_path: Path) -> list[str]:
    """Arguments for the two science exposures."""
    files = [str(night / f"science{number}.fits") for number in (1, 2)]
    return [*files, "--output", str(tmp_path / "out"), *NO_MASTERS]


def test_a_run_returns_parser_command_runner_and_results(given: list[str], tmp_path: Path) -> None:
    done = IsrTask.parseAndRun(given, doReturnResults=True)
    assert list(done.getDict()) == ["argumentParser", "parsedCmd", "taskRunner", "resultList"]
    assert done.parsedCmd.output == tmp_path / "out"
    assert done.argumentParser.parse_args(given).files == done.parsedCmd.files
    assert done.taskRunner.task_class is IsrTask
    assert [result.exitStatus for result in done.resultList] == [0] * 4
    first = done.resultList[0]
    assert first.unit == "science1.fits[sim0]"
    assert first.result.exposure.detector.name == "sim0"
    assert first.metadata["isr"].scalar("status") == "ok"
    assert "runStartCpuTime" in first.metadata["isr"]


def test_results_are_not_kept_unless_asked_for(given: list[str]) -> None:
    done = IsrTask.parseAndRun([*given, "--id", "visit=1"])
    assert all(result.result is None for result in done.resultList)


def test_metadata_of_one_unit_do_not_mix_with_those_of_another(given: list[str]) -> None:
    done = IsrTask.parseAndRun(given)
    for result in done.resultList:
        assert len(result.metadata["isr"].values("runStartUtc")) == 1


def test_products_and_record_are_in_the_output_folder(given: list[str], tmp_path: Path) -> None:
    IsrTask.parseAndRun(given)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.glob("*.fits")) == [
        f"science{number}_sim{ccd}.fits" for number in (1, 2) for ccd in (0, 1)
    ]
    config = default_config(Registry.discover(), "simulated")
    for name in ("doBias", "doDark", "doFlat"):
        config.set(name, False)
    stored = FolderRepository(out / "record").get("isr_config", camera="simulated")
    assert config.compare_stored(stored) == []
    assert FolderRepository(out / "record").get("packages", camera="simulated")["isrcore"]
    metadata = FolderRepository(out / "record").get("isr_metadata", exposure="science2", detector="sim1")
    assert metadata["isr"]["status"] == ["ok"]
    assert {unit["status"] for unit in json.loads((out / "isr_report.json").read_text())["units"]} == {"ok"}


@pytest.mark.parametrize(
    ("words", "units"),
    [
        (["ccd=1"], ["science1.fits[sim1]", "science2.fits[sim1]"]),
        (["file=science2", "detector=sim0^sim1"], ["science2.fits[sim0]", "science2.fits[sim1]"]),
        (
            ["file=science1", "ccd=0", "--id", "file=science2", "ccd=1"],
            ["science1.fits[sim0]", "science2.fits[sim1]"],
        ),
    ],
)
def test_ids_choose_units(given: list[str], words: list[str], units: list[str]) -> None:
    done = IsrTask.parseAndRun([*given, "--id", *words])
    assert [result.unit for result in done.resultList] == units


def test_a_folder_stands_for_the_files_in_it(night: Path, tmp_path: Path) -> None:
    given = [str(night), "--output", str(tmp_path), *NO_MASTERS, "--id", "type=science", "ccd=0"]
    done = IsrTask.parseAndRun(given)
    assert [result.unit for result in done.resultList] == ["science1.fits[sim0]", "science2.fits[sim0]"]


def test_options_are_read_from_files_too(given: list[str], tmp_path: Path) -> None:
    options = tmp_path / "options"
    options.write_text("--id file=science1 ccd=0  # one unit\n\n# and settings:\n-c overscan.fitType=MEAN\n")
    done = IsrTask.parseAndRun([*given, f"@{options}"])
    assert len(done.resultList) == 1
    assert 'fitType = "MEAN"' in read_config(tmp_path / "out" / "science1_sim0.fits")


def test_files_and_settings_count_in_the_order_given(given: list[str], tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[overscan]\nfitType = "MEAN"\n')
    one = ["--id", "file=science1", "ccd=0"]
    for order, wanted in (
        (["-C", str(file), "-c", "overscan.fitType=MEDIAN"], "MEDIAN"),
        (["-c", "overscan.fitType=MEDIAN", "-C", str(file)], "MEAN"),
    ):
        IsrTask.parseAndRun([*given, *one, *order, "--overwrite", "--clobber-config"])
        assert f'fitType = "{wanted}"' in read_config(tmp_path / "out" / "science1_sim0.fits")


def test_override_files_are_data_and_never_run(given: list[str], tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "settings.py"
    file.write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'run')!r}).touch()\n")
    with pytest.raises(SystemExit) as stop:
        IsrTask.parseAndRun([*given, "-C", str(file)])
    assert stop.value.code == 1
    assert "settings.py' cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_given_config_takes_the_place_of_the_camera_s(given: list[str], tmp_path: Path) -> None:
    config = default_config(Registry.discover(), "simulated")
    config.overscan.fitType = "MEAN_PER_ROW"
    IsrTask.parseAndRun([*given, "--id", "file=science1", "ccd=0"], config=config)
    assert 'fitType = "MEAN_PER_ROW"' in read_config(tmp_path / "out" / "science1_sim0.fits")


class Softer(IsrTask):
    """Overrides between the camera's and the user's."""

    @classmethod
    def applyOverrides(cls, config: Any) -> None:
        config.overscan.fitType, config.overscan.numSigmaClip = "MEANCLIP", 2.0


def test_overrides_of_the_task_come_after_the_camera_s_and_before_the_user_s(given: list[str]) -> None:
    words = [*given, "--id", "file=science1", "ccd=0", "-c", "overscan.numSigmaClip=5"]
    done = Softer.parseAndRun(words)
    config = done.taskRunner.batch.tasks["simulated"].config
    assert (config.overscan.fitType, config.overscan.numSigmaClip) == ("MEANCLIP", 5.0)
    assert config.origin("overscan.fitType").who == "Softer"
    assert type(done.taskRunner.batch.tasks["simulated"]) is Softer


def test_what_is_shown_answers_who_set_it(given: list[str], tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("\n[flat]\nuserScale = 2.0\n")
    words = [*given, "-C", str(file), "-c", "flat.userScale=3.0", "--show", "history=flat.userS*"]
    done = IsrTask.parseAndRun(words)
    assert (done.taskRunner, done.resultList) == (None, [])
    assert capsys.readouterr().out.splitlines() == [
        "# camera simulated",
        "flat.userScale",
        "  1.0  default: isrcore_standard.flat.FlatConfig",
        f"  2.0  file: {file}:3",
        "  3.0  command line: -c flat.userScale=3.0",
    ]
    assert not (tmp_path / "out").exists()


def test_config_tasks_and_data_are_shown(given: list[str], capsys: Any) -> None:
    IsrTask.parseAndRun([*given, "--show", "config=flat.*", "tasks", "data", "--id", "ccd=0"])
    told = capsys.readouterr().out.splitlines()
    assert "flat.userScale = 1.0" in told
    assert not any(line.startswith("overscan") for line in told)
    assert "isr.overscan: isrcore_standard.overscan.Overscan" in told
    assert told[-2:] == ["science1.fits[sim0] simulated", "science2.fits[sim0] simulated"]


def test_showing_and_running_go_together(given: list[str], tmp_path: Path, capsys: Any) -> None:
    IsrTask.parseAndRun([*given, "--id", "file=science1", "ccd=0", "--show", "config=doFlat", "run"])
    assert "doFlat = false" in capsys.readouterr().out
    assert (tmp_path / "out" / "science1_sim0.fits").exists()


@pytest.mark.parametrize("words", [["--show", "all"], ["--show", "config=nothing.*"], ["--id", "visits=3"]])
def test_what_cannot_be_shown_or_chosen_exits_with_one(given: list[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        IsrTask.parseAndRun([*given, *words])
    assert stop.value.code == 1


def test_a_run_with_another_config_is_refused_before_anything_is_done(
    given: list[str], tmp_path: Path, capsys: Any
) -> None:
    IsrTask.parseAndRun([*given, "--id", "file=science1"])
    with pytest.raises(SystemExit) as stop:
        IsrTask.parseAndRun([*given, "--id", "file=science2", "-c", "overscan.fitType=MEAN"])
    # The original exits with 0 here (behaviour §9, fault 37).
    assert stop.value.code == 1
    assert "overscan.fitType: 'MEAN' here, 'MEDIAN" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("science2*"))
    done = IsrTask.parseAndRun([*given, "--id", "file=science2", "-c", "overscan.fitType=MEAN", "--noExit"])
    assert done.resultList == []
    IsrTask.parseAndRun([*given, "--id", "file=science2", "-c", "overscan.fitType=MEAN", "--clobber-config"])
    assert len(list((tmp_path / "out" / "record" / "isr_config").glob("*~1"))) == 1
    IsrTask.parseAndRun([*given, "--overwrite", "--clobber-config", "--no-backup-config"])
    assert len(list((tmp_path / "out" / "record" / "isr_config").glob("*~*"))) == 1


def test_pictures_of_steps_make_no_other_config(given: list[str], tmp_path: Path) -> None:
    IsrTask.parseAndRun([*given, "--id", "file=science1"])
    shown = ["-c", "debug.steps=overscan", f"debug.folder={tmp_path / 'views'}"]
    done = IsrTask.parseAndRun([*given, "--id", "file=science2", *shown])
    assert [result.exitStatus for result in done.resultList] == [0, 0]
    assert len(list((tmp_path / "views").iterdir())) == 2


def test_a_run_with_other_package_versions_is_refused(given: list[str], tmp_path: Path, capsys: Any) -> None:
    one = [*given, "--id", "file=science1", "ccd=0", "--overwrite"]
    record = FolderRepository(tmp_path / "out" / "record").at(camera="simulated")
    record.put({"numpy": "0.1"}, "packages")
    with pytest.raises(SystemExit):
        IsrTask.parseAndRun(one)
    assert "numpy: 0.1 stored" in capsys.readouterr().err
    IsrTask.parseAndRun([*one, "--no-versions"])
    assert record.get("packages") == {"numpy": "0.1"}
    IsrTask.parseAndRun([*one, "--clobber-versions"])
    assert record.get("packages")["numpy"] != "0.1"


def test_the_exit_status_is_the_number_of_failures(given: list[str], capsys: Any) -> None:
    words = [*given, "-c", "doFlat=true"]
    with pytest.raises(SystemExit) as stop:
        IsrTask.parseAndRun(words)
    assert stop.value.code == 4
    assert "4 units failed" in capsys.readouterr().err
    done = IsrTask.parseAndRun([*words, "--noExit", "--overwrite"])
    assert [result.exitStatus for result in done.resultList] == [1] * 4
    assert "needs calibration 'flat'" in done.resultList[0].reason


class Stumbling(IsrTask):
    """Fails at one detector, in the middle of the work."""

    def run(self, /, ccdExposure: Any, **inputs: Any) -> Any:
        if ccdExposure.detector.name == "sim1":
            raise ZeroDivisionError("oh")
        return super().run(ccdExposure, **inputs)


class Keeping(IsrTask):
    """Stores metadata its own way."""

    def writeMetadata(self, dataRef: Any) -> None:
        # The next unit would be begun meanwhile.
        time.sleep(0.5)
        found = self.getFullMetadata()
        told = "status" in found["isr"], len(found["isr:overscan"]) > 0
        where = "_".join(dataRef.dataId.values())
        (dataRef.root.parent / f"{where}.txt").write_text(f"{told}")


@pytest.mark.parametrize("words", [[], ["--timeout", "100"]], ids=["here", "apart"])
def test_a_task_may_store_metadata_its_own_way(given: list[str], tmp_path: Path, words: list[str]) -> None:
    Keeping.parseAndRun([*given, "--id", "ccd=0", *words, "-c", "doWrite=false"])
    kept = {path.stem: path.read_text() for path in (tmp_path / "out").glob("*.txt")}
    assert kept == dict.fromkeys(("science1_sim0", "science2_sim0"), "(True, True)")


def test_a_unit_that_fails_has_metadata_with_the_reason(given: list[str], tmp_path: Path) -> None:
    done = Stumbling.parseAndRun([*given, "--noExit", "--id", "file=science1"])
    assert [result.exitStatus for result in done.resultList] == [0, 1]
    stored = FolderRepository(tmp_path / "out" / "record").get(
        "isr_metadata", exposure="science1", detector="sim1"
    )
    assert stored["isr"]["reason"] == ["ZeroDivisionError: oh"]


def test_the_error_of_a_unit_is_raised_if_wanted(given: list[str]) -> None:
    with pytest.raises(ZeroDivisionError, match="oh"):
        Stumbling.parseAndRun([*given, "--doraise"])


def test_log_levels_are_set_for_all_or_for_one(given: list[str]) -> None:
    log = logging.getLogger("isrcore.tests_of_levels")
    IsrTask.parseAndRun([*given, "--show", "data", "-L", "debug", "-L", "isrcore.other=error"], log=log)
    assert log.level == logging.DEBUG
    assert logging.getLogger("isrcore.other").level == logging.ERROR
    with pytest.raises(SystemExit) as stop:
        IsrTask.parseAndRun([*given, "-L", "loud"])
    assert stop.value.code == 2


def test_a_profile_is_written(given: list[str], tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    IsrTask.parseAndRun([*given, "--id", "file=science1", "ccd=0", "--profile", str(profile)])
    told = io.StringIO()
    pstats.Stats(str(profile), stream=told).print_stats("run")
    assert "isr.py" in told.getvalue()


def test_a_unit_that_takes_too_long_fails_and_the_others_go_on(given: list[str]) -> None:
    done = IsrTask.parseAndRun([*given, "--id", "file=science1", "--timeout", "0.000001", "--noExit"])
    assert [result.exitStatus for result in done.resultList] == [1, 1]
    assert "it took longer than 1e-06 s" in done.resultList[0].reason


@pytest.fixture(scope="module")
def four_ccds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated MegaCam exposure of four CCDs, the third of which is damaged."""
    folder = tmp_path_factory.mktemp("megacam")
    words = ["simulate", "--camera", "megacam", "--detectors", "0,1,2,3", "--type", "science", "--seed", "5"]
    assert main([*words, str(folder)]) == 0
    (path,) = folder.glob("*o.fits.fz")
    with fits.open(path, disable_image_compression=True) as hdus:
        damaged = hdus["ccd02"].fileinfo()
    with path.open("r+b") as stream:
        stream.seek(damaged["datLoc"] + damaged["datSpan"] // 2)
        stream.write(b"\xff" * 20_000)
    return path


def test_four_ccds_one_of_them_damaged_on_two_processes(four_ccds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [str(four_ccds), "--output", str(out), "-j", "2", *NO_MASTERS, "doDefect=false"]
    with pytest.raises(SystemExit) as stop:
        CfhtIsrTask.parseAndRun(words)
    assert stop.value.code == 1
    products = sorted(path.name for path in out.glob("*.fits"))
    assert [name[-10:-5] for name in products] == ["ccd00", "ccd01", "ccd03"]
    assert read_exposure(out / products[0]).facts
    units = json.loads((out / "isr_report.json").read_text())["units"]
    assert [unit["status"] for unit in units] == ["ok", "ok", "failed", "ok"]
    record, reasons = FolderRepository(out / "record"), []
    for ccd in range(4):
        stem = products[0].partition("_")[0]
        metadata = record.get("isr_metadata", exposure=stem, detector=f"ccd{ccd:02d}")
        reasons.append(metadata["isr"].get("reason", [""])[0])
    assert [bool(reason) for reason in reasons] == [False, False, True, False]
    assert reasons[2] == units[2]["reason"]


def test_plan_errors_are_raised_if_wanted(given: list[str]) -> None:
    with pytest.raises(PlanError, match="needs calibration 'flat'"):
        IsrTask.parseAndRun([*given, "-c", "doFlat=true", "--doraise"])


def test_what_is_asked_for_besides_the_product_is_written_too(given: list[str], tmp_path: Path) -> None:
    wanted = ["qa.doThumbnailOss=true", "qa.doThumbnailFlattened=true", "doSaveInterpPixels=true"]
    IsrTask.parseAndRun([*given, *wanted, "--id", "file=science1", "ccd=0"])
    out = tmp_path / "out"
    assert sorted(path.name for path in out.rglob("science1_sim0.png")) == ["science1_sim0.png"] * 2
    assert read_png(out / "ossThumb" / "science1_sim0.png").shape == (20, 24, 3)
    assert (out / "flattenedThumb" / "science1_sim0.png").exists()
    before = read_exposure(out / "postISRCCD_uninterpolated" / "science1_sim0.fits")
    after = read_exposure(out / "science1_sim0.fits")
    assert not before.pixels.flagged("INTRP").any()
    replaced = after.pixels.flagged("INTRP")
    assert replaced.any()
    assert (before.image[~replaced] == after.image[~replaced]).all()
    assert read_config(out / "postISRCCD_uninterpolated" / "science1_sim0.fits") == read_config(
        out / "science1_sim0.fits"
    )


def test_without_doWrite_only_thumbnails_and_the_record_are_written(given: list[str], tmp_path: Path) -> None:
    words = ["doWrite=false", "qa.doThumbnailOss=true", "doSaveInterpPixels=true"]
    done = IsrTask.parseAndRun([*given, *words, "--id", "file=science1", "ccd=0"], doReturnResults=True)
    assert [result.exitStatus for result in done.resultList] == [0]
    assert done.resultList[0].result.preInterpolatedExposure is not None
    out = tmp_path / "out"
    assert not list(out.rglob("*.fits"))
    assert [path.parent.name for path in out.rglob("*.png")] == ["ossThumb"]
    (unit,) = json.loads((out / "isr_report.json").read_text())["units"]
    assert (unit["status"], unit["product"]) == ("ok", None)
    assert list((out / "record" / "isr_metadata").iterdir())


def test_every_word_of_every_show_is_shown(given: list[str], capsys: Any) -> None:
    IsrTask.parseAndRun([*given, "--show", "config=doFlat", "--show", "data"])
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["# camera simulated", "doFlat = false"]
    assert len(told) == 2 + 4


def test_ids_that_fit_nothing_are_told(given: list[str], caplog: pytest.LogCaptureFixture) -> None:
    done = IsrTask.parseAndRun([*given, "--id", "ccd=1", "--id", "visit=998^999"])
    assert len(done.resultList) == 2
    (warning,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.getMessage() == "--id visit=998^999 fits nothing that is there"
    assert IsrTask.parseAndRun([*given, "--id", "visit=999"]).resultList == []


@pytest.mark.parametrize("name", ["nowhere/profile", "."])
def test_a_profile_that_cannot_be_written_is_refused_at_once(
    given: list[str], tmp_path: Path, name: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as stop:
        IsrTask.parseAndRun([*given, "--profile", str(tmp_path / name)])
    assert stop.value.code == 2
    assert "--profile: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_task_for_one_camera_keeps_its_config_beside_files_of_others(
    four_ccds: Path, given: list[str], capsys: Any
) -> None:
    CfhtIsrTask.parseAndRun([str(four_ccds), *given, "--show", "config=overscan.fitType"])
    told = capsys.readouterr().out.splitlines()
    assert told == ["# camera MegaCam", 'overscan.fitType = "MEDIAN_PER_ROW"']
