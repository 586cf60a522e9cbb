"""Running a task on every unit of a command line: plan all, record how, process, tell how each ended."""

from __future__ import annotations

import argparse
import logging
from itertools import groupby
from pathlib import Path

import attrs
from rich.progress import Progress, TaskID

from isrcore.cli.batch import Batch, Unit, owner
from isrcore.cli.digests import Digests
from isrcore.cli.faults import CommandError
from isrcore.cli.jobs import run_jobs, start_server
from isrcore.cli.outcomes import Outcome, show_outcomes, write_report
from isrcore.cli.processing import Job, Processor, Setup
from isrcore.cli.products import assign_products, is_file, remove_unfinished, report_path
from isrcore.cli.terminal import make_progress
from isrcore.config import Config
from isrcore.folder_repository import FolderRepository
from isrcore.isr import IsrTask
from isrcore.paths import stem
from isrcore.plan import PlanError
from isrcore.registry import Registry
from isrcore.task import Metadata, TaskError

_log = logging.getLogger(__name__)


class TaskRunner:
    """Runs ``task_class`` on what a parsed command line asks for, from ``base`` if a config is given.

    Every unit gets a fresh start: metadata of one do not mix with those of another. With ``keeps_results``
    outcomes carry what the task returned for each unit.
    """

    def __init__(
        self,
        task_class: type[IsrTask],
        arguments: argparse.Namespace,
        base: Config | None = None,
        keeps_results: bool = False,
    ) -> None:
        self.task_class, self.arguments, self.keeps_results = task_class, arguments, keeps_results
        if arguments.jobs > 1 or arguments.timeout is not None:
            _prepare_processes(arguments.registry)
        self.batch = Batch(arguments, task_class, base)
        for selection in self.batch.unmatched():
            _log.warning("--id %s fits nothing that is there", selection)
        self.outcomes: dict[Unit, Outcome] = {}

    @property
    def record(self) -> FolderRepository | None:
        """Where config, schemas, versions and metadata go; nowhere when the output is one file."""
        output: Path = self.arguments.output
        return None if is_file(output) else FolderRepository(output / "record")

    def run(self) -> list[Outcome]:
        """Process all units that can be; how each one ended, in the order of the files.

        Raises `CommandError` for an output that cannot be, or whose content was made otherwise; then nothing
        was done. With --doraise also PlanError, and the error of a unit that fails.
        """
        products = assign_products(self.batch.units, self.arguments)
        # Large files take a while: their digests are found while units are planned.
        with Digests(unit.path for unit in self.batch.in_order) as digests:
            self.batch.plan_all(headers_only=True)
            refused = self.batch.refused()
            if refused:
                self.arguments.messages.print(refused, soft_wrap=True)
            self.outcomes = {unit: _refused(unit) for unit in self.batch.units if unit.problems}
            for unit in self.outcomes if self.arguments.doraise else ():
                raise PlanError(unit.label, unit.problems)
            if self.can_start:
                self._write_record()
            for unit in self.outcomes:
                self._record_end(unit, self.outcomes[unit])
            try:
                self._process(_Describer(products, digests))
            finally:
                self._tell()
        return self._ordered()

    @property
    def can_start(self) -> bool:
        """Whether any unit could be planned."""
        return any(not unit.problems for unit in self.batch.units)

    def _write_record(self) -> None:
        """Store config, schemas and versions, or check those that are stored."""
        options = self.arguments
        if self.record is None:
            return
        problems = []
        for camera, task in self.batch.tasks.items():
            here = self.record.at(camera=camera) if camera else self.record
            try:
                task.writeConfig(here, options.clobber_config, not options.no_backup_config)
                task.writeSchemas(here, options.clobber_config, not options.no_backup_config)
                if not options.no_versions:
                    task.writePackageVersions(here, options.clobber_versions)
            except TaskError as fault:
                problems.append(str(fault))
            except OSError as fault:
                problems.append(f"the record of the run cannot be written: {fault.strerror}; free space")
        if problems:
            raise CommandError(f"cannot start with output {str(options.output)!r}", problems)

    def _record_end(self, unit: Unit, outcome: Outcome) -> None:
        """Store metadata of a unit whose process could not do it."""
        task = self.batch.tasks.get(unit.camera)
        name = task._getMetadataName() if task else None
        if self.record is None or task is None or name is None:
            return
        metadata = Metadata()
        metadata.set("status", outcome.status)
        metadata.set("reason", outcome.reason)
        here = self.record.at(exposure=stem(unit.path), detector=unit.detector)
        content = {task.getFullName(): metadata}
        remove_unfinished(here.path_of(name, content))
        here.put(content, name)

    def _process(self, describe: _Describer) -> None:
        """Process the units without problems; each one's outcome is kept as soon as it is known."""
        units = [unit for unit in self.batch.in_order if not unit.problems]
        apart = self.arguments.jobs > 1 or self.arguments.timeout is not None
        with make_progress(self.arguments.messages) as progress:
            bar = progress.add_task("", total=len(units))
            teller = _Teller(progress, bar, describe.products, self, tells_all=apart)
            (self._process_apart if apart else self._process_here)(units, describe, teller)

    def _process_here(self, units: list[Unit], describe: _Describer, teller: _Teller) -> None:
        """Process units in this process, one after the other."""
        process = Processor(self._setup(), self.batch.registry)
        for unit in units:
            teller.started(unit)
            teller.finished(unit, process(describe(unit)))

    def _process_apart(self, units: list[Unit], describe: _Describer, teller: _Teller) -> None:
        """Process units in other processes; those of a detector together, for its calibrations are large."""
        groups = [list(group) for _, group in groupby(units, key=owner)]
        count, limit = min(self.arguments.jobs, len(units)), self.arguments.timeout
        options = {} if limit is None else {"limit_s": limit}
        run_jobs(groups, describe, self._setup().make_processor, count, teller, **options)

    def _setup(self) -> Setup:
        """What all jobs have in common."""
        arguments = self.arguments
        return Setup(
            configs=self.batch.configs,
            files=self.batch.files,
            sources=self.batch.sources,
            threads=arguments.threads,
            compress=arguments.compress,
            overwrite=arguments.overwrite,
            traceback=arguments.traceback,
            task_class=self.task_class,
            record=self.record,
            keeps_results=self.keeps_results,
        )

    def _ordered(self) -> list[Outcome]:
        """The outcomes in the order of the files."""
        return [self.outcomes.get(unit) or Outcome.of(unit, "not started") for unit in self.batch.units]

    def _tell(self) -> None:
        """Show a table, and write the report."""
        # Of units that were refused all has been told.
        if self.can_start:
            show_outcomes(self._ordered(), with_parts=self.arguments.verbose > 0)
        write_report(report_path(self.arguments.output), self._ordered())


