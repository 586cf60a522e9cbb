"""Jobs in this process or on several: the death of one process costs the job it was doing, and no other.

`concurrent.futures` would end all processes when one dies; here each has a pipe of its own, gets one job at a
time, and is replaced when it dies. A job has two parts: it is begun, and it is finished in a thread, which
had better only wait, while the next one is begun. Of a process that dies while it has two jobs nobody knows
which it died of; both are done again, each alone. Processes are made by a fork server where there is one,
because forking a program that has threads may leave locks held for ever; what jobs need is imported there.
"""

from __future__ import annotations

import gc
import logging
import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from types import FrameType
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast

import attrs

_log = logging.getLogger(__name__)

J = TypeVar("J")
D = TypeVar("D")
R = TypeVar("R")
J_contra = TypeVar("J_contra", contravariant=True)
R_contra = TypeVar("R_contra", contravariant=True)

# Several processes share the cores already; numerical libraries would start a thread for each core in each.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)

# Seconds that a process gets to put away what it was doing, and in it the thread that finishes a job.
_PATIENCE_S = 10.0
_FINISHING_S = 3.0


class Listener(Protocol[J_contra, R_contra]):
    """Who is told how jobs go, in the calling process."""

    def started(self, job: J_contra) -> None:
        """A job was handed over; twice, if it was dropped and is done again."""

    def finished(self, job: J_contra, result: R_contra) -> None:
        """A job returned."""

    def died(self, job: J_contra, reason: str) -> None:
        """The process doing the job is gone."""

    def dropped(self, job: J_contra) -> None:
        """The process doing the job is gone too, but it is not the job's fault, or all is being stopped."""


@attrs.frozen
class _Begun:
    """Of the job only its end is left, and the next one can be begun."""


@attrs.frozen
class _Done:
    """A job's result, from a process."""

    result: Any


@attrs.frozen
class _Interrupted:
    """A process was asked to stop from within, as by Ctrl-C."""


class Agenda(Generic[J]):
    """What is left to do: groups of jobs that had better be done by one process, one after the other.

    A process that asks goes on with its own group, then takes one that nobody has; when there is none left
    it takes over the second half of the longest.
    """

    def __init__(self, groups: Iterable[Sequence[J]]) -> None:
        self._free = deque(deque(group) for group in groups if group)
        self._taken: dict[int, deque[J]] = {}

    def next_for(self, process: int) -> J | None:
        """The next job of a process, None when nothing is left."""
        mine = self._taken.get(process) or self._new_group()
        self._taken[process] = mine
        return mine.popleft() if mine else None

    def _new_group(self) -> deque[J]:
        """A group that nobody has, or part of another's."""
        if self._free:
            return self._free.popleft()
        longest = max(self._taken.values(), key=len, default=deque[J]())
        kept = len(longest) // 2
        stolen = deque(list(longest)[kept:])
        while len(longest) > kept:
            longest.pop()
        return stolen


@attrs.frozen(eq=False)
class _Given(Generic[J]):
    """A job that a process has, and since when; ``is_alone`` if it must not have another."""

    job: J
    is_alone: bool
    since: float = attrs.field(factory=time.monotonic)


@attrs.define(eq=False)
class _Process(Generic[J]):
    """A process, this end of its pipe, the job it has begun, and the one it is about to finish."""

    handle: Any
    pipe: Connection
    begun: _Given[J] | None = None
    ending: _Given[J] | None = None

    @classmethod
    def start(cls, context: Any, number: int, make_work: bytes) -> _Process[J]:
        """Start a process that waits for jobs."""
        ours, theirs = context.Pipe()
        level = logging.getLogger("isrcore").level
        handle = context.Process(
            target=_serve, args=(theirs, make_work, level), name=f"isr-{number}", daemon=True
        )
        with _single_threaded():
            handle.start()
        theirs.close()
        return cls(handle, ours)

    @property
    def given(self) -> list[_Given[J]]:
        """What it has, the older one first."""
        return [given for given in (self.ending, self.begun) if given is not None]

    def give(self, job: J, description: Any, is_alone: bool) -> None:
        """Hand over a job."""
        self.begun = _Given(job, is_alone)
        # The process may have died between two jobs: that shows at the next reading.
        with suppress(OSError):
            self.pipe.send(description)

    def messages(self) -> Iterator[Any]:
        """What the process has said; raises EOFError after the last words of a dead one."""
        while self.pipe.poll():
            try:
                yield self.pipe.recv()
            except OSError as fault:
                raise EOFError from fault

    def fate(self) -> str:
        """How it ended."""
        self.handle.join(_PATIENCE_S)
        code = self.handle.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; memory may be short, try fewer --jobs" if name == "SIGKILL" else ""
            return f"its process was killed by signal {name}{hint}"
        return f"its process ended with status {code}"

    def stop(self) -> None:
        """Have it put away what it is doing, and end."""
        self.handle.terminate()
        self.handle.join(_PATIENCE_S)
        self.handle.kill()


