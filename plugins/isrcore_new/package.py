"""A package from templates: all of it, or nothing."""

from __future__ import annotations

import re
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from isrcore_new.naming import Naming, NamingError

_WORD = re.compile(r"@(\w+)@")

# Where the templates of each kind go; words in the paths are replaced as in the texts.
_COMMON = {
    "pyproject.toml": "pyproject.toml.txt",
    ".gitignore": "gitignore.txt",
    ".github/workflows/test.yml": "test.yml.txt",
    "@package@/py.typed": "",
}
_FILES = {
    "camera": {
        **_COMMON,
        "README.md": "camera_readme.md.txt",
        "@package@/__init__.py": "camera.py.txt",
        "@package@/@module@.toml": "camera.toml.txt",
        "tests/test_@module@.py": "camera_tests.py.txt",
    },
    "step": {
        **_COMMON,
        "README.md": "step_readme.md.txt",
        "@package@/__init__.py": "step.py.txt",
        "tests/test_@module@.py": "step_tests.py.txt",
    },
}


def write_package(naming: Naming, parent: Path) -> Path:
    """Write a package into a new folder of ``parent`` and return the folder.

    It is there complete or not at all. Raises `NamingError` when it exists, OSError when it cannot be.
    """
    target = parent / naming.folder
    if target.exists():
        raise NamingError(
            f"'{target}' is there already and stays as it is; choose another name, or move it away"
        )
    unfinished = Path(tempfile.mkdtemp(prefix=f".{naming.folder}.", dir=parent))
    try:
        for path, template in sorted(_FILES[naming.kind].items()):
            place = unfinished / fill(path, naming)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(fill(_read(template), naming))
        unfinished.chmod(0o755)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return target


def _read(template: str) -> str:
    """The text of a template; none is empty."""
    return (files(__package__) / "templates" / template).read_text() if template else ""


def fill(text: str, naming: Naming) -> str:
    """A text with its words replaced."""
    values = naming.values
    return _WORD.sub(lambda word: values[word[1]], text)
