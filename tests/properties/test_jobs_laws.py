"""Jobs on several processes, some of which end their process: every other job is done, and told of once."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isrcore.cli.jobs import run_jobs, start_server
from tests.deadly_work import Work, make_work


@st.composite
def groups(draw: st.DrawFn) -> list[list[Work]]:
    """Up to eight jobs in up to three groups; at most three end their processes."""
    sizes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(lambda sizes: sum(sizes) <= 8))
    total = sum(sizes)
    killers = draw(st.sets(st.integers(0, total), max_size=3))
    delays = st.sampled_from((0.0, 0.01, 0.03))
    numbers = iter(range(total))

    def work(number: int) -> Work:
        dies = draw(st.sampled_from(("beginning", "end"))) if number in killers else ""
        return Work(number, dies, draw(delays), draw(delays))

    return [[work(next(numbers)) for _ in range(size)] for size in sizes]


class Ledger:
    """What is told of each job."""

    def __init__(self) -> None:
        self.told: dict[int, list[Any]] = {}

    def started(self, job: Work) -> None:
        self.told.setdefault(job.number, []).append("started")

    def finished(self, job: Work, result: int) -> None:
        self.told[job.number].append(result)

    def died(self, job: Work, reason: str) -> None:
        self.told[job.number].append(reason)

    def dropped(self, job: Work) -> None:
        self.told[job.number].append("dropped")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(jobs=groups(), count=st.integers(1, 3))
def test_only_jobs_that_end_their_process_are_lost(jobs: list[list[Work]], count: int) -> None:
    # Once: else every process imports the package anew.
    start_server(["isrcore.cli.processing"])
    ledger = Ledger()
    run_jobs(jobs, lambda job: job, make_work, count, ledger)
    expected = {
        job.number: "its process ended with status 3" if job.dies else job.number**2
        for group in jobs
        for job in group
    }
    assert {number: told[-1] for number, told in ledger.told.items()} == expected
    # Done again once at most: then it is alone.
    for told in ledger.told.values():
        assert told[:-1] in (["started"], ["started", "dropped", "started"])
