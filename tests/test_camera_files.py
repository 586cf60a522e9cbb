"""Cameras that one TOML file describes, from the command line as users have it."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import isrcore_calib
import isrcore_repository
import isrcore_simulate
import isrcore_simulated
import isrcore_standard
from isrcore import (
    CameraError,
    RawError,
    Registry,
    RegistryError,
    load_camera_file,
    read_exposure,
    read_provenance,
)
from tests.camera_texts import TWO, camera_file

PLUGINS: dict[str, Any] = {
    "standard": isrcore_standard,
    "simulated": isrcore_simulated,
    "calib": isrcore_calib,
    "repository": isrcore_repository,
    "simulate": isrcore_simulate,
}
REGISTRY = Registry(PLUGINS)
AMPS = {"A": (0, 40, 40, 50), "B": (60, 100, 50, 60)}


def frame(level: float, seed: int = 0) -> np.ndarray[Any, Any]:
    """A raw frame of the camera TWO: pedestals 300 and 420 adu, ``level`` adu of light."""
    rng = np.random.default_rng(seed)
    image = np.zeros((60, 100))
    for pedestal, (x0, x1, o0, o1) in zip((300, 420), AMPS.values(), strict=True):
        image[:, x0:x1] = pedestal + level
        image[:, o0:o1] = pedestal
    return (image + rng.normal(0, 2, image.shape)).round().astype(np.uint16)


def write(path: Path, pixels: Any, **cards: Any) -> Path:
    header = fits.Header({"INSTRUME": "TWOAMPS", "OBSNUM": 7, "TTIME": 10.0, "IMAGETYP": "object", **cards})
    fits.PrimaryHDU(pixels, header).writeto(path)
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A folder with the camera file, three biases, two flats and a science frame."""
    camera_file(tmp_path, TWO)
    for number in range(3):
        write(tmp_path / f"b{number}.fits", frame(0, number), IMAGETYP="zero", TTIME=0.0, OBSNUM=number + 1)
    for number in range(2):
        write(tmp_path / f"f{number}.fits", frame(9000, 10 + number), IMAGETYP="flat", OBSNUM=number + 11)
    write(tmp_path / "s.fits", frame(500, 20), OBSNUM=21)
    return tmp_path


def test_a_camera_file_takes_frames_from_biases_to_products(isr, night):
    chosen = ["--camera", night / "mycam.toml"]
    assert isr("calibrate", "bias", *sorted(night.glob("b*.fits")), "-o", night / "m", *chosen)[0] == 0
    flats = sorted(night.glob("f*.fits"))
    status, _, told = isr("calibrate", "flat", *flats, "--bias", night / "m", "-o", night / "m", *chosen)
    assert status == 0, told
    masters = ["--bias", night / "m", "--flat", night / "m"]
    status, _, told = isr("run", night / "s.fits", *masters, "-o", night / "out", *chosen)
    assert status == 0, told
    product = read_exposure(night / "out" / "s_ccd.fits")
    assert product.camera == "twoamps"
    assert (product.visit.exposure_id, product.visit.exposure_s, product.visit.observation_type) == (
        21,
        10,
        "science",
    )
    # 500 adu of light; the mean of 2400 pixels with noise of 2 adu is known to 0.05 adu, as are the masters.
    for half in (product.image[:, :40], product.image[:, 40:]):
        assert abs(half.mean() - 500) < 1
    assert isr("replay", night / "out" / "s_ccd.fits")[0] == 0


@pytest.mark.skipif(not entry_points(group="isrcore"), reason="other processes find installed plugins only")
def test_other_processes_read_as_the_file_says_and_repositories_too(isr, night):
    write(night / "s2.fits", frame(500, 21), OBSNUM=22)
    words = ["-c", "doBias=false", "-c", "doFlat=false", "-j", 2]
    frames = sorted(night.glob("s*.fits"))
    status, _, told = isr(
        "run", *frames, "-o", night / "out", "--camera", night / "mycam.toml", *words, registry=None
    )
    assert status == 0, told
    assert isr("init", night / "repo", "--camera", night / "mycam.toml", registry=None)[0] == 0
    assert isr("ingest", night / "repo", *frames, registry=None)[0] == 0
    status, out, told = isr("run", night / "repo", *words, registry=None)
    assert status == 0, told
    assert "2 ok" in out


