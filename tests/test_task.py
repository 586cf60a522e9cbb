"""Tasks by example: names, trees, metadata, timing, pickling, structs."""

from __future__ import annotations

import datetime
import logging
import pickle
from typing import Any

import numpy as np
import pytest

from isrcore.config import Config, ConfigError, ConfigSection, field, section, subconfig, target_name
from isrcore.task import Metadata, ResourceConfig, Struct, Task, TaskError, timeMethod

ITEMS = [
    "Utc",
    "CpuTime",
    "UserTime",
    "SystemTime",
    "MaxResidentSetSize",
    "MinorPageFaults",
    "MajorPageFaults",
    "BlockInputs",
    "BlockOutputs",
    "VoluntaryContextSwitches",
    "InvoluntaryContextSwitches",
]


class FringeConfig(Config):
    clip: float = field(3.0, "Rejection threshold, in sigma.")


class Fringe(Task):
    ConfigClass = FringeConfig

    def __init__(self, scale: float = 1.0, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.scale = scale

    @timeMethod
    def run(self, value: float, *, fail: bool = False) -> float:
        """Scale a value."""
        if fail:
            raise TaskError("no fringes")
        return value * self.scale

    def getSchemaCatalogs(self) -> dict[str, Any]:
        return {"fringes": [self.getFullName()]}


class Wavelet(Fringe):
    pass


class TopConfig(Config):
    fringe: ConfigSection = section(Fringe, "Fringes.", (Wavelet,))
    second: ConfigSection = Fringe.makeField("More fringes.")
    qa: FringeConfig = subconfig(FringeConfig, "No task.")


class Top(Task):
    ConfigClass = TopConfig
    _DefaultName = "isr"

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.makeSubtask("fringe")


def test_a_top_task_has_its_default_name_and_config() -> None:
    task = Top()
    assert (task.getName(), task.getFullName(), task.log.name) == ("isr", "isr", "isrcore.isr")
    assert task.config == TopConfig()
    assert Task.canMultiprocess


def test_name_config_and_log_can_be_given() -> None:
    config = TopConfig()
    config.fringe.clip = 5.0
    log = logging.getLogger("observatory")
    task = Top(config=config, name="night", log=log)
    assert task.getFullName() == "night"
    assert task.config is config
    assert task.log is log
    assert task.fringe.log.name == "observatory.fringe"


def test_a_task_without_a_name_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"Fringe.*_DefaultName"):
        Fringe()
    with pytest.raises(RuntimeError, match="subtask of 'isr' needs a name"):
        Top(parentTask=Top())


def test_an_unknown_keyword_is_an_error() -> None:
    with pytest.raises(TypeError):
        Task(name="isr", colour="red")


def test_a_subtask_is_named_and_configured_by_its_place() -> None:
    config = TopConfig()
    config.fringe.clip = 5.0
    task = Top(config=config)
    fringe = task.fringe
    assert (fringe.getName(), fringe.getFullName()) == ("fringe", "isr.fringe")
    assert fringe.log.name == "isrcore.isr.fringe"
    assert fringe.config is config.fringe.value
    assert Fringe(name="fringe", parentTask=task).config is config.fringe.value
    assert Fringe(config=config.second, name="own", parentTask=task).config is config.second.value


def test_a_subtask_is_made_from_the_target_with_its_keywords() -> None:
    config = TopConfig()
    config.second.retarget(Wavelet)
    task = Top(config=config)
    task.makeSubtask("second", scale=2.0)
    assert type(task.second) is Wavelet
    assert task.second.run(3.0) == 6.0


@pytest.mark.parametrize("name", ["frnge", "qa"])
def test_a_subtask_without_a_section_is_an_error_naming_task_and_sections(name: str) -> None:
    with pytest.raises(KeyError, match=f"(?=.*isr)(?=.*'{name}')"):
        Top().makeSubtask(name)
    with pytest.raises(KeyError, match=r"(?=.*'isr')(?=.*'fringe')(?=.*'second')"):
        Fringe(name="frnge", parentTask=Top())


