"""What happens to one unit once it is planned: read, correct, write; in this process or another one.

Waiting for the disk comes apart from the rest, so that the next unit can be begun meanwhile.
"""

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

from isrcore.atomic import Deferred, deferring
from isrcore.camera_files import CameraFile
from isrcore.cli.calibration_files import CalibrationFiles
from isrcore.cli.digests import known_sha256
from isrcore.cli.faults import reason_of
from isrcore.cli.outcomes import Outcome, Segment
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
from isrcore.task import Metadata, Struct

_log = logging.getLogger(__name__)

# Flags of this many rows are counted while they are in cache.
_BAND_ROWS = 128


@attrs.frozen
class Job:
    """One unit as whoever processes it needs it.

    ``digest`` is that of the raw file, ``kinds`` are the calibrations its plan reads and ``found`` those of
    them that a repository has. ``name`` is what records call the exposure; ``identity`` that of the product.
    ``is_again``: a process that was doing it died, so the product may be there.
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
    is_again: bool = False


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

    def make_processor(self) -> Callable[[Job], Callable[[], Outcome]]:
        """What begins a unit with the installed plugins, in a process that sends its outcomes to another."""
        for source in self.sources:
            source.keep()
        processor = Processor(self, Registry.discover().choosing(self.camera))

        def begin(job: Job) -> Callable[[], Outcome]:
            finish = processor.begin(job)
            return lambda: finish().sendable()

        return begin


class Processor:
    """Processes units one after the other; keeps what the next one may need again."""

    def __init__(self, setup: Setup, registry: Registry) -> None:
        keep_freed_memory()
        self.setup, self.registry = setup, registry
        self.shelf = Shelf(registry, setup.files)
        self._cameras: dict[str, _CameraTask] = {}

    def begin(self, job: Job) -> Callable[[], Outcome]:
        """Read, correct and write one unit; what is returned waits for the disk, and records how it ended.

        That may be called in another thread while the next unit is begun. Whatever goes wrong in either is
        the unit's own outcome.
        """
        clock, task = Clock(), self._camera(job.camera).task
        task.emptyMetadata()
        files, outcome = self._begun(job, clock)
        # The next unit gets new ones.
        metadata = task.getFullMetadata()

        def finish() -> Outcome:
            ended = outcome if files is None else self._finished(job, clock, files, outcome)
            return self._recorded(job, ended, metadata)

        if not _stores_its_own_way(task):
            return finish
        # That asks the task for its metadata, so the next unit has to wait.
        ended = finish()
        return lambda: ended

    def _begun(self, job: Job, clock: Clock) -> tuple[Deferred | None, Outcome]:
        """The files of a unit that are to be finished, None if it failed, and its outcome once they are."""
        try:
            result, files = self._correct(job, clock)
        except Exception as fault:
            return None, self._failed(job, clock, fault)
        product = job.product if self._camera(job.camera).task.config.doWrite else None
        exposure, kept = result.exposure, result if self.setup.keeps_results else None
        flagged = count_flagged(exposure.mask) / exposure.mask.size
        segments = Segment.all_of(exposure.history)
        return files, Outcome.of(job, "ok", product=product, segments=segments, flagged=flagged, result=kept)

    def _finished(self, job: Job, clock: Clock, files: Deferred, done: Outcome) -> Outcome:
        """The outcome of a unit whose files are waited for; failed if they cannot be."""
        try:
            with clock.part("write"):
                self._finish(job, files, done.product is not None)
        except Exception as fault:
            return self._failed(job, clock, fault)
        _log.info("%s: wrote %s", job.label, done.product or "nothing, as doWrite is false")
        return attrs.evolve(done, **clock.result())

    def _finish(self, job: Job, files: Deferred, has_product: bool) -> None:
        """Force a unit's files to disk and name them, and tell a repository. Raises `FitsError`."""
        try:
            files.finish()
        except OSError as fault:
            raise FitsError(
                f"cannot write product {str(job.product)!r}: {fault}\n"
                "  nothing unfinished was left behind; free space, then run again"
            ) from fault
        if has_product and isinstance(self.setup.record, DataRepository):
            self.setup.record.add_product(job.product, int(job.name), job.detector)

    def _failed(self, job: Job, clock: Clock, fault: Exception) -> Outcome:
        """The outcome of a unit that went wrong."""
        if self.setup.traceback:
            _log.error("%s failed", job.label, exc_info=fault)
        return Outcome.of(job, "failed", reason=reason_of(fault), fault=fault, **clock.result())

    def _recorded(self, job: Job, outcome: Outcome, metadata: Mapping[str, Metadata]) -> Outcome:
        """The outcome with the unit's metadata, which are stored whether it went well or not."""
        task = self._camera(job.camera).task
        own = metadata[task.getFullName()]
        own.set("status", outcome.status)
        if outcome.reason:
            own.set("reason", outcome.reason)
        if self.setup.record is not None:
            here = self.setup.record.at(exposure=job.name, detector=job.detector)
            if _stores_its_own_way(task):
                task.writeMetadata(here)
            else:
                task._storeMetadata(here, metadata)
        return attrs.evolve(outcome, metadata=metadata)

    def _correct(self, job: Job, clock: Clock) -> tuple[Struct, Deferred]:
        """Read, correct and write one unit; its files have yet to be finished."""
        camera = self._camera(job.camera)
        with clock.part("read"):
            # Calibrations first: then those of the last detector are gone before its pixels are read.
            inputs = self._inputs(job)
            raw = next(iter(self.registry.read_raw(job.path, [job.detector])))
        with clock.part("pixels"):
            result = camera.task.run(raw, **inputs)
        with clock.part("write"), deferring() as files:
            self._write(job, result, inputs)
        return result, files

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
                overwrite=self.setup.overwrite or job.is_again or path != job.product,
                config_text=camera.config_text,
                provenance=dict(self._provenance(job, inputs)),
            )

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


def _stores_its_own_way(task: IsrTask) -> bool:
    """Whether somebody has changed how a task's metadata are stored."""
    return type(task).writeMetadata is not IsrTask.writeMetadata


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
        """Time a part, or more of it."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self._parts[name] = self._parts.get(name, 0.0) + spent

    def result(self) -> dict[str, Any]:
        """As fields of an `Outcome`."""
        return {"seconds": time.perf_counter() - self._started, "parts": dict(self._parts)}


def count_flagged(mask: Mask) -> int:
    """The number of pixels with any flag."""
    # Counting integers that are not zero takes several times as long as comparing and counting booleans.
    bands = (mask[start : start + _BAND_ROWS] for start in range(0, mask.shape[0], _BAND_ROWS))
    return sum(int(np.count_nonzero(band != 0)) for band in bands)
