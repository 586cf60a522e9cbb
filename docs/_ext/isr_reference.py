"""Reference tables made from the code while the documentation is built, so that they cannot drift.

A page asks for a table with a line ``<!-- isr: steps -->``; words after the name are arguments. The tables
are put into the page's text as Sphinx reads it: nothing is written to disk. Only `setup` needs Sphinx.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

import isrcore
from isrcore import Registry, StepSpec, default_config, hookspecs
from isrcore.cli.main import make_parser
from isrcore_cfht import CfhtIsrTask

MARKER = re.compile(r"^<!-- isr: ([a-z-]+)((?: \S+)*) -->$", re.MULTILINE)


def expand(text: str, registry: Registry) -> str:
    """The text with every marker replaced by its table. Raises KeyError for a table that is not known."""

    def table(found: re.Match[str]) -> str:
        return "\n".join(TABLES[found[1]](registry, *found[2].split()))

    return MARKER.sub(table, text)


def names_in(text: str, table: str) -> list[str]:
    """The arguments of every marker of a table in a text."""
    return [name for kind, names in MARKER.findall(text) if kind == table for name in names.split()]


def render_table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    """A Markdown table."""
    titles = list(head)
    yield "| " + " | ".join(titles) + " |"
    yield "|" + "---|" * len(titles)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", r"\|").replace("\n", " ") for cell in row) + " |"
    yield ""


def code(values: Iterable[Any], otherwise: str = "none") -> str:
    """Values set as code, with commas between them."""
    return ", ".join(f"`{value}`" for value in values) or otherwise


def text_of(docstring: str | None) -> str:
    """A docstring as Markdown: literals get single backquotes."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


def hooks() -> dict[str, Any]:
    """The hooks by name."""
    found = vars(hookspecs).items()
    return {name: function for name, function in found if hasattr(function, f"{hookspecs.PROJECT}_spec")}


def hook_table(registry: Registry) -> Iterator[str]:
    """Every hook: how it is called, what it answers, who implements it."""
    for name, function in hooks().items():
        users = [plugin.name for plugin in registry.plugins if name in plugin.hooks]
        yield from (f"## `{name}`", "", "```text", signature_of(function), "```", "")
        yield from (text_of(function.__doc__), "", f"Implemented by plugins: {code(users)}.", "")


def signature_of(function: Any) -> str:
    """A function as it is declared; annotations are kept as texts by Python and lose their quotes."""
    return f"{function.__name__}{inspect.signature(function)}".replace("'", "")


def in_order(specs: dict[str, StepSpec]) -> list[StepSpec]:
    """Specs in the order of a plan with all of them: providers first, ties by name."""
    left, done, facts = dict(specs), list[StepSpec](), set[str]()
    provided = {fact for spec in specs.values() for fact in spec.provides}
    while left:
        ready = (n for n, s in left.items() if (s.requires | s.after) & provided <= facts)
        done.append(left.pop(min(ready)))
        facts |= done[-1].provides
    return done


def step_overview(registry: Registry) -> Iterator[str]:
    """One line per step, in the order they run."""
    rows = (
        (f"[`{s.name}`](#step-{s.name.lower()})", code([s.flag] if s.flag else [], "always"),
         _default_of(s), s.doc)
        for s in in_order(registry.specs)
    )  # fmt: skip
    yield from render_table(("step", "switch", "default", "what it does"), rows)


def _default_of(spec: StepSpec) -> str:
    return "" if spec.flag is None else "on" if spec.is_on else "off"


def step_table(registry: Registry) -> Iterator[str]:
    """The contract of every step, and who implements it."""
    for spec in in_order(registry.specs):
        yield from (f"(step-{spec.name.lower()})=", f"## `{spec.name}`", "", spec.doc, "")
        yield from render_table(("", ""), contract_rows(spec, registry))


