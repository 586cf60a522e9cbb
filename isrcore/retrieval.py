"""Fetching what a run needs from a repository, and storing what it makes.

Every input is fetched before the first pixel is touched, and everything that cannot be had is told together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from isrcore.camera import Camera, Detector
from isrcore.cmdline_task import CmdLineTask
from isrcore.exposure import Exposure
from isrcore.image import MaskedImage
from isrcore.repository import Repository
from isrcore.step import Skip, Step
from isrcore.task import Struct, TaskError, timeMethod

#: Calibrations of which a repository may have the pixels alone.
FRAMES = frozenset({"bias", "dark", "flat", "illumMaskedImage"})

#: What `run` returns, by the dataset it is stored as.
_PRODUCTS = {"postISRCCD": "exposure", "postISRCCD_uninterpolated": "preInterpolatedExposure"}
_THUMBNAILS = {"ossThumb": "ossThumb", "flattenedThumb": "flattenedThumb"}


class RetrievalError(TaskError):
    """Calibrations that a repository does not have; the message lists them all, with the reasons."""


class Retrieval(CmdLineTask):
    """The part of the documented task that speaks with repositories."""

    def _steps_for(self, exposure: Exposure) -> list[Step]:
        """The steps that may run on an exposure."""
        raise TypeError(f"{type(self).__name__} must say its steps in _steps_for")

    def run(self, ccdExposure: Exposure, **inputs: Any) -> Struct:
        """Correct an exposure."""
        raise TypeError(f"{type(self).__name__} must override run")

    def readIsrData(self, dataRef: Repository, rawExposure: Exposure) -> Struct:
        """Fetch all that `run` needs for an exposure, which is not changed; pixels are not touched.

        ``dataRef`` is a repository about this exposure and detector. The Struct holds keywords of `run`: one
        for every kind of calibration that a step may read, None where none is needed. ``fringes`` is a Struct
        of ``fringes`` and ``seed``, None for whichever is not known. Raises `RetrievalError` (a RuntimeError)
        with every calibration that is needed and cannot be had.
        """
        date, found, problems = _middle_of(rawExposure), dict[str, Any](), list[str]()
        for step, needs, accepts in self._wanted(rawExposure):
            for kind in sorted(needs | accepts):
                try:
                    found[kind] = self._fetch(dataRef, step, kind, date)
                except (RuntimeError, LookupError, OSError, ValueError) as fault:
                    # A calibration that is only used where there is one may be missing.
                    problems += [f"{kind}: {fault}"] if kind in needs else []
        if problems:
            lines = (f"  - {problem}".replace("\n", "\n    ") for problem in problems)
            raise RetrievalError("\n".join([f"{rawExposure.label}: calibrations are missing", *lines]))
        kinds = frozenset[str]().union(*(step.spec.kinds for step in self._steps_for(rawExposure)))
        return Struct(**{kind: found.get(kind) for kind in sorted(kinds)})

    def _wanted(self, exposure: Exposure) -> Iterator[tuple[Step, frozenset[str], frozenset[str]]]:
        """Steps that will run, and the kinds of calibration that each needs, and accepts."""
        for step in self._steps_for(exposure):
            flag = step.spec.flag
            contract = step.contract(exposure) if flag is None or getattr(self.config, flag) else Skip("")
            if not isinstance(contract, Skip):
                yield step, contract.calibrations, contract.accepts

    def _fetch(self, data_ref: Repository, step: Step, kind: str, date: str | None) -> Any:
        """A calibration from the first dataset that may hold it. Raises what the last attempt raised."""
        *first, last = step.datasets(kind)
        for dataset in first:
            if data_ref.datasetExists(dataset):
                return self.getIsrExposure(data_ref, dataset, date)
        return self.getIsrExposure(data_ref, last, date)

    def getIsrExposure(
        self,
        dataRef: Repository,
        datasetType: str,
        dateObs: str | None = None,
        immediate: bool = True,
    ) -> Any:
        """Return a calibration from a repository: an `Exposure`, or whatever is kept for ``datasetType``.

        When there is none and the config has a ``fallbackFilterName``, that filter's, for the date
        ``dateObs`` (ISO 8601, UTC) if ``useFallbackDate``; then there is a warning. ``immediate`` asks for
        the thing itself, so that what is wrong with it shows here. Raises `RetrievalError` (a RuntimeError)
        naming dataset, data id and causes.
        """
        try:
            return dataRef.get(datasetType, immediate=immediate)
        except Exception as fault:
            about = f"dataset {datasetType!r} for {dict(dataRef.dataId)}"
            fallback = self._fallback(dateObs)
            if not fallback:
                raise RetrievalError(f"{about} cannot be had: {fault}") from fault
            try:
                found = dataRef.get(datasetType, immediate=immediate, **fallback)
            except Exception as other:
                raise RetrievalError(
                    f"{about} cannot be had: {fault}\n  nor with {fallback}: {other}"
                ) from other
        self.log.warning("%s cannot be had, taking that of %s", about, fallback)
        return found

    def _fallback(self, date: str | None) -> dict[str, str]:
        """The keys of a second attempt; none when there is to be none."""
        if self.config.fallbackFilterName is None:
            return {}
        dated = {"dateObs": date} if self.config.useFallbackDate and date else {}
        return {"filter": self.config.fallbackFilterName, **dated}

    def ensureExposure(self, inputExp: Any, camera: Camera, detectorNum: int) -> Exposure | None:
        """An exposure made of whatever a repository gave: itself, a masked image or an array of pixels.

        Arrays are uint16 or float32, (ny, nx); made exposures have no flags and no variance. One that does
        not know its detector gets that of id ``detectorNum``. None stays None. Raises TypeError for anything
        else, KeyError for an id that the camera has not.
        """
        if inputExp is None:
            return None
        detector = camera[detectorNum]
        if isinstance(inputExp, Exposure):
            if inputExp.detector.name == Detector.of_shape((1, 1)).name:
                inputExp.detector, inputExp.camera = detector, inputExp.camera or camera.name
            return inputExp
        pixels = _as_pixels(inputExp)
        is_assembled = pixels.shape == detector.shape != detector.raw_shape
        return Exposure(pixels, detector, camera.name, facts=frozenset({"assembled"} if is_assembled else ()))

    @timeMethod
    def runDataRef(self, sensorRef: Repository) -> Struct:
        """Fetch one detector's raw exposure and calibrations, run, and store what comes out if ``doWrite``.

        Stored are ``postISRCCD``, ``postISRCCD_uninterpolated`` when there is one, and thumbnails
        ``ossThumb`` and ``flattenedThumb`` whatever ``doWrite`` says. Returns what `run` returns. Raises
        `RetrievalError`, PlanError (both RuntimeErrors) and what `run` raises.
        """
        raw = sensorRef.get(self.config.datasetType, immediate=True)
        inputs = self.readIsrData(sensorRef, raw).getDict()
        result = self.run(raw, **{kind: value for kind, value in inputs.items() if value is not None})
        stored = {**(_PRODUCTS if self.config.doWrite else {}), **_THUMBNAILS}
        for dataset, field in stored.items():
            if getattr(result, field) is not None:
                sensorRef.put(getattr(result, field), dataset)
        return result

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        """Get inputs by reference, run, and put outputs.

        ``butlerQC`` offers ``get(inputRefs)``, a mapping from name to object, and ``put(outputs,
        outputRefs)``; ``inputRefs.ccdExposure.dataId["detector"]`` is the detector's id. Inputs are keywords
        of `run`, and ``camera``. Outputs are the attributes of what `run` returns. Raises ValueError when
        there is no detector id, and what `run` raises.
        """
        number = _detector_number(inputRefs)
        inputs = {kind: value for kind, value in dict(butlerQC.get(inputRefs)).items() if value is not None}
        outputs = self.run(**inputs, detectorNum=number, isGen3=True)
        butlerQC.put(outputs, outputRefs)


def _as_pixels(value: Any) -> MaskedImage:
    """Pixels as a masked image, without flags and variance where there are none."""
    if isinstance(value, MaskedImage):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype == np.uint16:
        return MaskedImage.from_raw(value)
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype == np.float32:
        return MaskedImage.from_image(value)
    is_array = isinstance(value, np.ndarray)
    kind = f"{value.dtype} array of {value.ndim} axes" if is_array else type(value).__name__
    raise TypeError(
        f"cannot make an exposure of a {kind}: give an Exposure, a MaskedImage, or pixels of two axes as "
        "uint16 or float32"
    )


def _middle_of(exposure: Exposure) -> str | None:
    """The middle of the exposure, ISO 8601 in UTC; None when it is not known."""
    date = exposure.visit.date
    return None if date is None else str(date.utc.isot)


def _detector_number(refs: Any) -> int:
    """The id of the detector that a quantum is about."""
    try:
        return int(refs.ccdExposure.dataId["detector"])
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise ValueError(
            f"the reference of ccdExposure says no detector: its dataId needs 'detector' ({fault!r})"
        ) from fault