@pytest.mark.parametrize("keyword", ["config", "name", "parentTask"])
def test_what_the_parent_decides_cannot_be_given(keyword: str) -> None:
    with pytest.raises(TypeError):
        Top().makeSubtask("second", **{keyword: None})


def test_a_field_made_by_a_task_is_a_section_for_it() -> None:
    config = TopConfig()
    assert config.second.target is Fringe
    assert config.describe("second").doc == "More fringes."
    with pytest.raises(ConfigError):
        config.set("second.implementation", "isrcore_unknown:Fringe")
    config.set("fringe.implementation", target_name(Wavelet))
    assert type(Top(config=config).fringe) is Wavelet


def test_the_task_dictionary_is_the_same_from_any_task_and_a_copy() -> None:
    task = Top()
    assert list(task.getTaskDict()) == ["isr", "isr.fringe"]
    assert task.fringe.getTaskDict() == task.getTaskDict()
    task.getTaskDict().clear()
    assert task.getTaskDict()["isr.fringe"] is task.fringe
    newer = Fringe(name="fringe", parentTask=task)
    assert task.getTaskDict()["isr.fringe"] is newer


def test_full_metadata_is_found_by_the_full_name() -> None:
    task = Top()
    task.fringe.run(1.0)
    full = task.fringe.getFullMetadata()
    assert list(full) == ["isr", "isr:fringe"]
    assert full["isr:fringe"]["runStartCpuTime"] >= 0.0


def test_emptying_metadata_reaches_the_whole_tree_from_any_task() -> None:
    task = Top()
    task.metadata.set("a", 1)
    task.fringe.run(1.0)
    kept = task.fringe.metadata
    task.fringe.emptyMetadata()
    assert [len(one) for one in task.getFullMetadata().values()] == [0, 0]
    assert len(kept) > 0


def test_set_replaces_and_add_appends() -> None:
    metadata = Metadata()
    metadata.add("b", 1)
    metadata.add("a", 1)
    metadata.add("b", 2)
    assert (metadata.values("b"), metadata.scalar("b"), metadata["a"]) == ([1, 2], 2, 1)
    metadata.set("b", 3)
    assert metadata.values("b") == [3]
    assert (list(metadata), metadata.keys(), len(metadata), "b" in metadata) == (
        ["b", "a"],
        ["b", "a"],
        2,
        True,
    )
    assert dict(metadata) == {"b": 3, "a": 1}
    with pytest.raises(KeyError, match="'c'"):
        metadata["c"]


def test_metadata_are_equal_when_keys_order_and_values_are() -> None:
    one, other = Metadata(), Metadata()
    for metadata, keys in ((one, "ab"), (other, "ba")):
        for key in keys:
            metadata.set(key, 1)
    assert one != other
    other.set("a", 1)
    assert pickle.loads(pickle.dumps(one)) == one
    assert repr(one) == "Metadata({'a': [1], 'b': [1]})"
    one.values("a").append(2)
    assert one.values("a") == [1]


def test_the_timer_records_and_logs_start_and_end(caplog: pytest.LogCaptureFixture) -> None:
    task = Top()
    with caplog.at_level(logging.INFO, logger="isrcore.isr"), task.timer("read", logLevel=logging.INFO):
        assert task.metadata.keys() == [f"readStart{item}" for item in ITEMS]
    assert task.metadata.keys() == [f"read{end}{item}" for end in ("Start", "End") for item in ITEMS]
    start, end = (record.getMessage() for record in caplog.records)
    assert [pair.partition("=")[0] for pair in start.split("; ")] == [
        f"readStart{item}" for item in ITEMS[1:]
    ]
    assert end.startswith("readEndCpuTime=")
    moment = datetime.datetime.fromisoformat(task.metadata["readStartUtc"])
    assert moment.utcoffset() == datetime.timedelta(0)
    assert task.metadata["readEndCpuTime"] >= task.metadata["readStartCpuTime"]


def test_the_timer_logs_at_debug_unless_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="isrcore.isr"), Top().timer("read"):
        pass
    assert [record.levelno for record in caplog.records] == [logging.DEBUG] * 2


