"""The documented task: a run is a loop over a plan of steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import attrs

from isrcore.camera import Camera
from isrcore.config import Config
from isrcore.debug_views import AFTER_ALL
from isrcore.exposure import Exposure
from isrcore.pixel_methods import PixelMethods
from isrcore.quantities import Catalogs
from isrcore.repository import Repository
from isrcore.retrieval import FRAMES
from isrcore.runner import Conditions, run_segment
from isrcore.snapshots import Snapshots
from isrcore.task import Struct, timeMethod


class IsrTask(PixelMethods):
    """Remove the instrument signature from exposures of one camera.

    ``config`` defaults to `default_config` for the camera; it is validated and frozen here. ``registry``
    defaults to the installed plugins; ``executor`` runs pixel operations (default: bands on one thread).
    """

    _DefaultName: ClassVar[str | None] = "isr"

    @classmethod
    def parseAndRun(
        cls,
        args: Sequence[str] | None = None,
        config: Config | None = None,
        log: logging.Logger | None = None,
        doReturnResults: bool = False,
    ) -> Struct:
        """See `CmdLineTask.parseAndRun`; units are the detectors of the files that are named."""
        from isrcore.cli.parse_and_run import parse_and_run

        return parse_and_run(cls, args, config, log, doReturnResults)

    @timeMethod
    def run(
        self,
        /,
        ccdExposure: Exposure,
        *,
        camera: Camera | None = None,
        detectorNum: int | None = None,
        isGen3: bool = False,
        **inputs: Any,
    ) -> Struct:
        """Remove the instrument signature.

        ``ccdExposure`` may be a repository about one exposure and detector: then `runDataRef` is called. With
        ``isGen3`` the exposure and frames may be anything that `ensureExposure` takes, of the detector with
        id ``detectorNum`` of ``camera`` (default: the task's).
        ``inputs`` are calibrations by kind: ``bias``, ``dark``, ``flat`` (`Exposure` of the detector),
        ``defects`` (`Defects` or boxes), and what further steps read; those that ship with the camera are
        used where none is given, and None means none. A Struct with one under its kind may say more about it
        (the ``seed`` of ``fringes``). The given exposure is not changed.
        Returns a Struct with ``exposure`` and ``outputExposure`` (the same object), and with
        ``preInterpolatedExposure``: a copy from before bad pixels were replaced, None without
        ``doSaveInterpPixels``; with ``ossThumb`` and ``outputOssThumbnail``, a picture from after assembly,
        and ``flattenedThumb`` and ``outputFlattenedThumbnail``, one from before bad pixels were replaced:
        uint8 (ny, nx, 3), None unless ``qa`` asks for it, or without assembly; with ``catalogs``, the tables
        of `catalogs`. Raises PlanError, before any
        pixel is touched, with everything that is missing or does not fit; TypeError for an input that no
        step reads; RuntimeError for ``isGen3`` without ``detectorNum``.
        """
        if not isinstance(ccdExposure, Exposure) and isinstance(ccdExposure, Repository):
            return self.runDataRef(ccdExposure)
        given = ccdExposure
        if isGen3:
            given, inputs = self._ensured(ccdExposure, inputs, camera, detectorNum)
        exposure = given.share()
        planned, calibrations = self.prepared(exposure, inputs)
        snapshots = Snapshots(self.config)
        for segment in planned.segments:
            snapshots.before(segment, exposure)
            owns = exposure.image is not given.image
            conditions = Conditions(self.executor, self._memory, owns, keeps_operations=True)
            run_segment(segment, exposure, calibrations, conditions)
            if self.registry.has_observers:
                self.registry.after_step(segment.steps[-1].spec.name, exposure)
            self.debugView(exposure, segment.steps[-1].spec.name)
            snapshots.after(segment, exposure)
        snapshots.finish(exposure)
        self.debugView(exposure, AFTER_ALL)
        # From here on its facts are the product's own: doing anything again is refused.
        exposure.given, exposure.applied = {}, ()
        if self.config.expectWcs and exposure.wcs is None:
            self.log.warning("%s has no WCS", exposure.label)
        # What becomes of the exposure later does not change what was measured.
        corrected = attrs.evolve(exposure, measured=dict(exposure.measured))
        catalogs = Catalogs(partial(self.catalogs, corrected))
        return Struct(exposure=exposure, outputExposure=exposure, **snapshots.as_dict(), catalogs=catalogs)

    def _ensured(
        self, exposure: Any, inputs: dict[str, Any], camera: Camera | None, number: int | None
    ) -> tuple[Exposure, dict[str, Any]]:
        """Exposure and frames made of whatever a repository gave."""
        if number is None:
            raise RuntimeError("run with isGen3 needs detectorNum, the id of the detector")
        known = camera or self._camera_of(exposure)
        frames = {kind: self.ensureExposure(inputs[kind], known, number) for kind in FRAMES & inputs.keys()}
        ensured = self.ensureExposure(exposure, known, number)
        assert ensured is not None
        return ensured, {**inputs, **frames}
