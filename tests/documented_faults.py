"""One deliberate fault for every documented method, and whether the method's test notices it.

``python -m tests.documented_faults`` makes the faults one after the other, each in a copy of the sources, and
brings the page docs/reference/documented-task-faults.md up to date.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import attrs

from isrcore_cfht import CfhtIsrTask

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "documented-task-faults.md"

#: Where the tests of the documented methods are; ``test_run`` is about run.
TESTS = ("test_documented_pixels.py", "test_documented_tasks.py", "test_documented_data.py")

_ROOTS = ("isrcore", "plugins", "cameras", "tests")


@attrs.frozen
class Fault:
    """In the body of ``method``, ``old`` becomes ``new``."""

    method: str
    old: str
    new: str

    @property
    def function(self) -> str:
        """Where the method is defined: ``isrcore.task.Task.getName``."""
        found = inspect.unwrap(getattr(CfhtIsrTask, self.method))
        return f"{found.__module__}.{found.__qualname__}"

    @property
    def path(self) -> Path:
        """The file of the method, from the root of the sources."""
        return Path(inspect.getfile(inspect.unwrap(getattr(CfhtIsrTask, self.method)))).relative_to(ROOT)

    def source(self) -> str:
        """The method as it is written."""
        return "".join(self._lines()[0])

    def _lines(self) -> tuple[list[str], int]:
        return inspect.getsourcelines(inspect.unwrap(getattr(CfhtIsrTask, self.method)))

    def mutated(self) -> str:
        """The file of the method with the fault in it."""
        lines, first = self._lines()
        everything = (ROOT / self.path).read_text().splitlines(keepends=True)
        assert everything[first - 1 : first - 1 + len(lines)] == lines
        wrong = self.source().replace(self.old, self.new)
        return "".join([*everything[: first - 1], wrong, *everything[first - 1 + len(lines) :]])


FAULTS = (
    Fault(
        "applyOverrides",
        'by this class.\n        """\n',
        'by this class.\n        """\n        config.doDark = True\n',
    ),
    Fault("convertIntToFloat", "exposure.share()", "exposure"),
    Fault("darkCorrection", "self._undo if invert else self._apply_one", "self._apply_one"),
    Fault("debugView", "exposure, stepname)\n", 'exposure, "bias")\n'),
    Fault(
        "doLinearize",
        'any(amp.linearity_type != "None" for amp in detector.amplifiers)',
        'detector.amplifiers[0].linearity_type != "None"',
    ),
    Fault("emptyMetadata", "self._tasks.values()", "[self]"),
    Fault("ensureExposure", "inputExp.camera or camera.name", "inputExp.camera"),
    Fault("flatContext", 'getattr(self.config, "doDark", False) and dark is not None', "dark is not None"),
    Fault("flatCorrection", "self._undo if invert else self._apply_one", "self._apply_one"),
    Fault(
        "getAllSchemaCatalogs",
        "found.update(task.getSchemaCatalogs())",
        "found = {**task.getSchemaCatalogs(), **found}",
    ),
    Fault("getFullMetadata", 'name.replace(".", ":")', "name"),
    Fault("getFullName", "self._full_name", "self._name"),
    Fault("getIsrExposure", "immediate=immediate, **fallback", "**fallback"),
    Fault("getName", "self._name", "self._full_name"),
    Fault("getResourceConfig", '"resources"', '"resource"'),
    Fault("getSchemaCatalogs", "return {}", 'return {"isr": None}'),
    Fault("getTaskDict", "dict(self._tasks)", "self._tasks"),
    Fault("makeField", "section(cls, doc)", 'section(cls, "")'),
    Fault("makeSubtask", "parentTask=self, **keyArgs", "parentTask=self"),
    Fault("maskAmplifier", '["saturation"] * self.config.doSaturation', '["saturation"]'),
    Fault("maskAndInterpolateDefects", "self.config.edges.numPixels", "0"),
    Fault("maskAndInterpolateNan", ", nan=True", ""),
    Fault("maskDefect", "defects=defectBaseList", "defects=defectBaseList[:1]"),
    Fault("maskEdges", "= numEdgePixels, maskPlane\n", "= numEdgePixels, config.plane\n"),
    Fault("maskNan", "if count:", "if count is not None:"),
    Fault("measureBackground", 'config.set(f"qa.{name}", IsrQaConfig.get(name))', "config.names()"),
    Fault("overscanCorrection", ".get(amp.name)", '.get("B")'),
    Fault("parseAndRun", "args, config, log, doReturnResults)", "args, None, log, doReturnResults)"),
    Fault("readIsrData", "if kind in needs else []", "if kind in accepts else []"),
    Fault("roughZeroPoint", "config.doReplace = True", "config.doReplace = False"),
    Fault("run", '"dark": dark', '"dark": None'),
    Fault("runDataRef", "**(_PRODUCTS if self.config.doWrite else {})", "**_PRODUCTS"),
    Fault("runQuantum", "isGen3=True", "isGen3=False"),
    Fault("saturationDetection", 'self._step("saturation")', 'self._step("suspect")'),
    Fault("saturationInterpolation", ", saturation=True", ""),
    Fault("setValidPolygonIntersect", "valid_polygon = polygon", "valid_polygon = fpPolygon"),
    Fault("suspectDetection", 'self._step("suspect")', 'self._step("saturation")'),
    Fault("timer", "logLevel // _THEIR_LEVELS if logLevel >= _THEIR_LEVELS else logLevel", "logLevel"),
    Fault("updateVariance", "(noise / amp.gain) ** 2", "noise**2"),
    Fault("writeConfig", "record.write(clobber, doBackup)", "record.write(clobber, True)"),
    Fault("writeMetadata", "self.getFullMetadata()", "{self._name: self.metadata}"),
    Fault("writePackageVersions", "{**stored, **present}", "present"),
    Fault("writeSchemas", "record.write(clobber, doBackup)", "record.write(clobber, True)"),
)