def contract_rows(spec: StepSpec, registry: Registry) -> Iterator[tuple[str, str]]:
    """A contract, line by line."""
    yield (
        "switch",
        f"`{spec.flag}`, {_default_of(spec)} by default" if spec.flag else "none, always considered",
    )
    yield "needs the exposure to be", code(sorted(spec.requires))
    yield "waits, if planned, for", code(sorted(spec.after))
    if spec.before:
        yield "must come before it is", code(sorted(spec.before))
    yield "afterwards it is", code(sorted(spec.provides))
    yield "calibrations it needs", code(sorted(spec.calibrations))
    if spec.accepts:
        yield "calibrations it uses if given", code(sorted(spec.accepts))
    yield "mask planes it may set", code(sorted(spec.planes))
    unit_in, unit_out = code(filter(None, [spec.unit_in]), "any"), code(filter(None, [spec.unit_out]), "same")
    yield "unit before → after", f"{unit_in} → {unit_out}"
    yield "a second time", "refused" if spec.once else "allowed"
    yield "reach", "the whole detector" if spec.reach is None else f"{spec.reach} pixels"
    yield "implemented by", "; ".join(implementations(spec, registry))
    if fields := section_fields(spec, registry):
        yield f"section `{spec.name}`", fields


#: The documented methods that change or look at pixels, and the steps that each of them does.
METHODS: dict[str, tuple[str, ...]] = {
    "convertIntToFloat": ("conversion",),
    "darkCorrection": ("dark",),
    "debugView": (),
    "doLinearize": ("linearity",),
    "ensureExposure": (),
    "flatContext": ("dark", "flat"),
    "flatCorrection": ("flat",),
    "maskAmplifier": ("amplifierMask", "saturation", "suspect"),
    "maskAndInterpolateDefects": ("defects", "edges", "interpolation"),
    "maskAndInterpolateNan": ("nanFlags", "interpolation"),
    "maskDefect": ("defects",),
    "maskEdges": ("edges",),
    "maskNan": ("nanFlags",),
    "measureBackground": ("background",),
    "overscanCorrection": ("overscan",),
    "roughZeroPoint": ("zeroPoint",),
    "run": (),
    "saturationDetection": ("saturation",),
    "saturationInterpolation": ("interpolation",),
    "setValidPolygonIntersect": ("vignette",),
    "suspectDetection": ("suspect",),
    "updateVariance": ("variance",),
}

_SOURCE = re.compile(r"behaviour [^);:,]*", re.DOTALL)


def method_table(registry: Registry) -> Iterator[str]:
    """Every documented method about pixels: what it says of itself, and the steps it does."""
    rows = (
        (f"`{name}`", text_of(getattr(isrcore.IsrTask, name).__doc__).split("\n\n")[0].replace("\n", " "),
         ", ".join(f"[`{step}`](#{step.lower()})" for step in steps) or "no single one")
        for name, steps in METHODS.items()
    )  # fmt: skip
    yield from render_table(("method of `IsrTask`", "what it does", "steps"), rows)


def documented_attributes(_registry: Registry, *names: str) -> Iterator[str]:
    """Attributes of the documented task's class, and their values."""
    rows = ((f"`{name}`", f"`{getattr(CfhtIsrTask, name)!r}`", _ATTRIBUTES[name]) for name in names)
    yield from render_table(("attribute", "value", "what it says"), rows)


_ATTRIBUTES = {"canMultiprocess": "A task may be sent to other processes: `--jobs` does."}


def documented_methods(_registry: Registry, *names: str) -> Iterator[str]:
    """Methods of the documented task: signature, docstrings, who defines them, the steps they do."""
    for name in names:
        yield from (f"### `{name}`", "", "```text", method_signature(name), "```", "")
        for docstring in docstrings_of(name):
            yield from (text_of(docstring), "")
        if steps := METHODS.get(name):
            links = ", ".join(f"[`{step}`](corrections.md#{step.lower()})" for step in steps)
            yield from (f"Formulas: {links}.", "")


def method_signature(name: str) -> str:
    """A method of the documented task as it is called; annotations without the quotes Python keeps."""
    method = getattr(CfhtIsrTask, name)
    signature = inspect.signature(method)
    parameters = [one for one in signature.parameters.values() if one.name != "self"]
    plain = _QUOTED.sub(r"\1\2", str(signature.replace(parameters=parameters)))
    prefix = "classmethod " if inspect.ismethod(method) else ""
    return f"{prefix}{name}{plain}"


