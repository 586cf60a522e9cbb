"""Law: whatever happens, also in the middle of writing, the stored config is one that somebody stored."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from isrcore import CmdLineTask, Config, FolderRepository, TaskError, field


class JobConfig(Config):
    level: float = field(0.0, "Level.")
    word: str = field("", "Word.")
    values: list[int] = field([], "Values.")


class Job(CmdLineTask):
    ConfigClass = JobConfig
    _DefaultName = "job"


class Crash(BaseException):
    """The power went."""


@contextmanager
def crashing(step: int) -> Iterator[None]:
    """Let the ``step``-th call that changes a folder or forces it to disk end everything, before it works."""
    calls = itertools.count()
    patched = pytest.MonkeyPatch()

    def wrap(function: Any) -> Any:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if next(calls) == step:
                raise Crash
            return function(*arguments, **keywords)

        return call

    for name in ("fsync", "link", "replace"):
        patched.setattr(os, name, wrap(getattr(os, name)))
    patched.setattr(Path, "replace", wrap(Path.replace))
    try:
        yield
    finally:
        patched.undo()


CONFIGS = st.builds(
    JobConfig,
    level=st.floats(allow_nan=True) | st.sampled_from([0.0, 1.0]),
    word=st.text(max_size=5).filter(lambda text: text.lower() != "none"),
    values=st.lists(st.integers(), max_size=2),
)


class Keeping(RuleBasedStateMachine):
    """A folder with a stored config and backups, against a list of what was stored."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.repository = FolderRepository(self.folder.name)
        self.stored: JobConfig | None = None
        self.backups: list[JobConfig] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(config=CONFIGS)
    def write(self, config: JobConfig) -> None:
        if self.stored is None or not config.compare(self.stored):
            Job(config=config).writeConfig(self.repository)
            self.stored = self.stored or config
        else:
            with pytest.raises(TaskError) as caught:
                Job(config=config).writeConfig(self.repository)
            lines = str(caught.value).splitlines()[1:-1]
            assert lines == [f"  - {line}" for line in config.compare(self.stored)]

    @rule(config=CONFIGS, keeps=st.booleans())
    def clobber(self, config: JobConfig, keeps: bool) -> None:
        Job(config=config).writeConfig(self.repository, clobber=True, doBackup=keeps)
        if keeps and self.stored is not None:
            self.backups.append(self.stored)
        self.stored = config

    @rule(config=CONFIGS, step=st.integers(0, 4), clobber=st.booleans())
    def crash(self, config: JobConfig, step: int, clobber: bool) -> None:
        if not clobber and self.stored is not None:
            return
        try:
            with crashing(step):
                Job(config=config).writeConfig(self.repository, clobber=clobber)
        except Crash:
            pass
        # Whether the new one is there or the old one, and with or without its backup, is all the same.
        table = self._table("job_config.toml")
        if table is not None and not config.compare_stored(table):
            if self.stored is not None and len(self._names("~")) > len(self.backups):
                self.backups.append(self.stored)
            self.stored = config
        elif len(self._names("~")) > len(self.backups):
            assert self.stored is not None
            self.backups.append(self.stored)

    @invariant()
    def what_is_stored_is_what_was_stored(self) -> None:
        table = self._table("job_config.toml")
        if self.stored is None:
            assert table is None
        else:
            assert self.stored.compare_stored(table) == []

    @invariant()
    def every_backup_is_whole(self) -> None:
        assert len(self._names("~")) == len(self.backups)
        for number, config in enumerate(self.backups, start=1):
            copied = JobConfig()
            copied.load(Path(self.folder.name) / f"job_config.toml~{number}")
            assert config.compare(copied) == []

    def _table(self, name: str) -> Any:
        exists = (Path(self.folder.name) / name).exists()
        return self.repository.get("job_config") if exists else None

    def _names(self, part: str) -> list[str]:
        return [path.name for path in Path(self.folder.name).iterdir() if part in path.name]


TestKeeping = Keeping.TestCase
TestKeeping.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


@given(first=CONFIGS, second=CONFIGS)
def test_what_differs_from_a_stored_config_is_what_differs_from_the_config(first, second):
    with tempfile.TemporaryDirectory() as folder:
        repository = FolderRepository(folder)
        repository.put(second, "c")
        assert first.compare_stored(repository.get("c")) == first.compare(second)
        assert second.compare_stored(repository.get("c")) == []
