"""``isr explain``: whatever there is can be explained, and what there is not gives names like it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import isrcore_eso
import isrcore_standard
from isrcore import Config, PixelStep, Registry, StepSpec, field, hookimpl, stepspecs
from isrcore.cli.explain import hooks

Run = Callable[..., tuple[int, str, str]]

HALO = StepSpec(
    name="halo",
    doc="Flag halos.",
    requires={"assembled"},
    before={"flat-fielded"},
    provides={"halos-flagged"},
    planes={"SUSPECT"},
    accepts={"haloTable"},
    unit_in="adu",
    unit_out="electron",
    reach=3,
)


class HaloConfig(Config):
    """How wide."""

    width: int = field(2, "Width of the halo in pixels.", minimum=1)


class Halo(PixelStep):
    spec, ConfigClass = HALO, HaloConfig

    def reads_pixels(self):
        return True


class OtherConfig(HaloConfig):
    """How wide and how deep."""

    depth: float = field(0.5, "Depth of the halo.")


class OtherHalo(PixelStep):
    spec, ConfigClass, camera = HALO, OtherConfig, "EFOSC2"


class Plugin:
    @hookimpl
    def isr_steps(self):
        return [Halo, OtherHalo]


REGISTRY = Registry({"eso": isrcore_eso, "halos": Plugin(), "standard": isrcore_standard})


def told(text: str) -> dict[str, str]:
    """What stands beside each word, of lines that are put together again."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("  ") and not line.startswith("   "):
            last, _, rest = line.strip().partition("  ")
            rows[last] = rest.strip()
        elif line.startswith("   "):
            rows[last] = f"{rows[last]} {line.strip()}".strip()
    return rows


def test_a_contract_in_words(isr: Run) -> None:
    status, text, _ = isr("explain", "step", "halo")
    assert status == 0
    assert text.startswith("halo: Flag halos.\n")
    rows = told(text)
    assert rows["switch"] == "none: it is always considered"
    assert rows["requires"] == "assembled (assembly)"
    assert rows["comes before"] == "flat-fielded (flat)"
    assert rows["provides"] == "halos-flagged"
    assert rows["calibrations"] == "haloTable if given (--halo-table)"
    assert rows["mask planes"] == "SUSPECT"
    assert rows["unit"] == "adu, afterwards electron"
    assert rows["reach"] == "a pixel changes others up to 3 pixels away"
    assert rows["halo.width = 2"] == "Width of the halo in pixels."
    assert rows["halo.depth = 0.5"] == "Depth of the halo. Camera EFOSC2 only."
    assert rows[f"{__name__}:OtherHalo"] == "plugin halos, for camera EFOSC2"


@pytest.mark.parametrize("name", sorted(stepspecs.STANDARD))
def test_every_part_of_every_contract_is_told(name: str, isr: Run) -> None:
    status, text, _ = isr("explain", "step", name)
    assert status == 0
    spec, words = stepspecs.STANDARD[name], " ".join(text.split())
    parts = [spec.doc, *spec.requires, *spec.after, *spec.before, *spec.provides, *spec.kinds, *spec.planes]
    assert [part for part in [*parts, spec.flag or "switch"] if part not in words] == []
    config = REGISTRY.implementation(name).ConfigClass()
    assert [one for one in config.names() if " ".join(config.describe(one).doc.split()) not in words] == []
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bias", "by the inverse of its operations, where each of them has one"),
        ("nanFlags", "by the inverse of its operations, where each of them has one"),
        ("overscan", "in simulated frames, by a method of its own"),
        ("badRegions", "no: what it does is not put into simulated frames either"),
        ("halo", "no: it measures the pixels that it changes"),
    ],
)
def test_how_a_step_is_undone(name: str, words: str, isr: Run) -> None:
    assert told(isr("explain", "step", name)[1])["undone"] == words


def test_a_fact_and_those_who_wait_for_it(isr: Run) -> None:
    rows = told(isr("explain", "fact", "flat-fielded")[1])
    assert rows["made true by"] == "flat"
    assert "fringe" in rows["waited for by"]
    assert rows["waits for"] == "halo"
    assert "readers state it" in told(isr("explain", "fact", "converted")[1])["made true by"]


def test_a_camera_and_what_its_plugin_sets(isr: Run) -> None:
    rows = told(isr("explain", "camera", "EFOSC2")[1])
    assert rows["described by"] == "plugin eso"
    assert rows["own steps"] == "halo (OtherHalo)"
    assert rows["ships with"] == "defects"
    assert rows["doDark = false"] == "set by plugin eso"


@pytest.mark.parametrize("name", sorted(hooks()))
def test_every_hook_and_who_answers_it(name: str, isr: Run) -> None:
    status, text, _ = isr("explain", "hook", name)
    assert status == 0
    assert text.startswith(f"{name}(")
    users = [plugin.name for plugin in REGISTRY.plugins if name in plugin.hooks]
    assert told(text)["answered by"] == (", ".join(users) or "none")


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("step", "drak", "there is no step 'drak'; did you mean 'dark'"),
        ("camera", "efosc", "did you mean 'EFOSC2'?"),
        ("fact", "flatfielded", "'flat-fielded'"),
        ("hook", "isr_read", "'isr_read_raw'"),
        ("camera", "qqqq", "known: EFOSC2"),
    ],
)
def test_unknown_names_give_near_matches(kind: str, name: str, hint: str, isr: Run) -> None:
    status, text, complaint = isr("explain", kind, name)
    assert (status, text) == (2, "")
    assert hint in complaint