def test_timed_methods_append_on_every_call_and_after_errors() -> None:
    fringe = Top().fringe
    assert fringe.run(2.0) == 2.0
    with pytest.raises(TaskError, match="no fringes"):
        fringe.run(2.0, fail=True)
    assert len(fringe.metadata.values("runStartCpuTime")) == 2
    assert len(fringe.metadata.values("runEndCpuTime")) == 2
    assert Fringe.run.__name__ == "run"
    assert Fringe.run.__doc__ == "Scale a value."


def test_schema_catalogs_are_gathered_and_the_later_wins() -> None:
    task = Top()
    task.makeSubtask("second")
    assert task.getSchemaCatalogs() == {}
    assert task.fringe.getAllSchemaCatalogs() == {"fringes": ["isr.second"]}


def test_the_resource_config_is_that_of_the_config_or_none() -> None:
    class HeavyConfig(Config):
        resources: ResourceConfig = subconfig(ResourceConfig, "What it needs.")

    assert Top().getResourceConfig() is None
    resources = Task(config=HeavyConfig(), name="heavy").getResourceConfig()
    assert (resources.minMemoryMB, resources.minNumCores) == (None, 1)


def test_overrides_change_nothing_by_default() -> None:
    config = TopConfig()
    Top.applyOverrides(config)
    assert config == TopConfig()


def test_pickling_rebuilds_from_config_name_and_parent() -> None:
    config = TopConfig()
    config.fringe.clip = 5.0
    task = Top(config=config, name="night")
    task.fringe.run(1.0)
    twin = pickle.loads(pickle.dumps(task))
    assert (twin.getFullName(), twin.config) == ("night", config)
    assert len(twin.fringe.metadata) == 0
    part = pickle.loads(pickle.dumps(task.fringe))
    assert (part.getFullName(), part.config.clip) == ("night.fringe", 5.0)
    assert part.getTaskDict()["night"].config.fringe.value is part.config


def test_a_struct_gives_its_fields_once() -> None:
    struct = Struct(exposure=1, flat=None)
    assert (struct.exposure, struct.flat, struct.getDict()) == (1, None, {"exposure": 1, "flat": None})
    struct.getDict()["exposure"] = 2
    assert struct.exposure == 1
    with pytest.raises(AttributeError, match=r"'dark'.*'exposure'"):
        struct.dark  # noqa: B018
    for change in (lambda: setattr(struct, "flat", 1), lambda: delattr(struct, "flat")):
        with pytest.raises(RuntimeError, match="flat"):
            change()
    with pytest.raises(RuntimeError, match="__len__"):
        Struct(__len__=3)


def test_merging_adds_named_fields_all_or_none() -> None:
    struct, other = Struct(a=1), Struct(b=2, c=3, a=4)
    struct.mergeItems(other, "b", "c")
    assert struct == Struct(a=1, b=2, c=3)
    fresh = Struct(a=1)
    for names, error in ((("b", "a"), RuntimeError), (("b", "d"), AttributeError)):
        with pytest.raises(error):
            fresh.mergeItems(other, *names)
    assert fresh == Struct(a=1)


def test_structs_are_compared_by_all_fields_arrays_included() -> None:
    pixels = np.array([1.0, np.nan], dtype=np.float32)
    struct = Struct(pixels=pixels, parts=[pixels, {"a": pixels}])
    twin = Struct(pixels=pixels.copy(), parts=[pixels.copy(), {"a": pixels.copy()}])
    assert struct == twin
    assert struct == pickle.loads(pickle.dumps(struct))
    assert Struct(pixels=pixels) != Struct(pixels=pixels.astype(np.float64))
    assert Struct(pixels=pixels) != Struct(pixels=pixels[:1])
    assert Struct(pixels=pixels) != Struct(pixels=1.0)
    assert Struct(parts=[pixels]) != Struct(parts=[pixels, pixels])
    assert Struct(a=1) != Struct(a=1, b=2)
    assert Struct(a=1) != {"a": 1}


def test_a_copied_struct_shares_values_but_not_fields() -> None:
    values = [1]
    struct = Struct(values=values)
    twin = struct.copy()
    twin.mergeItems(Struct(b=1), "b")
    assert twin.values is values
    assert struct == Struct(values=[1])
    assert repr(twin) == "Struct(values=[1], b=1)"
