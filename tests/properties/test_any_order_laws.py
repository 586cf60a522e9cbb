"""Law: whatever the order of the units and the number of processes, the products are the same."""

from __future__ import annotations

import tempfile
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from isrcore import Registry, read_exposure
from isrcore.cli.main import main
from isrcore.fits import read_config
from isrcore_simulated.night import write_night

MASTERS = ["-c", "doBias=false", "doDark=false", "doFlat=false"]
EXPOSURES, DETECTORS = ("science1", "science2", "flat1"), ("sim0", "sim1")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The practice night."""
    folder = tmp_path_factory.mktemp("any_order")
    write_night(Registry.discover().camera("simulated"), folder)
    return folder


def content(path: Path) -> tuple[object, ...]:
    """All of a product that does not tell when it was made."""
    exposure = read_exposure(path)
    history = [(entry.step, entry.plugin, entry.segment, entry.digest) for entry in exposure.history]
    return exposure.digest, exposure.header.tostring(), str(exposure.visit), history, read_config(path)


def run(files: list[Path], *words: str) -> dict[str, tuple[object, ...]]:
    """What a run makes of files, by the names of the products."""
    with tempfile.TemporaryDirectory() as out:
        assert main(["run", *map(str, files), "-o", out, *words, *MASTERS]) == 0
        return {path.name: content(path) for path in Path(out).glob("*.fits")}


@cache
def alone(night: Path, exposure: str, detector: str) -> dict[str, tuple[object, ...]]:
    """What comes of one unit when there is no other."""
    return run([night / f"{exposure}.fits"], "--detectors", detector)


# An example takes seconds: what fails is not made smaller.
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    exposures=st.permutations(EXPOSURES).flatmap(lambda order: st.integers(1, 3).map(lambda n: order[:n])),
    detectors=st.permutations(DETECTORS).flatmap(lambda order: st.integers(1, 2).map(lambda n: order[:n])),
    jobs=st.integers(1, 3),
    threads=st.integers(1, 3),
)
def test_units_come_out_as_they_do_alone(
    night: Path, exposures: list[str], detectors: list[str], jobs: int, threads: int
) -> None:
    speed = ["--jobs", str(jobs), "--threads", str(threads)]
    made = run([night / f"{name}.fits" for name in exposures], "--detectors", ",".join(detectors), *speed)
    expected = {}
    for exposure, detector in product(exposures, detectors):
        expected |= alone(night, exposure, detector)
    assert made == expected
    assert len(made) == len(exposures) * len(detectors)


def test_example_all_units_backwards_on_three_processes(night: Path) -> None:
    files = [night / f"{name}.fits" for name in reversed(EXPOSURES)]
    made = run(files, "--detectors", "sim1,sim0", "--jobs", "3")
    for unit in product(EXPOSURES, DETECTORS):
        expected = alone(night, *unit)
        assert {name: made[name] for name in expected} == expected
