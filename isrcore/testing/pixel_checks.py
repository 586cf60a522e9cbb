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
from isrcore.testing import strategies
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.contracts import check_plan, check_run, check_same
from isrcore.testing.faults import Fault, NotApplicable, Refuted, checks
from isrcore.testing.search import search
from isrcore.testing.twins import small_twin

# Of a camera with many layouts these many stand for all; frames of full size are few as well.
_LAYOUTS, _SMALL_EXAMPLES, _LARGE_EXAMPLES = 4, 5, 2

#: A run to be checked: the task's config, a raw exposure, and calibrations by kind.
Run = tuple[Config, Exposure, dict[str, Any]]


@checks("the plan for a raw frame meets the contract of every step")
def check_planning(case: CameraCase) -> Iterator[Fault]:
    """`check_plan` on plans with the camera's own config."""

    def law(run: Run) -> None:
        config, exposure, inputs = run
        check_plan(_task(case, config).plan(exposure, **inputs), exposure)

    yield from _refutations(case, law)


@checks("every step of a run keeps its contract on frames of this camera")
def check_steps(case: CameraCase) -> Iterator[Fault]:
    """`check_run` on runs with the camera's own config."""
    infos = [info.name for info in case.registry.plugins if info.is_loaded]
    plugins = {name: case.registry.plugin(name) for name in infos}

    def law(run: Run) -> None:
        config, exposure, inputs = run
        check_run(plugins, config, exposure, **inputs)

    yield from _refutations(case, law)


@checks("frames in bands and on two threads come out as whole frames do, to the bit")
def check_tiles(case: CameraCase) -> Iterator[Fault]:
    """The tiled executor equals the reference."""

    def law(run: Run) -> None:
        config, exposure, inputs = run
        whole, bands = (
            _task(case, config, executor=executor).run(exposure, **inputs).exposure
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

    def law(drawn: tuple[Exposure, Mapping[str, Exposure]]) -> None:
        exposure, frames = drawn
        for kind in ("bias", "dark", "flat"):
            _undone(task, attrs.evolve(exposure.clone(), camera=case.camera.name), kind, frames[kind])

    for detector in _specimens(case):
        twin = small_twin(detector)
        kinds = st.fixed_dictionaries({k: strategies.frames(twin, k) for k in ("bias", "dark", "flat")})
        search(st.tuples(strategies.exposures(twin), kinds), _examples(twin, detector))(law)()
    yield from ()


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
        twin = small_twin(detector)
        try:
            search(_runs(case, twin), _SMALL_EXAMPLES)(law)()
        except AssertionError as broken:
            yield _fault(detector, broken)
        except Exception:  # what steps raise about a frame that is too small, or an error that comes again
            try:
                search(_runs(case, detector), _LARGE_EXAMPLES)(law)()
            except AssertionError as broken:
                yield _fault(detector, broken)


def _fault(detector: Detector, broken: AssertionError) -> Fault:
    """A breach of a contract, with the example that Hypothesis found."""
    example = " ".join(str(note) for note in getattr(broken, "__notes__", ()))
    return Fault(
        str(broken),
        f"a frame laid out as detector {detector.name!r}; {example}"[:600],
        "correct the step if it is the camera's own; else the sections of this detector, or the config that "
        "applyOverrides makes",
    )


def _runs(case: CameraCase, detector: Detector) -> st.SearchStrategy[Run]:
    """Runs with the camera's own config on drawn frames, with headers as its files have them."""
    read = {one.detector.name: one for one in case.files.read}
    template = read.get(detector.name) or case.files.read[0]

    def run(raw: Exposure, inputs: dict[str, Any]) -> Run:
        exposure = attrs.evolve(
            raw, camera=case.camera.name, header=template.header.copy(), visit=template.visit
        )
        known = {kind: value for kind, value in inputs.items() if kind in _kinds(case)}
        return _config(case, set(inputs)), exposure, known

    return st.builds(
        run, strategies.raw_exposures(detector, ceiling=50000), strategies.calibrations_for(detector)
    )


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
