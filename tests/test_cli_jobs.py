"""`isr run --jobs`: the same products from several processes, whose deaths cost no more than one unit."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import isrcore_standard
from isrcore import Registry, read_exposure
from isrcore.cli.jobs import Agenda, run_here, run_jobs
from isrcore.cli.processing import count_flagged
from isrcore.cli.task_runner import modules_for_jobs
from isrcore.fits import read_config, read_provenance
from isrcore_simulated.night import write_night
from tests.deadly_work import Work, make_work

Isr = Callable[..., tuple[int, str, str]]

# What differs from one run to the next: when a file was written, and the sums over that.
CARDS_OF_THE_MOMENT = {"CHECKSUM", "DATASUM"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The practice night."""
    folder = tmp_path_factory.mktemp("jobs")
    write_night(Registry.discover().camera("simulated"), folder)
    return folder


@pytest.fixture(scope="module")
def science(night: Path) -> list[str]:
    """Two exposures of two detectors."""
    return [str(night / f"science{number}.fits") for number in (1, 2)]


NO_MASTERS = ["-c", "doBias=false", "doDark=false", "doFlat=false"]

PLUGIN = """
import logging, os, signal, time
from pathlib import Path
from isrcore import hookimpl

@hookimpl
def isr_after_step(step, exposure):
    if step == "assembly" and "science1" in exposure.source and exposure.detector.name == "sim1":
        {does}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Install a plugin that does something at the assembly of science1.fits[sim1]."""

    def write(does: str) -> Path:
        site = tmp_path / "site"
        info = site / "trouble-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "trouble.py").write_text(PLUGIN.format(does=does))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[isrcore]\ntrouble = trouble\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "trouble", raising=False)
        return site

    return write


def report(folder: Path) -> dict[str, dict[str, Any]]:
    """The units of a report by their labels."""
    units = json.loads((folder / "isr_report.json").read_text())["units"]
    return {unit["unit"]: unit for unit in units}


def leftovers(folder: Path) -> list[str]:
    """Unfinished files."""
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


def history(path: Path) -> list[tuple[object, ...]]:
    """The history of a product without its times."""
    return [(entry.step, entry.plugin, entry.segment, entry.digest) for entry in read_exposure(path).history]


def header(path: Path) -> list[list[tuple[object, ...]]]:
    """The cards of all HDUs, without those that change with the time of day."""
    with fits.open(path) as hdus:
        return [
            [tuple(card) for card in hdu.header.cards if card.keyword not in CARDS_OF_THE_MOMENT]
            for hdu in hdus
        ]


def test_several_processes_make_the_same_products(isr: Isr, tmp_path: Path, science: list[str]) -> None:
    for jobs in (1, 2):
        out = tmp_path / f"{jobs}"
        assert isr("run", *science, "-o", out, "--jobs", jobs, *NO_MASTERS)[0] == 0
    products = sorted(path.name for path in (tmp_path / "1").glob("*.fits"))
    assert len(products) == 4
    assert sorted(path.name for path in (tmp_path / "2").glob("*.fits")) == products
    for name in products:
        one, two = tmp_path / "1" / name, tmp_path / "2" / name
        first, second = read_exposure(one), read_exposure(two)
        for plane in ("image", "mask", "variance"):
            assert getattr(first, plane).tobytes() == getattr(second, plane).tobytes()
        assert header(one) == header(two)
        assert history(one) == history(two)
        assert read_config(one) == read_config(two)
        assert read_provenance(one) == read_provenance(two)


def test_the_table_is_in_the_order_of_the_files(isr: Isr, tmp_path: Path, science: list[str]) -> None:
    _, out, err = isr("run", *science, "-o", tmp_path, "-j", "2", *NO_MASTERS)
    units = [f"science{n}.fits[sim{m}]" for n in (1, 2) for m in (0, 1)]
    assert [line.split()[0] for line in out.splitlines()[2:-1]] == units
    assert out.splitlines()[-1] == "4 ok"
    assert sorted(err.splitlines()) == [f"{unit} ok" for unit in units]