def run_jobs(
    groups: Iterable[Sequence[J]],
    describe: Callable[[J], D],
    make_work: Callable[[], Callable[[D], Callable[[], R]]],
    count: int,
    listener: Listener[J, R],
    limit_s: float = math.inf,
) -> None:
    """Do jobs on ``count`` processes; those of a group one after the other in one process, if possible.

    ``make_work`` is called once in every process, and what it returns for every job, with what ``describe``
    says of the job; that gives a function, called in a thread, which returns the result. Whatever either
    raises ends the process. All three are pickled, and so are results. A job that takes longer than
    ``limit_s`` is ended with its process. Log records of isrcore appear in the calling process. When the
    calling process is interrupted, or the beginning of a job raises KeyboardInterrupt, all processes stop,
    the listener hears what had ended and what was dropped, and KeyboardInterrupt is raised.
    """
    crew = _Crew(Agenda(groups), describe, pickle.dumps(make_work), listener, limit_s)
    try:
        crew.work(count)
    finally:
        crew.stop()


def run_here(
    jobs: Iterable[J],
    describe: Callable[[J], D],
    begin: Callable[[D], Callable[[], R]],
    listener: Listener[J, R],
) -> None:
    """Do jobs in this process, one after the other; each is finished in a thread while the next one is begun.

    What either raises is raised here, once every job that was begun is finished, and told.
    """
    ending = deque[tuple[J, Future[R]]]()
    with ThreadPoolExecutor(1) as thread:
        try:
            for job in jobs:
                listener.started(job)
                ending.append((job, thread.submit(begin(describe(job)))))
                _hear_ends(ending, listener, left=1)
        finally:
            _hear_ends(ending, listener)


def _hear_ends(ending: deque[tuple[J, Future[R]]], listener: Listener[J, R], left: int = 0) -> None:
    """Wait for the jobs that are being finished, but for the last ones that are ``left``."""
    while len(ending) > left:
        job, result = ending.popleft()
        try:
            result.exception()
        finally:
            # Interrupted or not: it will have ended, and that is told.
            listener.finished(job, result.result())


class _Crew(Generic[J, D, R]):
    """The processes of one call of `run_jobs`."""

    def __init__(
        self,
        agenda: Agenda[J],
        describe: Callable[[J], D],
        make_work: bytes,
        listener: Listener[J, R],
        limit_s: float = math.inf,
    ) -> None:
        self.limit_s = limit_s
        # Jobs to be done again.
        self.suspects = deque[J]()
        self.agenda, self.describe, self.make_work, self.listener = agenda, describe, make_work, listener
        self.context = start_server()
        self.processes: dict[int, _Process[J]] = {}

    def work(self, count: int) -> None:
        """Keep the processes busy until nothing is left to do."""
        for number in range(count):
            self._employ(number)
        while self.processes:
            waiting = {process.pipe: number for number, process in self.processes.items()}
            for pipe in wait(list(waiting), self._patience()):
                number = waiting[pipe]  # type: ignore[index]
                self._listen(number, self.processes[number])
            self._end_overdue()

    def _patience(self) -> float | None:
        """Seconds until the first job has taken too long; None when there is no limit."""
        oldest = min(
            (given.since for process in self.processes.values() for given in process.given), default=math.inf
        )
        left = self.limit_s - time.monotonic() + oldest
        return max(left, 0.0) if math.isfinite(left) else None

    def _end_overdue(self) -> None:
        """End the jobs that have taken too long, and go on with others."""
        now, reason = time.monotonic(), f"it took longer than {self.limit_s:g} s; allow more time"
        for number, process in list(self.processes.items()):
            late = [given for given in process.given if now - given.since > self.limit_s]
            if late:
                self._stop(process)
                self._bury(number, process, [given for given in late if given in process.given], reason)
                self._employ(number)

    def stop(self) -> None:
        """End the processes that are left; what they finished before is told."""
        for process in self.processes.values():
            process.handle.terminate()
        for process in self.processes.values():
            self._stop(process)
            for given in process.given:
                self.listener.dropped(given.job)

    def _stop(self, process: _Process[J]) -> None:
        """End a process; what it finished before is told."""
        process.stop()
        with suppress(EOFError):
            for message in process.messages():
                self._hear(process, message)

    def _employ(self, number: int) -> None:
        """Give a process its next job; let it go when there is none, once it has nothing to finish."""
        process = self.processes.get(number)
        ending = process.ending if process else None
        is_alone = bool(self.suspects)
        if ending and (is_alone or ending.is_alone):
            return
        job = self.suspects.popleft() if is_alone else self.agenda.next_for(number)
        if job is not None:
            process = process or _Process.start(self.context, number, self.make_work)
            self.processes[number] = process
            process.give(job, self.describe(job), is_alone)
            self.listener.started(job)
        elif process and not ending:
            self.processes.pop(number).pipe.close()

    def _listen(self, number: int, process: _Process[J]) -> None:
        """Hear what a process says, and give it more to do when it is done."""
        try:
            for message in process.messages():
                if isinstance(message, _Interrupted):
                    raise KeyboardInterrupt
                self._hear(process, message)
        except EOFError:
            given = process.given
            self._bury(number, process, given if len(given) == 1 else [])
        if process.begun is None:
            self._employ(number)

    def _hear(self, process: _Process[J], message: Any) -> None:
        """Take a log record or a result."""
        if isinstance(message, logging.LogRecord):
            logging.getLogger(message.name).handle(message)
        elif isinstance(message, _Begun):
            process.ending, process.begun = process.begun, None
        elif isinstance(message, _Done) and process.ending is not None:
            ended, process.ending = process.ending, None
            self.listener.finished(ended.job, message.result)

    def _bury(self, number: int, process: _Process[J], lost: list[_Given[J]], reason: str = "") -> None:
        """Tell of the jobs that are lost with a process; what else it had is done again."""
        del self.processes[number]
        process.pipe.close()
        had, process.begun, process.ending = process.given, None, None
        for given in had:
            if given in lost:
                self.listener.died(given.job, reason or process.fate())
            else:
                self.suspects.append(given.job)
                self.listener.dropped(given.job)


