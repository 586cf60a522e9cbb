"""What happens to one unit once it is planned: read, correct, write; in this process or another one."""

from __future__ import annotations

import importlib.metadata
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from isrcore.camera_files import CameraFile
from isrcore.cli.calibration_files import CalibrationFiles
from isrcore.cli.digests import known_sha256
from isrcore.cli.faults import reason_of
from isrcore.cli.outcomes import Outcome
from isrcore.cli.shelf import Shelf, digest_of
from isrcore.cli.unit_files import UnitFiles
from isrcore.config import Config
from isrcore.config_toml import format_value
from isrcore.data_repository import DataRepository
from isrcore.fits import FitsError, write_exposure
from isrcore.folder_repository import FolderRepository
from isrcore.image import Mask
from isrcore.isr import IsrTask
from isrcore.kernels.memory import keep_freed_memory
from isrcore.kernels.tiled import Tiled
from isrcore.origins import CAMERA, FINGERPRINT, SETTING, shipped_with
from isrcore.raw import RawSource
from isrcore.registry import Registry
from isrcore.task import Struct

_log = logging.getLogger(__name__)

# Flags of this many rows are counted while they are in cache.
_BAND_ROWS = 128


@attrs.frozen
class Job:
    """One unit as whoever processes it needs it.

    ``digest`` is that of the raw file, ``kinds`` are the calibrations its plan reads and ``found`` those of
    them that a repository has. ``name`` is what records call the exposure; ``identity`` that of the product.
    """

    label: str
    path: Path
    detector: str
    camera: str
    product: Path
    kinds: tuple[str, ...]
    digest: str = ""
    name: str = ""
    identity: str = ""
    found: Mapping[str, Path] = attrs.field(factory=dict)


@attrs.frozen
class Setup:
    """What all jobs of a run have in common; ``configs`` by camera, calibration ``files`` by kind.

    ``sources`` are raw files whose headers have been read already; ``record`` is the folder or repository for
    the metadata of each unit, a repository also hears of products. With ``keeps_results`` outcomes carry what
    the task returned. ``camera`` is that which raw files are read as, if one is chosen.
    """

    configs: Mapping[str, Config]
    files: Mapping[str, CalibrationFiles]
    sources: tuple[RawSource, ...] = ()
    threads: int = 1
    compress: str | None = None
    overwrite: bool = False
    traceback: bool = False
    task_class: type[IsrTask] = IsrTask
    record: FolderRepository | DataRepository | None = None
    keeps_results: bool = False
    camera: CameraFile | str = ""

    def make_processor(self) -> Callable[[Job], Outcome]:
        """A processor with the installed plugins, for a process that sends its outcomes to another."""
        for source in self.sources:
            source.keep()
        process = Processor(self, Registry.discover().choosing(self.camera))
        return lambda job: process(job).sendable()


