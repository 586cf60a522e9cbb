"""Runs on repositories: every input is fetched first, all that is missing is told, products are stored."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.time import Time

import isrcore_standard
from isrcore import (
    Box,
    Camera,
    Defects,
    Detector,
    Exposure,
    FolderRepository,
    IsrTask,
    MaskedImage,
    Registry,
    VisitInfo,
    default_config,
    hookimpl,
)

AMP = attrs.evolve(
    Detector.of_shape((4, 6), gain=2.0, read_noise=3.0, saturation=60000.0).amplifiers[0],
    raw_box=Box(0, 4, 0, 8),
    serial_overscan_box=Box(0, 4, 6, 8),
)
CCD = Detector("ccd1", 1, (4, 6), (4, 8), (AMP,))
CAMERA = Camera("mycam", (CCD,))
REGISTRY = Registry(
    {
        "standard": isrcore_standard,
        "mycam": SimpleNamespace(cameras=hookimpl(lambda: [CAMERA], specname="isr_cameras")),
    }
)
VISIT = VisitInfo(7, 30.0, 31.0, Time("2020-02-03T04:05:06", scale="utc"), "r")


def task_of(**values: Any) -> IsrTask:
    config = default_config(REGISTRY, "mycam")
    config.expectWcs = config.doInterpolate = False
    for name, value in values.items():
        config.set(name.replace("__", "."), value)
    return IsrTask(config, camera="mycam", registry=REGISTRY)


def raw() -> Exposure:
    counts = np.full((4, 8), 1000, np.uint16)
    counts[:, 6:] = 200
    return Exposure(MaskedImage.from_raw(counts), CCD, "mycam", VISIT)


def frame(level: float, unit: str = "adu") -> Exposure:
    pixels = MaskedImage.from_image(np.full(CCD.shape, level, np.float32))
    return Exposure(pixels, CCD, "mycam", VISIT, unit=unit, facts=frozenset({"assembled"}))


@pytest.fixture
def repository(tmp_path: Any) -> FolderRepository:
    """A raw exposure with its masters; the flat is of filter r."""
    found = FolderRepository(tmp_path)
    found.put(raw(), "raw", visit=7, detector="ccd1")
    found.put(frame(5.0), "bias", detector="ccd1")
    found.put(frame(3.0), "dark", detector="ccd1")
    found.put(frame(2.0, ""), "flat", detector="ccd1", filter="r")
    return found


@pytest.fixture
def reference(repository: FolderRepository) -> FolderRepository:
    return repository.at(visit=7, detector="ccd1", filter="r")


def test_all_that_a_run_needs_is_fetched_and_fits_the_call_of_run(reference: FolderRepository) -> None:
    task = task_of(doDefect=False)
    given = raw()
    inputs = task.readIsrData(reference, given)
    assert inputs.bias.image[0, 0] == 5
    assert inputs.flat.image[0, 0] == 2
    assert inputs.defects is None
    assert given.pixels.is_raw
    product = task.run(given, **{k: v for k, v in inputs.getDict().items() if v is not None}).exposure
    # (1000 - 200 - 5 - 3·31/31) / 2
    np.testing.assert_allclose(product.image, 396)


def test_what_is_switched_off_is_not_fetched(reference: FolderRepository) -> None:
    inputs = task_of(doDefect=False, doBias=False, doDark=False, doFlat=False).readIsrData(reference, raw())
    assert (inputs.bias, inputs.dark, inputs.flat) == (None, None, None)


def test_everything_that_is_missing_is_told_together(tmp_path: Any) -> None:
    reference = FolderRepository(tmp_path).at(visit=7, detector="ccd1")
    with pytest.raises(RuntimeError) as caught:
        task_of().readIsrData(reference, raw())
    told = str(caught.value)
    for kind in ("bias", "dark", "flat", "defects"):
        assert f"  - {kind}: dataset '{kind}' for {{'visit': 7, 'detector': 'ccd1'}} cannot be had" in told


def test_a_dataset_has_the_name_that_the_config_gives_it(repository: FolderRepository) -> None:
    repository.put(frame(50.0), "superbias", detector="ccd1")
    task = task_of(doDefect=False, bias__dataProductName="superbias")
    reference = repository.at(visit=7, detector="ccd1", filter="r")
    assert task.readIsrData(reference, raw()).bias.image[0, 0] == 50


def test_the_fallback_filter_is_taken_with_a_warning(repository: FolderRepository, caplog: Any) -> None:
    reference = repository.at(visit=7, detector="ccd1", filter="z")
    with pytest.raises(RuntimeError, match=r"dataset 'flat' for .*'filter': 'z'.* cannot be had"):
        task_of().getIsrExposure(reference, "flat")
    found = task_of(fallbackFilterName="r").getIsrExposure(reference, "flat")
    assert found.image[0, 0] == 2
    assert "taking that of {'filter': 'r'}" in caplog.text
    with pytest.raises(RuntimeError, match=r"(?s)cannot be had: .*nor with \{'filter': 'u'\}"):
        task_of(fallbackFilterName="u").getIsrExposure(reference, "flat")


class Asked:
    """A repository that tells what it was asked for and has nothing but what the fallback asks for."""

    dataId = {"filter": "z"}  # noqa: RUF012

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def get(self, datasetType: str, immediate: bool = True, **dataId: Any) -> Any:
        self.calls.append((datasetType, immediate, dataId))
        if not dataId:
            raise KeyError(datasetType)
        return "found"


def test_the_date_goes_with_the_fallback_filter_if_wanted() -> None:
    for is_dated in (True, False):
        asked, task = Asked(), task_of(fallbackFilterName="r", useFallbackDate=is_dated)
        assert task.getIsrExposure(asked, "flat", dateObs="2020-02-03", immediate=False) == "found"
        dated = {"dateObs": "2020-02-03"} if is_dated else {}
        assert asked.calls == [("flat", False, {}), ("flat", False, {"filter": "r", **dated})]


def test_a_data_reference_is_run_and_its_products_are_stored(reference: FolderRepository) -> None:
    task = task_of(doDefect=False, doSaveInterpPixels=True, qa__doThumbnailOss=True)
    result = task.runDataRef(reference)
    np.testing.assert_array_equal(reference.get("postISRCCD").image, result.exposure.image)
    assert reference.datasetExists("postISRCCD_uninterpolated")
    np.testing.assert_array_equal(reference.get("ossThumb"), result.ossThumb)
    assert not reference.datasetExists("flattenedThumb")
    assert {"runDataRefStartUtc", "runDataRefEndUtc"} <= set(task.metadata)


def test_without_doWrite_only_thumbnails_are_stored(reference: FolderRepository) -> None:
    task = task_of(doDefect=False, doWrite=False, qa__doThumbnailFlattened=True)
    task.runDataRef(reference)
    assert not reference.datasetExists("postISRCCD")
    assert reference.datasetExists("flattenedThumb")


def test_run_takes_a_data_reference_too(reference: FolderRepository) -> None:
    task_of(doDefect=False).run(reference)
    assert reference.datasetExists("postISRCCD")


@pytest.mark.parametrize("kind", ["integers", "floats", "masked image"])
def test_exposures_are_made_of_whatever_was_stored(kind: str) -> None:
    pixels = {
        "integers": np.ones((4, 8), np.uint16),
        "floats": np.ones((4, 6), np.float32),
        "masked image": MaskedImage.from_image(np.ones((4, 6), np.float32)),
    }[kind]
    made = task_of().ensureExposure(pixels, CAMERA, 1)
    assert made is not None
    assert made.detector is CCD
    assert made.camera == "mycam"
    assert made.pixels.is_raw == (kind == "integers")
    assert made.is_assembled == (kind != "integers")
    assert not made.mask.any()


def test_an_exposure_stays_itself_and_gets_a_detector_if_it_has_none() -> None:
    task, known = task_of(), raw()
    assert task.ensureExposure(known, CAMERA, 1) is known
    bare = Exposure(MaskedImage.from_raw(np.ones((4, 8), np.uint16)), Detector.of_shape((4, 8)))
    assert task.ensureExposure(bare, CAMERA, 1) is bare
    assert bare.detector is CCD
    assert task.ensureExposure(None, CAMERA, 1) is None
    for wrong in ("pixels", np.ones((2, 2, 2), np.float32), np.ones((2, 2), np.float64)):
        with pytest.raises(TypeError, match="cannot make an exposure of a"):
            task.ensureExposure(wrong, CAMERA, 1)


class Quantum:
    """A context that hands out inputs and keeps outputs."""

    def __init__(self, **inputs: Any) -> None:
        self.inputs, self.outputs = inputs, None

    def get(self, refs: Any) -> dict[str, Any]:
        assert refs.ccdExposure
        return self.inputs

    def put(self, outputs: Any, refs: Any) -> None:
        self.outputs = {name: getattr(outputs, name) for name in refs}


def refs_of(detector: Any) -> SimpleNamespace:
    return SimpleNamespace(ccdExposure=SimpleNamespace(dataId={"detector": detector}))


def test_a_quantum_gets_its_inputs_and_puts_its_outputs() -> None:
    context = Quantum(
        ccdExposure=raw().image,
        camera=CAMERA,
        bias=frame(5.0).image,
        flat=frame(2.0, ""),
        defects=Defects([Box(0, 1, 0, 1)]),
    )
    task = task_of(doDark=False)
    task.runQuantum(context, refs_of(1), ["outputExposure", "outputOssThumbnail", "preInterpolatedExposure"])
    assert context.outputs is not None
    np.testing.assert_allclose(context.outputs["outputExposure"].image, 397.5)
    assert context.outputs["outputExposure"].pixels.flagged("BAD").sum() == 1
    assert context.outputs["outputOssThumbnail"] is None


@pytest.mark.parametrize("refs", [SimpleNamespace(), refs_of("north"), refs_of(None)])
def test_a_quantum_without_a_detector_is_refused(refs: Any) -> None:
    refs.ccdExposure = getattr(refs, "ccdExposure", SimpleNamespace())
    with pytest.raises(ValueError, match="the reference of ccdExposure says no detector"):
        task_of().runQuantum(Quantum(ccdExposure=raw(), camera=CAMERA), refs, [])
