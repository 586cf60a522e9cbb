"""The `isr` command, run in this process on small simulated frames."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits

import isrcore_calib
import isrcore_simulated
import isrcore_standard
from isrcore import (
    Exposure,
    LinearityCurve,
    Linearizer,
    MaskedImage,
    RawSource,
    Registry,
    VisitInfo,
    hookimpl,
    read_exposure,
    write_exposure,
)
from isrcore.cli.run_options import add_run_options, threads_of
from isrcore.fits import read_config, read_provenance
from isrcore_simulated import CAMERA

PLUGINS = {"calib": isrcore_calib, "simulated": isrcore_simulated, "standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)
NO_MASTERS = ["-c", "doBias=false", "doDark=false", "doFlat=false"]
NO_DARK_OR_FLAT = ["-c", "doDark=false", "doFlat=false"]


def write_raw(path: Path, level: int = 500, **cards: object) -> str:
    """A raw file of both detectors: ``level`` adu above an overscan of 1000 adu."""
    primary = fits.PrimaryHDU()
    known = {"INSTRUME": "ISRSIM", "EXPTIME": 10.0, "DARKTIME": 10.0, "OBSTYPE": "science", "FILTER": "r"}
    primary.header.update({key: value for key, value in {**known, **cards}.items() if value is not None})
    hdus = fits.HDUList([primary])
    for detector in CAMERA.detectors:
        image = np.full(detector.raw_shape, 1000, np.uint16)
        for amp in detector.amplifiers:
            image[amp.raw_data_box.slices] += np.uint16(level)
        hdus.append(fits.ImageHDU(image))
        hdus[-1].header["EXTNAME"] = detector.name
    hdus.writeto(path)
    return str(path)


def make_frame(kind: str, detector: str = "sim0", value: float = 1.0) -> Exposure:
    """A master of one value."""
    own = CAMERA[detector]
    pixels = MaskedImage.from_image(np.full(own.shape, value, np.float32))
    visit = VisitInfo(dark_s=5.0, observation_type=kind)
    unit = "" if kind == "flat" else "adu"
    return Exposure(pixels, own, "simulated", visit, unit=unit, facts=frozenset({"assembled", "converted"}))


def write_master(path: Path, kind: str, detector: str = "sim0", value: float = 1.0) -> str:
    write_exposure(make_frame(kind, detector, value), path)
    return str(path)


@pytest.fixture
def raw(tmp_path: Path) -> str:
    return write_raw(tmp_path / "raw.fits")


@pytest.fixture
def masters(tmp_path: Path) -> str:
    folder = tmp_path / "masters"
    folder.mkdir()
    for detector in ("sim0", "sim1"):
        for kind, value in (("bias", 7.0), ("dark", 3.0), ("flat", 2.0)):
            write_master(folder / f"{kind}_{detector}.fits", kind, detector, value)
    return str(folder)


def report(folder: Path) -> list[dict[str, object]]:
    """The units of a report."""
    units: list[dict[str, object]] = json.loads((folder / "isr_report.json").read_text())["units"]
    return units


def leftovers(folder: Path) -> list[str]:
    """Unfinished files."""
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


def test_the_command_alone_prints_its_help(isr):
    status, out, _ = isr()
    assert status == 0
    assert "isr run science*.fits" in out


@pytest.mark.parametrize("command", ["run", "plan", "cameras", "plugins", "calibrate"])
def test_every_help_has_an_example_and_says_what_the_exit_status_means(isr, command):
    status, out, _ = isr(command, "--help")
    assert status == 0
    assert f"  isr {command}" in out
    assert "exit status:" in out


def test_the_version_is_that_of_the_distribution(isr):
    status, out, _ = isr("--version")
    assert status == 0
    assert out.startswith("isr 0.")


def test_unknown_options_are_wrong_usage(isr, raw):
    assert isr("run", raw, "--unknown")[0] == 2


def test_every_detector_of_every_file_becomes_a_product(isr, tmp_path, masters):
    files = [write_raw(tmp_path / f"raw{number}.fits", level) for number, level in ((1, 500), (2, 600))]
    given = [f"--{kind}={masters}" for kind in ("bias", "dark", "flat")]
    status, out, _ = isr("run", *files, *given, "-o", tmp_path / "out")
    assert status == 0
    products = sorted((tmp_path / "out").glob("*.fits"))
    assert [path.name for path in products] == [
        "raw1_sim0.fits", "raw1_sim1.fits", "raw2_sim0.fits", "raw2_sim1.fits",
    ]  # fmt: skip
    # (500 adu - bias 7 - dark 3 adu in 5 s, for 10 s) / flat 2
    assert np.all(read_exposure(products[0]).image == (500 - 7 - 6) / 2)
    assert np.all(read_exposure(products[3]).image == (600 - 7 - 6) / 2)
    assert "4 ok" in out


def test_the_report_says_how_every_unit_ended(isr, tmp_path, raw):
    isr("run", raw, "-o", tmp_path / "out", *NO_MASTERS)
    first, second = report(tmp_path / "out")
    assert (first["status"], first["detector"], first["reason"]) == ("ok", "sim0", "")
    assert second["product"] == str(tmp_path / "out" / "raw_sim1.fits")
    assert "overscan" in first["steps"]
    assert first["flagged"] == 0


def test_a_product_knows_its_config_and_what_it_was_made_from(isr, tmp_path, raw, masters):
    isr("run", raw, "--bias", masters, "-o", tmp_path, *NO_DARK_OR_FLAT)
    product = tmp_path / "raw_sim1.fits"
    provenance = read_provenance(product)
    assert provenance["input"] == raw
    assert len(provenance["input sha256"]) == 64
    assert provenance["bias"] == f"{masters}/bias_sim1.fits"
    assert provenance["bias digest"] == read_exposure(f"{masters}/bias_sim1.fits").digest
    assert "dark" not in provenance
    assert "doFlat = false" in read_config(product)


def test_one_unit_may_name_its_product(isr, tmp_path, raw):
    status, *_ = isr("run", raw, "--detectors", "sim1", "-o", tmp_path / "mine.fits", *NO_MASTERS)
    assert status == 0
    assert read_exposure(tmp_path / "mine.fits").detector.name == "sim1"
    assert (tmp_path / "mine_report.json").exists()


def test_one_name_for_several_units_is_refused(isr, tmp_path, raw):
    status, _, err = isr("run", raw, "-o", tmp_path / "mine.fits", *NO_MASTERS)
    assert status == 2
    assert "there are 2 units; name a folder" in err


def test_detectors_are_named_or_numbered(isr, tmp_path, raw):
    isr("run", raw, "--detectors", "1,sim0", "-o", tmp_path, *NO_MASTERS)
    assert [unit["detector"] for unit in report(tmp_path)] == ["sim1", "sim0"]


def test_compressed_products_hold_the_same_pixels(isr, tmp_path, raw):
    isr("run", raw, "-o", tmp_path / "plain", *NO_MASTERS)
    isr("run", raw, "-o", tmp_path / "small", "--compress", *NO_MASTERS)
    plain = read_exposure(tmp_path / "plain" / "raw_sim0.fits")
    small = read_exposure(tmp_path / "small" / "raw_sim0.fits.fz")
    assert plain.digest == small.digest


@pytest.mark.parametrize(
    ("words", "threads"),
    [([], 4), (["--jobs", "2"], 1), (["--threads", "7"], 7), (["--jobs", "2", "--threads", "3"], 3)],
)
def test_one_process_uses_the_cores_and_several_share_them(monkeypatch, words, threads):
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)), raising=False)
    assert threads_of(parser.parse_args(words)) == threads
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert threads_of(parser.parse_args(words)) == (1 if not words else threads)


def test_the_number_of_threads_changes_nothing(isr, tmp_path, raw):
    isr("run", raw, "-o", tmp_path / "one", "--threads", "1", *NO_MASTERS)
    isr("run", raw, "-o", tmp_path / "two", "--threads", "2", *NO_MASTERS)
    one, two = (read_exposure(tmp_path / name / "raw_sim0.fits") for name in ("one", "two"))
    assert one.digest == two.digest


def test_a_quoted_pattern_is_filled_in(isr, tmp_path, raw):
    assert isr("run", tmp_path / "r*.fits", "-o", tmp_path / "out", *NO_MASTERS)[0] == 0
    status, _, err = isr("run", tmp_path / "x*.fits", "-o", tmp_path / "out", *NO_MASTERS)
    assert status == 2
    assert "nothing matches" in err


def test_giving_a_calibration_switches_its_step_on_unless_the_config_says_no(isr, tmp_path, raw):
    dark = write_master(tmp_path / "dark.fits", "dark")
    (tmp_path / "off.toml").write_text("doDark = false\ndoBias = false\ndoFlat = false\n")
    given = ["plan", raw, "--detectors", "sim0", "-C", tmp_path / "off.toml", "--dark", dark]
    _, out, _ = isr(*given)
    assert "command line: --dark" in out
    _, out, _ = isr(*given, "-c", "doDark=false")
    assert "doDark = false" in out
    assert "command line: -c doDark=false" in out


def test_defects_come_from_a_folder_by_the_name_of_the_detector(isr, tmp_path, raw):
    folder = tmp_path / "defects"
    folder.mkdir()
    (folder / "sim0.txt").write_text("0 0 3 2\n")
    (folder / "sim1.txt").write_text("10 10 1 1\n")
    assert isr("run", raw, "--defects", folder, "-o", tmp_path, *NO_MASTERS)[0] == 0
    flagged = [read_exposure(tmp_path / f"raw_{name}.fits").mask.astype(bool) for name in ("sim0", "sim1")]
    assert [mask.sum() for mask in flagged] == [6, 1]
    assert flagged[0][:2, :3].all()


def test_linearizers_come_from_files(isr, tmp_path, raw):
    """500 adu over the overscan, and a square of one percent at that level."""
    folder = tmp_path / "linearizers"
    folder.mkdir()
    for detector in CAMERA.detectors:
        curves = dict.fromkeys(detector.amplifier_names, LinearityCurve("Squared", (2e-5,)))
        Linearizer(curves, detector_name=detector.name).write(folder / f"{detector.name}.toml")
    assert isr("run", raw, "--linearizer", folder, "-o", tmp_path, *NO_MASTERS)[0] == 0
    product = read_exposure(tmp_path / "raw_sim1.fits")
    np.testing.assert_allclose(product.image, 505.0, rtol=1e-6)
    assert "linearized" in product.facts
    wrong = ["--detectors", "sim0", "--linearizer", folder / "sim1.toml", "-o", tmp_path / "other"]
    status, _, err = isr("run", raw, *wrong, *NO_MASTERS)
    assert status != 0
    assert "it is of detector 'sim1', not 'sim0'" in err


def test_a_plan_shows_every_step_and_alike_plans_once(isr, tmp_path, raw, masters):
    other = write_raw(tmp_path / "other.fits")
    status, out, _ = isr("plan", raw, other, "--bias", masters, *NO_DARK_OR_FLAT)
    assert status == 0
    assert "plan for 2 exposures: raw.fits[sim0], other.fits[sim0]" in out
    assert f"{masters}/bias_sim1.fits" in out
    lines = [line.split() for line in out.splitlines()]
    assert sum(line[:2] == ["overscan", "run"] for line in lines) == 2
    assert sum(line[:2] == ["dark", "skipped"] for line in lines) == 2


def test_output_to_a_pipe_is_plain_and_complete(isr, tmp_path):
    name = "a_file_with_quite_a_long_name_" * 6
    file = write_raw(tmp_path / f"{name}.fits")
    _, out, _ = isr("run", file, "-o", tmp_path, *NO_MASTERS)
    assert f"{name}.fits[sim0]" in out
    assert str(tmp_path / f"{name}_sim1.fits") in out
    assert "\x1b" not in out
    assert "…" not in out


def test_cameras_lists_cameras_and_their_detectors(isr):
    _, out, _ = isr("cameras")
    assert out.splitlines()[2].split()[:4] == ["simulated", "simulated", "2", "4"]
    _, out, _ = isr("cameras", "simulated")
    assert "[5:52,1:80]" in out
    status, _, err = isr("cameras", "simulatde")
    assert status == 2
    assert "no plugin describes camera 'simulatde'; known cameras: simulated" in err


def test_plugins_lists_what_each_brings(isr):
    status, out, _ = isr("plugins")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines()[2:]}
    assert "isr_commands" in rows["calib"]
    assert "nanFlags" in rows["standard"]


def test_a_plugin_that_cannot_be_imported_is_shown_and_takes_nobody_down(isr, tmp_path, raw):
    points = [
        EntryPoint("broken", "no_such_module", "isrcore"),
        *(EntryPoint(name, f"isrcore_{name}", "isrcore") for name in PLUGINS),
    ]
    registry = Registry.discover(points)
    status, out, _ = isr("plugins", registry=registry)
    assert status == 1
    assert "failed: ModuleNotFoundError: No module named 'no_such_module'" in out
    assert isr("run", raw, "-o", tmp_path, *NO_MASTERS, registry=registry)[0] == 0
    (tmp_path / "raw.fits").unlink()
    stranger = write_raw(tmp_path / "stranger.fits", INSTRUME="OTHER")
    _, _, err = isr("run", stranger, "-o", tmp_path, registry=registry)
    assert "plugin 'broken' failed to load" in err


class Greedy:
    """A plugin that claims every file."""

    @staticmethod
    @hookimpl
    def isr_read_raw(source: RawSource) -> Iterator[Exposure] | None:
        return iter(())


def test_a_file_claimed_by_two_cameras_names_both(isr, tmp_path, raw):
    registry = Registry({**PLUGINS, "greedy": Greedy()})
    status, _, err = isr("run", raw, "-o", tmp_path, *NO_MASTERS, registry=registry)
    assert status == 2
    assert "plugins 'greedy' and 'simulated' both claim this file" in err


def test_an_unknown_camera_is_told_with_those_there_are(isr, tmp_path):
    stranger = write_raw(tmp_path / "stranger.fits", INSTRUME="OTHER")
    status, _, err = isr("run", stranger, "-o", tmp_path / "out", *NO_MASTERS)
    assert status == 2
    assert "its header says: OTHER; known cameras: simulated" in err


def test_a_truncated_file_fails_and_loses_no_other(isr, tmp_path, raw):
    cut = tmp_path / "cut.fits"
    cut.write_bytes(Path(raw).read_bytes()[:-20_000])
    status, out, err = isr("run", cut, raw, "-o", tmp_path / "out", *NO_MASTERS)
    assert status == 1
    assert "is truncated in extension 'sim1'" in err
    assert [unit["status"] for unit in report(tmp_path / "out")] == ["failed", "ok", "ok"]
    assert "2 ok, 1 failed" in out


def test_missing_calibrations_are_told_all_together(isr, tmp_path, raw):
    status, out, err = isr("run", raw, "-o", tmp_path / "out")
    assert status == 2
    assert err.count("raw.fits[sim0], raw.fits[sim1] cannot be processed") == 1
    assert out == ""
    for kind, flag in (("bias", "doBias"), ("dark", "doDark"), ("flat", "doFlat")):
        assert f"needs calibration '{kind}', none was given: give one, or set {flag} = false" in err
    assert list((tmp_path / "out").glob("*.fits")) == []


def test_a_calibration_of_another_detector_is_refused_and_the_right_unit_goes_on(isr, tmp_path, raw):
    bias = write_master(tmp_path / "bias.fits", "bias", "sim0")
    status, _, err = isr("run", raw, "--bias", bias, "-o", tmp_path / "out", *NO_DARK_OR_FLAT)
    assert status == 1
    assert "it is of detector 'sim0', the exposure of 'sim1'" in err
    assert [unit["status"] for unit in report(tmp_path / "out")] == ["ok", "failed"]


def test_among_several_calibrations_none_of_the_detector_is_told(isr, tmp_path, raw):
    folder = tmp_path / "some"
    folder.mkdir()
    write_master(folder / "bias.fits", "bias", "sim0")
    write_master(folder / "flat.fits", "flat", "sim1")
    status, _, err = isr("plan", raw, "--bias", folder, *NO_DARK_OR_FLAT)
    assert status == 1
    assert "no bias of detector 'sim1' was given, only of sim0" in err


def test_two_calibrations_of_one_detector_are_ambiguous(isr, tmp_path, raw):
    files = [write_master(tmp_path / f"bias{number}.fits", "bias") for number in (1, 2)]
    status, _, err = isr("plan", raw, "--bias", *files, *NO_DARK_OR_FLAT)
    assert status == 2
    assert "2 files are of detector 'sim0'" in err


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_calibrations_that_are_not_there_are_told_before_anything_else(isr, tmp_path, raw, folder):
    (tmp_path / "empty").mkdir()
    status, _, err = isr("run", raw, "--bias", tmp_path / folder, "-o", tmp_path / "out", *NO_DARK_OR_FLAT)
    assert status == 2
    assert "--bias cannot be used" in err
    assert not (tmp_path / "out").exists()


def _shaped(shape: tuple[int, int], **changes: object) -> Exposure:
    """A bias of detector sim0 with pixels of another shape."""
    pixels = MaskedImage.from_image(np.zeros(shape, np.float32))
    return attrs.evolve(make_frame("bias"), pixels=pixels, **changes)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (_shaped((70, 96)), r"it has shape (70, 96), the detector needs (80, 96)"),
        (_shaped((86, 128), facts=frozenset()), "it looks untrimmed: assemble it first"),
        (
            attrs.evolve(make_frame("bias"), unit="electron"),
            "it is in 'electron', frames to subtract",
        ),
        (attrs.evolve(make_frame("bias"), camera="other"), "it is of camera 'other', the exposure of 'simul"),
    ],
    ids=["shape", "untrimmed", "unit", "camera"],
)
def test_a_calibration_that_does_not_fit_says_why(isr, tmp_path, raw, frame, told):
    write_exposure(frame, tmp_path / "bias.fits")
    given = ["--detectors", "sim0", "--bias", tmp_path / "bias.fits", "-o", tmp_path / "out"]
    status, _, err = isr("run", raw, *given, *NO_DARK_OR_FLAT)
    assert status == 2
    assert told in err


def test_a_damaged_calibration_says_so(isr, tmp_path, raw):
    bias = write_master(tmp_path / "bias.fits", "bias")
    content = bytearray(Path(bias).read_bytes())
    content[15_000] ^= 1
    Path(bias).write_bytes(content)
    status, _, err = isr("plan", raw, "--detectors", "sim0", "--bias", bias, *NO_DARK_OR_FLAT)
    assert status == 2
    assert "is damaged in HDU" in err


def test_a_missing_dark_time_is_told(isr, tmp_path):
    file = write_raw(tmp_path / "raw.fits", DARKTIME=None, EXPTIME=None)
    dark = write_master(tmp_path / "dark.fits", "dark")
    given = ["--detectors", "sim0", "--dark", dark, "-c", "doBias=false", "doFlat=false"]
    status, _, err = isr("run", file, *given, "-o", tmp_path / "out")
    assert status == 2
    assert "has no dark time: its header needs DARKTIME" in err


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("overscn.fitType=MEAN", "did you mean 'overscan.fitType'?"),
        ("doBias=maybe", "'doBias' wants bool, got 'maybe' (str)"),
        ("doBias", "setting 'doBias' is not of the form key=value"),
    ],
)
def test_wrong_settings_stop_everything_before_it_starts(isr, tmp_path, raw, setting, told):
    status, _, err = isr("run", raw, "-o", tmp_path / "out", *NO_MASTERS, setting)
    assert status == 2
    assert told in err
    assert not (tmp_path / "out").exists()


def test_all_that_is_wrong_with_arguments_is_told_together(isr, tmp_path, raw):
    (tmp_path / "wrong.toml").write_text("doNothing = true\n[overscan]\nfitType = 3\n")
    given = ["-C", tmp_path / "wrong.toml", "-c", "doFlt=true", "--flat", tmp_path / "none.fits"]
    status, _, err = isr("run", raw, *given, "-o", tmp_path)
    assert status == 2
    for told in ("'doNothing'", "'overscan.fitType'", "'doFlt'", "none.fits' does not exist"):
        assert told in err


def test_settings_that_contradict_each_other_are_refused(isr, raw):
    status, _, err = isr("plan", raw, "-c", "doFlat=true", "doApplyGains=true")
    assert status == 2
    assert "cannot start" in err
    assert "doFlat and doApplyGains are both true" in err


def test_a_folder_that_cannot_be_made_is_told(isr, tmp_path, raw):
    (tmp_path / "file").write_text("")
    status, _, err = isr("run", raw, "-o", tmp_path / "file" / "out", *NO_MASTERS)
    assert status == 2
    assert "cannot be made" in err


def test_products_are_replaced_only_on_request(isr, tmp_path, raw):
    given = ["run", raw, "-o", tmp_path / "out"]
    isr(*given, *NO_MASTERS)
    before = read_exposure(tmp_path / "out" / "raw_sim0.fits")
    status, _, err = isr(*given, *NO_MASTERS, "doOverscan=false")
    assert status == 2
    assert "it exists; remove it, choose another name or allow overwriting" in err
    assert read_exposure(tmp_path / "out" / "raw_sim0.fits").digest == before.digest
    status, _, err = isr(*given, "--overwrite", *NO_MASTERS, "doOverscan=false")
    assert status == 2
    assert "doOverscan: False here, True there" in err
    assert read_exposure(tmp_path / "out" / "raw_sim0.fits").digest == before.digest
    replacing = "--overwrite", "--clobber-config"
    assert isr(*given, *replacing, *NO_MASTERS, "doOverscan=false")[0] == 0
    assert read_exposure(tmp_path / "out" / "raw_sim0.fits").digest != before.digest


def test_two_inputs_never_become_one_product(isr, tmp_path, raw):
    (tmp_path / "night2").mkdir()
    twin = shutil.copy(raw, tmp_path / "night2")
    status, _, err = isr("run", raw, twin, "-o", tmp_path / "out", *NO_MASTERS)
    assert status == 2
    assert "would become one product" in err


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_partial_product(isr, tmp_path, raw):
    with full_disk(40_000):
        status, out, err = isr("run", raw, "-o", tmp_path / "out", *NO_MASTERS)
    assert status == 1
    assert "cannot write product" in err
    assert "2 failed" in out
    kept = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert kept == ["isr_report.json", "record"]
    assert {unit["status"] for unit in report(tmp_path / "out")} == {"failed"}


def test_a_product_that_cannot_be_forced_to_disk_fails_its_unit(isr, tmp_path, raw, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, out, err = isr("run", raw, "--detectors", "sim0", *NO_MASTERS, "-o", tmp_path / "one.fits")
    assert status == 1
    assert f"cannot write product '{tmp_path}/one.fits': [Errno 28] No space left on device" in err
    assert "1 failed" in out
    assert list(tmp_path.glob("*one.fits*")) == []


def test_what_killed_runs_left_is_removed(isr, tmp_path, raw):
    out = tmp_path / "out"
    out.mkdir()
    left = [out / f".{name}.0123.part" for name in ("raw_sim0.fits", "isr_report.json", "another.fits")]
    for path in left:
        path.touch()
    assert isr("run", raw, "--detectors", "sim0", *NO_MASTERS, "-o", out)[0] == 0
    assert [path.exists() for path in left] == [False, False, True]


def test_a_report_that_cannot_be_written_is_told(isr, tmp_path, raw):
    given = "run", raw, "--detectors", "sim0", *NO_MASTERS
    with full_disk(100):
        status, _, err = isr(*given, "-o", tmp_path / "one.fits")
    assert status == 1
    assert "one_report.json' cannot be written" in err
    assert list(tmp_path.glob("*one*")) == []


def test_nothing_is_run_when_the_record_cannot_be_written(isr, tmp_path, raw):
    with full_disk(100):
        status, _, err = isr("run", raw, "-o", tmp_path / "out", *NO_MASTERS)
    assert status == 2
    assert "the record of the run cannot be written: File too large; free space" in err
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


class Interrupting:
    """A plugin that stands for Ctrl-C at the second unit."""

    def __init__(self) -> None:
        self.seen = 0

    @hookimpl
    def isr_after_step(self, step: str) -> None:
        self.seen += step == "assembly"
        if self.seen > 1:
            raise KeyboardInterrupt


def test_an_interrupt_keeps_what_is_done_and_leaves_nothing_half_written(isr, tmp_path, raw):
    registry = Registry({**PLUGINS, "interrupting": Interrupting()})
    status, out, err = isr("run", raw, "-o", tmp_path / "out", *NO_MASTERS, registry=registry)
    assert status == 130
    assert "interrupted" in err
    assert "1 ok, 1 not started" in out
    assert [unit["status"] for unit in report(tmp_path / "out")] == ["ok", "not started"]
    assert leftovers(tmp_path) == []


class Faulty:
    """A plugin with a mistake that shows at sim0 only."""

    @staticmethod
    @hookimpl
    def isr_after_step(exposure: Exposure) -> None:
        if exposure.detector.name == "sim0":
            raise ZeroDivisionError("oh")


def test_a_mistake_in_a_plugin_fails_its_unit_only(isr, tmp_path, raw):
    registry = Registry({**PLUGINS, "faulty": Faulty()})
    status, _, err = isr("run", raw, "-o", tmp_path / "out", *NO_MASTERS, registry=registry)
    assert status == 1
    assert "raw.fits[sim0] failed: ZeroDivisionError: oh" in err
    assert "Traceback" not in err
    assert [unit["status"] for unit in report(tmp_path / "out")] == ["failed", "ok"]
    _, _, err = isr("run", raw, "-o", tmp_path / "b", *NO_MASTERS, "--traceback", registry=registry)
    assert "Traceback" in err


class Rival:
    """A plugin that adds a subcommand that is there already."""

    @staticmethod
    @hookimpl
    def isr_commands(subcommands) -> None:
        subcommands.add_parser("run")


def test_plugins_that_contradict_each_other_are_told(isr):
    status, _, err = isr("cameras", registry=Registry({**PLUGINS, "rival": Rival()}))
    assert status == 2
    assert "a plugin's subcommand cannot be added" in err


def test_verbosity_chooses_what_is_logged(isr, tmp_path, raw):
    _, _, quiet = isr("run", raw, "-o", tmp_path / "a", *NO_MASTERS)
    _, _, loud = isr("run", raw, "-o", tmp_path / "b", *NO_MASTERS, "-vv")
    assert "wrote" not in quiet
    assert "DEBUG" in loud
    assert f"INFO: raw.fits[sim0]: wrote {tmp_path}/b/raw_sim0.fits" in loud