# An annotation, which defaults are not: it follows a colon or an arrow.
_QUOTED = re.compile(r"((?:\w: )|(?:-> ))'([^']*)'")


def docstrings_of(name: str) -> Iterator[str]:
    """What a method says, and what those say that it refers to: definitions further up with the same name."""
    for owner in CfhtIsrTask.__mro__:
        if name in vars(owner):
            docstring = inspect.getdoc(vars(owner)[name]) or ""
            yield docstring
            if not re.search(rf"[Ss]ee `[\w.]+\.{name}`", docstring):
                return


def correction_table(registry: Registry, name: str) -> Iterator[str]:
    """What a user must know of one step besides its formula."""
    spec = registry.specs[name]
    methods = [method for method, steps in METHODS.items() if name in steps]
    unit_in, unit_out = spec.unit_in or "any", spec.unit_out or "the same"
    rows = [
        ("methods", code(methods, "`run` only")),
        ("switch", f"`{spec.flag} = {str(spec.is_on).lower()}`" if spec.flag else "always considered"),
        ("settings", _settings(spec, registry)),
        ("reads", code(sorted(spec.kinds), "no calibration")),
        ("mask planes", code(sorted(spec.planes))),
        ("unit", f"{unit_in} before, {unit_out} afterwards"),
        ("source", source_of(spec, registry) or "see below"),
    ]
    yield from render_table(("", f"`{name}`"), rows)


def _settings(spec: StepSpec, registry: Registry) -> str:
    """The config fields of a step with their defaults."""
    config = default_config(registry)
    names = [field for field in config.names() if field.startswith(f"{spec.name}.")]
    names = [field for field in names if not field.endswith(".implementation")]
    told = (f"`{field} = {format_default(config.describe(field).default)}`" for field in names)
    return ", ".join(told) or "none"


def source_of(spec: StepSpec, registry: Registry) -> str:
    """The part of the specification that the module of a step names."""
    module = inspect.getmodule(registry.implementation(spec.name))
    found = _SOURCE.search(inspect.getdoc(module) or "")
    return " ".join(found[0].split()) if found else ""


def implementations(spec: StepSpec, registry: Registry) -> Iterator[str]:
    """The classes that implement a step, with their plugin and camera."""
    for step in registry.candidates(spec.name):
        camera = f", for camera `{step.camera}`" if step.camera else ""
        yield f"`{step.__qualname__}` (plugin `{registry.plugin_of(step).name}`{camera})"


def section_fields(spec: StepSpec, registry: Registry) -> str:
    """The config fields of every implementation."""
    names = {n: None for step in registry.candidates(spec.name) for n in step.ConfigClass().names()}
    return ", ".join(f"[`{name}`](config.md#{spec.name.lower()})" for name in names)


def config_table(registry: Registry) -> Iterator[str]:
    """Every field: top level first, then section by section."""
    config = default_config(registry)
    groups: dict[str, list[str]] = {"": []}
    for name in config.names():
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    for group, names in groups.items():
        yield from (f"## {group or 'Top level'}", "")
        infos = [config.describe(name) for name in names]
        yield from render_table(_FIELD_HEAD, (field_row(info) for info in infos))


_FIELD_HEAD = ("field", "type", "default", "meaning", "defined by")


def field_row(info: Any) -> tuple[str, ...]:
    """One field of a table."""
    kind = info.type + (f", {info.constraint}" if info.constraint else "")
    return f"`{info.name}`", kind, f"`{format_default(info.default)}`", text_of(info.doc), f"`{info.where}`"


def format_default(value: Any) -> str:
    """A default as a TOML file has it, as far as it can."""
    return {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)


def camera_table(registry: Registry) -> Iterator[str]:
    """What the cameras' plugins change, and the fields only one camera has."""
    usual = set(default_config(registry).names())
    for camera in registry.cameras:
        config = default_config(registry, camera)
        rows = [(name, config.origin(name)) for name in config.names() if len(config.history(name)) > 1]
        yield from (f"### {camera}", "", registry.camera(camera).description or "No description.", "")
        told = ((f"`{n}`", f"`{format_default(change.value)}`", f"`{change.who}`") for n, change in rows)
        yield from render_table(("field", "value", "set by plugin"), told) if rows else ()
        own = [config.describe(name) for name in config.names() if name not in usual]
        yield from render_table(_FIELD_HEAD, (field_row(info) for info in own)) if own else ()


