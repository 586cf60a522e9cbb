"""Killing a run and all its processes at any moment leaves nothing that looks finished and is not."""

from __future__ import annotations

import random
import time
import tomllib
from pathlib import Path

import pytest

from isrcore import Registry, read_exposure
from isrcore.cli.main import main
from isrcore_simulated.night import write_night
from tests.killing import kill_at_random, list_operations

NO_MASTERS = ["-c", "doBias=false", "doDark=false", "doFlat=false"]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The practice night."""
    folder = tmp_path_factory.mktemp("killed")
    write_night(Registry.discover().camera("simulated"), folder)
    return folder


def command(night: Path, out: Path, number: int) -> list[str]:
    """A run that replaces whatever is there, with a config that differs from the one before."""
    files = [str(night / f"science{number}.fits") for number in (1, 2)]
    setting = f"overscan.numSigmaClip={3 + number % 2}"
    replacing = ["--overwrite", "--clobber-config", "--jobs", "2"]
    return ["run", *files, "-o", str(out), *replacing, *NO_MASTERS, setting]


def assert_whole(out: Path) -> None:
    """Every product, config, backup and record is complete."""
    for path in out.rglob("*.fits"):
        if not path.name.startswith("."):
            assert read_exposure(path).facts
    for path in [*out.rglob("*.toml"), *out.rglob("*.toml~*")]:
        if not path.name.startswith("."):
            assert tomllib.loads(path.read_text())


def kill_many_times(night: Path, out: Path, times: int, seed: int) -> None:
    """Kill runs one after the other, look at what is left each time, and let one finish."""
    moments = random.Random(seed)
    operations = list_operations(command(night, out, times), out)
    for number in range(times):
        assert kill_at_random(command(night, out, number), out, operations, moments)
        assert_whole(out)
    # Whatever was left, the next run goes through and puts everything right.
    assert main(command(night, out, times)) == 0
    assert_whole(out)
    assert len(list(out.glob("*.fits"))) == 4
    time.sleep(0.1)
    assert list(out.rglob(".*.part")) == []


def test_killing_a_run_five_times(night: Path, tmp_path: Path) -> None:
    kill_many_times(night, tmp_path / "out", 5, seed=3)


@pytest.mark.slow
def test_killing_a_run_fifty_times(night: Path, tmp_path: Path) -> None:
    kill_many_times(night, tmp_path / "out", 50, seed=4)


def test_example_a_config_that_is_cut_off_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "isr_config.toml").write_text("doDark = [")
    with pytest.raises(tomllib.TOMLDecodeError):
        assert_whole(tmp_path)