def test_products_and_masters_name_the_camera_file_and_replay_says_that_it_changed(isr, night):
    path = night / "mycam.toml"
    words = ["-c", "doBias=false", "-c", "doFlat=false"]
    assert isr("run", night / "s.fits", "-o", night / "out", "--camera", path, *words)[0] == 0
    told = read_provenance(night / "out" / "s_ccd.fits")
    assert told["camera"] == str(path)
    assert told["camera digest"] == load_camera_file(path).file.digest
    path.write_text(TWO.replace("gain = 1.5", "gain = 1.7"))
    status, _, said = isr("replay", night / "out" / "s_ccd.fits")
    assert status == 2
    assert "camera" in said
    assert "is not what went in" in said
    kept = camera_file(night, TWO, "kept.toml")
    assert isr("replay", night / "out" / "s_ccd.fits", "--inputs", kept.parent)[0] == 0


def test_a_repository_keeps_a_copy_and_goes_on_working(isr, night):
    repository = night / "repo"
    assert isr("init", repository, "--camera", night / "mycam.toml")[0] == 0
    (night / "mycam.toml").rename(night / "elsewhere.txt")
    status, out, told = isr("ingest", repository, *sorted(night.glob("*.fits")))
    assert (status, out) == (0, "6 files ingested, 0 known before\n"), told
    assert isr("calibrate", "bias", repository)[0] == 0
    assert isr("calibrate", "flat", repository)[0] == 0
    words = ["run", repository, "-c", "doDark=false"]
    status, out, told = isr(*words)
    assert status == 0, told
    assert isr(*words)[0] == 0
    assert "1 skipped" in isr(*words)[1]
    copy = repository / "camera" / "mycam.toml"
    copy.write_text(TWO.replace("read_noise = 4.0", "read_noise = 5.0"))
    status, out, told = isr(*words)
    assert status == 0, told
    assert "1 ok" in out
    # The masters were made with another camera file, too.
    status, _, told = isr("calibrate", "bias", repository)
    assert status == 1
    assert "masters of other frames or settings are there" in told
    assert isr("calibrate", "bias", repository, "--overwrite")[0] == 0
    status, _, told = isr("list", repository, "--camera", camera_file(night, TWO))
    assert status == 2
    assert "has its camera in" in told


def test_files_of_another_camera_are_refused_with_the_card_that_differs(isr, night):
    other = write(night / "o.fits", frame(0), INSTRUME="OTHER")
    status, _, told = isr("run", other, "-o", night / "out", "--camera", night / "mycam.toml")
    assert status == 2
    assert "does not recognise this file" in told
    assert "INSTRUME is 'OTHER', the camera file says: INSTRUME is 'TWOAMPS'" in told
    status, _, told = isr("run", night / "s.fits", "-o", night / "out", "--camera", "simulated")
    assert status == 2
    assert "plugin 'simulated' does not know this file" in told


def test_a_missing_card_and_a_window_are_told_together_before_pixels_are_read(tmp_path):
    text = TWO.replace("[raw.hdus]", '[raw.require]\nBINNING = "1 1"\n\n[raw.hdus]')
    registry = REGISTRY.with_camera_file(camera_file(tmp_path, text))
    path = write(tmp_path / "a.fits", frame(0), BINNING="2 2")
    with pytest.raises(RawError, match="BINNING is '2 2', the camera file says: BINNING is '1 1'"):
        list(registry.read_raw(path))
    path = tmp_path / "b.fits"
    header = fits.Header({"INSTRUME": "TWOAMPS", "BINNING": "1 1", "IMAGETYP": "flat"})
    fits.PrimaryHDU(frame(0), header).writeto(path)
    with pytest.raises(RawError) as caught:
        registry.read_raw(path)
    assert "raw.visit.exposure_id: the header has no card OBSNUM" in str(caught.value)
    assert "raw.visit.exposure_s: the header has no card TTIME" in str(caught.value)
    path = write(tmp_path / "c.fits", frame(0)[:, :90], BINNING="1 1")
    with pytest.raises(RawError, match=r"image has shape \(60, 90\)"):
        list(registry.read_raw(path))


BAD = {
    "gain = 1.5": ('gain = "high"', "detectors[1].amplifiers.A.gain: is 'high', it must be a number"),
    "id = 0": ("idd = 0", "detectors[1].idd: is no key of a camera file; did you mean 'id'?"),
    'INSTRUME = "TWOAMPS"': ("", "raw.recognise: is missing"),
    'ccd = "primary"': ("ccx = 1", "raw.hdus.ccx: there is no detector of that name, there are ccd"),
    '{ card = "TTIME" }': ('{ crad = "TTIME" }', "raw.visit.exposure_s.card: names no card"),
    'type = "flat"': ('type = "flut"', "raw.observation_types[2].type: is 'flut', it must be one of"),
    'raw_data_box = "[1:40,1:60]"': ('raw_data_box = "[1:40]"', "A.raw_data_box: '[1:40]' is not a FITS"),
    '"obj*" }': '"obj*", at_least = 2 }',
}  # fmt: skip


