"""A repository loses nothing, shows nothing half-made, and its registry is what its files say.

A state machine ingests, stores, certifies, deletes and rebuilds, is killed between a file and its row, and
has two writers at once; after every step the registry is compared with the files and with a plain model.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from isrcore import Exposure, FolderRepository, MaskedImage, RawFrame, VisitInfo, write_exposure
from isrcore_repository import layout
from isrcore_repository.certificates import certify
from isrcore_repository.ingest import Report, ingest
from isrcore_repository.making import make_repository
from isrcore_repository.rebuild import rebuild, survey
from isrcore_repository.repository import EmbeddedRepository
from isrcore_repository.tables import CalibrationRow, DatasetRow, RawRow, as_text
from tests.small_camera import CAMERA, NAMES, REGISTRY, write_raw

EXPOSURES = (1, 2, 3)
#: Names of raw files: both detectors of an exposure, another file of the same, and one detector alone.
FILES = [f"{exposure}{kind}" for exposure in EXPOSURES for kind in ("both", "rival", "left")]
KINDS = ("bias", "flat")


class Killed(BaseException):
    """What a program that is killed does not live to see."""


@pytest.fixture(scope="module", autouse=True)
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Raw files and masters to work with."""
    folder = tmp_path_factory.mktemp("pool")
    for exposure in EXPOSURES:
        write_raw(folder / f"{exposure}both.fits", exposure, 10)
        write_raw(folder / f"{exposure}rival.fits", exposure, 20)
        write_raw(folder / f"{exposure}left.fits", exposure, 30, NAMES[:1])
    for kind in KINDS:
        for detector in CAMERA.detectors:
            pixels = MaskedImage.from_image(np.zeros((4, 6), np.float32))
            visit = VisitInfo(date=Time("2022-01-03T01:00:00"), filter="r", observation_type=kind)
            master = Exposure(pixels, detector, "small", visit, facts=frozenset({"assembled", "converted"}))
            write_exposure(master, folder / f"{kind}_{detector.name}.fits")
    Machine.pool = folder
    yield
    Machine.pool = None


def detectors_of(file: str) -> tuple[str, ...]:
    return NAMES[:1] if file.endswith("left") else NAMES


