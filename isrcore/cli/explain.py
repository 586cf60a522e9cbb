"""``isr explain``: what a step promises, who waits for a fact, what a camera or a hook is."""

from __future__ import annotations

import argparse
import difflib
import inspect
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from isrcore import hookspecs
from isrcore.cli.faults import EXIT_STATUS, OK
from isrcore.cli.inputs import option_name
from isrcore.config_toml import format_value
from isrcore.isr_config import default_config
from isrcore.registry import Registry, RegistryError
from isrcore.step import GatherStep, PixelStep, Step
from isrcore.stepspecs import GIVEN_FACTS, StepSpec

_ABOUT = """Explain one thing in words. A step: its contract (switch, facts it needs, waits for and makes
true, calibrations, mask planes, unit, reach, whether it can be undone), who implements it for which cameras,
and its settings. A fact: which step makes it true and which wait for it. A camera: who describes it, what its
plugin sets, and the steps that are bound to it. A hook: how it is called and which plugins answer it."""

_EXAMPLE = """example:
  isr explain step dark
  isr explain fact flat-fielded
  isr explain camera MegaCam
  isr explain hook isr_read_raw

"""

#: Lines of texts are no longer than this, nor than the terminal is wide.
_WIDTH = 100

Row = tuple[str, str]


def add_parser(subcommands: Any, registry: Registry) -> None:
    """Add the subcommand."""
    parser = subcommands.add_parser(
        "explain",
        help="explain a step, fact, camera or hook",
        description=_ABOUT,
        epilog=_EXAMPLE + EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=sorted(_KINDS), help="what it is")
    parser.add_argument("name", metavar="NAME", help="what it is called")
    parser.set_defaults(function=explain)


def explain(arguments: argparse.Namespace) -> int:
    """Print what is known. Raises `RegistryError`, with names like it, for one that there is not."""
    registry: Registry = arguments.registry
    names, describe = _KINDS[arguments.kind]
    known = sorted(names(registry))
    if arguments.name not in known:
        raise RegistryError(_unknown(arguments.kind, arguments.name, known))
    print("\n".join(describe(registry, arguments.name)))
    return OK


def _unknown(kind: str, name: str, known: list[str]) -> str:
    """What to say of a name that there is not."""
    small = {one.lower(): one for one in known}
    near = [small[match] for match in difflib.get_close_matches(name.lower(), small, n=3)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(known)}"
    return f"there is no {kind} {name!r}; {hint}"


def _facts(registry: Registry) -> Iterable[str]:
    """Every fact that a step provides or a reader states."""
    return GIVEN_FACTS.union(*(spec.provides for spec in registry.specs.values()))


def hooks() -> dict[str, Any]:
    """The hooks by name."""
    found = vars(hookspecs).items()
    return {name: function for name, function in found if hasattr(function, f"{hookspecs.PROJECT}_spec")}


def _step(registry: Registry, name: str) -> Iterator[str]:
    """The contract of a step, its implementations and its settings."""
    spec = registry.specs[name]
    yield from _wrapped(f"{name}: {spec.doc}")
    yield from _table("contract", _contract(spec, registry))
    yield from _table("implemented by", (_implementation(one, registry) for one in registry.candidates(name)))
    yield from _table("settings", _settings(name, registry))


def _contract(spec: StepSpec, registry: Registry) -> Iterator[Row]:
    """What a step promises, line by line."""
    default = "on" if spec.is_on else "off"
    yield "switch", f"{spec.flag}, {default} by default" if spec.flag else "none: it is always considered"
    yield "requires", _with_providers(spec.requires, registry) or "nothing"
    if spec.after:
        yield "comes after", f"{_with_providers(spec.after, registry)}; where these steps run"
    if spec.before:
        yield "comes before", _with_providers(spec.before, registry)
    yield "provides", ", ".join(sorted(spec.provides)) or "no fact"
    yield "runs", "once: a second time is refused" if spec.once else "as often as it is asked to"
    yield "calibrations", _calibrations(spec)
    yield "mask planes", ", ".join(sorted(spec.planes)) or "sets none"
    yield "unit", _unit(spec)
    yield "reach", _reach(spec)
    yield "undone", _undone(registry.candidates(spec.name)[0])


def _with_providers(facts: Iterable[str], registry: Registry) -> str:
    """Facts, each with the steps that make it true."""
    told = []
    for fact in sorted(facts):
        steps = ", ".join(spec.name for spec in registry.specs.values() if fact in spec.provides)
        told.append(f"{fact} ({steps})" if steps else fact)
    return ", ".join(told)


def _calibrations(spec: StepSpec) -> str:
    """The kinds it reads, with the options of `isr run`."""
    needed = [f"{kind} (--{option_name(kind)})" for kind in sorted(spec.calibrations)]
    accepted = [f"{kind} if given (--{option_name(kind)})" for kind in sorted(spec.accepts)]
    return ", ".join(needed + accepted) or "none"


def _unit(spec: StepSpec) -> str:
    before = spec.unit_in or "any"
    return f"{before}, afterwards {spec.unit_out}" if spec.unit_out else f"{before}, and stays as it is"


def _reach(spec: StepSpec) -> str:
    if spec.reach is None:
        return "a pixel may change others of the whole detector"
    if not spec.reach:
        return "a pixel changes no other pixel"
    return f"a pixel changes others up to {spec.reach} pixels away"


