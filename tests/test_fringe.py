"""The fringe correction in plans, its inputs, what it records, and fringe frames on the command line."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits

import isrcore_simulated
import isrcore_standard
from isrcore import (
    Calibrations,
    Camera,
    ConfigError,
    Detector,
    Exposure,
    Filter,
    MaskedImage,
    MaskPlanes,
    PlanError,
    Readout,
    Registry,
    StepError,
    Struct,
    VisitInfo,
    default_config,
    hookimpl,
    read_exposure,
    read_provenance,
    simulate,
    write_exposure,
)
from isrcore.isr import IsrTask
from isrcore_simulated import CAMERA
from isrcore_standard import Fringe

REGISTRY = Registry({"simulated": isrcore_simulated, "standard": isrcore_standard})
FACTS = frozenset({"assembled", "converted", "levels-known"})
SHAPE = (40, 50)
SMALL = {"num": 200, "small": 1, "large": 6}


def pattern(number=0, shape=SHAPE):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.sin(x / (2 + number) + y / 5) + 0.01 * np.random.default_rng(number).normal(size=shape)


def exposure(image, **values):
    pixels = MaskedImage.from_image(np.asarray(image, np.float32))
    visit = VisitInfo(exposure_id=3, filter="i", dark_s=1.0)
    return Exposure(pixels, Detector.of_shape(pixels.shape), **{"visit": visit, "facts": FACTS, **values})


def science(**values):
    return exposure(np.random.default_rng(9).normal(500, 2, SHAPE) + 30 * pattern(), **values)


def task(*others, registry=REGISTRY, camera="", **settings):
    config = default_config(registry)
    for flag in (spec.flag for spec in registry.specs.values() if spec.flag):
        config.set(flag, flag in ("doFringe", *others))
    config.expectWcs = False
    for name, value in {"filters": ["i"], **SMALL, **settings}.items():
        config.set(f"fringe.{name.replace('__', '.')}", value)
    return IsrTask(config, camera=camera, registry=registry)


def skipped(plan):
    return {planned.spec.name: planned.reason for planned in plan.skipped}


def order(plan):
    return [planned.spec.name for planned in plan.steps]


def problems(science, fringes, *others, **settings):
    with pytest.raises(PlanError) as caught:
        task(*others, **settings).plan(science, fringes=fringes)
    return "\n".join(caught.value.problems)


# Plans.


def test_by_default_no_filter_shows_fringes():
    plan = task(filters=[]).plan(science())
    assert skipped(plan)["fringe"] == "filter 'i' is not in fringe.filters (which is empty)"


def test_an_exposure_without_a_filter_is_left_alone():
    plan = task().plan(science(visit=VisitInfo()))
    assert skipped(plan)["fringe"].startswith("the exposure names no filter")


@pytest.mark.parametrize("listed", ["i.MP1", "i", "Gunn i"])
@pytest.mark.parametrize("name", ["i.MP1", "i", " Gunn i "])
def test_a_filter_is_known_by_all_its_names(name, listed):
    camera = Camera("any", (Detector.of_shape(SHAPE),), filters=(Filter("i.MP1", "i", aliases=("Gunn i",)),))

    class Plugin:
        @hookimpl
        def isr_cameras(self):
            return [camera]

    registry = Registry({"any": Plugin(), "standard": isrcore_standard})
    chain = task(registry=registry, filters=["z", listed])
    taken = science(visit=VisitInfo(filter=name), camera="any")
    assert "fringe" in order(chain.plan(taken, fringes=exposure(pattern())))
    other = attrs.evolve(taken, visit=VisitInfo(filter="i2"))
    assert skipped(chain.plan(other))["fringe"] == f"filter 'i2' is not in fringe.filters (z, {listed})"


def test_fringes_come_after_the_flat_or_before_it():
    inputs = {"fringes": exposure(pattern()), "flat": exposure(np.ones(SHAPE), unit="")}
    after, before = (
        order(task("doFlat", afterFlat=after).plan(science(), **inputs)) for after in (True, False)
    )
    assert after.index("flat") < after.index("fringe")
    assert before.index("fringe") < before.index("flat")


def test_fringes_before_the_flat_are_in_adu():
    inputs = {"fringes": exposure(pattern())}
    names = order(task("doApplyGains", afterFlat=False).plan(science(), **inputs))
    assert names.index("fringe") < names.index("gains")
    names = order(task("doApplyGains").plan(science(), **inputs))
    assert names.index("gains") < names.index("fringe")


def test_what_was_flat_fielded_before_needs_flat_fielded_frames():
    told = problems(science(facts=FACTS | {"flat-fielded"}), exposure(pattern()), afterFlat=False)
    assert "step 'fringe' comes too late: the exposure is 'flat-fielded' already" in told
    assert "set fringe.afterFlat = true" in told


def test_it_is_not_done_twice():
    done = task().run(science(), fringes=exposure(pattern())).exposure
    assert "must not run twice" in problems(done, exposure(pattern()))


def test_frames_are_needed_for_a_filter_that_shows_fringes():
    with pytest.raises(PlanError, match="step 'fringe' needs calibration 'fringes', none was given"):
        task().plan(science())


def test_everything_wrong_is_told_at_once():
    told = problems(
        science(), Struct(fringes=[], seed=-1, sed=2), large=20, stats__badMaskPlanes=["SAT", "SATT"]
    )
    assert "boxes of 40 x 40 pixels (fringe.large = 20) need a larger detector, 'unnamed' has 50 x 40" in told
    assert "fringe.stats.badMaskPlanes names 'SATT', which is none of BAD, SAT" in told
    assert "the list of fringe frames is empty" in told
    assert "nothing reads 'sed' beside the fringe frames; known are amplitudes, seed" in told
    assert "the seed of the fringe positions is -1, it must be a whole number from 0 to 2**32 - 1" in told


@pytest.mark.parametrize("seed", ["7", 1.5, 2**32])
def test_a_seed_is_a_whole_number(seed):
    assert "seed of the fringe positions" in problems(
        science(), Struct(fringes=exposure(pattern()), seed=seed)
    )


def test_the_small_box_lies_in_the_large_one():
    with pytest.raises(ConfigError, match="small = 6 must be less than large = 6"):
        task(small=6)


# Inputs.


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: [f], lambda f: (f,), lambda f: Struct(fringes=f)])
def test_one_frame_may_be_given_in_any_way(wrap):
    frame = exposure(pattern())
    product = task().run(science(), fringes=wrap(frame)).exposure
    found = product.measured["fringe"]["unnamed"]
    assert found.amplitudes[0] == pytest.approx(30, abs=5 * found.uncertainties[0])
    assert found.seed == 3


def test_a_struct_without_frames_is_as_if_nothing_were_given():
    chain = task(filters=["z"])
    chain.run(science(), fringes=Struct(fringes=None, seed=None))
    with pytest.raises(PlanError, match="none was given"):
        task().plan(science(), fringes=Struct(fringes=None, seed=None))


def test_a_struct_of_something_else_is_refused():
    told = problems(science(), Struct(frames=exposure(pattern())))
    assert "a Struct given as fringes must have a component 'fringes', it has frames" in told


def test_planes_of_frames_in_a_struct_are_known():
    frame = exposure(pattern())
    planes = MaskPlanes().with_planes({"RARE"})
    frame.pixels = attrs.evolve(frame.pixels, planes=planes)
    frame.pixels.mask[5, 6] = planes.value("RARE")
    product = task().run(science(), fringes=Struct(fringes=[frame])).exposure
    assert np.argwhere(product.pixels.flagged("RARE")).tolist() == [[5, 6]]


def test_details_of_calibrations_are_kept_apart_from_them():
    given = {"fringes": Struct(fringes=[exposure(pattern())], seed=5), "bias": exposure(pattern())}
    checked = Calibrations.check(given, science())
    assert isinstance(checked.values["fringes"], tuple)
    assert (checked.detail("fringes", "seed"), checked.detail("fringes", "amplitudes")) == (5, None)
    assert checked.detail("bias", "seed") is None


def test_several_frames_are_labelled_one_by_one():
    frames = [attrs.evolve(exposure(pattern(n)), source=f"f{n}.fits", digest=f"d{n}") for n in (1, 2)]
    chain = task()
    (planned,) = [p for p in chain.plan(science(), fringes=frames).steps if p.spec.name == "fringe"]
    assert planned.calibrations == ("f1.fits, f2.fits",)
    (entry,) = [e for e in chain.run(science(), fringes=frames).exposure.history if e.step == "fringe"]
    assert (entry.calibration, entry.digest) == ("f1.fits, f2.fits", "d1, d2")


@pytest.mark.parametrize("unit", ["", "adu", "electron"])
def test_frames_may_have_any_unit(unit):
    task().run(science(), fringes=exposure(pattern(), unit=unit))


# Records.


def test_amplitudes_are_in_header_and_metadata():
    chain = task()
    product = chain.run(science(), fringes=[exposure(pattern()), exposure(pattern(1))]).exposure
    found, header = product.measured["fringe"]["unnamed"], product.header
    assert (header["FRNGNPOS"], header["FRNGRMS"]) == (found.count, found.rms)
    assert [header[f"FRNGA{n}"] for n in (1, 2)] == list(found.amplitudes)
    assert [header[f"FRNGS{n}"] for n in (1, 2)] == list(found.uncertainties)
    metadata = chain.fringe.metadata
    assert metadata.scalar("positions") == found.count
    assert metadata.scalar("amplitude 2") == found.amplitudes[1]
    assert metadata.scalar("uncertainty 1") == found.uncertainties[0]


def test_the_contract_names_kind_and_dataset():
    assert REGISTRY.several >= {"fringes"}
    assert REGISTRY.datasets("fringes") == {"fringes", "fringe"}
    assert REGISTRY.datasets("bias") == {"bias"}
    assert Fringe.spec.several == {"fringes"}


# Simulation.


@pytest.mark.parametrize("amplitudes", [None, (1.0, 2.0)])
def test_a_simulation_must_be_told_how_strong_fringes_are(amplitudes):
    chain = task("doConvertIntToFloat", "doAssembleCcd")
    fringes = Struct(fringes=[exposure(pattern())], amplitudes=amplitudes)
    with pytest.raises(StepError, match="how strong are the fringes of 1 frames"):
        simulate(chain, science(), Readout(has_noise=False), fringes=fringes)


def test_example_fringes_of_a_simulated_frame():
    frame = exposure([[0.0, 1.0, np.nan], [2.0, 0.0, 0.0]])
    chain = task("doConvertIntToFloat", "doAssembleCcd", large=2)
    # Planning needs no room for boxes when nothing is measured: a larger detector.
    wide = exposure(np.pad(frame.image, ((0, 8), (0, 8))))
    truth = exposure(np.full(wide.shape, 100.0))
    fringes = Struct(fringes=wide, amplitudes=[10.0])
    raw = simulate(chain, truth, Readout(has_noise=False), fringes=fringes).exposure
    assert raw.image[:2, :3].tolist() == [[100, 110, 100], [120, 100, 100]]


# The command line.


def write_raw(path: Path) -> Path:
    """A raw file of one detector, with fringes of two patterns, 40 and 20 adu strong."""
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "ISRSIM", "EXPTIME": 10.0, "OBSTYPE": "science", "FILTER": "r"})
    detector = CAMERA["sim0"]
    image = np.random.default_rng(4).normal(1000, 2, detector.raw_shape)
    light = 500 + 40 * pattern(0, detector.shape) + 20 * pattern(1, detector.shape)
    for amp in detector.amplifiers:
        image[amp.raw_data_box.slices] += amp.gather().inverse().read(light)
    sky = fits.ImageHDU(np.rint(image).astype(np.uint16), name="sim0")
    fits.HDUList([primary, sky]).writeto(path)
    return path


def write_frame(path: Path, number: int, detector="sim0") -> Path:
    own = CAMERA[detector]
    frame = Exposure(
        MaskedImage.from_image(pattern(number, own.shape).astype(np.float32)),
        own,
        "simulated",
        VisitInfo(observation_type="fringe"),
        facts=frozenset({"assembled"}),
    )
    write_exposure(frame, path)
    return path


SETTINGS = ("filters=r", "large=8", "small=1", "num=1000", "stats.stat=MEAN")
RUN = ("-c", "doBias=false", "doDark=false", "doFlat=false", *(f"fringe.{text}" for text in SETTINGS),
       "--detectors", "sim0", "-o")  # fmt: skip


@pytest.mark.parametrize("way", ["files", "folder"])
def test_several_frames_of_one_detector_are_solved_together(isr, tmp_path, way):
    raw, folder = write_raw(tmp_path / "raw.fits"), tmp_path / "masters"
    folder.mkdir()
    files = [write_frame(folder / f"fringe{number}_sim0.fits", number) for number in (0, 1)]
    write_frame(folder / "fringe0_sim1.fits", 0, "sim1")
    given = files if way == "files" else [folder]
    status, _, err = isr("run", raw, "--fringes", *given, *RUN, tmp_path / "out")
    assert status == 0, err
    (path,) = (tmp_path / "out").glob("*.fits*")
    product = read_exposure(path)
    assert product.header["FRNGA1"] == pytest.approx(40, abs=5 * product.header["FRNGS1"])
    assert product.header["FRNGA2"] == pytest.approx(20, abs=5 * product.header["FRNGS2"])
    told = read_provenance(path)
    assert told["fringes"] == ", ".join(map(str, files))
    assert len(told["fringes digest"].split(", ")) == 2


def test_other_kinds_still_have_one_file_for_each_detector(isr, tmp_path):
    raw = write_raw(tmp_path / "raw.fits")
    files = [write_frame(tmp_path / f"bias{number}.fits", number) for number in (0, 1)]
    status, _, err = isr("plan", raw, "--bias", *files)
    assert status == 2
    assert "2 files are of detector 'sim0'" in err


def test_a_plan_names_all_frames(isr, tmp_path):
    raw = write_raw(tmp_path / "raw.fits")
    files = [write_frame(tmp_path / f"f{number}.fits", number) for number in (0, 1)]
    status, out, err = isr("plan", raw, "--fringes", *files, *RUN[:-1])
    assert status == 0, err
    assert "f0.fits" in out
    assert "f1.fits" in out
