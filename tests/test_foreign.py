"""Packages of others: a camera and two steps keep the kit's contracts, and a run uses them.

Continuous integration installs them with pip as well; here they are imported from where they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import isrcore_simulate
import isrcore_standard
from isrcore import Exposure, MaskedImage, Registry, VisitInfo, read_exposure, write_exposure
from isrcore.testing import CameraContract
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import NotApplicable

FOREIGN = Path(__file__).parent / "foreign"
Run = Callable[..., tuple[int, str, str]]


def load(name: str, path: Path) -> ModuleType:
    """A module from its file, under a name of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def package(name: str) -> ModuleType:
    """One of the packages, found where it is from now on."""
    sys.path.append(str(FOREIGN / f"isrcore-{name}"))
    return importlib.import_module(f"isrcore_{name}")


heron, plover = package("heron"), package("plover")
tests = load("foreign_test_plover", FOREIGN / "isrcore-plover" / "tests" / "test_plover.py")
BUILT_IN = {"simulate": isrcore_simulate, "standard": isrcore_standard}
REGISTRY = Registry({**BUILT_IN, "heron": heron, "plover": plover})


class TestHeron(CameraContract):
    camera = "Heron"
    registry = REGISTRY

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _frame(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A file for the checks that look at one."""
        cls.raw = tmp_path_factory.mktemp("heron") / "raw.fits"
        REGISTRY.write_raw(cls.raw, heron.CAMERA, [raw(500, 170.0)])

    @classmethod
    def keeps(cls, check: Callable[[CameraCase], None]) -> None:
        """What a camera of one detector has nothing to show for is not for it."""
        with suppress(NotApplicable):
            check(cls.case())


class TestPupilGhost(tests.TestPupilGhost):
    registry = REGISTRY
    examples = 3


class TestWarmDark(tests.TestWarmDark):
    registry = REGISTRY
    examples = 3


def frame(level: float, **header: float) -> Exposure:
    """An assembled frame of Heron."""
    detector = heron.CAMERA.detectors[0]
    image = np.full(detector.shape, level, np.float32)
    facts = frozenset({"assembled"})
    made = Exposure(MaskedImage.from_image(image), detector, visit=VisitInfo(dark_s=10.0), facts=facts)
    made.header.update(header)
    return made


def raw(level: int, temperature: float) -> Exposure:
    """A raw frame of Heron: a pedestal of 1000 everywhere, and light on the data."""
    detector = heron.CAMERA.detectors[0]
    image = np.full(detector.raw_shape, 1000, np.uint16)
    for amp in detector.amplifiers:
        image[amp.raw_data_box.slices] += np.uint16(level)
    visit = VisitInfo(exposure_s=10.0, dark_s=10.0, filter="HR")
    made = Exposure(MaskedImage.from_raw(image), detector, camera="Heron", visit=visit)
    made.header["CCDTEMP"] = temperature
    return made


def test_a_file_of_the_camera_through_the_command_line(tmp_path: Path, isr: Run) -> None:
    REGISTRY.write_raw(tmp_path / "raw.fits", heron.CAMERA, [raw(500, 177.0)])
    write_exposure(frame(4.0, CCDTEMP=170.0), tmp_path / "dark.fits")
    write_exposure(frame(2.0), tmp_path / "ghost.fits")
    words = [
        tmp_path / "raw.fits",
        "--dark",
        tmp_path / "dark.fits",
        "--pupil-ghost",
        tmp_path / "ghost.fits",
    ]
    off = ["-c", "doBias=false", "-c", "doFlat=false", "-c", "doPupilGhost=false"]
    status, told, complaint = isr("plan", *words, *off)
    assert status == 0, complaint
    assert "Subtract the dark frame" in told
    status, _, complaint = isr("run", *words, *off, "-o", tmp_path / "out")
    assert status == 0, complaint
    (product,) = (tmp_path / "out").glob("*.fits")
    corrected = read_exposure(product)
    # Seven kelvins more are twice the dark.
    np.testing.assert_allclose(corrected.image, 500 - 8, atol=1e-3)
    assert [entry.plugin for entry in corrected.history if entry.step == "dark"] == ["plover"]
    assert corrected.visit.filter == "HR"


def test_other_cameras_keep_their_dark() -> None:
    assert REGISTRY.implementation("dark", "Heron") is plover.WarmDark
    assert REGISTRY.implementation("dark", "").__module__ == "isrcore_standard.dark"


def test_the_ghost_comes_after_the_flat(tmp_path: Path, isr: Run) -> None:
    REGISTRY.write_raw(tmp_path / "raw.fits", heron.CAMERA, [raw(500, 170.0)])
    write_exposure(frame(1.0), tmp_path / "ghost.fits")
    write_exposure(frame(1.0), tmp_path / "flat.fits")
    words = [
        tmp_path / "raw.fits",
        "--flat",
        tmp_path / "flat.fits",
        "--pupil-ghost",
        tmp_path / "ghost.fits",
    ]
    off = ["-c", "doBias=false", "-c", "doDark=false", "-c", "pupilGhost.fraction=0.1"]
    status, _, complaint = isr("run", *words, *off, "-o", tmp_path / "out")
    assert status == 0, complaint
    (product,) = (tmp_path / "out").glob("*.fits")
    corrected = read_exposure(product)
    steps = [entry.step for entry in corrected.history]
    assert steps.index("flat") < steps.index("pupilGhost")
    np.testing.assert_allclose(corrected.image, 450, atol=1e-3)


def test_without_a_temperature_the_dark_is_scaled_by_time_alone(tmp_path: Path, isr: Run) -> None:
    REGISTRY.write_raw(tmp_path / "raw.fits", heron.CAMERA, [raw(500, 177.0)])
    write_exposure(frame(4.0), tmp_path / "dark.fits")
    words = [tmp_path / "raw.fits", "--dark", tmp_path / "dark.fits", "-o", tmp_path / "out"]
    status, _, complaint = isr("run", *words, "-c", "doBias=false", "-c", "doFlat=false")
    assert status == 0, complaint
    (product,) = (tmp_path / "out").glob("*.fits")
    np.testing.assert_allclose(read_exposure(product).image, 500 - 4, atol=1e-3)