def subcommands(registry: Registry) -> dict[str, argparse.ArgumentParser]:
    """The subcommands of `isr`, those of plugins included, by name; those of groups as ``group name``."""
    return dict(_children(make_parser(registry)))


def _children(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield prefix + name, child
                yield from _children(child, f"{prefix}{name} ")


def command_table(registry: Registry) -> Iterator[str]:
    """The help of every subcommand, as the terminal shows it."""
    for name, parser in subcommands(registry).items():
        yield from (f"## `isr {name}`", "", "```text", parser.format_help().rstrip(), "```", "")


def type_table(_registry: Registry, name: str) -> Iterator[str]:
    """The fields of a value type."""
    rows = ((f"`{field.name}`", f"`{field.type}`") for field in attrs.fields(getattr(isrcore, name)))
    yield from render_table(("column", "type"), rows)


def plane_table(registry: Registry) -> Iterator[str]:
    """Mask planes, their bits, and the steps that set them."""
    planes = isrcore.MaskPlanes().with_planes({p for s in registry.specs.values() for p in s.planes})
    for_plane = {p: [s.name for s in in_order(registry.specs) if p in s.planes] for p in planes}
    rows = ((f"`{p}`", planes.bits[p], planes.value(p), code(for_plane[p])) for p in planes)
    yield from render_table(("plane", "bit", "value", "set by"), rows)


def api(_registry: Registry, *names: str) -> Iterator[str]:
    """Public names, documented by their docstrings."""
    yield "```{eval-rst}"
    for name in names:
        value = getattr(isrcore, name)
        if inspect.ismodule(value):
            kind = "automodule"
        elif isinstance(value, type):
            kind = "autoexception" if issubclass(value, Exception) else "autoclass"
        else:
            kind = "autofunction"
        yield from (f".. {kind}:: isrcore.{name}", *_API_OPTIONS.get(kind, ()), "")
    yield "```"


_API_OPTIONS = {
    "automodule": ("   :members:", "   :exclude-members: StepSpec, STANDARD, GIVEN_FACTS"),
    "autoclass": ("   :members:",),
}

TABLES: dict[str, Callable[..., Iterator[str]]] = {
    "api": api,
    "cameras": camera_table,
    "commands": command_table,
    "config": config_table,
    "correction": correction_table,
    "documented-attributes": documented_attributes,
    "documented-methods": documented_methods,
    "hooks": hook_table,
    "methods": method_table,
    "planes": plane_table,
    "step-overview": step_overview,
    "steps": step_table,
    "type": type_table,
}


def _read_source(app: Any, _page: str, source: list[str]) -> None:
    source[0] = expand(source[0], app.isr_registry)


_ARRAY = re.compile(
    r"~?(?:numpy\.)?ndarray\[tuple\[[\w.~]+, \.\.\.\], ~?(?:numpy\.)?dtype\[~?(?:\w+\.)*(\w+)\]\]"
)


def _plain_signature(
    _app: Any, _what: str, _name: str, _object: Any, _options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Arrays are shown as ``NDArray[float32]``, defaults that are made anew for every value as dots."""

    def plain(text: str) -> str:
        return _ARRAY.sub(r"NDArray[\1]", text).replace("NOTHING", "...")

    return signature and plain(signature), returns and plain(returns)


def _outdated(app: Any, env: Any, *_: Any) -> list[str]:
    """Pages with tables are always made again: the code may have changed while they did not."""
    return [page for page in env.found_docs if MARKER.search(env.doc2path(page).read_text())]


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.isr_registry = Registry.discover()
    app.connect("source-read", _read_source)
    app.connect("env-get-outdated", _outdated)
    app.connect("autodoc-process-signature", _plain_signature)
    return {"parallel_read_safe": False}
