"""Who may import whom, what an import may cost, and how large things may grow."""

import ast
import io
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {name: ROOT / name for name in ("isrcore", "plugins", "cameras")}
FILES = sorted(path for root in SOURCES.values() for path in root.rglob("*.py"))
PACKAGES = {
    path.parent.name for root in ("plugins", "cameras") for path in SOURCES[root].glob("*/__init__.py")
}

# A plugin of pytest, not of isrcore: the part of isrcore.testing that is imported in every run of pytest.
PACKAGES.remove("isrcore_pytest")

# geometry <- camera <- image <- exposure <- step <- plan <- isr: a module imports only from further left.
LAYERS = ("geometry", "camera", "image", "exposure", "step", "plan", "isr")


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import in a file; name is empty for ``import module``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)


def functions() -> list[tuple[int, str]]:
    """(lines of the body without docstring, where) of every function."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                if body:
                    lines = (body[-1].end_lineno or 0) - body[0].lineno + 1
                    found.append((lines, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"))
    return found


@pytest.mark.parametrize("root", ["plugins", "cameras"])
def test_plugins_import_only_public_names_of_the_core_and_never_each_other(root: str) -> None:
    wrong = []
    for path in sorted(SOURCES[root].rglob("*.py")):
        own = path.relative_to(SOURCES[root]).parts[0]
        for module, _ in imported(path):
            top = module.partition(".")[0]
            if module.startswith("isrcore.") or (top in PACKAGES and top != own):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_the_core_names_no_plugin() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} names {package}"
        for path in sorted(SOURCES["isrcore"].rglob("*.py"))
        for package in PACKAGES
        if package in path.read_text()
    ]
    assert wrong == []


def test_the_core_is_layered() -> None:
    wrong = []
    for rank, layer in enumerate(LAYERS):
        for module, _ in imported(SOURCES["isrcore"] / f"{layer}.py"):
            name = module.removeprefix("isrcore.")
            if name in LAYERS and LAYERS.index(name) >= rank:
                wrong.append(f"{layer} imports {name}")
    assert wrong == []


def test_only_the_registry_uses_the_plugin_manager() -> None:
    users = [path.name for path in FILES if "PluginManager" in path.read_text()]
    assert users == ["registry.py"]


def test_importing_the_core_imports_no_plugin_and_nothing_heavy() -> None:
    code = "import sys, isrcore; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(found).isdisjoint(
        {*PACKAGES, "matplotlib", "numba", "hypothesis", "astro_metadata_translator", "rich"}
    )


def test_functions_are_small() -> None:
    found = sorted(functions())
    lengths = [lines for lines, _ in found]
    assert statistics.median(lengths) <= 6
    assert lengths[int(0.95 * len(lengths))] <= 30
    assert [where for lines, where in found if lines > 60] == []


def test_files_are_small() -> None:
    assert [path.name for path in FILES if len(path.read_text().splitlines()) > 500] == []


def test_comments_and_docstrings_are_in_proportion() -> None:
    comments = docstrings = lines = 0
    for path in FILES:
        text = path.read_text()
        lines += sum(bool(line.strip()) for line in text.splitlines())
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False)
                docstrings += sum(bool(line.strip()) for line in (docstring or "").splitlines())
    # The house rule: reasons in comments (at most 9 %), promises in docstrings (12 to 25 %).
    assert comments / lines <= 0.09
    assert 0.12 <= docstrings / lines <= 0.25


def test_the_top_level_is_fixed() -> None:
    allowed = {"pyproject.toml", "README.md", "LICENSE", "isrcore", "plugins", "cameras", "tests", "docs"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of tracked files")
    tops = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert {top for top in tops if not top.startswith(".")} <= allowed
