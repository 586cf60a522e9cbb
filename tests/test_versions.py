"""Which distributions bring which modules."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isrcore import versions

RECORD = """six.py,sha256=a,10
deep/inner/most.py,sha256=b,1
"odd/name,d.py",sha256=c,1
notes/readme.txt,sha256=d,1
notes.txt,,
made/__init__.pyc,,
../../bin/tool.py,,
name-1.0.dist-info/RECORD,,
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing is known from before, and nothing of what a test installs is kept."""
    versions._distributions.cache_clear()
    yield
    versions._distributions.cache_clear()


def install(folder: Path, name: str, kind: str, **files: str) -> None:
    info = folder / f"{name}-1.0.{kind}"
    info.mkdir(parents=True)
    about = "METADATA" if kind == "dist-info" else "PKG-INFO"
    (info / about).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file, text in files.items():
        (info / file.replace("_txt", ".txt")).write_text(text)


def check() -> None:
    """Every module has the owners that the standard library tells."""
    expected = importlib.metadata.packages_distributions()
    # From Python 3.12 on it tells of compiled modules too, which are none of interest here.
    tops = {name.partition(".")[0] for name in sys.modules} | expected.keys()
    found = {top: sorted(versions.owners(top)) for top in tops}
    written = {top for top, dists in found.items() if dists or sys.version_info < (3, 12)}
    assert {top: found[top] for top in written} == {
        top: sorted(set(expected.get(top, ()))) for top in written
    }


def test_the_owners_of_installed_modules_are_those_the_standard_library_finds() -> None:
    check()
    assert versions.owners("numpy") == {"numpy"}
    assert versions.owners("sys") == set()


def test_owners_are_found_in_every_form_of_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "name", "dist-info", RECORD=RECORD)
    install(tmp_path, "declared", "dist-info", RECORD="other.py,,\n", top_level_txt="deep\nsaid\n")
    install(tmp_path, "egg", "egg-info", SOURCES_txt="laid/egg.py\nsetup.py\n")
    install(tmp_path, "bare", "dist-info")
    monkeypatch.syspath_prepend(str(tmp_path))
    check()
    assert versions.owners("deep") == {"name", "declared"}
    assert versions.owners("six") >= {"name"}
    assert versions.owners("odd") == {"name"}
    assert versions.owners("notes") | versions.owners("other") == set()