def start_server(modules: Sequence[str] = ()) -> BaseContext:
    """How processes are made; has ``modules`` imported in the background, so that they start at once later.

    Calling it early is not needed, but saves time.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    if modules:
        context.set_forkserver_preload(list(modules))
    with _single_threaded():
        forkserver.ensure_running()
    return context


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started here get one thread in numerical libraries, which read this when they are loaded."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Sender(QueueHandler):
    """Sends log records through a pipe."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(cast(Any, pipe))
        self.pipe = pipe

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record that was made fit for pickling."""
        self.pipe.send(record)


def _serve(pipe: Connection, make_work: bytes, level: int) -> None:
    """What a process does: jobs, one after the other, until its pipe is closed."""
    # Ctrl-C reaches all processes of a terminal; the first one decides, and asks the others to terminate.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    logger = logging.getLogger("isrcore")
    handler = _Sender(pipe)
    logger.addHandler(handler)
    logger.setLevel(level)
    worker = _Worker(handler)
    try:
        work = pickle.loads(make_work)()
        # What is there now stays: looking through it for garbage again and again takes time.
        gc.freeze()
        worker.serve(work)
    except (EOFError, BrokenPipeError):
        worker.end()
    except KeyboardInterrupt:
        worker.end()
        with suppress(OSError):
            worker.tell(_Interrupted())


class _Worker:
    """Does the jobs of one process."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._ending: threading.Thread | None = None

    def serve(self, work: Callable[[Any], Callable[[], Any]]) -> None:
        """Begin jobs until the pipe is closed; each is finished in a thread while the next one is begun."""
        while True:
            finish = work(self._sender.pipe.recv())
            if self._ending is not None:
                self._ending.join()
            # A process that is told to stop does not wait for the disk for ever.
            self._ending = threading.Thread(target=self._finish, args=(finish,), daemon=True)
            self.tell(_Begun())
            self._ending.start()

    def _finish(self, finish: Callable[[], Any]) -> None:
        """Finish a job and send its result; ends the process when that raises, as a beginning would."""
        try:
            result = finish()
            # Nobody listens when the calling process is gone.
            with suppress(BrokenPipeError):
                self.tell(_Done(result))
        except BaseException as fault:
            _log.error("a job could not be finished", exc_info=fault)
            os._exit(1)

    def end(self) -> None:
        """Wait a little for the job that is being finished."""
        if self._ending is not None and self._ending.is_alive():
            self._ending.join(_FINISHING_S)

    def tell(self, message: Any) -> None:
        """Send a message; a thread of a job may be sending or logging too."""
        with self._sender.lock or multiprocessing.RLock():
            self._sender.pipe.send(message)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    """Stop as Ctrl-C does, so that unfinished files are removed on the way out; once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