def test_the_report_says_where_the_time_went(isr: Isr, tmp_path: Path, science: list[str]) -> None:
    _, out, _ = isr("run", *science, "-o", tmp_path, "-j", "2", "-v", *NO_MASTERS)
    for unit in report(tmp_path).values():
        assert set(unit["parts"]) == {"read", "pixels", "write"}
        assert 0 < sum(unit["parts"].values()) <= unit["seconds"]
        segments = unit["segments"]
        assert [step for segment in segments for step in segment["steps"]] == unit["steps"]
        assert 1 < len(segments) < len(unit["steps"])
        assert 0 < sum(segment["seconds"] for segment in segments) <= unit["parts"]["pixels"]
    assert out.split()[4:8] == ["seconds", "read", "pixels", "write"]


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os._exit(3)", "its process ended with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process was killed by signal SIGKILL"),
    ],
)
def test_a_process_that_dies_costs_one_unit(
    isr: Isr, tmp_path: Path, science: list[str], install: Callable[[str], Path], does: str, told: str
) -> None:
    install(does)
    status, out, err = isr("run", *science, "-o", tmp_path / "out", "--jobs", "2", *NO_MASTERS)
    assert status == 1
    assert "3 ok, 1 failed" in out
    assert f"science1.fits[sim1] failed: {told}" in err
    units = report(tmp_path / "out")
    assert [unit["status"] for unit in units.values()] == ["ok", "failed", "ok", "ok"]
    assert told in units["science1.fits[sim1]"]["reason"]
    assert len(list((tmp_path / "out").glob("*.fits"))) == 3
    assert leftovers(tmp_path / "out") == []


def test_a_process_that_dies_while_it_writes_leaves_nothing(
    isr: Isr, tmp_path: Path, science: list[str], install: Callable[[str], Path]
) -> None:
    install("os.fsync = lambda _: os._exit(4)")
    _, out, _ = isr("run", *science, "-o", tmp_path / "out", "--jobs", "2", *NO_MASTERS)
    assert "3 ok, 1 failed" in out
    assert leftovers(tmp_path / "out") == []


def test_a_product_whose_process_died_before_it_said_so_is_made_again(
    isr: Isr, tmp_path: Path, science: list[str], install: Callable[[str], Path]
) -> None:
    # It is forced to disk, and named; the process dies when its folder follows, with the next unit begun.
    fsync = "lambda _, calls=iter((False, True)): next(calls) and (time.sleep(2), os._exit(4))"
    out, once = tmp_path / "out", tmp_path / "once"
    once = f"once = Path({str(once)!r}); once.exists() or (once.touch(), setattr(os, 'fsync', {fsync}))"
    install(once)
    # One process apart: of two, the other one may take the next unit.
    status, told, _ = isr("run", *science, "-o", out, "--timeout", "100", *NO_MASTERS)
    assert (tmp_path / "once").exists()
    assert (status, told.splitlines()[-1]) == (0, "4 ok")
    assert len(list(out.glob("*.fits"))) == 4
    assert leftovers(out) == []


def test_a_mistake_in_a_plugin_fails_its_unit_only(
    isr: Isr, tmp_path: Path, science: list[str], install: Callable[[str], Path]
) -> None:
    install("raise ZeroDivisionError('oh')")
    given = ["run", *science, "--jobs", "2", *NO_MASTERS]
    status, out, err = isr(*given, "-o", tmp_path / "out")
    assert status == 1
    assert "3 ok, 1 failed" in out
    assert "science1.fits[sim1] failed: ZeroDivisionError: oh" in err
    assert "Traceback" not in err
    _, _, err = isr(*given, "-o", tmp_path / "again", "--traceback")
    assert "ERROR: science1.fits[sim1] failed" in err
    assert "Traceback" in err


def test_an_error_that_cannot_be_sent_fails_its_unit_only(
    isr: Isr, tmp_path: Path, science: list[str], install: Callable[[str], Path]
) -> None:
    # A constructor that wants more than a message: the error can be packed, but not unpacked.
    install("raise type('Own', (Exception,), {'__reduce__': lambda self: (int, ('no', 'number'))})('oh')")
    status, out, err = isr("run", *science, "--jobs", "2", *NO_MASTERS, "-o", tmp_path / "out")
    assert status == 1
    assert "3 ok, 1 failed" in out
    assert "science1.fits[sim1] failed: Own: oh" in err


def test_what_processes_log_is_shown(
    isr: Isr, tmp_path: Path, science: list[str], install: Callable[[str], Path]
) -> None:
    install("logging.getLogger('isrcore.trouble').info('seen in process %d', os.getpid())")
    _, _, err = isr("run", *science, "-o", tmp_path / "out", "--jobs", "2", *NO_MASTERS, "-v")
    assert f"INFO: science2.fits[sim0]: wrote {tmp_path}/out/science2_sim0.fits" in err
    (line,) = (line for line in err.splitlines() if "seen in process" in line)
    assert line != f"INFO: seen in process {os.getpid()}"
    _, _, err = isr("run", *science, "-o", tmp_path / "quiet", "--jobs", "2", *NO_MASTERS)
    assert "seen" not in err


