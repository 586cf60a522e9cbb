"""The kit from the command line of pytest: ``--isr-camera``, however the plugin is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import isrcore
from isrcore.testing import strategies

ROOT = Path(__file__).parents[1]
FAST = ["-k", "tile or flips or sections", "-p", "no:cacheprovider", "-W", "error", "-q"]


def run(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of pytest in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *FAST],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def installed() -> None:
    """The plugins are found by their entry points."""
    if "simulated" not in isrcore.Registry.discover().cameras:
        pytest.skip("isrcore is not installed, so its cameras cannot be found")


@pytest.mark.parametrize(
    "loading",
    [
        ["-p", "isrcore_pytest"],
        ["-p", "isrcore.testing.pytest_plugin", "-p", "isrcore_pytest"],
    ],
    ids=["light", "twice"],
)
@pytest.mark.usefixtures("installed")
def test_cameras_are_tested_without_a_file(tmp_path: Path, loading: list[str]) -> None:
    status, told = run(tmp_path, *loading, "--isr-camera", "simulated", "--isr-camera", "EFOSC2")
    assert (status, "6 passed" in told) == (0, True), told


@pytest.fixture
def entry_point(tmp_path: Path) -> str:
    """A folder for PYTHONPATH in which the plugin is installed as pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = [f"{name} = {module}" for name, module in project["entry-points"]["pytest11"].items()]
    metadata = tmp_path / "site" / "isrcore_entry-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: isrcore-entry\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("\n".join(["[pytest11]", *points, ""]))
    # pytest rewrites the modules of distributions with plugins.
    (metadata / "RECORD").write_text("isrcore/__init__.py,,\nisrcore_pytest/__init__.py,,\n")
    return os.pathsep.join([str(metadata.parent), *filter(None, sys.path)])


@pytest.mark.parametrize("loading", [[], ["-p", "isrcore.testing.pytest_plugin"]], ids=["once", "again"])
@pytest.mark.usefixtures("installed")
def test_an_installed_plugin_may_be_loaded_again(
    tmp_path: Path, entry_point: str, loading: list[str]
) -> None:
    status, told = run(tmp_path, *loading, "--isr-camera", "simulated", PYTHONPATH=entry_point)
    assert (status, "3 passed" in told) == (0, True), told


@pytest.mark.usefixtures("installed")
def test_a_conftest_that_imports_the_kit_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import isrcore_simulated\nfrom isrcore.testing import CameraContract\n"
    )
    (tmp_path / "test_own.py").write_text("def test_flips():\n    pass\n")
    status, told = run(tmp_path, "-p", "isrcore_pytest", "--isr-camera", "simulated")
    assert (status, "4 passed" in told) == (0, True), told


@pytest.mark.usefixtures("installed")
def test_options_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    status, told = run(tmp_path, "-p", "isrcore_pytest", "--isr-camera", "nope")
    assert (status, "no plugin describes camera 'nope'; known cameras: EFOSC2" in told) == (4, True)
    status, told = run(tmp_path, "-p", "isrcore_pytest", "--isr-raw", "frame.fits")
    assert (status, "--isr-raw needs --isr-camera NAME" in told) == (4, True)


def test_the_plugin_that_every_run_loads_imports_nothing() -> None:
    code = (
        "import sys; known = set(sys.modules); import isrcore_pytest;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - known}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"isrcore_pytest"}


def test_asking_for_the_kit_without_what_it_needs_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import isrcore.testing\n"
        "try: isrcore.testing.CameraContract\n"
        "except ImportError as fault: print(fault)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "CameraContract needs hypothesis; install it with: pip install 'isrcore[kit]'" in done.stdout
    with pytest.raises(AttributeError, match="has no attribute 'Contract'"):
        isrcore.testing.Contract  # noqa: B018
    assert strategies.__all__ == sorted(strategies.__all__)
