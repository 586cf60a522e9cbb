"""Running a task on every unit of a command line: plan all, record how, process, tell how each ended."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import cast

import attrs
from rich.progress import Progress, TaskID

from isrcore.atomic import remove_unfinished
from isrcore.cli.batch import Batch, Unit, owner
from isrcore.cli.digests import Digests
from isrcore.cli.faults import CommandError
from isrcore.cli.finished import fingerprint, is_finished
from isrcore.cli.jobs import run_here, run_jobs, start_server
from isrcore.cli.outcomes import Outcome, show_outcomes, write_report
from isrcore.cli.processing import Job, Processor, Setup
from isrcore.cli.products import assign_products, is_file, report_path
from isrcore.cli.run_options import threads_of
from isrcore.cli.terminal import make_progress
from isrcore.config import Config
from isrcore.data_repository import DataRepository
from isrcore.folder_repository import FolderRepository
from isrcore.isr import IsrTask
from isrcore.origins import CAMERA
from isrcore.plan import PlanError
from isrcore.registry import Registry
from isrcore.task import Metadata, TaskError

_DONE_BEFORE = "made before from the same inputs, with the same configuration and versions"
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
    def record(self) -> FolderRepository | DataRepository | None:
        """Where config, schemas, versions and metadata go; nowhere when the output is one file."""
        if self.arguments.output is None:
            return self.batch.repository
        return None if is_file(self.output) else FolderRepository(self.output / "record")

    @property
    def output(self) -> Path:
        """Where products go: what is named, else the repository."""
        if self.arguments.output is not None:
            return Path(self.arguments.output)
        return cast(DataRepository, self.batch.repository).root

    @property
    def is_in_repository(self) -> bool:
        """Whether products go into the repository: then what is finished is not done again."""
        return self.arguments.output is None

    def run(self) -> list[Outcome]:
        """Process all units that can be; how each one ended, in the order of the files.

        Raises `CommandError` for an output that cannot be, or whose content was made otherwise; then nothing
        was done. With --doraise also PlanError, and the error of a unit that fails.
        """
        products = assign_products(self.batch.units, self.arguments, self.batch.repository)
        # Large files take a while: their digests are found while units are planned.
        with Digests(unit.path for unit in self.batch.in_order) as digests:
            self.batch.plan_all(headers_only=True)
            refused = self.batch.refused()
            if refused:
                self.arguments.messages.print(refused, soft_wrap=True)
            self.outcomes = {unit: _refused(unit) for unit in self.batch.units if unit.problems}
            for unit in self.outcomes if self.arguments.doraise else ():
                raise PlanError(unit.label, unit.problems)
            describe = self._describer(products, digests)
            if self.arguments.dry_run:
                return self._foretell(describe)
            if self.can_start:
                self._write_record()
            for unit in self.outcomes:
                self._record_end(unit, self.outcomes[unit])
            self._skip_finished(describe)
            try:
                self._process(describe)
            finally:
                self._tell()
        return self._ordered()

    def _foretell(self, describe: _Describer) -> list[Outcome]:
        """Show what would be done; the outcomes of units that are finished or cannot be processed."""
        finished = self._finished(describe)
        told = {unit: Outcome.of(unit, "to do") for unit in self.batch.units} | finished | self.outcomes
        show_outcomes([told[unit] for unit in self.batch.units])
        return [*finished.values(), *self.outcomes.values()]

    def _describer(self, products: dict[Unit, Path], digests: Digests) -> _Describer:
        """What says of a unit all that is needed to process it."""
        # Elsewhere no product is known again.
        tasks = self.batch.tasks if self.is_in_repository else {}
        texts = {name: str(task.config.to_toml()) for name, task in tasks.items()}
        return _Describer(products, digests, self.batch.registry, texts)

    def _skip_finished(self, describe: _Describer) -> None:
        """Note the units whose products are in the repository already."""
        for unit, outcome in self._finished(describe).items():
            self.outcomes[unit] = outcome
            if isinstance(self.record, DataRepository):
                # The run that made it may have been killed before it could say so.
                self.record.add_product(describe.products[unit], int(unit.name), unit.detector)
                self._forget_failure(unit, outcome)

    def _forget_failure(self, unit: Unit, outcome: Outcome) -> None:
        """Store that a finished unit is well, if its last run was refused."""
        task = self.batch.tasks[unit.camera]
        here = cast(DataRepository, self.record).at(exposure=unit.name, detector=unit.detector)
        name = task._getMetadataName() or ""
        stored = here.get(name) if here.datasetExists(name) else {}
        if stored.get(task.getFullName(), {}).get("status") != ["ok"]:
            self._record_end(unit, attrs.evolve(outcome, status="ok"))

    def _finished(self, describe: _Describer) -> dict[Unit, Outcome]:
        """The units whose products are in the repository; none if all is to be done again."""
        if not self.is_in_repository or self.arguments.force:
            return {}
        jobs = {unit: describe(unit) for unit in self.batch.units if not unit.problems}
        return {
            unit: Outcome.of(unit, "skipped", reason=_DONE_BEFORE, product=job.product)
            for unit, job in jobs.items()
            if is_finished(job.product, job.identity)
        }

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
            raise CommandError(f"cannot start with output {str(self.output)!r}", problems)

    def _record_end(self, unit: Unit, outcome: Outcome) -> None:
        """Store metadata of a unit whose process could not do it."""
        task = self.batch.tasks.get(unit.camera)
        name = task._getMetadataName() if task else None
        if self.record is None or task is None or name is None:
            return
        metadata = Metadata()
        metadata.set("status", outcome.status)
        metadata.set("reason", outcome.reason)
        here = self.record.at(exposure=unit.name, detector=unit.detector)
        here.put({task.getFullName(): metadata}, name)

    def _process(self, describe: _Describer) -> None:
        """Process the units without problems; each one's outcome is kept as soon as it is known."""
        units = [unit for unit in self.batch.in_order if unit not in self.outcomes]
        apart = self.arguments.jobs > 1 or self.arguments.timeout is not None
        with make_progress(self.arguments.messages) as progress:
            bar = progress.add_task("", total=len(units))
            teller = _Teller(progress, bar, describe.products, self, tells_all=apart)
            (self._process_apart if apart else self._process_here)(units, describe, teller)

    def _process_here(self, units: list[Unit], describe: _Describer, teller: _Teller) -> None:
        """Process units in this process; one goes to disk while the next one is begun."""
        run_here(units, describe, Processor(self._setup(), self.batch.registry).begin, teller)

    def _process_apart(self, units: list[Unit], describe: _Describer, teller: _Teller) -> None:
        """Process units in other processes; those of a detector together, for its calibrations are large."""
        groups = [list(group) for _, group in groupby(units, key=owner)]
        count, limit = min(self.arguments.jobs, len(units)), self.arguments.timeout
        options = {} if limit is None else {"limit_s": limit}
        handed_over = set[Unit]()

        def describe_job(unit: Unit) -> Job:
            is_again = unit in handed_over
            handed_over.add(unit)
            return attrs.evolve(describe(unit), is_again=is_again)

        run_jobs(groups, describe_job, self._setup().make_processor, count, teller, **options)

    def _setup(self) -> Setup:
        """What all jobs have in common."""
        arguments = self.arguments
        return Setup(
            configs=self.batch.configs,
            files=self.batch.files,
            sources=self.batch.sources,
            threads=threads_of(arguments),
            compress=arguments.compress,
            overwrite=arguments.overwrite or self.is_in_repository,
            traceback=arguments.traceback,
            task_class=self.task_class,
            record=self.record,
            keeps_results=self.keeps_results,
            camera=self.batch.registry.choice,
        )

    def _ordered(self) -> list[Outcome]:
        """The outcomes in the order of the files."""
        return [self.outcomes.get(unit) or Outcome.of(unit, "not started") for unit in self.batch.units]

    def _tell(self) -> None:
        """Show a table, and write the report."""
        # Of units that were refused all has been told.
        if self.can_start:
            show_outcomes(self._ordered(), with_parts=self.arguments.verbose > 0)
        write_report(report_path(self.output), self._ordered())