class Processor:
    """Processes units one after the other; keeps what the next one may need again."""

    def __init__(self, setup: Setup, registry: Registry) -> None:
        keep_freed_memory()
        self.setup, self.registry = setup, registry
        self.shelf = Shelf(registry, setup.files)
        self._cameras: dict[str, _CameraTask] = {}

    def __call__(self, job: Job) -> Outcome:
        """Process one unit; whatever goes wrong is its own outcome."""
        clock, task = Clock(), self._camera(job.camera).task
        task.emptyMetadata()
        try:
            result = self._correct(job, clock)
        except Exception as fault:
            if self.setup.traceback:
                _log.error("%s failed", job.label, exc_info=fault)
            found = {"reason": reason_of(fault), "fault": fault}
            return self._recorded(job, Outcome.of(job, "failed", **found, **clock.result()))
        exposure = result.exposure
        flagged = count_flagged(exposure.mask) / exposure.mask.size
        steps = tuple(entry.step for entry in exposure.history)
        product = job.product if task.config.doWrite else None
        _log.info("%s: wrote %s", job.label, product or "nothing, as doWrite is false")
        found = {"product": product, "result": result if self.setup.keeps_results else None}
        outcome = Outcome.of(job, "ok", steps=steps, flagged=flagged, **found, **clock.result())
        return self._recorded(job, outcome)

    def _recorded(self, job: Job, outcome: Outcome) -> Outcome:
        """The outcome with the task's metadata, which are stored whether the unit went well or not."""
        task = self._camera(job.camera).task
        task.metadata.set("status", outcome.status)
        if outcome.reason:
            task.metadata.set("reason", outcome.reason)
        if self.setup.record is not None:
            task.writeMetadata(self.setup.record.at(exposure=job.name, detector=job.detector))
        return attrs.evolve(outcome, metadata=task.getFullMetadata())

    def _correct(self, job: Job, clock: Clock) -> Struct:
        """Read, correct and write one unit."""
        camera = self._camera(job.camera)
        with clock.part("read"):
            # Calibrations first: then those of the last detector are gone before its pixels are read.
            inputs = self._inputs(job)
            raw = next(iter(self.registry.read_raw(job.path, [job.detector])))
        with clock.part("pixels"):
            result = camera.task.run(raw, **inputs)
        with clock.part("write"):
            self._write(job, result, inputs)
        return result

    def _write(self, job: Job, result: Struct, inputs: dict[str, Any]) -> None:
        """Write what came of a unit: thumbnails always, exposures unless ``doWrite`` is off."""
        camera, files = self._camera(job.camera), UnitFiles(job.product)
        files.write_pictures(result)
        for path, exposure in files.exposures(result).items() if camera.task.config.doWrite else ():
            write_exposure(
                exposure,
                path,
                compress=self.setup.compress,
                # Only the product was looked for before; what is beside it belongs to it.
                overwrite=self.setup.overwrite or path != job.product,
                config_text=camera.config_text,
                provenance=dict(self._provenance(job, inputs)),
            )
        if camera.task.config.doWrite and isinstance(self.setup.record, DataRepository):
            self.setup.record.add_product(job.product, int(job.name), job.detector)

    def _inputs(self, job: Job) -> dict[str, Any]:
        """The calibrations that the unit's plan reads; others need not be whole. Raises `FitsError`."""
        inputs, problems = self.shelf.load(job.camera, job.detector, job.kinds, job.found)
        if problems:
            raise FitsError("\n".join(problems))
        return inputs

    def _camera(self, name: str) -> _CameraTask:
        """The task of a camera, made once."""
        if name not in self._cameras:
            self._cameras[name] = _CameraTask(self.setup, name, self.registry)
        return self._cameras[name]

    def _provenance(self, job: Job, inputs: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Names and digests of all that goes into a product."""
        yield "isrcore", importlib.metadata.version("isrcore")
        yield "input", str(job.path)
        yield "input sha256", job.digest or known_sha256(job.path)
        if job.identity:
            yield FINGERPRINT, job.identity
        if file := self.registry.file_of(job.camera):
            yield CAMERA, str(file.path)
            yield f"{CAMERA} digest", file.digest
        for kind in (kind for kind in job.kinds if inputs.get(kind) is not None):
            files = self.shelf.files_of(kind, job.detector, job.found)
            yield kind, ", ".join(map(str, files)) or shipped_with(job.camera)
            if digest := digest_of(inputs[kind], files):
                yield f"{kind} digest", digest
        yield from self._camera(job.camera).settings.items()


class _CameraTask:
    """The task of one camera, and its configuration as products tell it."""

    def __init__(self, setup: Setup, camera: str, registry: Registry) -> None:
        executor = Tiled(threads=setup.threads)
        config = setup.configs[camera]
        self.task = setup.task_class(config, camera=camera, registry=registry, executor=executor)

    @cached_property
    def config_text(self) -> str:
        """The whole configuration as TOML."""
        return str(self.task.config.to_toml())

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """Values that are no defaults, with who set them, by names as provenance has them."""
        config = self.task.config
        changes = ((name, config.origin(name)) for name in config.names())
        return {
            SETTING + name: f"{format_value(config.get(name))} ({change.layer}: {change.who})"
            for name, change in changes
            if change.layer != "default"
        }


class Clock:
    """Seconds since it was made, and those spent in named parts."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] = time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        """As fields of an `Outcome`."""
        return {"seconds": time.perf_counter() - self._started, "parts": dict(self._parts)}


def count_flagged(mask: Mask) -> int:
    """The number of pixels with any flag."""
    # Counting integers that are not zero takes several times as long as comparing and counting booleans.
    bands = (mask[start : start + _BAND_ROWS] for start in range(0, mask.shape[0], _BAND_ROWS))
    return sum(int(np.count_nonzero(band != 0)) for band in bands)
