"""``isr new``: packages that are whole, small, and keep the contracts of the kit; or nothing at all.

Continuous integration installs what it writes and runs its tests; here they are found
without it.
"""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_new
import isrcore_simulated
import isrcore_standard
from isrcore import Registry
from isrcore_new import Naming, NamingError, write_package

PLUGINS = {"new": isrcore_new, "simulated": isrcore_simulated, "standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)
Run = Callable[..., tuple[int, str, str]]

NAMES = ["demo", "ledGlow", "x", "aLongNameOfFiveWords"]


def lines_of(path: Path) -> int:
    """Lines that are not empty."""
    return sum(bool(line.strip()) for line in path.read_text().splitlines())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "limit"), [("camera", 45), ("step", 30)])
def test_a_package_is_whole_and_small(kind: str, limit: int, name: str, tmp_path: Path) -> None:
    naming = Naming(kind, name)
    folder = write_package(naming, tmp_path)
    assert folder == tmp_path / f"isrcore-{name}"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    package = folder / naming.package
    assert (package / "py.typed").exists()
    assert lines_of(package / "__init__.py") <= limit
    texts = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert not [
        path for path, text in texts.items() if "@" in text.replace("@v", "").replace("@hookimpl", "")
    ]
    for path in (path for path in texts if path.suffix == ".py"):
        ast.parse(texts[path])
        assert max(map(len, texts[path].splitlines())) <= 110
    project = tomllib.loads(texts[folder / "pyproject.toml"])
    assert list(project["project"]["entry-points"]["isrcore"].values()) == [naming.package]
    assert project["project"]["optional-dependencies"]["test"] == ["isrcore[kit]"]
    assert "pytest" in texts[folder / ".github" / "workflows" / "test.yml"]


def install(folder: Path) -> None:
    """Write what pip would: then the package is found wherever its folder is on the path."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    notes = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["isrcore"].items()
    lines = "".join(f"{name} = {module}\n" for name, module in points)
    (notes / "entry_points.txt").write_text(f"[isrcore]\n{lines}")


@pytest.mark.skipif(not entry_points(group="isrcore"), reason="isrcore is not installed")
@pytest.mark.parametrize(("kind", "name"), [("camera", "demo"), ("step", "ledGlow")])
def test_a_package_passes_its_own_tests(kind: str, name: str, tmp_path: Path) -> None:
    folder = write_package(Naming(kind, name), tmp_path)
    install(folder)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@given(st.text(max_size=30))
def test_what_is_no_name_is_refused_and_what_is_one_makes_names(text: str) -> None:
    for kind in ("camera", "step"):
        naming = Naming(kind, text)
        with suppress(NamingError):
            naming.check(REGISTRY)
            assert naming.package.isidentifier()
            assert naming.values["Class"].isidentifier()
            assert "/" not in naming.folder


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("step", "dark", "there is a step 'dark' already"),
        ("step", "DARK", "there is a step 'dark' already"),
        ("camera", "Simulated", "there is a camera 'simulated' already"),
        ("step", "LedGlow", "a step is a noun that begins small: ledGlow"),
        ("step", "run", "a task has a method of this name"),
        ("step", "class", "Python keeps this word for itself"),
        ("camera", "../x", "a name is a letter and up to 19 more"),
        ("camera", "standard", "there is a package 'isrcore_standard' already"),
    ],
)
def test_names_that_do_not_do(
    kind: str, name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isr: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    status, told, complaint = isr("new", kind, name)
    assert (status, told) == (1, "")
    assert reason in complaint
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isr: Run) -> None:
    monkeypatch.chdir(tmp_path)
    assert isr("new", "camera", "demo")[0] == 0
    (tmp_path / "isrcore-demo" / "README.md").write_text("mine")
    status, _, complaint = isr("new", "step", "demo")
    assert status == 1
    assert "is there already and stays as it is" in complaint
    assert (tmp_path / "isrcore-demo" / "README.md").read_text() == "mine"


def test_nothing_is_left_of_what_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path, text: str) -> int:
        raise OSError("disk is full")

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match="disk is full"):
        write_package(Naming("step", "ledGlow"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isr: Run) -> None:
    monkeypatch.chdir(tmp_path)
    status, told, _ = isr("new", "step", "ledGlow")
    assert status == 0
    assert "cd isrcore-ledGlow && pip install -e '.[test]' && pytest" in told
    assert "isr run raw.fits -c doLedGlow=true --led-glow template.fits" in told
    assert "isr cameras myCam" in isr("new", "camera", "myCam")[1]