class Machine(RuleBasedStateMachine):
    """What users and killed programs do, in any order."""

    pool: Path | None = None

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="repository-laws-"))
        self.root = self.folder / "repository"
        make_repository(self.root, "small")
        self.repository = EmbeddedRepository.open(self.root, REGISTRY)
        # Which file each exposure and detector is of, and what else is stored; the model.
        self.raws: dict[tuple[int, str], str] = {}
        self.records: dict[str, str] = {}
        self.calibrations: dict[str, str] = {}
        # Files that a killed program left without rows.
        self.has_strays = False

    def teardown(self) -> None:
        shutil.rmtree(getattr(self, "folder", "/nonexistent"), ignore_errors=True)

    def take(self, files: list[str], report: Report) -> None:
        """Note in the model what an ingest must have done with files, in this order."""
        conflicts = 0
        for file in files:
            units = [(int(file[0]), detector) for detector in detectors_of(file)]
            if all(self.raws.get(unit, file) == file for unit in units):
                self.raws.update(dict.fromkeys(units, file))
            else:
                conflicts += 1
        assert len(report.conflicts) == conflicts
        assert not report.failed
        assert len(report.added) + len(report.known) + conflicts == len(files)

    def paths(self, files: list[str]) -> list[Path]:
        assert self.pool is not None
        return [self.pool / f"{file}.fits" for file in files]

    @rule(files=st.lists(st.sampled_from(FILES), unique=True, min_size=1, max_size=4), copies=st.booleans())
    def ingest(self, files: list[str], copies: bool) -> None:
        if self.has_strays:
            self.rebuild()
        self.take(files, ingest(self.repository, self.paths(files), copies=copies))

    @rule(file=st.sampled_from(FILES), copies=st.booleans())
    def kill_ingest(self, file: str, copies: bool) -> None:
        """Killed when the file has its place and its rows are not written."""

        def die(_: Path) -> None:
            raise Killed

        with pytest.raises(Killed):
            ingest(self.repository, self.paths([file]), copies=copies, tell=die)
        self.has_strays = True

    @rule(
        first=st.lists(st.sampled_from(FILES), unique=True, min_size=1, max_size=3),
        second=st.lists(st.sampled_from(FILES), unique=True, min_size=1, max_size=3),
        moment=st.integers(0, 2),
    )
    def ingest_while_another_does(self, first: list[str], second: list[str], moment: int) -> None:
        """A second writer does all its work when the first has given some files their places."""
        if self.has_strays:
            self.rebuild()
        told: list[Path] = []

        def interrupt(path: Path) -> None:
            told.append(path)
            if len(told) == min(moment + 1, len(first)):
                reports.append(ingest(EmbeddedRepository.open(self.root, REGISTRY), self.paths(second)))

        reports: list[Report] = []
        reports.append(ingest(self.repository, self.paths(first), tell=interrupt))
        for report in reports:
            self.trust(report)
        for files, report in zip((second, first), reports, strict=True):
            self.check_conflicts(files, report)

    def trust(self, report: Report) -> None:
        """Note what a report says, which must not contradict what was known."""
        assert not report.failed
        for path in (*report.added, *report.known):
            for detector in detectors_of(path.stem):
                assert self.raws.setdefault((int(path.name[0]), detector), path.stem) == path.stem

    def check_conflicts(self, files: list[str], report: Report) -> None:
        """Every file is in the repository, or told of and another one is there instead."""
        assert len(report.added) + len(report.known) + len(report.conflicts) == len(files)
        for file in files:
            if file not in {path.stem for path in (*report.added, *report.known)}:
                units = [(int(file[0]), detector) for detector in detectors_of(file)]
                assert any(self.raws.get(unit, file) != file for unit in units)

    def copied(self, row: RawRow) -> list[str]:
        return self.originals(self.root / row.path)

    def originals(self, path: Path) -> list[str]:
        """The files of the pool that have this content."""
        content, originals = path.read_bytes(), zip(FILES, self.paths(FILES), strict=True)
        return [file for file, original in originals if original.read_bytes() == content]

    @rule(key=st.sampled_from("ab"), value=st.sampled_from("xyz"))
    def put(self, key: str, value: str) -> None:
        self.repository.put({"value": value}, "note", exposure=1, word=key)
        self.records[key] = value

    @rule(key=st.sampled_from("ab"), value=st.sampled_from("xyz"))
    def kill_put(self, key: str, value: str) -> None:
        name = layout.record_name("note", {"exposure": 1, "word": key})
        FolderRepository(self.root).put({"value": value}, name)
        self.records[key] = value
        self.has_strays = True

    def master(self, kind: str, detector: str) -> Path:
        """A master in its place, as whoever made it leaves it."""
        assert self.pool is not None
        frames = [RawFrame(Path(), 1, detector, "2022-01-02")]
        path = self.repository.calibration_path(kind, detector, frames, ".fits")
        shutil.copyfile(self.pool / f"{kind}_{detector}.fits", path)
        return path

    @rule(kind=st.sampled_from(KINDS), detector=st.sampled_from(NAMES), days=st.integers(1, 9))
    def certify(self, kind: str, detector: str, days: int) -> None:
        path, last = self.master(kind, detector), Time(f"2022-01-1{days}T00:00:00")
        self.repository.certify(path, None, last)
        self.calibrations[str(path.relative_to(self.root))] = as_text(last)

    @rule(kind=st.sampled_from(KINDS), detector=st.sampled_from(NAMES), days=st.integers(1, 9))
    def kill_certify(self, kind: str, detector: str, days: int) -> None:
        path, last = self.master(kind, detector), Time(f"2022-01-1{days}T00:00:00")
        certify(self.root, path, None, last)
        self.calibrations[str(path.relative_to(self.root))] = as_text(last)
        self.has_strays = True

    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        """Somebody removes a raw file from the folder."""
        paths = sorted((self.root / layout.RAW).rglob("*.fits"))
        if not paths or self.has_strays:
            return
        path = paths[number % len(paths)]
        gone = [row for row in self.repository.tables.rows(RawRow) if self.root / row.path == path]
        path.unlink()
        for row in gone:
            del self.raws[row.exposure, row.detector]

    @rule()
    def rebuild(self) -> None:
        found = rebuild(self.repository)
        assert self.everything() == {*found.rows}
        for row in self.repository.tables.rows(RawRow):
            # What was killed is found now; of two files of one exposure one is, and the other is told of.
            self.raws.setdefault((row.exposure, row.detector), self.copied(row)[0])
        self.has_strays = False
        if found.problems:
            assert all("remove one" in problem for problem in found.problems)
            self.remove_strays()

    def remove_strays(self) -> None:
        """Do what the rebuild asks for."""
        known = {row.path for row in self.repository.tables.rows(RawRow)}
        for path in (self.root / layout.RAW).rglob("*.fits"):
            if str(path.relative_to(self.root)) not in known:
                path.unlink()

    def everything(self) -> set[object]:
        tables = self.repository.tables
        return {row for kind in (RawRow, CalibrationRow, DatasetRow) for row in tables.rows(kind)}

    @invariant()
    def every_frame_is_what_the_model_says(self) -> None:
        if not hasattr(self, "raws"):
            return
        frames = {(f.exposure, f.detector): f for f in self.repository.raw_frames() if not f.problem}
        wanted = self.raws.keys()
        assert frames.keys() == wanted
        for unit, frame in frames.items():
            assert self.raws[unit] in self.originals(frame.path)

    @invariant()
    def every_record_is_whole(self) -> None:
        if hasattr(self, "records"):
            for key, value in self.records.items():
                assert self.repository.get("note", exposure=1, word=key) == {"value": value}

    @invariant()
    def the_registry_is_what_the_files_say(self) -> None:
        if not hasattr(self, "records"):
            return
        files = set(survey(self.repository).rows)
        there = {row for row in self.everything() if (self.root / row.path).exists()}  # type: ignore[attr-defined]
        if self.has_strays:
            return
        assert there == files
        limits = {row.path: row.last for row in self.repository.tables.rows(CalibrationRow)}
        assert limits == self.calibrations


TestRepository = Machine.TestCase
TestRepository.settings = settings(max_examples=max(10, settings().max_examples // 3), stateful_step_count=8)