def _prepare_processes(registry: Registry) -> None:
    """Begin to start processes while units are planned.

    Raises `CommandError` when they would find other plugins than this process has.
    """
    if registry.plugins != Registry.discover().plugins:
        problem = "--jobs needs installed plugins, and this registry was made by hand; leave --jobs out"
        raise CommandError("cannot start", [problem])
    start_server(["isrcore.cli.processing"])


def _refused(unit: Unit) -> Outcome:
    """The outcome of a unit that cannot be processed."""
    return Outcome.of(unit, "failed", reason="; ".join(unit.problems))


@attrs.frozen
class _Describer:
    """Says of a unit what whoever processes it needs."""

    products: dict[Unit, Path]
    digests: Digests

    def __call__(self, unit: Unit) -> Job:
        """The unit as a job; waits for the digest of its file."""
        steps = unit.plan.steps if unit.plan else ()
        kinds = frozenset[str]().union(*(planned.spec.kinds for planned in steps))
        return Job(
            unit.label,
            unit.path,
            unit.detector,
            unit.camera,
            self.products[unit],
            tuple(sorted(kinds)),
            self.digests.of(unit.path),
        )


@attrs.frozen
class _Teller:
    """Keeps outcomes and tells of them; of those that went well only when ``tells_all``."""

    progress: Progress
    bar: TaskID
    products: dict[Unit, Path]
    runner: TaskRunner
    tells_all: bool

    def started(self, unit: Unit) -> None:
        """Show what is being done."""
        self.progress.update(self.bar, description=unit.label)

    def finished(self, unit: Unit, outcome: Outcome) -> None:
        """A unit ended, well or not."""
        self.runner.outcomes[unit] = outcome
        if outcome.status == "failed":
            self.progress.console.print(f"{unit.label} failed: {outcome.reason}", soft_wrap=True)
        elif self.tells_all:
            self.progress.console.print(f"{unit.label} ok", soft_wrap=True)
        self.progress.advance(self.bar)
        if outcome.fault is not None and self.runner.arguments.doraise:
            raise outcome.fault

    def died(self, unit: Unit, reason: str) -> None:
        """The process that a unit was in is gone."""
        remove_unfinished(self.products[unit])
        outcome = Outcome.of(unit, "failed", reason=reason, fault=TaskError(reason))
        self.runner._record_end(unit, outcome)
        self.finished(unit, outcome)