def test_an_interrupt_from_within_stops_everything(
    isr: Isr, tmp_path: Path, science: list[str], install: Callable[[str], Path]
) -> None:
    install("raise KeyboardInterrupt")
    status, _, err = isr("run", *science, "-o", tmp_path / "out", "--jobs", "2", *NO_MASTERS)
    assert status == 130
    assert "interrupted" in err
    assert report(tmp_path / "out")["science1.fits[sim1]"]["status"] == "not started"
    assert leftovers(tmp_path / "out") == []


@pytest.mark.parametrize("is_terminal", [True, False], ids=["whole group", "first process only"])
@pytest.mark.parametrize("moment", ["", "os.fsync = lambda _: "], ids=["in a step", "while writing"])
def test_ctrl_c_leaves_nothing_half_written(
    tmp_path: Path, science: list[str], install: Callable[[str], Path], is_terminal: bool, moment: str
) -> None:
    site = install(f"{moment}Path('reached').touch() or time.sleep(60)")
    words = ["run", science[0], "-o", "out", "--jobs", "2", *NO_MASTERS]
    # Whoever runs the tests in the background has this signal ignored, and processes inherit that.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from isrcore.cli.main import main; sys.exit(main({words}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}
    told = tmp_path / "told"
    with told.open("w") as messages:
        running = subprocess.Popen(
            [sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
            stderr=messages, text=True, start_new_session=True,
        )  # fmt: skip
    wait_for(lambda: (tmp_path / "reached").exists() and "science1.fits[sim0] ok" in told.read_text())
    (os.killpg if is_terminal else os.kill)(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=180)
    assert running.returncode == 130
    assert "1 ok, 1 not started" in out
    assert "interrupted" in told.read_text()
    assert "Traceback" not in told.read_text()
    assert [unit["status"] for unit in report(tmp_path / "out").values()] == ["ok", "not started"]
    assert leftovers(tmp_path / "out") == []


def wait_for(is_reached: Callable[[], bool], seconds: float = 180) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not is_reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_damaged_calibration_fails_the_units_that_need_it(isr: Isr, tmp_path: Path, night: Path) -> None:
    masters = tmp_path / "masters"
    assert isr("calibrate", "bias", *sorted(night.glob("bias*.fits")), "-o", masters)[0] == 0
    damaged = masters / "bias_sim1.fits"
    content = bytearray(damaged.read_bytes())
    content[20_000] ^= 1
    damaged.write_bytes(content)
    off = ["-c", "doDark=false", "doFlat=false"]
    given = ["run", night / "science1.fits", "--bias", masters, "-o", tmp_path / "out", "--jobs", "2", *off]
    status, out, err = isr(*given)
    assert status == 1
    assert "1 ok, 1 failed" in out
    assert f"product '{damaged}' is damaged in HDU" in err


def test_plugins_made_by_hand_are_refused(isr: Isr, tmp_path: Path, science: list[str]) -> None:
    registry = Registry({})
    status, _, err = isr("run", *science, "-o", tmp_path, "--jobs", "2", registry=registry)
    assert status == 2
    assert "--jobs needs installed plugins" in err


@pytest.mark.parametrize("word", ["0", "-1", "two"])
def test_there_is_at_least_one_process(isr: Isr, tmp_path: Path, science: list[str], word: str) -> None:
    status, _, err = isr("run", *science, "-o", tmp_path, f"--jobs={word}")
    assert status == 2
    assert "give 1 or more" in err


def test_groups_stay_with_their_process_until_another_has_nothing_left() -> None:
    agenda = Agenda([[1, 2, 3, 4], [11], [21]])
    assert [agenda.next_for(0), agenda.next_for(1), agenda.next_for(1)] == [1, 11, 21]
    assert [agenda.next_for(1), agenda.next_for(0), agenda.next_for(1)] == [3, 2, 4]
    assert agenda.next_for(0) is agenda.next_for(1) is None


def make_squarer() -> Callable[[int], Callable[[], tuple[int, str]]]:
    logging.getLogger("isrcore.squares").warning("ready")
    return lambda number: lambda: (number**2, os.environ["OMP_NUM_THREADS"])


def make_nothing() -> Callable[[int], Callable[[], int]]:
    raise OSError("no disk")


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.found: dict[int, Any] = {}
        self.told: list[str] = []

    def started(self, job: int) -> None:
        self._hear("started", job, "started")

    def finished(self, job: int, result: Any) -> None:
        assert self.found[job] == "started"
        self._hear("finished", job, result)

    def died(self, job: int, reason: str) -> None:
        self._hear("died", job, reason)

    def dropped(self, job: int) -> None:
        self._hear("dropped", job, "dropped")

    def _hear(self, word: str, job: int, found: Any) -> None:
        self.told.append(f"{word} {job}")
        self.found[job] = found


def same(job: int) -> int:
    return job


def test_jobs_are_plain_functions_in_processes_with_one_thread(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    run_jobs([[1, 2], [3]], same, make_squarer, 2, listener)
    assert listener.found == {1: (1, "1"), 2: (4, "1"), 3: (9, "1")}
    assert [record.getMessage() for record in caplog.records] == ["ready", "ready"]


def make_counter() -> Callable[[int], Callable[[], int]]:
    return lambda number: gc.get_freeze_count


def test_what_a_process_begins_with_is_not_looked_through_for_garbage() -> None:
    listener = Listener()
    run_jobs([[1]], same, make_counter, 1, listener)
    # Modules and what is in them, at least those of astropy.
    assert listener.found[1] > 10_000


def test_work_that_cannot_begin_is_told_for_every_job(capfd: pytest.CaptureFixture[str]) -> None:
    listener = Listener()
    run_jobs([[1], [2]], same, make_nothing, 1, listener)
    assert listener.found == dict.fromkeys((1, 2), "its process ended with status 1")


def make_relay() -> Callable[[int], Callable[[], bool]]:
    """Every job but the last is finished only when the next one was begun."""
    begun = [threading.Event() for _ in range(5)]

    def begin(number: int) -> Callable[[], bool]:
        begun[number].set()
        return lambda: number == 3 or begun[number + 1].wait(timeout=60)

    return begin


def test_a_job_is_finished_while_the_next_one_is_begun() -> None:
    listener = Listener()
    run_jobs([[0, 1, 2, 3]], same, make_relay, 1, listener)
    assert listener.found == dict.fromkeys(range(4), True)


def make_mine() -> Callable[[int], Callable[[], int]]:
    """Job 2 ends its process, while job 1 can be finished only where job 2 was not begun."""
    begun = set[int]()

    def begin(number: int) -> Callable[[], int]:
        begun.add(number)
        if number == 2:
            os._exit(7)
        return lambda: time.sleep(0.0 if number > 2 else 1.5) or len(begun)

    return begin


def test_jobs_that_a_dead_process_had_are_done_again_alone() -> None:
    listener = Listener()
    run_jobs([[1, 2, 3]], same, make_mine, 1, listener)
    assert listener.told[:6] == [
        "started 1",
        "started 2",
        "dropped 1",
        "dropped 2",
        "started 1",
        "finished 1",
    ]
    # Two had a process that had finished one before; three has a new one.
    assert listener.found == {1: 1, 2: "its process ended with status 7", 3: 1}


def make_broken_end() -> Callable[[int], Callable[[], Any]]:
    return lambda number: (lambda: 1 // (number - 2)) if number < 4 else (lambda: threading.Lock())


def test_an_end_that_raises_costs_its_job_only(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener()
    run_jobs([[1, 2, 3], [4]], same, make_broken_end, 1, listener)
    assert listener.found == {1: -1, 3: 1, **dict.fromkeys((2, 4), "its process ended with status 1")}
    assert "ZeroDivisionError" in caplog.text
    assert "cannot pickle" in caplog.text


def make_deaf() -> Callable[[int], Callable[[], Any]]:
    """Job 1 never ends, job 2 interrupts."""

    def begin(number: int) -> Callable[[], Any]:
        if number == 2:
            raise KeyboardInterrupt
        return lambda: time.sleep(60)

    return begin


def test_an_interrupt_drops_what_is_not_done() -> None:
    listener = Listener()
    with pytest.raises(KeyboardInterrupt):
        run_jobs([[1, 2, 3]], same, make_deaf, 1, listener)
    assert listener.told == ["started 1", "started 2", "dropped 1", "dropped 2"]


def test_a_job_done_again_is_alone_to_its_end() -> None:
    listener = Listener()
    jobs = [Work(0, "end", 0.0, 1.5), Work(1, "", 0.0, 0.5), Work(2, "beginning", 0.0, 0.0)]
    run_jobs([[0, 1, 2]], jobs.__getitem__, make_work, 1, listener)
    before = ["started 0", "started 1", "dropped 0", "dropped 1", "started 0", "died 0"]
    assert listener.told == [*before, "started 1", "finished 1", "started 2", "died 2"]


def make_sleeper() -> Callable[[int], Callable[[], int]]:
    """Job 1 never ends, job 2 begins slowly."""
    return lambda number: time.sleep(0.5 if number == 2 else 0) or (lambda: number != 1 or time.sleep(60))  # type: ignore[return-value]


def test_an_end_that_takes_too_long_costs_its_job_only() -> None:
    listener = Listener()
    run_jobs([[1, 2]], same, make_sleeper, 1, listener, limit_s=12.0)
    assert listener.found == {1: "it took longer than 12 s; allow more time", 2: True}


def test_flagged_pixels_are_counted_band_by_band() -> None:
    mask = np.zeros((1000, 7), np.int32)
    mask[::3, ::2], mask[999, 6] = 1 << 30, -(2**31)
    assert count_flagged(mask) == np.count_nonzero(mask)


IMPORTED = """
import sys
from isrcore import Registry
from isrcore.cli.jobs import start_server
from isrcore.cli.task_runner import modules_for_jobs

def tell(pipe, modules):
    pipe.send(set(modules) - set(sys.modules))

if __name__ == "__main__":
    modules = modules_for_jobs(Registry.discover())
    context = start_server(modules)
    ours, theirs = context.Pipe()
    context.Process(target=tell, args=(theirs, modules), daemon=True).start()
    theirs.close()
    print(ours.recv(), modules)
"""


def test_processes_are_made_with_all_plugins_imported(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(IMPORTED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("set() ['isrcore.cli.processing', ")
    assert "isrcore_standard" in done.stdout


def test_a_plugin_that_is_no_module_is_not_imported() -> None:
    registry = Registry({"standard": isrcore_standard, "other": SimpleNamespace()}, failures={"bad": "no"})
    assert modules_for_jobs(registry) == ["isrcore.cli.processing", "isrcore_standard"]


def begin_with_next(begun: dict[int, threading.Event]) -> Callable[[int], Callable[[], bool]]:
    """Every job but the last is finished only when the next one was begun."""

    def begin(number: int) -> Callable[[], bool]:
        begun[number].set()
        return lambda: begun[number + 1].wait(20) if number + 1 in begun else True

    return begin


def test_a_job_here_is_finished_while_the_next_one_is_begun() -> None:
    listener, begun = Listener(), {number: threading.Event() for number in (1, 2, 3)}
    run_here([1, 2, 3], same, begin_with_next(begun), listener)
    order = ["started 1", "started 2", "finished 1", "started 3", "finished 2", "finished 3"]
    assert (listener.told, listener.found) == (order, dict.fromkeys((1, 2, 3), True))


def test_an_interrupt_here_waits_for_what_was_begun_before() -> None:
    listener, begin = Listener(), make_deaf()
    with pytest.raises(KeyboardInterrupt):
        run_here([1, 2, 3], same, lambda number: begin(number) and (lambda: time.sleep(0.5)), listener)
    assert listener.told == ["started 1", "started 2", "finished 1"]


def test_an_interrupt_of_the_waiting_is_told_and_what_is_waited_for_too() -> None:
    def interrupt() -> str:
        # Until the main thread waits.
        time.sleep(0.5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.5)
        return "written"

    listener, before = Listener(), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_here([1], same, lambda _: interrupt, listener)
    finally:
        signal.signal(signal.SIGINT, before)
    assert listener.found == {1: "written"}


def test_an_end_that_raises_here_ends_all() -> None:
    listener = Listener()
    with pytest.raises(ZeroDivisionError):
        run_here([2, 3, 4, 5], same, make_broken_end(), listener)
    assert listener.told == ["started 2", "started 3", "finished 3"]


class Impatient(Listener):
    """Stops everything when the first job has ended."""

    def finished(self, job: int, result: Any) -> None:
        super().finished(job, result)
        if job == 1:
            raise RuntimeError("enough")


def test_what_was_begun_here_is_finished_whatever_happens() -> None:
    listener = Impatient()
    with pytest.raises(RuntimeError, match="enough"):
        run_here([1, 2, 3], same, lambda number: lambda: number**2, listener)
    assert listener.found == {1: 1, 2: 4}