def test_everything_wrong_with_a_file_is_told_together(tmp_path):
    text, wanted = TWO, []
    for right, wrong in BAD.items():
        new, message = (wrong, "give one of like") if isinstance(wrong, str) else wrong
        text = text.replace(right, new, 1)
        wanted.append(message)
    with pytest.raises(CameraError) as caught:
        load_camera_file(camera_file(tmp_path, text))
    assert [message for message in wanted if message not in str(caught.value)] == []
    assert "mycam.toml" in str(caught.value)


def test_a_wrong_setting_names_file_line_and_field(isr, night):
    path = camera_file(night, TWO.replace("doDark", "doDrak"), "bad.toml")
    status, _, told = isr("run", night / "s.fits", "-o", night / "out", "--camera", path)
    assert status == 2
    assert "bad.toml:28: no field 'doDrak'" in told
    assert not (night / "out").exists()


def test_the_folder_of_the_user_is_found_and_a_broken_file_takes_nothing_down(isr, night, monkeypatch):
    folder = night / "cameras"
    folder.mkdir()
    camera_file(folder, TWO)
    camera_file(folder, "name = 3", "broken.toml")
    camera_file(folder, TWO.replace('"twoamps"', '"simulated"'), "shadow.toml")
    for name in ("one", "two"):
        camera_file(folder, TWO.replace('"twoamps"', '"twin"'), f"{name}.toml")
    found = Registry.discover([], folder)
    with_all = Registry(PLUGINS).with_camera_folder(folder)
    assert list(found.cameras) == ["simulated", "twoamps"]
    states = {info.name: info for info in with_all.plugins}
    assert states["file:mycam.toml"].is_loaded
    assert "is missing" in states["file:broken.toml"].failure
    assert states["file:shadow.toml"].shadow == "camera 'simulated' comes from plugin 'simulated'"
    assert "describes camera 'twin' too" in states["file:one.toml"].failure
    assert "describes camera 'twin' too" in states["file:two.toml"].failure
    status, out, _ = isr("plugins", registry=with_all)
    assert status == 1
    assert "shadowed: camera 'simulated' comes from plugin 'simulated'" in out
    assert "twoamps" in isr("cameras", registry=with_all)[1]
    (raw,) = with_all.read_raw(night / "s.fits")
    assert raw.camera == "twoamps"


def test_a_file_that_is_named_wins_over_the_folder_and_is_refused_beside_a_package(tmp_path):
    folder = tmp_path / "cameras"
    folder.mkdir()
    camera_file(folder, TWO, "old.toml")
    registry = Registry(PLUGINS).with_camera_folder(folder)
    named = camera_file(tmp_path, TWO.replace("1.5", "1.9"), "new.toml")
    chosen = registry.with_camera_file(named)
    assert chosen.cameras["twoamps"]["ccd"]["A"].gain == 1.9
    states = {info.name: info.shadow for info in chosen.plugins}
    assert states["file:old.toml"] == f"camera 'twoamps' comes from {str(named)!r}"
    other = camera_file(tmp_path, TWO.replace('"twoamps"', '"simulated"'), "other.toml")
    with pytest.raises(
        RegistryError, match="as plugin 'simulated' does; give the camera of the file another"
    ):
        registry.with_camera_file(other)


def test_the_folder_is_named_by_the_environment():
    from isrcore import camera_folder

    assert camera_folder({"ISRCORE_CAMERAS": "/there"}) == Path("/there")
    assert camera_folder({"ISRCORE_CAMERAS": ""}) is None
    assert camera_folder({"XDG_CONFIG_HOME": "/config"}) == Path("/config/isrcore/cameras")
    assert camera_folder({}) == Path("~/.config/isrcore/cameras").expanduser()


def test_simulated_frames_of_a_camera_file_are_read_by_it(isr, night):
    chosen = ["--camera", night / "mycam.toml"]
    status, _, told = isr("simulate", night / "sim", *chosen)
    assert status == 0, told
    status, _, told = isr("simulate", night / "sim", *chosen, "--type", "bias")
    assert status == 0, told
    kinds = [
        one.visit.observation_type
        for path in sorted((night / "sim").iterdir())
        for one in REGISTRY.with_camera_file(night / "mycam.toml").read_raw(path)
    ]
    assert sorted(kinds) == ["bias", "science"]
    status, _, told = isr("simulate", night / "sim", *chosen, "--type", "dark")
    assert status == 1
    assert "no cards say 'dark'" in told
