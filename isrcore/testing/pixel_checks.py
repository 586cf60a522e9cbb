"""Checks that the steps a camera is corrected with keep their laws on this camera's geometry.

Pixels are drawn for one detector of every layout, shortened where that changes nothing (`small_twin`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from isrcore.camera import Detector
from isrcore.config import Config
from isrcore.exposure import Exposure
from isrcore.image import MaskedImage
from isrcore.isr import IsrTask
from isrcore.kernels.reference import execute
from isrcore.kernels.tiled import Tiled
from isrcore.plan import PlanError
from isrcore.testing import strategies
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.contracts import check_plan, check_run, check_same
from isrcore.testing.faults import Fault, NotApplicable, Refuted, checks
from isrcore.testing.search import search
from isrcore.testing.twins import small_twin

# Of a camera with many layouts these many stand for all; frames of full size are few as well.
_LAYOUTS, _SMALL_EXAMPLES, _LARGE_EXAMPLES = 4, 5, 2


class Run:
    """A run to be checked: the task's config, a raw exposure, and calibrations by kind.

    No attrs class: of those Hypothesis prints every field, and pixels say nothing to whoever reads a message.
    """

    def __init__(self, config: Config, exposure: Exposure, inputs: Mapping[str, Any]) -> None:
        self.config, self.exposure, self.inputs = config, exposure, inputs

    def __repr__(self) -> str:
        """What it is about, without pixels."""
        image = self.exposure.image
        size, given = f"{image.shape[0]} x {image.shape[1]}", ", ".join(sorted(self.inputs))
        return f"a run on {size} pixels from {image.min()} to {image.max()} with {given}"


@checks("the plan for a raw frame meets the contract of every step")
def check_planning(case: CameraCase) -> Iterator[Fault]:
    """`check_plan` on plans with the camera's own config."""

    def law(run: Run) -> None:
        plan = _task(case, run.config).plan(run.exposure, **run.inputs)
        check_plan(plan, run.exposure)

    yield from _refutations(case, law)


@checks("every step of a run keeps its contract on frames of this camera")
def check_steps(case: CameraCase) -> Iterator[Fault]:
    """`check_run` on runs with the camera's own config."""
    infos = [info.name for info in case.registry.plugins if info.is_loaded]
    plugins = {name: case.registry.plugin(name) for name in infos}

    def law(run: Run) -> None:
        check_run(plugins, run.config, run.exposure, **run.inputs)

    yield from _refutations(case, law)


@checks("frames in bands and on two threads come out as whole frames do, to the bit")
def check_tiles(case: CameraCase) -> Iterator[Fault]:
    """The tiled executor equals the reference."""

    def law(run: Run) -> None:
        whole, bands = (
            _task(case, run.config, executor=executor).run(run.exposure, **run.inputs).exposure
            for executor in (execute, Tiled(5, 2))
        )
        check_same(whole.pixels, bands.pixels)

    yield from _refutations(case, law)


@checks("bias, dark and flat put back give the pixels from before")
def check_undoing(case: CameraCase) -> Iterator[Fault]:
    """Corrections followed by their inverses."""
    needed = {"bias", "dark", "flat"} - set(case.registry.specs)
    if needed:
        raise NotApplicable(f"no plugin of the registry implements {', '.join(sorted(needed))}")
    task = _task(case, case.config.copy())

    def law(drawn: Run) -> None:
        for kind in ("bias", "dark", "flat"):
            _undone(task, drawn.exposure.clone(), kind, drawn.inputs[kind])

    for detector in _specimens(case):
        twin = small_twin(detector)
        search(_corrections(case, twin), _examples(twin, detector), is_shrunk=False)(law)()
    yield from ()


@st.composite
def _corrections(draw: st.DrawFn, case: CameraCase, detector: Detector) -> Run:
    """An assembled exposure, and frames to correct it with."""
    exposure = attrs.evolve(draw(strategies.exposures(detector)), camera=case.camera.name)
    frames = {kind: draw(strategies.frames(detector, kind)) for kind in ("bias", "dark", "flat")}
    return Run(case.config, exposure, frames)


def _undone(task: IsrTask, exposure: Exposure, kind: str, frame: Exposure) -> None:
    """Apply and undo one correction; raise `Refuted` when the pixels are others than before."""
    before, step = exposure.image.copy(), task._step(kind)
    task._apply_one(step, exposure, **{kind: frame})
    largest = np.maximum(np.abs(before), np.abs(exposure.image)) + np.abs(frame.image)
    task._undo(step, exposure, **{kind: frame})
    lost = np.abs(exposure.image.astype(np.float64) - before)
    # Four roundings of half a unit in the last place each, of numbers that a flat of 0.3 makes larger.
    bad = ~(lost <= 16 * np.spacing(largest.astype(np.float32)))
    if bad.any():
        y, x = (int(index) for index in np.argwhere(bad)[0])
        raise Refuted(
            Fault(
                f"step {kind!r} does not undo what it does",
                f"pixel [{x + 1},{y + 1}] of detector {exposure.detector.name!r} was {before[y, x]}, "
                f"it is {exposure.image[y, x]} after correcting and undoing",
                f"let the operations of {type(step).__name__} be invertible ones: Subtract, Divide, Affine",
            )
        )


