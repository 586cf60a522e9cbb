"""A camera that keeps all promises, in pieces, so that a mutant can break one of them."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import attrs
import numpy as np
from astropy.time import Time

import isrcore_simulated
import isrcore_standard
from isrcore import (
    Camera,
    Exposure,
    Filter,
    MaskedImage,
    Registry,
    Step,
    VisitInfo,
    hookimpl,
    read_sections,
    stepspecs,
    visit_cards,
    write_sections,
)
from isrcore.testing.camera_case import CameraCase

CAMERA = attrs.evolve(
    isrcore_simulated.CAMERA,
    name="mycam",
    filters=(Filter("r.01", "r", "r", 640.0, ("red",)), Filter("g.01", "g", "g", 480.0)),
    field_to_mm=(50.0, 0.0, 20.0),
)


def levels_of(exposure: Exposure) -> dict[str, float]:
    """The cards that hold the levels of an exposure."""
    found = {}
    for amp in exposure.detector.amplifiers:
        found |= {f"GAIN{amp.name}": amp.gain, f"RDN{amp.name}": amp.read_noise}
    return found


class HeaderLevels(Step):
    """Gains and read noises from the header."""

    spec, camera, changes_pixels = stepspecs.LEVELS, "mycam", False

    def run(self, exposure: Exposure, calibrations: Any) -> None:
        names, header = exposure.detector.amplifier_names, exposure.header
        changes = {
            name: {"gain": header[f"GAIN{name}"], "read_noise": header[f"RDN{name}"]} for name in names
        }
        exposure.detector = exposure.detector.with_amplifiers(**changes)


def is_mine(source: Any) -> bool:
    return bool(source.header.get("INSTRUME") == "MYCAM")


def read(camera: Camera, source: Any, detectors: Any) -> Iterator[Exposure] | None:
    return read_sections(camera, source, detectors) if is_mine(source) else None


def cards(exposure: Exposure) -> dict[str, Any]:
    return {"INSTRUME": "MYCAM", **visit_cards(exposure.visit)}


def write(path: Path, exposures: Iterable[Exposure]) -> None:
    write_sections(path, exposures, primary=cards, extension=levels_of)


def override(config: Any, camera: Camera) -> None:
    if camera.name == "mycam":
        config.doDefect = False
        config.fringe.filters = ["red"]
        config.fringe.num, config.fringe.small, config.fringe.large = 20, 1, 2


Reader = Callable[[Camera, Any, Any], Iterator[Exposure] | None]


def plugin_of(
    camera: Camera = CAMERA,
    *,
    reader: Reader = read,
    writer: Callable[[Path, Iterable[Exposure]], None] = write,
    overrides: Callable[[Any, Camera], None] = override,
    steps: Sequence[type[Step]] = (HeaderLevels,),
) -> SimpleNamespace:
    """The plugin of a camera."""
    return SimpleNamespace(
        isr_cameras=hookimpl(lambda: [camera], specname="isr_cameras"),
        isr_read_raw=hookimpl(
            lambda source, detectors: reader(camera, source, detectors), specname="isr_read_raw"
        ),
        isr_raw_writer=hookimpl(
            lambda camera: writer if camera.name == "mycam" else None, specname="isr_raw_writer"
        ),
        applyOverrides=hookimpl(lambda config, camera: overrides(config, camera), specname="applyOverrides"),
        isr_steps=hookimpl(lambda: list(steps), specname="isr_steps"),
    )


def case_of(camera: Camera = CAMERA, raw: Sequence[Path] = (), **pieces: Any) -> CameraCase:
    """The camera to be checked, among others."""
    plugins = {"standard": isrcore_standard, "simulated": isrcore_simulated}
    registry = Registry({**plugins, "mycam": plugin_of(camera, **pieces)})
    return CameraCase(registry.camera("mycam"), registry, tuple(raw))


@cache
def folder() -> Path:
    """A folder for files of mutants, until Python ends."""
    made = tempfile.mkdtemp(prefix="isrcore-mutants-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@cache
def real_frame() -> Path:
    """A raw frame with light, as the camera that keeps all promises takes it."""
    path = folder() / "frame.fits"
    date = Time("2024-05-06T07:08:09.5", scale="utc")
    visit = VisitInfo(7, 60.0, 61.0, date, "red", "field", "science", 10.0, 20.0, 1.1)
    frames = []
    for detector in CAMERA.detectors:
        pixels = np.random.default_rng(detector.id).normal(1000, 4, detector.raw_shape)
        for amp in detector.amplifiers:
            pixels[amp.raw_data_box.slices] += 5000
        raw = MaskedImage.from_raw(pixels.astype(np.uint16))
        frames.append(Exposure(raw, detector, "mycam", visit))
    write(path, frames)
    return path


def module_case(name: str, line: str) -> CameraCase:
    """The camera as a module on the disk, with one line of code that is run when it is imported."""
    (folder() / f"{name}.py").write_text(f'"""A camera."""\n{line}\n')
    if str(folder()) not in sys.path:
        sys.path.append(str(folder()))
    module = ModuleType(name)
    vars(module).update(vars(plugin_of()))
    registry = Registry({"standard": isrcore_standard, "mycam": module})
    return CameraCase(registry.camera("mycam"), registry)
