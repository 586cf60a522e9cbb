"""Tasks: named, configured pieces of work that form a tree.

A task knows its config, its place in the tree, the metadata of what it did (with timing) and its
logger. Method names follow the documented protocol.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import logging
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import numpy as np

from .config import Config, ConfigSection, field, section

_P = ParamSpec("_P")
_R = TypeVar("_R")
_TaskT = TypeVar("_TaskT", bound="Task")

# Log levels of the documented system over those of Python.
_THEIR_LEVELS = 1000

_USAGE = {
    "UserTime": "ru_utime",
    "SystemTime": "ru_stime",
    "MaxResidentSetSize": "ru_maxrss",
    "MinorPageFaults": "ru_minflt",
    "MajorPageFaults": "ru_majflt",
    "BlockInputs": "ru_inblock",
    "BlockOutputs": "ru_oublock",
    "VoluntaryContextSwitches": "ru_nvcsw",
    "InvoluntaryContextSwitches": "ru_nivcsw",
}


class TaskError(RuntimeError):
    """A failure whose message is enough: reported without a traceback."""


class ResourceConfig(Config):
    """What a task needs to run; a config holds one as ``resources``."""

    minMemoryMB: int | None = field(None, "Memory needed per core, in MB; None when unknown.", minimum=0)
    minNumCores: int = field(1, "Cores needed.", minimum=1)


class Struct:
    """Named results: ``Struct(exposure=exposure).exposure``.

    A field is given once; giving it again, or a name like ``__len__``, is a `RuntimeError`.
    """

    def __init__(self, **fields: Any) -> None:
        """Keep the fields, in the order given."""
        for name, value in fields.items():
            self._add(name, value)

    def _add(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            raise RuntimeError(f"struct field {name!r} starts with two underscores; choose another name")
        if name in self.__dict__:
            raise RuntimeError(f"struct field {name!r} is already there; fields are given once")
        self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:
        """Only reached for names that are no field."""
        raise AttributeError(f"struct has no field {name!r}; it has {', '.join(map(repr, self.__dict__))}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse: fields are given at construction or merged."""
        raise RuntimeError(f"struct field {name!r} cannot be set: give it when making the struct")

    def __delattr__(self, name: str) -> None:
        """Refuse: fields stay."""
        raise RuntimeError(f"struct field {name!r} cannot be deleted")

    def getDict(self) -> dict[str, Any]:
        """The fields as a dictionary of their own."""
        return dict(self.__dict__)

    def mergeItems(self, struct: Struct, *names: str) -> None:
        """Add the named fields of another struct; all or, after an error, none."""
        found = {name: getattr(struct, name) for name in names}
        for name in sorted(found.keys() & self.__dict__.keys()):
            raise RuntimeError(f"struct field {name!r} is already there; fields are given once")
        self.__dict__.update(found)

    def copy(self) -> Struct:
        """A struct of its own with the same values, which are not copied."""
        return type(self)(**self.__dict__)

    def __eq__(self, other: object) -> bool:
        """Whether the fields are the same; arrays by type, shape and pixel, NaN equal to NaN."""
        if not isinstance(other, Struct):
            return NotImplemented
        return _is_same(self.__dict__, other.__dict__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """The fields and their values."""
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({fields})"


def _is_same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return _is_same_array(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(map(_is_same, a, b))
    return bool(a == b)


def _is_same_array(a: Any, b: Any) -> bool:
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)) or a.dtype != b.dtype:
        return False
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


