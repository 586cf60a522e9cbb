"""Laws of configs: files give back what was written, history is what happened, frozen is frozen."""

from __future__ import annotations

import math
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isrcore.config import (
    Change,
    Config,
    ConfigError,
    ConfigSection,
    UnknownFieldError,
    field,
    section,
    subconfig,
)
from isrcore.config import target_name as written


class OneConfig(Config):
    rate: float = field(1.0, "Rate.")
    label: str | None = field(None, "Label.")


class TwoConfig(Config):
    planes: list[str] = field([], "Planes.")
    count: int = field(0, "Count.")


class One:
    ConfigClass = OneConfig


class Two:
    ConfigClass = TwoConfig


class GroupConfig(Config):
    seeing: float | None = field(math.nan, "Seeing.\nIn arcsec; a second line.")
    part: ConfigSection = section(Two, "Part.", (One,))


class LawConfig(Config):
    flag: bool = field(True, "Flag.")
    text: str = field("", "Text.")
    number: int = field(0, "Number.")
    level: float = field(math.nan, "Level.")
    sizes: list[float] = field([1.0], "Sizes.")
    pair: tuple[str, int] = field(("a", 1), "Pair.")
    zeros: dict[str, float] = field({}, "Zero points.")
    group: GroupConfig = subconfig(GroupConfig, "Group.")
    step: ConfigSection = section(One, "Step.", (Two,))


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LABELS = st.none() | TEXTS.filter(lambda text: text.lower() != "none")
PARTS = {
    One: {"rate": FLOATS, "label": LABELS},
    Two: {"planes": st.lists(TEXTS, max_size=4), "count": st.integers()},
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "flag": st.booleans(),
    "text": TEXTS,
    "number": st.integers(),
    "level": FLOATS,
    "sizes": st.lists(FLOATS, max_size=4),
    "pair": st.tuples(TEXTS, st.integers()),
    "zeros": st.dictionaries(TEXTS, FLOATS, max_size=4),
    "group.seeing": st.none() | FLOATS,
}
CHANGES = st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name]))


@st.composite
def configs(draw: st.DrawFn) -> LawConfig:
    """A config with some of its fields set and its sections pointing anywhere."""
    config = LawConfig()
    for name, value in draw(st.lists(CHANGES, max_size=8)):
        config.set(name, value)
    for place in ("step", "group.part"):
        target = draw(st.sampled_from([One, Two]))
        config.set(f"{place}.implementation", target)
        for name, values in PARTS[target].items():
            config.set(f"{place}.{name}", draw(values))
    return config


def read_back(config: Config) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(config.to_toml(), encoding="utf-8")
        fresh = type(config)()
        fresh.load(path)
    return fresh


@settings(deadline=None, max_examples=120)
@given(configs())
def test_a_written_config_is_read_back_the_same(config: LawConfig) -> None:
    fresh = read_back(config)
    assert fresh == config
    assert fresh.compare(config) == []
    assert fresh.to_toml() == config.to_toml()


@given(config=configs())
def test_a_saved_config_is_loaded_the_same(config: LawConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        config.save(path)
        loaded = LawConfig()
        loaded.load(path)
    assert loaded == config
    assert config.compare(loaded) == []


def test_none_nan_and_odd_text_are_read_back() -> None:
    config = LawConfig(level=math.nan, text='"\x7f\x00\r\n\u2028 é ☉', zeros={"a b": -0.0, "é": math.inf})
    config.group.seeing = None
    fresh = read_back(config)
    assert (fresh.text, fresh.zeros, fresh.group.seeing) == (config.text, config.zeros, None)
    assert math.isnan(fresh.level)
    assert read_back(LawConfig(text="none")).text == "none"


@settings(deadline=None, max_examples=80)
@given(configs())
def test_copies_and_pickles_equal_the_original(config: LawConfig) -> None:
    for twin in (config.copy(), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert [len(twin.history(name)) for name in twin.names()] == [
            len(config.history(name)) for name in config.names()
        ]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(CHANGES, st.sampled_from(["camera", "task", "file"])), max_size=8))
def test_the_history_is_the_order_of_the_changes_and_the_last_wins(
    changes: list[tuple[tuple[str, Any], str]],
) -> None:
    config = LawConfig()
    for (name, value), layer in changes:
        with config.layer(layer, f"{layer} plugin"):
            config.set(name, value)
    for name in VALUES:
        mine = [(value, layer) for (changed, value), layer in changes if changed == name]
        default, *later = config.history(name)
        assert default.layer == "default"
        assert [(repr(change.value), change.layer, change.who) for change in later] == [
            (repr(value), layer, f"{layer} plugin") for value, layer in mine
        ]
        assert repr(config.get(name)) == repr(config.origin(name).value)


def test_a_later_layer_wins() -> None:
    config = LawConfig()
    config.set("number", 1, layer="camera", who="isrcore_cfht")
    config.set("number", 2, layer="command line", who="-c number=2")
    assert config.number == 2
    assert config.origin("number") == Change(2, "command line", "-c number=2")


@settings(deadline=None, max_examples=80)
@given(configs(), CHANGES, st.sampled_from([One, Two]))
def test_frozen_means_every_change_is_refused(
    config: LawConfig, change: tuple[str, Any], target: type
) -> None:
    config.freeze()
    before = config.to_toml()
    for name, value in (change, ("step.implementation", target), ("group.part.implementation", target)):
        with pytest.raises(ConfigError, match="frozen"):
            config.set(name, value)
    assert config.to_toml() == before


@settings(deadline=None, max_examples=80)
@given(configs(), configs())
def test_equal_configs_have_no_differences_and_comparison_is_mutual(
    mine: LawConfig, theirs: LawConfig
) -> None:
    assert mine.compare(mine.copy()) == []
    assert bool(mine.compare(theirs)) == bool(theirs.compare(mine))
    if mine == theirs:
        assert mine.compare(theirs) == []


@settings(deadline=None, max_examples=80)
@given(configs(), st.data())
def test_a_misspelt_name_is_refused_with_the_name_that_was_meant(
    config: LawConfig, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([name for name in config.names() if len(name) > 4]))
    place = data.draw(st.integers(name.rfind(".") + 2, len(name) - 1))
    wrong = name[:place] + "_" + name[place:]
    with pytest.raises(UnknownFieldError) as caught:
        config.set(wrong, 1)
    assert repr(wrong) in str(caught.value)
    assert repr(name) in str(caught.value)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(sorted(VALUES)), st.one_of(st.binary(), st.complex_numbers(), st.builds(object)))
def test_a_wrong_type_is_refused_naming_the_field_and_leaves_the_config_alone(
    name: str, value: object
) -> None:
    config = LawConfig()
    with pytest.raises(ConfigError) as caught:
        config.set(name, value)
    assert repr(name) in str(caught.value)
    assert config == LawConfig()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["flag = 3", "text = 1", "nimber = 2", "level = true"]), unique=True, min_size=1)
)
def test_a_faulty_file_reports_every_fault_and_changes_nothing(lines: list[str]) -> None:
    config = LawConfig()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text("\n".join(["number = 5", *lines]), encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            config.load(path)
    for number, _ in enumerate(lines, start=2):
        assert f"{path}:{number}" in str(caught.value)
    assert config == LawConfig()


def test_files_write_implementations_by_plugin_and_class() -> None:
    assert written(One).endswith(":One")
    assert f'implementation = "{written(Two)}"' in LawConfig().to_toml()
