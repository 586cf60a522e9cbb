"""What a task stores of its runs: config, schemas, metadata, versions; and folders that keep it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from astropy.table import Column, Table

from isrcore import (
    CmdLineTask,
    Config,
    DatasetError,
    DatasetExistsError,
    Detector,
    Exposure,
    FolderRepository,
    MaskedImage,
    Metadata,
    Repository,
    TaskError,
    field,
    subconfig,
)
from isrcore.versions import package_versions


class Inner(Config):
    clip: float = field(3.0, "Sigma.")
    labels: list[str] = field(["a"], "Labels.")


class Outer(Config):
    doDark: bool = field(True, "Dark.")
    level: float = field(math.nan, "Level.")
    count: int | None = field(None, "Count.")
    inner: Inner = subconfig(Inner, "Inner.")


class Job(CmdLineTask):
    ConfigClass = Outer
    _DefaultName = "job"

    def getSchemaCatalogs(self) -> dict[str, Any]:
        level = Column(name="level", dtype=float, unit="adu", description="Overscan level.")
        return {"job_levels": Table([Column(name="amplifier", dtype=str), level])}


def job(**values: Any) -> Job:
    config = Outer()
    for name, value in values.items():
        config.set(name, value)
    return Job(config=config)


class InMemory:
    """The smallest repository, written from the protocol alone."""

    def __init__(self) -> None:
        self.dataId: Mapping[str, Any] = {}
        self.kept: dict[str, Any] = {}
        self.backups: list[Any] = []

    def get(self, datasetType: str, immediate: bool = True, **dataId: Any) -> Any:
        return self.kept[datasetType]

    def put(self, obj, datasetType, *, doBackup=False, mustBeNew=False, **dataId):
        if doBackup and datasetType in self.kept:
            self.backups.append(self.kept[datasetType])
        self.kept[datasetType] = obj

    def datasetExists(self, datasetType: str, **dataId: Any) -> bool:
        return datasetType in self.kept


@pytest.fixture(params=["folder", "memory"])
def repository(request: pytest.FixtureRequest, tmp_path: Any) -> Repository:
    found = FolderRepository(tmp_path / "out") if request.param == "folder" else InMemory()
    assert isinstance(found, Repository)
    return found


def test_a_config_is_stored_once_and_compared_ever_after(repository: Repository) -> None:
    job().writeConfig(repository)
    job().writeConfig(repository)
    with pytest.raises(TaskError) as caught:
        job(doDark=False, **{"inner.clip": 4.0, "inner.labels": ["b"]}).writeConfig(repository)
    assert str(caught.value).splitlines() == [
        "job_config: the config differs from what is stored",
        "  - doDark: False here, True there",
        "  - inner.clip: 4.0 here, 3.0 there",
        "  - inner.labels[0]: 'b' here, 'a' there",
        "  choose another output, or replace what is stored (clobber = True, --clobber-config)",
    ]
    job().writeConfig(repository)


def test_clobbering_replaces_the_config_and_keeps_the_one_before(tmp_path: Any) -> None:
    repository = FolderRepository(tmp_path)
    for clip in (1.0, 2.0, 3.0):
        job(**{"inner.clip": clip}).writeConfig(repository, clobber=True)
    job(**{"inner.clip": 4.0}).writeConfig(repository, clobber=True, doBackup=False)
    clips = [
        next(line for line in path.read_text().splitlines() if line.startswith("clip"))
        for path in (tmp_path / f"job_config.toml{number}" for number in ("", "~1", "~2"))
    ]
    assert clips == ["clip = 4.0", "clip = 1.0", "clip = 2.0"]
    assert not (tmp_path / "job_config.toml~3").exists()


def test_keys_that_only_one_side_has_are_differences(tmp_path: Any) -> None:
    (tmp_path / "job_config.toml").write_text('doDark = true\nlevel = nan\ncount = "none"\nold = 1\n')
    with pytest.raises(TaskError) as caught:
        job().writeConfig(FolderRepository(tmp_path))
    text = str(caught.value)
    assert "no field 'old'" in text
    assert "inner.clip: only here" in text
    assert "level" not in text


def test_a_stored_config_that_cannot_be_read_is_an_error_that_says_what_to_do(tmp_path: Any) -> None:
    (tmp_path / "job_config.toml").write_text("doDark = [")
    with pytest.raises(TaskError, match=r"(?s)stored config 'job_config' cannot be read.*--clobber-config"):
        job().writeConfig(FolderRepository(tmp_path))


def test_whoever_loses_the_race_to_store_the_first_config_compares() -> None:
    class Raced(InMemory):
        """Somebody stores another config right after we looked."""

        def put(self, obj, datasetType, *, doBackup=False, mustBeNew=False, **dataId):
            assert mustBeNew
            self.kept[datasetType] = job(doDark=False).config
            raise DatasetExistsError(datasetType)

    with pytest.raises(TaskError, match="doDark: True here, False there"):
        job().writeConfig(Raced())
    job(doDark=False).writeConfig(Raced())


def test_schemas_are_compared_column_by_column_before_any_is_written(tmp_path: Any) -> None:
    repository = FolderRepository(tmp_path)
    job().writeSchemas(repository)
    job().writeSchemas(repository)

    class Other(Job):
        def getSchemaCatalogs(self) -> dict[str, Any]:
            level = Column(name="level", dtype=np.int64, unit="electron", description="Overscan level.")
            return {
                "job_levels": Table([level, Column(name="sigma", dtype=float)]),
                "a_first": Table([Column(name="x", dtype=float)]),
            }

    with pytest.raises(TaskError) as caught:
        Other().writeSchemas(repository)
    assert str(caught.value).splitlines()[1:-1] == [
        "  - column 'level': dtype is int64 here, float64 there",
        "  - column 'level': unit is electron here, adu there",
        "  - column 'sigma': only here",
        "  - column 'amplifier': only there",
    ]
    assert not repository.datasetExists("a_first_schema")
    Other().writeSchemas(repository, clobber=True)
    assert repository.get("job_levels_schema").colnames == ["level", "sigma"]
    assert (tmp_path / "job_levels_schema.ecsv~1").exists()


def test_metadata_is_stored_by_task_and_a_failure_is_a_warning(tmp_path: Any, caplog: Any) -> None:
    task = job()
    task.metadata.add("seconds", 1.5)
    task.metadata.add("seconds", np.float32(0.25))
    task.metadata.set("ISR OSCAN A STDEV", math.inf)
    task.metadata.set("name", 'a "quoted" word')
    task.metadata.set("nothing", None)
    task.writeMetadata(FolderRepository(tmp_path).at(visit=7, detector="ccd 00"))
    stored = FolderRepository(tmp_path).get("job_metadata", visit=7, detector="ccd 00")
    assert (tmp_path / "job_metadata/7_ccd-00.toml").exists()
    assert stored == {
        "job": {
            "seconds": [1.5, 0.25],
            "ISR OSCAN A STDEV": [math.inf],
            "name": ['a "quoted" word'],
            "nothing": ["none"],
        }
    }

    class Full(InMemory):
        def put(self, *_, **__):
            raise OSError("no space left on device")

    with caplog.at_level(logging.WARNING, "isrcore"):
        task.writeMetadata(Full())
    assert "metadata of {} cannot be stored: no space left on device" in caplog.text


def test_versions_are_merged_and_a_change_is_refused(repository: Repository) -> None:
    present = package_versions()
    assert {"python", "numpy", "isrcore"} <= present.keys()
    repository.put({"numpy": present["numpy"], "otherpackage": "9"}, "packages")
    job().writePackageVersions(repository)
    assert repository.get("packages") == {**present, "otherpackage": "9"}
    repository.put({"numpy": "0.9", "python": "2.7", "astropy": present["astropy"]}, "packages")
    with pytest.raises(TaskError) as caught:
        job().writePackageVersions(repository)
    told = str(caught.value).splitlines()
    assert told[1:-1] == [
        f"  - numpy: 0.9 stored, {present['numpy']} now",
        f"  - python: 2.7 stored, {present['python']} now",
    ]
    job().writePackageVersions(repository, clobber=True)
    assert repository.get("packages") == present


def test_a_folder_gives_back_what_it_was_given(tmp_path: Any) -> None:
    repository = FolderRepository(tmp_path)
    pixels = MaskedImage.from_image(np.arange(6, dtype=np.float32).reshape(2, 3))
    exposure = Exposure(pixels, Detector.of_shape((2, 3)), facts=frozenset({"assembled"}))
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    unit = repository.at(visit=3)
    unit.put(exposure, "postISRCCD")
    unit.put(picture, "ossThumb")
    np.testing.assert_array_equal(unit.get("postISRCCD").image, exposure.image)
    np.testing.assert_array_equal(unit.get("ossThumb"), picture)
    assert not repository.datasetExists("postISRCCD")
    with pytest.raises(DatasetError, match="no dataset 'postISRCCD' for no data id in"):
        repository.get("postISRCCD")
    with pytest.raises(DatasetExistsError, match="dataset 'ossThumb' is there already"):
        unit.put(picture, "ossThumb", mustBeNew=True)
    with pytest.raises(TypeError, match="dataset 'number': a folder cannot keep a int"):
        unit.put(3, "number")
    assert (
        repository.path_of("isr_metadata", {"isr": Metadata()}, visit=3) == tmp_path / "isr_metadata/3.toml"
    )


def test_a_task_without_a_name_of_its_own_stores_nothing() -> None:
    class Nameless(CmdLineTask):
        pass

    repository = InMemory()
    task = Nameless(name="any")
    task.writeConfig(repository)
    task.writeMetadata(repository)
    assert repository.kept == {}
