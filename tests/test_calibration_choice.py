"""Calibrations that ship with a camera: used where none is given, chosen by the exposure, or none at all."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import numpy as np
import pytest

import isrcore_standard
from isrcore import (
    Box,
    CalibrationChoice,
    CalibrationError,
    Calibrations,
    Camera,
    Defects,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PlanError,
    RawSource,
    Registry,
    RegistryError,
    Skip,
    VisitInfo,
    default_config,
    hookimpl,
)

CAMERA = Camera("mycam", (attrs.evolve(Detector.of_shape((4, 6)), name="ccd1"),))


@attrs.frozen
class ByFilter:
    """One bad pixel in r, none to be had in g, an error in any other filter."""

    def choose_for(self, exposure, config):
        known = {"r": Defects((Box(1, 2, 3, 4),)), "g": Skip("nobody looked in g")}
        if exposure.visit.filter not in known:
            raise CalibrationError(f"no defects for filter {exposure.visit.filter!r}")
        return known[exposure.visit.filter]


def registry_of(value):
    plugin = SimpleNamespace(
        cameras=hookimpl(lambda: [CAMERA], specname="isr_cameras"),
        curated=hookimpl(lambda: {"defects": {"ccd1": value}}, specname="isr_curated_calibrations"),
    )
    return Registry({"mycam": plugin, "standard": isrcore_standard})


def exposure_of(filter_name="r"):
    pixels = MaskedImage.from_raw(np.full((4, 6), 100, np.uint16))
    return Exposure(pixels, CAMERA["ccd1"], "mycam", VisitInfo(filter=filter_name))


def task_of(value, **switches):
    """A task that only assembles and flags defects; ``switches`` are the user's."""
    registry = registry_of(value)
    config = default_config(registry, "mycam")
    with config.layer("camera", "mycam"):
        config.doBias = config.doDark = config.doFlat = config.doInterpolate = False
    for name, switch in switches.items():
        setattr(config, name, switch)
    return IsrTask(config, camera="mycam", registry=registry)


def bad(exposure):
    return Defects.from_mask(exposure.pixels.flagged("BAD")).boxes


def test_what_ships_is_used_when_nothing_is_given():
    task = task_of(Defects((Box(0, 1, 0, 2),)))
    assert bad(task.run(exposure_of()).exposure) == (Box(0, 1, 0, 2),)


def test_what_is_given_wins():
    task = task_of(Defects((Box(0, 1, 0, 2),)))
    assert bad(task.run(exposure_of(), defects=[Box(3, 4, 5, 6)]).exposure) == (Box(3, 4, 5, 6),)


def test_none_means_none():
    task = task_of(Defects((Box(0, 1, 0, 2),)))
    with pytest.raises(PlanError, match="needs calibration 'defects', none was given"):
        task.run(exposure_of(), defects=None)


def test_the_exposure_chooses():
    assert bad(task_of(ByFilter()).run(exposure_of("r")).exposure) == (Box(1, 2, 3, 4),)


def test_a_choice_of_nothing_skips_the_step():
    task = task_of(ByFilter())
    reasons = {planned.spec.name: planned.reason for planned in task.plan(exposure_of("g")).skipped}
    assert reasons["defects"] == "nobody looked in g"
    assert bad(task.run(exposure_of("g")).exposure) == ()


def test_who_asks_for_it_is_told_why_not():
    with pytest.raises(PlanError, match="'defects' needs calibration 'defects': nobody looked in g"):
        task_of(ByFilter(), doDefect=True).plan(exposure_of("g"))


def test_a_choice_that_fails_is_refused_with_its_reason():
    with pytest.raises(PlanError, match="no defects for filter 'i'"):
        task_of(ByFilter()).plan(exposure_of("i"))


def test_the_choice_sees_the_tasks_config():
    seen = []

    @attrs.frozen
    class Looking:
        def choose_for(self, exposure, config):
            seen.append(config.doSuspect)
            return Defects()

    task_of(Looking(), doSuspect=True).plan(exposure_of())
    assert seen == [True]


def test_arrays_are_no_choices():
    assert isinstance(ByFilter(), CalibrationChoice)
    assert not isinstance(np.ones(3), CalibrationChoice)
    checked = Calibrations.check({"defects": np.array([[0, 0, 1, 1]])}, exposure_of())
    assert checked.get("defects").boxes == (Box(0, 1, 0, 1),)


def test_two_plugins_that_know_one_calibration_file_are_an_error(tmp_path):
    from astropy.io import fits

    fits.PrimaryHDU().writeto(tmp_path / "m.fits")
    source = RawSource.open(tmp_path / "m.fits")

    def reader(value):
        hook = hookimpl(lambda kind: value if kind == "bias" else None, specname="isr_read_calibration")
        return SimpleNamespace(read=hook)

    registry = Registry({"one": reader(1), "two": reader(2)})
    assert registry.read_calibration(source, "flat", "ccd1") is None
    assert Registry({"one": reader(1)}).read_calibration(source, "bias", "ccd1") == 1
    with pytest.raises(RegistryError, match="'one' and 'two' both claim this file"):
        registry.read_calibration(source, "bias", "ccd1")
