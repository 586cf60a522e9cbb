"""Master calibrations: truth from an independent model, clipping, provenance, memory, and every error."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from astropy.io import fits

import isrcore_calib
import isrcore_simulated
import isrcore_standard
from isrcore import (
    Exposure,
    FitsError,
    MaskedImage,
    RawSource,
    Registry,
    hookimpl,
    read_exposure,
    read_sections,
    write_exposure,
)
from isrcore.fits import read_config, read_extra, read_provenance
from isrcore_calib import Frame, Rule, combine, make_config
from isrcore_calib.command import parse_size
from isrcore_calib.correction import planes_of
from isrcore_calib.places import place
from isrcore_calib.rules import combine_values
from isrcore_simulated import CAMERA
from tests.forward_model import expose

PLUGINS = {"calib": isrcore_calib, "simulated": isrcore_simulated, "standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)

SIM0 = {
    "shape": (80, 96),
    "raw_shape": (86, 128),
    "amplifiers": {
        "A": {"raw": (0, 86, 0, 64), "data": (0, 80, 4, 52), "box": (0, 80, 0, 48), "level": 1000.0},
        "B": {"raw": (0, 86, 64, 128), "data": (0, 80, 68, 116), "box": (0, 80, 48, 96), "level": 1200.0},
    },
}
SIM0["amplifiers"]["A"] |= {"gain": 1.5, "read_noise": 5.0}
SIM0["amplifiers"]["B"] |= {"gain": 2.1, "read_noise": 7.0, "flip_x": True}
GAIN = np.where(np.arange(96) < 48, 1.5, 2.1)
RESPONSE = 1 + 0.1 * np.sin(np.arange(96) / 9) * np.ones((80, 1))


def write(path: Path, raw: np.ndarray, detectors: tuple[str, ...] = ("sim0",), **cards: object) -> str:
    """A raw file with the same pixels for every detector named."""
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "ISRSIM", "EXPTIME": 0.0, **cards})
    hdus = fits.HDUList([primary])
    for name in detectors:
        hdus.append(fits.ImageHDU(raw))
        hdus[-1].header["EXTNAME"] = name
    hdus.writeto(path)
    return str(path)


@pytest.fixture
def biases(tmp_path: Path) -> list[str]:
    """Five biases with a pattern along x."""
    pattern = 5 * np.sin(np.arange(96) / 5) * np.ones((80, 1))
    raws = [expose(SIM0, 0.0, seed=seed, bias=pattern)[0] for seed in range(5)]
    return [write(tmp_path / f"b{n}.fits", raw, OBSTYPE="bias") for n, raw in enumerate(raws)]


@pytest.fixture
def flats(tmp_path: Path) -> list[str]:
    """Five flats of rising level."""
    raws = [expose(SIM0, 8000.0 * (1 + n), flat=RESPONSE, seed=10 + n)[0] for n in range(5)]
    return [
        write(tmp_path / f"f{n}.fits", raw, OBSTYPE="flat", FILTER="r", EXPTIME=1.0 + n)
        for n, raw in enumerate(raws)
    ]


@pytest.fixture
def darks(tmp_path: Path) -> list[str]:
    """Four darks of 0.6 electron/s, two of 100 s and two of 300 s."""
    times = (100.0, 300.0, 100.0, 300.0)
    raws = [expose(SIM0, 0.0, time, dark=0.6, seed=20 + n)[0] for n, time in enumerate(times)]
    return [
        write(tmp_path / f"d{n}.fits", raw, OBSTYPE="dark", EXPTIME=times[n]) for n, raw in enumerate(raws)
    ]


def pulls(exposure: Exposure, truth: np.ndarray) -> np.ndarray:
    """Deviations from the truth in propagated sigmas."""
    return (exposure.image - truth) / np.sqrt(exposure.variance)


def test_a_master_bias_is_the_pattern_with_the_noise_it_says(isr, tmp_path, biases):
    status, out, _ = isr("calibrate", "bias", *biases, "-o", tmp_path / "bias.fits")
    assert status == 0
    master = read_exposure(tmp_path / "bias.fits")
    found = pulls(master, 5 * np.sin(np.arange(96) / 5))
    # 7680 pixels: the mean is known to 0.011 and the width to 0.008; clipping takes 1 %, digitising adds 1 %.
    assert abs(found.mean()) < 0.1
    assert 0.93 < found.std() < 1.06
    assert master.image.dtype == np.float32
    assert out.splitlines()[2].split()[:2] == ["sim0", "5"]


def test_a_master_flat_is_the_response_with_mean_one(isr, tmp_path, flats):
    status, *_ = isr("calibrate", "flat", *flats, "-o", tmp_path / "flat.fits", "-c", "doBias=false")
    assert status == 0
    master = read_exposure(tmp_path / "flat.fits")
    truth = RESPONSE / GAIN
    found = pulls(master, truth / truth.mean())
    assert master.image.mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert abs(found.mean()) < 0.1
    assert 0.93 < found.std() < 1.06
    assert (master.unit, master.visit.filter) == ("", "r")


def test_darks_of_different_times_are_scaled_to_their_mean_time(isr, tmp_path, darks):
    status, *_ = isr("calibrate", "dark", *darks, "-o", tmp_path / "dark.fits", "-c", "doBias=false")
    assert status == 0
    master = read_exposure(tmp_path / "dark.fits")
    assert master.visit.dark_s == 200.0
    found = pulls(master, 0.6 * 200 / GAIN)
    # The variance of short darks, estimated from few electrons and then scaled, makes the pulls uneven.
    assert abs(found.mean()) < 0.1
    assert 0.9 < found.std() < 1.1


def test_darks_of_nearly_equal_times_are_not_scaled(isr, tmp_path):
    raws = [expose(SIM0, 0.0, 100.0, dark=0.6, seed=n)[0] for n in range(2)]
    files = [write(tmp_path / f"{n}.fits", raw, EXPTIME=100.0 + n) for n, raw in enumerate(raws)]
    unscaled = [write(tmp_path / f"x{n}.fits", raw, EXPTIME=100.0) for n, raw in enumerate(raws)]
    for name, given in (("a.fits", files), ("b.fits", unscaled)):
        assert isr("calibrate", "dark", *given, "-o", tmp_path / name, "-c", "doBias=false")[0] == 0
    a, b = read_exposure(tmp_path / "a.fits"), read_exposure(tmp_path / "b.fits")
    assert a.digest == b.digest
    assert a.visit.dark_s == 100.5


def test_inputs_are_corrected_with_the_masters_given(isr, tmp_path, biases, darks):
    bias = tmp_path / "bias.fits"
    isr("calibrate", "bias", *biases, "-o", bias)
    isr("calibrate", "dark", *darks, "-o", tmp_path / "with.fits", "--bias", bias)
    isr("calibrate", "dark", *darks, "-o", tmp_path / "without.fits", "-c", "doBias=false")
    with_bias, without = (read_exposure(tmp_path / name).image for name in ("with.fits", "without.fits"))
    # Scaling multiplies what is subtracted: by 2, 2/3, 2, 2/3 for the four darks.
    expected = read_exposure(bias).image.mean(axis=0) * 4 / 3
    # Medians of 80 differences; which values are left out differs a little.
    np.testing.assert_allclose(np.median(without - with_bias, axis=0), expected, atol=1)


def test_a_master_says_what_it_is_and_what_it_was_made_from(isr, tmp_path, biases):
    isr("calibrate", "bias", *biases, "-o", tmp_path / "bias.fits")
    master = read_exposure(tmp_path / "bias.fits")
    assert master.facts == {"assembled", "converted"}
    assert master.header["IMAGETYP"] == "master bias"
    assert master.header["OBSTYPE"] == "bias"
    assert master.header["NCOMBINE"] == 5
    assert master.visit.observation_type == "bias"
    assert master.history[0].step == "calibrate bias"
    provenance = read_provenance(tmp_path / "bias.fits")
    assert [provenance[f"input {n}"] for n in range(1, 6)] == biases
    assert len(provenance["input 3 sha256"]) == 64
    assert "doBias = false" in read_config(tmp_path / "bias.fits")


@pytest.mark.parametrize("compress", [False, True])
def test_extra_images_travel_with_a_product(tmp_path, compress):
    exposure = Exposure(MaskedImage.from_image(np.ones((80, 96), np.float32)), CAMERA["sim0"])
    counts = np.arange(80 * 96, dtype=np.int16).reshape(80, 96)
    write_exposure(exposure, tmp_path / "a.fits", compress=compress, extra={"COUNTS": counts})
    np.testing.assert_array_equal(read_extra(tmp_path / "a.fits", "COUNTS"), counts)
    with pytest.raises(FitsError, match="has no image 'COUNT'"):
        read_extra(tmp_path / "a.fits", "COUNT")
    for name in ("MASK", "lower", "ISR_HISTORY"):
        with pytest.raises(FitsError, match=f"extra image '{name}' cannot have that name"):
            write_exposure(exposure, tmp_path / "b.fits", extra={name: counts})
    assert not (tmp_path / "b.fits").exists()


def test_a_hit_in_one_of_three_inputs_does_not_enter(isr, tmp_path):
    raws = [expose(SIM0, 0.0, seed=seed)[0] for seed in range(3)]
    raws[1][10, 14:17] += 400
    files = [write(tmp_path / f"{n}.fits", raw) for n, raw in enumerate(raws)]
    isr("calibrate", "bias", *files, "-o", tmp_path / "bias.fits")
    master, number = read_exposure(tmp_path / "bias.fits"), read_extra(tmp_path / "bias.fits", "NINPUTS")
    assert number[10, 10:13].tolist() == [2, 2, 2]
    assert np.abs(master.image[10, 10:13]).max() < 15
    # Of normal values 0.27 % lie outside three sigma; around a median of three it is 0.7 %.
    assert np.mean(3 - number) / 3 < 0.01


def test_pixels_saturated_in_every_input_are_bad_and_change_nothing(isr, tmp_path):
    raws = [expose(SIM0, 9000.0, seed=seed)[0] for seed in range(3)]
    for raw in raws:
        raw[20, 30] = 65000
    raws[0][20, 31] = 65000
    files = [write(tmp_path / f"{n}.fits", raw, FILTER="r") for n, raw in enumerate(raws)]
    isr("calibrate", "flat", *files, "-o", tmp_path / "flat.fits", "-c", "doBias=false")
    master, number = read_exposure(tmp_path / "flat.fits"), read_extra(tmp_path / "flat.fits", "NINPUTS")
    assert (master.image[20, 26], number[20, 26]) == (1.0, 0)
    assert master.pixels.flagged("BAD")[20, 26]
    assert number[20, 27] == 2
    assert not master.pixels.flagged("BAD")[20, 27]


def test_one_input_is_enough(isr, tmp_path, biases):
    assert isr("calibrate", "bias", biases[0], "-o", tmp_path / "bias.fits")[0] == 0
    assert np.all(read_extra(tmp_path / "bias.fits", "NINPUTS") == 1)


@pytest.mark.parametrize("output", ["folder", "named_{detector}_b.fits"])
def test_every_detector_gets_its_master(isr, tmp_path, output):
    raw = np.full((92, 128), 1000, np.uint16)
    frames = {"sim0": raw[:86], "sim1": raw[:, :112]}
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["INSTRUME"] = "ISRSIM"
    for name, pixels in frames.items():
        hdus.append(fits.ImageHDU(pixels))
        hdus[-1].header["EXTNAME"] = name
    hdus.writeto(tmp_path / "raw.fits")
    status, *_ = isr("calibrate", "bias", tmp_path / "raw.fits", "-o", tmp_path / output)
    assert status == 0
    for name in frames:
        assert read_exposure(place(str(tmp_path / output), "bias", name)).detector.name == name
    status, _, err = isr("calibrate", "bias", tmp_path / "raw.fits", "-o", tmp_path / "one.fits")
    assert status == 1
    assert "is one file, but there are detectors sim0, sim1" in err
    assert not (tmp_path / "one.fits").exists()


def test_inputs_that_do_not_fit_into_memory_go_to_disk_and_give_the_same(isr, tmp_path, biases):
    isr("calibrate", "bias", *biases, "-o", tmp_path / "a.fits")
    isr("calibrate", "bias", *biases, "-o", tmp_path / "b.fits", "--memory", "100kB")
    assert read_exposure(tmp_path / "a.fits").digest == read_exposure(tmp_path / "b.fits").digest
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_combining_works_in_the_memory_it_is_given(tmp_path):
    rng = np.random.default_rng(1)
    shape, memory = (400, 300), 4_000_000
    frames = []
    for number in range(20):
        planes = np.stack([rng.normal(100, 3, shape), np.full(shape, 9.0)]).astype(np.float32)
        frames.append(Frame.of(planes, tmp_path / f"{number}.npy"))
    del planes
    tracemalloc.start()
    combine(frames, memory=memory)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = 400 * 300 * (4 + 4 + 2)
    # All frames would take 19 MB, and their sorted copies more.
    assert peak < memory * 1.25 + result


@pytest.mark.parametrize("count", [3, 4, 5, 10, 100])
def test_an_outlier_is_left_out_and_hardly_any_other_value(count):
    rng = np.random.default_rng(count)
    values = rng.normal(0, 2, (count, 4000)).astype(np.float32)
    values[count // 2, :400] += 30
    number = combine_values(
        values, np.full_like(values, 4.0), np.full(count, 4.0, np.float32), Rule(num_sigma=3.0)
    )[2]
    assert np.all(number[:400] < count)
    assert np.mean(count - number[400:]) / count < 0.02


def test_the_noise_of_an_outlier_does_not_excuse_it():
    values = np.zeros((3, 1), np.float32)
    variances = np.full((3, 1), 4.0, np.float32)
    # A hit of 60 with the variance it has itself: 8 sigma of its own noise would be 64.
    values[1], variances[1] = 60, 64
    mean, _, number = combine_values(values, variances, np.full(3, 4.0, np.float32), Rule(num_sigma=8.0))
    assert (mean[0], number[0]) == (0, 2)


def test_frames_that_scatter_more_than_their_noise_are_not_thrown_away():
    # Ten flats whose gradients differ by 1 % while the photon noise is 0.1 %.
    values = np.linspace(0.99, 1.01, 10, dtype=np.float32)[:, None] * np.ones((1, 50), np.float32)
    number = combine_values(
        values, np.full_like(values, 1e-6), np.full(10, 1e-6, np.float32), Rule(num_sigma=3.0)
    )[2]
    assert np.all(number == 10)


def test_two_values_that_contradict_each_other_leave_no_input():
    values = np.array([[0.0], [100.0]], np.float32)
    mean, _, number = combine_values(
        values, np.ones_like(values), np.ones(2, np.float32), Rule(num_sigma=3.0)
    )
    assert number[0] == 0
    assert math.isnan(mean[0])


def test_nothing_and_unlike_shapes_cannot_be_combined():
    with pytest.raises(ValueError, match="none"):
        combine([])
    frames = [Frame.of(np.zeros((2, 3, width), np.float32)) for width in (4, 5)]
    with pytest.raises(ValueError, match=r"\(3, 4\), \(3, 5\)"):
        combine(frames)


def test_pixels_that_must_not_be_used_are_not():
    image = np.arange(7, dtype=np.float32).reshape(1, 7)
    variance = np.ones_like(image)
    mask = np.zeros(image.shape, np.int32)
    image[0, 1], variance[0, 2], variance[0, 3], variance[0, 6] = np.inf, 0, np.nan, np.inf
    pixels = MaskedImage.from_image(image, mask, variance)
    mask[0, 4], mask[0, 5] = pixels.planes.value("SAT"), pixels.planes.value("SUSPECT")
    exposure = Exposure(pixels, CAMERA["sim0"])
    planes = planes_of(exposure, SimpleNamespace(saturatedMaskName="SAT"))
    # A variance of zero is noise about zero counts: such pixels belong to the mean.
    assert np.isfinite(planes[0]).tolist() == [[True, False, True, False, False, True, False]]


def test_switches_are_set_in_a_layer_of_their_own():
    config = make_config(REGISTRY, "simulated", "dark", given=["bias"], settings=["doSaturation=false"])
    assert (config.doBias, config.doDark, config.doFlat, config.doOverscan) == (True, False, False, True)
    assert config.origin("doFlat").layer == "calibrate"
    assert config.origin("doFlat").who == "isr calibrate dark"
    assert config.origin("doSaturation").layer == "command line"


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_what_concerns_the_sky_is_off_whatever_the_camera_wants(kind):
    sky = ("doIlluminationCorrection", "doStrayLight", "doVignette", "doAttachTransmissionCurve")
    sky += ("doRoughZeroPoint",)

    def want_all(config, camera):
        for flag in (*sky, "doCameraSpecificMasking"):
            config.set(flag, True)

    eager = SimpleNamespace(applyOverrides=hookimpl(want_all))
    config = make_config(Registry({**PLUGINS, "eager": eager}), "simulated", kind)
    assert [config.get(flag) for flag in sky] == [False] * 5
    # What only the camera knows to be bad is bad in masters too.
    assert config.get("doCameraSpecificMasking")


def test_low_pixels_of_a_bias_stay_in_the_mean():
    # Read noise of 2 electron at gain 1: about zero counts one pixel in 44 has no positive variance.
    noise = np.random.default_rng(7).normal(0, 2, (9, 200, 200)).astype(np.float32)
    frames = []
    for values in noise:
        exposure = Exposure(MaskedImage.from_image(values, variance=values + 4), CAMERA["sim0"])
        frames.append(Frame.of(planes_of(exposure, SimpleNamespace(saturatedMaskName="SAT"))))
    # The standard error of this mean is 0.0033; without its lowest 2.3 % it would be 0.12.
    assert abs(np.nanmean(combine(frames, Rule(num_sigma=5.0)).image)) < 0.015
    assert make_config(REGISTRY, "simulated", "bias").get("variance.maskNegative") is False


@pytest.mark.parametrize(("text", "size"), [("1GB", 10**9), ("1.5 MB", 1_500_000), ("20k", 20_000), ("7", 7)])
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


def test_biases_that_say_they_are_something_else_are_told(isr, tmp_path, biases):
    raw = expose(SIM0, 0.0)[0]
    odd = write(tmp_path / "odd.fits", raw, OBSTYPE="flat")
    _, _, err = isr("calibrate", "bias", odd, "-o", tmp_path / "bias.fits")
    assert "says it is a flat, not a bias" in err


def refused(
    isr: Callable[..., tuple[int, str, str]], output: Path, *words: object, **keywords: object
) -> str:
    """What the command says when it makes no master."""
    status, _, err = isr("calibrate", *words, "-o", output, **keywords)
    assert status in (1, 2)
    assert not output.exists()
    assert "Traceback" not in err
    assert list(output.parent.rglob(".*")) == []
    return f"{status} {err}"


def test_flats_of_two_filters_are_refused(isr, tmp_path, flats):
    other = write(tmp_path / "g.fits", expose(SIM0, 9000.0, seed=99)[0], FILTER="g")
    told = refused(isr, tmp_path / "m.fits", "flat", flats[0], other, "-c", "doBias=false")
    assert "has filter 'g'" in told
    assert "one master per filter" in told


class OtherCamera:
    """A plugin with a camera that differs in name."""

    camera = attrs.evolve(CAMERA, name="other")

    @hookimpl
    def isr_cameras(self):
        return [self.camera]

    @hookimpl
    def isr_read_raw(self, source: RawSource, detectors):
        is_ours = source.header.get("INSTRUME") == "OTHER"
        return read_sections(self.camera, source, detectors) if is_ours else None


def test_frames_of_two_cameras_are_refused(isr, tmp_path, biases):
    other = write(tmp_path / "other.fits", expose(SIM0, 0.0, seed=99)[0], INSTRUME="OTHER")
    registry = Registry({**PLUGINS, "other": OtherCamera()})
    told = refused(isr, tmp_path / "m.fits", "bias", *biases, other, registry=registry)
    assert "is of camera 'other', the files before it of 'simulated'" in told


def test_files_with_different_detectors_are_refused(isr, tmp_path, biases):
    raw = np.full((92, 112), 1000, np.uint16)
    other = write(tmp_path / "other.fits", raw, detectors=("sim1",))
    told = refused(isr, tmp_path / "m.fits", "bias", other, biases[0])
    assert "is one file, but there are detectors sim1, sim0" in told
    status, _, err = isr("calibrate", "bias", other, biases[0], "-o", tmp_path / "folder")
    assert status == 1
    assert "has detectors sim0, the files before it sim0, sim1" in err


def test_flats_without_light_are_refused(isr, tmp_path, flats):
    dark = write(tmp_path / "night.fits", np.full((86, 128), 1000, np.uint16), FILTER="r")
    told = refused(isr, tmp_path / "m.fits", "flat", *flats, dark, "-c", "doBias=false")
    assert "night.fits' has level" in told
    assert "a flat needs light" in told


def test_darks_without_dark_time_are_refused(isr, tmp_path, darks):
    raw = expose(SIM0, 0.0, seed=5)[0]
    timeless = write(tmp_path / "timeless.fits", raw, EXPTIME="unknown")
    told = refused(isr, tmp_path / "m.fits", "dark", *darks, timeless, "-c", "doBias=false")
    assert "darks need a positive dark time" in told
    assert "timeless.fits' has nan s" in told


def test_the_same_frame_twice_is_refused(isr, tmp_path, biases):
    twin = tmp_path / "twin.fits"
    twin.write_bytes(Path(biases[0]).read_bytes())
    assert "are the same frame" in refused(isr, tmp_path / "m.fits", "bias", *biases, twin)


def test_a_truncated_input_is_refused(isr, tmp_path, biases):
    cut = tmp_path / "cut.fits"
    cut.write_bytes(Path(biases[0]).read_bytes()[:10_000])
    assert "is truncated" in refused(isr, tmp_path / "m.fits", "bias", *biases, cut)


def test_an_input_that_is_not_there_is_refused(isr, tmp_path, biases):
    told = refused(isr, tmp_path / "m.fits", "bias", *biases, tmp_path / "none.fits")
    assert "does not exist" in told


def test_a_master_bias_is_requested_for_darks_and_flats(isr, tmp_path, flats):
    told = refused(isr, tmp_path / "m.fits", "flat", *flats)
    assert told.startswith("2")
    assert "needs calibration 'bias', none was given: give one, or set doBias = false" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bias", "b.fits"], "a master bias is not corrected with a bias"),
        (["--sigma", "-1"], "--sigma -1.0: it must be more than 0"),
        (["--memory", "lots"], "'lots' is no size"),
        (["-c", "overscn.fitType=MEAN"], "did you mean 'overscan.fitType'?"),
        (["-c", "doOverscan"], "is not of the form key=value"),
        (["-C", "none.toml"], "config file 'none.toml' cannot be read"),
        (["--detectors", "sim7"], "has no detector 'sim7'"),
    ],
)
def test_wrong_options_are_told(isr, tmp_path, biases, words, told):
    assert told in refused(isr, tmp_path / "m.fits", "bias", *biases, *words)


def test_a_folder_that_cannot_be_made_is_told(isr, tmp_path, biases):
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refused(isr, tmp_path / "file" / "folder" / "m.fits", "bias", *biases)


def test_masters_are_replaced_only_on_request(isr, tmp_path, biases):
    given = ["calibrate", "bias", "-o", tmp_path / "bias.fits"]
    isr(*given, *biases)
    status, _, err = isr(*given, *biases[:2])
    assert status == 1
    assert "it exists" in err
    assert isr(*given, *biases[:2], "--overwrite")[0] == 0
    assert read_exposure(tmp_path / "bias.fits").header["NCOMBINE"] == 2


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("memory", "reason"), [("1GB", "cannot write product"), ("10kB", "cannot be kept in")]
)
def test_a_full_disk_leaves_nothing_behind(isr, tmp_path, biases, memory, reason):
    with full_disk(40_000):
        told = refused(isr, tmp_path / "m.fits", "bias", *biases, "--memory", memory)
    assert told.startswith("1")
    assert reason in told


def two_detectors(path: Path, levels: tuple[float, float], seed: int) -> str:
    """A flat of both detectors, evenly lit, in which they have these levels (adu)."""
    rng, hdus = np.random.default_rng(seed), [fits.PrimaryHDU()]
    hdus[0].header.update({"INSTRUME": "ISRSIM", "FILTER": "r", "OBSTYPE": "flat", "EXPTIME": 5.0})
    for name, level in zip(("sim0", "sim1"), levels, strict=True):
        detector = CAMERA[name]
        raw = rng.normal(1000, 3, detector.raw_shape)
        for amp in detector.amplifiers:
            lit = raw[amp.raw_data_box.slices]
            lit += rng.normal(level, np.sqrt(level / amp.gain), lit.shape)
        hdus.append(fits.ImageHDU(np.rint(raw).astype(np.uint16)))
        hdus[-1].header["EXTNAME"] = name
    fits.HDUList(hdus).writeto(path)
    return str(path)


@pytest.mark.parametrize("brightness", [(1, 1, 1), (1, 2, 0.5)])
def test_flats_keep_the_relative_sensitivity_of_detectors(isr, tmp_path, brightness):
    lit = [(10000 * factor, 6000 * factor) for factor in brightness]
    files = [two_detectors(tmp_path / f"{n}.fits", pair, n) for n, pair in enumerate(lit)]
    given = ("calibrate", "flat", *files, "-c", "doBias=false", "-o")
    assert (
        isr(*given, tmp_path / "joint")[0] == isr(*given, tmp_path / "own", "--normalize", "detector")[0] == 0
    )
    joint, own = (
        [read_exposure(tmp_path / name / f"flat_{one}.fits").image for one in ("sim0", "sim1")]
        for name in ("joint", "own")
    )
    # 7680 pixels and more with 1 % of noise in the mean of three: 1e-4.
    assert joint[1].mean() / joint[0].mean() == pytest.approx(0.6, rel=1e-3)
    assert np.concatenate([one.ravel() for one in joint]).mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert [one.mean(dtype=np.float64) for one in own] == pytest.approx([1, 1], abs=1e-6)
    told = read_provenance(tmp_path / "joint" / "flat_sim1.fits")
    scales = [float(told[f"input {n} scale"]) for n in (1, 2, 3)]
    # One factor per exposure for all detectors: its level is the mean of theirs.
    assert scales == pytest.approx([1 / (8000 * factor) for factor in brightness], rel=1e-3)
    assert told["normalize"] == "focal-plane"
    other = read_provenance(tmp_path / "joint" / "flat_sim0.fits")
    assert [other[key] for key in ("norm", "input 1 scale")] == [
        told[key] for key in ("norm", "input 1 scale")
    ]


@pytest.mark.parametrize("words", [["--combine", "mean"], ["--combine", "median"], ["--weighted"]])
def test_the_way_to_combine_can_be_chosen(isr, tmp_path, biases, words):
    assert isr("calibrate", "bias", *biases, "-o", tmp_path / "a.fits", *words)[0] == 0
    assert isr("calibrate", "bias", *biases, "-o", tmp_path / "b.fits")[0] == 0
    one, other = (read_exposure(tmp_path / name) for name in ("a.fits", "b.fits"))
    assert one.digest != other.digest
    # The mean of five of these biases has a noise of 1.5 adu; these differ by less.
    assert np.std(one.image - other.image) < 1.5
    assert read_provenance(tmp_path / "a.fits")["combine"] == (words[1] if len(words) > 1 else "clipped")


def test_the_process_stays_within_its_memory(tmp_path):
    """24 frames of 24 MB would take 576 MB; the process may have 280 MB, of which it starts with 100 MB."""
    code = f"""
import numpy, pathlib
from isrcore import VisitInfo
from isrcore_calib.master import Input, stack_inputs
from isrcore_calib.store import Store
store, inputs = Store(pathlib.Path({str(tmp_path)!r}), 280_000_000), []
for n in range(24):
    planes = numpy.random.default_rng(n).standard_normal((2, 1500, 2000), numpy.float32)
    inputs.append(Input(str(n), str(n), VisitInfo(), store.keep(planes + 100, bytes([n]))))
    del planes
room = max(store.room(12_000_000), 1 << 24)
stacked = stack_inputs("bias", inputs, {{}}, memory=room, threads=2)
# Not ru_maxrss, which a process inherits from the one that started it.
status = dict(line.split(":") for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024, stacked.combined.number.min())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, number = done.stdout.split()
    assert int(peak) < 280_000_000
    assert int(number) > 12