def _undone(step: type[Step]) -> str:
    """How frames get back what the step takes out of them."""
    if "simulate" in vars(step):
        return "in simulated frames, by a method of its own"
    if issubclass(step, GatherStep):
        return "by moving the pixels back"
    if not issubclass(step, PixelStep):
        return "no: what it does is not put into simulated frames either"
    if step(name=step.spec.name).reads_pixels():
        return "no: it measures the pixels that it changes"
    return "by the inverse of its operations, where each of them has one"


def _implementation(step: type[Step], registry: Registry) -> Row:
    """A class, its plugin, and the cameras it is used for."""
    info = registry.plugin_of(step)
    cameras = f"for camera {step.camera}" if step.camera else "for every camera that has none of its own"
    owner = f"plugin {info.name} {info.version}".rstrip()
    return f"{step.__module__}:{step.__qualname__}", f"{owner}, {cameras}"


def _settings(name: str, registry: Registry) -> Iterator[Row]:
    """Every setting with default and meaning; what an implementation for one camera has besides, too."""
    seen: set[str] = set()
    for step in registry.candidates(name):
        config = step.ConfigClass()
        for field in config.names():
            info = config.describe(field)
            if field not in seen:
                owner = f" Camera {step.camera} only." if step.camera and seen else ""
                yield f"{name}.{field} = {format_value(info.default)}", info.doc + owner
            seen.add(field)


def _fact(registry: Registry, name: str) -> Iterator[str]:
    """Who makes a fact true, and who waits for it."""
    specs = registry.specs.values()

    def steps(attribute: str) -> str:
        return ", ".join(spec.name for spec in specs if name in getattr(spec, attribute)) or "no step"

    given = "; readers state it of float pixels" if name in GIVEN_FACTS else ""
    yield from _wrapped(f"{name}: a fact, true of an exposure from when it is said to its end")
    rows = [
        ("made true by", steps("provides") + given),
        ("required by", steps("requires")),
        ("waited for by", f"{steps('after')}; where a planned step makes it true"),
    ]
    if any(name in spec.before for spec in specs):
        rows.append(("waits for", steps("before")))
    yield from _table("steps", rows)


def _camera(registry: Registry, name: str) -> Iterator[str]:
    """A camera, what its plugin sets, and the steps bound to it."""
    camera, config = registry.cameras[name], default_config(registry, name)
    yield from _wrapped(f"{name}: {camera.description or 'no description'}")
    amplifiers = sum(len(detector.amplifiers) for detector in camera.detectors)
    bound = [step for _, step in registry.steps if step.camera == name]
    rows = [
        ("described by", f"plugin {registry.camera_owners[name]}"),
        (
            "detectors",
            f"{len(camera.detectors)}, with {amplifiers} amplifiers: 'isr cameras {name}' lists them",
        ),
        ("filters", ", ".join(one.name for one in camera.filters) or "none described"),
        ("ships with", ", ".join(sorted(registry.curated_calibrations(camera))) or "no calibrations"),
        ("own steps", ", ".join(f"{step.spec.name} ({step.__qualname__})" for step in bound) or "none"),
    ]
    yield from _table("camera", rows)
    changed = ((one, config.origin(one)) for one in config.names() if len(config.history(one)) > 1)
    told = ((f"{one} = {format_value(by.value)}", f"set by plugin {by.who}") for one, by in changed)
    yield from _table("its defaults", told)


def _hook(registry: Registry, name: str) -> Iterator[str]:
    """How a hook is called, what it is for, and who answers it."""
    function = hooks()[name]
    yield f"{name}{inspect.signature(function)}".replace("'", "")
    yield ""
    yield inspect.cleandoc(function.__doc__ or "").replace("``", "").replace("`", "")
    users = ", ".join(info.name for info in registry.plugins if name in info.hooks)
    yield from _table("plugins", [("answered by", users or "none")])


_KINDS: dict[str, tuple[Callable[[Registry], Iterable[str]], Callable[[Registry, str], Iterator[str]]]] = {
    "camera": (lambda registry: registry.cameras, _camera),
    "fact": (_facts, _fact),
    "hook": (lambda registry: hooks(), _hook),
    "step": (lambda registry: registry.specs, _step),
}


def _table(title: str, rows: Iterable[Row]) -> Iterator[str]:
    """A title and rows of two columns under it, the second folded; nothing without rows."""
    listed = list(rows)
    if not listed:
        return
    yield from ("", title)
    # What would leave no room beside it stands on a line of its own.
    wide = max((len(name) for name, _ in listed if len(name) <= _WIDTH // 3), default=0)
    for name, told in listed:
        is_long = len(name) > wide
        if is_long:
            yield f"  {name}"
        first = " " * (wide + 4) if is_long else f"  {name:{wide}}  "
        yield from _wrapped(told, first, " " * (wide + 4))


def _wrapped(text: str, first: str = "", other: str = "") -> Iterator[str]:
    """Lines no wider than the terminal."""
    width = min(_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _WIDTH
    yield from textwrap.wrap(
        text, max(width, 40), initial_indent=first, subsequent_indent=other, break_on_hyphens=False
    ) or [first.rstrip()]