@checks("assembly puts the pixels of every amplifier where the camera declares them")
def check_landing(case: CameraCase) -> Iterator[Fault]:
    """Assembled pixels against plain numpy made of the FITS sections, on frames of full size."""
    needed = {"conversion", "assembly"} - set(case.registry.specs)
    if needed:
        raise NotApplicable(f"no plugin of the registry implements {', '.join(sorted(needed))}")
    config = case.config.copy()
    config.set("assembly.doTrim", True)
    task = _task(case, config)
    for detector in _specimens(case):
        raw = _pattern(detector)
        exposure = Exposure(MaskedImage.from_raw(raw), detector, case.camera.name)
        exposure = attrs.evolve(exposure, facts=frozenset({"levels-known"}))
        task._apply([task._step("conversion"), task._step("assembly")], exposure)
        yield from _misplaced(detector, raw, exposure.image)


def _pattern(detector: Detector) -> npt.NDArray[np.uint16]:
    """A raw frame whose neighbouring pixels all differ."""
    ny, nx = detector.raw_shape
    rows, columns = np.arange(ny, dtype=np.uint32)[:, None], np.arange(nx, dtype=np.uint32)[None, :]
    return ((rows * 257 + columns * 40503) % 65521).astype(np.uint16)


def _misplaced(detector: Detector, raw: npt.NDArray[np.uint16], found: npt.NDArray[Any]) -> Iterator[Fault]:
    """Amplifiers whose pixels are not where their sections say."""
    for amp in detector.amplifiers:
        part = raw[_slices(amp.raw_data_box.to_section())]
        part = np.flipud(part) if amp.flip_y else part
        part = np.fliplr(part) if amp.flip_x else part
        if not np.array_equal(found[_slices(amp.box.to_section())], part.astype(np.float32)):
            yield Fault(
                f"pixels of amplifier {amp.name!r} of detector {detector.name!r} are not where its box says",
                f"raw {amp.raw_data_box.to_section()} should be at {amp.box.to_section()}, "
                f"flip_y = {str(amp.flip_y).lower()}, flip_x = {str(amp.flip_x).lower()}",
                "correct the amplifiers' boxes, or the step 'assembly' if it is the camera's own",
            )


def _slices(section: str) -> tuple[slice, slice]:
    """A FITS section as an index, read without the code that is checked."""
    x1, x2, y1, y2 = (int(number) for number in re.findall(r"\d+", section))
    return slice(y1 - 1, y2), slice(x1 - 1, x2)


def _task(case: CameraCase, config: Config, **options: Any) -> IsrTask:
    return IsrTask(config.copy(), camera=case.camera.name, registry=case.registry, **options)


def _specimens(case: CameraCase) -> list[Detector]:
    """One detector of each layout."""
    return list(case.layouts())[:_LAYOUTS]


def _examples(twin: Detector, detector: Detector) -> int:
    return _SMALL_EXAMPLES if twin is not detector else _LARGE_EXAMPLES


def _refutations(case: CameraCase, law: Callable[[Run], None]) -> Iterator[Fault]:
    """What refutes a law about runs, for each layout.

    A config may ask for more rows or columns than a small twin has, so what breaks there is tried in full.
    """
    for detector in _specimens(case):
        twin, told = small_twin(detector), _telling(law, detector)
        try:
            search(_runs(case, twin), _SMALL_EXAMPLES, is_shrunk=False)(told)()
        except Refuted as refuted:
            yield refuted.fault
        except Exception:  # what steps raise about a frame that is too small, or an error that comes again
            try:
                search(_runs(case, detector), _LARGE_EXAMPLES, is_shrunk=False)(told)()
            except Refuted as refuted:
                yield refuted.fault
            except PlanError as fault:
                yield Fault(
                    "a frame of it cannot be corrected with the config that it has by itself",
                    str(fault),
                    "let applyOverrides leave on what other steps need, and its own steps ask for less",
                )


def _telling(law: Callable[[Run], None], detector: Detector) -> Callable[[Run], None]:
    """The law, with the run that refutes it and what to do in the message."""

    def told(run: Run) -> None:
        try:
            law(run)
        except AssertionError as broken:
            raise Refuted(
                Fault(
                    str(broken),
                    f"{run!r}, laid out as detector {detector.name!r}",
                    "correct the step if it is the camera's own; else the sections of this detector, or what "
                    "applyOverrides sets",
                )
            ) from broken

    return told


@st.composite
def _runs(draw: st.DrawFn, case: CameraCase, detector: Detector) -> Run:
    """Runs with the camera's own config on drawn frames, with headers as its files have them."""
    read = {one.detector.name: one for one in case.files.read}
    template = read.get(detector.name) or case.files.read[0]
    raw = draw(strategies.raw_exposures(detector, ceiling=50000))
    drawn = draw(strategies.calibrations_for(detector))
    exposure = attrs.evolve(raw, camera=case.camera.name, header=template.header.copy(), visit=template.visit)
    inputs = {kind: value for kind, value in drawn.items() if kind in _kinds(case)}
    return Run(_config(case, set(inputs)), exposure, inputs)


def _kinds(case: CameraCase) -> frozenset[str]:
    """Kinds of calibration that the steps read."""
    return frozenset({"defects"}).union(*(spec.kinds for spec in case.registry.specs.values()))


def _config(case: CameraCase, kinds: set[str]) -> Config:
    """The camera's config, without what needs calibrations that nobody can draw."""
    config = case.config.copy()
    config.set("expectWcs", False)
    for spec in case.registry.specs.values():
        if spec.flag and spec.calibrations - kinds:
            config.set(spec.flag, False)
    return config
