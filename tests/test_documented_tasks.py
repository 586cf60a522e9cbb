"""What every documented method of the tree of tasks does, by its name: ``test_getName`` is about getName."""

from __future__ import annotations

import datetime
import logging
import pickle
from typing import Any

import pytest

import isrcore_cfht
from isrcore import Config, ResourceConfig, Task, field, subconfig
from isrcore.config import ConfigSection
from isrcore_cfht import CfhtIsrTask
from tests.small_megacam import REGISTRY, config_of, raw, task_of
from tests.test_task import ITEMS


class Offset(Task):
    """A task of somebody's own."""

    class ConfigClass(Config):
        level: float = field(3.0, "Level.")

    def __init__(self, scale: float = 1.0, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.scale = scale

    def getSchemaCatalogs(self) -> dict[str, Any]:
        return {"offsets": self.getFullName(), "isr_levels": "replaced"}


def test_getName() -> None:
    task = CfhtIsrTask(config_of(), "night", registry=REGISTRY)
    assert (task_of().getName(), task.getName()) == ("isr", "night")
    assert task.getTaskDict()["night.bias"].getName() == "bias"


def test_getFullName() -> None:
    task = task_of()
    assert task.getFullName() == "isr"
    bias = task.getTaskDict()["isr.bias"]
    assert bias.getFullName() == "isr.bias"
    assert Offset(name="sub2", parentTask=bias, config=Offset.ConfigClass()).getFullName() == "isr.bias.sub2"
    # A task that was sent elsewhere keeps config, name and place in the tree.
    twin = pickle.loads(pickle.dumps(CfhtIsrTask(config_of(doBias=False), "night")))
    assert (twin.getFullName(), twin.config.doBias, twin.camera) == ("night", False, "MegaCam")


def test_getTaskDict() -> None:
    task = task_of()
    found = task.getTaskDict()
    assert found["isr"] is task
    assert found["isr.flat"] is task.flat
    assert {f"isr.{name}" for name in REGISTRY.specs} == found.keys() - {"isr"}
    assert task.flat.getTaskDict() == found
    found.clear()
    assert task.getTaskDict()["isr"] is task


def test_makeSubtask() -> None:
    task = task_of(flat__userScale=2.0)
    before = task.flat
    task.makeSubtask("flat")
    assert task.flat is not before
    assert (task.flat.getFullName(), task.flat.config.userScale) == ("isr.flat", 2.0)
    assert task.getTaskDict()["isr.flat"] is task.flat

    class OwnConfig(Config):
        offset: ConfigSection = Offset.makeField("An offset.")

    owner = Task(config=OwnConfig(), name="own")
    owner.makeSubtask("offset", scale=2.0)
    assert owner.offset.scale == 2.0  # type: ignore[attr-defined]
    with pytest.raises(KeyError, match="'isr' has no section 'flatt'"):
        task.makeSubtask("flatt")
    for name in ("config", "parentTask", "name"):
        with pytest.raises(TypeError):
            task.makeSubtask("flat", **{name: None})


def test_makeField() -> None:
    class NightConfig(Config):
        isr: ConfigSection = CfhtIsrTask.makeField("Corrections.")

    config = NightConfig()
    assert config.isr.target is CfhtIsrTask
    assert config.describe("isr").doc == "Corrections."
    assert type(config.isr.value) is CfhtIsrTask.ConfigClass
    # The section has all that the task's steps need, and a parent's section is what a subtask takes.
    config.isr.flat.userScale = 2.0
    night = Task(config=config, name="night")
    night.makeSubtask("isr")
    assert night.isr.getFullName() == "night.isr"  # type: ignore[attr-defined]
    assert night.isr.flat.getFullName() == "night.isr.flat"  # type: ignore[attr-defined]
    assert night.isr.config.flat.userScale == 2.0  # type: ignore[attr-defined]
    assert CfhtIsrTask(name="isr", parentTask=night).config is config.isr.value


def test_getFullMetadata() -> None:
    task = task_of()
    task.metadata.set("item", 1)
    task.flat.metadata.set("item", 2)
    full = task.flat.getFullMetadata()
    assert (full["isr"]["item"], full["isr:flat"]["item"]) == (1, 2)
    assert full.keys() == {name.replace(".", ":") for name in task.getTaskDict()}


def test_emptyMetadata() -> None:
    task = task_of()
    task.metadata.set("item", 1)
    task.flat.metadata.set("item", 2)
    kept = task.metadata
    task.flat.emptyMetadata()
    assert [len(items) for items in task.getFullMetadata().values()] == [0] * len(task.getTaskDict())
    assert kept["item"] == 1


def test_getSchemaCatalogs() -> None:
    task = task_of()
    # The task itself writes no catalog, its steps do.
    assert task.getSchemaCatalogs() == {}
    (table,) = task.overscan.getSchemaCatalogs().values()
    assert len(table) == 0
    assert "level" in table.colnames


def test_getAllSchemaCatalogs() -> None:
    task = task_of()
    found = task.getAllSchemaCatalogs()
    parts = [part.getSchemaCatalogs() for part in task.getTaskDict().values()]
    assert found.keys() == set().union(*parts)
    assert {"isr_overscan", "isr_levels"} <= found.keys()
    Offset(name="offset", parentTask=task, config=Offset.ConfigClass())
    # From any task of the tree the same; a later one wins.
    again = task.flat.getAllSchemaCatalogs()
    assert again.keys() == found.keys() | {"offsets"}
    assert (again["offsets"], again["isr_levels"]) == ("isr.offset", "replaced")


def test_getResourceConfig() -> None:
    assert task_of().getResourceConfig() is None

    class HeavyConfig(Config):
        resources: ResourceConfig = subconfig(ResourceConfig, "What it needs.")

    config = HeavyConfig()
    config.resources.minMemoryMB = 900
    found = Task(config=config, name="heavy").getResourceConfig()
    assert (found.minMemoryMB, found.minNumCores) == (900, 1)


def test_applyOverrides() -> None:
    config = config_of()
    assert CfhtIsrTask.applyOverrides(config) is None  # type: ignore[func-returns-value]
    assert config.compare(config_of()) == []
    # What MegaCam changes is told by its plugin, before this hook and for every task.
    assert not config.doDark
    assert "cfht" in config.origin("doDark").who
    assert isrcore_cfht.applyOverrides


def test_timer(caplog: pytest.LogCaptureFixture) -> None:
    task = task_of()

    def look_and_fail() -> None:
        with task.timer("block"):
            assert task.metadata.keys() == [f"blockStart{item}" for item in ITEMS]
            raise ZeroDivisionError

    with caplog.at_level(logging.DEBUG, "isrcore"), pytest.raises(ZeroDivisionError):
        look_and_fail()
    assert task.metadata.keys() == [f"block{end}{item}" for end in ("Start", "End") for item in ITEMS]
    assert task.metadata["blockEndCpuTime"] >= task.metadata["blockStartCpuTime"]
    assert datetime.datetime.fromisoformat(task.metadata["blockStartUtc"]).tzinfo is datetime.UTC
    levels = [record.levelno for record in caplog.records if record.getMessage().startswith("block")]
    assert levels == [logging.DEBUG] * 2
    # The documented system's level 30000 is a warning; values of a second time are added.
    with task.timer("block", logLevel=30000):
        pass
    assert caplog.records[-1].levelno == logging.WARNING
    assert len(task.metadata.values("blockStartUtc")) == 2
    # Runs are timed.
    runs = task_of(doDefect=False, doBias=False, doFlat=False)
    runs.run(raw())
    assert {"runStartUtc", "runEndUtc"} <= set(runs.metadata)
