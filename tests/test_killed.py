"""Killing a run and all its processes at any moment leaves nothing that looks finished and is not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from isrcore import Registry, read_exposure
from isrcore.cli.main import main
from isrcore_simulated.night import write_night

NO_MASTERS = ["-c", "doBias=false", "doDark=false", "doFlat=false"]

#: Seconds that a run of the practice night takes here, roughly: moments are drawn from a little more.
LONGEST_S = 4.0


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


def run_and_kill(words: list[str], after_s: float) -> None:
    """Start a run, and kill its process group after some time if it is still there."""
    script = f"import sys; from isrcore.cli.main import main; sys.exit(main({words!r}))"
    running = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        running.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


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
    for number in range(times):
        run_and_kill(command(night, out, number), moments.uniform(0.2, LONGEST_S))
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
