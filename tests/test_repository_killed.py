"""Killing ingest, calibrate and run in a repository at any moment: the same command goes on, to the same end.

And several processes that ingest the same files at once lose nothing.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from isrcore import Registry, read_exposure, read_extra
from isrcore.cli.main import main
from isrcore_repository.making import make_repository
from isrcore_repository.rebuild import survey
from isrcore_repository.repository import EmbeddedRepository
from isrcore_repository.tables import CalibrationRow, DatasetRow, RawRow
from isrcore_simulated.night import write_night
from tests.killing import kill_at_random, list_operations
from tests.small_camera import NAMES, REGISTRY, write_raw


class Undisturbed(NamedTuple):
    """A repository in which nothing was killed, and the file operations of each of the commands."""

    root: Path
    operations: list[str]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The practice night."""
    folder = tmp_path_factory.mktemp("night")
    write_night(Registry.discover().camera("simulated"), folder)
    return folder


def commands(root: Path, night: Path) -> list[list[str]]:
    """From raw files to products; without dark, to be done sooner."""
    return [
        ["ingest", str(root), str(night), "--copy"],
        ["calibrate", "bias", str(root)],
        ["calibrate", "flat", str(root)],
        ["run", str(root), "--jobs", "2", "-c", "doDark=false"],
    ]


@pytest.fixture(scope="module")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """From raw files to products."""
    root = tmp_path_factory.mktemp("undisturbed") / "repository"
    assert main(["init", str(root), "--camera", "simulated"]) == 0
    return Undisturbed(root, [list_operations(words, root) for words in commands(root, night)])


def assert_nothing_is_half_visible(root: Path) -> None:
    """Products and calibrations that can be seen are whole, frames that are handed out can be read."""
    for path in [*root.glob("calib/*/*.fits"), *root.glob("products/*/*.fits")]:
        if path.name[0] != ".":
            assert read_exposure(path).facts
    repository = EmbeddedRepository.open(root)
    for frame in repository.raw_frames():
        assert not frame.problem
        next(iter(repository.plugins.read_raw(frame.path, [frame.detector])))
    for row in repository.tables.rows(CalibrationRow):
        assert (root / row.path).stat().st_size == row.size


def content(root: Path) -> dict[str, object]:
    """Pixels, flags, variances and headers of all there is, by path."""
    found: dict[str, object] = {}
    for path in [*root.glob("calib/*/*.fits"), *root.glob("products/*/*.fits")]:
        exposure = read_exposure(path)
        header = {card: value for card, value in exposure.header.items() if card != "DATE"}
        extra = read_extra(path, "NINPUTS").tobytes() if "calib" in path.parts else b""
        found[str(path.relative_to(root))] = (exposure.digest, exposure.facts, header, extra)
    for path in (root / "raw").rglob("*.fits"):
        found[str(path.relative_to(root))] = path.read_bytes()
    return found


def kill_many_times(root: Path, night: Path, undisturbed: Undisturbed, times: int, seed: int) -> None:
    """Kill every command some times, look at what is left, and let the same command finish."""
    moments = random.Random(seed)
    assert main(["init", str(root), "--camera", "simulated"]) == 0
    steps = commands(root, night)
    for number, (words, operations) in enumerate(zip(steps, undisturbed.operations, strict=True)):
        killed = []
        for _ in range(times * (number + 1) // len(steps) - times * number // len(steps)):
            killed.append(kill_at_random(words, root, operations, moments))
            assert_nothing_is_half_visible(root)
        # What a killed command had done already is not done again: later ones may end before their moment.
        assert killed[0]
        assert main(words) == 0
    assert content(root) == content(undisturbed.root)
    assert main(["rebuild", str(root)]) == 0
    repository = EmbeddedRepository.open(root)
    tables = (RawRow, CalibrationRow, DatasetRow)
    rows = {row for kind in tables for row in repository.tables.rows(kind)}
    assert rows == {*survey(repository).rows}


def test_killing_five_times(night: Path, undisturbed: Undisturbed, tmp_path: Path) -> None:
    kill_many_times(tmp_path / "repository", night, undisturbed, 5, seed=5)


@pytest.mark.slow
def test_killing_a_hundred_times(night: Path, undisturbed: Undisturbed, tmp_path: Path) -> None:
    for round_ in range(10):
        root = tmp_path / f"repository{round_}"
        kill_many_times(root, night, undisturbed, 10, seed=round_)
        shutil.rmtree(root)


def test_example_a_product_that_is_cut_off_would_be_found(undisturbed: Undisturbed, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    shutil.copytree(undisturbed.root, root, symlinks=True)
    product = next(root.glob("products/*/*.fits"))
    product.write_bytes(product.read_bytes()[:-2880])
    with pytest.raises(OSError, match=product.name):
        assert_nothing_is_half_visible(root)


def test_two_runs_at_once_both_end_well(undisturbed: Undisturbed, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    shutil.copytree(undisturbed.root, root, symlinks=True)
    shutil.rmtree(root / "products")
    shutil.rmtree(root / "record")
    words = ["run", str(root), "-c", "doDark=false"]
    script = f"import sys; from isrcore.cli.main import main; sys.exit(main({words!r}))"
    runs = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert content(root) == content(undisturbed.root)
    assert main([*words, "--dry-run"]) == 0
    assert_nothing_is_half_visible(root)


INGEST = """
import sys
from pathlib import Path
from isrcore_repository.ingest import ingest
from isrcore_repository.repository import EmbeddedRepository
from tests.killing import list_operations, kill_at_random
from tests.small_camera import REGISTRY
report = ingest(EmbeddedRepository.open(sys.argv[1], REGISTRY), map(Path, sys.argv[2:]))
assert not report.failed, report
print(len(report.added) + len(report.known), len(report.conflicts))
"""


def test_three_processes_that_ingest_at_once_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    files = [write_raw(tmp_path / f"{number}.fits", number) for number in range(40)]
    rivals = [write_raw(tmp_path / f"{number}rival.fits", number, 7) for number in range(3)]
    make_repository(root, "small")
    orders = files, files[::-1], [*files[20:], *rivals, *files[:20]]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", INGEST, str(root), *map(str, order)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        for order in orders
    ]
    told = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert [sum(map(int, numbers)) for numbers in told] == [40, 40, 43]
    repository = EmbeddedRepository.open(root, REGISTRY)
    frames = repository.raw_frames()
    assert not [frame.problem for frame in frames if frame.problem]
    assert {(frame.exposure, frame.detector) for frame in frames} >= {
        (number, name) for number in range(3, 40) for name in NAMES
    }
    assert len({frame.exposure for frame in frames}) == 40
    assert {*survey(repository).rows} == {*repository.tables.rows(RawRow)}
    # Each rival was told of by whoever was second.
    assert sum(int(numbers[1]) for numbers in told) >= 3
