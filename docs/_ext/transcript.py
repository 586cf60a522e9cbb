"""Run what a page shows, in order, and put what comes out where the page shows it.

- ``python`` blocks share one namespace; a ``text`` block right after one is what it printed.
- ``console`` blocks hold commands (``$ command``, continued lines end in a backslash) and their output.
- A block that begins with ``# file: NAME`` is written to that file.
- A ``diff`` block that begins with ``# edit: NAME`` is applied to that file, see `edited`.

``python docs/_ext/transcript.py PAGE...`` brings the outputs shown by pages up to date.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = re.compile(
    r"^```(python|toml|console|diff)\n(.*?)^```\n(\n?```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# file: (\S+)\n")
_EDIT = re.compile(r"# edit: (\S+)\n")
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)
# The one thing that no two runs share: in the tables of `isr run`, the column before the product.
_SECONDS = re.compile(r"\b\d+\.\d\d(?= +\S+\.fits\b)")

NIGHT = "python -m isrcore_simulated night"


def replay(text: str, name: str, folder: Path) -> str:
    """The page with the outputs of today, run in ``folder``; raises what the page's code raises.

    Pages that speak of ``night/`` find the practice night there.
    """
    namespace: dict[str, Any] = {"__name__": Path(name).stem}
    with _inside(folder):
        if "night/" in text and NIGHT not in text:
            _shell(NIGHT)
        return _BLOCK.sub(lambda found: _rerun(found, name, namespace), text)


def _rerun(found: re.Match[str], name: str, namespace: dict[str, Any]) -> str:
    kind, body, shown = found.groups()
    if target := _FILE.match(body):
        path = Path(target[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body[target.end() :])
    elif target := _EDIT.match(body):
        path = Path(target[1])
        path.write_text(edited(path.read_text(), body[target.end() :]))
    elif kind == "console":
        return "```console\n" + "".join(_answers(body)) + "```\n" + (shown or "")
    elif kind == "python":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(body, name, "exec"), namespace)
        if shown is not None:
            gap = "\n" if shown.startswith("\n") else ""
            shown = f"{gap}```text\n{_timeless(printed.getvalue())}```\n"
    return f"```{kind}\n{body}```\n" + (shown or "")


def edited(text: str, edits: str) -> str:
    """The text with edits: lines that are there once (blank or minus in front) and what to make of them.

    Lines with a minus go, those with a plus come; an empty line ends an edit. Raises RuntimeError.
    """
    for edit in re.split(r"\n\s*\n", edits.strip("\n")):
        lines = edit.split("\n")
        old = "".join(line[1:] + "\n" for line in lines if not line.startswith("+"))
        new = "".join(line[1:] + "\n" for line in lines if not line.startswith("-"))
        if text.count(old) != 1:
            raise RuntimeError(f"these lines are there {text.count(old)} times:\n{old}")
        text = text.replace(old, new)
    return text


def _answers(body: str) -> Iterator[str]:
    for command in _COMMAND.findall(body):
        yield f"$ {command}\n{_timeless(_shell(command))}"


def _timeless(output: str) -> str:
    """Durations as 0.01, and no blanks at the ends of lines."""
    return "".join(line.rstrip() + "\n" for line in _SECONDS.sub("0.01", output).splitlines())


def _shell(command: str) -> str:
    """What a command shows. It may refuse, as some pages show, but not break: that raises RuntimeError."""
    done = subprocess.run(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        check=False,
    )
    if "Traceback (most recent call last)" in done.stdout:
        raise RuntimeError(f"{command} broke\n{done.stdout}")
    return done.stdout


def environment() -> dict[str, str]:
    """What commands run in: this Python comes first, and the terminal is 100 characters wide."""
    here = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in a folder and import from it; what was imported from there is forgotten afterwards."""
    before, known = Path.cwd(), set(sys.modules)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        for module in set(sys.modules) - known:
            if str(getattr(sys.modules[module], "__file__", "")).startswith(str(folder)):
                del sys.modules[module]


def main(pages: list[str]) -> None:
    """Bring pages up to date."""
    for page in map(Path, pages):
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(replay(page.read_text(), page.name, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
