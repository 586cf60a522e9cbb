"""What every documented method about repositories and the command line does, by its name."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from isrcore import FolderRepository, IsrTask, Registry, Struct, default_config, read_exposure
from isrcore.task import TaskError
from isrcore.versions import package_versions
from isrcore_cfht import CfhtIsrTask
from isrcore_simulated import CAMERA as SIMULATED
from isrcore_simulated.night import write_night
from tests.small_megacam import CAMERA, frame, raw, task_of


@pytest.fixture
def reference(tmp_path: Path) -> FolderRepository:
    """A data reference: one raw frame, and the masters for it; the flat is of filter r."""
    repository = FolderRepository(tmp_path)
    repository.put(raw(), "raw", visit=7, detector="small")
    repository.put(frame(8), "bias", detector="small")
    repository.put(frame(2, unit=""), "flat", detector="small", filter="r")
    return repository.at(visit=7, detector="small", filter="r")


class Asked:
    """A repository that keeps what it was asked for, and has something only with a filter of its own."""

    dataId = {"filter": "z"}  # noqa: RUF012

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def get(self, datasetType: str, immediate: bool = True, **dataId: Any) -> Any:
        self.calls.append((datasetType, immediate, dataId))
        if not dataId:
            raise LookupError(f"no {datasetType}")
        return "found"


def test_getIsrExposure(reference: FolderRepository, caplog: pytest.LogCaptureFixture) -> None:
    assert task_of().getIsrExposure(reference, "bias").image[0, 0] == 8
    with pytest.raises(RuntimeError, match=r"dataset 'dark' for \{'visit': 7.*cannot be had"):
        task_of().getIsrExposure(reference, "dark")
    z = reference.at(filter="z")
    assert task_of(fallbackFilterName="r").getIsrExposure(z, "flat").image[0, 0] == 2
    assert "taking that of {'filter': 'r'}" in caplog.text
    with pytest.raises(RuntimeError, match=r"(?s)'flat' .*nor with \{'filter': 'u'\}"):
        task_of(fallbackFilterName="u").getIsrExposure(z, "flat")
    asked: Any = Asked()
    dated = task_of(fallbackFilterName="r", useFallbackDate=True)
    assert dated.getIsrExposure(asked, "flat", dateObs="2010-01-02", immediate=False) == "found"
    assert asked.calls == [("flat", False, {}), ("flat", False, {"filter": "r", "dateObs": "2010-01-02"})]


def test_readIsrData(reference: FolderRepository) -> None:
    task, given = task_of(doDefect=False), raw()
    found = task.readIsrData(reference, given)
    assert isinstance(found, Struct)
    assert (found.bias.image[0, 0], found.flat.image[0, 0]) == (8, 2)
    kinds = {"dark", "defects", "linearizer", "crosstalkSources", "bfKernel", "fringes"}
    assert kinds <= set(found.getDict())
    assert found.dark is None
    assert given.pixels.is_raw
    assert task.run(given, **{k: v for k, v in found.getDict().items() if v is not None}).exposure
    assert task_of(doDefect=False, doBias=False).readIsrData(reference, given).bias is None
    missing = reference.at(filter="z")
    with pytest.raises(RuntimeError) as caught:
        task_of(doDark=True).readIsrData(missing, given)
    assert all(f"  - {kind}: dataset '{kind}'" in str(caught.value) for kind in ("dark", "flat"))


def test_runDataRef(reference: FolderRepository) -> None:
    task = task_of(doDefect=False, doInterpolate=False, doSaveInterpPixels=True, qa__doThumbnailOss=True)
    result = task.runDataRef(reference)
    # (1200 - 1000 - 8)/2.
    np.testing.assert_array_equal(result.exposure.image, 96)
    np.testing.assert_array_equal(reference.get("postISRCCD").image, 96)
    assert reference.datasetExists("ossThumb")
    assert not reference.datasetExists("flattenedThumb")
    assert {"runDataRefStartUtc", "runDataRefEndUtc", "runEndUtc"} <= set(task.metadata)
    elsewhere = reference.at(visit=8)
    elsewhere.put(raw(), "raw")
    dry = {"doDefect": False, "doWrite": False, "qa__doThumbnailOss": True}
    assert task_of(**dry).runDataRef(elsewhere).exposure
    assert not elsewhere.datasetExists("postISRCCD")
    assert elsewhere.datasetExists("ossThumb")
    with pytest.raises(RuntimeError, match="calibrations are missing"):
        task_of(doDark=True).runDataRef(reference)


class Quantum:
    """A context that hands out inputs and keeps outputs."""

    def __init__(self, **inputs: Any) -> None:
        self.inputs, self.outputs = inputs, dict[str, Any]()

    def get(self, refs: Any) -> dict[str, Any]:
        assert refs.ccdExposure
        return self.inputs

    def put(self, outputs: Any, refs: Any) -> None:
        self.outputs = {name: getattr(outputs, name) for name in refs}


def refs_of(detector: Any) -> SimpleNamespace:
    return SimpleNamespace(ccdExposure=SimpleNamespace(dataId={"detector": detector}))


def test_runQuantum() -> None:
    # The raw pixels come bare: detector 3 is what the reference says; dark is not there.
    given = raw()
    given.detector = type(given.detector).of_shape(given.shape)
    inputs = {"bias": frame(8).image, "flat": frame(2, unit=""), "dark": None}
    context = Quantum(ccdExposure=given, camera=CAMERA, **inputs)
    task = task_of(doDefect=False, doInterpolate=False)
    task.runQuantum(context, refs_of(3), ["outputExposure", "outputOssThumbnail"])
    product = context.outputs["outputExposure"]
    assert product.detector.name == "small"
    np.testing.assert_array_equal(product.image, 96)
    assert context.outputs["outputOssThumbnail"] is None
    with pytest.raises(ValueError, match="says no detector"):
        task.runQuantum(context, refs_of(None), [])


def test_writeConfig(tmp_path: Path) -> None:
    repository, stored = FolderRepository(tmp_path), tmp_path / "isr_config.toml"
    task_of().writeConfig(repository)
    first = stored.read_text()
    task_of().writeConfig(repository)
    changed = task_of(doBias=False, flat__userScale=2.0)
    with pytest.raises(TaskError) as caught:
        changed.writeConfig(repository)
    for line in ("doBias: False here, True there", "flat.userScale: 2.0 here, 1.0 there", "--clobber-config"):
        assert line in str(caught.value)
    assert stored.read_text() == first
    changed.writeConfig(repository, clobber=True)
    assert (tmp_path / "isr_config.toml~1").read_text() == first
    assert stored.read_text() != first
    task_of().writeConfig(repository, clobber=True, doBackup=False)
    assert stored.read_text() == first
    assert not (tmp_path / "isr_config.toml~2").exists()


def test_writeMetadata(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = task_of()
    task.metadata.add("item", 1.5)
    task.flat.metadata.add("level", math.inf)
    here = FolderRepository(tmp_path).at(visit=7, detector="small")
    task.writeMetadata(here)
    stored = here.get("isr_metadata")
    assert (stored["isr"]["item"], stored["isr:flat"]["level"]) == ([1.5], [math.inf])
    # A repository that cannot is a warning, as the work is done.
    file = tmp_path / "file"
    file.touch()
    with caplog.at_level(logging.WARNING, "isrcore"):
        task.writeMetadata(FolderRepository(file).at(visit=7))
    assert "metadata of {'visit': 7} cannot be stored" in caplog.text


def test_writePackageVersions(tmp_path: Path) -> None:
    repository, task, present = FolderRepository(tmp_path), task_of(), package_versions()
    task.writePackageVersions(repository)
    assert repository.get("packages") == present
    repository.put({"numpy": present["numpy"], "gone": "9"}, "packages")
    task.writePackageVersions(repository)
    assert repository.get("packages") == {**present, "gone": "9"}
    repository.put({"numpy": "0.9"}, "packages")
    with pytest.raises(TaskError, match=r"numpy: 0\.9 stored"):
        task.writePackageVersions(repository)
    assert repository.get("packages") == {"numpy": "0.9"}
    task.writePackageVersions(repository, clobber=True)
    assert repository.get("packages") == present
    assert (tmp_path / "packages.toml~1").exists()
    task.writePackageVersions(repository, dataset="others")
    assert repository.get("others") == present


def test_writeSchemas(tmp_path: Path) -> None:
    repository, task = FolderRepository(tmp_path), task_of()
    task.writeSchemas(repository)
    names = {f"{name}_schema" for name in task.getAllSchemaCatalogs()}
    assert all(repository.datasetExists(name) for name in names)
    table = repository.get("isr_overscan_schema")
    task.writeSchemas(repository)
    table.remove_column("level")
    repository.put(table, "isr_overscan_schema")
    with pytest.raises(TaskError, match="column 'level': only here"):
        task.writeSchemas(repository)
    task.writeSchemas(repository, clobber=True)
    assert "level" in repository.get("isr_overscan_schema").colnames
    assert (tmp_path / "isr_overscan_schema.ecsv~1").exists()
    task.writeSchemas(repository, clobber=True, doBackup=False)
    assert not (tmp_path / "isr_overscan_schema.ecsv~2").exists()


class Softer(IsrTask):
    """The general task with overrides between those of the camera and those of the user."""

    @classmethod
    def applyOverrides(cls, config: Any) -> None:
        config.overscan.fitType, config.overscan.numSigmaClip = "MEANCLIP", 2.0


def test_parseAndRun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_night(SIMULATED, tmp_path / "night")
    file, out = tmp_path / "night" / "science1.fits", tmp_path / "out"
    settings = ["-c", "doBias=false", "doDark=false", "doFlat=false", "overscan.numSigmaClip=5"]
    log = logging.getLogger("isrcore.parseAndRun")
    config = default_config(Registry.discover(), "simulated")
    config.doVariance = False
    words = [str(file), "--output", str(out), *settings, "-L", "error"]
    done = Softer.parseAndRun(words, config=config, log=log, doReturnResults=True)
    assert list(done.getDict()) == ["argumentParser", "parsedCmd", "taskRunner", "resultList"]
    assert [result.exitStatus for result in done.resultList] == [0, 0]
    assert (done.parsedCmd.output, done.taskRunner.task_class) == (out, Softer)
    # The config that was given, then the task's overrides, then the user's settings.
    used = done.taskRunner.batch.tasks["simulated"].config
    assert (used.doVariance, used.overscan.fitType, used.overscan.numSigmaClip) == (False, "MEANCLIP", 5.0)
    assert log.level == logging.ERROR
    product = read_exposure(out / "science1_sim0.fits")
    np.testing.assert_array_equal(done.resultList[0].result.exposure.image, product.image)
    # Files of another camera: both units fail, and so many are the exit status.
    other = [str(file), "--output", str(tmp_path / "other")]
    with pytest.raises(SystemExit) as stop:
        CfhtIsrTask.parseAndRun(other)
    assert stop.value.code == 2
    assert "it is of camera 'simulated', which CfhtIsrTask is not for" in capsys.readouterr().err
    units = json.loads((tmp_path / "other" / "isr_report.json").read_text())["units"]
    assert [unit["status"] for unit in units] == ["failed"] * 2
    again = CfhtIsrTask.parseAndRun([*other, "--noExit"])
    assert [(result.exitStatus, result.result) for result in again.resultList] == [(1, None)] * 2