@cache
def files_of_tests() -> dict[str, str]:
    """The file of every test in `TESTS`, by what stands after ``test_`` in its name."""
    return {
        name: file
        for file in TESTS
        for name in re.findall(r"^def test_(\w+)\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
    }


def killers(faults: tuple[Fault, ...] = FAULTS) -> dict[str, str]:
    """The test that fails when a method is wrong, by method; empty for a fault that nobody notices.

    Raises RuntimeError when tests fail without any fault, or a fault stops them from being collected.
    """
    with _copies(count=os.cpu_count() or 1) as copies:
        wrong = _failing(copies[0], *(f"tests/{file}" for file in TESTS))
        if wrong:
            raise RuntimeError(f"tests fail without any fault: {', '.join(wrong)}")
        shares = [faults[number :: len(copies)] for number in range(len(copies))]
        with ThreadPoolExecutor(len(copies)) as pool:
            found = [kill for kills in pool.map(_kills, copies, shares) for kill in kills]
        names = dict(found)
    return {fault.method: names[fault.method] for fault in faults}


@contextmanager
def _copies(count: int) -> Iterator[list[Path]]:
    """Copies of the sources."""
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / str(number) for number in range(count)]
        for copy in copies:
            for name in _ROOTS:
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy2(ROOT / "pyproject.toml", copy)
        yield copies


def _kills(copy: Path, faults: Iterable[Fault]) -> list[tuple[str, str]]:
    """Methods, and the tests that notice their faults, made in a copy one after the other."""
    return [(fault.method, _killer(copy, fault)) for fault in faults]


def _killer(copy: Path, fault: Fault) -> str:
    """The test that notices a fault, made in a copy for as long as it takes."""
    (copy / fault.path).write_text(fault.mutated())
    name = f"tests/{files_of_tests()[fault.method]}::test_{fault.method}"
    try:
        return next(iter(_failing(copy, name)), "")
    finally:
        # With its time of before, which tells Python that what it compiled is of another source.
        shutil.copy2(ROOT / fault.path, copy / fault.path)


def _failing(copy: Path, *tests: str) -> list[str]:
    """Those of the tests that fail in a copy."""
    paths = (copy, copy / "plugins", copy / "cameras")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(tests)} cannot be run\n{done.stdout}{done.stderr}")
    return re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)


def render(killed_by: dict[str, str]) -> str:
    """The page."""
    rows = (
        f"| `{fault.method}` | `{fault.function}` | {_code(fault.old)} | {_code(fault.new)} "
        f"| `{killed_by[fault.method]}` |\n"
        for fault in FAULTS
    )
    head = "| method | defined as | this | becomes | noticed by |\n|---|---|---|---|---|\n"
    return (PAGE_HEAD + head + "".join(rows)).rstrip() + "\n"


PAGE_HEAD = """\
# Faults in the documented task

Every method of [the documented task](documented-task.md) has a test of its own name. So that the tests are
worth something, each method is made wrong once, in a copy of the sources, and its test has to fail. This page
is what `python -m tests.documented_faults` found;
`python -m pytest -m slow tests/test_documented_methods.py` compares.

"""


def _code(text: str) -> str:
    """A piece of code in a cell of a table."""
    shown = " ".join(text.split()).replace("|", r"\|")
    return f"`{shown}`" if shown else "nothing"


if __name__ == "__main__":
    PAGE.write_text(render(killers()))