class Metadata:
    """An ordered list of keys, each with one value or several.

    ``metadata[key]`` is the last value of a key, as is ``scalar(key)``.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._values: dict[str, list[Any]] = {}

    def set(self, key: str, value: Any) -> None:
        """Make ``value`` the only one of the key."""
        self._values[key] = [value]

    def add(self, key: str, value: Any) -> None:
        """Append ``value`` to those of the key."""
        self._values.setdefault(key, []).append(value)

    def values(self, key: str) -> list[Any]:
        """All values of the key, in the order added; `KeyError` when there is none."""
        if key not in self._values:
            raise KeyError(f"no metadata item {key!r}")
        return list(self._values[key])

    def scalar(self, key: str) -> Any:
        """The last value of the key; `KeyError` when there is none."""
        return self.values(key)[-1]

    def keys(self) -> list[str]:
        """The keys, in the order of their first value."""
        return list(self._values)

    def __getitem__(self, key: str) -> Any:
        """The last value of the key."""
        return self.scalar(key)

    def __contains__(self, key: object) -> bool:
        """Whether the key has a value."""
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        """The keys, in order."""
        return iter(self._values)

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Whether keys, their order and all values are the same."""
        if not isinstance(other, Metadata):
            return NotImplemented
        return list(self._values.items()) == list(other._values.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Keys and values."""
        return f"Metadata({self._values!r})"


class Task:
    """A named piece of work with a config, metadata, a logger and subtasks.

    Without a parent the name is ``name`` or the class's ``_DefaultName``, and the config ``config`` or the
    defaults. With a parent the name is required and the config is ``config`` or the parent's section of
    that name. Raises `RuntimeError` without a name, `KeyError` without that section.
    """

    ConfigClass: ClassVar[type[Config]] = Config
    _DefaultName: ClassVar[str | None] = None
    canMultiprocess: ClassVar[bool] = True

    config: Any
    log: logging.Logger
    _full_name: str

    def __init__(
        self,
        config: Config | ConfigSection | None = None,
        name: str | None = None,
        parentTask: Task | None = None,
        log: logging.Logger | None = None,
        **keywords: Any,
    ) -> None:
        """Find name, config and logger, and enter the tree."""
        super().__init__(**keywords)
        self._parent, self._name = parentTask, self._choose_name(name, parentTask)
        self._full_name = f"{parentTask._full_name}.{self._name}" if parentTask else self._name
        self.config = self._choose_config(config)
        self.metadata = Metadata()
        self.log = log or logging.getLogger(
            f"{parentTask.log.name if parentTask else 'isrcore'}.{self._name}"
        )
        self._tasks: dict[str, Task] = parentTask._tasks if parentTask else {}
        self._tasks[self._full_name] = self

    def _choose_name(self, name: str | None, parent: Task | None) -> str:
        if parent is not None and not name:
            raise RuntimeError(f"a subtask of {parent._full_name!r} needs a name: pass name=...")
        chosen = name or self._DefaultName
        if not chosen:
            raise RuntimeError(f"task class {type(self).__name__!r} has no '_DefaultName': pass name=...")
        return chosen

    def _choose_config(self, config: Config | ConfigSection | None) -> Config:
        if config is None and self._parent is not None:
            config = self._parent._config_section(self._name)
        if config is None:
            return self.ConfigClass()
        return config.value if isinstance(config, ConfigSection) else config

    def _config_section(self, name: str) -> Config | ConfigSection:
        """The part of the config for a subtask; `KeyError` names this task and the sections it has."""
        sections = {
            key: part for key, part in vars(self.config).items() if isinstance(part, Config | ConfigSection)
        }
        if name not in sections:
            known = ", ".join(map(repr, sections)) or "none"
            raise KeyError(f"config of task {self._full_name!r} has no section {name!r}; it has {known}")
        return sections[name]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle config, name and parent; metadata and other state are not kept."""
        return _rebuild, (type(self), self.config, self._name, self._parent)

    def getName(self) -> str:
        """Return the name within the parent: "fringe"."""
        return self._name

    def getFullName(self) -> str:
        """Return the name within the tree, those of all parents first: "isr.fringe"."""
        return self._full_name

    def getTaskDict(self) -> dict[str, Task]:
        """Return all tasks of the tree by full name, in a dictionary of the caller's own.

        It is the same from any task of the tree; of two tasks with one name the later one is in it.
        """
        return dict(self._tasks)

    def makeSubtask(self, name: str, **keyArgs: Any) -> None:
        """Make the task that the config's section ``name`` is for, and keep it as attribute ``name``.

        ``keyArgs`` are more arguments of the task's class. Raises `KeyError` without such a section,
        `TypeError` when ``keyArgs`` hold config, name or parentTask.
        """
        part = self._config_section(name)
        if not isinstance(part, ConfigSection):
            raise KeyError(
                f"{name!r} in the config of task {self._full_name!r} has no target to make a task of"
            )
        setattr(self, name, part.target(config=part.value, name=name, parentTask=self, **keyArgs))

    @classmethod
    def makeField(cls, doc: str) -> Any:
        """Declare a config section for this task: ``fringe: ConfigSection = Fringe.makeField("...")``.

        Returned is the declaration, to be used in the body of a `Config` class. The section starts with the
        defaults of this task's ``ConfigClass``, can be retargeted, and ``doc`` says what it is for.
        """
        return section(cls, doc)

    def emptyMetadata(self) -> None:
        """Give every task of the tree new, empty metadata, whichever of its tasks is asked."""
        for task in self._tasks.values():
            task.metadata = Metadata()

    def getFullMetadata(self) -> dict[str, Metadata]:
        """Return the metadata of every task of the tree; keys are full names written ``isr:fringe``.

        Values are `Metadata`, not copied: an ordered list of keys, each with one value or several, among them
        the items of `timer`.
        """
        return {name.replace(".", ":"): task.metadata for name, task in self._tasks.items()}

    def getSchemaCatalogs(self) -> dict[str, Any]:
        """Return empty catalogs that show the schemas this task writes, by dataset; none here.

        Catalogs are `astropy.table.Table` without rows; they depend on the config alone, not on data.
        """
        return {}

    def getAllSchemaCatalogs(self) -> dict[str, Any]:
        """Return the schema catalogs of every task of the tree; a later task wins an equal key."""
        found: dict[str, Any] = {}
        for task in self._tasks.values():
            found.update(task.getSchemaCatalogs())
        return found

    def getResourceConfig(self) -> Any:
        """Return the config's ``resources``, a `ResourceConfig` (memory in MB, cores), or None."""
        return getattr(self.config, "resources", None)

    @classmethod
    def applyOverrides(cls, config: Any) -> None:
        """Change config values after the camera's overrides and before the user's; nothing here.

        `parseAndRun` calls it, nobody else does. Every value it sets is remembered as set by this class.
        """

    @contextlib.contextmanager
    def timer(self, name: str, logLevel: int = 10000) -> Iterator[None]:
        """Add time and resources at start and end of a block to the metadata, and log them.

        Returned is a context manager: ``with task.timer("read"): ...``. The end is also recorded after an
        exception, and values are added to those of former times.
        ``logLevel`` is a level of `logging`, or one of the documented system's, which are a thousand times
        as large: the default is DEBUG.

        Items are ``<name>Start<Item>`` and ``<name>End<Item>``: Utc (ISO 8601), CpuTime, UserTime and
        SystemTime in s, MaxResidentSetSize in the platform's unit, and counts. Children are not included.
        """
        level = logLevel // _THEIR_LEVELS if logLevel >= _THEIR_LEVELS else logLevel
        self._record_usage(f"{name}Start", level)
        try:
            yield
        finally:
            self._record_usage(f"{name}End", level)

    def _record_usage(self, prefix: str, level: int) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        items = {"CpuTime": time.process_time()}
        items |= {item: getattr(usage, attribute) for item, attribute in _USAGE.items()}
        self.metadata.add(f"{prefix}Utc", datetime.datetime.now(datetime.UTC).isoformat())
        for item, value in items.items():
            self.metadata.add(prefix + item, value)
        self.log.log(level, "; ".join(f"{prefix}{item}={value}" for item, value in items.items()))


def timeMethod(method: Callable[Concatenate[_TaskT, _P], _R]) -> Callable[Concatenate[_TaskT, _P], _R]:
    """Time every call of a task's method, as `Task.timer` does under the method's name."""

    @functools.wraps(method)
    def timed(self: _TaskT, /, *args: _P.args, **keywords: _P.kwargs) -> _R:
        with self.timer(method.__name__):
            return method(self, *args, **keywords)

    return timed


def _rebuild(task_class: type[Task], config: Config, name: str, parent: Task | None) -> Task:
    return task_class(config=config, name=name, parentTask=parent)