def _prepare_processes(registry: Registry) -> None:
    """Begin to start processes while units are planned.

    Raises `CommandError` when they would find other plugins than this process has.
    """
    if registry.plugins != Registry.discover().choosing(registry.choice).plugins:
        problem = "--jobs needs installed plugins, and this registry was made by hand; leave --jobs out"
        raise CommandError("cannot start", [problem])
    start_server(modules_for_jobs(registry))


def modules_for_jobs(registry: Registry) -> list[str]:
    """What is imported once, before processes are made of it: the code of jobs, and the plugins."""
    loaded = [registry.plugin(info.name) for info in registry.plugins if info.is_loaded]
    modules = [plugin.__name__ for plugin in loaded if isinstance(plugin, ModuleType)]
    return ["isrcore.cli.processing", *modules]


def _refused(unit: Unit) -> Outcome:
    """The outcome of a unit that cannot be processed."""
    return Outcome.of(unit, "failed", reason="; ".join(unit.problems))


@attrs.frozen
class _Describer:
    """Says of a unit what whoever processes it needs.

    With ``configs``, the configurations of the cameras as texts, also how its product is known again.
    """

    products: dict[Unit, Path]
    digests: Digests
    registry: Registry
    configs: Mapping[str, str]

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
            unit.name,
            self._identity(unit),
            unit.found,
        )

    def _identity(self, unit: Unit) -> str:
        """The fingerprint of a unit's product; empty when nobody asks for it."""
        if not self.configs or unit.plan is None:
            return ""
        raw, config = self.digests.of(unit.path), self.configs[unit.camera]
        file = self.registry.file_of(unit.camera)
        inputs = {**unit.inputs, **({CAMERA: file.digest} if file else {})}
        return fingerprint(raw, unit.detector, unit.plan, inputs, config, self.registry)


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

    def dropped(self, unit: Unit) -> None:
        """The process that a unit was in is gone, through no fault of the unit."""
        remove_unfinished(self.products[unit])

    def died(self, unit: Unit, reason: str) -> None:
        """The process that a unit was in is gone."""
        self.dropped(unit)
        outcome = Outcome.of(unit, "failed", reason=reason, fault=TaskError(reason))
        self.runner._record_end(unit, outcome)
        self.finished(unit, outcome)
