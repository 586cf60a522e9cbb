"""The documentation is complete and true: what it shows runs, and what exists is in it.

Everything here needs isrcore installed with its plugins (``pip install -e .``), as a reader would have it.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace

import attrs
import pytest
from astropy.io import fits

import isrcore
from isrcore import Config, PixelStep, Registry, StepSpec, field, stepspecs, write_exposure
from isrcore_simulated.night import write_night
from tests.documented_page import attributes, methods, needs_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(
    not entry_points(group="isrcore"), reason="isrcore is not installed, so its plugins cannot be found"
)


def load(name: str) -> ModuleType:
    """A module of the documentation's own tools."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference, transcript = load("isr_reference"), load("transcript")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def page(name: str, registry: Registry) -> str:
    """A page of the reference with its tables."""
    expanded: str = reference.expand((DOCS / "reference" / f"{name}.md").read_text(), registry)
    return expanded


@pytest.mark.parametrize("path", [*PAGES, README], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_shows_is_what_happens(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert transcript.replay(text, path.name, tmp_path) == text


def undocumented_hooks(text: str) -> Iterator[str]:
    """Hooks that a page does not explain."""
    for name, function in reference.hooks().items():
        if not (function.__doc__ and f"## `{name}`" in text):
            yield name


def undocumented_steps(registry: Registry, steps: str, corrections: str) -> Iterator[str]:
    """Steps without doc, entry or, for those of the standard vocabulary, a formula."""
    for name, spec in registry.specs.items():
        if not (spec.doc and f"## `{name}`" in steps):
            yield name
        elif name in stepspecs.STANDARD and f"## `{name}`" not in corrections:
            yield f"{name} (correction)"


def undocumented_fields(config: Config, text: str) -> Iterator[str]:
    """Config fields without doc or entry."""
    for name in config.names():
        if not (config.describe(name).doc.strip() and f"`{name}`" in text):
            yield name


def undocumented_commands(commands: dict[str, argparse.ArgumentParser], text: str) -> Iterator[str]:
    """Subcommands without entry or description, and arguments without help."""
    for name, parser in commands.items():
        if not (parser.description and f"## `isr {name}`" in text):
            yield name
        for action in parser._actions:
            if not (action.help or isinstance(action, argparse._SubParsersAction)):
                yield f"{name} {action.dest}"


def undocumented_names(names: list[str], text: str) -> Iterator[str]:
    """Public names that a page does not list exactly once, or that say nothing of themselves."""
    by_docstring = reference.names_in(text, "api")
    by_hand = re.findall(r"^```\{py:data\} isrcore\.(\w+)\n\S", text, re.MULTILINE)
    for name in names:
        says = name in by_hand or bool((getattr(isrcore, name).__doc__ or "").strip())
        if not says or [*by_docstring, *by_hand].count(name) != 1:
            yield name


def test_every_hook_is_documented(registry: Registry) -> None:
    assert len(reference.hooks()) == 10
    assert list(undocumented_hooks(page("hooks", registry))) == []
    others = [name for name in reference.hooks() if name != "isr_steps"]
    assert list(undocumented_hooks("## `isr_steps`")) == others


def test_every_step_is_documented(registry: Registry) -> None:
    corrections = (DOCS / "reference" / "corrections.md").read_text()
    steps = page("steps", registry)
    assert list(undocumented_steps(registry, steps, corrections)) == []
    assert list(undocumented_steps(registry, steps, "")) == [f"{n} (correction)" for n in registry.specs]

    class Silent(PixelStep):
        spec = StepSpec(name="silent", doc="")

    hook = isrcore.hookimpl(lambda: [Silent], specname="isr_steps")
    with_silent = Registry({"silent": SimpleNamespace(steps=hook)})
    assert list(undocumented_steps(with_silent, steps, corrections)) == ["silent"]


#: Methods of the page that have nothing to do with pixels: retrieval, tasks, command line, records.
OTHER_METHODS = {
    "applyOverrides", "emptyMetadata", "getAllSchemaCatalogs", "getFullMetadata", "getFullName",
    "getIsrExposure", "getName", "getResourceConfig", "getSchemaCatalogs", "getTaskDict", "makeField",
    "makeSubtask", "parseAndRun", "readIsrData", "runDataRef", "runQuantum", "timer", "writeConfig",
    "writeMetadata", "writePackageVersions", "writeSchemas",
}  # fmt: skip


@needs_page
def test_every_pixel_method_of_the_page_is_among_the_corrections(registry: Registry) -> None:
    assert set(reference.METHODS) == set(methods()) - OTHER_METHODS
    text = page("corrections", registry)
    for name, steps in reference.METHODS.items():
        assert f"| `{name}` | " in text
        for step in steps:
            assert f"`{name}`" in section_of(text, step).partition("| switch")[0]


@needs_page
def test_every_name_of_the_page_is_in_the_reference_of_the_documented_task(registry: Registry) -> None:
    source = (DOCS / "reference" / "documented-task.md").read_text()
    assert sorted(reference.names_in(source, "documented-methods")) == sorted(methods())
    assert reference.names_in(source, "documented-attributes") == list(attributes())
    text = page("documented-task", registry)
    for name, value in attributes().items():
        assert f"| `{name}` | `{value}` | " in text
    for name, method in methods().items():
        entry = text.partition(f"\n### `{name}`\n")[2].partition("\n###")[0]
        signature, _, told = entry.partition("```text\n")[2].partition("\n```\n")
        assert signature.startswith(f"classmethod {name}(" if method.is_class_method else f"{name}(")
        for parameter, default in method.parameters:
            shown = rf"\b{parameter}: [^=]+" + (f" = {re.escape(default)}[,)]" if default else "")
            assert re.search(shown, signature), f"{name}: {parameter}"
        assert " -> " in signature
        assert len(told.split()) >= 5


def test_what_a_documented_method_refers_to_is_shown_with_it(registry: Registry) -> None:
    text = page("documented-task", registry)
    assert "Parse an argument list" in text
    assert "Returns a Struct with `exposure` and `outputExposure`" in text


def section_of(text: str, step: str) -> str:
    """The part of the corrections page about one step."""
    return text.partition(f"\n## `{step}`\n")[2].partition("\n## ")[0]


def incomplete_corrections(registry: Registry, text: str) -> Iterator[str]:
    """Steps whose section lacks table, formula or source."""
    for name in registry.specs:
        section = section_of(text, name)
        rows = set(re.findall(r"^\| ([a-z ]+) \| .", section, re.MULTILINE))
        if not {"methods", "switch", "settings", "reads", "mask planes", "unit", "source"} <= rows:
            yield f"{name}: table"
        if "$" not in section and not re.search(r"Changes no|`[A-Z_]+`", section):
            yield f"{name}: formula"
        # The specification, or a publication of some year.
        if "behaviour §" not in section and not re.search(r"\b(18|19|20)\d\d\b", section):
            yield f"{name}: source"


def test_every_correction_has_its_table_formula_and_source(registry: Registry) -> None:
    assert list(incomplete_corrections(registry, page("corrections", registry))) == []
    assert len(list(incomplete_corrections(registry, ""))) == 3 * len(registry.specs)


def test_every_config_field_is_documented(registry: Registry) -> None:
    text = page("config", registry)
    for camera in ("", *registry.cameras):
        assert list(undocumented_fields(isrcore.default_config(registry, camera), text)) == []

    class Other(Config):
        unheard: int = field(1, "Not in any table.")

    assert list(undocumented_fields(Other(), text)) == ["unheard"]


def test_every_subcommand_is_documented(registry: Registry) -> None:
    text = page("commands", registry)
    commands = reference.subcommands(registry)
    assert {"run", "plan", "cameras", "plugins"} <= set(commands)
    assert list(undocumented_commands(commands, text)) == []
    other = argparse.ArgumentParser(description="Not in the page.")
    other.add_argument("--mute")
    assert list(undocumented_commands({"other": other}, text)) == ["other", "other mute"]


def test_every_public_name_is_documented() -> None:
    text = (DOCS / "reference" / "api.md").read_text()
    assert list(undocumented_names(isrcore.__all__, text)) == []
    assert list(undocumented_names(["Camera", "field"], text.replace(" Camera ", " "))) == ["Camera"]


def test_tables_are_made_from_the_code(registry: Registry) -> None:
    assert "`doBias`" in page("steps", registry)
    assert "MEDIAN_PER_ROW" in page("config", registry).partition("### MegaCam")[2]
    with pytest.raises(KeyError, match="weather"):
        reference.expand("<!-- isr: weather -->", registry)


def unmentioned(path: Path, text: str) -> list[str]:
    """HDUs, cards and columns of a product that a page does not name."""
    found: set[str] = set()
    with fits.open(path) as hdus:
        found.update(hdu.name for hdu in hdus)
        found.update(key for key in hdus[0].header if key.startswith(("ISR", "NEXTEND")))
        found.update(key for key in hdus["ISR_DETECTOR"].header if key.startswith("DET"))
        for name in ("ISR_HISTORY", "ISR_DETECTOR"):
            found.update(hdus[name].columns.names)
    # One of each kind is enough: facts are numbered on, and every amplifier has its overscan cards.
    found = {re.sub(r"ISRF\d{3}$", "ISRF001", name) for name in found}
    found = {re.sub(r"(ISR_OSCAN_LEVEL|ISR_OSCAN_SIGMA).*", r"\1A", name) for name in found}
    return sorted(name for name in found if f"`{name}`" not in text)


def test_every_part_of_a_product_is_documented(registry: Registry, tmp_path: Path) -> None:
    write_night(registry.camera("simulated"), tmp_path / "night")
    raw = next(registry.read_raw(tmp_path / "night" / "science1.fits", ["sim0"]))
    config = isrcore.default_config(registry, "simulated")
    config.doBias = config.doDark = config.doFlat = False
    exposure = isrcore.IsrTask(config, camera="simulated").run(raw).exposure
    exposure.visit = attrs.evolve(exposure.visit, ra_deg=1.0, dec_deg=2.0, airmass=1.1)
    write_exposure(exposure, tmp_path / "p.fits", config_text="a", provenance={"b": "c"})
    assert unmentioned(tmp_path / "p.fits", page("files", registry)) == []
    assert "ISR_CONFIG" in unmentioned(tmp_path / "p.fits", "")


def sh_blocks() -> list[str]:
    """The set-up commands of the README."""
    return re.findall(r"^```sh\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_readme_has_two_set_up_commands() -> None:
    first, second = sh_blocks()
    assert first.startswith('python -m pip install ".[cfht]" && ')
    assert second == 'python -m pip install -e ".[test]" && python -m pytest -n auto --dist worksteal\n'
    # The continuous integration runs the second block, whatever it says.
    assert "inside && block == 2' README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_main_job_of_the_readme_works(tmp_path: Path) -> None:
    job = sh_blocks()[0].partition(" && ")[2].lstrip("\\\n ")
    environment = transcript.environment()
    done = subprocess.run(
        ["bash", "-euc", job], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    products = sorted(path.name for path in (tmp_path / "products").glob("*.fits"))
    assert products == [f"science{n}_{name}.fits" for n in (1, 2) for name in ("sim0", "sim1")]
    for product in products:
        facts = isrcore.read_exposure(tmp_path / "products" / product).facts
        assert {"bias-subtracted", "dark-subtracted", "flat-fielded"} <= facts


def test_a_page_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    text = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    assert transcript.replay(text, "page.md", tmp_path) == text.replace("3", "2")
    with pytest.raises(ZeroDivisionError):
        transcript.replay("```python\n1 / 0\n```\n", "page.md", tmp_path / "other")
    broken = "```console\n$ python -c 1/0\n```\n" + transcript.NIGHT
    with pytest.raises(RuntimeError, match="python -c 1/0 broke"):
        transcript.replay(broken, "page.md", tmp_path)


def test_pages_speak_of_nothing_outside_the_project() -> None:
    wrong = []
    for path in [*PAGES, README]:
        found = re.findall(r"(?:^|[\s`(])(/(?:home|work|tmp|root)/\S*|\.\./shared\S*)", path.read_text())
        wrong += [f"{path.relative_to(ROOT)}: {word}" for word in found]
    assert wrong == []


def test_nothing_of_the_documentation_is_written_beside_it() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing is ignored")
    command = [git, "check-ignore", "docs/_build/index.html"]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert ignored.returncode == 0
